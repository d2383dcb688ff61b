"""Expects how long a point of a sweep will run, from those that have finished."""

import math
import statistics
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Features = tuple[tuple[str, str], ...]

# Observations of one set of axes that are kept: enough for any grid's effects, and a fit stays within milliseconds.
KEPT = 2000
# Passes over the axes in a fit; the effects of a balanced grid settle in one, those of a part of it in a few.
PASSES = 5
# Imagined observations of "no effect" behind every effect: a value seen once moves half of the way.
PRIOR = 1.0
# How many of the last jobs tell what is typical, and how far expectations reach.
RECENT = 64
# Log of how far a job is imagined to have ended from what was expected, before any has ended: for a point of which
# nothing is known, and for one that has run before.
IMAGINED = {False: 1.0, True: 0.2}


@dataclass(frozen=True)
class Load:
    """What a platform has before it.

    Attributes:
        slots: jobs that it runs at once.
        waiting_s: expected seconds of the jobs that wait for it, summed in any parts; None for a part of which nothing
            is known.
        running_s: of each running job its expected seconds, None where nothing is known, and those that have passed.
    """

    slots: int
    waiting_s: tuple[float | None, ...]
    running_s: tuple[tuple[float | None, float], ...]


class Durations:
    """Durations of finished jobs, and what they say about others.

    A point that has run before is expected to take what it took. Any other is expected from its overrides by an
    additive model of the log duration: one effect for each value of each axis, for the model, and for the platform.
    Points with other axes have effects of their own. Effects are learned online, fitted anew when the observations have
    grown by half, so that the cost per job stays constant.

    Args:
        records: lines of history.jsonl: "model", "platform", "overrides", "seconds", "outcome"; those not FINISHED, and
            those that lack one of these, are passed over.

    Example:
        >>> line = {"model": "GLM", "platform": "local_m4", "outcome": "FINISHED"}
        >>> seen = {("depth=3", "trees=100"): 1.0, ("depth=3", "trees=300"): 3.0, ("depth=9", "trees=100"): 2.0}
        >>> durations = Durations([{**line, "overrides": point, "seconds": s} for point, s in seen.items()])
        >>> durations.expected(["depth=3", "trees=300"])
        3.0
        >>> durations.expected(["depth=9", "trees=300"]) > durations.expected(["depth=9", "trees=100"])
        True
    """

    def __init__(self, records: Iterable[Mapping[str, Any]] = ()) -> None:
        self._known: dict[frozenset[str], dict[tuple[str | None, str | None], float]] = {}
        self._effects: dict[frozenset[str], _Additive] = defaultdict(_Additive)
        self._last_s: dict[tuple[str | None, str], deque[float]] = defaultdict(lambda: deque(maxlen=RECENT))
        for seen in map(_read, records):
            if seen is not None:
                self._observe(seen)
        self.version = 0

    def learn(self, record: Mapping[str, Any]) -> None:
        """Learn from a job that has ended.

        Args:
            record: as a line of history.jsonl.
        """
        seen = _read(record)
        if seen is None:
            return
        said = self.expected(seen.overrides, seen.model, seen.platform)
        ran_before = frozenset(seen.overrides) in self._known
        effects = self._observe(seen)
        if said is not None:
            effects.errors[ran_before].append(math.log(seen.seconds / said))
        if effects.due(seen.platform):
            effects.fit()
            self.version += 1

    def expected(self, overrides: Sequence[str], model: str | None = None, platform: str | None = None) -> float | None:
        """Expected seconds of a point.

        Args:
            overrides: its overrides, "key=value" each.
            model: its model type, or None for any.
            platform: where it would run, or None for any.

        Returns:
            Seconds, or None where no point with the same axes has finished.
        """
        effects = self._effects.get(_axes(overrides)) if self._effects else None
        if effects is None:
            return None
        effects.fit_first()
        known = self._known.get(frozenset(overrides), {})
        found = [(where, seconds) for (which, where), seconds in known.items() if model is None or which == model]
        for where, seconds in reversed(found):
            if platform is None or where == platform:
                return seconds
        if found:  # ran elsewhere: the same point, by the ratio of the two platforms
            where, seconds = found[-1]
            return seconds * math.exp(effects.of("@platform", platform) - effects.of("@platform", where))
        return effects.expected_s(_features(overrides, model, platform))

    def spread(self, overrides: Sequence[str]) -> float:
        """How far jobs end from what was expected of them.

        Args:
            overrides: a point's overrides.

        Returns:
            Standard deviation of the log of seconds over expected seconds, among the last points with the same axes
            that had run before as this one has, or had not, and one imagined point.
        """
        effects = self._effects.get(_axes(overrides)) if self._effects else None
        ran_before = effects is not None and frozenset(overrides) in self._known
        errors = effects.errors[ran_before] if effects is not None else ()
        return math.sqrt((IMAGINED[ran_before] ** 2 + sum(error**2 for error in errors)) / (1 + len(errors)))

    def typical_s(self, model: str | None, platform: str) -> float | None:
        """Median of the seconds that a model's last jobs took on a platform, None where none has finished there."""
        last_s = self._last_s.get((model, platform))
        return statistics.median(last_s) if last_s else None

    def _observe(self, seen: "_Seen") -> "_Additive":
        known = self._known.setdefault(frozenset(seen.overrides), {})
        known.pop((seen.model, seen.platform), None)  # the newest stands last
        known[seen.model, seen.platform] = seen.seconds
        self._last_s[seen.model, seen.platform].append(seen.seconds)
        effects = self._effects[_axes(seen.overrides)]
        effects.observe(seen)
        return effects


@dataclass(frozen=True, slots=True)
class _Seen:
    """A job that has finished."""

    overrides: tuple[str, ...]
    model: str | None
    platform: str
    seconds: float


def _read(record: Mapping[str, Any]) -> _Seen | None:
    """What a line of the history tells, None where it tells nothing of durations."""
    try:
        if record["outcome"] != "FINISHED":
            return None
        seconds = max(float(record["seconds"]), 1e-3)
        return _Seen(tuple(record["overrides"]), record["model"], record["platform"], seconds)
    except (KeyError, TypeError, ValueError):
        return None  # a line of another version, or one that was mended by hand


class _Additive:
    """Log seconds as a mean and one effect for each value of each axis, shrunk towards none."""

    def __init__(self) -> None:
        # Log of seconds over expected seconds, of points that had run before, and of those that had not.
        self.errors = {ran_before: deque[float](maxlen=RECENT) for ran_before in IMAGINED}
        self._seen: deque[tuple[Features, float]] = deque(maxlen=KEPT)
        self._new = 0
        self._on: Counter[str] = Counter()  # observations by platform
        self._new_on: Counter[str] = Counter()
        self._mean = 0.0
        self._effects: dict[tuple[str, str], float] = {}

    def observe(self, seen: _Seen) -> None:
        self._seen.append((_features(seen.overrides, seen.model, seen.platform), math.log(seen.seconds)))
        self._new += 1
        self._on[seen.platform] += 1
        self._new_on[seen.platform] += 1

    def due(self, platform: str) -> bool:
        """Whether observations have grown by half since the last fit, all of them or those on one platform."""
        new_on = self._new_on[platform]
        return self._new > (len(self._seen) - self._new) // 2 or new_on > (self._on[platform] - new_on) // 2

    def expected_s(self, features: Features) -> float:
        return math.exp(self._mean + sum(self._effects.get(feature, 0.0) for feature in features))

    def of(self, axis: str, value: str | None) -> float:
        return self._effects.get((axis, value), 0.0) if value is not None else 0.0

    def fit_first(self) -> None:
        """Fit what was read from the history when it is first asked for: most of it belongs to other sweeps."""
        if not self._effects:
            self.fit()

    def fit(self) -> None:
        """Backfitting (Buja, Hastie, Tibshirani 1989): each effect in turn is the shrunk mean of what is left."""
        rows: dict[tuple[str, str], list[int]] = {}
        for row, (features, _) in enumerate(self._seen):
            for feature in features:
                rows.setdefault(feature, []).append(row)
        left = [log_s for _, log_s in self._seen]
        self._mean = 0.0
        self._effects = dict.fromkeys(rows, 0.0)
        for _ in range(PASSES):
            shift = sum(left) / len(left)
            self._mean += shift
            left = [value - shift for value in left]
            for feature, at in rows.items():
                if len(at) == len(left):
                    continue  # the only value of its axis: its effect is the mean's
                old = self._effects[feature]
                new = (sum(left[row] for row in at) + len(at) * old) / (len(at) + PRIOR)
                for row in at:
                    left[row] += old - new
                self._effects[feature] = new
        self._new = 0
        self._new_on.clear()


class LongestFirst(Generic[Item]):
    """A queue that gives the item that is expected to run longest, since a long job at the end leaves other slots idle.

    Items of which nothing is known come first, in the order given: any of them may be the longest, and the sooner one
    has finished, the sooner the rest is ordered.

    Args:
        durations: what has been learned.
        expected: from an item to its expected seconds or None; asked again when something has been learned.
    """

    def __init__(self, durations: Durations, expected: Callable[[Item], float | None]) -> None:
        self._durations = durations
        self._expected = expected
        self._items: list[tuple[float, int, Item]] = []  # the next one last
        self._version = durations.version
        self._count = 0
        self._total = 0.0
        self._unknown = 0
        self._sorted = True

    def __len__(self) -> int:
        return len(self._items)

    def add(self, item: Item) -> None:
        """Queue an item."""
        self._count += 1
        self._items.append((0.0, -self._count, item))
        self._sorted = False

    def pop(self) -> Item:
        """Take the next item.

        Raises:
            IndexError: the queue is empty.
        """
        self._order()
        seconds, _, item = self._items.pop()
        self._forget(seconds)
        return item

    def remove(self, item: Item) -> None:
        """Take an item out of turn.

        Raises:
            ValueError: it does not wait here.
        """
        self._order()
        place = [waiting for _, _, waiting in self._items].index(item)
        self._forget(self._items.pop(place)[0])

    def longest_s(self) -> float:
        """Expected seconds of the next item; infinite where nothing is known of it."""
        self._order()
        return self._items[-1][0] if self._items else 0.0

    def total_s(self) -> float | None:
        """Expected seconds of all items together; one that is unknown counts as the mean, None when all are."""
        self._order()
        known = len(self._items) - self._unknown
        if self._unknown and not known:
            return None
        return max(0.0, self._total) * len(self._items) / known if known else 0.0

    def _forget(self, seconds: float) -> None:
        if math.isinf(seconds):
            self._unknown -= 1
        else:
            self._total -= seconds

    def _order(self) -> None:
        if self._sorted and self._version == self._durations.version:
            return
        self._version, self._sorted = self._durations.version, True
        self._unknown, self._total = 0, 0.0
        ordered = []
        for _, number, item in self._items:
            seconds = self._expected(item)
            if seconds is None:
                self._unknown += 1
                seconds = math.inf
            else:
                self._total += seconds
            ordered.append((seconds, number, item))
        ordered.sort(key=lambda entry: entry[:2])
        self._items = ordered


def remaining_s(expected_s: float, elapsed_s: float) -> float:
    """Expected seconds that a running job still needs.

    Args:
        expected_s: what the whole job was expected to take.
        elapsed_s: how long it has run.

    Returns:
        Seconds; a job that is late is expected to need as long again as it is late.
    """
    return abs(expected_s - elapsed_s)


def uncertain_remaining_s(expected_s: float, elapsed_s: float, spread: float) -> float:
    """Expected seconds that a running job still needs, given how far expectations reach.

    Args:
        expected_s: what the whole job was expected to take, as likely less as more.
        elapsed_s: how long it has run.
        spread: see Durations.spread.

    Returns:
        Seconds: the mean of what is left of a lognormal duration, given that it exceeds the elapsed time (N. L.
        Johnson, S. Kotz, N. Balakrishnan: Continuous univariate distributions 1, 1994, chapter 14). A job that is late
        is expected to need at least as long again as it is late, since it may hang.
    """
    late_s = max(0.0, elapsed_s - expected_s)
    mean_s = expected_s * math.exp(spread**2 / 2)
    if elapsed_s <= 0.0:
        return mean_s
    z = math.log(elapsed_s / expected_s) / spread
    survives = math.erfc(z / math.sqrt(2.0))
    if survives == 0.0:
        return late_s
    return max(late_s, mean_s * math.erfc((z - spread) / math.sqrt(2.0)) / survives - elapsed_s)


def time_left(loads: Iterable[Load]) -> float | None:
    """Expected seconds to the end of a sweep.

    Args:
        loads: what each platform has before it.

    Returns:
        The longest of the platforms' times, each its work over its slots or its longest running job; None where
        nothing is known of some part.
    """
    left = 0.0
    for load in loads:
        waiting = [seconds for seconds in load.waiting_s if seconds is not None]
        running = [remaining_s(seconds, passed) for seconds, passed in load.running_s if seconds is not None]
        if len(waiting) < len(load.waiting_s) or len(running) < len(load.running_s):
            return None
        left = max(left, (sum(waiting) + sum(running)) / load.slots, *running)
    return left


def _axes(overrides: Sequence[str]) -> frozenset[str]:
    return frozenset(override.partition("=")[0] for override in overrides)


def _features(overrides: Sequence[str], model: str | None, platform: str | None) -> Features:
    features = []
    for override in overrides:
        key, _, value = override.partition("=")
        features.append((key, value))
    # "@" begins no key of a config, so these two meet no axis
    if model is not None:
        features.append(("@model", model))
    if platform is not None:
        features.append(("@platform", platform))
    return tuple(features)
