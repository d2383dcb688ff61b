"""A sweep from its arguments to its end: what is resumed, what is run again, and what is refused."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hydra._internal.callbacks import Callbacks
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext
from omegaconf import OmegaConf

from hydra_plugins.sweeproute._errors import JobsFailedError, SettingsError
from hydra_plugins.sweeproute._records import OURS, SweepFolder, read_json, read_lines
from hydra_plugins.sweeproute._search import Search, _of_jobs, resume_folder
from hydra_plugins.sweeproute.config import RoutedLauncherConf, SearchSweeperConf
from small_app import start_sweep, write

CONF = {
    "config.yaml": """
defaults:
  - override hydra/launcher: routed
  - override hydra/sweeper: search
  - _self_
x: 0
again: false
hydra:
  sweep: {dir: out, subdir: "${hydra.job.num}"}
  sweeper: {resume: "${again}"}
"""
}


class Ended(JobReturn):
    """A job that has run, as any launcher returns it."""

    def __init__(self, number, overrides, folder, fails=False):
        super().__init__(overrides=list(overrides), status=JobStatus.FAILED if fails else JobStatus.COMPLETED)
        self.return_value = ValueError("bad luck") if fails else number
        self.hydra_cfg = OmegaConf.create({"hydra": {"runtime": {"output_dir": str(folder)}}})


class Streaming:
    """Runs each job at once, in the last-asked-first order that durations can lead to, until it is to stop."""

    def __init__(self, stop_after=None, fails=(), identity=None, **settings):
        self.settings = RoutedLauncherConf(identity=identity, **settings)
        self.stop_after = stop_after
        self.fails = fails
        self.ran: dict[int, str] = {}

    def stream(self, points, sweep, composer):
        for number, overrides in reversed(points.overrides.items()):
            if number in points.returns:
                continue
            if self.stop_after is not None and len(self.ran) >= self.stop_after:
                raise KeyboardInterrupt
            self.ran[number] = " ".join(overrides)
            fails = self.ran[number] in self.fails
            attempt = sweep.launches.get(number, {}).get("attempt", 0) + 1
            folder = sweep.open_job(str(number), number, attempt)
            launch = {
                "job": number,
                "attempt": attempt,
                "overrides": list(overrides),
                "state": "FAILED" if fails else "FINISHED",
                "current": True,
                "value": number,
                "unfit": None,
                "error": {"message": "bad luck", "type": "", "class": "user", "traceback": ""} if fails else None,
                "identity": None,
            }
            sweep.record_job(folder, launch)
            points.told(number, Ended(number, overrides, folder, fails))


class Batching:
    """A launcher that knows nothing of streams."""

    def __init__(self, folder):
        self.folder = folder
        self.asked = []

    def launch(self, job_overrides, initial_job_idx):
        self.asked.append((initial_job_idx, [" ".join(overrides) for overrides in job_overrides]))
        return [Ended(n, o, self.folder / str(n)) for n, o in enumerate(job_overrides, start=initial_job_idx)]


@pytest.fixture
def sweep_of(tmp_path, monkeypatch, hydra_restore_singletons):
    """From settings, launcher and arguments to what a sweep returns."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWEEPROUTE_STATE", str(tmp_path / "state"))
    loader, master = start_sweep(tmp_path, CONF)
    context = HydraContext(config_loader=loader, callbacks=Callbacks())

    def run(launcher, *arguments, resumed=False, **settings):
        search = Search(SearchSweeperConf(**settings), master, context, launcher, resumed)
        return search.run(arguments, tmp_path / "out")

    return run


def values(batches):
    return [[one.return_value for one in batch] for batch in batches]


def test_a_dry_run_says_what_would_run_and_runs_nothing(sweep_of, tmp_path, capsys):
    launcher = Streaming(dry_run=True)
    assert sweep_of(launcher, "x=range(3)") == []
    assert not launcher.ran
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "Plan of 3 jobs; nothing runs."
    plan = json.loads((tmp_path / "out" / "plan.json").read_text())
    assert [job["overrides"] for job in plan["jobs"]] == [["x=0"], ["x=1"], ["x=2"]]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["plan.json"]
    assert not (tmp_path / "state" / "sweeps").exists()


def test_a_dry_run_leaves_a_sweep_that_has_begun_alone(sweep_of):
    sweep_of(Streaming(), "x=1,2")
    with pytest.raises(SettingsError, match="already, and a plan is of one that has not begun"):
        sweep_of(Streaming(dry_run=True), "x=1,2", resumed=True)


def test_jobs_that_somebody_has_listed_run_as_they_stand(sweep_of, tmp_path):
    (tmp_path / "jobs.json").write_text('[["x=3"], ["x=1", "again=true"], ["x=3"]]')
    launcher = Streaming()
    # What the command line says besides is not theirs, and no sampler adds to them.
    sweep_of(launcher, "x=7,8", jobs=str(tmp_path / "jobs.json"), sampler="tpe", n_trials=5)
    assert launcher.ran == {0: "x=3", 1: "x=1 again=true", 2: "x=3"}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("[", "cannot be read"),
        ("[]", "lists no job"),
        ('{"x": 1}', "lists no job"),
        ('[["x=1"], "x=2"]', "Job 1 of .* is 'x=2'. It takes a list of overrides"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_lists_no_jobs_is_refused(sweep_of, tmp_path, content, sentence):
    if content is not None:
        (tmp_path / "jobs.json").write_text(content)
    with pytest.raises(SettingsError, match=sentence):
        sweep_of(Streaming(), jobs=str(tmp_path / "jobs.json"))


@pytest.mark.parametrize(("fails", "event"), [((), "finished"), (("x=2",), "failed")])
def test_a_command_of_the_persons_is_told_how_a_sweep_ended(sweep_of, tmp_path, fails, event):
    script = "import os, sys; open(sys.argv[1], 'a').write(os.environ['SWEEP_EVENT'] + os.environ['SWEEP_DONE'])"
    command = [sys.executable, "-c", script, str(tmp_path / "told")]
    try:
        sweep_of(Streaming(notify=command, fails=fails), "x=1,2")
    except JobsFailedError:
        assert fails
    assert (tmp_path / "told").read_text() == f"{event}{2 - len(fails)}"


def test_a_command_that_is_none_is_refused_before_anything_runs(sweep_of):
    launcher = Streaming(notify={"a": 1})
    with pytest.raises(SettingsError, match=r"hydra.launcher.notify is \{'a': 1\}. It takes a command"):
        sweep_of(launcher, "x=1,2")
    assert not launcher.ran


def test_returns_come_in_the_order_asked_for_whatever_ran_first(sweep_of):
    launcher = Streaming()
    assert values(sweep_of(launcher, "x=range(5)")) == [[0, 1, 2, 3, 4]]
    assert list(launcher.ran) == [4, 3, 2, 1, 0]


@pytest.mark.parametrize("stop_after", [0, 1, 3])
def test_jobs_that_never_started_keep_their_numbers_on_resume(sweep_of, stop_after):
    first = Streaming(stop_after=stop_after)
    with pytest.raises(SystemExit) as stopped:
        sweep_of(first, "x=range(10)")
    assert stopped.value.code == 130
    second = Streaming()
    batches = sweep_of(second, "x=range(10)", resumed=True, resume=True)
    assert [len(batch) for batch in batches] == [10]
    assert [one.overrides for one in batches[0]] == [[f"x={n}"] for n in range(10)]
    assert first.ran | second.ran == {n: f"x={n}" for n in range(10)}
    assert len(first.ran) + len(second.ran) == 10


def test_points_that_are_new_on_resume_get_numbers_that_are_free(sweep_of):
    sweep_of(Streaming(), "x=1,2,3")
    second = Streaming()
    sweep_of(second, "x=5,3,1,4", resumed=True, resume=True)
    assert second.ran == {4: "x=4", 3: "x=5"}


def test_the_same_point_twice_is_two_jobs_also_on_resume(sweep_of):
    assert values(sweep_of(Streaming(), "x=1,1")) == [[0, 1]]
    second = Streaming()
    assert values(sweep_of(second, "x=1,1", resumed=True, resume=True)) == [[0, 1]]
    assert second.ran == {}


def test_the_word_that_resumes_is_no_part_of_a_job(sweep_of):
    sweep_of(Streaming(), "x=1,2")
    second = Streaming()
    sweep_of(second, "x=1,2,3", "again=true", resumed=True, resume=True)
    assert second.ran == {2: "x=3"}


def test_jobs_that_failed_run_again_on_resume(sweep_of):
    with pytest.raises(JobsFailedError, match=r"(?s)1 of 3 jobs failed:\n  x=2: bad luck\n.*resume=true"):
        sweep_of(Streaming(fails=["x=2"]), "x=1,2,3")
    second = Streaming()
    assert values(sweep_of(second, "x=1,2,3", resumed=True, resume=True)) == [[0, 1, 2]]
    assert second.ran == {1: "x=2"}


@pytest.mark.parametrize("word", ["true", "keep", "rerun"])
def test_without_hashes_of_code_and_data_only_rerun_runs_again_what_has_finished(sweep_of, word):
    sweep_of(Streaming(), "x=1,2")
    second = Streaming()
    sweep_of(second, "x=1,2", resumed=True, resume=word)
    assert len(second.ran) == (2 if word == "rerun" else 0)


def test_batches_have_the_size_asked_for_and_resume_knows_what_they_finished(sweep_of):
    assert values(sweep_of(Streaming(), "x=range(5)", max_batch_size=2)) == [[0, 1], [2, 3], [4]]
    second = Streaming()
    assert values(sweep_of(second, "x=range(6)", max_batch_size=4, resumed=True, resume=True)) == [[0, 1, 2, 3], [4, 5]]
    assert second.ran == {5: "x=5"}


def test_a_launcher_that_does_not_stream_gets_batches_and_its_folders_are_noted(sweep_of, tmp_path):
    launcher = Batching(tmp_path / "out")
    assert values(sweep_of(launcher, "x=1,2,3", max_batch_size=2)) == [[0, 1], [0 + 2]]
    assert launcher.asked == [(0, ["x=1", "x=2"]), (2, ["x=3"])]
    lines = list(read_lines(tmp_path / "out" / OURS / "jobs.jsonl"))
    assert [(line["job"], Path(line["folder"]).name) for line in lines] == [(0, "0"), (1, "1"), (2, "2")]
    launcher = Batching(tmp_path / "out")
    sweep_of(launcher, "x=1,2,3")
    assert launcher.asked == [(0, ["x=1", "x=2", "x=3"])]


def test_over_a_launcher_that_keeps_no_records_nothing_can_be_resumed(sweep_of, tmp_path):
    with pytest.raises(SettingsError, match=r"Batching keeps no record.*hydra/launcher=routed"):
        sweep_of(Batching(tmp_path), "x=1,2", resumed=True, resume=True)


@pytest.mark.parametrize(
    ("metric", "direction", "expected"),
    [
        (None, None, None),
        ("val_loss", None, None),
        ("auc", None, "maximize"),
        ("roi", None, "maximize"),
        ("brier", None, "minimize"),
        ("log_loss", None, "minimize"),
        ("ece", None, "minimize"),
        ("brier", "maximize", "maximize"),
    ],
)
def test_the_record_says_which_metric_decides_and_how(sweep_of, tmp_path, metric, direction, expected):
    sweep_of(Streaming(), "x=1,2", metric=metric, direction=direction, name="mine", note="a note", id="sweep_x")
    record = read_json(tmp_path / "out" / OURS / "sweep.json")
    assert (record["metric"], record["direction"]) == (metric, expected)
    assert (record["id"], record["name"], record["note"], record["total"]) == ("sweep_x", "mine", "a note", 2)
    assert (tmp_path / "out" / "multirun.yaml").exists()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"sampler": "gird"}, "hydra.sweeper.sampler is 'gird'. Allowed: grid, random, tpe, cmaes, qmc, nsga, gp."),
        ({"direction": "minimise"}, "hydra.sweeper.direction is 'minimise'. Allowed: minimize, maximize."),
        ({"max_batch_size": 0}, "hydra.sweeper.max_batch_size is 0. It takes 1 or more."),
    ],
)
def test_a_setting_that_cannot_be_served_is_refused(sweep_of, settings, says):
    launcher = Streaming()
    with pytest.raises(SettingsError) as refused:
        sweep_of(launcher, "x=1,2", **settings)
    assert str(refused.value) == says
    assert launcher.ran == {}


class TestResumeFolder:
    @pytest.fixture(autouse=True)
    def own_place(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("SWEEPROUTE_STATE", str(tmp_path / "state"))

    def config(self, folder, task=(), hydra=()):
        return OmegaConf.create(
            {"hydra": {"sweep": {"dir": str(folder)}, "overrides": {"task": list(task), "hydra": list(hydra)}}}
        )

    def unfinished(self, folder, identifier, *overrides):
        sweep = SweepFolder.open(folder, {"id": identifier, "overrides": list(overrides)})
        sweep._lock.release()
        return sweep.folder

    @pytest.mark.parametrize("word", [False, "false", "False"])
    def test_is_none_where_nothing_is_to_be_resumed(self, tmp_path, word):
        self.unfinished(tmp_path / "a", "a", "x=1")
        assert resume_folder(word, self.config(tmp_path / "b", ["x=1"])) is None

    @pytest.mark.parametrize("word", [True, "true", "keep", "rerun", "KEEP"])
    def test_is_that_of_the_newest_unfinished_sweep_of_the_same_overrides(self, tmp_path, word):
        found = self.unfinished(tmp_path / "a", "a", "x=1", "hydra.job.name=n")
        self.unfinished(tmp_path / "other", "other", "x=2")
        config = self.config(tmp_path / "b", ["x=1"], ["hydra.job.name=n", "hydra.sweeper.resume=true"])
        assert resume_folder(word, config) == found

    def test_is_the_one_that_the_command_names(self, tmp_path):
        self.unfinished(tmp_path / "a", "a", "x=1")
        named = self.unfinished(tmp_path / "b", "b", "x=other")
        assert resume_folder(True, self.config(named, ["x=1"])) == named

    def test_says_so_where_there_is_none(self, tmp_path):
        with pytest.raises(SettingsError, match="no unfinished sweep of these overrides"):
            resume_folder(True, self.config(tmp_path / "b", ["x=1"]))

    def test_names_the_words_that_there_are(self, tmp_path):
        with pytest.raises(SettingsError, match=r"resume is 'keeep'. Allowed: keep, "):
            resume_folder("keeep", self.config(tmp_path / "b"))


APP = {
    "app.py": """
import hydra


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg):
    with open("ran.txt", "a") as ran:
        ran.write(f"{cfg.x}{cfg.data}\\n")
    if cfg.x in cfg.raises:
        raise ValueError("unlucky")


if __name__ == "__main__":
    main()
""",
    "hashes.py": """
from pathlib import Path


def of(cfg):
    return {
        "fingerprint": f"{cfg.x}-{cfg.data}",
        "code_hash": Path("code.txt").read_text(),
        "data_hash": Path(f"{cfg.data}.txt").read_text(),
    }
""",
    "code.txt": "code-one",
    "a.txt": "a-one",
    "b.txt": "b-one",
    "conf/config.yaml": CONF["config.yaml"]
    + "  launcher: {identity: hashes.of, platforms: {here: {max_concurrent_jobs: 1}}}\ndata: a\nraises: [3]\n",
}


class TestChangedCodeOrData:
    @pytest.fixture
    def app(self, tmp_path):
        write(tmp_path, APP)
        self.folder = tmp_path
        self.sweep(code=1)
        assert self.ran() == Counter(["1a", "1b", "2a", "2b", "3a", "3b"])
        (tmp_path / "conf" / "config.yaml").write_text(APP["conf/config.yaml"].replace("raises: [3]", "raises: []"))
        return tmp_path

    def sweep(self, *words, code=0):
        done = subprocess.run(
            [sys.executable, "app.py", "-m", "x=1,2,3", "data=a,b", *words],
            cwd=self.folder,
            env=os.environ | {"SWEEPROUTE_STATE": str(self.folder / "state"), "PYTHONPATH": str(self.folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
        assert done.returncode == code, done.stdout
        return done.stdout

    def ran(self):
        found = Counter((self.folder / "ran.txt").read_text().split())
        (self.folder / "ran.txt").write_text("")
        return found

    def hashes(self):
        launches = [json.loads(path.read_text()) for path in self.folder.glob("out/*/launch.json")]
        return {" ".join(one["overrides"]): one["identity"] for one in launches if one["current"]}

    def test_what_has_not_changed_is_gone_on_with(self, app):
        assert "Since" not in self.sweep("hydra.sweeper.resume=true")
        assert self.ran() == Counter(["3a", "3b"])
        assert self.hashes()["x=3 data=b"] == {"fingerprint": "3-b", "code_hash": "code-one", "data_hash": "b-one"}

    def test_changed_data_of_one_job_is_seen_kept_when_asked_and_kept_apart(self, app):
        (app / "b.txt").write_text("b-two")
        said = self.sweep("hydra.sweeper.resume=true", code=1)
        assert "Since 4 of 6 jobs finished, this has changed: data_hash b-one -> b-two." in said
        assert "resume=keep" in said
        assert "resume=rerun" in said
        assert "Traceback" not in said
        assert self.ran() == Counter()
        self.sweep("hydra.sweeper.resume=keep")
        assert self.ran() == Counter(["3a", "3b"])
        assert self.hashes()["x=1 data=b"]["data_hash"] == "b-one"
        assert self.hashes()["x=3 data=b"]["data_hash"] == "b-two"

    def test_changed_code_is_seen_and_all_is_run_again_when_asked(self, app):
        (app / "code.txt").write_text("code-two")
        said = self.sweep("hydra.sweeper.resume=true", code=1)
        assert "code_hash code-one -> code-two" in said
        assert "data_hash" not in said
        self.sweep("hydra.sweeper.resume=rerun")
        assert self.ran() == Counter(["1a", "1b", "2a", "2b", "3a", "3b"])
        assert {one["code_hash"] for one in self.hashes().values()} == {"code-two"}
        assert len(self.hashes()) == 6


def test_words_of_the_sweep_alone_are_no_part_of_its_jobs():
    words = ["model=glm", "report.copy_to=here", "+report.new=1", "reports=2", "report=mine"]
    assert _of_jobs(words, ["report", "sweep.request"]) == ["model=glm", "reports=2"]
    with pytest.raises(SettingsError, match=r"report\.copy_to=a,b lists several values, and is one thing of the whole"):
        _of_jobs(["report.copy_to=a,b"], ["report"])
