"""Composes and runs trials of the project's own configuration, on five small seasons."""

import copy
import functools
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from omegaconf import DictConfig, OmegaConf, open_dict

import sweeproute.config  # noqa: F401  (registers the schema)

ROOT = Path(__file__).parents[1]
# Two folds over a league of five seasons: a trial takes a fraction of a second once the libraries are there.
SMALL = (
    "data.first_season=2015",
    "data.last_season=2019",
    "validation.first_test_season=2018",
    "validation.selection_seasons=[2018,2019]",
    "validation.holdout_seasons=null",
)

# One worker is enough, and half the imports.
ONE_SLOT = "registry.platforms.local_m4.max_concurrent_jobs=1"


def compose(*overrides: str, primary: str = "config") -> DictConfig:
    """The trial's config that a command line composes, without Hydra's own node; or that of another primary config."""
    return copy.deepcopy(_compose(overrides, primary))


@functools.cache
def _compose(overrides: tuple[str, ...], primary: str) -> DictConfig:
    with hydra.initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return hydra.compose(primary, list(overrides))


@contextmanager
def composed(folder: Path, *overrides: str) -> Iterator[DictConfig]:
    """The config of a trial whose output folder this is, as Hydra would hand it to the task."""
    state = Singleton.get_state()
    try:
        with hydra.initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            config = hydra.compose("config", list(overrides), return_hydra_config=True)
        OmegaConf.set_readonly(config.hydra, False)
        with open_dict(config.hydra):
            config.hydra.runtime.output_dir = str(folder)
        HydraConfig.instance().set_config(config)
        yield OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    finally:
        Singleton.set_state(state)


def start(folder: Path, *words: str, uri: str | None = None, **environment: str) -> "subprocess.Popen[str]":
    """Start `python train.py WORDS` in a folder, without plots; without a store it is not tracked, and keeps no model.

    To write a model imports all of scikit-learn and torch, three seconds of each process that fits one.
    """
    untracked = [] if uri else ["~hydra.callbacks.tracking"]
    if not uri and not any(word.startswith("tracking.models=") for word in words):
        untracked.append("tracking.models=none")
    store = {"MLFLOW_TRACKING_URI": uri} if uri else {}
    return subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *words, "plots=false", *untracked],
        cwd=folder,
        env={**os.environ, **store, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process: "subprocess.Popen[str]", code: int = 0) -> str:
    """Wait for a command, and give what it said."""
    output, errors = process.communicate(timeout=120)
    assert process.returncode == code, output + errors
    return output + errors


def job_folders(root: Path) -> dict[tuple[str, ...], Path]:
    """Folder of each job below a sweep's folder or a run's, by its overrides."""
    found: dict[tuple[str, ...], Path] = {}
    for path in sorted(root.rglob("overrides.yaml")):
        words: Sequence[str] = OmegaConf.to_object(OmegaConf.load(path))  # type: ignore[assignment]
        found[tuple(words)] = path.parents[1]
    return found
