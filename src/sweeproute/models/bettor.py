"""Bettors that learn by betting: they answer a game with a stake, not with a probability; torch is imported to fit."""

import json
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.utils._param_validation import Interval

from sweeproute.checkpoint import Progress
from sweeproute.estimators.contract import Games, Priced
from sweeproute.estimators.errors import ModelError
from sweeproute.models.betting_observation import Scale, observe

# Raise it when the files change their meaning.
_FORMAT = 1
_COUNT = [Interval(Integral, 1, None, closed="left")]
_NONE_OR_MORE = [Interval(Integral, 0, None, closed="left")]
# What NumPy takes, which the library seeds.
_SEED = [Interval(Integral, 0, 2**32 - 1, closed="both")]
_SHARE = [Interval(Real, 0, 1, closed="both")]
_POSITIVE = [Interval(Real, 0, None, closed="neither")]
_NOT_NEGATIVE = [Interval(Real, 0, None, closed="left")]
# What both kinds take; the others go to the library as they are.
_OURS: dict[str, list[Any]] = {
    "total_timesteps": _COUNT,
    "n_envs": _COUNT,
    "width": _COUNT,
    "depth": _NONE_OR_MORE,
    "weight_decay": _NOT_NEGATIVE,
    "max_units": _COUNT,
    "risk_aversion": _NOT_NEGATIVE,
    "device": [str],
    "n_jobs": _COUNT,
    "random_state": _SEED,
}


class Agent(BaseEstimator):
    """An agent that sees a game's features and odds, and stakes nothing, or some units on one of its sides.

    A bet changes nothing of what comes after it, so that `gamma`, which says how much of that counts, is best 0, its
    default: what later games bring is noise to the stake on this one. It learns for a fixed number of games: the return
    of a season is far too uncertain to stop by.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {}
    # Written down in each class, since parameters are read from its constructor.
    total_timesteps: int
    n_envs: int
    width: int
    depth: int
    weight_decay: float
    max_units: int
    risk_aversion: float
    device: str
    n_jobs: int
    random_state: int

    @staticmethod
    def preload() -> None:
        """Import what a fit needs, in a process whose children shall find it there."""
        from sweeproute.models import bettor_training  # noqa: F401  (imported for those who come after)

    def fit_bets(self, games: Priced, outcome: NDArray[np.int8], progress: Progress | None = None) -> Self:
        """Learn from games, in place; see `estimators.Bettor`.

        Raises:
            ModelError: A parameter is out of its range, no game has odds, or the device is not there.
        """
        self._validate_params()
        known = np.flatnonzero(~np.isnan(games.odds).any(axis=1))
        if not known.size:
            raise ModelError(
                f"None of the {len(games.odds)} training games has odds, and a bettor learns from them; give data that "
                "has some (data.odds_home and data.odds_away of a table), or use another model."
            )
        features, odds = games.games.features, games.odds
        scale = Scale.of(features[known], odds[known])

        from sweeproute.models.bettor_training import Past, Settings, train

        given = self.get_params()
        own = {name: given.pop(name) for name in _OURS}
        device, threads, seed = (own.pop(name) for name in ("device", "n_jobs", "random_state"))
        settings = Settings(algorithm=type(self).__name__, options=given, seed=seed, **own)
        past = Past(observe(features, odds, scale), odds, np.asarray(outcome), games.season)
        self.layers_ = train(past, settings, device, threads, progress)
        self.mean_, self.deviation_ = scale.mean, scale.deviation
        self.n_features_in_ = features.shape[1]
        return self

    def stakes(self, games: Games, odds: NDArray[np.float64]) -> NDArray[np.float64]:
        """Units on each game, negative on the away side, 0 for no bet, (n_games,); see `estimators.Bettor`."""
        if not hasattr(self, "layers_"):
            raise NotFittedError(f"This {type(self).__name__} has learned nothing yet; call fit_bets before.")
        if games.features.shape[1] != self.n_features_in_:
            raise ModelError(
                f"{type(self).__name__} was fitted on {self.n_features_in_} features, and is asked about games with "
                f"{games.features.shape[1]}; give it the features that it knows."
            )
        seen = observe(games.features, odds, Scale(self.mean_, self.deviation_))
        best = self.values(seen).argmax(axis=1)
        units = np.where(best > self.max_units, self.max_units - best, best)
        return np.where(np.isnan(odds).any(axis=1), 0.0, units).astype(np.float64)

    def values(self, seen: NDArray[np.float32]) -> NDArray[np.float64]:
        """What each action is worth to the agent: expected profit to DQN, log-odds but for a constant to PPO.

        Args:
            seen: (n_games, n_values), from `observe`.

        Returns:
            (n_games, n_actions), in the order of `units_of`.
        """
        units = seen.astype(np.float64)
        last = len(self.layers_) - 2
        for place in range(0, len(self.layers_), 2):
            weight, bias = (one.astype(np.float64) for one in self.layers_[place : place + 2])
            units = units @ weight.T + bias
            if place < last:
                units = np.maximum(units, 0.0)
        return units

    # Files.

    def write(self, path: Path) -> None:
        """Write what was learned as safetensors, with the parameters as JSON in the file's head."""
        from safetensors.numpy import save_file

        about = {
            "format": _FORMAT,
            "kind": type(self).__name__,
            "params": self.get_params(),
            "n_features": self.n_features_in_,
            "n_layers": len(self.layers_),
        }
        tensors: dict[str, NDArray[Any]] = {f"layer.{place}": one for place, one in enumerate(self.layers_)}
        save_file(
            tensors | {"mean": self.mean_, "deviation": self.deviation_}, path, metadata={"bettor": json.dumps(about)}
        )


class DQN(Agent):
    """Learns what each stake on a game is worth, and takes the best (Mnih et al., Nature 518, 2015).

    The algorithm is that of Stable-Baselines3, whose names the parameters have.

    Args:
        learning_rate: Of AdamW.
        buffer_size: Bets that it remembers.
        learning_starts: Games on which it bets at random before it learns.
        batch_size: Remembered bets of one step of learning.
        gamma: How much of what later games bring counts for a bet.
        train_freq: Games of each season between steps of learning.
        gradient_steps: Steps of learning each time.
        target_update_interval: Games between updates of the network that values later games; of no effect with gamma 0.
        exploration_fraction: Share of the training in which bets at random become rarer.
        exploration_final_eps: Share of bets at random from then on.
        total_timesteps: Games to bet on while it learns, the same ones many times.
        n_envs: Seasons that are played at the same time.
        width: Units of each hidden layer.
        depth: Hidden layers; 0 makes the worth of a stake linear in what is seen.
        weight_decay: Share of each weight that a step takes off, times the learning rate.
        max_units: The greatest stake, in units.
        risk_aversion: What the variance of a bet costs; see `BettingEnvironment`.
        device: Where it learns: cpu, cuda, cuda:N or mps. It bets on the CPU.
        n_jobs: Threads; networks as small as these do not gain from a second one.
        random_state: Seed of the first weights, and of all that is drawn.

    Attributes:
        layers_: Weights and biases in turn.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "learning_rate": _POSITIVE,
        "buffer_size": _COUNT,
        "learning_starts": _NONE_OR_MORE,
        "batch_size": _COUNT,
        "gamma": _SHARE,
        "train_freq": _COUNT,
        "gradient_steps": _COUNT,
        "target_update_interval": _COUNT,
        "exploration_fraction": _SHARE,
        "exploration_final_eps": _SHARE,
        **_OURS,
    }

    def __init__(
        self,
        *,
        learning_rate: float = 0.001,
        buffer_size: int = 100000,
        learning_starts: int = 2000,
        batch_size: int = 512,
        gamma: float = 0.0,
        train_freq: int = 1,
        gradient_steps: int = 2,
        target_update_interval: int = 1000,
        exploration_fraction: float = 0.5,
        exploration_final_eps: float = 0.2,
        total_timesteps: int = 48000,
        n_envs: int = 128,
        width: int = 32,
        depth: int = 1,
        weight_decay: float = 0.1,
        max_units: int = 2,
        risk_aversion: float = 0.0,
        device: str = "cpu",
        n_jobs: int = 1,
        random_state: int = 0,
    ) -> None:
        self.learning_rate = learning_rate
        self.buffer_size = buffer_size
        self.learning_starts = learning_starts
        self.batch_size = batch_size
        self.gamma = gamma
        self.train_freq = train_freq
        self.gradient_steps = gradient_steps
        self.target_update_interval = target_update_interval
        self.exploration_fraction = exploration_fraction
        self.exploration_final_eps = exploration_final_eps
        self.total_timesteps = total_timesteps
        self.n_envs = n_envs
        self.width = width
        self.depth = depth
        self.weight_decay = weight_decay
        self.max_units = max_units
        self.risk_aversion = risk_aversion
        self.device = device
        self.n_jobs = n_jobs
        self.random_state = random_state


class PPO(Agent):
    """Learns how likely to take each stake on a game, and takes the likeliest (Schulman et al., arXiv:1707.06347).

    The algorithm is that of Stable-Baselines3, whose names the parameters have.

    Args:
        learning_rate: Of AdamW.
        n_steps: Games of each season that it bets on between two times that it learns.
        batch_size: Bets of one step of learning; best a divisor of n_steps * n_envs, which it sees each time.
        n_epochs: Times that it sees these bets.
        gamma: How much of what later games bring counts for a bet.
        gae_lambda: How much of what was seen to come counts beside what was expected; of no effect with gamma 0.
        clip_range: How far the chance of a stake may move each time, as a share of it.
        ent_coef: What it is worth not to be sure.
        vf_coef: Weight of the error of what it expects a game to bring.
        total_timesteps: Games to bet on while it learns, the same ones many times.
        n_envs: Seasons that are played at the same time.
        width: Units of each hidden layer.
        depth: Hidden layers; 0 makes a logistic regression of the stakes.
        weight_decay: Share of each weight that a step takes off, times the learning rate.
        max_units: The greatest stake, in units.
        risk_aversion: What the variance of a bet costs; see `BettingEnvironment`.
        device: Where it learns: cpu, cuda, cuda:N or mps. It bets on the CPU.
        n_jobs: Threads; networks as small as these do not gain from a second one.
        random_state: Seed of the first weights, and of all that is drawn.

    Attributes:
        layers_: Weights and biases in turn.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "learning_rate": _POSITIVE,
        "n_steps": [Interval(Integral, 2, None, closed="left")],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "n_epochs": _COUNT,
        "gamma": _SHARE,
        "gae_lambda": _SHARE,
        "clip_range": _POSITIVE,
        "ent_coef": _NOT_NEGATIVE,
        "vf_coef": _NOT_NEGATIVE,
        **_OURS,
    }

    def __init__(
        self,
        *,
        learning_rate: float = 0.001,
        n_steps: int = 32,
        batch_size: int = 512,
        n_epochs: int = 4,
        gamma: float = 0.0,
        gae_lambda: float = 0.95,
        clip_range: float = 0.2,
        ent_coef: float = 0.03,
        vf_coef: float = 0.5,
        total_timesteps: int = 48000,
        n_envs: int = 64,
        width: int = 32,
        depth: int = 1,
        weight_decay: float = 1.0,
        max_units: int = 2,
        risk_aversion: float = 0.0,
        device: str = "cpu",
        n_jobs: int = 1,
        random_state: int = 0,
    ) -> None:
        self.learning_rate = learning_rate
        self.n_steps = n_steps
        self.batch_size = batch_size
        self.n_epochs = n_epochs
        self.gamma = gamma
        self.gae_lambda = gae_lambda
        self.clip_range = clip_range
        self.ent_coef = ent_coef
        self.vf_coef = vf_coef
        self.total_timesteps = total_timesteps
        self.n_envs = n_envs
        self.width = width
        self.depth = depth
        self.weight_decay = weight_decay
        self.max_units = max_units
        self.risk_aversion = risk_aversion
        self.device = device
        self.n_jobs = n_jobs
        self.random_state = random_state


def read(path: Path) -> Agent:
    """Read what `Agent.write` wrote.

    Raises:
        ModelError: The file is of another format.
    """
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        about = json.loads(file.metadata()["bettor"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
    if about["format"] != _FORMAT:
        raise ModelError(f"{path} has format {about['format']}, not {_FORMAT}; fit the model again.")
    kinds: dict[str, type[Agent]] = {"DQN": DQN, "PPO": PPO}
    bettor = kinds[about["kind"]](**about["params"])
    bettor.n_features_in_ = about["n_features"]
    bettor.mean_, bettor.deviation_ = tensors["mean"], tensors["deviation"]
    bettor.layers_ = [tensors[f"layer.{place}"] for place in range(about["n_layers"])]
    return bettor
