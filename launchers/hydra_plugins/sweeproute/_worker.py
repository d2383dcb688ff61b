"""Runs one job after another in a process that stays warm."""

import contextlib
import json
import os
import pickle
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hydra import version
from hydra._internal.callbacks import Callbacks
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobRuntime, JobStatus, _flush_loggers, env_override
from hydra.types import TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.basecontainer import BaseContainer

from ._compose import Point, apply, build, dress, parse
from ._console import CONSOLE, console
from ._files import ConfigFiles
from ._hydra_versions import allowing, key_path, log_failure
from ._interrupt import heard
from ._job_log import JobLog
from ._reservation import Reservation, reserved
from ._shared_fit import Follower, Group, offer
from ._threads import held
from ._values import describe, to_json

# In the environment of a task, and of what it starts: a JSON object of what is known of its attempt, with its hashes.
RUN_FACTS = "SWEEPROUTE_RUN"


@dataclass(frozen=True)
class Message:
    """One attempt at a job, as it is sent to the process that runs it.

    Attributes:
        base: Path of the pickled base config.
        point: The job's own part of its config.
        settled: What the platform adds.
        number: The job's number.
        folder: The attempt's folder, absolute.
        preload: Dotted path of the function that warms this process; None for none.
        identity: Dotted path of the function from a config to its hashes; None for none.
        threads: Threads that the job may use; None leaves them alone.
        far: How this machine differs from the one that composed the config; None where it is the same.
        reservation: The slots that sweeps share here; None where somebody else keeps them.
        group: The points that the task may answer for beside its own; None where there are none.
        facts: What the task may read of the attempt in its environment, see RUN_FACTS.
    """

    base: str
    point: Point
    settled: tuple[Override, ...]
    number: int
    folder: str
    preload: str | None = None
    identity: str | None = None
    threads: int | None = None
    far: "Far | None" = None
    reservation: Reservation | None = None
    group: Group | None = None
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Far:
    """What a job finds on another machine than the one that composed its config, and keeps its `.hydra` files.

    Attributes:
        cwd: The working directory there.
        folders: Where the config's sources lie there, by where they lie here.
        settled: Values that name places there: paths of staged files.
    """

    cwd: str
    folders: Mapping[str, str]
    settled: tuple[Override, ...] = ()


@dataclass
class Payload:
    """What every job of a sweep shares: sent once, as a file, to each process."""

    task_function: TaskFunction
    callbacks: Callbacks
    singletons: dict[Any, Any]
    resolvers: dict[str, Any]
    cwd: str
    allowed_targets: Any = None


@dataclass(frozen=True)
class _Base:
    """A base config as this process keeps it: pickled with and without its hydra node, and its YAML text."""

    blob: bytes
    task_blob: bytes
    files: ConfigFiles


@dataclass
class _Process:
    """What this process keeps between jobs."""

    payload: Payload | None = None
    broken: dict[str, str] | None = None
    bases: dict[str, "_Base"] = field(default_factory=dict)
    shells: dict[str, DictConfig] = field(default_factory=dict)
    preloaded: set[str] = field(default_factory=set)
    log: JobLog = field(default_factory=JobLog)


_process = _Process()


def start(payload: str, parent: int | None) -> None:
    """Make this process ready for jobs; the initializer of a worker.

    Args:
        payload: Path of the pickled Payload.
        parent: Process to die with; None to stay.
    """
    if parent is not None:
        # A session of its own: Ctrl-C reaches the coordinator alone, which stops its workers in order.
        with contextlib.suppress(PermissionError):
            os.setsid()
        heard()
        threading.Thread(target=_die_with, args=(parent,), daemon=True, name="die-with-coordinator").start()
    try:
        load(pickle.loads(Path(payload).read_bytes()))  # noqa: S301  (this machine's own coordinator wrote it)
    except Exception as error:
        # An initializer that raises takes the process with it; this way every job can say why it cannot run here.
        _process.broken = describe(error) | {"class": "precheck"}


def load(payload: Payload) -> None:
    """Take on what every job of a sweep shares."""
    Singleton._instances.update(payload.singletons)
    BaseContainer._resolvers.update(payload.resolvers)
    _process.payload = payload


def _die_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def resolve(dotted: str) -> Any:
    """Import what a dotted path names."""
    module, _, name = dotted.rpartition(".")
    __import__(module)
    return getattr(sys.modules[module], name)


def warm(message: Message) -> None:
    """Read a base config, and let the app load what its jobs need, before the first job comes.

    Args:
        message: One of the jobs: what is needed may be said by its own values, where the base alone names no data.
    """
    if _process.broken is not None:
        return
    blob = _base(message.base).blob
    if message.preload is not None and message.base not in _process.preloaded:
        _process.preloaded.add(message.base)
        config = build(blob, message.point, _settled(message), None)
        assert _process.payload is not None
        with hydra_config(config), open_dict(config), allowing(_process.payload.allowed_targets):
            del config["hydra"]
            resolve(message.preload)(config)


def _settled(message: Message) -> tuple[Override, ...]:
    return message.settled if message.far is None else (*message.settled, *message.far.settled)


def _base(path: str) -> _Base:
    if path not in _process.bases:
        blob = Path(path).read_bytes()
        config: DictConfig = pickle.loads(blob)  # noqa: S301  (see start)
        files = ConfigFiles(config)
        with open_dict(config):
            del config["hydra"]
        _process.bases[path] = _Base(blob, pickle.dumps(config, protocol=pickle.HIGHEST_PROTOCOL), files)
    return _process.bases[path]


def run(message: Message) -> str:
    """Run one job here and answer in JSON.

    Args:
        message: The attempt.

    Returns:
        A JSON object: status (COMPLETED or FAILED), value or error, identity, seconds, threads.
    """
    if _process.broken is not None:
        return json.dumps({"status": "FAILED", "error": _process.broken, "run_s": 0.0})
    with reserved(message.reservation):
        return _run(message)


def _run(message: Message) -> str:
    began = time.monotonic()
    answer: dict[str, Any] = {}
    try:
        with console(Path(message.folder) / CONSOLE):
            try:
                warm(message)
                with held(message.threads):
                    returned, identity = run_job(message)
                answer["identity"] = identity
                if returned.status == JobStatus.COMPLETED:
                    value, unfit = to_json(returned._return_value)
                    answer |= {"status": "COMPLETED", "value": value, "unfit": unfit}
                else:
                    answer |= {"status": "FAILED", "error": describe(returned._return_value)}
            except Exception as error:
                answer |= {"status": "FAILED", "error": describe(error)}
            if answer["status"] == "FAILED":
                sys.stderr.write(answer["error"]["traceback"])
        text = json.dumps(answer | {"run_s": time.monotonic() - began})
    except Exception as error:  # a full disk, a value that breaks JSON: said as the job's own failure
        text = json.dumps({"status": "FAILED", "error": describe(error), "run_s": time.monotonic() - began})
    return text


def run_job(message: Message, configure_logging: bool = True) -> tuple[JobReturn, dict[str, str] | None]:
    """Do for one job what Hydra's own `run_job` does, without its copies of the config.

    Args:
        message: The attempt.
        configure_logging: Set up the job's log, as its config says.

    Returns:
        The job's return, its config left out, with the app's hashes of that config.
    """
    shared = _process.payload
    assert shared is not None
    base = _base(message.base)
    settled = _settled(message)
    config = build(base.blob, message.point, settled, message.number)
    with open_dict(config.hydra.runtime):
        config.hydra.runtime.output_dir = message.folder
    if message.far is not None:
        _relocate(config, message.far, Path(message.folder))
    values = (*message.point.values, *settled)
    task_config = apply(base.task_blob, values)
    identity = None
    with hydra_config(config), allowing(shared.allowed_targets):
        if message.identity is not None:
            identity = resolve(message.identity)(task_config)
        offer(Path(message.folder), message.group, lambda one: _identity_of(message, base, values, one))
        returned = JobReturn()
        chdir = config.hydra.job.chdir
        if chdir is None:
            chdir = not version.base_at_least("1.2")
        cwd = shared.cwd if message.far is None else message.far.cwd
        os.chdir(message.folder if chdir else cwd)
        try:
            if configure_logging:
                _process.log.configure(config, message.base)
            if config.hydra.output_subdir is not None and message.far is None:
                subfolder = Path(message.folder) / config.hydra.output_subdir
                base.files.write(subfolder, task_config, config, values)
            told = json.dumps({**message.facts, **(identity or {})})
            with env_override({RUN_FACTS: told, **config.hydra.job.env_set}):
                shared.callbacks.on_job_start(config=config, task_function=shared.task_function)
                try:
                    returned.return_value = shared.task_function(task_config)
                    returned.status = JobStatus.COMPLETED
                except (Exception, SystemExit) as error:  # a task that calls sys.exit has ended by its own will
                    returned.return_value = error
                    returned.status = JobStatus.FAILED
                    log_failure()
            returned.task_name = JobRuntime.instance().get("name")
            _flush_loggers()
            returned.overrides = list(message.point.overrides)
            shared.callbacks.on_job_end(config=config, job_return=returned)
        finally:
            if chdir:
                os.chdir(cwd)
    return returned, identity


def _identity_of(
    message: Message, base: _Base, values: tuple[Override, ...], follower: Follower
) -> dict[str, str] | None:
    """The app's hashes of the config of another point, which differs from a job's own in one value."""
    if message.identity is None or message.group is None:
        return None
    config = apply(base.task_blob, (*values, parse(f"{message.group.key}={follower.value}")))
    hashes: dict[str, str] = resolve(message.identity)(config)
    return hashes


def job_config(message: Message) -> DictConfig:
    """A job's config with its hydra node, afresh."""
    return build(_base(message.base).blob, message.point, message.settled, message.number)


def write_config(message: Message) -> DictConfig:
    """Write the `.hydra` files of a job that runs on another machine.

    Args:
        message: The attempt, as this machine knows it.

    Returns:
        The job's config without its hydra node.
    """
    base = _base(message.base)
    values = (*message.point.values, *message.settled)
    task_config = apply(base.task_blob, values)
    if any(key_path(value)[0] == "hydra" for value in values):
        config = build(base.blob, message.point, message.settled, message.number)
    else:
        # One copy of the hydra node serves all jobs: what differs between them is set anew for each.
        if message.base not in _process.shells:
            _process.shells[message.base] = pickle.loads(base.blob)  # noqa: S301  (see start)
        config = dress(_process.shells[message.base], message.point, message.number)
    if config.hydra.output_subdir is not None:
        with open_dict(config.hydra.runtime):
            config.hydra.runtime.output_dir = message.folder
        base.files.write(Path(message.folder) / config.hydra.output_subdir, task_config, config, values)
    return task_config


def _relocate(config: DictConfig, far: Far, folder: Path) -> None:
    """Let a config name the places of this machine where Hydra itself put those of the one that composed it."""
    with open_dict(config.hydra):
        config.hydra.sweep.dir, config.hydra.sweep.subdir = str(folder.parent), folder.name
        config.hydra.runtime.cwd = far.cwd
        for source in config.hydra.runtime.config_sources:
            source.path = far.folders.get(source.path, source.path)


def rehearse(message: Message) -> None:
    """Do once all that is done around a job's task, so that whoever is forked off this process finds it done.

    Args:
        message: The attempt; its task, and whatever else of the app's listens to jobs, is left out.
    """
    whole = _process.payload
    if whole is None or _process.broken is not None:
        return
    _process.payload = replace(whole, task_function=lambda _: None, callbacks=Callbacks())
    try:
        with tempfile.TemporaryDirectory() as folder, contextlib.suppress(Exception):  # a job will say it itself
            run_job(replace(message, folder=folder))
    finally:
        _process.payload = whole


def identity_of(dotted: str, config: DictConfig) -> dict[str, str]:
    """Ask the app for the hashes of a job's config.

    Args:
        dotted: Dotted path of the app's function(config).
        config: The job's config with its hydra node.

    Returns:
        What the app says, by name.
    """
    task_config = config.copy()
    with hydra_config(config), open_dict(task_config):
        del task_config["hydra"]
        hashes: dict[str, str] = resolve(dotted)(task_config)
    return hashes


@contextlib.contextmanager
def hydra_config(config: DictConfig) -> Iterator[None]:
    """Let `HydraConfig` name this job, around the very node: Hydra copies it twice for this."""
    instance = HydraConfig.instance()
    before = instance.cfg
    OmegaConf.set_readonly(config.hydra, True)
    shell = DictConfig({})
    content = shell.__dict__["_content"]
    content["hydra"] = config._get_node("hydra")
    # Else `${now:}` would be resolved a second time, and differ from the folder's name.
    OmegaConf.copy_cache(from_config=config, to_config=shell)
    instance.cfg = shell  # type: ignore[assignment]
    try:
        yield
    finally:
        instance.cfg = before
