"""Sets up a job's log as Hydra does, or only moves it to the next job's file where nothing else has changed."""

import logging
from pathlib import Path
from typing import Any

from hydra.core.utils import configure_log
from omegaconf import DictConfig, OmegaConf

from ._references import resolve


class JobLog:
    """The logging of one process over its jobs: configuring it anew for each would cost 2 ms."""

    def __init__(self) -> None:
        self._last: Any = None
        self._loggers: list[logging.Logger] = []
        self._configured: list[Any] = []

    def configure(self, config: DictConfig, base: str) -> None:
        """Set up logging for a job.

        Args:
            config: The job's config with its hydra node.
            base: What names the base config that it was made from: jobs of one base differ in their files alone.
        """
        if base != self._last or self._configured != self._state() or not self._move(config):
            configure_log(config.hydra.job_logging, config.hydra.verbose)
            self._last = base
            self._loggers = [logging.getLogger(), *map(logging.getLogger, _named(config))]
            self._configured = self._state()

    def _state(self) -> list[Any]:
        """All of the configured loggers that a job may have changed, and that configuring would set right."""
        return [
            (
                logger.level,
                logger.propagate,
                logger.disabled,
                [(handler, handler.level, handler.formatter) for handler in logger.handlers],
                list(logger.filters),
            )
            for logger in self._loggers
        ]

    def _move(self, config: DictConfig) -> bool:
        """Point the file handlers to new files; False where there is more to a job's log than that."""
        settings = OmegaConf.to_container(config.hydra.job_logging) if config.hydra.job_logging is not None else None
        if not isinstance(settings, dict) or settings.get("disable_existing_loggers", True):
            return False
        files = {}
        for name, handler in (settings.get("handlers") or {}).items():
            if "filename" in handler:
                files[name] = resolve(str(handler.pop("filename")), config)
        # getHandlerByName of Python 3.12 reads this very registry
        handlers = {name: logging._handlers.get(name) for name in files}  # type: ignore[attr-defined]
        plain = all(files.values()) and all(type(handler) is logging.FileHandler for handler in handlers.values())
        if not plain or "${" in str(settings):
            return False
        for name, handler in handlers.items():
            handler.acquire()
            try:
                if handler.stream is not None:
                    handler.stream.close()
                # The handler stays registered as it is: closing it would end it for the loggers that hold it.
                handler.baseFilename = str(Path(str(files[name])).absolute())
                handler.stream = None if handler.delay else handler._open()
            finally:
                handler.release()
        return True


def _named(config: DictConfig) -> list[str]:
    """The loggers that configuring sets up by name."""
    listed = OmegaConf.select(config.hydra, "job_logging.loggers")
    verbose = config.hydra.verbose
    names = [verbose] if isinstance(verbose, str) else [] if isinstance(verbose, bool) else verbose
    return [str(name) for name in (*(listed or ()), *names)]
