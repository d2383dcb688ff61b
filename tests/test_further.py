"""Ensembles are asked for once a sweep has ended, and those on the holdout once their members were scored there."""

import json
from pathlib import Path

import pytest

from conversation import Talk
from small_trial import compose
from sweeproute import data, holdout_record
from sweeproute.config import plain
from sweeproute.ensemble import chosen, told
from sweeproute.further import beforehand, jobs
from sweeproute.holdout import FILE, HoldoutError
from sweeproute.selection import rule
from test_holdout import CALIBRATED, RULE, three

ALL = "ensemble=[average,stacking,best_of]"


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("SWEEPROUTE_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


def numbered(records: list[dict]) -> list[dict]:
    return [{**one, "job": number} for number, one in enumerate(records)]


def pairs() -> list[dict]:
    """Three jobs: two configurations of a model, which calibration turns around, and one of another."""
    return numbered(three())


def ended(wanted: list[list[str]]) -> list[dict]:
    return [{"overrides": words, "state": "FINISHED", "follow_up": True} for words in wanted]


def test_nothing_is_asked_for_where_nobody_asks():
    assert jobs(pairs(), RULE, compose()) == []


def test_members_are_what_has_won_of_each_model_under_each_calibration():
    wanted = jobs(pairs(), RULE, compose("calibration=all", "validation.calibration_seasons=1", ALL))
    assert [one[-4:] for one in wanted] == [
        [
            "model=ensemble",
            f"model.params.method={method}",
            "model.params.sweep=s1",
            "model.params.members={none:[[1],[2]],platt:[[0],[2]],isotonic:[[1],[2]]}",
        ]
        for method in ("average", "stacking", "best_of")
    ]


@pytest.mark.parametrize(
    ("id", "written"), [("s1", "s1"), ("42", "'42'"), ("it's mine", r"'it\'s mine'"), ("null", "'null'")]
)
def test_the_sweep_is_named_as_text_whatever_it_is_called(id: str, written: str):
    records = [{**one, "sweep": id} for one in pairs()]
    (wanted,) = jobs(records, RULE, compose("ensemble=[average]"))
    assert wanted[-2] == f"model.params.sweep={written}"
    assert compose(*wanted[-3:-1], "model=ensemble").model.params.sweep == id


def test_all_repeats_of_a_member_are_named_and_its_words_are_those_that_all_share():
    records = []
    for model in ("GLM", "XGBoost"):
        for seed in (1, 2):
            words = [f"model={model.lower()}", "job.priority=3", "data.seed=9", f"seed={seed}", "note=x"]
            records.append({**three()[0], "fields": {"model_type": model}, "overrides": words})
    (wanted,) = jobs(numbered(records), RULE, compose("ensemble=[average]"))
    assert wanted[:3] == ["data.seed=9", "note=x", "seed=1"]
    assert wanted[-1] == "model.params.members={none:[[0,1],[2,3]]}"


def test_those_on_the_holdout_wait_for_their_members_and_are_noted_with_them(state: Path):
    cfg = compose(*CALIBRATED, "ensemble=[average,stacking]")
    first = jobs(pairs(), RULE, cfg)
    assert [words[-1].partition("=")[0] for words in first] == ["validation.scoring"] * 3 + ["model.params.members"] * 2
    assert (state / FILE).read_text().count("Ensemble") == 0
    assert jobs(pairs(), {**RULE, "followed": ended(first[:2])}, cfg) == first
    second = jobs(pairs(), {**RULE, "followed": ended(first[:3])}, cfg)
    assert second == [*first, *([*words, "validation.scoring=1"] for words in first[3:])]
    assert jobs(pairs(), {**RULE, "followed": ended(second)}, cfg) == second
    noted = [json.loads(line)["model"] for line in (state / FILE).read_text().splitlines() if line]
    assert noted == ["GLM", "RandomForest", "Ensemble_average", "Ensemble_stacking"]


def others(id: str = "s2") -> list[dict]:
    """Another sweep, of models that no other has."""
    return [{**one, "fields": {"model_type": f"{one['fields']['model_type']}_{id}"}, "sweep": id} for one in pairs()]


def test_an_ensemble_is_scored_a_second_time_where_it_is_forced_alone(state: Path):
    cfg = compose(*CALIBRATED, "ensemble=[average]")
    first = jobs(pairs(), RULE, cfg)
    jobs(pairs(), {**RULE, "followed": ended(first)}, cfg)
    noted = (state / FILE).read_text()
    # Before any of its jobs is scored, the models' own among them, which nobody has looked at.
    with pytest.raises(HoldoutError, match="were scored for Ensemble_average before, by sweep s1"):
        jobs(others(), RULE, cfg)
    assert (state / FILE).read_text() == noted
    cfg.holdout = "again"
    other = jobs(others(), RULE, cfg)
    assert other[0][-1] == "validation.scoring=1"
    assert jobs(others(), {**RULE, "followed": ended(other)}, cfg)[-1][-1] == "validation.scoring=2"


ASKS = """
import sys
from conversation import Talk
from small_trial import compose
from sweeproute.further import jobs
from sweeproute.holdout import HoldoutError
from test_further import ended, others
from test_holdout import CALIBRATED, RULE

cfg = compose(*CALIBRATED, "ensemble=[average]")
print("ready", flush=True)
sys.stdin.readline()
try:
    first = jobs(others(sys.argv[1]), RULE, cfg)
    print("first", flush=True)
    sys.stdin.readline()
    print(jobs(others(sys.argv[1]), {**RULE, "followed": ended(first)}, cfg)[-1][-1], flush=True)
    sys.stdin.readline()
except HoldoutError as error:
    print(error, flush=True)
"""


def test_of_sweeps_that_end_at_once_one_alone_scores():
    told = [Talk(ASKS, f"s{number}") for number in range(4)]
    assert {one.hears() for one in told} == {"ready"}
    for one in told:
        one.says()
    heard = {one: one.hears() for one in told}
    (winner,) = (one for one, text in heard.items() if text == "first")
    losers = [one for one in told if one is not winner]
    assert all(
        text.startswith("Seasons of 2023 to 2024 are going to be scored for Ensemble_average by sweep s")
        for one, text in heard.items()
        if one is not winner
    )
    winner.says()
    assert winner.hears() == "validation.scoring=1"
    for one in [*losers, winner]:
        one.kill()


def test_where_the_platform_is_forced_the_ensemble_stays_where_the_folder_lies(capsys):
    cfg = compose("platform=remote_4090", ALL)
    records = [{**one, "overrides": ["platform=remote_4090", *one["overrides"]]} for one in pairs()]
    assert all("platform.name=null" in words for words in jobs(records, RULE, cfg))
    assert "platform=remote_4090" not in jobs(records, RULE, cfg)[0]
    assert "made where the sweep's folder lies" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("records", "more", "sentence"),
    [
        (pairs()[:2], {}, "takes two models or more that give probabilities, and sweep s1 has GLM alone"),
        (pairs(), {"failed": True}, "No ensemble was made, since not all jobs have ended well; resume=true"),
        (
            [*pairs()[:2], {**pairs()[2], "overrides": ["model=rf", "betting.stake=0.1"]}],
            {},
            "the jobs of this sweep differ in betting. Give betting one value",
        ),
    ],
)
def test_an_ensemble_that_cannot_be_is_said_and_fails_nothing(records, more, sentence, capsys):
    assert jobs(records, {**RULE, **more}, compose(ALL)) == []
    assert sentence in capsys.readouterr().out


def test_a_model_without_probabilities_is_left_out_and_that_is_said_once(capsys):
    bettor = {**pairs()[2], "job": 3, "fields": {"model_type": "RL_DQN"}, "value": {"brier": "NaN", "roi": 0.4}}
    by_return = {"metric": "roi", "direction": "maximize", "repeats": []}
    records = [{**one, "value": {**one["value"], "roi": 0.1}} for one in pairs()]
    (wanted,) = jobs([*records, bettor], by_return, compose("ensemble=[average]"))
    assert wanted[-1] == "model.params.members={none:[[0],[2]]}"
    assert "No ensemble has RL_DQN for a member" in capsys.readouterr().out
    jobs([*records, bettor], {**by_return, "followed": ended([wanted])}, compose("ensemble=[average]"))
    assert capsys.readouterr().out == ""


def test_an_ensemble_is_no_member_of_another():
    records = [*pairs(), {**pairs()[2], "job": 3, "fields": {"model_type": "Ensemble_average"}}]
    found, left = chosen(records, rule(RULE), ["none"])
    assert [[one["job"] for one in jobs] for jobs in found["none"]] == [[1], [2]]
    assert left == []


def test_below_a_table_stands_of_what_its_ensembles_are_and_how_they_were_made():
    models = [{"model": name} for name in ("GLM", "XGBoost", "RandomForest")]
    members = json.dumps({"none": models, "platt": models[:1]})
    tags = [{"sweeproute.ensemble": method, "sweeproute.members": members} for method in ("best_of", "stacking")]
    (said,) = told([{}, *tags], lambda name: name)
    assert said.startswith("Ensembles are of GLM, XGBoost and RandomForest, each as it won")
    assert said.index("Ensemble_stacking: a logistic regression") < said.index(
        "Ensemble_best_of: the one that was best"
    )
    assert "The first of all tested seasons has the average" in said
    assert "The first of all" not in told([tags[0] | {"sweeproute.ensemble": "average"}], str)[0]
    (held,) = told([{}, *tags], lambda name: name, begins=False)
    assert held == said.replace(" The first of all tested seasons has the average, as nothing is before it.", "")
    assert held != said
    assert told([{}], str) == []


def planned(*models: str, seeds: tuple[int, ...] = (1,), c: tuple[int, ...] = (1,), words=(ALL,)) -> list[dict]:
    """The jobs of a sweep before it begins."""
    found = []
    for model in models:
        shared = [f"model={model}", "search_space=none", *words]
        cfg = compose(*shared)
        found += [{"overrides": [*shared, f"+c={one}", f"seed={seed}"], "config": cfg} for one in c for seed in seeds]
    return found


def test_before_it_begins_a_sweep_says_what_will_follow():
    found = beforehand(planned("glm", "xgboost", "dqn", seeds=(1, 2), words=(*CALIBRATED, ALL)), RULE)
    assert [(one["round"], len(one["jobs"])) for one in found] == [(1, 6), (1, 3), (2, 3)]
    assert found[0]["says"] == (
        "6 jobs on the holdout, seasons 2023 to 2024: GLM and XGBoost under none, platt and isotonic; RL_DQN under "
        "none."
    )
    assert found[0]["jobs"][1][-3:] == ["seed=2", "calibration.methods=[none,platt,isotonic]", "validation.scoring=1"]
    assert found[0]["jobs"][5][-2:] == ["calibration.methods=[none]", "validation.scoring=1"]
    # A bettor gives no probabilities, of which an ensemble could be made.
    assert found[1]["says"] == "3 ensembles (average, stacking, best_of) of GLM and XGBoost."
    assert found[2]["says"] == "3 ensembles (average, stacking, best_of) of GLM and XGBoost, on the holdout."
    assert found[2]["jobs"][0][-2:] == ["model.params.method=average", "validation.scoring=1"]


def test_what_is_said_beforehand_has_room_for_whatever_wins():
    before = planned("glm", "random_forest", c=(1, 2), words=(*CALIBRATED, "ensemble=[average]"))
    told = [one["jobs"] for one in beforehand(before, RULE)]
    results = pairs()
    assert len(jobs(results, RULE, compose(*CALIBRATED, "ensemble=[average]"))) <= len(told[0]) + len(told[1])
    says = beforehand(before, RULE)[0]["says"]
    assert says.startswith("2 to 4 jobs on the holdout, seasons 2023 to 2024: what has won of GLM and RandomForest")


@pytest.mark.parametrize(
    ("before", "sentence"),
    [
        (planned("glm"), "no ensemble will be made, since it takes two models or more that give probabilities, and"),
        (
            [*planned("glm"), *planned("xgboost", words=(ALL, "betting.stake=0.02"))],
            "no ensemble will be made, since the jobs differ in betting; give betting one value.",
        ),
        (
            planned("glm", words=("holdout=true",)) + planned("glm", words=("holdout=true", "data.seed=3")),
            "the holdout will not be scored. The jobs of this sweep differ in data",
        ),
    ],
)
def test_what_cannot_follow_is_said_beforehand(before, sentence):
    (only,) = beforehand(before, RULE)
    assert only["jobs"] == []
    assert only["says"].startswith(sentence)


def test_a_holdout_that_is_spent_is_said_beforehand_and_claimed_by_nobody(state: Path):
    before = planned("glm", words=("holdout=true",))
    games = data.load(plain(before[0]["config"].data)).games_hash
    assert len(beforehand(before, RULE)[0]["jobs"]) == 1
    assert holdout_record.claimed() == []
    looked = {"games_hash": games, "seasons": [2022, 2023], "model": "GLM", "sweep": "s1", "overrides": []}
    holdout_record.note({**looked, "scoring": 1})
    (only,) = beforehand(before, RULE)
    assert only["jobs"] == []
    assert only["says"].startswith(
        "the holdout will not be scored. Seasons of 2023 to 2024 were scored for GLM before, by sweep s1."
    )
    assert len(beforehand(planned("glm", words=("holdout=again",)), RULE)[0]["jobs"]) == 1


def test_nothing_is_said_where_nothing_follows():
    assert beforehand(planned("glm", words=()), RULE) == []
    assert beforehand([], RULE) == []
