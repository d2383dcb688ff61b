"""`sweeproute status`: what sweeps do, or have done."""

import argparse
import dataclasses
import json
from typing import TYPE_CHECKING, Any

from sweeproute.commands import Commands

if TYPE_CHECKING:
    from sweeproute.commands.elsewhere import Contact
    from sweeproute.pointers import Pointer
    from sweeproute.progress import Progress

# Sweeps in the table; running jobs that are listed one by one.
_NEWEST = 10
_SHOWN = 20


def add(commands: Commands) -> None:
    """Add the command's words."""
    status = commands.add_parser("status", help="what a sweep does, or the newest sweeps")
    status.add_argument("sweep", metavar="SWEEP", nargs="?", help="the newest ten when left out")
    status.add_argument("--json", action="store_true", help="for a program; of the newest ten a list")
    status.set_defaults(run=run)


def run(asked: argparse.Namespace) -> None:
    """Print where a sweep is, or a table of sweeps."""
    import time

    from sweeproute import pointers

    known = [pointers.find(asked.sweep)] if asked.sweep is not None else pointers.pointers()
    if not known:
        # `find` says what to do first.
        pointers.find(pointers.LAST)
    looks, now = _looks(known[:_NEWEST]), time.time()
    if asked.json:
        told = [_data(*look) for look in looks]
        print(json.dumps(told if asked.sweep is None else told[0]))
    elif asked.sweep is not None:
        (found, contact), *_ = looks
        print("\n".join(_one(found, now) if contact is None else _elsewhere(found, contact, now)))
    else:
        print("\n".join(_table([found for found, _ in looks], now)))
        if len(known) > _NEWEST:
            print(f"and {len(known) - _NEWEST} older ones")


def _looks(known: "list[Pointer]") -> "list[tuple[Progress, Contact | None]]":
    """How far sweeps are; the machines of those that run elsewhere are asked at the same time."""
    from concurrent.futures import ThreadPoolExecutor

    from sweeproute.commands import elsewhere
    from sweeproute.progress import progress

    def look(pointer: "Pointer") -> "tuple[Progress, Contact | None]":
        on = pointer.on
        if on is None:
            return progress(pointer), None
        if len(known) > 1 and on.lived is False:
            contact = elsewhere.Contact(pointer, "", living=False)  # it had ended, and nobody has started it again
        else:
            contact = elsewhere.bring(pointer, everything=False, patience_s=elsewhere.LOOK_S)
        return elsewhere.progress_of(contact), contact

    with ThreadPoolExecutor(len(known)) as pool:
        return list(pool.map(look, known))


def _data(found: "Progress", contact: "Contact | None") -> dict[str, Any]:
    """What a program is told of a sweep."""
    told = {**dataclasses.asdict(found), "folder": str(found.folder), "waiting": found.waiting}
    if contact is not None and contact.pointer.on is not None:
        on = contact.pointer.on
        told["on"] = {"platform": on.platform, "host": on.host, "folder": on.folder, "seen": on.seen}
        told["on"]["problem"] = contact.problem or None
    return told


def _elsewhere(found: "Progress", contact: "Contact", now: float) -> list[str]:
    """A sweep whose coordinator is on another machine, as it is now or was seen last."""
    from sweeproute.progress import clock

    pointer = contact.pointer
    assert pointer.on is not None
    text = []
    if contact.problem:
        seen = f"was seen last at {clock(pointer.on.seen, now)}" if pointer.on.seen else "has not been seen since"
        text.append(
            f"{contact.problem} {pointer.id} {seen}{', and is told as it was then' if pointer.on.seen else ''}."
        )
    if found.state == "gone":
        text.append(f"{pointer.id} was started on {pointer.on.platform} at {clock(pointer.started, now)}.")
    else:
        text += _one(found, now)
    text.append(f"There: {pointer.on.platform}, {pointer.on.folder}")
    if found.state != "gone" and not contact.problem:
        text.append(f"Next: sweeproute sync {pointer.id} brings its files and runs home")
    return text


def _table(sweeps: "list[Progress]", now: float) -> list[str]:
    from hydra_plugins.sweeproute._columns import columns
    from hydra_plugins.sweeproute._live import duration
    from sweeproute.progress import clock

    rows: list[tuple[str, ...]] = [
        ("sweep", "name", "state", "done", "of", "pruned", "failed", "running", "started", "took", "folder")
    ]
    for sweep in sweeps:
        end = now if sweep.state == "running" else sweep.ended
        took = duration(end - sweep.started) if end is not None else ""
        total = "" if sweep.total is None else str(sweep.total)
        counts = [str(sweep.count(word)) for word in ("done", "pruned", "failed", "running")]
        started = clock(sweep.started, now)
        folder = str(sweep.folder)
        rows.append((sweep.id, sweep.name or "", sweep.state, counts[0], total, *counts[1:], started, took, folder))
    return columns(rows, right=(3, 4, 5, 6, 7))


def _one(sweep: "Progress", now: float) -> list[str]:
    from hydra_plugins.sweeproute._columns import columns
    from hydra_plugins.sweeproute._conditions import paused as paused_now
    from hydra_plugins.sweeproute._live import duration
    from sweeproute import report_record
    from sweeproute.progress import clock

    title = f"{sweep.id} ({sweep.name})" if sweep.name else sweep.id
    if sweep.state == "gone":
        return [f"{title}: its folder, {sweep.folder}, is not there any more."]
    text = [f"{title}: {_state(sweep, now)}"]
    words = ("done", "pruned", "failed", "running", "queued", "stopped")
    parts = [f"{number} {word}" for word in words if (number := sweep.count(word))]
    parts += [f"{sweep.waiting} not started"] if sweep.waiting else []
    text.append(f"{sweep.total if sweep.total is not None else len(sweep.jobs)} jobs: {', '.join(parts) or 'none yet'}")
    if sweep.state == "running":
        left_s = sweep.left_s(now)
        text.append(f"about {duration(left_s)} left" if left_s is not None else "time left not known yet")
    elif sweep.count("running") or sweep.count("queued"):
        there = sorted({job.platform for job in sweep.jobs if job.state in ("running", "queued")})
        text.append(f"That is how its coordinator left it: {' and '.join(there)} may have gone on since.")
    paused = sorted(paused_now().keys() & set(sweep.platforms))
    text += [f"{name} is paused." for name in paused] if sweep.state == "running" else []
    if sweep.jobs:
        rows: list[tuple[str, ...]] = [("platform", *words)]
        rows += [(name, *(str(sweep.count(state, name)) for state in words)) for name in sweep.platforms]
        text += ["", *columns(rows, right=range(1, len(words) + 1))]
    running = [job for job in sweep.jobs if job.state == "running"]
    if running:
        text += ["", "Running:" if sweep.state == "running" else "Running at its end:"]
        for job in running[:_SHOWN]:
            since = f" since {clock(job.started_at, now)} ({duration(now - job.started_at)})" if job.started_at else ""
            text.append(f"  job {job.job} on {job.platform}{since}: {' '.join(job.overrides)}")
        if len(running) > _SHOWN:
            text.append(f"  and {len(running) - _SHOWN} more")
    text += ["", f"Files: {sweep.folder}"]
    if (problem := report_record.problem(sweep.folder)) is not None:
        text.append(f"Report: {problem}. Once that is mended, `sweeproute report {sweep.id} --log` makes it")
    if sweep.state in ("stopped", "failed"):
        text.append(f"Next: sweeproute resume {sweep.id}")
    return text


def _state(sweep: "Progress", now: float) -> str:
    from hydra_plugins.sweeproute._live import duration
    from sweeproute.progress import clock

    began = clock(sweep.started, now)
    if sweep.state == "running":
        return f"RUNNING since {began} ({duration(now - sweep.started)}), by process {sweep.pid} on {sweep.host}"
    if sweep.ended is None:
        return f"stopped: process {sweep.pid} on {sweep.host}, which ran it since {began}, is dead"
    took = duration(sweep.ended - sweep.started)
    return f"{sweep.state} at {clock(sweep.ended, now)}, {took} after its start"
