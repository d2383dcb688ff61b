"""A sweep over the workstation that something happens to, with what must hold once it has ended."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import optuna
import psutil
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from far_app import FarApp, wait_until
from workstation import Workstation

# The workstation keeps this over a loss of power, and it is not on the disk that can be filled.
_COUNTS = "/srv"
_ROOT = "/home/me/.sweeproute"
# Seconds that a sweep may take beyond what happens to it, and that what it leaves behind gets to end.
_END_S = 240
_TIDY_S = 40
# What may run over there when nothing is to be done: the supervisor, with the warm parents that it keeps.
_STAYS = re.compile(r"sweeproute_far\.(supervisor|forker) import main")
# What differs between two runs of a job that are as good as each other.
_OWN = re.compile(r"launch\.json|\.hydra/.*|checkpoint/.*|app\.log|console\.log")


@dataclass
class Outcome:
    """What became of a sweep.

    Attributes:
        problems: What is not as it must be, in clauses.
        again: Jobs that were run more than once.
        next_s: Seconds from the end of what happened to the next job that started; None where none did after it.
        fallback_s: Seconds from its beginning to the first job that fell back; None where none did.
        output: What the coordinators printed.
        took_s: Seconds for all of it.
    """

    problems: list[str] = field(default_factory=list)
    again: int = 0
    next_s: float | None = None
    fallback_s: float | None = None
    output: str = ""
    took_s: float = 0.0


@contextmanager
def counts(box: Workstation) -> Iterator[Path]:
    """A folder that each machine has under this one path, and for itself: executions are counted in it."""
    for left in Path(_COUNTS).glob("sweeproute-*-*"):
        if not psutil.pid_exists(int(left.name.split("-")[1])):  # of a process that was killed
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=_COUNTS, prefix=f"sweeproute-{os.getpid()}-") as name:
        # Made anew over there, so that what this machine writes into its own never shows.
        done = box.run(f"rm -rf {name} && mkdir -m 777 {name}", user="root")
        assert done.returncode == 0, done.stderr
        yield Path(name)


class DisturbedSweep:
    """One sweep of short jobs, all of which belong to the workstation.

    Args:
        box: The workstation; nothing has happened to it yet.
        folder: Where the sweep's files are.
        at: Where executions are counted; see `counts`.
        jobs: How many.
        takes_s: Seconds that each takes at least.
        rng: Chooses the moment at which something happens.
        search: Whether a study proposes the jobs, one after the other in their order, rather than a grid all at once.
    """

    def __init__(
        self,
        box: Workstation,
        folder: Path,
        at: Path,
        jobs: int,
        takes_s: float = 0.1,
        rng: Random | None = None,
        *,
        search: bool = False,
    ) -> None:
        self.box = box
        self.jobs = jobs
        self.rng = rng or Random(0)
        self.app = FarApp(folder, python=box.python, ssh_config=box.ssh_config, host=box.host, at=at)
        self.folder = folder
        self.coordinator: subprocess.Popen[str] | None = None
        self._words = ["kind=heavy", f"x=range({jobs})", f"takes={takes_s}"]
        self._search = search
        if search:
            points = ",".join(f"{{x:{number}}}" for number in range(jobs))
            self._words += [
                *("hydra.sweeper.sampler=random", f"hydra.sweeper.n_trials={jobs}"),
                *("hydra.sweeper.metric=double", "hydra.sweeper.direction=maximize"),
                f"hydra.sweeper.enqueue=[{points}]",
            ]
        self._more: tuple[str, ...] = ()
        self._ended: set[int] = set()
        self.output = ""
        self._struck = self._over = 0.0
        self._began = time.monotonic()

    # ---- what happens

    def start(self, *words: str) -> None:
        """Start the sweep; with further words, which hold for its later coordinators, too."""
        self._more = words
        self.coordinator = self.app.start(*self._words, *words)

    def resume(self) -> None:
        """Start another coordinator that goes on with it."""
        self.coordinator = self.app.start(*self._words, *self._more, "hydra.sweeper.resume=true")

    def contact(self) -> None:
        """Run another sweep, of one job: what could not be said to the workstation before is said now."""
        self.coordinator = self.app.start("kind=heavy", f"x={self.jobs}", "hydra.sweep.dir=contact")
        self.finish()

    def under_way(self, jobs: int | None = None) -> None:
        """Wait until so many jobs have begun over there; up to half of them where no number is given."""
        wanted = self.rng.randint(1, self.jobs // 2) if jobs is None else jobs

        def begun() -> bool:
            self._still_runs()
            return len(self.far_executions()) >= wanted

        wait_until(begun, f"{wanted} jobs to begin over there", _END_S)

    def await_word(self, what: Callable[[], object], description: str) -> None:
        """Wait for something while the coordinator lives."""

        def seen() -> object:
            self._still_runs()
            return what()

        wait_until(seen, description, _END_S)

    def struck(self) -> None:
        """Note that it happens now."""
        self._struck = time.time()

    def over(self) -> None:
        """Note that it is over."""
        self._over = time.time()

    def last(self, seconds: float) -> None:
        """Let it last; shorter where the sweep has ended before."""
        assert self.coordinator is not None
        with suppress(subprocess.TimeoutExpired):
            self.coordinator.wait(seconds)

    def lives(self) -> bool:
        """Whether its coordinator has not ended."""
        return self.coordinator is not None and self.coordinator.poll() is None

    def runs(self) -> bool:
        """Whether its coordinator's end has not been waited for."""
        return self.coordinator is not None and self.coordinator.pid not in self._ended

    def finish(self, code: int = 0) -> str:
        """Wait for the coordinator's end.

        Args:
            code: What it has to end with.

        Returns:
            What it printed.
        """
        assert self.coordinator is not None
        try:
            said, _ = self.coordinator.communicate(timeout=_END_S)
        except subprocess.TimeoutExpired:
            self.coordinator.send_signal(signal.SIGKILL)
            self.output += self.coordinator.communicate()[0]
            raise AssertionError(f"the sweep did not end within {_END_S} s") from None
        self.output += said
        self._ended.add(self.coordinator.pid)
        assert self.coordinator.returncode == code, f"a coordinator ended with {self.coordinator.returncode}"
        return said

    def kill(self) -> None:
        """Kill the coordinator, as the loss of its terminal's machine would."""
        assert self.coordinator is not None
        self.coordinator.kill()
        self.output += self.coordinator.communicate()[0]

    def go(self) -> None:
        """Let jobs that wait end, wherever they run."""
        self.app.go()
        self.box.run(f"touch {self.app.at}/go")

    def near_processes(self) -> list[psutil.Process]:
        """The coordinator, its workers and its ssh."""
        assert self.coordinator is not None
        process = psutil.Process(self.coordinator.pid)
        return [process, *process.children(recursive=True)]

    # ---- what there is

    @property
    def far_root(self) -> Path:
        """The far side's root folder as this process can open it."""
        return self.box.path(_ROOT)

    def supervisor(self) -> int:
        """Process id of the supervisor over there."""
        return int(json.loads((self.far_root / "supervisor.json").read_text())["pid"])

    def await_far_process(self, number: int) -> int:
        """Wait until a job that waits for `go` runs over there; its process id there."""
        found: list[int] = []

        def runs() -> bool:
            with suppress(OSError, ValueError, KeyError):
                record = json.loads((self.app.folder / "out" / str(number) / "launch.json").read_text())
                run = json.loads((self.far_root / "jobs" / record["far"]["id"] / "run.json").read_text())
                found[:] = [run["pid"]]
            return bool(found) and number in self.far_executions()

        self.await_word(runs, f"job {number} to run over there")
        return found[0]

    def far_lives(self, pid: int) -> bool:
        """Whether a process lives over there."""
        return any(number == pid for number, _ in self.box.processes())

    def far_executions(self) -> Counter[int]:
        """How often each job ran over there."""
        return _counted(self.box.path(str(self.app.at)))

    def near_executions(self) -> Counter[int]:
        """How often each job ran here."""
        return _counted(self.app.at)

    def table(self) -> dict[tuple[str, ...], tuple[Any, dict[str, str]]]:
        """What the sweep gave: by overrides each result with its artifacts, each artifact by its hash."""
        found = {}
        for folder, record in self._records():
            if record["current"] and record["state"] == "FINISHED":
                overrides = tuple(word for word in record["overrides"] if word.startswith(("kind=", "x=")))
                names = (path for path in folder.rglob("*") if path.is_file())
                files = {path.relative_to(folder).as_posix(): path for path in names}
                artifacts = {
                    name: hashlib.sha256(path.read_bytes()).hexdigest()
                    for name, path in files.items()
                    if not _OWN.fullmatch(name)
                }
                found[overrides] = (record["value"]["double"], artifacts)
        return found

    def outcome(self, again: str, expected: dict[tuple[str, ...], Any]) -> Outcome:
        """See what became of it.

        Args:
            again: Why jobs may have been run more than once; empty where none may.
            expected: The table of an undisturbed sweep.

        Returns:
            All that can be said of it.
        """
        records = list(self._records())
        problems = [*self._wrong_records(records), *self._wrong_trials(), *self._left_behind()]
        table = self.table()
        wrong = [
            overrides for overrides in expected.keys() | table.keys() if expected.get(overrides) != table.get(overrides)
        ]
        if wrong:
            problems.append(f"{len(wrong)} rows of the table differ, one of them {wrong[0]}")
        far, near = self.far_executions(), self.near_executions()
        for ran in (far, near):
            ran.pop(self.jobs, None)  # see `contact`
        problems += [f"job {number} never ran" for number in set(range(self.jobs)) - far.keys() - near.keys()]
        more = [number for number, times in (far + near).items() if times > 1]
        if more and not again:
            problems.append(f"jobs {sorted(more)} ran more than once")
        for where, ran in (("box", far), ("here", near)):
            attempts = Counter(int(record["job"]) for _, record in records if record["platform"] == where)
            unknown = {number: (times, attempts[number]) for number, times in ran.items() if times > attempts[number]}
            if unknown:
                problems.append(f"ran more often than there are attempts at {where} (ran, attempts): {unknown}")
        starts = sorted(record["started_at"] for _, record in records if record["state"] != "KILLED")
        fell = sorted(
            record["started_at"]
            for _, record in records
            if record["decision"] == "scheduled_fallback" and record.get("started_at", 0) > self._struck
        )
        return Outcome(
            problems,
            len(more),
            next((at - self._over for at in starts if self._over and at > self._over), None),
            fell[0] - self._struck if fell and self._struck else None,
            self.output,
            time.monotonic() - self._began,
        )

    # ---- the rest

    def close(self) -> None:
        """End what still runs here."""
        if self.coordinator is not None and self.coordinator.poll() is None:
            for process in self.near_processes():
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            self.coordinator.communicate()

    def _still_runs(self) -> None:
        assert self.coordinator is not None
        if self.coordinator.poll() is not None:
            self.output += self.coordinator.communicate()[0]
            raise AssertionError(f"the coordinator ended early, with {self.coordinator.returncode}")

    def _records(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        for path in sorted(self.app.folder.glob("out/*/launch.json")):
            yield path.parent, json.loads(path.read_text())

    def _wrong_records(self, records: list[tuple[Path, dict[str, Any]]]) -> Iterator[str]:
        current = Counter(record["job"] for _, record in records if record["current"])
        for number in range(self.jobs):
            if current[number] != 1:
                yield f"job {number} has {current[number]} records that count"
        for _, record in records:
            name = f"attempt {record['attempt']} at job {record['job']} at {record['platform']}"
            if record["current"] and record["state"] != "FINISHED":
                yield f"{name} counts, and is {record['state']}: {record.get('error')}"
            elif record["state"] in ("RUNNING", "QUEUED"):
                yield f"{name} is {record['state']} for ever"
        sweep = json.loads((self.app.folder / "out/.sweeproute/sweep.json").read_text())
        if sweep["state"] != "FINISHED":
            yield f"the sweep is {sweep['state']}"

    def _wrong_trials(self) -> Iterator[str]:
        """What its study holds that is not one result of each job."""
        if not self._search:
            return
        log = JournalFileBackend(str(self.app.folder / "out/.sweeproute/study.log"))
        trials = optuna.load_study(study_name="search", storage=JournalStorage(log)).trials
        told = sorted((int(one.params["x"]), one.value) for one in trials if one.state == TrialState.COMPLETE)
        if told != [(number, 2.0 * number) for number in range(self.jobs)]:
            yield f"the study was told {told[:5]} and so on, {len(told)} results of {self.jobs} jobs"
        others = Counter(one.state.name for one in trials if one.state != TrialState.COMPLETE)
        if others:
            yield f"the study holds trials that never ended well: {dict(others)}"

    def _left_behind(self) -> Iterator[str]:
        """What is there although nobody needs it, once it has had time to go."""

        def jobs() -> list[str]:
            folder = self.far_root / "jobs"
            return [path.name for path in folder.iterdir()] if folder.exists() else []

        def strangers() -> list[str]:
            return [args for _, args in self.box.processes() if not _STAYS.search(args)]

        def slots() -> list[str]:
            locks = f"for lock in {_ROOT}/slots/*.lock; do [ ! -e $lock ] || flock -n $lock true || echo $lock; done"
            return self.box.run(locks).stdout.split()

        def channels() -> list[str]:
            lines = (" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"]))
            return [line for line in lines if str(self.box.ssh_config) in line]

        looks: list[tuple[str, Callable[[], list[str]]]] = [
            ("the far spool holds jobs", jobs),
            ("processes run over there", strangers),
            ("slots are held over there", slots),
            ("channels are open here", channels),
        ]
        for what, look in looks:
            with suppress(AssertionError):
                wait_until(lambda look=look: not look(), what, _TIDY_S)
            left = look()
            if left:
                yield f"{what}: {'; '.join(left)[:300]}"


def _counted(folder: Path) -> Counter[int]:
    try:
        lines = (folder / "executions").read_text().splitlines()
    except FileNotFoundError:
        return Counter()
    return Counter(int(line.split()[0]) for line in lines)
