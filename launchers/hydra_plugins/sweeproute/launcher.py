"""The `routed` launcher: sends each job to the platform that the rules name, and gives results back as they come."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from .config import RoutedLauncherConf

if TYPE_CHECKING:
    from ._compose import Composer
    from ._records import SweepFolder
    from ._source import JobSource


class RoutedLauncher(Launcher):
    """Routes jobs over platforms.

    Any sweeper may call `launch`; one that can say what comes next while jobs run calls `stream`.
    """

    def __init__(self, **settings: Any) -> None:
        self.settings = RoutedLauncherConf(**settings)
        self.config: DictConfig | None = None
        self.task_function: TaskFunction | None = None
        self.hydra_context: HydraContext | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what Hydra hands over."""
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run a batch of jobs.

        Args:
            job_overrides: The overrides of each job.
            initial_job_idx: Number of the first.

        Returns:
            One JobReturn per job, in the order asked for; a failed job's raises its error when its value is read.

        Raises:
            SettingsError: Something in the launcher's settings cannot be served.
        """
        # lazy import: the scan for plugins imports this file on every start of Hydra
        from ._errors import SettingsError
        from ._records import SweepFolder
        from ._route import sweep_record
        from ._source import Points

        assert self.config is not None
        if self.settings.dry_run:
            raise SettingsError("hydra.launcher.dry_run plans a sweep as a whole, which takes hydra/sweeper=search.")
        points = Points({initial_job_idx + n: tuple(o) for n, o in enumerate(job_overrides)})
        record = sweep_record(self.config)
        sweep = SweepFolder.open(self.config.hydra.sweep.dir, record, keep=initial_job_idx > 0)
        with sweep:
            self.stream(points, sweep)
        return [points.returns[number] for number in sorted(points.returns)]

    def stream(self, points: "JobSource", sweep: "SweepFolder", composer: "Composer | None" = None) -> None:
        """Run jobs from a source until it has no more.

        Args:
            points: Where jobs come from, and where their returns go.
            sweep: The sweep's folder, held by the caller.
            composer: One that has composed for this sweep before; None makes one.

        Raises:
            SettingsError: Something in the launcher's settings cannot be served.
            KeyboardInterrupt: The person stopped the sweep; every job that ran is recorded as KILLED.
        """
        # lazy import: see launch
        from ._route import Route

        assert self.config is not None
        assert self.hydra_context is not None
        assert self.task_function is not None
        Route(self.settings, self.config, self.hydra_context, self.task_function, sweep, composer).run(points)
