"""Starts tracking with a command, and says at its end what came out."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from sweeproute import code_snapshot, plots, report_record, summary, sweep_end
from sweeproute.errors import explain, fail_at_end, nobody_reads
from sweeproute.mlflow_journal import is_journal
from sweeproute.store import DEFAULT_URI, absolute, masked
from sweeproute.sweep_folder import SweepFolder, own, sweep_record
from sweeproute.tracking_status import UNFINISHED, Settings, Status, saved_status

# Package of our launcher and sweeper, as their `_target_` begins.
_OURS = "hydra_plugins.sweeproute."
# Seconds between two looks for the sweep's record; of waiting before it is said; between two lines about it.
_POLL_S, _PATIENT_S, _LINE_S = 0.25, 1.5, 5.0
# Seconds after which the drawing of plots is given up.
_DRAW_S = 120.0


class Tracking(Callback):
    """Follows a sweep, or a run alone, from its first job to its last line.

    Hydra pickles callbacks to every worker, so that only plain settings are kept, beside what lives here alone.
    """

    def __init__(self, uri: str, experiment: str, models: str = "best", metric: Any = "auc") -> None:
        """Store the settings.

        Args:
            uri: Tracking URI; a relative SQLite path is taken from the working directory.
            experiment: The experiment's name.
            models: Fitted models that become artifacts: best, all or none.
            metric: The metric that chooses the best, where the sweep's record does not name one; the first of several.
        """
        self.uri = uri
        self.experiment = experiment
        self.models = models
        self.metric = metric if isinstance(metric, str) else str(next(iter(metric), "auc"))
        self._root: Path | None = None
        self._process: TrackerProcess | None = None
        self._search: _Search | None = None
        self._settings: Settings | None = None

    def __getstate__(self) -> dict[str, Any]:
        # The pickle lies in the sweep's folder, and no worker needs the store's password.
        return self.__dict__ | {
            "uri": masked(self.uri),
            "_root": None,
            "_process": None,
            "_search": None,
            "_settings": None,
        }

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Follow the folder of a run alone."""
        self._start(Path(config.hydra.run.dir).absolute(), self._read_settings(), config)

    def on_run_end(self, config: DictConfig, **_: Any) -> None:  # noqa: ARG002  (Hydra's signature)
        """Wait for what is still to write, and say what came out."""
        self._end()

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Follow the sweep's folder, as soon as its record says which one it is."""
        settings = self._read_settings()
        if _is_routed(config):
            # On resume the sweeper names another folder in this very config, later.
            self._search = _Search(config, lambda root: self._start(root, settings, config))
        else:
            self._start(Path(config.hydra.sweep.dir).absolute(), settings, config)

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:  # noqa: ARG002  (Hydra's signature)
        """Wait for what is still to write, and say what came out."""
        if self._search is not None:
            self._search.end()
        self._end()

    def _read_settings(self) -> Settings:
        # Left in the environment, every worker and every tool below would write into the project's own run.
        parent_run = os.environ.pop("MLFLOW_RUN_ID", None)
        os.environ.pop("MLFLOW_EXPERIMENT_ID", None)
        self._settings = Settings(
            absolute(self.uri), self.experiment, self.models, self.metric, parent_run or None, sys.argv[0]
        )
        return self._settings

    def _start(self, root: Path, settings: Settings, config: DictConfig) -> None:
        self._root = root
        # A folder of journals takes what MLflow's own calls log; a trial has its journal already, in its own folder.
        if not is_journal(settings.uri):
            self._process = TrackerProcess(root, settings, _code(config))

    def _end(self) -> None:
        root, settings = self._root, self._settings
        if root is None or settings is None:
            return
        if self._process is not None:
            self._process.finish(_say)
        for line in summary.lines(
            root, uri=settings.uri, experiment=settings.experiment, argv=sys.argv, metric=settings.metric
        ):
            _say(line)
        if told := code_snapshot.problem(root):
            _say(told)


class Plots(Callback):
    """Has the plots of a sweep drawn when it has ended.

    Hydra tells callbacks of the end in reverse: behind the tracking of an app, it draws before tracking keeps them.
    """

    def __init__(self, draw: bool = True, metric: Any = "auc") -> None:
        """Store the settings.

        Args:
            draw: Whether to draw at all.
            metric: The metric that is drawn, where the sweep's record does not name one.
        """
        self.draw = draw
        self.metric = metric if isinstance(metric, str) else "auc"
        self._config: DictConfig | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_config": None}

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Keep the config, in which the sweeper names the folder: on resume another one, later."""
        self._config = config

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:  # noqa: ARG002  (Hydra's signature)
        """Draw, where there are trials enough and nobody has stopped the sweep, and say where the plots are."""
        if self._config is None or not self.draw:
            return
        root = Path(self._config.hydra.sweep.dir).absolute()
        record = sweep_record(root) or {}
        outcomes = SweepFolder(root).outcomes()
        finished = sum(outcome.state == "FINISHED" and not outcome.follow_up for outcome in outcomes)
        if finished >= plots.FEWEST and record.get("state") != "KILLED":
            _say(_drawn(root, str(record.get("id") or root), self.metric))


def _drawn(root: Path, name: str, metric: str) -> str:
    """Draw in a process of its own, so that nothing of what draws is imported here; what came of it, in a sentence."""
    command = [sys.executable, "-P", "-m", "sweeproute.plots", str(root), "--default-metric", metric]
    again = f"`sweeproute plots {name}` draws them"
    log = own(root, "plots.log")
    try:
        log.parent.mkdir(exist_ok=True)
        with log.open("wb") as errors:
            # Ctrl-C is for the coordinator alone, which then ends it.
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                timeout=_DRAW_S,
                check=False,
                start_new_session=True,
            )
    except KeyboardInterrupt:
        return f"plots: left out; {again} later."
    except subprocess.TimeoutExpired:
        return f"plots: not drawn within {_DRAW_S:.0f} s; {again} without a limit."
    except OSError as error:
        return f"plots: not drawn, since {error}; {again} later."
    told = done.stdout.strip()
    if done.returncode == 0:
        return f"Plots: {summary.short_path(root / plots.FOLDER)}" + (f"; {told}" if told else "")
    if told:
        return f"plots: {told}"
    return f"plots: not drawn (exit code {done.returncode}; the error is in {log}); {again} again."


class Report(Callback):
    """Has the report of a sweep made when it has ended: tables, figures, and the message that hands them on.

    Hydra tells callbacks of the end in reverse: it stands before tracking, so that all runs are written by then.
    """

    def __init__(self, settings: Any, uri: str = DEFAULT_URI, request: str | None = None) -> None:
        """Store the settings.

        Args:
            settings: The report's; see `config.Report`.
            uri: Tracking URI; a relative SQLite path is taken from the working directory.
            request: Path of the request that the sweep answers, as `sweeproute request` has written it.
        """
        self.settings = settings
        self.uri = uri
        self.request = request
        self._config: DictConfig | None = None
        self._asked: str | None = None

    def __getstate__(self) -> dict[str, Any]:
        # A worker makes no report, and needs no password.
        return self.__dict__ | {"uri": masked(self.uri), "settings": None, "_config": None, "_asked": None}

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Keep the config, in which the sweeper names the folder later, and the request as it is now."""
        self._config = config
        if self.request is not None:
            try:
                self._asked = Path(self.request).expanduser().read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                _say(f"sweep.request={self.request} cannot be read ({error}); the sweep goes on without it.")

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:  # noqa: ARG002  (Hydra's signature)
        """Make it, where one is wanted and nobody has stopped the sweep; say what came of it."""
        try:
            well = self._config is None or self._make(self._config)
        except Exception as error:  # Hydra would make a warning of it, and the exit code would be 0
            said = explain(error) or f"{type(error).__name__}: {error}".splitlines()[0]
            _say(f"report: not made, since {said}")
            root = None if self._config is None else Path(self._config.hydra.sweep.dir).absolute()
            if root is not None and root.is_dir():
                with suppress(OSError):
                    report_record.note(root, f"not made, since {said}")
            well = False
        if not well:
            fail_at_end()

    def _make(self, config: DictConfig) -> bool:
        root = Path(config.hydra.sweep.dir).absolute()
        if not root.is_dir():
            return True
        sweep_end.keep_request(root, self._asked)
        settings = OmegaConf.to_container(self.settings, resolve=True)
        assert isinstance(settings, dict)
        told = {str(key): value for key, value in settings.items()}
        # Of a sweep that another machine coordinates the store is here: the report is made when all has come home.
        if config.hydra.launcher.get("here") is not None or not sweep_end.wanted(told):
            return True
        return sweep_end.make_report(root, told, self.uri, [str(word) for word in config.hydra.overrides.task], _say)


class TrackerProcess:
    """The tracker beside the coordinator."""

    def __init__(self, root: Path, settings: Settings, code: Sequence[str] = ()) -> None:
        """Start it.

        Args:
            root: The folder that it follows.
            settings: Where the runs go.
            code: The app's folder, and what its results depend on, of which it keeps a snapshot; empty for none.
        """
        self.root = root
        own(root, "").mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-P", "-m", "sweeproute.tracking", str(root)]
        command += ["--experiment", settings.experiment, "--models", settings.models, "--metric", settings.metric]
        command += ["--script", settings.script]
        if settings.parent_run:
            command += ["--parent-run", settings.parent_run]
        if code:
            command += ["--code", json.dumps(list(code))]
        with own(root, "tracking.log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                # The address may hold a password, which the command line would show to everyone on this machine.
                env={**os.environ, "MLFLOW_TRACKING_URI": settings.uri},
                # Ctrl-C is for the coordinator alone.
                start_new_session=True,
            )

    def finish(self, say: Callable[[str], None]) -> None:
        """Say that all jobs have ended, and wait until all is written or the store has refused for a while.

        Args:
            say: Takes a line for the person.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(b"over\n")
            self._process.stdin.close()
        except BrokenPipeError:
            # It died; the exit code below says so.
            pass
        try:
            self._wait(say)
        except KeyboardInterrupt:
            say("tracking: the rest is written in the background")
            return
        status = saved_status(self.root)
        if self._process.returncode not in (0, UNFINISHED):
            say(
                f"tracking: the tracker died (exit code {self._process.returncode}; its log is "
                f"{own(self.root, 'tracking.log')}); `sweeproute sync {self._name()}` writes what is missing."
            )
        elif status.problem is not None:
            say(
                f"tracking: {status.total - status.written} of {status.total} runs are not written yet, since "
                f"{status.problem}; `sweeproute sync {self._name()}` writes them later."
            )

    def _wait(self, say: Callable[[str], None]) -> None:
        said: Status | None = None
        pause = _PATIENT_S
        while True:
            try:
                self._process.wait(pause)
                return
            except subprocess.TimeoutExpired:
                status = saved_status(self.root)
                if status != said and status.total > status.written:
                    say(f"tracking: {status.total - status.written} of {status.total} runs still to write")
                said, pause = status, _LINE_S

    def _name(self) -> str:
        return str((sweep_record(self.root) or {}).get("id") or self.root)


class _Search:
    """Looks for the record of the sweep that this process coordinates."""

    def __init__(self, config: DictConfig, found: Callable[[Path], None]) -> None:
        self._config = config
        self._found = found
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tracking", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Stop looking; a last look catches a sweep that was shorter than the pause."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            last = self._over.wait(_POLL_S)
            root = Path(self._config.hydra.sweep.dir).absolute()
            if (sweep_record(root) or {}).get("pid") == os.getpid():
                self._found(root)
                return
            if last:
                if SweepFolder(root).attempts():
                    self._found(root)
                return


def _code(config: DictConfig) -> list[str]:
    """The folder of an app, and what it says that its results depend on; empty for an app that does not say it."""
    named = OmegaConf.select(config, "code")
    if not OmegaConf.is_list(named):
        return []
    sources = config.hydra.runtime.config_sources
    folders = [Path(source.path).parent for source in sources if source.provider == "main" and source.schema == "file"]
    return [str((folders or [Path.cwd()])[0]), *map(str, named)]


def _is_routed(config: DictConfig) -> bool:
    """Whether our launcher or our sweeper runs the jobs, which then keep a record of the sweep."""
    targets = (OmegaConf.select(config, f"hydra.{part}._target_") for part in ("launcher", "sweeper"))
    return any(str(target).startswith(_OURS) for target in targets)


def _say(line: str) -> None:
    try:
        print(line, flush=True)
    except BrokenPipeError:
        nobody_reads()
