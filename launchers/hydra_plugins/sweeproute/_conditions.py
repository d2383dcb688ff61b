"""Follows the condition of each platform's machine: what it said, since when, and what a person wants of it."""

import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ._backend import Moved
from ._condition import NEXT, UNREACHABLE, Condition
from ._records import read_json, state_dir, write_json

# Seconds that a queue has to stand still for it to count as held: loading what its jobs need takes some, too.
_HELD_S = 15.0
# Seconds until a platform on which a job could not run for the platform's own fault is tried again: first and longest.
_AGAIN_S = (300.0, 3600.0)


def pauses() -> Path:
    """The folder that holds a file for each platform that a person has paused."""
    return state_dir() / "paused"


def paused() -> dict[str, float | None]:
    """The platforms that are paused, each with the end of that in seconds since 1970; None where a person ends it."""
    try:
        names = [path.name for path in pauses().iterdir() if not path.name.endswith("~")]
    except OSError:
        return {}
    now = time.time()
    ends = {name: (read_json(pauses() / name) or {}).get("until") for name in names}
    return {name: until for name, until in ends.items() if until is None or until > now}


def pause(platform: str, until: float | None) -> None:
    """Let sweeps of this machine start nothing more on a platform.

    Args:
        platform: Its name.
        until: Seconds since 1970 at which that ends by itself; None for never.
    """
    pauses().mkdir(parents=True, exist_ok=True)
    write_json(pauses() / platform, {"until": until})


def end_pause(platform: str) -> bool:
    """Let sweeps use a platform again; whether it was paused."""
    was = platform in paused()
    (pauses() / platform).unlink(missing_ok=True)
    return was


class Conditions:
    """The conditions of a sweep's platforms.

    Args:
        start: The condition of each at the start.
        lost_after_s: Seconds of silence after which what runs on a platform counts as lost.
    """

    def __init__(self, start: Mapping[str, Condition], lost_after_s: float) -> None:
        self._now = dict(start)
        self._before: dict[str, Condition] = {}
        self._reported = dict(start)
        self._silent_since: dict[str, float] = {}
        self._lost_after_s = lost_after_s
        self._paused: set[str] = set()
        self._waits_since: dict[str, float] = {}
        # When a platform that answers, and could not run a job, is tried again; and the wait after the next such job.
        self._again_at: dict[str, float] = {}
        self._again_s: dict[str, float] = {}

    def moved(self, event: Moved, now: float) -> Condition | None:
        """Take what a backend, or a person, says of a platform.

        Args:
            event: What was said.
            now: Seconds of a clock that does not run backwards.

        Returns:
            Its new condition; None where that changes nothing.
        """
        name, condition = event.platform, event.condition
        old = self._now[name]
        if event.precheck and old is Condition.DOWN:
            return None  # one more of the jobs that were under way when the first found out
        if event.precheck:
            wait_s = self._again_s.get(name, _AGAIN_S[0])
            self._again_at[name], self._again_s[name] = now + wait_s, min(_AGAIN_S[1], 2 * wait_s)
        elif condition is not Condition.PAUSED:
            self._reported[name] = condition
        if condition is Condition.DOWN and event.silent:
            self._silent_since.setdefault(name, now)
        elif condition is Condition.AVAILABLE:
            self._silent_since.pop(name, None)
            if name in self._paused:
                condition = Condition.PAUSED
        elif condition is Condition.PAUSED and old in UNREACHABLE:
            return None  # as soon as it can be asked for what waits there
        if condition is old or condition not in NEXT[old]:
            return None
        self._before[name], self._now[name] = old, condition
        return condition

    def was_away(self, platform: str) -> bool:
        """Whether a platform was out of reach until its last change, and no longer is."""
        return self._before.get(platform) in UNREACHABLE and self._now[platform] not in UNREACHABLE

    def look(self, now: float) -> Iterator[Moved]:
        """What is due: a pause that a person has asked for since the last look, its end, or another try."""
        wanted = paused().keys() & self._now.keys()
        begun, ended = sorted(wanted - self._paused), sorted(self._paused - wanted)
        self._paused = wanted
        for name in begun:
            yield Moved(name, Condition.PAUSED, "is paused")
        for name in ended:
            yield Moved(name, self._reported[name], "is no longer paused")
        for name in [name for name, at in self._again_at.items() if at <= now]:
            del self._again_at[name]
            if self._reported[name] is Condition.AVAILABLE:
                yield Moved(name, Condition.AVAILABLE, "is tried again")

    def lost(self, now: float) -> Iterable[str]:
        """Platforms that have been out of reach for so long that what ran there counts as lost."""
        return [name for name, since in self._silent_since.items() if now - since > self._lost_after_s]

    def may_return(self, now: float) -> bool:
        """Whether a platform that cannot be used now is worth waiting for."""
        waited = (name for name, one in self._now.items() if one in (Condition.SUSPECT, Condition.PAUSED))
        silent = (name for name, since in self._silent_since.items() if now - since <= self._lost_after_s)
        return any(True for _ in waited) or any(True for _ in silent)

    def held(self, platform: str, load: Mapping[str, Any] | None, running: int, now: float) -> str:
        """What a platform's own queue waits for, although nothing of this sweep runs there, such as memory in use.

        Args:
            platform: Its name.
            load: What it said last.
            running: Jobs of this sweep that run there: they will end, whatever else is in the way.
            now: Seconds of the same clock.

        Returns:
            A clause that follows its name; empty while it has not lasted.
        """
        waits = (load or {}).get("waits")
        if running or not waits or self._now[platform] is not Condition.AVAILABLE:
            self._waits_since.pop(platform, None)
            return ""
        since = self._waits_since.setdefault(platform, now)
        return f"cannot start the next job yet ({waits})" if now - since >= _HELD_S else ""

    def note(self, platform: str, load: Mapping[str, Any] | None, queued: int) -> str:
        """What the live table says of a platform beside its jobs.

        Args:
            platform: Its name.
            load: What it said last.
            queued: Jobs that wait for it now, which it may not have said yet.
        """
        now = self._now[platform]
        words = [] if now is Condition.AVAILABLE else [str(now)]
        if now in UNREACHABLE or not load:  # what it said last is long ago
            return "; ".join(words)
        for gpu in load.get("gpus") or ():
            used = float(gpu["memory_gb"]) - float(gpu["memory_free_gb"])
            busy = "" if gpu["utilisation"] is None else f"{gpu['utilisation']:.0f} %, "
            words.append(f"GPU {busy}{used:.1f} of {gpu['memory_gb']:.0f} GB")
        waits = load.get("waits") if queued else ""
        return "; ".join([*words, *([str(waits)] if waits else [])])
