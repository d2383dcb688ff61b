"""The holdout is scored once, for what has won, and nothing is chosen by it."""

import json
import os
import signal
from pathlib import Path

import pytest
from filelock import FileLock
from mlflow import MlflowClient

from conversation import Talk
from far_app import wait_until
from handmade_sweep import HandmadeSweep, fresh_store
from hydra_plugins.sweeproute._records import SweepFolder
from small_trial import ONE_SLOT, SMALL, compose, end, start
from sweeproute import registry
from sweeproute.config import ConfigError
from sweeproute.experiment import identity
from sweeproute.holdout import FILE, HoldoutError, follow_up
from sweeproute.holdout_record import CLAIMS, scored
from sweeproute.selection import DirectionError
from sweeproute.trial_checks import admit, validate

RULE = {"metric": "brier", "direction": "minimize", "repeats": ["seed"]}
# Two seasons behind those of the small trials.
# What decides in a sweep that says nothing else.
BY = {"metric": "auc", "direction": "maximize", "repeats": ["seed"]}
LATER = (*SMALL[:-1], "data.last_season=2021", "validation.holdout_seasons=[2020,2021]")
LAST_ALONE = "validation.holdout_seasons=[2024,2024]"
CALIBRATED = ("calibration=all", "validation.calibration_seasons=1", "holdout=true")


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("SWEEPROUTE_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


def record(model: str, overrides: list[str], sweep: str = "s1", data: str = "d1", state: str = "FINISHED", **metrics):
    return {
        "sweep": sweep,
        "state": state,
        "fields": {"model_type": model},
        "overrides": overrides,
        "identity": {"games_hash": data},
        "value": {name.replace("__", "/"): value for name, value in metrics.items()},
    }


def three(sweep: str = "s1", **more) -> list[dict]:
    """Two configurations of GLM, one of a forest; calibration turns the order of the first two around."""
    return [
        record("GLM", ["model=glm", "C=1"], sweep, brier=0.22, platt__brier=0.21, isotonic__brier=0.25, **more),
        record("GLM", ["model=glm", "C=2"], sweep, brier=0.20, platt__brier=0.23, isotonic__brier=0.24, **more),
        record("RandomForest", ["model=rf"], sweep, brier=0.3, platt__brier=0.3, isotonic__brier=0.3, **more),
    ]


def test_nothing_is_scored_where_nobody_asks():
    assert follow_up(three(), RULE, compose()) == []


def test_what_has_won_under_each_calibration_is_scored_once_a_configuration():
    assert follow_up(three(), RULE, compose(*CALIBRATED)) == [
        ["model=glm", "C=1", "calibration.methods=[platt]", "validation.scoring=1"],
        ["model=glm", "C=2", "calibration.methods=[none,isotonic]", "validation.scoring=1"],
        ["model=rf", "calibration.methods=[none,platt,isotonic]", "validation.scoring=1"],
    ]


def test_all_repeats_of_what_has_won_are_scored():
    results = [
        record("GLM", ["model=glm", f"C={c}", f"seed={seed}"], brier=0.2 + c / 10 + seed / 100)
        for c in (1, 2)
        for seed in (1, 2)
    ]
    wanted = follow_up(results, RULE, compose("holdout=true"))
    assert [one[:3] for one in wanted] == [["model=glm", "C=1", "seed=1"], ["model=glm", "C=1", "seed=2"]]


def test_a_trial_that_was_pruned_cannot_win():
    results = [record("GLM", ["C=1"], state="PRUNED", brier=0.1), record("GLM", ["C=2"], brier=0.2)]
    assert [one[0] for one in follow_up(results, RULE, compose("holdout=true"))] == ["C=2"]


def test_calibrations_that_the_command_named_are_replaced_by_those_that_have_won():
    words = ["calibration=all", "calibration.methods=[platt,none]"]
    results = [record("GLM", [*words, f"C={c}"], brier=0.2 + c / 100, none__brier=0.3 - c / 100) for c in (1, 2)]
    cfg = compose("holdout=true", "validation.calibration_seasons=1", *words)
    assert follow_up(results, RULE, cfg) == [
        ["C=1", "calibration.methods=[platt]", "validation.scoring=1"],
        ["C=2", "calibration.methods=[none]", "validation.scoring=1"],
    ]


def test_a_sweep_that_chooses_by_a_further_calibration_scores_what_won_by_it():
    wanted = follow_up(three(), {**RULE, "metric": "platt/brier"}, compose(*CALIBRATED))
    assert wanted[0] == ["model=glm", "C=1", "calibration.methods=[platt]", "validation.scoring=1"]


@pytest.mark.parametrize("word", ["calibration.methods=[none]", "data.seed=3", "+validation.gap_seasons=1"])
def test_jobs_that_differ_in_what_they_are_compared_on_have_no_one_holdout(word: str):
    results = [record("GLM", ["C=1", word], brier=0.2), record("GLM", ["C=1"], brier=0.2)]
    with pytest.raises(HoldoutError, match=r"jobs of this sweep differ in (calibration|data|validation)"):
        follow_up(results, RULE, compose("holdout=true"))


def test_nothing_is_scored_or_noted_where_a_job_has_failed(state: Path, capsys):
    assert follow_up(three(), {**RULE, "failed": True}, compose(*CALIBRATED)) == []
    assert "The holdout was not scored, since not all jobs have ended well; resume=true" in capsys.readouterr().out
    assert not (state / FILE).exists()


def test_the_same_choice_of_the_same_sweep_is_no_second_look():
    first = follow_up(three(), RULE, compose(*CALIBRATED))
    assert follow_up(three(), RULE, compose(*CALIBRATED)) == first


@pytest.mark.parametrize(
    ("again", "by"),
    [(three("s2"), "by sweep s1"), ([record("GLM", ["C=9"], brier=0.1)], "by this sweep, for other configurations")],
)
def test_a_second_look_is_refused_unless_it_is_forced_and_then_recorded(again, by):
    follow_up(three(), RULE, compose(*CALIBRATED))
    with pytest.raises(HoldoutError, match=f"Seasons of 2023 to 2024 were scored for GLM before, {by}"):
        follow_up(again, RULE, compose("holdout=true"))
    assert follow_up(again, RULE, compose("holdout=again"))[0][-1] == "validation.scoring=2"


def test_other_data_other_seasons_and_other_models_are_other_looks():
    follow_up([record("GLM", ["C=1"], brier=0.2)], RULE, compose("holdout=true"))
    for other in (
        ([record("GLM", ["C=1"], "s2", "d2", brier=0.2)], ()),
        ([record("XGBoost", ["C=1"], "s2", brier=0.2)], ()),
        ([record("GLM", ["C=1"], "s2", brier=0.2)], ("validation.holdout_seasons=[2025,2025]",)),
    ):
        assert follow_up(other[0], RULE, compose("holdout=true", *other[1]))[0][-1] == "validation.scoring=1"


def test_a_part_of_the_seasons_again_is_a_second_look():
    follow_up([record("GLM", ["C=1"], brier=0.2)], RULE, compose("holdout=true"))
    with pytest.raises(HoldoutError, match="by sweep s1"):
        follow_up([record("GLM", ["C=1"], "s2", brier=0.2)], RULE, compose("holdout=true", LAST_ALONE))


def test_a_line_that_a_crash_has_cut_hides_no_other(state: Path):
    follow_up([record("GLM", ["C=1"], brier=0.2)], RULE, compose("holdout=true"))
    with (state / FILE).open("a") as log:
        log.write('{"data_hash": "d1", "sea')
    follow_up([record("XGBoost", ["C=1"], brier=0.2)], RULE, compose("holdout=true"))
    models = [json.loads(line)["model"] for line in (state / FILE).read_text().splitlines() if line.endswith("}")]
    assert models == ["GLM", "XGBoost"]
    with pytest.raises(HoldoutError):
        follow_up([record("GLM", ["C=1"], "s2", brier=0.2)], RULE, compose("holdout=true"))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["holdout=maybe"], "holdout=maybe is not known; use false, true or again"),
        (
            ["holdout=true", "validation.holdout_seasons=null"],
            "has no seasons to score; set validation.holdout_seasons",
        ),
    ],
)
def test_a_holdout_that_cannot_be_scored_is_said_before_anything_runs(words, sentence):
    with pytest.raises(HoldoutError, match=sentence):
        validate(compose(*words))


def test_a_sweep_that_could_not_be_scored_at_its_end_is_refused_at_its_beginning():
    cfg = compose(*LATER, "holdout=true")
    admit(cfg, BY)
    games = identity(cfg)["games_hash"]
    follow_up([record("GLM", ["C=1"], data=games, brier=0.2)], RULE, cfg)
    with pytest.raises(HoldoutError, match="scored for GLM before, by sweep s1"):
        admit(cfg, BY)
    with pytest.raises(HoldoutError, match="scored for GLM before"):
        admit(compose(*LATER, "holdout=true", "data.market_features=true"), BY)  # other features, the same games
    admit(compose(*LATER, "holdout=again"), BY)
    admit(compose(*LATER), BY)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["validation.holdout_seasons=[2021,2022]"],
            r"holdout_seasons=\[2021,2022\] has 2022, and the data has 2015 to",
        ),
        (["validation.scoring=1"], "validation.scoring=1 is set by holdout=true; leave it out"),
    ],
)
def test_what_could_not_be_scored_is_refused_at_the_beginning(words, sentence):
    with pytest.raises(HoldoutError, match=sentence):
        admit(compose(*LATER, "holdout=true", *words), BY)


@pytest.mark.parametrize(
    "words",
    [
        ["validation.scoring=1"],
        ["-m", "model.params.C=0.1,1", "holdout=true", "hydra/launcher=basic"],
    ],
)
def test_a_holdout_that_nobody_would_score_is_refused(tmp_path: Path, words: list[str]):
    said = end(start(tmp_path, *words, "model=glm", "search_space=none", *LATER), code=1)
    assert "is for what a routed sweep has chosen, when it has ended" in said
    assert "Traceback" not in said


def test_the_overrides_of_a_sweeps_best_run_alone_as_they_stand(tmp_path: Path):
    said = end(start(tmp_path, "model=glm", "holdout=true", "ensemble=[average]", *LATER))
    assert "holdout=True is for what a sweep has chosen, when it has ended; one trial does without." in said


@pytest.mark.parametrize(
    ("decides", "sentence"),
    [
        ({"metric": "rio"}, r"hydra\.sweeper\.metric=rio is no metric of a trial; allowed, nearest match first: roi, "),
        ({"metric": ["auc", "plat/brier"]}, r"hydra\.sweeper\.metric=plat/brier is no metric"),
        ({"metric": "n_bets"}, "Whether more or less 'n_bets' is better is not known"),
    ],
)
def test_what_would_choose_nothing_is_refused_before_anything_runs(decides, sentence):
    with pytest.raises((ConfigError, DirectionError), match=sentence):
        admit(compose("model=glm"), decides)


def test_a_sweep_that_was_killed_before_its_holdout_was_scored_goes_on_with_that(tmp_path: Path, state: Path):
    words = [
        "-m",
        "model=glm",
        "search_space=none",
        "model.params.C=0.1,1",
        *LATER,
        "holdout=true",
        "hydra.sweep.dir=out",
        ONE_SLOT,
    ]
    process = start(tmp_path, *words, SWEEPROUTE_STATE=str(state))
    wait_until(lambda: (state / FILE).exists(), "the note of what is scored", 120)
    process.kill()
    process.communicate()
    said = end(start(tmp_path, *words, "resume=true", SWEEPROUTE_STATE=str(state)))
    assert "1 of 1 done" in said
    launches = [json.loads(path.read_text()) for path in (tmp_path / "out").rglob("launch.json")]
    assert sorted(one["job"] for one in launches if one["current"]) == [0, 1, 2]
    assert (state / FILE).read_text().count('"scoring": 1') == 1


BEGINS = """
import sys
from small_trial import compose
from sweeproute.holdout import HoldoutError
from sweeproute.trial_checks import admit
from test_holdout import BY, LATER

cfg = compose(*LATER, *sys.argv[1:])
print("ready", flush=True)
sys.stdin.readline()
try:
    admit(cfg, BY)
    print("begins", flush=True)
    sys.stdin.readline()
except HoldoutError as error:
    print(error, flush=True)
"""


def begins(*words: str) -> tuple[Talk, str]:
    """A sweep at its beginning, and what it hears there."""
    talk = Talk(BEGINS, *words)
    assert talk.hears() == "ready"
    talk.says()
    return talk, talk.hears()


def test_of_two_sweeps_at_once_the_second_is_refused_before_it_begins_and_may_when_the_first_has_died(
    tmp_path: Path, state: Path
):
    ensembles = "ensemble=[average]"
    first, said = begins("holdout=true", "model=glm", ensembles, "sweep.id=first")
    assert said == "begins"
    # Other models, and the same ensemble of them.
    words = ["-m", "model=random_forest", "search_space=none", "seed=1,2", *LATER, "holdout=true", ensembles]
    words += ["sweep.id=second"]
    said = end(start(tmp_path, *words, SWEEPROUTE_STATE=str(state)), code=1)
    assert "Seasons of 2020 to 2021 are going to be scored for Ensemble_average by sweep first, which runs now" in said
    assert "Wait until it has ended" in said
    assert "Traceback" not in said
    assert not (tmp_path / "multirun" / "second" / "0").exists()
    # Neither other models alone, nor one that says that it looks again is held up.
    for more in (
        ["validation.holdout_seasons=[2021,2021]", "model=xgboost"],
        ["holdout=again", "model=glm", ensembles],
    ):
        talk, said = begins("holdout=true", "sweep.id=third", *more)
        assert said == "begins", more
        talk.kill()
    first.kill()
    second, said = begins("holdout=true", "model=random_forest", ensembles, "sweep.id=second")
    assert said == "begins"
    second.kill()
    assert not (state / FILE).exists()
    assert len(list((state / CLAIMS).glob("*.json"))) == 1  # of the last, until another asks


def test_while_a_sweep_goes_on_no_other_begins_that_would_score_the_same(tmp_path: Path, state: Path):
    words = ["-m", "model=glm", "search_space=none", "model.params.C=0.1,1", *LATER, "holdout=true"]
    words += ["hydra.sweep.dir=out", ONE_SLOT]

    def claims() -> set[Path]:
        return set((state / CLAIMS).glob("*.json"))

    process = start(tmp_path, *words, SWEEPROUTE_STATE=str(state))
    wait_until(lambda: (tmp_path / "out" / "0" / "launch.json").exists(), "its first job", 120)
    process.kill()
    process.communicate()
    before = claims()
    process = start(tmp_path, *words, "resume=true", SWEEPROUTE_STATE=str(state))
    wait_until(lambda: bool(claims() - before), "its claim", 120)
    with FileLock(state / f"{FILE}.lock"):  # or it might be stopped with the record in its hands
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
    other, said = begins("holdout=true", "model=glm", "sweep.id=other")
    process.send_signal(signal.SIGCONT)
    other.kill()
    id = json.loads((tmp_path / "out" / ".sweeproute" / "sweep.json").read_text())["id"]
    assert f"are going to be scored for GLM by sweep {id}, which runs now" in said
    end(process)
    assert [one["sweep"] for one in scored()] == [id]


def test_a_sweep_that_goes_on_is_refused_for_the_looks_of_others_alone():
    cfg = compose(*LATER, "holdout=true", "ensemble=[average]")
    games = identity(cfg)["games_hash"]
    goes_on = {**BY, "resumed": True}
    follow_up([record("GLM", ["C=1"], data=games, brier=0.2)], RULE, cfg)
    admit(cfg, {**goes_on, "sweep": "s1"})
    with pytest.raises(HoldoutError, match="scored for GLM before, by sweep s1"):
        admit(cfg, {**goes_on, "sweep": "s2"})
    with pytest.raises(HoldoutError, match="scored for GLM before"):
        admit(cfg, {**BY, "sweep": "s1"})  # it starts afresh


def test_of_sweeps_that_begin_at_once_one_alone_does(state: Path):
    talks = [Talk(BEGINS, "holdout=true", f"sweep.id=s{number}") for number in range(4)]
    assert {one.hears() for one in talks} == {"ready"}
    for one in talks:
        one.says()
    heard = [one.hears() for one in talks]
    assert heard.count("begins") == 1
    assert all("which runs now" in text for text in heard if text != "begins")
    for one in talks:
        one.kill()


def test_what_a_sweep_has_noted_that_died_before_it_looked_holds_up_nobody(tmp_path: Path, state: Path):
    sweep = HandmadeSweep(tmp_path / "s1", "s1")
    sweep.point(state)
    results = three()[:2]
    wanted = follow_up(results, RULE, compose(*CALIBRATED))
    with (
        FileLock(sweep.root / ".sweeproute" / "lock"),
        pytest.raises(HoldoutError, match="for GLM before, by sweep s1"),
    ):
        follow_up(three("s2")[:2], RULE, compose(*CALIBRATED))  # it runs
    assert follow_up(three("s2")[:2], RULE, compose(*CALIBRATED))[0][-1] == "validation.scoring=1"
    # The other way round now, where it goes on.
    with pytest.raises(HoldoutError, match="for GLM before, by sweep s2"):
        follow_up(results, RULE, compose(*CALIBRATED))
    assert (state / FILE).read_text().count("taken_back") == 1
    assert wanted


def test_what_a_sweep_has_begun_to_score_counts_whatever_became_of_it(tmp_path: Path, state: Path):
    sweep = HandmadeSweep(tmp_path / "s1", "s1")
    sweep.point(state)
    wanted = follow_up(three()[:2], RULE, compose(*CALIBRATED))
    sweep.start(2, overrides=wanted[0], fields={"model_type": "GLM"}, follow_up=True, state="KILLED")
    with pytest.raises(HoldoutError, match="for GLM before, by sweep s1"):
        follow_up(three("s2")[:2], RULE, compose(*CALIBRATED))


@pytest.mark.parametrize("id", ["other", "s1"])
def test_a_look_stays_one_when_a_sweep_starts_afresh_in_its_folder(tmp_path: Path, state: Path, id: str):
    sweep = HandmadeSweep(tmp_path / "s1", "s1")
    sweep.point(state)
    wanted = follow_up(three()[:2], RULE, compose(*CALIBRATED))
    sweep.start(2, overrides=wanted[0], fields={"model_type": "GLM"}, follow_up=True, state="FINISHED")
    with SweepFolder.open(sweep.root, {**sweep.record, "id": id}):
        pass
    with pytest.raises(HoldoutError, match="for GLM before, by sweep s1"):
        follow_up(three("s2")[:2], RULE, compose(*CALIBRATED))


def test_what_a_sweep_has_noted_that_went_on_and_died_again_before_it_looked_holds_up_nobody(
    tmp_path: Path, state: Path
):
    sweep = HandmadeSweep(tmp_path / "s1", "s1")
    sweep.point(state)
    assert follow_up(three()[:2], RULE, compose(*CALIBRATED))
    with SweepFolder.open(sweep.root, sweep.record, keep=True):
        pass
    assert follow_up(three("s2")[:2], RULE, compose(*CALIBRATED))[0][-1] == "validation.scoring=1"


def test_no_direction_is_guessed():
    with pytest.raises(DirectionError):
        follow_up(three(), {"metric": "profit", "direction": None, "repeats": []}, compose(*CALIBRATED))


def test_a_sweep_scores_what_has_won_on_the_holdout_and_chooses_by_the_rest_alone(tmp_path: Path, state: Path):
    uri = fresh_store(tmp_path)
    words = ["-m", "model=glm", "search_space=none", "model.params.C=0.001,0.1", *LATER, *CALIBRATED, ONE_SLOT]
    words += ["tracking.models=none"]
    said = end(start(tmp_path, *words, "sweep.id=first", uri=uri, SWEEPROUTE_STATE=str(state)))
    assert "On the holdout, by which nothing was chosen:" in said
    client = MlflowClient(uri)
    runs = client.search_runs([one.experiment_id for one in client.search_experiments()])
    kinds = [run.data.tags["sweeproute.kind"] for run in runs]
    scored = [run for run in runs if run.data.tags.get("sweeproute.set") == "holdout"]
    assert kinds.count("trial") == 2
    assert 1 <= kinds.count("holdout") <= 3
    # One run for each calibration, the fit's own among them, whichever configuration has won.
    assert sorted(run.data.tags["sweeproute.calibration"] for run in scored) == ["isotonic", "none", "platt"]
    assert {run.data.tags["sweeproute.scoring"] for run in scored} == {"1"}
    seasons = {step for run in scored for step in (m.step for m in client.get_metric_history(run.info.run_id, "auc"))}
    assert seasons >= {2020, 2021}
    assert not seasons & {2018, 2019}
    assert all(run.info.run_name.startswith("GLM holdout") and "scoring" not in run.info.run_name for run in scored)
    best = registry.best("first", "brier", uri=uri)
    assert client.get_run(best.run_id).data.tags["sweeproute.kind"] == "trial"
    assert best.value == min(run.data.metrics["brier"] for run in runs if run.data.tags["sweeproute.kind"] == "trial")

    said = end(start(tmp_path, *words, "sweep.id=second", uri=uri, SWEEPROUTE_STATE=str(state)), code=1)
    assert "were scored for GLM before, by sweep first" in said
    assert "Traceback" not in said
    assert not (tmp_path / "multirun" / "second" / "0").exists()
