"""Tests of `sweeproute promote`: which run it takes, who becomes champion, and that doing it again goes on."""

import json
import os
import re
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.entities import LoggedModelStatus, Run
from mlflow.tracking import MlflowClient

from processes import until
from promoted_runs import Zoo, copied, further, make_zoo, nearer
from sweeproute.pointers import NoSuchSweepError
from sweeproute.promotion import PromotionError, promote
from sweeproute.promotion.contest import contest
from sweeproute.promotion.versions import version_of


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    return make_zoo(tmp_path_factory.mktemp("zoo"), ("glm", "xgboost"))


@pytest.fixture(autouse=True)
def here(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEPROUTE_STATE", str(zoo.folder / "state"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", zoo.uri)
    monkeypatch.chdir(zoo.folder)


@pytest.fixture(scope="module")
def better(zoo: Zoo) -> Run:
    """A run that is better than the glm's without a doubt."""
    return copied(zoo, zoo.run("GLM"), says=nearer, tags={"sweeproute.fingerprint": "better"})


@pytest.fixture(scope="module")
def worse(zoo: Zoo) -> Run:
    """A run that is a little worse than the glm's."""
    return copied(zoo, zoo.run("GLM"), says=further, tags={"sweeproute.fingerprint": "worse"})


def command(zoo: Zoo, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run the command as a person does."""
    return subprocess.run(
        [sys.executable, "-m", "sweeproute", "promote", *words],
        cwd=zoo.folder,
        capture_output=True,
        text=True,
        check=False,
    )


def aliases(zoo: Zoo, name: str) -> dict[str, str]:
    """Who has which alias, by number."""
    return {alias: str(one) for alias, one in zoo.client.get_registered_model(name).aliases.items()}


def tags(zoo: Zoo, name: str, number: str) -> dict[str, str]:
    found: dict[str, str] = zoo.client.get_model_version(name, number).tags
    return found


def test_the_command_promotes_what_a_sweep_chose_and_says_how_to_use_it(zoo: Zoo) -> None:
    done = command(zoo, "zoo", "--name", "by-sweep")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "by-sweep version 1 is champion.",
        "  mlflow.pyfunc.load_model('models:/by-sweep@champion')",
        "  mlflow models serve -m models:/by-sweep@champion --env-manager local",
        "  sweeproute predict --model by-sweep@champion data=nfl data.path=games.csv",
    ]
    best = max((zoo.run(kind) for kind in ("GLM", "XGBoost")), key=lambda run: run.data.metrics["auc"])
    assert zoo.client.get_model_version_by_alias("by-sweep", "champion").run_id == best.info.run_id
    again = command(zoo, best.info.run_id[:8], "--name", "by-sweep")
    assert again.returncode == 0, again.stderr
    assert again.stdout.startswith("by-sweep version 1, which was there already, is champion.")
    assert len(zoo.client.search_model_versions("name = 'by-sweep'")) == 1


def test_a_sweep_by_the_metric_of_a_calibration_gives_the_run_of_that(zoo: Zoo) -> None:
    (parent,) = zoo.client.search_runs(zoo.experiments(), "tags.`sweeproute.kind` = 'sweep'")
    chosen_by = {"sweeproute.metric": "platt/brier", "sweeproute.direction": "minimize"}
    before = {tag: parent.data.tags[tag] for tag in chosen_by}
    try:
        for tag, value in chosen_by.items():
            zoo.client.set_tag(parent.info.run_id, tag, value)
        promote("last", "by-platt")
    finally:
        for tag, value in before.items():
            zoo.client.set_tag(parent.info.run_id, tag, value)
    made = zoo.client.get_model_version_by_alias("by-platt", "champion")
    best = min((zoo.run(kind, "platt") for kind in ("GLM", "XGBoost")), key=lambda run: run.data.metrics["brier"])
    assert made.run_id == best.info.run_id
    assert made.tags["sweeproute.calibration"] == "platt"


def test_a_run_is_named_by_its_beginning_if_that_is_enough(zoo: Zoo) -> None:
    run_id = zoo.run("GLM").info.run_id
    with pytest.raises(PromotionError, match=rf"too short to name a run.*{run_id[:12]}|begin with"):
        promote(run_id[:3], "named")
    with pytest.raises(PromotionError, match=r"There is no run 'abcdef0123' .*sweep"):
        promote("abcdef0123", "named")
    with pytest.raises(PromotionError, match=r"There is no run 'zooo' .*zoo"):
        promote("zooo", "named")
    for name, alias in (("a/b", "champion"), ("", "champion"), ("ok", "v1"), ("ok", "latest"), ("ok", "no way")):
        with pytest.raises(PromotionError, match=r"--name|--alias"):
            promote(run_id, name, alias)
    assert promote(run_id[:6], "named.for-people 100%").version == "1"


def test_without_a_sweep_of_this_machine_last_is_said_to_be_none(zoo: Zoo, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SWEEPROUTE_STATE", str(tmp_path))
    with pytest.raises(NoSuchSweepError, match="No sweep was started here yet"):
        promote("last", "named")


def test_the_alias_moves_to_who_is_significantly_better_and_both_are_told(zoo: Zoo, better: Run) -> None:
    promote(zoo.run("GLM").info.run_id, "contested")
    found = promote(better.info.run_id, "contested")
    assert (found.version, found.holds, found.made) == ("2", True, True)
    (said,) = found.said
    told = re.fullmatch(
        r"Version 2 and version 1 have Brier scores of ([\d.]+) and ([\d.]+) on (\d+) games of (\d+) weeks, a "
        r"difference of (-[\d.]+) \(95 % (-[\d.]+) to (-[\d.]+), p = [\d.e-]+\)\.",
        said,
    )
    assert told, said
    games = pd.read_parquet(zoo.client.download_artifacts(better.info.run_id, "predictions.parquet"))
    mine, theirs, n, weeks, apart, low, high = map(float, told.groups())
    assert mine == pytest.approx(((games["probability"] - games["outcome"]) ** 2).mean(), abs=1e-4)
    assert theirs == pytest.approx(zoo.run("GLM").data.metrics["brier"], abs=1e-4)
    assert (n, weeks) == (len(games), len(games.drop_duplicates(["season", "week"])))
    assert low < apart < high < 0
    assert aliases(zoo, "contested") == {"champion": "2"}
    assert re.fullmatch(r"2\d{3}-.*\+00:00 to version 2", tags(zoo, "contested", "1")["sweeproute.lost.champion"])
    assert tags(zoo, "contested", "2")["sweeproute.replaced.champion"] == "1"
    assert "sweeproute.forced.champion" not in tags(zoo, "contested", "2")


def test_the_alias_stays_where_the_challenger_is_not_better_unless_it_is_forced(zoo: Zoo, worse: Run) -> None:
    promote(zoo.run("GLM").info.run_id, "kept")
    done = command(zoo, worse.info.run_id, "--name", "kept")
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("kept version 2 is not champion.\nVersion 2 and version 1 have Brier scores of ")
    assert "which is not significantly better" in done.stdout
    assert "--force moves the alias all the same" in done.stdout
    assert aliases(zoo, "kept") == {"champion": "1"}
    assert "sweeproute.lost.champion" not in tags(zoo, "kept", "1")
    # Another alias is free.
    assert promote(worse.info.run_id, "kept", "challenger").holds
    assert aliases(zoo, "kept") == {"champion": "1", "challenger": "2"}

    forced = promote(worse.info.run_id, "kept", force=True)
    assert (forced.version, forced.holds, forced.made) == ("2", True, False)
    assert aliases(zoo, "kept")["champion"] == "2"
    told = tags(zoo, "kept", "2")["sweeproute.forced.champion"]
    assert forced.said[0] in told
    assert forced.said[1] == "It is champion by --force, which its tags and its description say."
    description = zoo.client.get_model_version("kept", "2").description
    assert f"Made champion by --force at {told.partition(' ')[0]}" in description
    assert description.startswith("# kept: GLM")
    assert tags(zoo, "kept", "1")["sweeproute.lost.champion"].endswith(" to version 2")
    # The first takes it back: it is better by little, and in every week.
    back = promote(zoo.run("GLM").info.run_id, "kept")
    assert (back.version, back.holds, back.made) == ("1", True, False)
    assert aliases(zoo, "kept")["champion"] == "1"
    assert tags(zoo, "kept", "2")["sweeproute.lost.champion"].endswith(" to version 1")
    assert "sweeproute.lost.champion" not in tags(zoo, "kept", "1"), "it has it again"
    # Forced once more, both times are told; and who has it needs nobody that was before.
    promote(worse.info.run_id, "kept", force=True)
    assert len(tags(zoo, "kept", "2")["sweeproute.forced.champion"].splitlines()) == 2
    zoo.client.delete_model_version("kept", "1")
    once_more = promote(worse.info.run_id, "kept")
    assert (once_more.version, once_more.holds, once_more.made) == ("2", True, False)


def test_the_same_model_run_again_takes_the_alias(zoo: Zoo) -> None:
    first = zoo.run("XGBoost")
    again = copied(zoo, first, tags={"sweeproute.fingerprint": "other"})
    elsewhere = copied(
        zoo,
        first,
        says=lambda games: games["probability"] * (1 + 1e-9),
        # Made from the same games with other features: that compares.
        tags={"sweeproute.fingerprint": "other", "sweeproute.data_hash": "7" * 64},
    )
    promote(first.info.run_id, "same")
    assert promote(again.info.run_id, "same").said == ("Version 2 and version 1 say the same of every game.",)
    (said,) = promote(elsewhere.info.run_id, "same").said
    assert said == "Version 3 and version 2 are the same model, of the same fingerprint."
    assert aliases(zoo, "same") == {"champion": "3"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tags": {"sweeproute.games_hash": "7" * 64}}, r"tested on other data: 777777777777 and [0-9a-f]{12}"),
        ({"tags": {"sweeproute.set": "holdout"}}, r"tested on other seasons: holdout and selection"),
        (
            {"says": lambda games: games["probability"], "drop": 7},
            r"tested on other games: \d+ and \d+, \d+ of them the same",
        ),
    ],
)
def test_what_was_tested_on_something_else_is_not_compared_unless_it_is_forced(zoo: Zoo, changes, said) -> None:
    dropped = changes.pop("drop", 0)
    run = copied(zoo, zoo.run("GLM"), **changes)
    if dropped:
        path = zoo.folder / run.info.run_id / "predictions.parquet"
        pd.read_parquet(path).iloc[dropped:].to_parquet(path, index=False)
        zoo.client.log_artifact(run.info.run_id, str(path))
    name = f"other-{run.info.run_id[:6]}"
    promote(zoo.run("GLM").info.run_id, name)
    found = promote(run.info.run_id, name)
    assert not found.holds
    assert re.search(said, found.said[0]), found.said
    assert promote(run.info.run_id, name, force=True).holds
    assert re.search(said, tags(zoo, name, "2")["sweeproute.forced.champion"])


def test_a_champion_that_is_not_of_a_trial_is_not_compared(zoo: Zoo, better: Run) -> None:
    client = zoo.client
    alien = client.create_run(zoo.run("GLM").info.experiment_id)
    client.create_registered_model("alien")
    client.create_model_version("alien", alien.info.artifact_uri, alien.info.run_id)
    client.set_registered_model_alias("alien", "champion", "1")
    found = promote(better.info.run_id, "alien")
    assert not found.holds
    assert f"the champion's run {alien.info.run_id} has no predictions.parquet" in found.said[0]


class Killed(BaseException):
    """What stops a promotion on its way, where a kill would."""


VERBS = (
    "create_logged_model",
    "log_model_artifacts",
    "log_outputs",
    "finalize_logged_model",
    "create_registered_model",
    "create_model_version",
    "set_model_version_tag",
    "set_registered_model_alias",
)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("verb", VERBS)
def test_what_a_killed_promotion_has_left_is_gone_on_with(zoo: Zoo, better: Run, monkeypatch, verb, after) -> None:
    name = f"killed-{verb}-{after}".lower().replace("_", "-")
    registers = verb == "create_registered_model"
    if not registers:
        promote(zoo.run("GLM").info.run_id, name)
    count = len(zoo.client.search_logged_models(zoo.experiments(), f"name = '{name}'"))
    whole = getattr(MlflowClient, verb)

    def cut(self: MlflowClient, *words: Any, **more: Any) -> None:
        if after:
            whole(self, *words, **more)
        raise Killed

    with monkeypatch.context() as cutting:
        cutting.setattr(MlflowClient, verb, cut)
        with pytest.raises(Killed):
            promote(better.info.run_id, name)
    found = promote(better.info.run_id, name)
    number = "1" if registers else "2"
    assert (found.version, found.holds) == (number, True)
    assert len(zoo.client.search_model_versions(f"name = '{name}'")) == int(number)
    logged = zoo.client.search_logged_models(zoo.experiments(), f"name = '{name}'")
    assert [one.status for one in logged] == [LoggedModelStatus.READY] * (count + 1)
    assert aliases(zoo, name) == {"champion": number}
    if not registers:
        assert tags(zoo, name, "1")["sweeproute.lost.champion"].endswith(" to version 2")
    assert len(mlflow.pyfunc.load_model(f"models:/{name}@champion").predict(zoo.played(2019))) > 200


def test_a_store_that_refuses_says_so_in_a_sentence(zoo: Zoo, better: Run, monkeypatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise mlflow.MlflowException("the disk is full\nand more of that")

    monkeypatch.setattr(MlflowClient, "create_model_version", refuse)
    with pytest.raises(PromotionError, match=r"does not do it: the disk is full The same command goes on from here\."):
        promote(better.info.run_id, "refusing")
    assert version_of(zoo.client, "refusing", better.info.run_id) is None


def test_a_challenger_of_no_probabilities_is_never_asked(zoo: Zoo, better: Run, tmp_path: Path) -> None:
    silent = copied(zoo, zoo.run("GLM"), says=lambda games: games["probability"] * np.nan)
    client = zoo.client
    client.create_registered_model("silent")
    made = client.create_model_version("silent", silent.info.artifact_uri, silent.info.run_id)

    class Of:
        tags = better.data.tags
        games = pd.read_parquet(client.download_artifacts(better.info.run_id, "predictions.parquet"))

    found = contest(client, made, Of, tmp_path)  # type: ignore[arg-type]
    assert (found.won, found.said) == (False, "cannot be compared, since the champion gives no probabilities")


@pytest.fixture
def served(zoo: Zoo) -> Iterator[Callable[[str], Any]]:
    """A model of the registry behind `mlflow models serve`; asks one of its doors."""
    promote(zoo.run("XGBoost").info.run_id, "served")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    words = ["-m", "models:/served@champion", "--env-manager", "local", "--port", port, "--workers", "1"]
    # The server is started by its name, which stands beside this Python.
    environment = os.environ | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    log = zoo.folder / "served.log"
    with log.open("w") as told:
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "models", "serve", *words],
            cwd=zoo.folder,
            env=environment,
            stdout=told,
            stderr=told,
            start_new_session=True,
        )

        def ask(door: str, body: bytes | None = None) -> bytes:
            headers = {"Content-Type": "application/json"}
            request = urllib.request.Request(f"http://127.0.0.1:{port}{door}", body, headers)
            with urllib.request.urlopen(request, timeout=20) as answer:
                found: bytes = answer.read()
                return found

        def ready() -> bool:
            assert server.poll() is None, log.read_text()
            try:
                ask("/ping")
            except (urllib.error.URLError, ConnectionError):
                return False
            return True

        try:
            until(ready, "the server", within_s=120)
            yield ask
        finally:
            os.killpg(server.pid, 15)
            server.wait(timeout=20)


def test_mlflow_serves_a_promoted_model_and_it_says_the_same(zoo: Zoo, served: Callable[..., bytes]) -> None:
    version = zoo.client.get_model_version_by_alias("served", "champion")
    example = Path(version.source.removeprefix("file://"), "serving_input_example.json")
    answer = json.loads(served("/invocations", example.read_bytes()))["predictions"]
    games = zoo.played(2019)
    expected = mlflow.pyfunc.load_model("models:/served@champion").predict(games)["probability"]
    assert [one["probability"] for one in answer] == expected[:5].tolist()
    # What is not known may be left out of a game, as in the data.
    split = json.loads(example.read_text())["dataframe_split"]
    split["data"] = [[None, *game[1:]] for game in split["data"]]
    unknown = json.loads(served("/invocations", json.dumps({"dataframe_split": split}).encode()))["predictions"]
    names = games.columns[0]
    told = mlflow.pyfunc.load_model("models:/served@champion").predict(games.assign(**{names: np.nan}))["probability"]
    assert [one["probability"] for one in unknown] == told[:5].tolist()
