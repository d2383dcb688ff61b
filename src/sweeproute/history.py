"""Reads what has run: attempts from the history of this machine, a sweep with its sessions from its folder."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeproute.pointers import Pointer, state_directory
from sweeproute.progress import is_running
from sweeproute.sweep_folder import SweepFolder, launch_record, own, sweep_record


@dataclass(frozen=True)
class Attempt:
    """One attempt that has ended; seconds are since 1970."""

    model: str | None
    platform: str
    overrides: tuple[str, ...]
    # FINISHED, PRUNED, FAILED, KILLED or LOST.
    outcome: str
    run_s: float | None
    ended_at: float | None
    # Whether its result is the job's.
    current: bool = True


@dataclass(frozen=True)
class Session:
    """One coordinator's time with a sweep; seconds are since 1970."""

    started: float
    ended: float
    # Slots of each platform that could be used.
    slots: Mapping[str, int]
    # What was noted of the platforms, in order; see the launcher's _platform_log.
    notes: tuple[Mapping[str, Any], ...]

    @property
    def seconds(self) -> float:
        """From its start to its end."""
        return self.ended - self.started


@dataclass(frozen=True)
class Sweep:
    """A sweep that is over, as far as figures are made of it."""

    id: str
    attempts: tuple[Attempt, ...]
    sessions: tuple[Session, ...]

    @property
    def seconds(self) -> float | None:
        """How long it took, pauses between its sessions left out; None where no session was noted."""
        return sum(session.seconds for session in self.sessions) if self.sessions else None


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of an append-only log; a torn one is passed over, a missing file has none."""
    try:
        content = path.read_bytes()
    except OSError:
        return
    for line in content.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            yield entry


def attempts() -> list[Attempt]:
    """Every attempt that has ended on this machine's account, from its history."""
    found = []
    for line in lines(state_directory() / "history.jsonl"):
        if line.get("platform") and line.get("outcome"):
            overrides = tuple(map(str, line.get("overrides") or ()))
            seconds, at = line.get("seconds"), line.get("at")
            found.append(Attempt(line.get("model"), line["platform"], overrides, line["outcome"], seconds, at))
    return found


def sweep(folder: Path) -> Sweep | None:
    """Read a sweep's folder; None where it is no sweep of the launcher, or is not over."""
    record = sweep_record(folder)
    if record is None or is_running(folder, record):
        return None
    found = []
    for attempt in SweepFolder(folder).attempts():
        launch = launch_record(attempt.folder)
        if launch is None or not launch.get("platform") or launch.get("state") in ("RUNNING", "QUEUED"):
            continue
        if (launch.get("error") or {}).get("class") == "precheck":
            # The platform could not run it at all: that says nothing of how long or how well jobs run there.
            continue
        found.append(
            Attempt(
                model=(launch.get("fields") or {}).get("model_type"),
                platform=launch["platform"],
                overrides=tuple(launch.get("overrides") or ()),
                outcome=str(launch.get("state")),
                run_s=launch.get("run_s"),
                ended_at=launch.get("ended_at"),
                current=bool(launch.get("current")),
            )
        )
    return Sweep(str(record["id"]), tuple(found), tuple(_sessions(folder, float(record.get("started") or 0.0))))


def sweeps(pointers: Iterable[Pointer]) -> list[Sweep]:
    """Read the sweeps that are over."""
    found = []
    for pointer in pointers:
        record = sweep_record(pointer.folder)
        if record is not None and record.get("id") == pointer.id and (one := sweep(pointer.folder)) is not None:
            found.append(one)
    return found


def _sessions(folder: Path, started: float) -> Iterator[Session]:
    """The sessions of a sweep; those of an earlier sweep in the same folder are not its own."""
    noted: list[dict[str, Any]] = []
    for line in lines(own(folder, "platforms.jsonl")):
        if not isinstance(line.get("at"), int | float) or line["at"] < started - 1.0:
            continue
        if "slots" in line and noted:
            yield _session(noted)
            noted = []
        noted.append(line)
    if noted:
        yield _session(noted)


def _session(noted: Sequence[dict[str, Any]]) -> Session:
    # Without a last word its coordinator was killed: it lived at least until its last note.
    return Session(noted[0]["at"], noted[-1]["at"], noted[0].get("slots") or {}, tuple(noted[1:]))
