"""A grid of this project's models over shared fits gives bitwise the results of separate fits, and a run for each."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from handmade_sweep import fresh_store
from small_trial import ONE_SLOT, SMALL, end, start
from sweeproute import journal
from sweeproute.store import connect

TREES = ("model=xgboost,lightgbm,random_forest", "search_space=none", "model.params.n_estimators=4,9,15")


class Swept:
    """The same grid, shared and separate, in a folder with a store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.uri = fresh_store(folder)
        self.output = {}
        for name, words in {"shared": (), "separate": ("hydra.sweeper.prefix=null",)}.items():
            state = {"SWEEPROUTE_STATE": str(folder / f"state-{name}"), "MLFLOW_EXPERIMENT_NAME": name}
            command = ("-m", *TREES, "data.market_features=false,true", *SMALL, ONE_SLOT, "device=cpu", "threads=1")
            process = start(
                folder, *command, f"hydra.sweep.dir={folder / name}", *words, uri=self.uri, OMP_NUM_THREADS="1", **state
            )
            self.output[name] = end(process)

    def jobs(self, name: str) -> Iterator[Path]:
        return iter(sorted((path.parent for path in (self.folder / name).glob("*/launch.json")), key=str))

    def runs(self, name: str) -> dict[int, Any]:
        """The runs of a sweep by the number of their job."""
        client = connect(self.uri)
        experiment = client.get_experiment_by_name(name)
        assert experiment is not None
        runs = client.search_runs([experiment.experiment_id], "tags.`sweeproute.kind` = 'trial'")
        return {int(run.data.tags["sweeproute.trial"]): run for run in runs}


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Swept:
    return Swept(tmp_path_factory.mktemp("swept"))


def launch(folder: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((folder / "launch.json").read_text())
    return record


def test_one_fit_was_made_for_each_three_points(swept: Swept) -> None:
    fits = {name: ["shared_fit" not in launch(job) for job in swept.jobs(name)] for name in ("shared", "separate")}
    assert sum(fits["shared"]) == 6
    assert len(fits["shared"]) == sum(fits["separate"]) == 18
    assert all("18 of 18 done" in output for output in swept.output.values())


def test_every_result_is_bitwise_the_same(swept: Swept) -> None:
    for shared, separate in zip(swept.jobs("shared"), swept.jobs("separate"), strict=True):
        for name in ("predictions.parquet", "config.yaml", "features.txt", ".hydra/config.yaml"):
            assert (shared / name).read_bytes() == (separate / name).read_bytes(), (shared, name)
        first, second = launch(shared), launch(separate)
        for key in ("job", "identity", "device", "threads", "state", "current", "attempt", "fields", "platform"):
            assert first[key] == second[key]
        assert repr(first["value"]) == repr(second["value"])
        pages = [journal.merge(journal.read(folder)[0]) for folder in (shared, separate)]
        scores = [
            [(name, repr(value), step) for name, value, step, _ in page.metrics if name not in ("fit_s", "predict_s")]
            for page in pages
        ]
        assert scores[0] == scores[1]
        assert len(scores[0]) == 3 * 18  # two folds and all of them together
        assert pages[0].name == pages[1].name
        assert pages[0].journal != pages[1].journal


def test_each_point_has_a_run_with_its_own_parameters_metrics_and_files(swept: Swept) -> None:
    shared, separate = swept.runs("shared"), swept.runs("separate")
    assert shared.keys() == separate.keys() == set(range(18))
    client = connect(swept.uri)
    for number, run in shared.items():
        other = separate[number]
        assert run.data.params == other.data.params
        assert run.info.run_name == other.info.run_name
        assert run.info.status == "FINISHED"
        apart = {"fit_s", "predict_s"}
        for name in other.data.metrics.keys() - apart:
            assert repr(run.data.metrics[name]) == repr(other.data.metrics[name])
        assert run.data.metrics.keys() == other.data.metrics.keys()
        tags, others = run.data.tags, other.data.tags
        assert tags["sweeproute.current"] == "true"
        assert tags["sweeproute.fingerprint"] == others["sweeproute.fingerprint"]
        assert others.keys() - tags.keys() == set()
        assert tags.keys() - others.keys() <= {"sweeproute.shared_fit"}
        files = [sorted(item.path for item in client.list_artifacts(one.info.run_id)) for one in (run, other)]
        assert files[0] == files[1]
    lengths = sorted(int(run.data.params["model.params.n_estimators"]) for run in shared.values())
    assert lengths == sorted([4, 9, 15] * 6)
    followers = {number for number, run in shared.items() if "sweeproute.shared_fit" in run.data.tags}
    assert followers == {n for n, run in shared.items() if run.data.params["model.params.n_estimators"] != "15"}
    # What all fits took is told once.
    for run in shared.values():
        leader = shared[int(run.data.tags.get("sweeproute.shared_fit", run.data.tags["sweeproute.trial"]))]
        part = int(run.data.params["model.params.n_estimators"]) / 15
        assert run.data.metrics["fit_s"] == pytest.approx(part * leader.data.metrics["fit_s"])


def test_totals_and_the_choice_of_the_best_count_points(swept: Swept) -> None:
    notes = []
    for name in ("shared", "separate"):
        client = connect(swept.uri)
        experiment = client.get_experiment_by_name(name)
        assert experiment is not None
        (sweep,) = client.search_runs([experiment.experiment_id], "tags.`sweeproute.kind` = 'sweep'")
        notes.append(sweep.data.tags["mlflow.note.content"])
        assert "18 jobs: 18 finished." in notes[-1]
        assert json.loads((swept.folder / name / ".sweeproute" / "sweep.json").read_text())["total"] == 18
    (first, second) = (re.search(r"job \d+|trial \d+|#\d+", note) for note in notes)
    assert (first and first.group()) == (second and second.group())
