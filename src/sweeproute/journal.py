"""The trial's side of tracking: an append-only log of what the tracking store is to be told.

One JSON object a line, in the file `journal.jsonl` of the job's folder; each names a verb of the store (`create_run`,
`log_batch`, `log_artifact`, `log_input`, `end_run`), or with `nested_run` a folder with the whole journal of a run that
belongs below this one. The trial only appends, so that logging costs microseconds, needs
no store within reach, and keeps what was written when the process is killed. `sweeproute.replay` reads it.

JSON has no word for a number that is not finite, so these are written as the strings "NaN", "Infinity" and
"-Infinity", which `float` takes back.
"""

import json
import logging
import math
import os
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, SupportsFloat

log = logging.getLogger(__name__)

FILE = "journal.jsonl"
# Metrics of the machine, not of the run, begin so: MLflow's pages show them apart.
SYSTEM = "system/"
# PRUNED: the rest of the trial was not needed. No store knows that word; see `sweeproute.replay`.
STATUSES = ("FINISHED", "FAILED", "KILLED", "PRUNED")
# MLflow stores 36 characters of a digest; the whole hash travels beside it.
_DIGEST_LENGTH = 32
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


class JournalError(Exception):
    """A journal was asked for something that it cannot record."""


class Journal:
    """The writer. Each call appends one line with one write; use it as a context manager to be sure of an end."""

    def __init__(self, folder: Path, id: str, descriptor: int) -> None:
        self.folder = folder
        self.id = id
        self._descriptor: int | None = descriptor

    @classmethod
    def open(
        cls, folder: Path | str, name: str, tags: Mapping[str, Any] | None = None, started: int | None = None
    ) -> Self:
        """Start the journal of a job, or go on with the unfinished one that its folder holds.

        Args:
            folder: The job's output folder; made when absent.
            name: The run's name, for people.
            tags: Tags that are known from the start.
            started: When the run started, in milliseconds since 1970; now when absent.

        Returns:
            A journal; its `id` (32 hexadecimal digits) is how the run is found again in the store.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / FILE
        id = _unfinished(path)
        if id is None:
            # A finished journal belongs to a run that stands in the store: a trial run again in the same folder is
            # another run.
            path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        journal = cls(folder, id or uuid.uuid4().hex, descriptor)
        if id is None:
            time = _now_ms() if started is None else started
            start = {"verb": "create_run", "journal": journal.id, "name": name, "time": time, "tags": _texts(tags)}
            journal._append(start)
        elif tags:
            journal.tags(tags)
        return journal

    def params(self, values: Mapping[str, Any]) -> None:
        """Record parameters as text. The first value of a name stands: the store cannot change one."""
        self._append({"verb": "log_batch", "time": _now_ms(), "params": _texts(values)})

    def metrics(self, values: Mapping[str, SupportsFloat], step: int = 0, time: int | None = None) -> None:
        """Record numbers, NaN and infinities included.

        Args:
            values: Metric name to value.
            step: The step that they belong to; a season, an epoch. The store shows the value of the highest step.
            time: When, in milliseconds since 1970; now when absent.
        """
        now = _now_ms() if time is None else int(time)
        rows = [[name, _number(value), int(step), now] for name, value in values.items()]
        self._append({"verb": "log_batch", "time": now, "metrics": rows})

    def tags(self, values: Mapping[str, Any]) -> None:
        """Record tags as text; a later value replaces an earlier one."""
        self._append({"verb": "log_batch", "time": _now_ms(), "tags": _texts(values)})

    def artifact(self, path: Path | str, to: str = "") -> None:
        """Name a finished file or folder below the job's folder as an artifact.

        Args:
            path: The file, absolute or relative to the job's folder.
            to: The artifact folder that it goes to; empty is the root.

        Raises:
            JournalError: The file lies outside the job's folder.
        """
        relative = Path(path)
        if relative.is_absolute():
            relative = Path(os.path.relpath(relative, self.folder.absolute()))
        if ".." in relative.parts:
            raise JournalError(
                f"The artifact {str(path)!r} lies outside the job's folder {str(self.folder)!r}; copy it there first."
            )
        self._append({"verb": "log_artifact", "path": relative.as_posix(), "to": to})

    def nested(self, folder: Path) -> None:
        """Name a folder below the job's whose journal has ended: its run stands below this one.

        Args:
            folder: The folder that was given to the other journal.
        """
        self._append({"verb": "nested_run", "path": folder.relative_to(self.folder).as_posix()})

    def input(
        self, name: str, hash: str, source: str, context: str = "training", profile: Mapping[str, Any] | None = None
    ) -> None:
        """Record the data set that the trial used.

        Args:
            name: The data set's name.
            hash: Its content hash, hexadecimal.
            source: Where it came from: a path, an address or a description.
            context: What it was used for.
            profile: Counts and ranges worth showing.
        """
        self._append(
            {
                "verb": "log_input",
                "name": name,
                "digest": hash[:_DIGEST_LENGTH],
                "source": source,
                "context": context,
                "hash": hash,
                "profile": dict(profile or {}),
            }
        )

    def end(self, status: str = "FINISHED") -> None:
        """Close the journal.

        Args:
            status: FINISHED, FAILED, KILLED or PRUNED.

        Raises:
            JournalError: Another status.
        """
        if status not in STATUSES:
            raise JournalError(f"A run cannot end as {status!r}; allowed are {', '.join(STATUSES)}.")
        self._append({"verb": "end_run", "status": status, "time": _now_ms()})
        assert self._descriptor is not None
        os.close(self._descriptor)
        self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor is None:
            return
        if kind is None:
            self.end("FINISHED")
        else:
            self.end("FAILED" if issubclass(kind, Exception) else "KILLED")

    def _append(self, entry: dict[str, Any]) -> None:
        if self._descriptor is None:
            raise JournalError(f"The journal in {str(self.folder)!r} has ended; nothing can be added to it.")
        line = (_encode(entry) + "\n").encode()
        while line:
            line = line[os.write(self._descriptor, line) :]


def read(folder: Path, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
    """Read the whole lines that stand behind an offset.

    Args:
        folder: The job's folder.
        offset: Bytes already read; 0 at first.

    Returns:
        The entries, and the offset to read on from. A last line without its end is left for the next call.
    """
    try:
        with (folder / FILE).open("rb") as file:
            file.seek(offset)
            content = file.read()
    except FileNotFoundError:
        return [], offset
    whole = content[: content.rfind(b"\n") + 1]
    entries = []
    for line in whole.splitlines():
        try:
            entry = json.loads(line)
            entry["verb"]
        except (ValueError, TypeError, KeyError):
            log.warning("%s: skipped a line that is no journal entry: %.80r", folder / FILE, line)
            continue
        entries.append(entry)
    return entries, offset + len(whole)


@dataclass
class Page:
    """What a stretch of a journal says, merged."""

    # Id, name and start in milliseconds since 1970; None where the stretch does not hold the journal's beginning.
    journal: str | None = None
    name: str | None = None
    started: int | None = None
    params: dict[str, str] = field(default_factory=dict)
    # (name, value, step, milliseconds since 1970)
    metrics: list[tuple[str, float, int, int]] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    # (path relative to the job's folder, artifact folder)
    artifacts: list[tuple[str, str]] = field(default_factory=list)
    inputs: list[dict[str, Any]] = field(default_factory=list)
    # Folders of the journals of runs below this one, relative to the job's.
    nested: list[str] = field(default_factory=list)
    # Status and end in milliseconds since 1970.
    status: str | None = None
    ended: int | None = None

    def last_metrics(self) -> dict[str, float]:
        """The value of each metric's highest step, which is the one that the store shows; none of the machine's."""
        newest: dict[str, tuple[int, int, float]] = {}
        for name, value, step, moment in self.metrics:
            if name.startswith(SYSTEM):
                continue
            if name not in newest or (step, moment) >= newest[name][:2]:
                newest[name] = (step, moment, value)
        return {name: value for name, (_, _, value) in newest.items()}


def merge(entries: Iterable[Mapping[str, Any]]) -> Page:
    """Merge entries into one page; of a parameter the first value stands, of a tag the last."""
    page = Page()
    for entry in entries:
        match entry["verb"]:
            case "create_run":
                page.journal, page.name, page.started = entry["journal"], entry["name"], entry["time"]
                page.tags.update(entry.get("tags") or {})
            case "log_batch":
                for name, value in (entry.get("params") or {}).items():
                    page.params.setdefault(name, value)
                page.tags.update(entry.get("tags") or {})
                for name, value, step, moment in entry.get("metrics") or ():
                    page.metrics.append((name, float(value), step or 0, moment or entry["time"]))
            case "log_artifact":
                page.artifacts.append((entry["path"], entry.get("to") or ""))
            case "log_input":
                page.inputs.append(dict(entry))
            case "nested_run":
                page.nested.append(entry["path"])
            case "end_run":
                page.status, page.ended = entry["status"], entry["time"]
    return page


def _unfinished(path: Path) -> str | None:
    """The id of the journal that stands there without an end, a torn last line cut off; None where there is none."""
    if not path.exists():
        return None
    entries, whole = read(path.parent)
    page = merge(entries)
    if page.journal is None or page.status is not None:
        return None
    os.truncate(path, whole)
    return page.journal


def _texts(values: Mapping[str, Any] | None) -> dict[str, str]:
    return {str(name): str(value) for name, value in (values or {}).items()}


def _number(value: SupportsFloat) -> float | str:
    number = float(value)
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
