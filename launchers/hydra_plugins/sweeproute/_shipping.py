"""Makes of a sweep's jobs what a far machine is told, and brings over what they need there."""

import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from omegaconf import DictConfig

from submitit_ssh.errors import FarError
from submitit_ssh.machine import Machine
from submitit_ssh.ssh import Settings
from submitit_ssh.staging import Code, Staged
from submitit_ssh.staging import file as staged_file

from . import _far, _worker
from ._code import origin
from ._named_files import FilesByKey, NamedFiles
from ._records import CHECKPOINT
from ._threads import thread_variables

# What of this project a far machine needs beside the person's own code.
PACKAGES = ("hydra_plugins.sweeproute", "sweeproute", "submitit_ssh")
# Seconds for which what was over there is taken to be there: what nobody uses for a day may go.
_STAGED_S = 3600.0


@dataclass(frozen=True)
class Place:
    """Where a far platform is, as the registry says.

    Attributes:
        reach: How its machine is reached.
        python: The Python that runs the jobs; None is the one that `sweeproute setup` made.
        files: Keys of the app's config that name files a job reads.
        cache: Folder on this machine for what staging remembers.
        owner: Name of the sweep there.
        shared: Whether the machine sees this one's folders under the same paths, as over a network disk.
        cache_gb: GB that may stay staged there; None is no limit.
    """

    reach: Settings
    python: str | None
    files: tuple[str, ...]
    cache: Path
    owner: str
    shared: bool = False
    cache_gb: float | None = None


@dataclass(frozen=True)
class Parcel:
    """A job on its way.

    Attributes:
        contents: What has to be over there first.
        environment: Where it runs; see the far side's contract.
        argument: What the far entry is given.
        inputs: Content that is laid into the job's folder, by its path in it.
    """

    contents: list[Staged]
    environment: dict[str, Any]
    argument: dict[str, Any]
    inputs: dict[str, str]


class Shipping(Protocol):
    """A way of bringing jobs to a far machine; may be called from several threads."""

    def prepare(self, root: str, payload: str, first: _worker.Message) -> list[str]:
        """Bring over what every job needs; blocks until it is there.

        Args:
            root: The folder there in which everything is kept.
            payload: Path of the pickled `_worker.Payload`.
            first: One of the jobs, without a folder.

        Returns:
            Sentences for the person: what does not travel.

        Raises:
            FarError: The far machine does not take it.
            OSError: It cannot be read here.
        """

    def parcel(self, message: _worker.Message) -> "Future[Parcel]":
        """Pack a job; done once its environment is there.

        Args:
            message: The attempt, as this machine would run it.
        """


class ByContent:
    """Brings code, configs and data over by their content, to a machine that shares nothing with this one.

    Args:
        place: Where the machine is.
        machine: Its client.
    """

    def __init__(self, place: Place, machine: Machine) -> None:
        self._place = place
        self._machine = machine
        self._named = FilesByKey(place.files, place.cache)
        self._environments: dict[str, Future[dict[str, Any]]] = {}
        self._folders: dict[str, dict[str, str]] = {}
        # What all jobs of an environment need, by its hash, and when it was asked for last.
        self._over_there: dict[str, Staged] = {}
        self._asked = 0.0

    def prepare(self, root: str, payload: str, first: _worker.Message) -> list[str]:
        """See Shipping."""
        self._root = root
        self._code = code = Code.collect(Path.cwd(), PACKAGES, cache=self._place.cache)
        self._payload = staged_file(Path(payload), self._place.cache)
        self._asked = time.time()
        shared = [code.staged(), self._payload]
        staged = self._machine.stage(shared)
        error = self._environment(first).exception()
        if isinstance(error, FarError):  # any other is one of its own jobs', which will say it themselves
            raise error
        staged.result()
        self._over_there.update((one.sha, one) for one in shared)
        if not code.left_out:
            return []
        named = "; ".join(f"{path} ({why})" for path, why in code.left_out[:3])
        more = f" and {len(code.left_out) - 3} more" if len(code.left_out) > 3 else ""
        return [f"does not get {named}{more}"]

    def parcel(self, message: _worker.Message) -> "Future[Parcel]":
        """See Shipping; the `.hydra` files are written here, where their paths make sense."""
        packed: Future[Parcel] = Future()
        try:
            config = _worker.write_config(message)
        except Exception as error:  # a value that only this job's config asks for
            packed.set_exception(error)
            return packed

        def made(environment: "Future[dict[str, Any]]") -> None:
            try:
                packed.set_result(self._packed(message, config, environment.result()))
            except Exception as error:
                packed.set_exception(error)

        self._environment(message).add_done_callback(made)
        return packed

    def _packed(self, message: _worker.Message, config: DictConfig, environment: dict[str, Any]) -> Parcel:
        named = self._named.of(config, self._root)
        contents = [one for one in named.contents if one.sha not in self._over_there]
        if time.time() - self._asked > _STAGED_S:
            contents += self._over_there.values()
            self._asked = time.time()
        inputs = {}
        folder = Path(message.folder)
        for path in sorted((folder / CHECKPOINT).rglob("*")):
            if path.is_file():
                contents.append(staged_file(path, self._place.cache))
                inputs[path.relative_to(folder).as_posix()] = contents[-1].sha
        there = replace(message, base=self._there(message.base), folder="", far=self._far(message.base, named))
        return Parcel(contents, environment, {"message": _far.packed(there), "links": named.links}, inputs)

    def _environment(self, message: _worker.Message) -> "Future[dict[str, Any]]":
        """The environment in which the jobs of one base run, once all that it names is over there.

        The first job of a base stands for all: what warms a process does for once what every job does.
        """
        base = message.base
        made = self._environments.get(base)
        if made is not None:
            return made
        made = self._environments[base] = Future()
        try:
            environment, contents = self._described(message)
        except Exception as error:  # a file that cannot be read, a value that cannot be resolved
            self._environments.pop(base)
            made.set_exception(error)
            return made

        def done(staged: "Future[None]") -> None:
            error = staged.exception()
            if error is None:
                self._over_there.update((one.sha, one) for one in contents)
                made.set_result(environment)
            else:
                self._environments.pop(base)
                made.set_exception(error)

        self._machine.stage(contents).add_done_callback(done)
        return made

    def _described(self, message: _worker.Message) -> tuple[dict[str, Any], list[Staged]]:
        """What a process is to load for the jobs of a base, and what has to be over there for it."""
        base = message.base
        config = _worker.job_config(message)
        named = self._named.of(config, self._root)
        sources = [Path(source.path) for source in config.hydra.runtime.config_sources if source.path]
        folders = {str(path): self._code.far_path(path, self._root) for path in sources}
        self._folders[base] = {near: far for near, far in folders.items() if far is not None}
        there = replace(message, base=self._there(base), number=0, folder="", far=self._far(base, named))
        environment = {
            "python": self._place.python or f"{self._root}/env/bin/python",
            "path": self._code.sys_path(self._root),
            "cwd": self._code.cwd(self._root),
            **entry(there, f"{self._root}/store/{self._payload.sha}", named.links, config),
        }
        return environment, [staged_file(Path(base), self._place.cache), *named.contents]

    def _there(self, base: str) -> str:
        return f"{self._root}/store/{staged_file(Path(base), self._place.cache).sha}"

    def _far(self, base: str, named: NamedFiles) -> _worker.Far:
        return _worker.Far(self._code.cwd(self._root), self._folders[base], named.settled)


class OnSharedDisk:
    """Names things where they lie, for a machine that sees this one's folders under the same paths.

    Args:
        place: Where the machine is.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._environments: dict[str, dict[str, Any]] = {}

    def prepare(self, root: str, payload: str, first: _worker.Message) -> list[str]:  # noqa: ARG002
        """See Shipping."""
        self._payload = payload
        return []

    def parcel(self, message: _worker.Message) -> "Future[Parcel]":
        """See Shipping."""
        if message.base not in self._environments:
            warms = replace(message, number=0, folder="")
            self._environments[message.base] = {
                "python": self._place.python or sys.executable,
                "path": [str(Path(entry).absolute()) for entry in sys.path],
                "cwd": str(Path.cwd()),
                **entry(warms, self._payload, (), _worker.job_config(message)),
            }
        packed: Future[Parcel] = Future()
        argument = {"message": _far.packed(message), "links": []}
        packed.set_result(Parcel([], self._environments[message.base], argument, {}))
        return packed


def entry(
    message: _worker.Message, payload: str, links: Sequence[tuple[str, str]], config: DictConfig
) -> dict[str, Any]:
    """What a warm process loads, whichever way it came there.

    Args:
        message: One of the jobs, without a folder.
        payload: Where the pickled payload lies there.
        links: See `_far.run`.
        config: Its config, which names variables that are copied.
    """
    copied = [str(name) for name in config.hydra.job.env_copy]
    return {
        "entry": "hydra_plugins.sweeproute._far",
        "load": {
            "versions": _far.versions(),
            "payload": payload,
            # Packed as it is in the message, nobody would see there that it is needed.
            "base": message.base,
            "message": _far.packed(message),
            "links": list(links),
        },
        "variables": {
            **thread_variables(message.threads, {}),
            **origin(),
            **{name: os.environ[name] for name in copied if name in os.environ},
        },
    }
