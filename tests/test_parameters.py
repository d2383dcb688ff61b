"""Tests of the check of a model's parameters against its library."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from sweeproute.estimators import ModelError, check_axes, check_parameters, parameters
from sweeproute.estimators.signatures import read_signature

TARGETS = {
    "XGBoost": "xgboost.XGBClassifier",
    "LightGBM": "lightgbm.LGBMClassifier",
    "GLM": "sklearn.linear_model.LogisticRegression",
    "RandomForest": "sklearn.ensemble.RandomForestClassifier",
}


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of our own, so that the lists are made once per module, from the installed versions."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWEEPROUTE_CACHE", str(folder))
        parameters._signature.cache_clear()
        yield folder / "parameters"
    parameters._signature.cache_clear()


def model(type: str, **params: Any) -> DictConfig:
    return OmegaConf.create({"type": type, "params": {"_target_": TARGETS.get(type, type), **params}})


@pytest.mark.parametrize(
    ("type", "params", "words"),
    [
        ("XGBoost", {"max_dept": 3}, r"max_dept is no parameter of xgboost.XGBClassifier; did you mean max_depth"),
        ("XGBoost", {"lerning_rate": 0.1}, "did you mean learning_rate"),
        ("LightGBM", {"num_leafs": 3}, "num_leaves"),
        ("GLM", {"Cs": 1.0}, "Cs is no parameter of sklearn.linear_model.LogisticRegression"),
        ("RandomForest", {"max_feature": 0.1}, "did you mean max_features"),
        ("GLM", {"zzz": 1}, "it takes penalty, C, "),
    ],
)
def test_a_misspelt_name_is_answered_with_the_nearest(type: str, params: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        check_parameters(model(type, **params))


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"tree_method": "gpu_hist"}, "tree_method=gpu_hist is outdated; use .*tree_method=hist with device=cuda"),
        ({"updater": "grow_gpu_hist"}, "tree_method=hist with device=cuda"),
        ({"gpu_id": 1}, "gpu_id=1 is outdated; leave it out and use device=cuda, or device=cuda:1"),
        ({"predictor": "gpu_predictor"}, "predictor=gpu_predictor is outdated; leave it out"),
        ({"use_label_encoder": False}, "use_label_encoder=False is outdated; leave it out"),
        ({"n_gpus": 2}, "n_gpus=2 is outdated; leave it out"),
    ],
)
def test_an_outdated_parameter_is_answered_with_the_cure(params: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        check_parameters(model("XGBoost", **params))


@pytest.mark.parametrize(
    ("type", "params", "words"),
    [
        ("XGBoost", {"max_depth": "deep"}, "max_depth=deep has type str; xgboost.XGBClassifier takes int or null"),
        ("XGBoost", {"max_depth": 3.5}, "max_depth=3.5 has type float"),
        ("LightGBM", {"num_leaves": "x"}, "takes int here"),
        ("RandomForest", {"n_estimators": None}, "n_estimators=null has type null"),
        ("RandomForest", {"max_features": "auto"}, "max_features=auto is not known; .* takes log2 or sqrt"),
        ("GLM", {"solver": "lbfg"}, "did you mean lbfgs"),
        ("GLM", {"fit_intercept": "yes"}, "takes bool here"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named(type: str, params: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        check_parameters(model(type, **params))


@pytest.mark.parametrize(
    ("type", "params"),
    [
        ("XGBoost", {"eta": 0.1, "lambda": 1, "rate_drop": 0.1, "top_k": 3, "eval_metric": "auc", "reg_alpha": 1}),
        ("XGBoost", {"random_state": 1, "n_jobs": None, "monotone_constraints": {"elo": 1}, "device": "cuda:0"}),
        (
            "LightGBM",
            {"min_data_in_leaf": 5, "bagging_fraction": 0.5, "deterministic": True, "class_weight": "balanced"},
        ),
        ("GLM", {"C": 1, "class_weight": {0: 1, 1: 2}, "random_state": "${seed}"}),
        ("RandomForest", {"max_features": "sqrt", "max_samples": None, "criterion": "entropy", "_convert_": "all"}),
    ],
)
def test_documented_parameters_pass(type: str, params: dict[str, Any]) -> None:
    check_parameters(model(type, **params))


def test_every_name_read_from_xgboost_is_one_that_xgboost_uses() -> None:
    import warnings

    import numpy as np
    import xgboost

    constructor = set(xgboost.XGBClassifier().get_params())
    native = set(parameters._signature(TARGETS["XGBoost"]).names) - constructor
    assert {"eta", "lambda", "alpha", "rate_drop", "min_split_loss"} <= native
    matrix = xgboost.DMatrix(np.eye(2), label=[0, 1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        xgboost.train({"eta": 0.1, "lambda": 1, "alpha": 0, "min_split_loss": 0, "seed": 1, "nthread": 1}, matrix, 1)


def test_an_interpolation_is_checked_by_what_it_resolves_to() -> None:
    params = {"_target_": TARGETS["XGBoost"], "n_jobs": "${threads}"}
    root = OmegaConf.create({"threads": "many", "model": {"type": "XGBoost", "params": params}})
    with pytest.raises(ModelError, match="n_jobs=many has type str"):
        check_parameters(root.model)


def test_a_class_that_is_not_there_is_answered_with_the_nearest() -> None:
    with pytest.raises(ModelError, match=r"did you mean sklearn.linear_model.LogisticRegression"):
        check_parameters(model("sklearn.linear_model.LogisticRegresion", C=1))
    with pytest.raises(ModelError, match="cannot be imported"):
        check_parameters(model("no_such_package.Model", C=1))


def test_a_model_without_a_class_is_named() -> None:
    with pytest.raises(ModelError, match=r"model.type=GLM names no class; add _target_"):
        check_parameters(OmegaConf.create({"type": "GLM", "params": {}}))


def test_a_missing_value_is_named() -> None:
    with pytest.raises(ModelError, match=r"model.params.C is \?\?\?"):
        check_parameters(model("GLM", C="???"))


def test_an_axis_that_the_model_has_passes() -> None:
    node = model("XGBoost", max_depth=3)
    check_axes(node, {"model.params.max_depth": [3, 5], "seed": [1, 2]})
    check_axes(node, {"model.params.max_depth": "range(3,6)"})
    check_axes(node, {"model.params.max_depth": 4})


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ({"model.params.max_depht": [3]}, "max_depht is no parameter of xgboost.XGBClassifier; did you mean max_depth"),
        ({"model.params.gamma": [0, 1]}, "axis model.params.gamma.*model.type=XGBoost does not set"),
        ({"model.params.max_depth": [3, "deep"]}, "max_depth=deep has type str"),
        ({"model.params.tree_method": ["hist", "gpu_hist"]}, "tree_method=gpu_hist is outdated"),
        ({"model.params.max_dept": "range(3,6)"}, "did you mean max_depth"),
    ],
)
def test_an_axis_that_the_model_lacks_is_named(axes: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        check_axes(model("XGBoost", max_depth=3, tree_method="hist"), axes)


def test_a_cached_list_spares_the_import(cache: Path) -> None:
    check_parameters(model("XGBoost", max_depth=3))
    script = (
        "import sys; from omegaconf import OmegaConf; from sweeproute.estimators import check_parameters;"
        "params = {'_target_': 'xgboost.XGBClassifier', 'max_depth': 3};"
        "check_parameters(OmegaConf.create({'type': 'XGBoost', 'params': params}));"
        "print([name for name in ('xgboost', 'sklearn', 'pandas') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
    assert len(list(cache.glob("xgboost.XGBClassifier-*.json"))) == 1


def test_a_class_of_this_project_is_listed_by_its_source_and_is_not_imported_again(cache: Path) -> None:
    target = "sweeproute.models.r_glm.RGlm"
    node = {"type": "GLM_R", "params": {"_target_": target, "max_iter": 5, "engine": "stats"}}
    check_parameters(OmegaConf.create(node))
    (file,) = cache.glob(f"{target}-*.json")
    assert json.loads(file.read_text(encoding="utf-8")) == {
        "names": ["engine", "max_iter", "epsilon"],
        "kinds": {"engine": ["str"], "max_iter": ["int"], "epsilon": ["float"]},
        "options": {"engine": ["auto", "stats", "tidymodels"]},
        "ranges": {},
    }
    script = (
        "import sys; from omegaconf import OmegaConf; from sweeproute.estimators import check_parameters;"
        f"check_parameters(OmegaConf.create({node!r}));"
        "print([name for name in ('sklearn', 'sweeproute.models.r_glm') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_a_cache_cut_short_is_made_anew(cache: Path) -> None:
    check_parameters(model("GLM", C=1.0))
    (file,) = cache.glob("sklearn.linear_model.LogisticRegression-*.json")
    whole = file.read_text(encoding="utf-8")
    file.write_text(whole[:20], encoding="utf-8")
    parameters._signature.cache_clear()
    check_parameters(model("GLM", C=1.0))
    assert json.loads(file.read_text(encoding="utf-8")) == json.loads(whole)


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("SWEEPROUTE_CACHE", str(tmp_path / "file"))
    parameters._signature.cache_clear()
    check_parameters(model("GLM", C=1.0))
    parameters._signature.cache_clear()


def test_a_class_of_the_users_own_is_read_from_its_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_model_of_a_user.py").write_text(
        "class Own:\n    def __init__(self, depth=1): ...\nclass Any:\n    def __init__(self, **settings): ...\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModelError, match="did you mean depth"):
        check_parameters(model("own_model_of_a_user.Own", dept=2))
    check_parameters(model("own_model_of_a_user.Any", anything=2))


def test_a_signature_says_what_a_parameter_takes() -> None:
    from sklearn.ensemble import RandomForestClassifier

    signature = read_signature(RandomForestClassifier)
    assert signature.kinds["n_estimators"] == ["int"]
    assert signature.options["criterion"] == ["entropy", "gini", "log_loss"]
    assert "random_state" not in signature.kinds
