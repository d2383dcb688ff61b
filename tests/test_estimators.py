"""Tests of building estimators, of their device, and of their files."""

import ctypes
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from omegaconf import DictConfig, OmegaConf
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sweeproute.estimators import ModelError, build, device_name, load, predict_on_one_thread, save, settle_device
from sweeproute.estimators import device as device_module

GENERATOR = np.random.default_rng(1)
FEATURES = GENERATOR.normal(size=(200, 4))
OUTCOME = (FEATURES[:, 0] > 0).astype(np.int8)


def model(**settings) -> DictConfig:
    node = {"type": "GLM", "params": {"_target_": "sklearn.linear_model.LogisticRegression"}, "estimator": None}
    return OmegaConf.create({"seed": 5, "model": node | settings}).model


def test_the_parameters_are_the_estimator_unless_one_is_given() -> None:
    assert isinstance(build(model()), LogisticRegression)


def test_a_pipeline_takes_the_parameters_in_and_the_seed_from_the_root() -> None:
    params = {"_target_": "sklearn.linear_model.LogisticRegression", "random_state": "${seed}"}
    scaler = {"_target_": "sklearn.preprocessing.StandardScaler"}
    pipeline = {"_target_": "sklearn.pipeline.make_pipeline", "_args_": [scaler, "${model.params}"]}
    built = build(model(params=params, estimator=pipeline))
    assert [name for name, _ in built.steps] == ["standardscaler", "logisticregression"]
    assert built.steps[-1][1].random_state == 5


def test_lists_and_mappings_arrive_as_plain_ones() -> None:
    params = {"_target_": "sklearn.linear_model.LogisticRegression", "class_weight": {0: 1.0, 1: 2.0}}
    assert type(build(model(params=params)).class_weight) is dict


def test_what_cannot_be_built_says_why_in_one_line() -> None:
    params = {"_target_": "sklearn.linear_model.LogisticRegression", "c": 1}
    with pytest.raises(
        ModelError, match=r"model.type=GLM cannot be built: .*unexpected keyword argument 'c'.*"
    ) as error:
        build(model(params=params))
    assert "\n" not in str(error.value)


def test_a_forest_fits_on_many_threads_and_predicts_on_one() -> None:
    forest = RandomForestClassifier(5, n_jobs=2)
    predict_on_one_thread(forest)
    assert forest.n_jobs == 1


def test_a_forest_inside_a_pipeline_predicts_on_one_thread() -> None:
    pipeline = make_pipeline(StandardScaler(), RandomForestClassifier(5, n_jobs=2))
    predict_on_one_thread(pipeline)
    assert pipeline.steps[-1][1].n_jobs == 1


def test_other_estimators_are_left_alone() -> None:
    linear = LogisticRegression(verbose=2)
    predict_on_one_thread(linear)
    predict_on_one_thread(object())
    assert linear.get_params() == LogisticRegression(verbose=2).get_params()


@pytest.mark.parametrize("device", ["cpu", "cuda", "cuda:1"])
def test_a_device_that_is_asked_for_is_taken(device: str) -> None:
    assert settle_device(device) == device


def test_an_unknown_device_is_named() -> None:
    with pytest.raises(ModelError, match="device=gpu is not known; use auto, cpu, cuda, cuda:N or mps"):
        settle_device("gpu")


@pytest.mark.parametrize("hidden", ["", " ", "-1"])
def test_hidden_gpus_are_not_used(hidden: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_module, "_nvml_names", lambda: ["NVIDIA GeForce RTX 4090"])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert settle_device("auto") == "cpu"


def test_a_visible_gpu_is_used_where_cuda_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(device_module, "_nvml_names", lambda: ["NVIDIA GeForce RTX 4090"])
    monkeypatch.setattr(sys, "platform", "linux")
    assert settle_device("auto") == "cuda"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert settle_device("auto") == "cpu"


def test_a_gpu_is_named_by_its_model_since_other_models_give_other_last_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    models: list[str] = []
    monkeypatch.setattr(device_module, "_nvml_names", lambda: models)
    assert device_name("cuda:1") == "cuda:1"
    models += ["NVIDIA GeForce RTX 4090"]
    assert device_name("cpu") == "cpu"
    assert device_name("cuda") == device_name("cuda:0") == "cuda (NVIDIA GeForce RTX 4090)"
    models += ["NVIDIA A100", "NVIDIA GeForce RTX 4090"]
    assert device_name("cuda") == "cuda (NVIDIA A100 + NVIDIA GeForce RTX 4090)"


def test_the_drivers_library_is_asked_for_each_gpus_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs a C compiler on Linux, to stand in for the driver's library")
    source, library = tmp_path / "nvml.c", tmp_path / "libnvidia-ml.so.1"
    source.write_text(
        "#include <stdio.h>\n"
        "int nvmlInit_v2(void) { return 0; }\n"
        "int nvmlShutdown(void) { return 0; }\n"
        "int nvmlDeviceGetCount_v2(unsigned *count) { *count = 2; return 0; }\n"
        "int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle)"
        " { *handle = (void *)(0x100000000ul + index); return 0; }\n"
        "int nvmlDeviceGetName(void *handle, char *name, unsigned size)"
        ' { snprintf(name, size, "GPU %lu", (unsigned long)handle - 0x100000000ul); return 0; }\n'
    )
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    real = ctypes.CDLL
    monkeypatch.setattr(ctypes, "CDLL", lambda name: real(str(tmp_path / name)))
    assert device_module._nvml_names() == ["GPU 0", "GPU 1"]


def test_the_device_is_settled_without_a_heavy_import() -> None:
    script = (
        "import sys; from sweeproute.estimators import settle_device; settle_device('auto');"
        "print([name for name in ('torch', 'xgboost', 'sklearn', 'pandas', 'mlflow') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


@pytest.mark.parametrize("library", ["xgboost", "lightgbm"])
def test_boosted_trees_inside_a_pipeline_come_back_bitwise_the_same(library: str, tmp_path: Path) -> None:
    if library == "xgboost":
        from xgboost import XGBClassifier

        last = XGBClassifier(n_estimators=5, n_jobs=1)
    else:
        from lightgbm import LGBMClassifier

        last = LGBMClassifier(n_estimators=5, n_jobs=1, verbosity=-1)
    pipeline = make_pipeline(StandardScaler(), last).fit(FEATURES, OUTCOME)
    save(pipeline, tmp_path)
    assert load(tmp_path).predict_proba(FEATURES).tobytes() == pipeline.predict_proba(FEATURES).tobytes()


def test_saving_again_replaces_the_model(tmp_path: Path) -> None:
    save(LogisticRegression().fit(FEATURES, OUTCOME), tmp_path)
    second = GaussianNB().fit(FEATURES, OUTCOME)
    save(second, tmp_path)
    assert load(tmp_path).predict_proba(FEATURES).tobytes() == second.predict_proba(FEATURES).tobytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "model.skops"]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_model_that_would_not_be_read_again_is_refused_when_it_is_saved(tmp_path: Path) -> None:
    network = MLPClassifier((2,), max_iter=1).fit(FEATURES, OUTCOME)
    with pytest.raises(ModelError, match=r"MLPClassifier holds sklearn.neural_network.*AdamOptimizer"):
        save(network, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_file_with_strange_types_is_not_loaded(tmp_path: Path) -> None:
    from skops import io

    network = MLPClassifier((2,), max_iter=1).fit(FEATURES, OUTCOME)
    save(LogisticRegression().fit(FEATURES, OUTCOME), tmp_path)
    io.dump(network, tmp_path / "model.skops")
    with pytest.raises(ModelError, match="names types that are not trusted"):
        load(tmp_path)


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"{tmp_path} holds no saved model"):
        load(tmp_path)


def test_an_unknown_format_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text(json.dumps({"file": "model.pkl"}), encoding="utf-8")
    with pytest.raises(ModelError, match="names no known model format"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["model.ubj", "model.txt", "model.skops"])
def test_a_damaged_file_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text(json.dumps({"file": name}), encoding="utf-8")
    (tmp_path / name).write_bytes(b"not a model")
    with pytest.raises(ModelError, match=f"{name} cannot be read"):
        load(tmp_path)
