"""Runs jobs on a far machine, through its own queue, which goes on while this machine is away."""

import os
import threading
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

from submitit_ssh.errors import FarError
from submitit_ssh.line import Condition as Line
from submitit_ssh.machine import Ended, Machine
from submitit_ssh.ssh import Settings
from submitit_ssh.staging import Code, Staged
from submitit_ssh.staging import file as staged_file

from . import _far, _worker
from ._admission import JobClass
from ._backend import Died, Event, Events, Finished, Moved, Platform, Recalled, Said, Started
from ._code import origin
from ._compose import Point
from ._condition import Condition
from ._named_files import FilesByKey, NamedFiles
from ._pending import PendingCancels
from ._records import CHECKPOINT, LAUNCH
from ._threads import thread_variables

# Files of a job that come over while it runs.
LIVE = ("journal.jsonl", "progress.jsonl", _worker.CONSOLE)
# What of this project a far machine needs beside the person's own code.
PACKAGES = ("hydra_plugins.sweeproute", "sweeproute", "submitit_ssh")
# How an attempt's end is named here, where that differs.
_CLASSES = {"outputs": "user", "cancelled": "killed"}


@dataclass(frozen=True)
class Place:
    """Where a far platform is, as the registry says.

    Attributes:
        reach: How its machine is reached.
        python: The Python that runs the jobs; None is the one that `sweeproute setup` made.
        files: Keys of the app's config that name files a job reads.
        identity: Dotted path of the app's function from a config to its hashes.
        cache: Folder on this machine for what staging remembers.
        owner: Name of the sweep there.
    """

    reach: Settings
    python: str | None
    files: tuple[str, ...]
    identity: str | None
    cache: Path
    owner: str


class SshBackend:
    """A far machine's queue.

    Args:
        platform: The machine.
        place: Where it is.
        events: Where what happens is put.
    """

    def __init__(self, platform: Platform, place: Place, events: Events) -> None:
        self._platform = platform
        self._place = place
        self._events = events
        self._machine = Machine(place.reach, place.owner, self, reserved=(LAUNCH, ".hydra", "multirun.yaml"))
        self._ids: dict[int, str] = {}
        self._places: dict[str, int] = {}
        # What is to be forgotten there, until that is answered.
        self._unsettled: dict[str, Future[dict[str, Any]]] = {}
        self._code: Code | None = None
        self._root = ""
        self._ready = threading.Event()
        self._why_not = ""
        self._folders: dict[str, dict[str, str]] = {}
        self._environments: dict[str, Future[dict[str, Any]]] = {}
        self._payload = ""
        self._preload: str | None = None
        self._named = FilesByKey(place.files, place.cache)
        self._pending = PendingCancels(platform.name, place.reach.host)

    # ---- the contract; see QueueBackend

    def start(self, payload: str, base: str, preload: str | None, settled: tuple[Override, ...]) -> None:
        """See Backend."""
        self._payload, self._preload = payload, preload
        self._machine.open()
        self._machine.request("slots", slots=self._platform.slots, paused=None)
        self._pending.deliver(self._machine)
        thread = threading.Thread(target=self._prepare, args=(base, settled), daemon=True, name="staging")
        thread.start()

    def identifier(self, place: int) -> str:
        """See QueueBackend."""
        if place not in self._ids:
            self._know(place, uuid.uuid4().hex)
        return self._ids[place]

    def submit(self, place: int, message: _worker.Message, job_class: JobClass) -> None:
        """See Backend."""
        identifier = self.identifier(place)
        config = _worker.write_config(message)
        made = self._environment(message.base, message.settled)

        def refuse(error: Exception) -> None:
            self._put(Died(self._platform.name, place, "precheck", f"cannot be given the job: {error}"))

        def prepare(made: "Future[dict[str, Any]]") -> None:
            try:
                contents, spec = self._spec(identifier, message, job_class, config, made.result())
            except (FarError, OSError) as error:
                refuse(error)
                return
            self._machine.stage(contents).add_done_callback(lambda staged: send(staged, spec))

        def send(staged: "Future[None]", spec: dict[str, Any]) -> None:
            error = staged.exception()
            if isinstance(error, Exception):
                refuse(error)
            elif identifier in self._places:  # else it was taken back meanwhile
                self._machine.submit(spec, Path(message.folder))

        made.add_done_callback(prepare)

    def adopt(self, place: int, identifier: str, folder: Path) -> None:
        """See QueueBackend."""
        self._know(place, identifier)
        self._machine.adopt(identifier, folder, LIVE)

    def settle_rest(self) -> None:
        """See QueueBackend: what was recorded here, and its coordinator died before it could say so."""

        def told(status: "Future[dict[str, Any]]") -> None:
            if status.exception() is None:
                mine = (job["id"] for job in status.result()["jobs"] if job["owner"] == self._place.owner)
                for identifier in mine:
                    if identifier not in self._places and identifier not in self._unsettled:
                        self._settle(identifier)

        self._machine.request("status").add_done_callback(told)

    def recall(self, place: int) -> None:
        """See QueueBackend."""
        identifier = self._ids[place]

        def answered(future: "Future[dict[str, Any]]") -> None:
            answer = future.result()
            ok = identifier in answer.get("recalled", ()) or identifier in answer.get("unknown", ())
            if ok:
                self._forget(place)
            self._put(Recalled(self._platform.name, place, ok))

        self._machine.recall([identifier]).add_done_callback(answered)

    def cancel(self, place: int) -> None:
        """See Backend."""
        # What is settled while it waits or runs is ended there, and forgotten.
        if place in self._ids:
            self.settle(place)

    def settle(self, place: int) -> None:
        """See QueueBackend."""
        identifier = self._ids[place]
        self._forget(place)
        self._settle(identifier)

    def memory_free_gb(self) -> float | None:
        """See Backend."""
        free = (self._machine.load or {}).get("memory_free_gb")
        return float(free) if isinstance(free, (int, float)) else None

    def load(self) -> dict[str, Any] | None:
        """See QueueBackend."""
        return self._machine.load

    def pause(self, paused: bool) -> None:
        """Have the machine start nothing more, or go on."""
        self._machine.request("slots", slots=None, paused=paused)

    def close(self, grace_s: float) -> None:
        """See Backend; what runs there goes on. What it could not be told to forget is kept until the next contact."""
        self._machine.close(grace_s)
        self._pending.keep(list(self._unsettled))

    # ---- what the machine tells, in its thread; see Listener

    def condition(self, condition: Line, why: str) -> None:
        """See Listener."""
        if condition is Line.UP:
            self._root = self._machine.root or ""
            if self._ready.is_set():
                self._say()
        elif condition is Line.SUSPECT:
            self._put(Moved(self._platform.name, Condition.SUSPECT, why))
        else:
            self._put(Moved(self._platform.name, Condition.DOWN, why))

    def started(self, identifier: str, at: float) -> None:
        """See Listener."""
        place = self._places.get(identifier)
        if place is not None:
            self._put(Started(self._platform.name, place, at))

    def ended(self, ended: Ended) -> None:
        """See Listener."""
        place = self._places.get(ended.id)
        if place is None:
            return
        name = self._platform.name
        if ended.error_class is None:
            if not isinstance(ended.result, Mapping) or "status" not in ended.result:
                problem = f"the far side sent no result that can be read: {str(ended.result)[:200]!r}"
                self._put(Died(name, place, "killed", problem, ended.run_s))
                return
            self._put(Finished(name, place, dict(ended.result), ended.started, ended.ended))
            return
        error_class: Any = _CLASSES.get(ended.error_class, ended.error_class)
        self._put(Died(name, place, error_class, ended.message, ended.run_s))

    def unknown(self, identifier: str) -> None:
        """See Listener."""
        place = self._places.get(identifier)
        if place is not None:
            self._put(Died(self._platform.name, place, "lost", "its machine does not know it any more"))

    # ---- the rest

    def _settle(self, identifier: str) -> None:
        told = self._unsettled[identifier] = self._machine.settle([identifier])
        told.add_done_callback(lambda _: self._unsettled.pop(identifier))

    def _put(self, event: Event) -> None:
        self._events.put(event)

    def _know(self, place: int, identifier: str) -> None:
        self._ids[place], self._places[identifier] = identifier, place

    def _forget(self, place: int) -> None:
        self._places.pop(self._ids.pop(place, ""), None)

    def _say(self) -> None:
        name = self._platform.name
        if self._why_not:
            self._put(Moved(name, Condition.DOWN, self._why_not))
        else:
            self._put(Moved(name, Condition.AVAILABLE, ""))

    def _prepare(self, base: str, settled: tuple[Override, ...]) -> None:
        """Bring over what every job needs; the platform takes jobs as soon as it is there."""
        try:
            self._code = Code.collect(Path.cwd(), PACKAGES, cache=self._place.cache)
            if self._code.left_out:
                named = "; ".join(f"{path} ({why})" for path, why in self._code.left_out[:3])
                more = f" and {len(self._code.left_out) - 3} more" if len(self._code.left_out) > 3 else ""
                self._put(Said(f"{self._platform.name} does not get {named}{more}"))
            staged = self._machine.stage([self._code.staged(), staged_file(Path(self._payload), self._place.cache)])
            self._environment(base, settled)
            staged.result()
        except (FarError, OSError) as error:
            self._why_not = f"cannot be given the code: {error}"
        self._ready.set()
        if self._root:
            self._say()

    def _environment(self, base: str, settled: Sequence[Override]) -> "Future[dict[str, Any]]":
        """The environment in which the jobs of one base run, once all that it names is over there."""
        made = self._environments.get(base)
        if made is not None:
            return made
        made = self._environments[base] = Future()
        contents = [staged_file(Path(base), self._place.cache)]
        config: DictConfig = _worker.base_config(base)
        contents += self._named.of(config, self._root).contents

        def done(staged: "Future[None]") -> None:
            try:
                staged.result()
                self._folders[base] = self._folders_of(config)
                named = self._named.of(config, self._root)  # by now it is known where all is kept there
                made.set_result(self._environment_of(base, contents[0].sha, tuple(settled), named, config))
            except (FarError, OSError) as error:
                made.set_exception(error)

        self._machine.stage(contents).add_done_callback(done)
        return made

    def _folders_of(self, config: DictConfig) -> dict[str, str]:
        """Where the sources of a config lie over there."""
        assert self._code is not None
        sources = [Path(source.path) for source in config.hydra.runtime.config_sources if source.path]
        there = {str(path): self._code.far_path(path, self._root) for path in sources}
        return {near: far for near, far in there.items() if far is not None}

    def _environment_of(
        self,
        base: str,
        sha: str,
        settled: tuple[Override, ...],
        named: NamedFiles,
        config: DictConfig,
    ) -> dict[str, Any]:
        code, root = self._code, self._root
        assert code is not None
        payload = staged_file(Path(self._payload), self._place.cache)
        # A job of nothing but the base config: what warms a process does for once what every job does.
        message = _worker.Message(
            base=f"{root}/store/{sha}",
            point=Point((), (), ""),
            settled=settled,
            number=0,
            folder="",
            preload=self._preload,
            identity=self._place.identity,
            threads=self._platform.threads,
            far=_worker.Far(code.cwd(root), self._folders[base], named.settled),
        )
        copied = [str(name) for name in config.hydra.job.env_copy]
        return {
            "python": self._place.python or f"{root}/env/bin/python",
            "path": code.sys_path(root),
            "cwd": code.cwd(root),
            "entry": "hydra_plugins.sweeproute._far",
            "load": {
                "versions": _far.versions(),
                "payload": f"{root}/store/{payload.sha}",
                "message": _far.packed(message),
                "links": named.links,
            },
            "variables": {
                **thread_variables(self._platform.threads, {}),
                **origin(),
                **{name: os.environ[name] for name in copied if name in os.environ},
            },
        }

    def _spec(
        self,
        identifier: str,
        message: _worker.Message,
        job_class: JobClass,
        config: DictConfig,
        environment: dict[str, Any],
    ) -> tuple[list[Staged], dict[str, Any]]:
        """What has to be over there for a job, and the job as the machine is told it."""
        code, root = self._code, self._root
        assert code is not None
        named = self._named.of(config, root)
        contents = list(named.contents)
        inputs = {}
        folder = Path(message.folder)
        for path in sorted((folder / CHECKPOINT).rglob("*")):
            if path.is_file():
                contents.append(staged_file(path, self._place.cache))
                inputs[path.relative_to(folder).as_posix()] = contents[-1].sha
        far = _worker.Far(code.cwd(root), self._folders[message.base], named.settled)
        base = staged_file(Path(message.base), self._place.cache)
        there = replace(message, base=f"{root}/store/{base.sha}", folder="", far=far)
        spec = {
            "id": identifier,
            "label": f"job {message.number} of {self._place.owner}",
            "environment": environment,
            "argument": {"message": _far.packed(there), "links": named.links},
            "live": list(LIVE),
            "memory_gb": job_class.memory_gb,
            "gpu_memory_gb": job_class.gpu_memory_gb,
            "gpus": 1 if self._platform.device == "cuda" else 0,
            "alone": job_class.alone,
            "timeout_s": None,
            "memory_limit_gb": None,
            "inputs": inputs,
        }
        return contents, spec
