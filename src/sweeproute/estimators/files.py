"""Writes a fitted estimator in formats that are data, never code."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweeproute.estimators.errors import ModelError

# Says which format a folder holds; written last, so a folder without it holds no complete model.
_INDEX = "model.json"

# Types that skops does not vouch for by itself: state holders of the libraries we depend on, each needed by a tested
# model, and none of them calls what the file names.
TRUSTED = (
    "collections.OrderedDict",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier",
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
    "sweeproute.models.r_glm.RGlm",
    "xgboost.core.Booster",
    "xgboost.sklearn.XGBClassifier",
)


@dataclass(frozen=True)
class _Format:
    """One file format: for which classes (package and name; empty for all that the others leave), and its use."""

    file: str
    classes: tuple[str, ...]
    write: Callable[[Any, Path], None]
    read: Callable[[Path], Any]


class BoosterClassifier:
    """A LightGBM model as it comes back from its text file: it predicts, it cannot be fitted again.

    Args:
        booster: The loaded lightgbm.Booster of a binary classifier.
    """

    def __init__(self, booster: Any) -> None:
        self.booster = booster
        self.classes_ = np.array([0, 1], dtype=np.int8)

    def predict_proba(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Probabilities of a loss and of a win, (n_games, 2), for features (n_games, n_features)."""
        won = self.booster.predict(features)
        return np.column_stack([1.0 - won, won])


def save(estimator: Any, folder: Path) -> None:
    """Write a fitted estimator: XGBoost as UBJ, LightGBM as text, a network or a bettor as safetensors, the
    rest by skops.

    Args:
        estimator: A fitted binary classifier, or a bettor.
        folder: Where the files go; made if it is not there.

    Raises:
        ModelError: The estimator holds a type that the skops format would not read again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = class_name(estimator)
    form = next(kind for kind in _FORMATS if name in kind.classes or not kind.classes)
    # Beside the target under the same ending, which XGBoost reads the format from.
    beside = folder / f"writing-{os.getpid()}-{form.file}"
    try:
        form.write(estimator, beside)
        beside.replace(folder / form.file)
    finally:
        beside.unlink(missing_ok=True)
    index = beside.with_suffix(".json")
    index.write_text(json.dumps({"file": form.file, "class": name}) + "\n", encoding="utf-8")
    index.replace(folder / _INDEX)


def load(folder: Path) -> Any:
    """Read what `save` wrote.

    Args:
        folder: The folder that was given to `save`.

    Returns:
        A classifier whose `predict_proba` gives bitwise the probabilities of the one that was saved, or a bettor whose
        `stakes` are the same.

    Raises:
        ModelError: The folder holds no model, or its file is damaged, or names a type that is not in TRUSTED.
    """
    try:
        index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
        form = next(kind for kind in _FORMATS if kind.file == index["file"])
    except FileNotFoundError as error:
        raise ModelError(f"{folder} holds no saved model ({_INDEX} is missing); give the folder of one.") from error
    except (ValueError, KeyError, TypeError, StopIteration) as error:
        raise ModelError(f"{folder / _INDEX} names no known model format; save the model again.") from error
    try:
        return form.read(folder / form.file)
    except ModelError:
        raise
    except Exception as error:
        # Each library raises types of its own for a damaged file.
        raise ModelError(f"{folder / form.file} cannot be read ({error}); save the model again.") from error


def class_name(estimator: Any) -> str:
    """Package and name of an estimator's class, such as xgboost.XGBClassifier."""
    return f"{type(estimator).__module__.partition('.')[0]}.{type(estimator).__name__}"


def _write_xgboost(estimator: Any, path: Path) -> None:
    estimator.save_model(path)


def _read_xgboost(path: Path) -> Any:
    import xgboost

    estimator = xgboost.XGBClassifier()
    estimator.load_model(path)
    return estimator


def _write_lightgbm(estimator: Any, path: Path) -> None:
    estimator.booster_.save_model(path)


def _read_lightgbm(path: Path) -> Any:
    import lightgbm

    return BoosterClassifier(lightgbm.Booster(model_file=path))


def _write_skops(estimator: Any, path: Path) -> None:
    from zipfile import ZIP_DEFLATED

    from skops import io

    # A forest shrinks to a seventh of its plain size.
    written = io.dumps(estimator, compression=ZIP_DEFLATED)
    strange = sorted(set(io.get_untrusted_types(data=written)) - set(TRUSTED))
    if strange:
        raise ModelError(
            f"{type(estimator).__name__} holds {', '.join(strange)}, which would not be read again; use another model, "
            "or read that type's code, then add it to TRUSTED in sweeproute/estimators/files.py."
        )
    path.write_bytes(written)


def _read_skops(path: Path) -> Any:
    from skops import io

    data = path.read_bytes()
    strange = sorted(set(io.get_untrusted_types(data=data)) - set(TRUSTED))
    if strange:
        raise ModelError(f"{path} names types that are not trusted ({', '.join(strange)}); do not use this file.")
    return io.loads(data, trusted=list(TRUSTED))


def _write_ours(estimator: Any, path: Path) -> None:
    estimator.write(path)


def _read_network(path: Path) -> Any:
    # Late, since it imports scikit-learn.
    from sweeproute.models.network import NeuralNetwork

    return NeuralNetwork.read(path)


def _read_bettor(path: Path) -> Any:
    # Late, since it imports scikit-learn.
    from sweeproute.models.bettor import read

    return read(path)


_FORMATS = (
    _Format("model.ubj", ("xgboost.XGBClassifier",), _write_xgboost, _read_xgboost),
    _Format("model.txt", ("lightgbm.LGBMClassifier",), _write_lightgbm, _read_lightgbm),
    _Format("model.safetensors", ("sweeproute.NeuralNetwork",), _write_ours, _read_network),
    _Format("bettor.safetensors", ("sweeproute.DQN", "sweeproute.PPO"), _write_ours, _read_bettor),
    _Format("model.skops", (), _write_skops, _read_skops),
)
