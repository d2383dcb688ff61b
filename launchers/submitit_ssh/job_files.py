"""Keeps the files of a submitit job on this side, from which another process goes on with it."""

import contextlib
import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from submitit.core.utils import JobPaths

from .errors import SettingError
from .ssh import Settings

# How a job of an outcome stands, in the words of SLURM that submitit uses; by what ended it where it left none itself.
_STATES = {"success": "COMPLETED", "unfit": "COMPLETED", "error": "FAILED"}
_ENDS = {"cancelled": "CANCELLED", "time_limit": "TIMEOUT", "out_of_memory": "OUT_OF_MEMORY", "lost": "NODE_FAIL"}


class JobFiles:
    """The files of one job, beside those whose names submitit gives.

    Args:
        paths: submitit's names.

    Attributes:
        outputs: Folder of what the job wrote into its own.
        record: Where the job is.
        cancel: There where the job is to be cancelled at the next contact.
        result: How it ended.
        live: Names in the outputs of what grows while the job runs.
    """

    def __init__(self, paths: JobPaths) -> None:
        self.paths = paths
        self.job_id = str(paths.job_id)
        folder = Path(paths.folder)
        self.outputs = folder / self.job_id
        self.record = folder / f"{self.job_id}_ssh.json"
        self.cancel = self.record.with_suffix(".cancel")
        self.result = folder / Path(paths.result_pickle).with_suffix(".json").name
        self._logs = (Path(paths.stdout), Path(paths.stderr))
        self.live = [log.name for log in self._logs]

    def make(self, machine: Settings) -> None:
        """Make what a job needs before it is submitted; its logs appear under submitit's names when they come.

        Args:
            machine: Where it will run.
        """
        self.outputs.mkdir(parents=True)
        _write(
            self.record,
            {
                "host": machine.host,
                "ssh_config": machine.ssh_config,
                "python": machine.python,
                "root": machine.root,
                "process": [socket.gethostname(), os.getpid()],
            },
        )
        for log in self._logs:
            log.symlink_to(Path(self.job_id) / log.name)

    def open_logs(self) -> None:
        """Let the logs be there, though nothing has been printed yet."""
        for name in self.live:
            with contextlib.suppress(OSError):
                os.close(os.open(self.outputs / name, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o644))

    def read_record(self) -> Settings:
        """How the job's machine is reached.

        Raises:
            SettingError: There is no such job.
        """
        try:
            kept = json.loads(self.record.read_text(encoding="utf-8"))
            return Settings(kept["host"], kept["ssh_config"], kept["python"], kept["root"])
        except FileNotFoundError:
            raise SettingError(
                f"there is no job {self.job_id} of the ssh executor in {self.paths.folder}: give the folder and the id "
                "that it was submitted with."
            ) from None
        except (ValueError, KeyError, TypeError) as error:
            raise SettingError(f"{self.record} is damaged ({error}): submit the job again.") from None

    def submitter_lives(self) -> bool:
        """Whether the process that submitted the job runs on this machine, and is another one."""
        try:
            node, pid = json.loads(self.record.read_text(encoding="utf-8"))["process"]
            if node != socket.gethostname() or pid == os.getpid():
                return False
            os.kill(pid, 0)
        except PermissionError:
            return True
        except (OSError, ValueError, KeyError, TypeError):
            return False
        return True

    def write_result(self, outcome: Mapping[str, Any]) -> None:
        """Keep how the job ended, as data."""
        _write(self.result, outcome)

    def read_result(self) -> dict[str, Any] | None:
        """How it ended; None while nobody has recorded that."""
        try:
            kept = json.loads(self.result.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return kept if isinstance(kept, dict) else None


def state_of(outcome: Mapping[str, Any]) -> str:
    """The state of a job with this outcome."""
    return _STATES.get(outcome["outcome"]) or _ENDS.get(outcome["class"], "FAILED")


def _write(path: Path, content: Mapping[str, Any]) -> None:
    beside = path.with_name(f"{path.name}.{os.getpid()}~")
    beside.write_text(json.dumps(content) + "\n", encoding="utf-8")
    beside.replace(path)
