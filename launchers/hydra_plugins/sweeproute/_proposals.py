"""Holds the points that studies propose: the next one is ready before a slot asks for it."""

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Self

from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException

from ._admission import JobClass
from ._assignment import Job
from ._durations import Durations
from ._objective import Objective
from ._sampler_thread import SamplerThread
from ._share import Share

if TYPE_CHECKING:
    from ._study import Proposal

Overrides = tuple[str, ...]
# Seconds between looks at a sampler that is still at work.
_LOOK_S = 0.02


@dataclass(frozen=True)
class Known:
    """A job of an earlier start.

    Attributes:
        number: Its number.
        returned: How it ended; None where it is to run.
    """

    number: int
    returned: JobReturn | None


@dataclass
class _Trial:
    """A point that was proposed, and whose result is not told yet."""

    share: Share
    proposal: "Proposal | None"  # None where the study knows the result of the point's other repeats
    jobs: list[int]
    missing: set[int]


class Proposals:
    """A source of jobs that asks studies for points.

    Each study has one point ready, and a result is told to its study after the slot that it freed has been filled: a
    slot that frees by itself waits for no sampler. A sampler that is at work for seconds is asked beside whoever calls;
    until it has answered, what comes back for any study waits here, since all of them lie in one log. A point that is
    run under several repeats is told once, as the mean of those that finished.

    Args:
        shares: The studies.
        objective: Reads a job's return.
        known: Jobs of earlier starts, by overrides.
        first: The first number that is free for a job.
        over: Whether the time for new points is up.
        ask_ahead: Jobs that may wait on a platform with a queue of its own; None for as many as it has slots.
        abandon: See SamplerThread.
        earlier: From a job's number and overrides to the result that another sweep has of it, or None.

    Attributes:
        overrides: Each job's overrides, by job number.
        returns: The return of each job that has ended, by job number.
    """

    def __init__(
        self,
        shares: Sequence[Share],
        objective: Objective,
        known: Mapping[Overrides, Known],
        first: int,
        over: Callable[[], bool],
        ask_ahead: int | None,
        earlier: Callable[[int, Overrides], JobReturn | None] = lambda _, __: None,
        abandon: Callable[[], None] = lambda: None,
    ) -> None:
        self.overrides: dict[int, Overrides] = {}
        self.returns: dict[int, JobReturn] = {}
        self._shares = list(shares)
        self._objective = objective
        self._known = dict(known)
        # The words of a command make the same job in any order.
        self._written = {frozenset(overrides): overrides for overrides in known}
        self._next = first
        self._over = over
        self._ask_ahead = ask_ahead
        self._earlier = earlier
        self._trials: dict[int, _Trial] = {}  # by job number
        self._ended: list[int] = []
        self._queued_at: dict[int, float] = {}
        self._classes: dict[Hashable, JobClass] = {}
        self._class_of: Callable[[int, Overrides], JobClass] | None = None
        self.prunes = any(share.prunes for share in shares)
        self._thread = SamplerThread(abandon)
        self._unheard: list[tuple[int, int, Mapping[str, float]]] = []
        self._stratum: Callable[[Overrides], Hashable] = hash
        self._durations = Durations()

    def restore(self) -> None:
        """Take in what an earlier start has done, and offer what it had asked for."""
        for overrides, known in self._known.items():
            if known.returned is not None:
                self.overrides[known.number] = overrides
                self.returns[known.number] = known.returned
        for share in self._shares:
            for proposal in share.study.running():
                self._offer(share, proposal)
            self._offer_repeats(share)
        self.prepare()

    def open(
        self,
        queued_at: float,
        durations: Durations,
        stratum: Callable[[Overrides], Hashable],
        job_class: Callable[[int, Overrides], JobClass],
    ) -> None:
        """See JobSource; a point that is asked for later is queued later."""
        self._durations, self._stratum, self._class_of = durations, stratum, job_class
        self._queued_at = dict.fromkeys(self._queued_at, queued_at)
        for share in self._shares:
            for number in [number for number in share.ready if not self._runs(number)]:
                share.ready.remove(number)
                self._ended.append(number)

    def prepare(self) -> bool:
        """Tell studies what has come back, and have a point of each ready; called when no slot waits for one.

        Returns:
            Whether there are new ones.

        Raises:
            SweepError: A task returned what no search can be steered by.
        """
        if self.busy:
            return False
        before = sum(len(share.ready) for share in self._shares)
        self._take_in()
        if self._over():
            return False
        for share in self._shares:
            while not share.ready and share.left() and not self._thread.asked:
                if share.slow:
                    self._thread.ask(share)
                else:
                    self._answer(share, share.study.ask())
        return sum(len(share.ready) for share in self._shares) > before

    @property
    def busy(self) -> bool:
        """See JobSource: whether a sampler is at work, in which time no study is to be touched."""
        return self._thread.busy

    def wait_s(self) -> float:
        """See JobSource."""
        return _LOOK_S if self._thread.asked else float("inf")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Wait for a sampler that is at work: nobody else may write to the log before it has. No other is asked."""
        self._thread.close(stopped=kind is KeyboardInterrupt)
        if kind is None:
            self._take_in()

    def _take_in(self) -> None:
        if self._thread.asked:
            self._answer(*self._thread.answer())
        for report in self._unheard:
            self.reported(*report)
        self._unheard.clear()
        for number in self._ended:
            self._tell(number)
        self._ended.clear()
        if self._over():
            for share in self._shares:
                # A point of which some repeats have run is brought to its end.
                dropped = [number for number in share.ready if not self._begun(number)]
                for number in dropped:
                    share.ready.remove(number)
                    del self.overrides[number]

    def _answer(self, share: Share, proposal: "Proposal | None") -> None:
        if proposal is None:
            share.exhausted = True
        else:
            self._offer(share, proposal)

    def batch(self, size: int) -> dict[int, Overrides]:
        """Take several jobs at once, for a launcher that runs them as a batch.

        Args:
            size: How many at most.

        Returns:
            Overrides by job number; the numbers follow one another. None are left where it is empty.
        """
        taken: dict[int, Overrides] = {}
        while len(taken) < size:
            self.prepare()
            if self._thread.asked:
                self._thread.wait()
                continue
            ready = min(
                (share for share in self._shares if share.ready), key=lambda share: share.ready[0], default=None
            )
            if ready is None:
                break
            number = ready.ready.popleft()
            taken[number] = self.overrides[number]
        return taken

    def _begun(self, number: int) -> bool:
        trial = self._trials[number]
        return any(job not in trial.share.ready and job in self.overrides for job in trial.jobs)

    def _offer_repeats(self, share: Share) -> None:
        """Run again what failed of points whose other repeats finished: a study that knows their mean asks no more."""
        again = {one.key for one in share.space.repeats}

        def point(overrides: Overrides) -> frozenset[str]:
            return frozenset(word for word in overrides if word.partition("=")[0] not in again)

        ours = set(share.space.name.split())
        told = {point(overrides) for overrides, one in self._known.items() if one.returned is not None}
        for overrides, one in self._known.items():
            if (
                one.returned is None
                and one.number not in self._trials
                and point(overrides) in told
                and ours <= {*overrides}
            ):
                self._trials[one.number] = _Trial(share, None, [one.number], {one.number})
                self.overrides[one.number] = overrides
                self._queued_at[one.number] = time.time()
                share.ready.append(one.number)

    def _offer(self, share: Share, proposal: "Proposal") -> None:
        """Number the jobs of a point; those that an earlier start has done are not run again."""
        trial = _Trial(share, proposal, [], set())
        for repeat in share.repeats():
            overrides = share.space.overrides(proposal.values, repeat)
            overrides = self._written.get(frozenset(overrides), overrides)
            known = self._known.get(overrides)
            number = self._number() if known is None else known.number
            trial.jobs.append(number)
            self._trials[number] = trial
            self.overrides[number] = overrides
            there = self._earlier(number, overrides) if known is None else known.returned
            if there is not None:
                self.returns[number] = there
                continue
            self._queued_at[number] = time.time()
            if self._class_of is not None and not self._runs(number):
                continue
            trial.missing.add(number)
            share.ready.append(number)
        if not trial.missing:
            self._conclude(trial)

    def _runs(self, number: int) -> bool:
        """Whether a job can run at all; one that cannot, for what its own values come to together, has failed."""
        try:
            self._class(number)
        except HydraException as error:
            failed = JobReturn(overrides=self.overrides[number], status=JobStatus.FAILED)
            failed.return_value = error
            self.returns[number] = failed
            return False
        return True

    def _number(self) -> int:
        self._next += 1
        return self._next - 1

    def _tell(self, number: int) -> None:
        trial = self._trials.get(number)
        if trial is None or number not in trial.missing:
            return
        trial.missing.discard(number)
        if not trial.missing:
            self._conclude(trial)

    def _conclude(self, trial: _Trial) -> None:
        """Tell a study the result of a point."""
        if trial.proposal is None:
            return
        study, number = trial.share.study, trial.proposal.trial
        returns = [self.returns[job] for job in trial.jobs]
        found = [values for values in map(self._objective.values, returns) if values is not None]
        if found:
            study.tell(number, [fmean(each) for each in zip(*found, strict=True)], "complete")
        elif any(map(self._objective.pruned, returns)):
            study.tell(number, None, "pruned")
        else:
            study.tell(number, None, "failed")

    def waiting(self) -> Mapping[JobClass, int]:
        """How many jobs there are to take, by class.

        What a study may still propose is counted with the point that it has ready, so that whoever decides where to
        start it knows how much is to come.
        """
        found: dict[JobClass, int] = {}
        over = self._over()
        for share in sorted(self._shares, key=Share.served):
            for number in share.ready:
                one = self._class(number)
                found[one] = found.get(one, 0) + 1
            if share.ready and not over:
                found[one] += share.left() * share.times()
        return found

    def waiting_s(self, job_class: JobClass) -> float | None:
        """See JobSource."""
        each: list[float | None] = []
        model = dict(job_class.fields).get("model_type")
        for share in self._shares:
            of_class = [number for number in share.ready if self._class(number) == job_class]
            each += [self._durations.expected(self.overrides[number], model) for number in of_class]
            if of_class and not share.bounded:
                return None
            if of_class:
                each += [each[-1]] * (share.left() * share.times())
        known = [seconds for seconds in each if seconds is not None]
        return sum(known) if len(known) == len(each) else None

    def behind(self) -> Mapping[JobClass, int]:
        """See JobSource: a sampler's points wait for no other."""
        return {}

    def ahead(self, slots: int) -> int | None:
        """See JobSource."""
        return slots if self._ask_ahead is None else self._ask_ahead

    def take(self, job_class: JobClass) -> Job:
        """See JobSource."""
        for share in sorted(self._shares, key=Share.served):
            for number in share.ready:
                if self._class(number) == job_class:
                    share.ready.remove(number)
                    share.taken += 1
                    return self._job(number)
        raise LookupError(f"no job of {job_class} is ready")

    def withdraw(self, number: int) -> Job:
        """See JobSource."""
        self._trials[number].share.ready.remove(number)
        return self._job(number)

    def _job(self, number: int) -> Job:
        return Job(number, self.overrides[number], self._class(number), self._queued_at[number])

    def _class(self, number: int) -> JobClass:
        assert self._class_of is not None
        overrides = self.overrides[number]
        stratum = self._stratum(overrides)
        if stratum not in self._classes:
            self._classes[stratum] = self._class_of(number, overrides)
        return self._classes[stratum]

    def closed(self) -> bool:
        """See JobSource."""
        return self._over() or (not self._thread.asked and not any(share.left() for share in self._shares))

    def total(self) -> int | None:
        """Jobs of the whole sweep, as far as that is known."""
        if not self._over() and not all(share.bounded for share in self._shares):
            return None
        to_come = 0 if self._over() else sum(share.left() * share.times() for share in self._shares)
        return len(self.overrides) + to_come

    def reported(self, number: int, step: int, metrics: Mapping[str, float]) -> str | None:
        """See JobSource; while a sampler is at work the answer is that the job goes on."""
        if self.busy:
            self._unheard.append((number, step, metrics))
            return None
        trial = self._trials[number]
        value = self._objective.on_the_way(metrics, alone=trial.share.pairs)
        if trial.proposal is None or value is None or not trial.share.study.report(trial.proposal.trial, step, value):
            return None
        return f"pruned by {trial.share.pruner} at step {step}: {self._objective.metric or 'value'} was {value:.6g}"

    def told(self, number: int, returned: JobReturn) -> None:
        """See JobSource; the study hears of it when the slot is filled."""
        self.returns[number] = returned
        error = getattr(returned, "launch", {}).get("error") or {}
        if error.get("class") in ("precheck", "lacking"):
            # No platform can run it, nor any other of its kind; the study goes on with it at the next start.
            self._trials[number].share.stranded = True
        else:
            self._ended.append(number)
