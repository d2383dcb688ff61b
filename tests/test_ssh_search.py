"""A search over a far machine: a few proposals are sent ahead, and it goes on towards one number of trials."""

import signal
from pathlib import Path

import optuna
import pytest

from far_app import FarApp, wait_until

SEARCH = (
    "kind=heavy",
    "x=int(interval(1,1000000))",
    "hydra.sweeper.sampler=tpe",
    "hydra.sweeper.n_trials=10",
    "hydra.sweeper.metric=double",
    "hydra.sweeper.direction=minimize",
)


@pytest.fixture
def app(tmp_path: Path):
    app = FarApp(tmp_path)
    yield app
    app.close()


def states(app: FarApp) -> list[str]:
    return sorted(record["state"] for record in app.launches())


def trials(app: FarApp) -> list[optuna.trial.FrozenTrial]:
    log = app.folder / "out" / ".sweeproute" / "study.log"
    backend = optuna.storages.journal.JournalFileBackend(str(log))
    return optuna.load_study(study_name="search", storage=optuna.storages.JournalStorage(backend)).trials


@pytest.mark.parametrize(
    ("words", "ahead"), [((), 2), (("hydra.sweeper.ask_ahead=5",), 5), (("hydra.sweeper.ask_ahead=0",), 0)]
)
def test_as_many_proposals_wait_there_as_are_asked_for(app: FarApp, words: tuple[str, ...], ahead: int) -> None:
    process = app.start(*SEARCH, *words, "wait=[all]")
    expected = ["QUEUED"] * ahead + ["RUNNING"] * 2
    wait_until(lambda: states(app) == expected, f"{expected}, not {states(app)}")
    app.go()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert len(app.launches()) == 10
    assert set(app.executions().values()) == {1}
    assert [one.state.name for one in trials(app)] == ["COMPLETE"] * 10
    assert app.far_jobs() == []


def test_what_was_sent_ahead_runs_on_without_its_coordinator_and_counts(app: FarApp) -> None:
    process = app.start(*SEARCH, "wait=[all]")
    wait_until(lambda: states(app) == ["QUEUED"] * 2 + ["RUNNING"] * 2, "two jobs to run and two to wait")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    app.go()
    wait_until(lambda: sum(app.executions().values()) == 4, "the far side to work through its queue")
    app.sweep(*SEARCH, "wait=[all]", "hydra.sweeper.resume=true")
    assert set(app.executions().values()) == {1}
    assert sum(app.executions().values()) == 10
    assert [record["job"] for record in app.launches()] == list(range(10))
    told = {one.params["x"]: one.value for one in trials(app)}
    assert told == {x: 2 * x for x in app.executions()}
    assert app.far_jobs() == []
