"""A neural network over features and embeddings of the teams, as a classifier; torch is imported to fit."""

import json
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils._param_validation import Interval
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from sweeproute.checkpoint import Progress
from sweeproute.estimators.contract import Games, Told
from sweeproute.estimators.errors import ModelError

if TYPE_CHECKING:
    from sweeproute.models.network_training import Settings

# Share of the training games, their last ones, that are watched and not learned from where no others are given.
_WATCHED = 0.2
# Early games have features that are not known yet.
_TABLE: dict[str, Any] = {"dtype": np.float64, "ensure_all_finite": "allow-nan"}
# Raise it when the files change their meaning.
_FORMAT = 1


class NeuralNetwork(ClassifierMixin, BaseEstimator):
    """A perceptron over standardised features and an embedding of each side's team.

    It stops when games that it does not learn from have not been predicted better for some epochs, and predicts with
    the weights of the best epoch. The same seed gives bitwise the same on the same kind of device; with one thread and
    with two it learned the same wherever that was compared, which torch does not promise.

    Args:
        width: Units of each hidden layer.
        depth: Hidden layers; 0 makes a logistic regression.
        embedding_dim: Numbers that stand for a team; 0 leaves teams out.
        dropout: Share of the hidden units that is left out at random while it learns (Srivastava et al., "Dropout",
            JMLR 15, 2014).
        learning_rate: Of AdamW (Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019).
        weight_decay: Share of each weight that a step takes off, times the learning rate.
        batch_size: Games of one step.
        max_epochs: Times that it sees the training games, at most.
        patience: Epochs that it goes on without predicting the watched games better.
        mixed_precision: Learn in bfloat16 where the device is cuda and has it, in float16 where it has not; elsewhere
            without effect.
        device: Where it learns: cpu, cuda, cuda:N or mps. It predicts on the CPU.
        n_jobs: Threads; more than one pays for wide layers alone: for narrow ones they mostly wait for each other.
        random_state: Seed of the first weights, the order of the games, and the dropout.

    Attributes:
        classes_: The two outcomes, (2,).
        n_epochs_: Epochs after which the weights stood that it predicts with.
        loss_: Mean log loss of the watched games with these weights.
        team_names_: Teams with an embedding of their own; all others share one that says nothing.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "width": [Interval(Integral, 1, None, closed="left")],
        "depth": [Interval(Integral, 0, None, closed="left")],
        "embedding_dim": [Interval(Integral, 0, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "patience": [Interval(Integral, 1, None, closed="left")],
        "mixed_precision": ["boolean"],
        "device": [str],
        "n_jobs": [Interval(Integral, 1, None, closed="left")],
        "random_state": [Interval(Integral, 0, None, closed="left")],
    }

    def __init__(
        self,
        *,
        width: int = 64,
        depth: int = 1,
        embedding_dim: int = 2,
        dropout: float = 0.5,
        learning_rate: float = 0.003,
        weight_decay: float = 3.0,
        batch_size: int = 256,
        max_epochs: int = 100,
        patience: int = 10,
        mixed_precision: bool = True,
        device: str = "cpu",
        n_jobs: int = 1,
        random_state: int = 0,
    ) -> None:
        self.width = width
        self.depth = depth
        self.embedding_dim = embedding_dim
        self.dropout = dropout
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.patience = patience
        self.mixed_precision = mixed_precision
        self.device = device
        self.n_jobs = n_jobs
        self.random_state = random_state

    @staticmethod
    def preload() -> None:
        """Import what a fit needs, in a process whose children shall find it there."""
        from sweeproute.models import network_training  # noqa: F401  (imported for those who come after)

    def fit(self, features: Any, outcome: Any) -> "NeuralNetwork":
        """Fit without teams, and watch the last fifth of the games.

        Args:
            features: (n_games, n_features), NaN where nothing is known, in the order of kick-off.
            outcome: One of two classes for each game, (n_games,).
        """
        return self._fit(Games(features), outcome, None, None, None)

    def fit_from(self, features: Any, outcome: Any, progress: Progress) -> "NeuralNetwork":
        """Fit as `fit` does; see `Continuable`."""
        return self._fit(Games(features), outcome, None, progress, None)

    def fit_games(
        self,
        games: Games,
        outcome: NDArray[np.int8],
        watched: tuple[Games, NDArray[np.int8]] | None,
        progress: Progress | None,
        told: Told | None,
    ) -> "NeuralNetwork":
        """Fit with teams, and watch the games that are given to be watched; see `LearnsFromGames`."""
        return self._fit(games, outcome, watched, progress, told)

    def predict_proba(self, features: Any) -> NDArray[np.float64]:
        """Probabilities of a loss and of a win, (n_games, 2), of games (n_games, n_features) between unknown teams."""
        return self.predict_games(Games(features))

    def predict_games(self, games: Games) -> NDArray[np.float64]:
        """Probabilities of a loss and of a win, (n_games, 2)."""
        check_is_fitted(self)
        games = Games(validate_data(self, games.features, reset=False, **_TABLE), games.teams, games.team_names)
        import torch

        from sweeproute.models.network_training import log_odds, repeatable

        with repeatable(torch.device("cpu"), self.n_jobs):
            said = log_odds(self.weights_, self._settings(), self._standardised(games), self._rows(games))
        won = np.exp(-np.logaddexp(0, -said))
        return np.column_stack([1 - won, won])

    def predict(self, features: Any) -> NDArray[Any]:
        """The likelier class of each game, (n_games,)."""
        likelier = self.predict_proba(features)[:, 1] > 0.5
        return self.classes_[likelier.astype(np.intp)]

    def _fit(
        self,
        games: Games,
        outcome: Any,
        watched: tuple[Games, NDArray[np.int8]] | None,
        progress: Progress | None,
        told: Told | None,
    ) -> "NeuralNetwork":
        self._validate_params()
        features, outcome = validate_data(self, games.features, outcome, **_TABLE)
        check_classification_targets(outcome)
        self.classes_, outcome = np.unique(outcome, return_inverse=True)
        if len(self.classes_) != 2:
            raise ValueError(
                f"Only binary classification is supported, and the outcomes have {len(self.classes_)} "
                f"{'class' if len(self.classes_) == 1 else 'classes'}; give games with two."
            )
        games = Games(features, games.teams, games.team_names)
        if watched is None:
            cut = len(games) - max(int(len(games) * _WATCHED), 1)
            rows = np.arange(len(games))
            watched = games.rows(rows[cut:]), outcome[cut:]
            games, outcome = games.rows(rows[:cut]), outcome[:cut]
        self._learn_scale(games.features)
        sides = () if games.teams is None else np.asarray(games.team_names)[games.teams]  # (n_games, 2)
        self.team_names_ = tuple(np.unique(sides).tolist())

        from sweeproute.models.network_training import Examples, Training, device_of, repeatable

        device = device_of(self.device)
        with repeatable(device, self.n_jobs):
            seen, apart = (
                Examples.on(device, self._standardised(some), self._rows(some), won)
                for some, won in ((games, outcome), watched)
            )
            training = Training(seen, apart, len(self.team_names_), self._settings())
            training.run(progress, told)
        self.weights_ = {name: one.cpu().numpy() for name, one in training.best.weights.items()}
        self.n_epochs_, self.n_iter_, self.loss_ = training.best.epoch, training.epoch, training.best.loss
        return self

    def _learn_scale(self, features: NDArray[np.float64]) -> None:
        """Mean and standard deviation of what is known of each feature, (n_features,) each."""
        known = ~np.isnan(features)
        count = np.maximum(known.sum(axis=0), 1)
        self.mean_ = np.where(known, features, 0.0).sum(axis=0) / count
        spread = np.sqrt((np.where(known, features - self.mean_, 0.0) ** 2).sum(axis=0) / count)
        self.scale_ = np.where(spread > 0, spread, 1.0)

    def _standardised(self, some: Games) -> NDArray[np.float64]:
        """Features with mean 0 and deviation 1, what is not known at the mean, (n_games, n_features)."""
        return np.nan_to_num((some.features - self.mean_) / self.scale_, nan=0.0)

    def _rows(self, games: Games) -> NDArray[np.int64]:
        """Rows of the embedding of home and away, (n_games, 2): by name, 0 for teams that were not learned from."""
        if games.teams is None:
            return np.zeros((len(games), 2), np.int64)
        known = {name: row for row, name in enumerate(self.team_names_, start=1)}
        return np.array([known.get(name, 0) for name in games.team_names], np.int64)[games.teams]

    def _settings(self) -> "Settings":
        from sweeproute.models.network_training import Settings

        given = self.get_params()
        given["seed"] = given.pop("random_state")
        return Settings(**{name: given[name] for name in Settings.__dataclass_fields__})

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        tags.input_tags.allow_nan = True
        return tags

    # Files.

    def write(self, path: Path) -> None:
        """Write what was learned as safetensors, with the parameters and the teams as JSON in the file's head."""
        from safetensors.numpy import save_file

        about = {
            "format": _FORMAT,
            "params": self.get_params(),
            "team_names": self.team_names_,
            "n_features": self.n_features_in_,
            "n_epochs": self.n_epochs_,
            "n_iter": self.n_iter_,
            "loss": self.loss_,
        }
        tensors = {f"weights.{name}": one for name, one in self.weights_.items()}
        tensors |= {"mean": self.mean_, "scale": self.scale_, "classes": np.asarray(self.classes_)}
        save_file(tensors, path, metadata={"network": json.dumps(about)})

    @classmethod
    def read(cls, path: Path) -> "NeuralNetwork":
        """Read what `write` wrote.

        Raises:
            ModelError: The file is of another format.
        """
        from safetensors import safe_open

        with safe_open(path, framework="numpy") as file:
            about = json.loads(file.metadata()["network"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
        if about["format"] != _FORMAT:
            raise ModelError(f"{path} has format {about['format']}, not {_FORMAT}; fit the model again.")
        network = cls(**about["params"])
        network.team_names_ = tuple(about["team_names"])
        network.n_features_in_ = about["n_features"]
        network.n_epochs_, network.n_iter_, network.loss_ = about["n_epochs"], about["n_iter"], about["loss"]
        network.mean_, network.scale_, network.classes_ = (tensors.pop(name) for name in ("mean", "scale", "classes"))
        network.weights_ = {name.removeprefix("weights."): one for name, one in tensors.items()}
        return network
