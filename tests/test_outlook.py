"""What a person sees before each platform includes what lies in its own queue, until others are to take it."""

from random import Random

from hydra_plugins.sweeproute._assignment import Job
from hydra_plugins.sweeproute._condition import Condition
from hydra_plugins.sweeproute._durations import Load
from hydra_plugins.sweeproute._occupancy import Counts
from hydra_plugins.sweeproute._policy import JobClass, PlatformState, Policy, Rule
from hydra_plugins.sweeproute._scheduler import Scheduler
from hydra_plugins.sweeproute._simulator import JobList

XGBOOST = JobClass((("model_type", "XGBoost"),))
HERE, THERE = PlatformState("here", slots=1), PlatformState("there", slots=1, ahead=True)


def under_way(number: int) -> Scheduler:
    """A sweep of jobs that were all sent there, the first one running."""
    policy = Policy([Rule({"model_type": "XGBoost"}, "there", "GPU there")], "here", overflow="never")
    it = Scheduler(policy, [HERE, THERE], JobList(Job(num, (), XGBOOST) for num in range(number)), rng=Random(0))
    first, *_ = it.sends(0.0, limit=number)
    it.started(first.job, "there", 0.0)
    return it


def loads(it: Scheduler) -> dict[str, Load]:
    return it.loads(10.0, waiting_s=lambda job_class: 100.0, run_s=lambda job, platform: 1.0 + job.num)


def test_what_was_sent_and_has_not_started_is_queued_there() -> None:
    it = under_way(3)
    assert it.counts()["there"] == Counts(slots=1, running=1, queued=2, done=0, failed=0)
    assert loads(it)["there"] == Load(slots=1, waiting_s=(2.0, 3.0), running_s=((1.0, 10.0),))


def test_once_it_is_down_what_waits_there_is_time_on_the_platform_that_takes_it() -> None:
    it = under_way(4)
    it.set_condition("there", Condition.DOWN, "is down", 1.0)
    (copy,) = it.assign(1.0)
    assert copy.job.num == 3
    assert it.counts()["here"] == Counts(slots=1, running=1, queued=0, done=0, failed=0)
    assert it.counts()["there"].queued == 2  # where it lies
    assert loads(it)["here"].waiting_s == (2.0, 3.0)
    assert loads(it)["there"].waiting_s == ()
