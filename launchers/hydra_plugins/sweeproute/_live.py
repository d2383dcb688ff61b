"""Shows a running sweep to the person who started it."""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TextIO

from ._occupancy import Counts

if TYPE_CHECKING:
    from rich.console import Group

# Seconds between two pictures on a terminal.
REFRESH_S = 0.25
# Seconds between two lines where there is none: a log is read later, and by scrolling.
LINES_S = 10.0


@dataclass(frozen=True)
class SweepState:
    """What a sweep looks like at one moment.

    Attributes:
        platforms: jobs by platform.
        total: jobs of the whole sweep, None while it is not known.
        elapsed_s: seconds since the start.
        left_s: expected seconds to the end, None where nothing is known.
        notes: what else there is to say of a platform: its condition, its GPUs.
    """

    platforms: Mapping[str, Counts]
    total: int | None
    elapsed_s: float
    left_s: float | None
    notes: Mapping[str, str] = field(default_factory=dict)


class View(Protocol):
    """A place where a sweep is shown. `update` is cheap, and is to be called at every event and once a second."""

    def update(self, state: SweepState) -> None:
        """Show a state, unless another was shown a moment ago."""

    def event(self, text: str) -> None:
        """Say at once, on a line of its own, what a person should know: a first decision, a failure, a retry."""

    def close(self) -> None:
        """Show the last state that was given, and let go of the terminal."""


def open_view(stream: TextIO, clock: Callable[[], float] = time.monotonic) -> View:
    """The view that fits a stream.

    Args:
        stream: where to write.
        clock: seconds that never run backwards.

    Returns:
        A live table on a terminal, lines elsewhere.
    """
    # a dumb terminal cannot move its cursor back over the table
    if stream.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown"):
        return TableView(stream, clock)
    return LineView(stream, clock)


class LineView:
    """Writes plain lines, at most one in `LINES_S` seconds besides events."""

    def __init__(self, stream: TextIO, clock: Callable[[], float]) -> None:
        self._stream = stream
        self._clock = clock
        self._next = clock() + LINES_S
        self._state: SweepState | None = None
        self._shown: SweepState | None = None

    def update(self, state: SweepState) -> None:
        """See View."""
        self._state = state
        if self._clock() >= self._next:
            self._show()

    def event(self, text: str) -> None:
        """See View."""
        try:
            self._stream.write(f"{text}\n")
            self._stream.flush()
        except BrokenPipeError:
            # Whoever read it, `head` for one, has seen enough; the sweep is no worse for that.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())

    def close(self) -> None:
        """See View."""
        if self._state is not self._shown:
            self._show()

    def _show(self) -> None:
        if self._state is not None:
            self._next = self._clock() + LINES_S
            self._shown = self._state
            self.event(summary(self._state))


class TableView:
    """Keeps a table at the bottom of a terminal, events scrolling above it."""

    def __init__(self, stream: TextIO, clock: Callable[[], float]) -> None:
        # lazy import: 0.1 s that only a terminal is worth
        from rich.console import Console
        from rich.live import Live

        self._clock = clock
        self._console = Console(file=stream, highlight=False, markup=False)
        # Refreshed by hand: a thread of its own would write while a worker is being started.
        self._live = Live(console=self._console, auto_refresh=False, transient=False)
        self._next = 0.0
        self._state: SweepState | None = None
        self._live.start()

    def update(self, state: SweepState) -> None:
        """See View."""
        self._state = state
        if self._clock() >= self._next:
            self._show()

    def event(self, text: str) -> None:
        """See View."""
        self._console.print(text)

    def close(self) -> None:
        """See View."""
        self._show()
        self._live.stop()

    def _show(self) -> None:
        if self._state is not None:
            self._next = self._clock() + REFRESH_S
            self._live.update(_picture(self._state), refresh=True)


def summary(state: SweepState) -> str:
    """One line on a state.

    Args:
        state: the state.

    Returns:
        What is done of what, what failed, and the time left; then each platform that has jobs.
    """
    parts = [_progress(state)]
    for name, counts in state.platforms.items():
        words = {"running": counts.running, "queued": counts.queued, "done": counts.done}
        words |= {"pruned": counts.pruned, "failed": counts.failed}
        shown = [f"{number} {word}" for word, number in words.items() if number]
        if note := state.notes.get(name):
            shown.append(note)
        if shown:
            parts.append(f"{name}: {', '.join(shown)}")
    return " | ".join(parts)


def duration(seconds: float) -> str:
    """Seconds as a person says them, the two largest units.

    Args:
        seconds: 0 or more.

    Returns:
        As in "42 s", "3 min 20 s", "2 h 5 min".
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _progress(state: SweepState) -> str:
    done = sum(counts.done for counts in state.platforms.values())
    pruned = sum(counts.pruned for counts in state.platforms.values())
    failed = sum(counts.failed for counts in state.platforms.values())
    parts = [f"{done} done" if state.total is None else f"{done} of {state.total} done"]
    if pruned:
        parts.append(f"{pruned} pruned")
    if failed:
        parts.append(f"{failed} failed")
    parts.append(f"{duration(state.elapsed_s)} gone")
    if any(counts.running or counts.queued for counts in state.platforms.values()):
        parts.append("time left not known yet" if state.left_s is None else f"about {duration(state.left_s)} left")
    return ", ".join(parts)


def _picture(state: SweepState) -> "Group":
    # lazy import: see TableView
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    table.add_column("platform")
    prunes = any(counts.pruned for counts in state.platforms.values())
    for word in ("running", "queued", "done", *(["pruned"] if prunes else []), "failed"):
        table.add_column(word, justify="right")
    table.add_column("")  # notes
    for name, counts in state.platforms.items():
        failed = Text(str(counts.failed), style="red" if counts.failed else "")
        running = f"{counts.running} of {counts.slots}"
        pruned = [str(counts.pruned)] if prunes else []
        table.add_row(name, running, str(counts.queued), str(counts.done), *pruned, failed, state.notes.get(name))
    return Group(table, Text(_progress(state)))
