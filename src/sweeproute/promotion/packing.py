"""Writes a candidate as an MLflow model: its files as they are, the code that reads them, and what they need."""

import hashlib
import importlib.metadata
import json
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from sweeproute.promotion import loader
from sweeproute.promotion.candidate import Candidate
from sweeproute.promotion.errors import PromotionError

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel

CARD = "model_card.md"
# Where in a version's files those of the trial are.
DATA = "data/model"
_CODE, _CONDA, _PYTHON, _REQUIREMENTS = "code", "conda.yaml", "python_env.yaml", "requirements.txt"
_EXAMPLE, _SERVED = "input_example.json", "serving_input_example.json"
# What predicting needs, by the file that holds the model, beside what every model needs.
_NEEDS = {
    "model.ubj": ("xgboost",),
    "model.txt": ("lightgbm",),
    "model.safetensors": ("safetensors", "torch"),
    "model.skops": ("skops",),
}
_ALWAYS = ("mlflow", "numpy", "pandas")
# Packages that a file of skops may name, and what to install for each; what else it names has code that cannot travel.
_NAMED = {
    "builtins": None,
    "collections": None,
    "lightgbm": "lightgbm",
    "numpy": "numpy",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "xgboost": "xgboost",
}


def pack(one: Candidate, card: str, needed: Sequence[str], logged: "LoggedModel", into: Path) -> None:
    """Write a model in MLflow's form, without asking MLflow what it needs, which takes seconds.

    Args:
        one: What is promoted.
        card: Its model card.
        needed: Its requirements.
        logged: MLflow's record of the model, which says its ids and where it will lie.
        into: A folder that is not there yet.
    """
    from mlflow import pyfunc
    from mlflow.models import Model
    from mlflow.models.signature import ModelSignature
    from mlflow.types.schema import ColSpec, Schema

    shutil.copytree(one.files, into / DATA)
    teams = ["home_team", "away_team"] if one.teams else []
    _write_json(into / DATA / loader.ABOUT, {"features": one.features, "teams": teams})
    code = Path(loader.__file__).read_bytes()
    # A name of its own for each state of the code: two versions that are loaded in one process have two.
    module = f"sweeproute_model_{hashlib.sha256(code).hexdigest()[:12]}"
    (into / _CODE).mkdir()
    (into / _CODE / f"{module}.py").write_bytes(code)
    (into / CARD).write_text(card, encoding="utf-8")

    columns: list[Any] = [ColSpec("double", name) for name in one.features]
    columns += [ColSpec("string", name, required=False) for name in teams]
    model = Model(
        artifact_path=logged.artifact_location,
        run_id=one.run.info.run_id,
        model_uuid=logged.model_id,
        model_id=logged.model_id,
        signature=ModelSignature(Schema(columns), Schema([ColSpec("double", "probability")])),
    )
    pyfunc.add_to_model(model, module, data=DATA, code=_CODE, conda_env=_CONDA, python_env=_PYTHON)
    if one.example is not None:
        split = one.example.astype(object).where(one.example.notna(), None).to_dict("split")
        kept = {"columns": split["columns"], "data": split["data"]}
        _write_json(into / _EXAMPLE, kept)
        _write_json(into / _SERVED, {"dataframe_split": kept})
        model.saved_input_example_info = {
            "artifact_path": _EXAMPLE,
            "type": "dataframe",
            "pandas_orient": "split",
            "serving_input_path": _SERVED,
        }
    python = one.tag("version.python") or str(model.flavors["python_function"]["python_version"])
    (into / _REQUIREMENTS).write_text("\n".join(needed) + "\n", encoding="utf-8")
    _write_yaml(
        into / _PYTHON,
        {
            "python": python,
            "build_dependencies": ["pip", "setuptools", "wheel"],
            "dependencies": [f"-r {_REQUIREMENTS}"],
        },
    )
    conda = {"name": "mlflow-env", "channels": ["conda-forge"]}
    _write_yaml(into / _CONDA, {**conda, "dependencies": [f"python={python}", "pip", {"pip": list(needed)}]})
    model.model_size_bytes = sum(path.stat().st_size for path in into.rglob("*") if path.is_file())
    model.save(str(into / "MLmodel"))


def requirements(one: Candidate) -> list[str]:
    """What an environment needs to predict with a model, pinned: to the versions of its run where these are recorded.

    Args:
        one: What is promoted.

    Raises:
        PromotionError: Its file names a class whose code cannot travel with it.
    """
    names = {*_ALWAYS, *_NEEDS[one.file]}
    if one.file == "model.skops":
        names |= _of_skops(one)
    if one.method == "platt":
        names.add("scipy")
    # Without what tells one build from another, as in 2.13.0+cpu: which one it is to be is each machine's to say.
    versions = {name: (one.tag(f"version.{name}") or importlib.metadata.version(name)) for name in names}
    return [f"{name}=={versions[name].partition('+')[0]}" for name in sorted(names)]


def _of_skops(one: Candidate) -> set[str]:
    with zipfile.ZipFile(one.files / one.file) as archive:
        named = set(_modules(json.loads(archive.read("schema.json"))))
    found = set()
    for module in sorted(named - {loader.STANDS_FOR}):
        package = module.partition(".")[0]
        if package not in _NAMED:
            whole = ", ".join(sorted(filter(None, _NAMED.values())))
            raise PromotionError(
                f"The model of run {one.run.info.run_id} ({one.run.info.run_name}) holds a class of {module}, whose "
                f"code does not travel with it; promote a model that is made of classes of {whole} alone, "
                "neural_network or glm_r."
            )
        found.add(_NAMED[package])
    return {name for name in found if name}


def _modules(schema: Any) -> Iterator[str]:
    """The modules of all classes that a file of skops names."""
    if isinstance(schema, Mapping):
        if "__module__" in schema:
            yield str(schema["__module__"])
        schema = schema.values()
    elif not isinstance(schema, list):
        return
    for part in schema:
        yield from _modules(part)


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content) + "\n", encoding="utf-8")


def _write_yaml(path: Path, content: Any) -> None:
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
