"""Holds what an installed sweeproute consists of, editable or built."""

import functools
import json
import os
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import PathDistribution, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from test_layers import SIDES, libraries, modules

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

# Asks a fresh process what Hydra finds, and where it found it.
DISCOVERY = """
import inspect, json
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper

found = {
    kind.__name__: {plugin.__name__: inspect.getfile(plugin) for plugin in Plugins.instance().discover(kind)}
    for kind in (Launcher, Sweeper)
}
store = ConfigStore.instance()
found["options"] = {group: store.list(f"hydra/{group}") for group in ("launcher", "sweeper")}
print(json.dumps(found))
"""


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from this checkout, without a network."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("*.whl"))


def discover(*first_on_path: Path) -> dict[str, dict[str, str]]:
    """What a fresh process finds with these folders before all that is installed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, first_on_path))}
    command = [sys.executable, "-W", "error::UserWarning", "-c", DISCOVERY]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def assert_hydra_sees_us(found: dict[str, dict[str, str]], under: Path) -> None:
    assert Path(found["Launcher"]["RoutedLauncher"]).is_relative_to(under)
    assert Path(found["Sweeper"]["SearchSweeper"]).is_relative_to(under)
    assert "routed.yaml" in found["options"]["launcher"]
    assert "search.yaml" in found["options"]["sweeper"]


def test_a_wheel_holds_every_module_of_both_roots(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    expected = {str(file.relative_to(SIDES[package])) for package in SIDES for file in modules(package).values()}
    assert expected <= inside
    assert "sweeproute/models/glm.R" in inside
    assert {name.split("/")[0] for name in inside} == {
        "sweeproute",
        "hydra_plugins",
        "submitit_ssh",
        f"sweeproute-{version()}.dist-info",
    }


def test_the_plugin_namespace_stays_open_to_other_distributions(wheel: Path) -> None:
    assert "hydra_plugins/__init__.py" not in zipfile.ZipFile(wheel).namelist()
    assert not (ROOT / "launchers/hydra_plugins/__init__.py").exists()


def test_a_wheel_carries_its_licence(wheel: Path) -> None:
    assert f"sweeproute-{version()}.dist-info/licenses/LICENSE" in zipfile.ZipFile(wheel).namelist()


def test_every_entry_point_of_a_wheel_names_something_that_exists(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    points = PathDistribution(next(tmp_path.glob("*.dist-info"))).entry_points
    assert {(point.group, point.name) for point in points} == {
        ("console_scripts", "sweeproute"),
        ("hydra.plugins", "routed"),
        ("hydra.plugins", "search"),
        ("mlflow.default_experiment_provider", "sweeproute"),
        ("mlflow.model_registry_store", "journal"),
        ("mlflow.project_backend", "sweeproute"),
        ("mlflow.run_context_provider", "sweeproute"),
        ("mlflow.tracking_store", "journal"),
        ("submitit", "executor"),
        ("submitit", "job_environment"),
    }
    for point in points:
        point.load()


def test_hydra_finds_the_plugins_of_an_editable_install() -> None:
    assert_hydra_sees_us(discover(), ROOT / "launchers")


def test_hydra_finds_the_plugins_of_a_built_install(wheel: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(tmp_path)]
    done = subprocess.run([*command, str(wheel)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert_hydra_sees_us(discover(tmp_path), tmp_path)


def test_everything_that_is_imported_is_declared() -> None:
    declared = {canonicalize_name(Requirement(line).name) for line in PROJECT["project"]["dependencies"]}
    providers = packages_distributions()
    imported = {library: package for package in SIDES for name in modules(package) for library in libraries(name)}
    undeclared = [
        library
        for library in imported
        if not declared & {canonicalize_name(distribution) for distribution in providers.get(library, [library])}
    ]
    assert not undeclared, f"add to the dependencies in pyproject.toml, with the reason: {undeclared}"


def test_every_requirement_is_pinned_within_its_bounds() -> None:
    pins = dict(pin.split(" ; ")[0].split("==") for pin in constraints())
    pinned = {canonicalize_name(name): number for name, number in pins.items()}
    requirements = PROJECT["project"]["dependencies"] + PROJECT["dependency-groups"]["dev"]
    for requirement in map(Requirement, [*requirements, *PROJECT["build-system"]["requires"]]):
        number = pinned.get(canonicalize_name(requirement.name))
        assert number, f"{requirement} has no pin in constraints.txt: make constraints"
        assert requirement.specifier.contains(number), f"{requirement} excludes its own pin {number}"


def test_a_pin_binds_every_build_of_its_version() -> None:
    assert not [pin for pin in constraints() if "+" in pin]


def test_mlflow_builds_its_environment_from_the_same_pins() -> None:
    environment = (ROOT / "python_env.yaml").read_text(encoding="utf-8")
    assert "-c constraints.txt" in environment
    assert next(pin for pin in constraints() if pin.startswith("pip==")) in environment


def test_the_version_is_one_everywhere() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {version()}\n" in citation


@functools.cache
def constraints() -> list[str]:
    """The lines of constraints.txt that are pins."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def version() -> str:
    """The version that pyproject.toml gives."""
    return PROJECT["project"]["version"]
