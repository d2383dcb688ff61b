"""Tests of the logistic regression by R: against scikit-learn's, against the textbook, and where R or data fail it."""

import re
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from omegaconf import DictConfig
from scipy import stats
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import r_here
from small_trial import compose
from sweeproute import data
from sweeproute.betting import BettingRule
from sweeproute.config import plain
from sweeproute.estimators import ModelError, build, check_parameters, load, save
from sweeproute.evaluation import evaluate
from sweeproute.models import r_process
from sweeproute.models.r_glm import RGlm
from sweeproute.validation import walk_forward

FEATURES = np.random.default_rng(3).normal(size=(400, 3))
OUTCOME = (FEATURES @ [1.0, -0.5, 0.0] + np.random.default_rng(4).logistic(size=400) > 0.3).astype(np.int8)


@pytest.fixture
def with_r() -> None:
    r_here.or_skip()


@pytest.fixture
def without_r(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


def unpenalised(**settings: Any) -> LogisticRegression:
    return LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-10, max_iter=1000, **settings)


def standardised(last: Any) -> Any:
    return make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler(), last)


def probability(model: Any, features: NDArray[np.float64] = FEATURES) -> NDArray[np.float64]:
    return model.predict_proba(features)[:, 1]


@pytest.mark.usefixtures("with_r")
def test_on_the_folds_of_the_league_it_says_what_scikit_learn_says_without_a_penalty() -> None:
    config = compose("model=glm_r")
    games = data.load(plain(config.data))
    folds = walk_forward(
        games.season,
        games.kickoff,
        window="expanding",
        window_seasons=None,
        first_test_season=2008,
        gap_seasons=0,
        calibration_seasons=0,
        selection_seasons=(2013, 2016),
    )
    ours = evaluate(lambda: build(config.model), games, folds, BettingRule())
    theirs = evaluate(lambda: standardised(unpenalised()), games, folds, BettingRule())
    difference = np.abs(ours.predictions["probability"] - theirs.predictions["probability"])
    assert len(difference) > 1000
    assert difference.max() < 1e-6
    assert ours.metrics["auc"] == pytest.approx(theirs.metrics["auc"], abs=1e-6)


@pytest.mark.usefixtures("with_r")
def test_features_that_determine_each_other_up_to_rounding_are_named_with_the_seasons() -> None:
    """Of the league's own features, strength is the sum of attack and defence."""
    config = compose("model=glm_r")
    games = data.load(plain(config.data))
    played = games.season < 2010
    model = build(config.model).fit(games.features.to_numpy()[played], games.outcome[played])
    (said,) = model[-1].warnings(list(games.features.columns))
    assert said.startswith("strength, attack, defence determine each other up to rounding: ")


@pytest.mark.usefixtures("with_r")
def test_estimates_errors_z_and_p_are_those_of_the_textbook() -> None:
    table = RGlm(epsilon=1e-12).fit(FEATURES, OUTCOME).coefficients(["elo", "rest", "form"])
    assert list(table.index) == ["(Intercept)", "elo", "rest", "form"]
    design = np.column_stack([np.ones(len(FEATURES)), FEATURES])
    fitted = probability(unpenalised().fit(FEATURES, OUTCOME))
    information = design.T @ (design * (fitted * (1 - fitted))[:, np.newaxis])
    assert table["std_error"].to_numpy() == pytest.approx(np.sqrt(np.diag(np.linalg.inv(information))), rel=1e-6)
    assert table["z"].to_numpy() == pytest.approx(table["estimate"] / table["std_error"], rel=1e-12)
    assert table["p"].to_numpy() == pytest.approx(2 * stats.norm.sf(np.abs(table["z"])), rel=1e-9)
    # Not standardised, the score is zero at the maximum all the same.
    assert np.abs(design.T @ (OUTCOME - fitted)).max() < 1e-6


@pytest.mark.usefixtures("with_r")
def test_columns_that_others_determine_count_as_zero_and_are_named() -> None:
    wide = np.column_stack([FEATURES, FEATURES[:, 0], np.zeros(len(FEATURES))])
    model = RGlm().fit(wide, OUTCOME)
    assert model.coef_[0, 3:].tolist() == [0.0, 0.0]
    assert np.isnan(model.coefficients_.loc[["x4", "x5"], "estimate"]).all()
    assert model.warnings(["a", "b", "c", "again", "empty"]) == [
        "R's glm gives no estimate for again, empty: others determine them, and they count as 0."
    ]
    # The solver for such columns; both maximise the same likelihood.
    theirs = LogisticRegression(C=np.inf, solver="lbfgs", tol=1e-10, max_iter=1000).fit(wide, OUTCOME)
    assert probability(model, wide) == pytest.approx(probability(theirs, wide), abs=1e-6)


@pytest.mark.usefixtures("with_r")
def test_features_that_separate_the_outcomes_are_said_in_a_sentence() -> None:
    won = (FEATURES[:, 0] > 0).astype(np.int8)
    model = RGlm().fit(FEATURES, won)
    answer = model.predict_proba(FEATURES)
    assert ((answer >= 0) & (answer <= 1)).all()
    assert (model.predict(FEATURES) == won).all()
    certain = [said for said in warned(model) if re.search(r"certain of \d+ of 400 training games: features sep", said)]
    assert len(certain) == 1


@pytest.mark.usefixtures("with_r")
def test_a_fit_that_does_not_converge_is_said_in_a_sentence() -> None:
    (said,) = warned(RGlm(max_iter=1).fit(FEATURES, OUTCOME))
    assert said == "R's glm did not converge in 1 steps; raise model.params.max_iter, or leave features out."
    assert warned(RGlm().fit(FEATURES, OUTCOME)) == []


def warned(model: RGlm) -> list[str]:
    return model.warnings([])


@pytest.mark.usefixtures("with_r")
def test_what_was_learned_comes_back_from_its_file_and_predicts_without_r(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = standardised(RGlm()).fit(FEATURES, OUTCOME)
    save(model, tmp_path)
    monkeypatch.setenv("PATH", "")
    again = load(tmp_path)
    assert again.predict_proba(FEATURES).tobytes() == model.predict_proba(FEATURES).tobytes()
    assert again[-1].coefficients_.equals(model[-1].coefficients_)
    assert again[-1].engine_ == model[-1].engine_


@pytest.mark.usefixtures("with_r")
def test_blanks_and_quotes_in_the_temporary_folder_hurt_nothing_and_nothing_is_left_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / 'it\'s "mine" $HOME'
    folder.mkdir()
    before = RGlm().fit(FEATURES, OUTCOME)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    r_process._versions.cache_clear()
    assert RGlm().fit(FEATURES, OUTCOME).table_.tobytes() == before.table_.tobytes()
    assert list(folder.iterdir()) == []


@pytest.mark.usefixtures("with_r")
def test_a_persons_profile_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".Rprofile").write_text("stop('the profile was read')\n")
    before = RGlm().fit(FEATURES, OUTCOME)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("R_PROFILE", str(tmp_path / ".Rprofile"))
    assert RGlm().fit(FEATURES, OUTCOME).table_.tobytes() == before.table_.tobytes()


@pytest.mark.usefixtures("with_r")
def test_two_fits_at_once_do_not_meet() -> None:
    halves = [(FEATURES[:200], OUTCOME[:200]), (FEATURES[200:], OUTCOME[200:])]
    alone = [RGlm().fit(*half).table_.tobytes() for half in halves]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda half: RGlm().fit(*half).table_.tobytes(), halves))
    assert together == alone
    assert alone[0] != alone[1]


@pytest.mark.usefixtures("with_r")
def test_by_tidymodels_it_learns_bitwise_the_same() -> None:
    r_here.tidymodels_or_skip()
    theirs, ours = (RGlm(engine=engine).fit(FEATURES, OUTCOME) for engine in ("tidymodels", "stats"))
    assert theirs.table_.tobytes() == ours.table_.tobytes()
    assert theirs.engine_.startswith("parsnip ")
    assert ours.engine_.startswith("stats::glm, R ")
    assert RGlm().fit(FEATURES, OUTCOME).engine_ == theirs.engine_


@pytest.mark.usefixtures("with_r")
def test_tidymodels_that_is_not_there_is_answered_with_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("R_LIBS", str(tmp_path))
    monkeypatch.setenv("R_LIBS_USER", str(tmp_path))
    r_process._versions.cache_clear()
    lacks = [name for name in r_process.TIDYMODELS if name not in r_process.versions()]
    if not lacks:
        pytest.skip("R has tidymodels in its site library")
    with pytest.raises(
        ModelError, match=r'needs R\'s .* in R, install.packages\(c\("parsnip", "workflows"\)\), or use'
    ):
        RGlm(engine="tidymodels").fit(FEATURES, OUTCOME)
    assert RGlm().fit(FEATURES, OUTCOME).engine_ == f"stats::glm, R {r_process.versions()['R']}"
    r_process._versions.cache_clear()


@pytest.mark.usefixtures("without_r")
def test_without_r_the_sentence_says_how_to_install_it() -> None:
    with pytest.raises(ModelError, match=r"^model=glm_r needs R, and there is no Rscript on its PATH: ") as refused:
        RGlm().fit(FEATURES, OUTCOME)
    for command in ("brew install r", "apt-get install r-base-core", "conda install -c conda-forge r-base"):
        assert command in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_r_that_fails_is_quoted_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rscript = tmp_path / "Rscript"
    rscript.write_text("#!/bin/sh\necho 'Error in eval(x) :\n  object not found' >&2\nexit 1\n")
    rscript.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(ModelError, match=r"^R ended with an error: Error in eval\(x\) : object not found\. Run "):
        RGlm().fit(FEATURES, OUTCOME)


@pytest.mark.usefixtures("with_r")
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"max_iter": 0}, "model.params.max_iter=0"),
        ({"epsilon": 0.0}, "model.params.epsilon=0.0"),
        ({"engine": "python"}, "engine=python is not known; it takes auto, tidymodels or stats"),
    ],
)
def test_what_it_cannot_take_is_named(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        RGlm(**settings).fit(FEATURES, OUTCOME)


def test_a_third_outcome_is_refused() -> None:
    with pytest.raises(ModelError, match="two outcomes here, and the games have 3"):
        RGlm().fit(FEATURES[:3], [0, 1, 2])


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("+model.params.maxit=50", "maxit is no parameter of sweeproute.models.r_glm.RGlm; did you mean max_iter"),
        ("model.params.engine=tidymodel", "engine=tidymodel is not known; did you mean tidymodels"),
        ("model.params.max_iter=many", "max_iter=many has type str; sweeproute.models.r_glm.RGlm takes int here"),
        ("model.params.epsilon=null", "takes float here"),
    ],
)
def test_its_parameters_are_checked_by_name_before_anything_runs(override: str, words: str) -> None:
    config: DictConfig = compose("model=glm_r", override)
    with pytest.raises(ModelError, match=words):
        check_parameters(config.model)
