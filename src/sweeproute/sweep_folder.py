"""Reads the folder of a sweep: its record, its jobs with their attempts, their outcomes."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweeproute import journal
from sweeproute.choice import Choice, Scored
from sweeproute.choice import choose as _choose
from sweeproute.configuration import split
from sweeproute.selection import Rule

# Where we keep our own files inside a sweep's folder, or inside the folder of a run alone.
OWN = ".sweeproute"
ENDED = ("FINISHED", "PRUNED", "FAILED", "KILLED", "LOST")


@dataclass(frozen=True)
class Attempt:
    """One try at a job, with a folder of its own."""

    # The job's number in its sweep; None for a trial run alone.
    job: int | None
    # 1 for the first try.
    number: int
    folder: Path


@dataclass(frozen=True)
class Outcome:
    """What became of a job: the attempt that counts, or the newest while none does."""

    attempt: Attempt
    # RUNNING or one of ENDED.
    state: str
    # The overrides as they were requested.
    overrides: tuple[str, ...]
    metrics: dict[str, float]
    # What went wrong, in one line; None where nothing did.
    error: str | None
    platform: str | None
    # Whether the results of the others called for it: nothing is chosen by it.
    follow_up: bool = False


def own(root: Path, name: str) -> Path:
    """The path of one of our own files in the folder of a sweep or of a run."""
    return root / OWN / name


def sweep_record(root: Path) -> dict[str, Any] | None:
    """The sweep's record, or None where the folder is no sweep of our launcher."""
    return _json(own(root, "sweep.json"))


def launch_record(folder: Path) -> dict[str, Any] | None:
    """The launcher's record of a job, or None where another launcher, or none, started it."""
    return _json(folder / "launch.json")


def command_script(record: Mapping[str, Any] | None, fallback: str = "train.py") -> str:
    """The script that the person started, as it was typed."""
    argv = (record or {}).get("argv") or [fallback]
    return str(argv[0])


@dataclass
class SweepFolder:
    """The folder of a sweep, read again and again while it grows."""

    root: Path
    _offset: int = 0
    _attempts: dict[Path, Attempt] = field(default_factory=dict)

    def attempts(self) -> list[Attempt]:
        """All attempts that are there by now, in the order in which they were found.

        The launcher lists them in `.sweeproute/jobs.jsonl`. Without that list the folder is one run, when it holds a
        journal itself, or a sweep of another launcher, whose jobs are looked for one or two levels down.
        """
        listing = own(self.root, "jobs.jsonl")
        if listing.exists():
            self._read(listing)
        elif (self.root / journal.FILE).exists() or (self.root / "launch.json").exists():
            self._add(Attempt(None, 1, self.root))
        else:
            for pattern in (f"*/{journal.FILE}", f"*/*/{journal.FILE}"):
                for path in sorted(self.root.glob(pattern)):
                    if path.parent not in self._attempts:
                        self._add(Attempt(_job_number(path.parent), 1, path.parent))
        return list(self._attempts.values())

    def is_sweep(self) -> bool:
        """Whether this is the folder of a sweep, not of one run."""
        if own(self.root, "sweep.json").exists() or own(self.root, "jobs.jsonl").exists():
            return True
        return any(attempt.job is not None or attempt.folder != self.root for attempt in self.attempts())

    def outcomes(self) -> list[Outcome]:
        """One outcome a job, in the order of their numbers."""
        jobs: dict[tuple[int | None, Path | None], list[Attempt]] = {}
        for attempt in self.attempts():
            jobs.setdefault((attempt.job, attempt.folder if attempt.job is None else None), []).append(attempt)
        chosen = [_outcome(attempts) for attempts in jobs.values()]
        return sorted(chosen, key=lambda outcome: outcome.attempt.job if outcome.attempt.job is not None else -1)

    def _read(self, listing: Path) -> None:
        with listing.open("rb") as file:
            file.seek(self._offset)
            content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            try:
                entry = json.loads(line)
                self._add(Attempt(int(entry["job"]), int(entry["attempt"]), self.root / entry["folder"]))
            except (ValueError, TypeError, KeyError):
                # A line torn by a kill: the launcher lists the attempt again when it resumes.
                continue

    def _add(self, attempt: Attempt) -> None:
        self._attempts.setdefault(attempt.folder, attempt)


def choose(outcomes: Iterable[Outcome], rule: Rule) -> Choice[Outcome]:
    """Choose among the jobs of a sweep.

    Args:
        outcomes: One per job, in the order of their numbers.
        rule: What decides.

    Returns:
        The choice among the finished jobs, or among the means over the finished repeats of each configuration.
    """
    scored = []
    for outcome in (one for one in outcomes if not one.follow_up):
        kept, repeat = split(outcome.overrides, rule.repeats)
        # As a set: what two searches wrote in another order is the same configuration.
        scored.append(Scored(outcome, outcome.state == "FINISHED", frozenset(kept), repeat, outcome.metrics))
    return _choose(scored, rule)


def overrides_of(folder: Path, record: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The overrides of a job as they were requested: from the launcher's record, else from what Hydra wrote."""
    if record is not None:
        return tuple(str(override) for override in record.get("overrides") or ())
    path = folder / ".hydra" / "overrides.yaml"
    if not path.exists():
        return ()
    import yaml

    return tuple(str(override) for override in yaml.safe_load(path.read_text(encoding="utf-8")) or ())


def returned_metrics(record: Mapping[str, Any] | None) -> dict[str, float]:
    """The numbers among what the task returned; one alone is called `value`, those of a list `value.0` and so on."""
    value = (record or {}).get("value")
    listed = {f"value.{place}": one for place, one in enumerate(value)} if isinstance(value, list) else {"value": value}
    named: dict[str, Any] = value if isinstance(value, dict) else listed
    return {str(name): float(number) for name, number in named.items() if _is_number(number)}


def error_of(record: Mapping[str, Any] | None) -> str | None:
    """What went wrong with a job, in one line."""
    error = (record or {}).get("error")
    if not error:
        return None
    text = f"{error.get('type') or error.get('class')}: {error.get('message') or 'no message'}"
    return " ".join(text.split())


def _outcome(attempts: list[Attempt]) -> Outcome:
    records = {attempt: launch_record(attempt.folder) for attempt in attempts}
    attempt = max(attempts, key=lambda a: (bool((records[a] or {}).get("current")), a.number))
    record = records[attempt]
    metrics = returned_metrics(record)
    state = (record or {}).get("state")
    if state is None or not isinstance((record or {}).get("value"), dict):
        # Only where the launcher's record does not say it: reading every journal of a long sweep takes seconds.
        page = journal.merge(journal.read(attempt.folder)[0])
        metrics = {**page.last_metrics(), **metrics}
        state = state or page.status or "RUNNING"
    overrides = overrides_of(attempt.folder, record)
    platform, follow_up = (record or {}).get("platform"), bool((record or {}).get("follow_up"))
    return Outcome(attempt, state, overrides, metrics, error_of(record), platform, follow_up)


def _is_number(value: object) -> bool:
    if isinstance(value, str):
        return value in ("NaN", "Infinity", "-Infinity")
    return isinstance(value, int | float) and not isinstance(value, bool)


def _job_number(folder: Path) -> int | None:
    """A job's number where our launcher did not list it: the folder's name, else what Hydra wrote into it."""
    if folder.name.isdecimal():
        return int(folder.name)
    path = folder / ".hydra" / "hydra.yaml"
    found = re.search(r"^ {4}num: (\d+)$", path.read_text(encoding="utf-8"), re.MULTILINE) if path.exists() else None
    return int(found[1]) if found else None


def _json(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return content if isinstance(content, dict) else None
