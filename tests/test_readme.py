"""Holds what the README tells people to type to what is there; `.ci/run` runs its blocks that are marked bash."""

import re
import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser

import sweeproute.config  # noqa: F401  (registers the schema before Hydra composes)

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^python .*train\.py (.+)$", README.replace("\\\n", " "), re.MULTILINE)


def first_values(command: str) -> list[str]:
    """The overrides of a command's first job."""
    words = [word for word in shlex.split(command, comments=True) if not word.startswith("-")]
    overrides = OverridesParser.create().parse_overrides(words)
    return [
        f"{override.get_key_element()}={next(override.sweep_string_iterator())}"
        if override.is_sweep_override()
        else word
        for override, word in zip(overrides, words, strict=True)
    ]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_configuration_that_the_readme_names_composes(command: str) -> None:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        compose("config", overrides=first_values(command), return_hydra_config=True)


def test_every_file_that_the_readme_names_exists() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    paths = re.findall(r"`((?:conf|src|launchers|tests|docs|benchmarks|\.ci)/[^`<>*]+)`", README)
    missing = [name for name in [*links, *paths] if not (ROOT / name).exists()]
    assert not missing


def test_every_make_target_that_the_readme_names_exists() -> None:
    targets = re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    named = set(re.findall(r"^make (\w+)$|`make (\w+)`", README, re.MULTILINE))
    assert {first or second for first, second in named} <= set(targets)
