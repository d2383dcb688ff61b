"""Tests of `sweeproute check`: each thing that can be wrong with a far machine, with its next step."""

import json
import sys
from pathlib import Path

import pytest

import sshd
from far_app import FarApp, wait_until
from far_commands import Command, at_home
from hydra_plugins.sweeproute import _check
from hydra_plugins.sweeproute._findings import claimed, fitted
from hydra_plugins.sweeproute.config import PlatformConf
from loopback import Loopback
from loopback import missing as missing_loopback
from sweeproute.commands import check as commands_check
from workstation import Workstation

MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"
BOX = "hydra.launcher.platforms.box"
SMALL = f"{BOX}.specs.memory_gb=1"
HERE = f"{BOX}.python={sys.executable}"
# A driver of a GPU that is not there: what it answers is all that is asked of it.
NVIDIA_SMI = """#!/bin/sh
case "$*" in
  *driver_version*) echo 535.129.03;;
  *query-gpu*) echo "0, GPU-1, NVIDIA GeForce RTX 4090, 24564, 15564, 37";;
  *query-compute-apps*) echo "GPU-1, {pid}, 8192";;
  *) echo "| NVIDIA-SMI 535.129.03   Driver Version: 535.129.03   CUDA Version: 12.2 |";;
esac
"""


@pytest.fixture
def app(tmp_path: Path):
    app = FarApp(tmp_path)
    yield app
    app.close()


@pytest.fixture
def sweeproute(app: FarApp, monkeypatch, capsys) -> Command:
    return at_home(app, monkeypatch, capsys)


@pytest.fixture
def no_fits(monkeypatch) -> None:
    """None of the libraries, which take seconds to import."""
    monkeypatch.setattr(_check, "FITS", {})


@pytest.fixture(scope="module")
def box():
    """An sshd that tests leave as it was."""
    sshd.skip_for(missing_loopback())
    with Loopback.start() as box:
        yield box


def findings(said: str) -> dict[str, tuple[bool, str, str]]:
    """By name: whether it is well, what was found, the next step."""
    found: dict[str, tuple[bool, str, str]] = {}
    name = ""
    for line in said.splitlines():
        if line.startswith(("box is ready", "To mend at box")):
            continue
        if line.startswith(("ok  ", "--  ")):
            name, _, text = line[4:].partition(": ")
            found[name] = (line.startswith("ok"), text, "")
        else:
            found[name] = (*found[name][:2], line.strip())
    return found


def test_a_machine_that_can_run_jobs_is_well_in_every_respect(sweeproute: Command, app: FarApp):
    said = sweeproute("check", "box", SMALL, HERE)
    assert (said.code, said.err) == (0, ""), said.out + said.err
    found = findings(said.out)
    assert all(ok for ok, _, _ in found.values())
    assert list(found)[:5] == ["reach", "memory", "cores", "disk", "clock"]
    assert said.out.splitlines()[-1] == "box is ready."
    assert str(app.shell.root) in found["reach"][1]
    assert found["python"][1].startswith(MINOR)
    assert {"cloudpickle", "omegaconf", "hydra-core"} < found.keys()
    for library in ("xgboost", "torch", "scikit-learn", "lightgbm"):
        assert found[library][1].endswith("fits a tiny model on cpu")
    wait_until(lambda: app.far_jobs() == [], "nothing to be left there")


def test_without_an_environment_setup_is_the_next_step(sweeproute: Command, app: FarApp):
    said = sweeproute("check", "box", SMALL)
    assert said.code == 1
    ok, text, step = findings(said.out)["python"]
    assert not ok
    assert text == f"there is none at {app.shell.root}/env/bin/python"
    assert step == "`sweeproute setup box` makes an environment."
    assert said.out.splitlines()[-1] == "To mend at box: python."


def test_a_program_gets_all_findings_as_json(sweeproute: Command):
    said = sweeproute("check", "box", "--json", SMALL)
    assert said.code == 1
    found = json.loads(said.out)
    assert (found["platform"], found["ok"]) == ("box", False)
    assert found["findings"][0]["what"] == "reach"
    assert found["findings"][-1] == {
        "what": "python",
        "ok": False,
        "said": found["findings"][-1]["said"],
        "step": "`sweeproute setup box` makes an environment.",
    }


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["bix"], "There is no platform 'bix'. Allowed, nearest match first: box, here."),
        (["here"], "here is this machine. This command is for platforms that ssh reaches: box."),
        (["box", f"{BOX}.host=null"], "box has no host. Say what ssh is given"),
        (["box", f"{BOX}.hots=x"], "There is no key hydra.launcher.platforms.box.hots"),
    ],
)
def test_what_names_no_far_machine_is_said_in_a_sentence(sweeproute: Command, words: list[str], sentence: str):
    said = sweeproute("check", *words)
    assert said.code == 1
    assert said.err.startswith(sentence)


def test_a_machine_that_cannot_be_reached_is_said_with_what_ssh_says(sweeproute: Command, app: FarApp):
    app.shell.cut(True)
    said = sweeproute("check", "box")
    assert said.code == 1
    assert findings(said.out) == {
        "reach": (
            False,
            "cannot be reached (ssh: connect to host far port 22: Network is unreachable)",
            "When `ssh far true` works, check again.",
        )
    }


def test_a_pause_keeps_what_a_check_would_start_from_starting(sweeproute: Command):
    sweeproute("pause", "box")
    said = sweeproute("check", "box", SMALL)
    assert findings(said.out)["queue"][2] == "`sweeproute pause box --end` ends that; then check again."


@pytest.mark.usefixtures("no_fits")
def test_a_check_waits_for_a_free_slot_alone_and_not_for_the_queue(sweeproute: Command, app: FarApp, monkeypatch):
    sweep = app.start("kind=heavy", "x=1,2,3,4,5,6", "wait=[1,2]", f"{BOX}.max_concurrent_jobs=2")
    wait_until(lambda: len(app.executions()) == 2, "two jobs to run")
    notes = []

    def note(text: str) -> None:
        notes.append(text)
        app.go()

    monkeypatch.setattr(commands_check, "note", note)
    said = sweeproute("check", "box", SMALL, HERE)
    assert said.code == 0, said.out + said.err
    assert findings(said.out)["queue"][1].startswith("2 of 2 slots are taken, ")
    assert notes == ["Waits, since all 2 slots are taken. Ctrl-C ends this."]
    sweep.communicate(timeout=60)
    assert sweep.returncode == 0


@pytest.mark.usefixtures("no_fits")
def test_another_minor_python_is_said_with_the_next_step(sweeproute: Command, app: FarApp, tmp_path: Path):
    (tmp_path / "sitecustomize.py").write_text("import platform\nplatform.python_version = lambda: '3.9.18'\n")
    other = tmp_path / "python"
    other.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path} exec {sys.executable} "$@"\n')
    other.chmod(0o755)
    said = sweeproute("check", "box", SMALL, f"{BOX}.python={other}")
    assert said.code == 1
    ok, text, step = findings(said.out)["python"]
    assert not ok
    assert text.endswith(f"{MINOR} here, and both need the same minor version")
    assert step.startswith("Name another as registry.platforms.box.python, or take that key out: ")


def test_an_environment_without_the_packages_is_said_by_package(sweeproute: Command, app: FarApp, tmp_path: Path):
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    found = findings(sweeproute("check", "box", SMALL, f"{BOX}.python={bare}").out)
    assert found["cloudpickle"][1].startswith("missing there, ")
    assert "missing: " in found["libraries"][1]
    assert "torch" in found["libraries"][1]
    assert "torch" not in found


class TestGpu:
    @pytest.fixture(autouse=True)
    def driver(self, app: FarApp, sweeproute: Command, monkeypatch):
        """A driver on the far path."""
        program = app.shell.home / "nvidia-smi"
        program.write_text(NVIDIA_SMI.replace("{pid}", "1"))
        program.chmod(0o755)
        return program

    def test_driver_free_memory_and_users_are_said_and_a_build_that_cannot_run(self, sweeproute: Command, monkeypatch):
        monkeypatch.setattr(_check, "FITS", {"torch": ""})
        said = sweeproute("check", "box", SMALL, HERE, f"++{BOX}.specs.gpu=RTX 4090 24GB")
        assert said.code == 1
        found = findings(said.out)
        assert found["driver"][:2] == (True, "535.129.03, runs CUDA up to 12.2")
        assert found["gpu"][1].startswith(
            "0, NVIDIA GeForce RTX 4090: 16.3 of 25.8 GB free, 37 % busy; used by root's "
        )
        assert found["gpu"][1].endswith(" 1 (8.6 GB)")
        ok, text, step = found["torch"]
        assert not ok
        assert "fits no tiny model on cuda: it is built " in text
        assert step.startswith("The driver runs builds for CUDA 12.2 and older; pin one, as in pip install --extra")
        assert "torch==VERSION+cu122" in step

    @pytest.mark.usefixtures("no_fits")
    def test_a_driver_that_does_not_work_is_said_in_its_own_words(self, sweeproute: Command, driver: Path):
        driver.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed: no communication with the driver'\nexit 9\n")
        found = findings(sweeproute("check", "box", SMALL, HERE, f"++{BOX}.specs.gpu=true").out)
        assert found["driver"][:2] == (False, "nvidia-smi: NVIDIA-SMI has failed: no communication with the driver")

    @pytest.mark.usefixtures("no_fits")
    def test_a_gpu_that_the_registry_does_not_know_of_is_shown(self, sweeproute: Command):
        found = findings(sweeproute("check", "box", SMALL, HERE).out)
        assert found["gpu"][2] == "The registry says specs.gpu=false, so jobs there run on the CPU."


@pytest.mark.usefixtures("no_fits")
def test_an_r_that_the_registry_promises_is_looked_for(sweeproute: Command, app: FarApp):
    claims = f"+{BOX}.capabilities=[R_tidymodels]"
    rscript = app.shell.home / "Rscript"
    rscript.write_text("#!/bin/sh\necho 'Rscript (R) version 4.2.2'\n")
    rscript.chmod(0o755)
    ok, text, _ = findings(sweeproute("check", "box", SMALL, HERE, claims).out)["R_tidymodels"]
    assert (ok, text.partition(" at ")[0]) == (True, "Rscript (R) version 4.2.2")
    assert "R_tidymodels" not in findings(sweeproute("check", "box", SMALL, HERE).out)


def test_an_r_that_is_not_there_is_said_with_both_cures():
    found = claimed("box", "R_tidymodels", "Rscript", None)
    assert (found.ok, found.said) == (False, "there is no Rscript on its PATH")
    assert "apt-get install r-base-core" in found.step
    assert "take R_tidymodels out of registry.platforms.box.capabilities" in found.step


def test_the_environment_that_setup_makes_is_given_another_build_by_setup():
    there = {"cuda": "12.1"}
    step = fitted("box", PlatformConf(), "torch", "2.9", "cuda", "it finds no GPU that it can use", there).step
    assert "as in sweeproute setup box --pip '--extra-index-url URL torch==VERSION+cu121', where URL is" in step
    step = fitted("box", PlatformConf(), "xgboost", "3.2", "cuda", "it finds no GPU that it can use", there).step
    assert step.endswith("as in sweeproute setup box --pip 'xgboost==VERSION'.")


@pytest.mark.usefixtures("no_fits")
def test_a_gpu_that_the_registry_promises_and_nobody_finds_is_said(sweeproute: Command):
    ok, text, step = findings(sweeproute("check", "box", SMALL, HERE, f"++{BOX}.specs.gpu=true").out)["gpu"]
    assert (ok, text) == (False, "there is no nvidia-smi, nor at the usual places off the path")
    assert "specs.gpu=false" in step


def test_a_conda_off_the_path_is_shown_with_its_environments(sweeproute: Command, app: FarApp):
    environment = app.shell.home / "miniforge3" / "envs" / "nets"
    (environment / "bin").mkdir(parents=True)
    (environment / "bin" / "python").touch()
    (app.shell.home / "miniforge3" / "conda-meta").mkdir()
    _, text, step = findings(sweeproute("check", "box", SMALL).out)["conda"]
    assert text == f"{app.shell.home}/miniforge3, off the path of a shell that nobody types into: {environment}"
    assert step == "To use one: sweeproute setup box --python ENVIRONMENT"


def test_a_python_that_is_not_there_is_named_where_there_is_one(sweeproute: Command, app: FarApp):
    better = app.shell.home / ".pyenv" / "versions" / "3.11.7" / "bin" / "python3"
    better.parent.mkdir(parents=True)
    better.symlink_to(sys.executable)
    said = sweeproute("check", "box", f"{BOX}.python=/nowhere/python3")
    ok, text, step = findings(said.out)["python"]
    assert (ok, said.code) == (False, 1)
    assert text.startswith("has no Python under the name '/nowhere/python3'")
    assert step.startswith("There is one off that path; name it: registry.platforms.box.python=/")


def test_a_python_that_is_too_old_is_said(sweeproute: Command, app: FarApp, tmp_path: Path):
    old = tmp_path / "python3"
    loader = "import sys; sys.version_info = (3, 6, 8); $5"
    old.write_text(f'#!/bin/sh\nexec {sys.executable} -E -s -S -c "{loader}"\n')
    old.chmod(0o755)
    ok, text, _ = findings(sweeproute("check", "box", f"{BOX}.python={old}").out)["python"]
    assert not ok
    assert text.startswith("has Python 3.6.8 at ")


class TestSsh:
    """What OpenSSH itself refuses."""

    def check(self, sweeproute: Command, config: Path) -> dict[str, tuple[bool, str, str]]:
        said = sweeproute("check", "box", f"{BOX}.host=loopback", f"{BOX}.ssh_config={config}")
        assert said.code == 1
        return findings(said.out)

    @pytest.fixture(autouse=True)
    def real_ssh(self, app: FarApp, monkeypatch, sweeproute: Command):
        monkeypatch.setenv("PATH", app.environment["PATH"].removeprefix(f"{app.shell.home}:"))

    def variant(self, box: Loopback, folder: Path, **options: Path) -> Path:
        """The configuration of ssh with other options."""
        path = folder / "ssh_config"
        lines = box.ssh_config.read_text().splitlines()
        kept = [line for line in lines if not any(line.split()[:1] == [name] for name in options)]
        path.write_text("\n".join([*kept, *(f"  {name} {value}" for name, value in options.items())]) + "\n")
        return path

    def test_a_host_key_that_is_not_known_is_said_with_how_to_know_it(self, sweeproute, box, tmp_path):
        (tmp_path / "known").touch()
        config = self.variant(box, tmp_path, UserKnownHostsFile=tmp_path / "known")
        (finding,) = self.check(sweeproute, config).items()
        name, (ok, text, step) = finding
        assert (name, ok, text) == ("host key", False, "has a host key that is not known here")
        assert step == f"Connect once with `ssh -F {config} loopback` and compare the key."

    def test_a_host_key_that_has_changed_is_said_with_both_reasons(self, sweeproute, box, tmp_path):
        sshd.make_key(tmp_path / "other")
        (tmp_path / "known").write_text(f"loopback {(tmp_path / 'other.pub').read_text()}")
        config = self.variant(box, tmp_path, UserKnownHostsFile=tmp_path / "known")
        _, text, step = self.check(sweeproute, config)["host key"]
        assert text == "has another host key than the one that is known"
        assert "ssh-keygen -R loopback" in step
        assert step.endswith("somebody may be in between.")

    def test_a_login_that_is_refused_is_said(self, sweeproute, box, tmp_path):
        sshd.make_key(tmp_path / "other")
        config = self.variant(box, tmp_path, IdentityFile=tmp_path / "other")
        _, text, step = self.check(sweeproute, config)["login"]
        assert text == "refuses the login"
        assert step.startswith(f"Make `ssh -F {config} loopback` work without a question")


@pytest.mark.usefixtures("no_fits")
def test_another_machine_is_well_with_a_clock_that_is_an_hour_ahead(
    workstation: Workstation, app, sweeproute, monkeypatch
):
    monkeypatch.setenv("PATH", app.environment["PATH"].removeprefix(f"{app.shell.home}:"))
    workstation.skew_clock(3600)
    where = [f"{BOX}.host={workstation.host}", f"{BOX}.ssh_config={workstation.ssh_config}"]
    said = sweeproute("check", "box", SMALL, f"{BOX}.python={workstation.python}", *where)
    found = findings(said.out)
    assert found["clock"][1].startswith("+36")
    assert found["clock"][2].startswith("Results are right all the same")
    assert found["reach"][1].startswith("workstation answers in ")
    assert found["libraries"][0]
    # The disk of its home is a small one.
    assert [name for name, (ok, _, _) in found.items() if not ok] == ["disk"]
