"""Sets up a job's log as Hydra does, or only moves it to the next job's file where nothing else has changed."""

import copy
import logging
from pathlib import Path
from typing import Any

from hydra.core.utils import configure_log
from omegaconf import DictConfig, OmegaConf


class JobLog:
    """The logging of one process over its jobs: configuring it anew for each would cost 2 ms."""

    def __init__(self) -> None:
        self._last: Any = None

    def configure(self, hydra: DictConfig) -> None:
        """Set up logging for a job.

        Args:
            hydra: The job's hydra node.
        """
        settings = OmegaConf.to_container(hydra.job_logging, resolve=True) if hydra.job_logging is not None else None
        verbose = OmegaConf.to_container(hydra.verbose) if OmegaConf.is_config(hydra.verbose) else hydra.verbose
        files = _take_filenames(settings)
        if self._last == (settings, verbose) and self._move(files):
            return
        configure_log(hydra.job_logging, hydra.verbose)
        self._last = copy.deepcopy((settings, verbose))

    def _move(self, files: dict[str, str]) -> bool:
        """Point the file handlers to new files; False where they are not plain ones that this can be done to."""
        # getHandlerByName of Python 3.12 reads this very registry
        handlers = {name: logging._handlers.get(name) for name in files}  # type: ignore[attr-defined]
        if not all(type(handler) is logging.FileHandler for handler in handlers.values()):
            return False
        for name, handler in handlers.items():
            assert isinstance(handler, logging.FileHandler)
            handler.acquire()
            try:
                if handler.stream is not None:
                    handler.stream.close()
                # The handler stays registered as it is: closing it would end it for the loggers that hold it.
                handler.baseFilename = str(Path(files[name]).absolute())
                handler.stream = handler._open()
            finally:
                handler.release()
        return True


def _take_filenames(settings: Any) -> dict[str, str]:
    """Take the file names out of resolved settings, by handler."""
    handlers = settings.get("handlers") if isinstance(settings, dict) else None
    named = {name: handler for name, handler in (handlers or {}).items() if "filename" in handler}
    return {name: handler.pop("filename") for name, handler in named.items()}
