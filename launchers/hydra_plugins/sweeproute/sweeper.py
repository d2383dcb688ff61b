"""The `search` sweeper: asks for the next trial when a slot is free, from one search space per model."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, read_write

from .config import SearchSweeperConf

if TYPE_CHECKING:
    from ._search import Search


class SearchSweeper(Sweeper):
    """Searches over any launcher; over one that streams, a trial starts when a slot frees, never when a batch ends."""

    def __init__(self, **settings: Any) -> None:
        self.settings = SearchSweeperConf(**settings)
        self.config: DictConfig | None = None
        self.launcher: Launcher | None = None
        self._search: Search | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what Hydra hands over, and make the launcher.

        Raises:
            SettingsError: There is no sweep to resume.
        """
        from hydra.core.override_parser.types import Quote, QuotedString
        from hydra.core.plugins import Plugins

        # lazy import: the scan for plugins imports this file on every start of Hydra
        from ._search import Search, resume_folder

        folder = resume_folder(self.settings.resume, config)
        if folder is not None:
            with read_write(config.hydra):
                # In place: the callbacks hold this very config, and follow the folder that it names.
                config.hydra.sweep.dir = str(folder)
                # Jobs are composed from these, and `${now:}` would name another.
                quoted = QuotedString(str(folder), Quote.single).with_quotes()
                config.hydra.overrides.hydra.append(f"hydra.sweep.dir={quoted}")
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )
        self._search = Search(self.settings, config, hydra_context, self.launcher, resumed=folder is not None)

    def sweep(self, arguments: list[str]) -> Any:
        """Run the sweep.

        Args:
            arguments: The command line's overrides of the app's config.

        Returns:
            The returns of each batch; one batch where the launcher streams.

        Raises:
            SettingsError: Nothing to sweep, or an axis that does not exist.
            JobsFailedError: The sweep went through, and some of its jobs failed.
        """
        assert self.config is not None
        assert self._search is not None
        return self._search.run(arguments, Path(self.config.hydra.sweep.dir))
