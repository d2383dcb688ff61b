"""Asks a study of Optuna for points that a sweep has not tried yet."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from ._dimension import Value
from ._errors import SettingsError, headline, nearest_first
from ._point import Point, may_run, point_of, starting_point
from ._pruners import Pruner
from ._samplers import Sampler, distributions, suggest
from ._space import Space
from ._study_log import StudyStorage, quiet
from ._untried import DRAWS, Untried
from ._widening import finish, widen

# Proposals that were no new point, one after the other, before a point is taken at random.
_MISSES = 8
# What a trial is that no job runs for, as attributes of it.
_COPY = "copy_of"
_FORBIDDEN = "forbidden"
# What the study keeps beside its trials.
_SPACE = "space"
_METRICS = "metrics"
_RESOURCE = "pruner_resource"
_STATES = ("complete", "pruned", "failed")


@dataclass(frozen=True)
class Proposal:
    """A point to run.

    Attributes:
        trial: Its number in the study.
        values: Of each dimension that exists in it, by key, in the order of the space.
    """

    trial: int
    values: Mapping[str, Value] = field(hash=False)


class Study:
    """One study of Optuna: a space of a sweep, with all that was asked and told.

    Use `Study.open`; one process at a time, which holds the sweep's folder.
    """

    def __init__(
        self,
        study: optuna.Study,
        storage: StudyStorage,
        space: Space,
        sampler: Sampler,
        pruner: Pruner,
        seed: int,
    ) -> None:
        self._study = study
        self._storage = storage
        self._space = space
        self._sampler = sampler
        self._pruner = pruner
        self._seed = seed
        self._distributions = distributions(space)
        self._id = storage.optuna.get_study_id_from_name(study.study_name)
        self._points: dict[Point, int] = {}
        self._twins: dict[int, list[int]] = {}
        self._widened = ""
        self._waiting: set[int] = set()
        self._handles: dict[int, Trial] = {}
        self._untried = Untried(space)

    @classmethod
    def open(
        cls,
        storage: StudyStorage,
        name: str,
        space: Space,
        sampler: Sampler,
        pruner: Pruner,
        directions: Sequence[str],
        seed: int,
        metrics: Sequence[str] = (),
    ) -> "Study":
        """Begin a study, or go on with it.

        Args:
            storage: Where it lies; the same one for all studies of a sweep.
            name: Its own, there.
            space: Where it searches. It may have become wider since an earlier start.
            sampler: How it searches, checked against this space.
            pruner: How trials are stopped.
            directions: minimize or maximize, for each objective.
            seed: The sweep's.
            metrics: The name of each objective in what a task returns; none where it returns the numbers.

        Returns:
            The study.

        Raises:
            SettingsError: The study there has other objectives, or a space that this one is not a wider form of.
        """
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with storage.step(), quiet():
            finish(storage.optuna, name)
            study = storage.study(name, directions)
            _check_metrics(study, metrics)
            before = [one.name.lower() for one in study.directions]
            if before != list(directions):
                raise SettingsError(
                    f"The search was begun with direction {', '.join(before)}, and now is to {', '.join(directions)}. "
                    "Set hydra.sweeper.direction back, or begin a new sweep."
                )
            widened = ""
            if _SPACE in study.user_attrs:
                change = Space.from_json(study.user_attrs[_SPACE]).change(space)
                if change.kind == "incompatible":
                    raise SettingsError(
                        f"The search was begun in another space: {change.text}. Set it back, or begin a new sweep."
                    )
                if change.kind == "widened":
                    widen(storage.optuna, study, distributions(space))
                    study = storage.study(name, directions)
                    widened = change.text
            study.set_user_attr(_SPACE, space.to_json())
            study.set_user_attr(_METRICS, list(metrics))
            opened = cls(study, storage, space, sampler, pruner, seed)
            opened._load()
            opened._widened = widened
        return opened

    def ask(self) -> Proposal | None:
        """The next point: one that no trial of this study has, and that the constraints allow.

        A proposal that is known already becomes a trial all the same, told the known values at once or when they come,
        for the sampler proposed it and takes it for tried. One that constraints forbid is told failed, which every
        sampler of Optuna passes over: pruned, it would count among the first trials and among the bad ones of tpe.
        Until the point is found it counts as running, so that samplers that reckon with those look elsewhere.

        Returns:
            The point; None where the space has no other.

        Raises:
            SettingsError: The sampler does not work with its options, or next to no point meets the constraints.
        """
        size = self._space.size()
        if size is not None and len(self._points) >= size:
            return None
        forbidden: list[int] = []
        with self._storage.step(), quiet():
            try:
                return self._proposed(forbidden) or self._at_random(forbidden)
            finally:
                for number in forbidden:
                    self._study.tell(number, state=TrialState.FAIL)

    def tell(self, trial: int, values: Sequence[float] | None, state: str) -> None:
        """Take a trial's result; the first that is told counts.

        Args:
            trial: Its number.
            values: One for each objective, where it is complete; a pruned trial has what it reported last.
            state: complete, pruned or failed. A complete trial with a value that is not finite is failed.
        """
        if state not in _STATES:
            raise ValueError(f"a trial is told {state!r}; allowed: {nearest_first(state, _STATES)}")
        with self._storage.step(), quiet():
            if self._frozen(trial).state.is_finished():
                return
            if state == "complete" and values is not None and all(map(math.isfinite, values)):
                self._study.tell(trial, list(values))
            else:
                self._study.tell(trial, state=TrialState.PRUNED if state == "pruned" else TrialState.FAIL)
            told = self._frozen(trial)
            for twin in self._twins.pop(trial, ()):
                self._copy(told, twin)
            self._learn(told)

    def report(self, trial: int, step: int, value: float) -> bool:
        """Take a value on the way.

        Args:
            trial: The trial's number.
            step: How far it is, from 0; the first value for a step counts.
            value: Of the only objective.

        Returns:
            Whether the pruner would stop it.
        """
        with self._storage.step(), quiet():
            frozen = self._frozen(trial)
            if frozen.state.is_finished():
                return False
            handle = self._handle(trial)
            if step not in frozen.intermediate_values:
                handle.report(value, step)
            return bool(handle.should_prune())

    def running(self) -> list[Proposal]:
        """The points that were asked for and not told yet, in this process or before, in the order of their numbers."""
        asked = ((number, self._frozen(number)) for number in sorted(self._points.values()))
        return [Proposal(number, self._values(one)) for number, one in asked if not one.state.is_finished()]

    def distinct(self) -> int:
        """How many distinct points were asked for."""
        return len(self._points)

    def remarks(self) -> list[str]:
        """What a person should know of the search, a sentence each."""
        said = [f"The search space is wider than it was: {self._widened}."] if self._widened else []
        return said + self._sampler.remarks(self._space)

    def enqueue(self, values: Mapping[str, Any]) -> None:
        """Have a point tried before the sampler proposes any; one that is queued or was tried already is not queued.

        Args:
            values: By key; the sampler chooses what is missing.

        Raises:
            SettingsError: It is not in the space.
        """
        chosen = starting_point(self._space, values)
        with self._storage.step(), quiet():
            self._queue(chosen, skip_if_exists=True)

    def retry(self) -> None:
        """Have each point that failed tried again; it counts as one, whatever becomes of it."""
        with self._storage.step(), quiet():
            trials = self._study.get_trials(deepcopy=False)
            queued = [trials[number].system_attrs.get("fixed_params") for number in self._waiting]
            for point, number in list(self._points.items()):
                if trials[number].state == TrialState.FAIL:
                    del self._points[point]
                    if (values := self._values(trials[number])) not in queued:
                        self._queue(values, skip_if_exists=False)

    def _queue(self, values: Mapping[str, Value], *, skip_if_exists: bool) -> None:
        known = len(self._study.get_trials(deepcopy=False))
        self._study.enqueue_trial(dict(values), skip_if_exists=skip_if_exists)
        self._waiting |= {one.number for one in self._study.get_trials(deepcopy=False)[known:]}

    # Asking.

    def _proposed(self, forbidden: list[int]) -> Proposal | None:
        """What the sampler proposes; None where it proposes nothing new."""
        misses = 0
        while misses < _MISSES:
            trial = self._study.ask()
            queued = trial.number in self._waiting
            self._waiting.discard(trial.number)
            self._study.sampler = self._sampler.seeded(self._hashed("trial", trial.number), self._hashed("study"))
            values = self._suggested(trial)
            if not may_run(self._space, values):
                trial.set_user_attr(_FORBIDDEN, True)
                forbidden.append(trial.number)
                if queued:
                    self._complete(trial)
            elif (known := self._points.get(point_of(values))) is not None:
                self._take_copy(known, trial)
            else:
                self._points[point_of(values)] = trial.number
                self._handles[trial.number] = trial
                return Proposal(trial.number, values)
            misses += not queued
        return None

    def _complete(self, queued: Trial) -> None:
        """Queue anew what was queued in part, and for which the sampler found values that constraints forbid."""
        given = self._frozen(queued.number).system_attrs["fixed_params"]
        whole = self._untried.draw(self._points, self._hashed("rest", queued.number), self._study, given)
        if whole is not None:
            self._queue(whole, skip_if_exists=False)

    def _suggested(self, trial: Trial) -> dict[str, Value]:
        values: dict[str, Value] = {}
        try:
            for dimension in self._space.dimensions:
                if dimension.exists(values):
                    drawn = suggest(trial, dimension.key, self._distributions[dimension.key])
                    values[dimension.key] = dimension.nearest(drawn)
        except Exception as error:
            self._study.tell(trial.number, state=TrialState.FAIL)
            raise SettingsError(
                f"The sampler {self._sampler.name} could not propose a point: "
                f"{headline(str(error)) or type(error).__name__}. Look at hydra.sweeper.sampler_options, or choose tpe."
            ) from error
        return values

    def _at_random(self, forbidden: list[int]) -> Proposal | None:
        """A point among those not tried yet."""
        drawn = self._untried.draw(self._points, self._hashed("draw", len(self._points)), self._study)
        if drawn is None:
            if self._points:
                return None
            raise SettingsError(
                f"None of {DRAWS} points drawn from {self._space.name or 'the search space'} meets its constraints. "
                "Loosen them, or narrow the ranges."
            )
        self._study.enqueue_trial(drawn)
        return self._proposed(forbidden)

    def _hashed(self, *words: object) -> int:
        """A seed of 32 bits, what numpy takes, that is the same in every process."""
        said = repr((self._seed, self._space.name, *words)).encode()
        return int.from_bytes(hashlib.sha256(said).digest()[:4], "big")

    # Telling.

    def _take_copy(self, known: int, trial: Trial) -> None:
        trial.set_user_attr(_COPY, known)
        self._handles[trial.number] = trial
        original = self._frozen(known)
        if original.state.is_finished():
            self._copy(original, trial.number)
        else:
            self._twins.setdefault(known, []).append(trial.number)

    def _copy(self, original: FrozenTrial, number: int) -> None:
        """Tell a trial what is known of another with the same point."""
        if original.state == TrialState.COMPLETE:
            self._study.tell(number, original.values)
        else:
            last = original.last_step
            if original.state == TrialState.PRUNED and last is not None:
                self._handle(number).report(original.intermediate_values[last], last)
            self._study.tell(number, state=original.state)
        self._handles.pop(number, None)

    def _learn(self, told: FrozenTrial) -> None:
        """Settle what the pruner has to know of the trials' steps, once and for all starts of the sweep."""
        self._handles.pop(told.number, None)
        if told.state != TrialState.COMPLETE or told.last_step is None or not self._pruner.learns:
            return
        if _RESOURCE not in self._study.user_attrs:
            self._study.set_user_attr(_RESOURCE, self._pruner.resource([told.last_step]))
            self._prune_from_now_on()

    def _prune_from_now_on(self) -> None:
        self._study.pruner = self._pruner.make(self._study.user_attrs.get(_RESOURCE) if self._pruner.learns else None)
        # Hyperband sorts trials into brackets from its first question on: asked now, it does so in every process.
        self._study.pruner.prune(self._study, create_trial(state=TrialState.RUNNING))

    # What is known.

    def _load(self) -> None:
        """Take in what earlier starts have asked and told."""
        copies = []
        for one in self._study.get_trials(deepcopy=False):
            if one.state == TrialState.WAITING:
                self._waiting.add(one.number)
            elif _COPY in one.user_attrs:
                copies += [one] if one.state == TrialState.RUNNING else []
            elif _FORBIDDEN in one.user_attrs or not self._is_whole(one):
                # A database, which has no steps, can hold half an ask.
                if one.state == TrialState.RUNNING:
                    self._study.tell(one.number, state=TrialState.FAIL)
            else:
                self._points[point_of(self._values(one))] = one.number  # of a point that was retried, the later one
        for one in copies:
            self._take_copy(one.user_attrs[_COPY], self._handle(one.number))
        self._prune_from_now_on()

    def _told(self, trial: FrozenTrial) -> dict[str, Value]:
        dimensions = (one for one in self._space.dimensions if one.key in trial.params)
        return {one.key: one.nearest(trial.params[one.key]) for one in dimensions}

    def _is_whole(self, trial: FrozenTrial) -> bool:
        told = self._told(trial)
        return all(one.key in told for one in self._space.active(told))

    def _values(self, trial: FrozenTrial) -> dict[str, Value]:
        told = self._told(trial)
        return {one.key: told[one.key] for one in self._space.active(told)}

    def _frozen(self, number: int) -> FrozenTrial:
        storage = self._storage.optuna
        return storage.get_trial(storage.get_trial_id_from_study_id_trial_number(self._id, number))

    def _handle(self, number: int) -> Trial:
        if number not in self._handles:
            storage = self._storage.optuna
            found = storage.get_trial_id_from_study_id_trial_number(self._id, number)
            self._handles[number] = Trial(self._study, found)
        return self._handles[number]


def _check_metrics(study: optuna.Study, metrics: Sequence[str]) -> None:
    """Refuse another metric than that of the values which a study holds; before it holds any, there is no other."""
    before = study.user_attrs.get(_METRICS, list(metrics))
    told = any(one.values or one.intermediate_values for one in study.get_trials(deepcopy=False))
    if told and before != list(metrics):
        was, now = (", ".join(names) or "null" for names in (before, metrics))
        raise SettingsError(
            f"The search was begun with metric {was}, and now is to follow {now}. "
            "Set hydra.sweeper.metric back, or begin a new sweep."
        )
