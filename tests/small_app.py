"""Writes a small Hydra app's configuration, composed as at the start of a sweep."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import version
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.singleton import Singleton
from hydra.core.utils import setup_globals
from hydra.types import RunMode, TaskFunction
from omegaconf import DictConfig


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Write files, by their path in a folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@contextmanager
def singletons_kept() -> Iterator[None]:
    """What Hydra's fixture `hydra_restore_singletons` does, for fixtures of a wider scope."""
    state = Singleton.get_state()
    try:
        yield
    finally:
        Singleton.set_state(state)


def start_sweep(
    folder: Path, files: Mapping[str, str], overrides: Sequence[str] = ()
) -> tuple[ConfigLoader, DictConfig]:
    """Compose the config that a sweep starts with; the caller keeps Hydra's singletons."""
    hydra = _begin(folder, files)
    return hydra.config_loader, hydra.compose_config("config", list(overrides), RunMode.MULTIRUN)


def sweep_here(folder: Path, files: Mapping[str, str], task: TaskFunction, overrides: Sequence[str]) -> Any:
    """Do in this process what Hydra does for `python app.py -m OVERRIDES`; the caller keeps Hydra's singletons."""
    return _begin(folder, files).multirun("config", task, list(overrides), with_log_configuration=False)


def _begin(folder: Path, files: Mapping[str, str]) -> Hydra:
    write(folder / "conf", files)
    version.setbase("1.3")
    setup_globals()
    GlobalHydra.instance().clear()
    return Hydra.create_main_hydra2("app", create_config_search_path(f"file://{folder}/conf"))
