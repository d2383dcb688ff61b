"""Tests of `sweeproute setup`: environments on a far machine, made of wheels that lie beside the test."""

import base64
import contextlib
import functools
import hashlib
import http.server
import os
import signal
import subprocess
import sys
import threading
import zipfile
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest

from far_app import FarApp, wait_until
from far_commands import Command, at_home
from hydra_plugins.sweeproute import _check, _findings, _setup
from hydra_plugins.sweeproute._errors import SettingsError
from workstation import Workstation

BOX = "hydra.launcher.platforms.box"
PLAIN = ["cloudpickle", "omegaconf", "tiny"]
MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"
SYSTEM = Path(f"/usr/bin/python{MINOR}")


def wheel(folder: Path, name: str, number: str, module: str | None = None) -> None:
    """Lay a package of one empty module into a folder, as pip takes it."""
    module = module or name
    info = f"{name.replace('-', '_')}-{number}.dist-info"
    files = {
        f"{module}/__init__.py": "",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = [f"{path},sha256={_digest(text)},{len(text)}" for path, text in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,\n"])
    with zipfile.ZipFile(folder / f"{name.replace('-', '_')}-{number}-py3-none-any.whl", "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """What pip finds: what both sides pickle with, as it is here, and a package of two versions."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name in ("cloudpickle", "omegaconf"):
        wheel(folder, name, version(name))
    wheel(folder, "hydra-core", version("hydra-core"), module="hydra")
    wheel(folder, "tiny", "1.0")
    wheel(folder, "tiny", "1.1")
    return folder


@pytest.fixture(autouse=True)
def small_project(monkeypatch) -> None:
    """A project that needs next to nothing: its own needs take gigabytes."""
    needs = SimpleNamespace(requires=["hydra-core>=1.3", *PLAIN, 'more; extra == "all"'])
    for module in (_setup, _findings):
        monkeypatch.setattr(module, "distribution", lambda _: needs)
    monkeypatch.setattr(_check, "FITS", {})


@pytest.fixture
def app(tmp_path: Path):
    app = FarApp(tmp_path)
    (app.folder / "constraints.txt").write_text("tiny==1.0\n# a comment\ncloudpickle==0.1\n")
    yield app
    app.close()


@pytest.fixture
def sweeproute(app: FarApp, monkeypatch, capsys) -> Command:
    return at_home(app, monkeypatch, capsys)


@pytest.fixture
def setup(sweeproute: Command, wheels: Path) -> Command:
    return functools.partial(
        sweeproute, "setup", "box", f"{BOX}.specs.memory_gb=1", f"--pip=--no-index --find-links {wheels}"
    )


def tiny(app: FarApp) -> str:
    """The version of the package in the environment that jobs use."""
    (found,) = (app.shell.root / "env").glob("lib/python*/site-packages/tiny-*.dist-info")
    return found.name.removeprefix("tiny-").removesuffix(".dist-info")


def test_an_environment_is_made_once_and_again_when_the_constraints_change(setup: Command, app: FarApp):
    (app.shell.root / "envs" / "of_older_constraints").mkdir(parents=True)
    said = setup()
    assert said.code == 0, said.out + said.err
    assert "Successfully installed" in said.out  # what pip says, as it says it
    assert f"ok  environment: made; jobs use {app.shell.root}/env/bin/python\n" in said.out
    assert f"ok  python: {sys.version.split()[0]} at {app.shell.root}/env/bin/python\n" in said.out
    assert "ok  libraries: 3 of 3 as here\n" in said.out
    assert tiny(app) == "1.0"
    assert len(list((app.shell.root / "envs").iterdir())) == 1

    said = setup()
    assert said.code == 0
    assert said.out.startswith("ok  environment: there already, as it should be; jobs use ")

    (app.folder / "constraints.txt").write_text("tiny==1.2\n")
    said = setup()
    assert said.code == 1
    assert "The user requested (constraint) tiny==1.2" in said.out
    assert said.err.startswith("box could not run `")
    assert said.err.endswith("What was downloaded is kept: setup goes on from there.\n")
    assert tiny(app) == "1.0"  # what failed does not count, and what was there does


class Gate(http.server.SimpleHTTPRequestHandler):
    """Gives the wheels away once somebody opens it."""

    asked = threading.Event()
    opened = threading.Event()

    def do_GET(self) -> None:
        self.asked.set()
        self.opened.wait(30)
        with contextlib.suppress(BrokenPipeError):  # who asked was killed
            super().do_GET()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def gate(wheels: Path):
    """Wheels on a server that answers when the test lets it."""
    Gate.asked.clear()
    Gate.opened.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Gate, directory=str(wheels)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"--no-index --find-links http://127.0.0.1:{server.server_port}/"
    Gate.opened.set()
    server.shutdown()
    server.server_close()


# What a person's own process would do, with the small project of these tests.
PROGRAM = """
import sys
import test_setup
from hydra_plugins.sweeproute import _check, _findings, _setup
from sweeproute.__main__ import main
needs = test_setup.SimpleNamespace(requires=["hydra-core>=1.3", *test_setup.PLAIN])
_setup.distribution = _findings.distribution = lambda _: needs
_check.FITS = {}
main(sys.argv[1:])
"""


def start(app: FarApp, pip: str) -> "subprocess.Popen[str]":
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = app.environment | {"PYTHONPATH": path}
    words = ["setup", "box", f"{BOX}.specs.memory_gb=1", f"--pip={pip}"]
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words],
        cwd=app.folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def pips(app: FarApp) -> list[str]:
    return [line for process in app.far_processes() if "-m pip install" in (line := " ".join(process.cmdline()))]


def test_a_setup_that_is_stopped_ends_there_and_one_whose_command_dies_goes_on(app: FarApp, gate: str):
    stopped = start(app, gate)
    assert Gate.asked.wait(30)
    assert pips(app)
    stopped.send_signal(signal.SIGINT)
    output, _ = stopped.communicate(timeout=30)
    assert stopped.returncode == 130, output
    wait_until(lambda: not pips(app) and not app.far_jobs(), "pip to end")
    assert not (app.shell.root / "env").exists()

    Gate.asked.clear()
    killed = start(app, gate)
    assert Gate.asked.wait(30)
    killed.kill()
    killed.communicate()
    later = start(app, gate)
    assert later.stdout is not None
    # It needs the slot in which the one before still works.
    assert later.stdout.readline() == "Waits, since the slot is taken. Ctrl-C ends this.\n"
    Gate.opened.set()
    output, _ = later.communicate(timeout=60)
    assert later.returncode == 0, output
    assert "ok  environment: there already, as it should be; jobs use " in output
    assert tiny(app) == "1.0"


def test_an_environment_of_the_persons_own_is_used_as_it_is(sweeproute: Command, app: FarApp):
    said = sweeproute("setup", "box", "--python", sys.prefix, f"{BOX}.specs.memory_gb=1")
    assert said.code == 0, said.out + said.err
    assert said.out.startswith("ok  environment: there already; jobs use ")
    assert (app.shell.root / "env").readlink() == Path(sys.prefix)
    assert (app.shell.root / "env" / "bin" / "python").exists()
    said = sweeproute("setup", "box", "--python", sys.executable, f"{BOX}.specs.memory_gb=1")
    assert said.out.startswith("ok  environment: there already, as it should be; jobs use ")
    app.sweep("kind=heavy", "x=3", f"{BOX}.python=null")
    assert app.launch(0)["value"]["double"] == 6
    assert app.launch(0)["platform"] == "box"


@pytest.mark.skipif(not SYSTEM.exists(), reason=f"no {SYSTEM} here, an interpreter that is in no environment")
def test_an_interpreter_beside_others_is_used_with_the_packages_that_its_user_has(sweeproute: Command, app: FarApp):
    packages = app.shell.home / f".local/lib/python{MINOR}/site-packages"
    packages.mkdir(parents=True)
    for name in ("hydra", "cloudpickle", "omegaconf", "tiny"):
        (packages / f"{name}.py").touch()
    said = sweeproute("setup", "box", "--python", str(SYSTEM), f"{BOX}.specs.memory_gb=1")
    assert said.out.startswith("ok  environment: there already; jobs use "), said.err
    python = app.shell.root / "env" / "bin" / "python"
    done = subprocess.run(
        [python, "-c", "import tiny"], env=app.environment | {"HOME": str(app.shell.home)}, check=False
    )
    assert done.returncode == 0


def test_a_python_that_is_not_there_is_said_in_a_sentence(sweeproute: Command):
    said = sweeproute("setup", "box", "--python", "/nowhere/python")
    assert said.code == 1
    assert said.err == ("box has no Python at /nowhere/python. Name an interpreter, or the folder of an environment.\n")


def test_a_machine_without_this_minor_python_is_told_apart_by_what_it_has(sweeproute: Command, monkeypatch):
    monkeypatch.setattr(
        _setup, "versions", lambda: {"python": "3.99", "cloudpickle": "1", "omegaconf": "1", "hydra": "1"}
    )
    said = sweeproute("setup", "box")
    assert said.code == 1
    assert said.err.startswith(f"box has no Python 3.99 (it has {MINOR} at /")
    assert "and both sides need the same minor version" in said.err
    assert said.err.endswith("name one that is elsewhere: sweeproute setup box --python PATH.\n")


def test_a_python_that_the_registry_names_leaves_nothing_to_make(sweeproute: Command):
    words = [f"{BOX}.python={sys.executable}", f"{BOX}.specs.memory_gb=1"]
    said = sweeproute("setup", "box", *words)
    assert said.out.startswith(
        f"ok  environment: nothing to make: the registry names {sys.executable}, and jobs use that\n"
    )
    said = sweeproute("setup", "box", "--python", "/usr/bin/python3", *words)
    assert (said.code, said.out) == (1, "")
    assert said.err.endswith("Take it out of the registry, or leave --python and --pip out.\n")


def test_a_machine_that_cannot_be_reached_is_said_in_a_sentence(sweeproute: Command, app: FarApp):
    app.shell.cut(True)
    said = sweeproute("setup", "box")
    assert said.code == 1
    assert said.err == "box: far cannot be reached (ssh: connect to host far port 22: Network is unreachable).\n"


def test_another_machine_gets_its_environment_from_its_own_python(
    workstation: Workstation, app: FarApp, sweeproute: Command, wheels: Path, monkeypatch
):
    monkeypatch.setenv("PATH", app.environment["PATH"].removeprefix(f"{app.shell.home}:"))
    there = workstation.path(f"{workstation.home}/wheels")
    there.mkdir()
    for path in wheels.iterdir():
        (there / path.name).write_bytes(path.read_bytes())
    where = [f"{BOX}.host={workstation.host}", f"{BOX}.ssh_config={workstation.ssh_config}"]
    said = sweeproute("setup", "box", f"--pip=--no-index --find-links {workstation.home}/wheels", *where)
    assert f"ok  environment: made; jobs use {workstation.home}/.sweeproute/env/bin/python\n" in said.out, said
    done = workstation.run("~/.sweeproute/env/bin/python -c 'import tiny, sys; print(sys.prefix)'")
    assert done.stdout.strip() == f"{workstation.home}/.sweeproute/env"


class TestConstraints:
    @pytest.fixture(autouse=True)
    def in_a_folder(self, tmp_path: Path, monkeypatch):
        monkeypatch.chdir(tmp_path)

    def test_what_both_sides_pickle_with_is_as_it_is_here(self, tmp_path: Path):
        (tmp_path / "constraints.txt").write_text("Cloudpickle==0.1\nxgboost==3.2.0 ; python_version > '3'\n")
        lines = _setup._constraints([]).splitlines()
        assert lines[0] == "xgboost==3.2.0 ; python_version > '3'"
        assert set(lines[1:]) == {f"{name}=={version(name)}" for name in ("cloudpickle", "omegaconf", "hydra-core")}

    def test_a_build_that_the_person_chose_brings_its_own_versions(self, tmp_path: Path):
        pins = [
            "torch==2.13.0",
            "triton==3.9",
            "nvidia-cublas==13.1",
            "cuda-toolkit==13.0",
            "pandas==2.3",
            "torchinfo==1",
        ]
        (tmp_path / "constraints.txt").write_text("\n".join(pins))
        words = ["--extra-index-url", "http://localhost/builds", "torch==2.9.0+cu126"]
        assert _setup._constraints(words).splitlines()[:2] == ["pandas==2.3", "torchinfo==1"]
        assert _setup._constraints(["pandas>=3"]).splitlines()[:4] == [*pins[:4]]

    def test_without_a_list_the_versions_are_those_of_this_machine(self):
        lines = _setup._constraints([]).splitlines()
        assert not [line for line in lines if "+" in line or "tiny" in line]

    def test_the_project_itself_is_not_installed(self):
        assert _setup._requirements([]).splitlines() == ["hydra-core>=1.3", *PLAIN]
        assert _setup._requirements(["tiny==2"]).splitlines() == ["hydra-core>=1.3", *PLAIN[:2]]

    def test_arguments_that_no_shell_would_take_are_refused(self):
        with pytest.raises(SettingsError, match="cannot be read"):
            _setup._words("--pre 'torch")
