"""Submits functions to a machine of one's own over SSH: the executor that submitit finds under the name `ssh`."""

import base64
import hashlib
import os
import pickletools
import sys
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle
from submitit.core import core
from submitit.core.logger import get_logger
from submitit.core.utils import DelayedSubmission, JobPaths

from . import parameters, staging
from .connections import Job, connect
from .errors import SettingError
from .far_submitit import SIGNAL_VARIABLE, first_name
from .job import SshJob
from .ssh import Settings

# What a far Python needs to read a submission: the very versions that wrote it; and what it may have of its own.
_SUPPORT = ("submitit", "cloudpickle", "submitit_ssh")
_EXTRAS = ("typing_extensions",)
# Bytes of a pickle that travel within the job's own frame; larger ones go by their hash.
_INLINE = 16_384
# Bytes of a pickled function in which the modules that it needs are looked for.
_SCANNED = 1 << 20
# Seconds before its time limit at which a job is told, as submitit's local executor does.
_SIGNAL_DELAY_S = 30.0
_PICKLE = 5
_PYTHON = "{}.{}".format(*sys.version_info)


@dataclass(frozen=True)
class _Brought:
    """What is brought along for the jobs of an executor, and where it is over there.

    Attributes:
        objects: The content.
        path: Where Python finds modules before its own, submitit's folder first.
        extras: Where it finds some of those that it has none of its own of.
        project: The folder in which the submitting process stands; None where no code goes.
    """

    objects: list[staging.Staged]
    path: list[str]
    extras: str
    project: str | None


class SshExecutor(core.Executor):
    """Runs jobs on a machine that `ssh` reaches, through a queue of its own that goes on while this machine is away.

    Args:
        folder: Where the files of jobs are kept here.
        max_num_timeout: How often a job that can be kept is queued again when its time is over.
        max_pickle_size_gb: GB that the submissions of one call may have together.
    """

    job_class = SshJob

    def __init__(self, folder: Path | str, max_num_timeout: int = 3, max_pickle_size_gb: float = 1.0) -> None:
        super().__init__(folder)
        self.max_num_timeout = max_num_timeout
        self.max_pickle_size_gb = max_pickle_size_gb
        self._brought: dict[tuple[Path | None, str], _Brought] = {}
        # The function that was looked at last, and the modules that it needs.
        self._scanned: tuple[Any, list[str]] = (None, [])

    @classmethod
    def affinity(cls) -> int:
        """See Executor: only whoever asks for it gets it."""
        return 0

    @classmethod
    def _valid_parameters(cls) -> set[str]:
        return set(parameters.OWN)

    def _internal_update_parameters(self, **kwargs: Any) -> None:
        """Change parameters.

        Args:
            kwargs: host; config, a file in place of ~/.ssh/config; python, the Python that runs the jobs there,
                python3 by default; root, the folder there that keeps everything, ~/.sweeproute by default; slots, how
                many jobs that machine runs at once, whoever asks; stage, the project whose code the jobs get: by
                default that of the working directory, False for none; signal_delay_s, how long before its time limit
                a job is told; gpu_mem_gb, what has to be free on a GPU; name, timeout_min, mem_gb, cpus_per_task,
                gpus_per_node and stderr_to_stdout as everywhere in submitit.

        Raises:
            SettingError: There is no such parameter, or no such value of it.
        """
        super()._internal_update_parameters(**parameters.check(kwargs))

    def _internal_process_submissions(self, delayed_submissions: Sequence[DelayedSubmission]) -> list[core.Job[Any]]:
        """See Executor: all of them go to the machine at once, and nobody waits for it.

        Raises:
            SettingError: The host is missing, or the submissions are too large.
            ContentError: The project's code cannot be sent.
        """
        machine = self._machine()
        self._make_folder()
        brought = self._bring(machine.root or "~/.sweeproute")
        environment = self._environment(machine.python, brought, delayed_submissions[0].function)
        jobs: list[core.Job[Any]] = []
        batch: list[Job] = []
        for delayed in delayed_submissions:
            # Not the submission itself: to read that, every job would need all of submitit.
            pickled = cloudpickle.dumps((delayed.function, delayed.args, delayed.kwargs), _PICKLE)
            if not jobs:
                self._check_size(len(delayed_submissions), len(pickled))
            job = SshJob[Any](self.folder, uuid.uuid4().hex)
            files = job._follow().files
            files.make(machine)
            job.paths.submitted_pickle.write_bytes(pickled)
            own = [_staged(job.paths.submitted_pickle, pickled)] if len(pickled) > _INLINE else []
            spec = {
                "id": job.job_id,
                "label": self.parameters.get("name") or getattr(delayed.function, "__name__", "submitit"),
                "environment": environment,
                "argument": {
                    "job_id": job.job_id,
                    "call": None if own else base64.b64encode(pickled).decode(),
                    "project": brought.project,
                    "logs": files.live[:1] * 2 if self.parameters.get("stderr_to_stdout") else files.live,
                    **self._time(),
                },
                "live": files.live,
                "inputs": {first_name(job.job_id): one.sha for one in own},
                **self._needs(),
            }
            jobs.append(job)
            batch.append((job._follow(), spec, own))
        connection = connect(machine)
        connection.set_slots(self.parameters.get("slots"))
        connection.submit(batch, brought.objects)
        return jobs

    # ---- what a job is given

    def _machine(self) -> Settings:
        host = self.parameters.get("host")
        if host is None:
            raise SettingError(
                "The ssh executor has no host: name one with update_parameters(ssh_host=...), as you would to ssh."
            )
        return Settings(
            host, self.parameters.get("config"), self.parameters.get("python") or "python3", self.parameters.get("root")
        )

    def _make_folder(self) -> None:
        folder = JobPaths.get_first_id_independent_folder(self.folder)
        folder.mkdir(parents=True, exist_ok=True)
        mark = folder / ".sweeproute"
        if not mark.exists():
            mark.write_text("Jobs of submitit's ssh executor are kept here: none of it is code.\n", encoding="utf-8")

    def _check_size(self, number: int, size: int) -> None:
        # As in submitit, one stands for all.
        size_gb = number * size / 1e9
        if size_gb > self.max_pickle_size_gb:
            raise SettingError(
                f"{number} submissions of this size take {size_gb:.2f} GB as pickles, and {self.max_pickle_size_gb:g} "
                "GB are allowed: let the function read its data from a file, or set executor.max_pickle_size_gb."
            )

    def _bring(self, root: str) -> _Brought:
        """The project's code, and submitit for the far side; both as they are at the first submission."""
        stage = self.parameters.get("stage")
        start = None if stage is False else stage or Path.cwd()
        found = self._brought.get((start, root))
        if found is None:
            support, extras = (staging.Code.collect(None, part, cache=_cache()) for part in (_SUPPORT, _EXTRAS))
            code = None if start is None else staging.Code.collect(start, cache=_cache())
            if code is not None:
                _say_what_is_left_out(code)
            found = self._brought[start, root] = _Brought(
                objects=[part.staged() for part in (support, extras, code) if part is not None],
                path=[*support.sys_path(root), *(code.sys_path(root) if code is not None else [])],
                extras=extras.sys_path(root)[0],
                project=None if code is None else code.cwd(root),
            )
        return found

    def _environment(self, python: str, brought: _Brought, function: Any) -> dict[str, Any]:
        variables = {}
        if self.parameters.get("gpus_per_node") == 0:
            variables["CUDA_VISIBLE_DEVICES"] = ""
        if self.parameters.get("cpus_per_task"):
            variables["OMP_NUM_THREADS"] = str(self.parameters["cpus_per_task"])
        if SIGNAL_VARIABLE in os.environ:
            variables[SIGNAL_VARIABLE] = os.environ[SIGNAL_VARIABLE]
        return {
            "python": python,
            "path": brought.path,
            "cwd": brought.project or "~",
            "entry": "submitit_ssh.far_submitit",
            "load": {
                "python": _PYTHON,
                "extras": brought.extras,
                "modules": self._modules(function),
            },
            "variables": variables,
        }

    def _modules(self, function: Any) -> list[str]:
        """Modules that a function needs, to be imported once: those that its pickle names and that are loaded here."""
        known, modules = self._scanned
        if known is not function:
            pickled = cloudpickle.dumps(function, _PICKLE)
            scanned = pickletools.genops(pickled) if len(pickled) < _SCANNED else ()
            words = {word for _, word, _ in scanned if isinstance(word, str)}
            # Over there __main__ is another module.
            modules = sorted((words & sys.modules.keys()) - sys.stdlib_module_names - {"__main__"})
            self._scanned = function, modules
        return modules

    def _needs(self) -> dict[str, Any]:
        mem_gb, timeout_min = self.parameters.get("mem_gb"), self.parameters.get("timeout_min")
        return {
            "memory_gb": mem_gb or 0.0,
            "memory_limit_gb": mem_gb,
            "gpus": self.parameters.get("gpus_per_node") or 0,
            "gpu_memory_gb": self.parameters.get("gpu_mem_gb") or 0.0,
            "alone": False,
            "timeout_s": None if timeout_min is None else 60.0 * timeout_min,
        }

    def _time(self) -> dict[str, Any]:
        timeout_min, delay_s = self.parameters.get("timeout_min"), self.parameters.get("signal_delay_s")
        warn_s = None
        if timeout_min is not None:
            # Of a short time, half is the job's.
            warn_s = max(30.0 * timeout_min, 60.0 * timeout_min - (_SIGNAL_DELAY_S if delay_s is None else delay_s))
        return {"warn_s": warn_s, "timeout_min": timeout_min or 0, "countdown": self.max_num_timeout}


def _say_what_is_left_out(code: staging.Code) -> None:
    named = "; ".join(f"{name} ({why})" for name, why in code.left_out[:3])
    if named:
        more = f" and {len(code.left_out) - 3} more" if len(code.left_out) > 3 else ""
        get_logger().warning(f"Jobs over SSH do not get {named}{more}.")


def _staged(path: Path, content: bytes) -> staging.Staged:
    return staging.Staged(hashlib.sha256(content).hexdigest(), "store", len(content), lambda: path.open("rb"))


def _cache() -> Path:
    from platformdirs import user_cache_path

    return Path(os.environ.get("SWEEPROUTE_CACHE") or user_cache_path("sweeproute")) / "staging"
