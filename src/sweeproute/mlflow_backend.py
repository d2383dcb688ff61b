"""MLflow's project backend `sweeproute`: routes `mlflow run -b sweeproute` to a platform; found by an entry point."""

import contextlib
import shlex
import signal
import sys
import time
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow.entities import RunStatus
from mlflow.exceptions import ExecutionException
from mlflow.projects.backend.abstract_backend import AbstractBackend
from mlflow.projects.submitted_run import SubmittedRun

from sweeproute import project_coordinator, project_folder, project_home
from sweeproute.errors import explain
from sweeproute.project_folder import ProjectRun
from sweeproute.project_settings import STORAGE, BackendConfig, read
from sweeproute.store import absolute, connect
from sweeproute.sweep_folder import SweepFolder, launch_record, sweep_record
from sweeproute.tracking_status import Settings, Status, save, saved_settings

if TYPE_CHECKING:
    import subprocess

    from sweeproute.project_platforms import Routing

# Seconds between two looks at a run that is waited for, and that a coordinator without a sweep has to end.
_LOOK_S, _STOPS_S = 0.2, 15.0
# Coordinators that a wait starts anew, one after the other.
_STARTS = 3


class SweeprouteBackend(AbstractBackend):
    """Sends the command of an entry point where the rules of a hardware registry would send a job."""

    def run(
        self,
        project_uri: str,
        entry_point: str,
        params: Mapping[str, Any] | None,
        version: str | None,
        backend_config: Mapping[str, Any] | None,
        tracking_uri: str,
        experiment_id: str,
    ) -> "RoutedRun":
        """Start a run, and return at once.

        Args:
            project_uri: A folder, or a git address.
            entry_point: One of the project's.
            params: Its parameters.
            version: A commit or a branch, of a git address.
            backend_config: See `sweeproute.project_settings.BackendConfig`.
            tracking_uri: The store.
            experiment_id: The experiment.

        Returns:
            The run, to be waited for, asked and cancelled.

        Raises:
            mlflow.exceptions.ExecutionException: A setting, a platform or the project cannot be served.
        """
        from mlflow.projects.utils import fetch_and_validate_project, get_or_create_run, load_project

        given = {str(name): str(value) for name, value in (params or {}).items()}
        with _sentences():
            config = read(backend_config)
        work = Path(fetch_and_validate_project(project_uri, version, entry_point, given))
        project = load_project(str(work))
        if project.docker_env:
            raise ExecutionException(
                f"The project {project_uri} runs in a container (docker_env). The backend sweeproute runs commands in "
                "the environment that a platform has: take docker_env out, or use MLflow's own backend."
            )
        with _sentences():
            routing = _routing(project, work, entry_point, given, config)
        storage = (backend_config or {}).get(STORAGE)
        command, files = _command(project, entry_point, given, storage)
        uri = absolute(tracking_uri)
        active = get_or_create_run(None, project_uri, experiment_id, str(work), version, entry_point, given)
        submitted = RoutedRun(active.info.run_id)
        client = connect(uri)
        run = ProjectRun(
            run_id=active.info.run_id,
            experiment=client.get_experiment(experiment_id).name,
            uri=project_uri,
            entry_point=entry_point,
            folder=str(work),
            sweep=f"project_{active.info.run_id[:12]}",
            here=routing.here,
        )
        _lay_out(submitted.folder, run, routing, config, command, files, client, uri, experiment_id)
        submitted.process = project_coordinator.start(submitted.folder, work, uri)
        home = routing.home
        where = f"goes to {home.platform}" if home.platform else "waits for a platform"
        then = f"`sweeproute status {run.sweep}` looks at it, `sweeproute cancel {run.sweep}` ends it."
        print(f"Run {run.run_id} {where} ({home.reason}); {then}", flush=True)
        return submitted


class RoutedRun(SubmittedRun):
    """A run of a project that was routed; another process may go on with it by its id.

    Args:
        run_id: MLflow's id of it.

    Attributes:
        folder: Where its files are kept on this machine.
        process: The coordinator, where this process has started it.
    """

    def __init__(self, run_id: str) -> None:
        super().__init__()
        self._run_id = run_id
        self.folder = project_folder.root_of(run_id)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def run_id(self) -> str:
        """MLflow's id of it."""
        return self._run_id

    def wait(self) -> bool:
        """Wait until all of it is in its store, and say whether it went well.

        A coordinator that has died is started again: it goes on with what runs on another machine.

        Raises:
            mlflow.exceptions.ExecutionException: No coordinator lives for long.
        """
        starts = 0
        while (status := project_folder.written(self.folder)) is None:
            if self._coordinator() is None and project_folder.written(self.folder) is None:
                starts += 1
                if starts > _STARTS:
                    sweep = project_folder.load(self.folder).sweep
                    raise ExecutionException(
                        f"What sees to run {self._run_id} has died {_STARTS} times; its log is "
                        f"{project_folder.log(self.folder)}. `sweeproute resume {sweep}` tries again."
                    )
                self.bring_home()
            time.sleep(_LOOK_S)
        if self.process is not None:
            self.process.wait()
        return status == "FINISHED"

    def bring_home(self) -> str:
        """Write what is here of it where nobody sees to that; what has not ended is seen to again, by a new process.

        Returns:
            How it stands, as `get_status` says.

        Raises:
            Exception: What its store raises when it refuses.
        """
        if project_folder.written(self.folder) is None and self._coordinator() is None:
            uri = self._uri()
            if project_home.bring(self.folder, uri) == "RUNNING":
                begun = sweep_record(self.folder) is not None
                work = Path(project_folder.load(self.folder).folder)
                self.process = project_coordinator.start(self.folder, work, uri, again=begun)
        return project_folder.written(self.folder) or "RUNNING"

    def get_status(self) -> str:
        """How it stands, in MLflow's words: SCHEDULED, RUNNING, FINISHED, FAILED or KILLED."""
        status = project_folder.written(self.folder)
        if status is None:
            attempts = SweepFolder(self.folder).attempts()
            states = {(launch_record(one.folder) or {}).get("state") for one in attempts}
            status = "SCHEDULED" if states <= {None, "QUEUED"} else "RUNNING"
        return str(RunStatus.to_string(RunStatus.from_string(status)))

    def cancel(self) -> None:
        """End its command with all that it has started, on whichever machine, and wait for that; it is then KILLED."""
        from sweeproute.commands import cancel

        if project_folder.written(self.folder) is not None:
            return
        run, coordinator = project_folder.load(self.folder), self._coordinator()
        if (sweep_record(self.folder) or {}).get("id") == run.sweep:
            # Its words are of a command, and no part of what the caller prints.
            # It ends badly where some of it may be left on a machine that does not answer, which it has said.
            with contextlib.redirect_stdout(sys.stderr), _sentences(), contextlib.suppress(SystemExit):
                cancel.run(Namespace(sweep=run.sweep))
        elif coordinator is not None:
            # Before its sweep has begun.
            coordinator.send_signal(signal.SIGINT)
        self._wait_for_end()
        if project_folder.written(self.folder) is None:
            project_home.bring(self.folder, self._uri(), "it was cancelled")

    def _wait_for_end(self) -> None:
        deadline = time.monotonic() + _STOPS_S
        while (coordinator := self._coordinator()) is not None:
            if time.monotonic() > deadline:
                coordinator.kill()
            time.sleep(_LOOK_S)

    def _coordinator(self) -> Any:
        if self.process is not None:
            self.process.poll()  # else it would stay as a zombie
        return project_folder.coordinator(self.folder)

    def _uri(self) -> str:
        settings = saved_settings(self.folder)
        if settings is None:
            raise ExecutionException(
                f"Run {self._run_id} was not started by the backend sweeproute on this machine, by this user."
            )
        return settings.uri


def _routing(project: Any, work: Path, entry_point: str, given: Mapping[str, str], config: BackendConfig) -> "Routing":
    from sweeproute.project_platforms import routing

    final, further = project.get_entry_point(entry_point).compute_parameters(given, storage_dir=None)
    named = {name: given.get(name, _unquoted(value)) for name, value in (*final.items(), *further.items())}
    return routing(config, work, named, f"{project.name or work.name}:{entry_point}")


def _unquoted(value: str) -> str:
    return " ".join(shlex.split(value))


def _command(project: Any, entry_point: str, given: Mapping[str, str], storage: str | None) -> tuple[str, list[Path]]:
    """The command as MLflow makes it, and the files that its parameters of the type `path` name."""
    from mlflow.projects.utils import get_entry_point_command

    (command,) = get_entry_point_command(project, entry_point, dict(given), storage)
    declared = project.get_entry_point(entry_point).parameters
    named = [Path(given[name]).absolute() for name, one in declared.items() if one.type == "path" and name in given]
    return command, [path for path in named if path.is_file() and str(path) in command]


def _lay_out(
    root: Path,
    run: ProjectRun,
    routing: "Routing",
    config: BackendConfig,
    command: str,
    files: list[Path],
    client: Any,
    uri: str,
    experiment_id: str,
) -> None:
    """Write what the coordinator needs, and what the run says of where it goes."""
    from hydra_plugins.sweeproute._code import default_identity
    from sweeproute.project_platforms import leaves

    home = routing.home
    facts = {"kind": "project", "routed": run.sweep, "platform": home.platform, "reason": home.reason}
    for name, value in facts.items():
        client.set_tag(run.run_id, f"sweeproute.{name}", str(value))
    found = client.get_run(run.run_id)
    # What is outside of the project; what is in it travels with it.
    outside = {f"f{n}": str(path) for n, path in enumerate(files) if not path.is_relative_to(run.folder)}
    told = {
        "command": command,
        "folder": run.folder,
        "here": list(routing.here),
        "run_id": run.run_id,
        "experiment": run.experiment,
        "experiment_id": str(experiment_id),
        "name": found.info.run_name,
        "params": found.data.params,
        "tags": found.data.tags,
        "files": outside,
        "identity": default_identity(Path(run.folder)),
    }
    named = leaves(routing.facts)
    project_coordinator.prepare(
        root,
        told=told,
        files=outside,
        job={named[name]: value for name, value in routing.facts.items()},
        launcher=routing.launcher | {"fields": {name: f"job.{leaf}" for name, leaf in named.items()}},
        sweep=run.sweep,
        name=f"{Path(run.folder).name}:{run.entry_point}",
        env=config.env,
    )
    project_folder.save(root, run)
    save(root, Settings(uri, run.experiment, parent_run=run.run_id), Status(0, 1))


@contextlib.contextmanager
def _sentences() -> Any:
    """Let MLflow say in a sentence what a person got wrong."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        yield
    except (ValueError, LookupError, RuntimeError, HydraException, OmegaConfBaseException) as error:
        said = explain(error)
        if said is None:
            raise
        raise ExecutionException(said) from None
