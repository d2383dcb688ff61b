"""One command line and the bytes behind it start a far side, under any login shell and by any Python that will do."""

import concurrent.futures
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from far_side import FarSide, Gone, Near, kill, living, wait_gone
from submitit_ssh import boot
from submitit_ssh.errors import SettingError
from submitit_ssh.far.frames import MARKER

# Where other Pythons may be, besides the PATH.
PYTHONS = [*Path("/usr/bin").glob("python[23].*[0-9]"), *Path.home().glob(".pyenv/versions/*/bin/python[23].*[0-9]")]


@pytest.fixture
def far(tmp_path: Path) -> Iterator[FarSide]:
    yield from living(tmp_path)


def python(version: str) -> str:
    """A Python of this minor version; skips without one."""
    found = [str(path) for path in PYTHONS if path.name == f"python{version}"] or shutil.which(f"python{version}")
    if not found:
        pytest.skip(f"there is no Python {version} here")
    return found if isinstance(found, str) else found[0]


def first_words(command: str, root: Path | None = None, **kwargs: object) -> subprocess.CompletedProcess[bytes]:
    """What a channel says that is closed at once."""
    payload = boot.payload(None if root is None else str(root))
    return subprocess.run(["sh", "-c", command], input=payload, capture_output=True, check=False, **kwargs)  # type: ignore[call-overload, no-any-return]


def refusal(root: Path, python: str = sys.executable) -> str:
    said = first_words(boot.command(python), root).stdout
    assert said.startswith(MARKER)
    frame = json.loads(said[len(MARKER) :])
    assert (frame["op"], frame["class"]) == ("refused", "precheck")
    return str(frame["message"])


@pytest.mark.parametrize("shell", ["sh", "bash", "dash", "zsh", "fish", "csh", "tcsh", "ksh"])
def test_it_starts_under_every_login_shell(far: FarSide, shell: str) -> None:
    if not shutil.which(shell):
        pytest.skip(f"there is no {shell} here")
    near = Near(far.root, shell=shell)
    assert near.hello()["root"] == str(far.root)
    near.close()


@pytest.mark.parametrize("shell", ["sh", "bash", "dash", "zsh", "fish", "csh", "tcsh", "ksh"])
def test_a_python_that_is_missing_ends_with_one_code_under_every_login_shell(shell: str) -> None:
    if not shutil.which(shell):
        pytest.skip(f"there is no {shell} here")
    for name in ("no-such-python", "~/no such/python"):
        assert subprocess.run([shell, "-c", boot.command(name)], capture_output=True, check=False).returncode == 127


@pytest.mark.parametrize("version", ["3.9", "3.10", "3.11", "3.12", "3.13", "3.14"])
def test_every_supported_python_runs_jobs(far: FarSide, version: str) -> None:
    near = Near(far.root, python=python(version))
    assert near.hello()["python"].startswith(f"{version}.")
    spec = far.spec("signals", load="x")
    spec["environment"]["python"] = python(version)
    near.submit(spec)
    assert near.ended(spec["id"])["result"]["loaded"] == "x"
    near.close()


@pytest.mark.parametrize("version", ["2.7", "3.6", "3.7", "3.8"])
def test_a_python_that_is_too_old_says_so(tmp_path: Path, version: str) -> None:
    message = refusal(tmp_path, python(version))
    assert message.startswith(f"has Python {version}.")
    assert "3.9 or later" in message


@pytest.mark.parametrize("name", ["", "it's", "a\\b", "a!b", "a\nb"])
def test_a_python_that_no_shell_could_be_given_is_refused(name: str) -> None:
    with pytest.raises(SettingError, match="login shell"):
        boot.command(name)


def test_a_python_in_the_home_folder_is_found_there(tmp_path: Path) -> None:
    place = tmp_path / "an environment" / "bin"
    place.mkdir(parents=True)
    (place / "python").symlink_to(sys.executable)
    said = first_words(boot.command("~/an environment/bin/python"), env={**os.environ, "HOME": str(tmp_path)})
    assert said.stdout == MARKER
    assert (tmp_path / ".sweeproute" / "supervisor.json").exists()
    kill(json.loads((tmp_path / ".sweeproute" / "supervisor.json").read_text())["pid"])


def test_a_root_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    message = refusal(tmp_path / "file" / "root")
    assert str(tmp_path / "file" / "root") in message
    assert "name another folder" in message


def test_a_file_beside_the_shell_is_not_taken_for_a_library(far: FarSide) -> None:
    for name in ("json", "os", "zlib", "selectors", "socket", "fcntl", "tarfile"):
        (far.folder / f"{name}.py").write_text("raise SystemExit('a file of the user')\n")
    near = Near(far.root, cwd=far.folder)
    assert near.hello()["op"] == "hello"
    near.close()


def test_the_code_is_kept_by_its_hash_and_mended_where_it_is_damaged(far: FarSide) -> None:
    near = far.near()
    (folder,) = (far.root / "bin").iterdir()
    assert near.hello()["bin"] == str(folder)
    kept = folder / boot.PACKAGE / "supervisor.py"
    text = kept.read_text()
    assert text.startswith('"""')
    near.kill_supervisor()
    kept.write_text("")  # as after a power cut
    assert far.near().hello()["op"] == "hello"
    assert kept.read_text() == text
    assert sorted(path.suffix for path in kept.parent.iterdir() if path.is_file()) == [".py"] * len(
        list(Path(boot.__file__).parent.glob("far/*.py"))
    )


def test_of_many_channels_that_open_at_once_one_starts_the_supervisor(far: FarSide) -> None:
    nears = [Near(far.root, f"owner {number}") for number in range(6)]
    with concurrent.futures.ThreadPoolExecutor(len(nears)) as pool:
        pids = set(pool.map(lambda near: near.hello()["pid"], nears))
    assert len(pids) == 1
    assert (far.root / "supervisor.log").read_text().count("started") == 1
    for near in nears:
        near.close()


def test_many_owners_that_lose_their_supervisor_at_once_get_one_new(far: FarSide) -> None:
    nears = [far.near(f"owner {number}") for number in range(4)]
    nears[0].kill_supervisor()
    for near in nears[1:]:
        near.close()
    nears = [Near(far.root, f"owner {number}") for number in range(4)]
    assert len({near.hello()["pid"] for near in nears}) == 1
    for near in nears:
        near.close()


def test_a_channel_ends_with_its_near_side_and_the_supervisor_lives_on(far: FarSide) -> None:
    near = far.near()
    pid = near.supervisor()
    near.send("slots", slots=7, paused=None)
    near.close()  # what has been said before is still passed on
    assert near.process.returncode == 0
    again = far.near()
    assert again.hello()["pid"] == pid
    assert again.ask("ping")["load"]["slots"] == 7
    assert os.getsid(pid) != os.getsid(again.process.pid)


def test_what_a_near_side_says_last_arrives_though_it_hears_no_answer(far: FarSide) -> None:
    near, other = far.near(), far.near("other")
    other.ask("slots", slots=0, paused=None)
    specs = [far.spec(value="x" * 1000) for _ in range(2000)]
    for at in range(0, len(specs), 50):
        near.send("submit", jobs=specs[at : at + 50])
        near.send("status")  # of which nobody reads the long answers
    near.close()
    assert other.until(lambda load: load["queued"] == len(specs))


def test_a_channel_ends_with_its_supervisor(far: FarSide) -> None:
    near = far.near()
    kill(near.supervisor())
    with pytest.raises(Gone):
        near.wait(lambda header: False)
    assert near.process.wait(10) == 0


@pytest.mark.parametrize("left", ["a socket that nobody listens on", "a number that another process has"])
def test_what_a_dead_supervisor_left_does_not_pass_for_a_living_one(far: FarSide, left: str) -> None:
    near = far.near()
    dead = near.supervisor()
    near.kill_supervisor()
    assert (far.root / "supervisor.sock").exists()
    if left == "a number that another process has":
        record = far.root / "supervisor.json"
        record.write_text(json.dumps({**json.loads(record.read_text()), "pid": os.getpid()}) + "\n")
    assert far.near().hello()["pid"] != dead


@pytest.mark.parametrize("name", ["supervisor.sock", "supervisor.json"])
def test_a_supervisor_whose_door_was_removed_is_found_again_with_its_jobs(far: FarSide, name: str) -> None:
    near = far.near()
    job = far.waiting()
    near.submit(job.spec)
    job.runs()
    old = near.supervisor()
    near.close()
    (far.root / name).unlink()
    near = far.near()
    assert near.hello()["pid"] == old
    near.ask("adopt", jobs={job.id: {}})
    job.end("found")
    assert near.ended(job.id)["result"] == "found"


def test_a_root_with_a_long_path_gets_a_socket_elsewhere_that_nobody_else_may_enter(tmp_path: Path) -> None:
    for far in living(tmp_path / ("x" * 100)):
        far.folder.mkdir()
        near = far.near()
        socket = Path(json.loads((far.root / "supervisor.json").read_text())["socket"])
        assert len(str(socket)) < 100
        assert socket.parent.stat().st_mode & 0o777 == 0o700
        assert far.root.stat().st_mode & 0o777 == 0o700
        near.kill_supervisor()
        shutil.rmtree(socket.parent)


def test_a_supervisor_of_another_version_makes_room_where_it_has_no_jobs(
    far: FarSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    near = far.near()
    old = near.supervisor()
    code = boot._code()[1]
    job = far.waiting()
    near.submit(job.spec)
    job.runs()
    monkeypatch.setattr(boot, "_code", lambda: ("0123456789abcdef", code))
    other = far.near("other")
    assert other.hello()["pid"] == old  # it has a job, and goes on
    job.end()
    near.ended(job.id)
    near.close()
    other.close()
    # The connections are closed; that it has heard of it is told by its answer.
    newer = far.near("newer")
    for _ in range(50):
        if newer.hello()["pid"] != old:
            break
        newer.close()
        newer = far.near("newer")
    assert newer.hello()["pid"] != old
    assert newer.hello()["bin"].endswith("0123456789abcdef")
    wait_gone(old)


def test_a_supervisor_does_not_ignore_what_its_channel_ignored(far: FarSide) -> None:
    # As started with & from a shell that nobody types into, or under nohup.
    command = "trap '' INT QUIT HUP TERM PIPE; " + boot.command(sys.executable)
    assert first_words(command, far.root).stdout == MARKER
    near = far.near()
    status = Path(f"/proc/{near.supervisor()}/status").read_text()
    ignored = int(next(line for line in status.splitlines() if line.startswith("SigIgn")).split()[1], 16)
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM):
        assert not ignored >> (number - 1) & 1, number
