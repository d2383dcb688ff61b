"""What a routed run of a project has left is written into its run once, whatever the clock of over there said."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException

from handmade_sweep import fresh_store
from sweeproute import project_command, project_folder, project_home
from sweeproute.mlflow_journal_folder import JournalFolder, experiment_id
from sweeproute.project_folder import ProjectRun
from sweeproute.store import connect
from sweeproute.tracking_status import Settings, Status, save, saved_status

# Milliseconds since 1970 at which it began, by the clock of here, and an hour.
BEGAN, HOUR = 1_790_000_000_000, 3_600_000


@dataclass
class Home:
    """A run in a store, and the folder of its sweep after a job over there."""

    root: Path
    uri: str
    run_id: str

    def bring(self, problem: str | None = None) -> str:
        return project_home.bring(self.root, self.uri, problem)

    def run(self):
        return connect(self.uri).get_run(self.run_id)

    def launch(self, **changes: object) -> None:
        """Write the record of its one attempt."""
        (self.root / "0").mkdir(exist_ok=True)
        record = {
            **{"job": 0, "attempt": 1, "overrides": [], "platform": "box", "reason": "heavy work", "current": True},
            **{"state": "FINISHED", "started_at": BEGAN / 1000, "ended_at": BEGAN / 1000 + 60, "far": {"id": "a"}},
        }
        (self.root / "0" / "launch.json").write_text(json.dumps(record | changes))

    def journal(self, behind_ms: int = 0) -> None:
        """Write what its command has logged, by a clock that is so much behind."""
        files, began = JournalFolder(self.root / "0" / project_command.JOURNAL), BEGAN - behind_ms
        experiment = {"verb": "create_experiment", "name": "Default", "time": began, "location": None, "tags": {}}
        files.claim(files.experiment(experiment_id("Default")), experiment)
        files.begin()
        begins = {"verb": "create_run", "journal": self.run_id, "name": "old", "time": began, "experiment": "Default"}
        row = ["loss", 0.5, 1, began + 7]
        lines = [
            begins | {"tags": {"mlflow.note.content": "before"}},
            {"verb": "log_batch", "time": began, "params": {"rate": "0.1", "own": "1"}, "metrics": [row], "tags": {}},
            {"verb": "end_run", "status": "FINISHED", "time": began + 9},
        ]
        files.run(self.run_id).mkdir(parents=True)
        files.append(files.run(self.run_id), lines)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    uri = fresh_store(tmp_path)
    client = connect(uri)
    run = client.create_run("0", tags={"mlflow.note.content": "after"})
    client.log_param(run.info.run_id, "rate", "0.1")
    root = tmp_path / "root"
    ours = root / ".sweeproute"
    ours.mkdir(parents=True)
    (ours / "jobs.jsonl").write_text('{"job": 0, "attempt": 1, "folder": "0"}\n')
    (ours / "sweep.json").write_text(json.dumps({"id": "project_1", "state": "FINISHED"}))
    project_folder.save(root, ProjectRun(run.info.run_id, "Default", "p", "main", "p", "project_1", ("here",)))
    save(root, Settings(uri), Status(0, 1))
    return Home(root, uri, run.info.run_id)


def test_what_was_logged_over_there_stands_in_the_run_once_and_at_its_time(home: Home) -> None:
    home.launch()
    home.journal(behind_ms=HOUR)
    (home.root / "0" / "console.log").write_text("said\n")
    for _ in range(2):
        assert home.bring() == "FINISHED"
    found = home.run()
    assert found.info.status == "FINISHED"
    assert found.data.params == {"rate": "0.1", "own": "1"}
    (metric,) = connect(home.uri).get_metric_history(home.run_id, "loss")
    assert (metric.value, metric.step, metric.timestamp) == (0.5, 1, BEGAN + 7)
    # What it was begun with is the store's own.
    assert found.data.tags["mlflow.note.content"] == "after"
    assert found.info.run_name != "old"
    assert found.data.tags["sweeproute.platform"] == "box"
    assert saved_status(home.root) == Status(1, 1)
    assert project_folder.written(home.root) == "FINISHED"


def test_a_clock_that_agrees_is_left_alone(home: Home) -> None:
    home.launch(started_at=BEGAN / 1000 - 3)
    home.journal()
    home.bring()
    (metric,) = connect(home.uri).get_metric_history(home.run_id, "loss")
    assert metric.timestamp == BEGAN + 7


def test_a_command_that_failed_outweighs_the_end_that_it_gave_its_run(home: Home) -> None:
    error = {"class": "user", "type": "ProjectCommandError", "message": "the command ended with exit code 3"}
    home.launch(state="FAILED", error=error)
    home.journal()
    assert home.bring("1 of 1 jobs failed") == "FAILED"
    found = home.run()
    assert found.info.status == "FAILED"
    assert found.data.tags["sweeproute.error"] == "ProjectCommandError: the command ended with exit code 3"


@pytest.mark.parametrize(
    ("launch", "problem", "status"),
    [
        ({"state": "RUNNING"}, None, "RUNNING"),
        ({"state": "RUNNING", "far": None}, None, "KILLED"),
        (None, None, "RUNNING"),
        (None, "the rules name no platform", "FAILED"),
    ],
)
def test_what_has_no_end_ends_only_where_it_cannot_go_on(home: Home, launch, problem, status) -> None:
    if launch is not None:
        home.launch(**launch)
    else:
        (home.root / ".sweeproute" / "jobs.jsonl").unlink()
    assert home.bring(problem) == status
    assert home.run().info.status == status
    assert (project_folder.written(home.root) is None) == (status == "RUNNING")


def test_a_run_that_a_person_has_deleted_is_left_alone(home: Home) -> None:
    home.launch()
    home.journal()
    connect(home.uri).delete_run(home.run_id)
    assert home.bring() == "FINISHED"
    assert home.run().info.lifecycle_stage == "deleted"
    assert not home.run().data.metrics


def test_a_store_that_is_away_is_written_to_later(home: Home) -> None:
    home.launch()
    home.journal()
    with pytest.raises(MlflowException, match=r"127\.0\.0\.1"):
        project_home.bring(home.root, "http://127.0.0.1:9")
    assert project_folder.written(home.root) is None
    assert home.bring() == "FINISHED"
    assert home.run().data.metrics == {"loss": 0.5}
