"""Predicts with a promoted model where sweeproute is not installed: this file travels with the model.

It is all the code of a version in MLflow's registry, under a name of its own, and imports nothing of this project.
What it reads are the files that the trial wrote, which are data: nothing of them is unpickled. It says bitwise what
`sweeproute.estimators.predict` says with the trial's calibration behind it, given the same games.
"""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

# What the packer writes beside the trial's files: the names of the features in their order, and of the teams' columns.
ABOUT = "promoted.json"
# Types that skops does not vouch for by itself; see sweeproute.estimators.files, which writes no others.
TRUSTED = (
    "collections.OrderedDict",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier",
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
    "xgboost.core.Booster",
    "xgboost.sklearn.XGBClassifier",
)
# Whose place RGlm takes in a file that names it.
STANDS_FOR = "sweeproute.models.r_glm"
# How far from 0 and 1 a probability is held where its log odds are needed; see sweeproute.calibration.
_EDGE = 1e-9

# From features, (n_games, n_features), and names of home and away, (n_games, 2), to probabilities of a home win.
Says = Callable[[NDArray[np.float64], NDArray[Any]], NDArray[np.float64]]


class PromotedModel:
    """A model as MLflow's python_function flavour wants it.

    Args:
        folder: The trial's files, and ABOUT.
    """

    def __init__(self, folder: Path) -> None:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        file = json.loads((folder / "model.json").read_text(encoding="utf-8"))["file"]
        self._features: list[str] = about["features"]
        self._teams: list[str] = about["teams"]
        self._says = _READERS[file](folder / file)
        self._calibrated = _calibration(folder / "calibration.json")

    def predict(self, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:  # noqa: ARG002
        """Predict games.

        Args:
            model_input: One row a game, a column for each feature by its name; where the model knows teams, their names
                as home_team and away_team, which may be missing.
            params: None are known.

        Returns:
            One row a game: probability, of a home win.
        """
        # In rows, as a trial has them: a product over columns would round in another order.
        features = np.ascontiguousarray(model_input[self._features].to_numpy(dtype=np.float64))
        teams = model_input.reindex(columns=self._teams).to_numpy(dtype=object)
        said = np.ascontiguousarray(self._says(features, teams), dtype=np.float64)
        return pd.DataFrame({"probability": self._calibrated(said)}, index=model_input.index)


class RGlm:
    """What R's glm has learned, read from a file that names sweeproute's class of this name.

    Attributes:
        intercept_: (1,).
        coef_: (1, n_features).
    """

    intercept_: NDArray[np.float64]
    coef_: NDArray[np.float64]

    def won(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probabilities of the second outcome, (n_games,)."""
        # As there: not by BLAS, whose last bits change with its threads.
        odds = self.intercept_[0] + np.einsum("ij,j->i", features, self.coef_[0], optimize=False)
        small = np.exp(-np.abs(odds))
        return np.asarray(np.where(odds >= 0, 1 / (1 + small), small / (1 + small)))


def _load_pyfunc(data_path: str) -> PromotedModel:
    """The door that MLflow knocks at."""
    return PromotedModel(Path(data_path))


def _xgboost(path: Path) -> Says:
    import xgboost

    # By the booster itself, since xgboost's classifiers would need scikit-learn beside it.
    booster = xgboost.Booster(model_file=str(path))
    linear = json.loads(booster.save_config())["learner"]["gradient_booster"]["name"] == "gblinear"
    best = booster.attr("best_iteration")
    rounds = (0, 0) if best is None else (0, int(best) + 1)

    def says(features: NDArray[np.float64], teams: NDArray[Any]) -> NDArray[np.float64]:  # noqa: ARG001
        if linear:
            answer = booster.predict(xgboost.DMatrix(features))
        else:
            answer = booster.inplace_predict(features, iteration_range=rounds, validate_features=False)
        # One column of a win, or one for each outcome.
        return np.asarray(answer if answer.ndim == 1 else answer[:, 1])

    return says


def _lightgbm(path: Path) -> Says:
    import lightgbm

    booster = lightgbm.Booster(model_file=str(path))
    return lambda features, teams: np.asarray(booster.predict(features))  # noqa: ARG005


def _skops(path: Path) -> Says:
    from skops import io as files

    data = _renamed(path.read_bytes())
    trusted = [*TRUSTED, f"{__name__}.RGlm"]
    strange = sorted(set(files.get_untrusted_types(data=data)) - set(trusted))
    if strange:
        raise ValueError(f"{path} names types that are not trusted ({', '.join(strange)}); do not use this file.")
    model = files.loads(data, trusted=trusted)
    *before, last = [step for _, step in model.steps] if hasattr(model, "steps") else [model]

    def says(features: NDArray[np.float64], teams: NDArray[Any]) -> NDArray[np.float64]:  # noqa: ARG001
        if not isinstance(last, RGlm):
            return np.asarray(model.predict_proba(features)[:, 1])
        for step in before:
            features = step.transform(features)
        return last.won(features)

    return says


def _renamed(data: bytes) -> bytes:
    """A file of skops with the class of R's glm looked for in this module."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    ours = json.dumps(STANDS_FOR).encode()
    if ours not in parts["schema.json"]:
        return data
    parts["schema.json"] = parts["schema.json"].replace(ours, json.dumps(__name__).encode())
    changed = io.BytesIO()
    with zipfile.ZipFile(changed, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return changed.getvalue()


def _network(path: Path) -> Says:
    import torch
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        about = json.loads(file.metadata()["network"])
        learned = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
    params, rows = about["params"], {name: row for row, name in enumerate(about["team_names"], start=1)}
    weights = {name.removeprefix("weights."): torch.tensor(one) for name, one in learned.items() if "." in name}

    def layer(name: str, units: Any) -> Any:
        return torch.nn.functional.linear(units, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def says(features: NDArray[np.float64], teams: NDArray[Any]) -> NDArray[np.float64]:
        known = np.nan_to_num((features - learned["mean"]) / learned["scale"], nan=0.0)
        # A team that the network does not know has row 0, which says nothing.
        sides = torch.tensor([[rows.get(name, 0) for name in pair] for pair in teams.tolist()], dtype=torch.int64)
        if teams.shape[1] == 0:
            sides = torch.zeros((len(features), 2), dtype=torch.int64)
        threads, certain = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
        torch.set_num_threads(params["n_jobs"])
        torch.use_deterministic_algorithms(True)
        try:
            with torch.no_grad():
                embedded = torch.nn.functional.embedding(sides, weights["teams.weight"], padding_idx=0)
                units = torch.cat([torch.tensor(known, dtype=torch.float32), embedded.flatten(1)], dim=1)
                for depth in range(params["depth"]):
                    units = torch.relu(layer(f"hidden.{depth}", units))
                odds = layer("last", units).squeeze(1).float().double().numpy()
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(certain)
        return np.asarray(np.exp(-np.logaddexp(0, -odds)))

    return says


def _calibration(path: Path) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """The trial's calibration, by which the first of the file counts; see sweeproute.calibration."""
    if not path.is_file():
        return lambda probability: probability
    told = json.loads(path.read_text(encoding="utf-8"))[0]
    if told["method"] == "isotonic":
        return lambda probability: np.interp(probability, told["stated"], told["won"])
    if told["method"] == "none":
        return lambda probability: probability
    from scipy.special import expit

    def platt(probability: NDArray[np.float64]) -> NDArray[np.float64]:
        inside = np.clip(probability, _EDGE, 1 - _EDGE)
        return np.asarray(expit(told["slope"] * (np.log(inside) - np.log1p(-inside)) + told["intercept"]))

    return platt


_READERS: dict[str, Callable[[Path], Says]] = {
    "model.ubj": _xgboost,
    "model.txt": _lightgbm,
    "model.skops": _skops,
    "model.safetensors": _network,
}
