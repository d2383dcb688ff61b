"""Trains a network of teams and features, epoch by epoch, so that a training that was cut goes on bitwise the same."""

import json
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from sweeproute.checkpoint import Progress
from sweeproute.estimators.errors import ModelError

_FILE = "training.safetensors"
# Where a matrix product may be taken in half precision.
MIXED_ON = ("cuda",)


@dataclass(frozen=True)
class Settings:
    """What a training is told; the names and units are those of `NeuralNetwork`."""

    width: int
    depth: int
    embedding_dim: int
    dropout: float
    learning_rate: float
    weight_decay: float
    batch_size: int
    max_epochs: int
    patience: int
    mixed_precision: bool
    seed: int


class Network(nn.Module):
    """A perceptron over standardised features and an embedding of each side's team.

    Args:
        n_features: Features of a game.
        n_teams: Teams that have an embedding of their own; row 0 stands for all others, and stays zero.
        settings: Its width, its depth, and the size of an embedding.
    """

    def __init__(self, n_features: int, n_teams: int, settings: Settings) -> None:
        super().__init__()
        self.teams = nn.Embedding(n_teams + 1, settings.embedding_dim, padding_idx=0)
        nn.init.normal_(self.teams.weight, std=0.1)
        with torch.no_grad():
            self.teams.weight[0] = 0.0
        sizes = [n_features + 2 * settings.embedding_dim, *[settings.width] * settings.depth]
        self.hidden = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(sizes))
        self.last = nn.Linear(sizes[-1], 1)

    def forward(self, features: Tensor, teams: Tensor, kept: Tensor | None = None) -> Tensor:
        """Log-odds of a home win.

        Args:
            features: (n_games, n_features).
            teams: (n_games, 2), rows of the embedding of home and away.
            kept: What each hidden unit is multiplied by, (depth, n_games, width): 0 for one that is left out, for the
                others what keeps their sum; None leaves out none, as a prediction does.

        Returns:
            (n_games,) float32.
        """
        units = torch.cat([features, self.teams(teams).flatten(1)], dim=1)  # (n_games, n_features + 2 embedding_dim)
        for depth, layer in enumerate(self.hidden):
            units = torch.relu(layer(units))  # (n_games, width)
            if kept is not None:
                units = units * kept[depth]
        return self.last(units).squeeze(1).float()


@dataclass(frozen=True, eq=False)
class Examples:
    """Games as the network takes them, on the device that it learns on.

    Attributes:
        features: (n_games, n_features) float32, standardised.
        teams: (n_games, 2) int64, rows of the embedding.
        outcome: (n_games,) float32 of 0 and 1.
    """

    features: Tensor
    teams: Tensor
    outcome: Tensor

    @classmethod
    def on(cls, device: torch.device, features: NDArray[Any], teams: NDArray[Any], outcome: NDArray[Any]) -> "Examples":
        """Copy arrays to a device."""
        kinds = (torch.float32, torch.int64, torch.float32)
        # Copied, since the last bits of a product may depend on where in memory an array begins.
        return cls(
            *(torch.tensor(x, dtype=kind).to(device) for x, kind in zip((features, teams, outcome), kinds, strict=True))
        )


@dataclass(eq=False)
class Best:
    """The weights that are kept: those of the epoch after which the watched games were predicted best.

    Attributes:
        weights: By name, on the device.
        loss: Mean log loss of the watched games.
        epoch: After how many epochs.
        says: Probabilities of a home win in the watched games, (n_watched,) float64.
    """

    weights: dict[str, Tensor] = field(default_factory=dict)
    loss: float = math.inf
    epoch: int = 0
    says: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))


class Training:
    """A training that is under way.

    Args:
        train: The games that are learned from.
        watched: The games that tell when to stop; they change no weight.
        n_teams: Teams that have an embedding of their own.
        settings: What it is told.
    """

    def __init__(self, train: Examples, watched: Examples, n_teams: int, settings: Settings) -> None:
        self._train, self._watched, self._settings = train, watched, settings
        device = train.features.device
        # Drawn on the CPU, so that a network begins alike on every device.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(settings.seed)
            self._network = Network(train.features.shape[1], n_teams, settings).to(device)
        self._order = torch.Generator().manual_seed(settings.seed)
        self._dropped = torch.Generator(device).manual_seed(settings.seed)
        self._optimiser = torch.optim.AdamW(
            [one for one in self._network.parameters() if one.numel()],
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            fused=device.type in ("cpu", "cuda"),
        )
        mixed, half = settings.mixed_precision and device.type in MIXED_ON, half_of(device)
        self._autocast = torch.autocast(device.type if mixed else "cpu", half, enabled=mixed)
        # Gradients that float16 would round to zero are scaled up before.
        self._scaler = torch.amp.GradScaler(device.type, enabled=mixed and half == torch.float16)
        self._epoch = 0
        self.best = Best()

    def run(self, progress: Progress | None, told: Callable[[int, NDArray[np.float64]], None] | None) -> None:
        """Train until the watched games have not been predicted better for `patience` epochs, or to `max_epochs`.

        Args:
            progress: Where a former attempt stood, and where to keep how far this one comes; None to keep nothing.
            told: Told after each epoch how many there were, and what the kept weights say of the watched games.
        """
        if progress is not None and progress.saved is not None:
            self._take_up(progress.saved / _FILE)
        while self._epoch < self._settings.max_epochs and self._epoch - self.best.epoch < self._settings.patience:
            self._learn()
            self._epoch += 1
            self._watch()
            if progress is not None and progress.due():
                progress.save(f"{self._epoch} epochs", self._keep)
            if told is not None:
                told(self._epoch, self.best.says)

    @property
    def epoch(self) -> int:
        """Epochs so far."""
        return self._epoch

    def _learn(self) -> None:
        train, size = self._train, self._settings.batch_size
        order = torch.randperm(len(train.outcome), generator=self._order).to(train.outcome.device)
        features, teams, outcome = train.features[order], train.teams[order], train.outcome[order]
        kept = self._kept(len(outcome))
        for start in range(0, len(outcome), size):
            rows = slice(start, start + size)
            with self._autocast:
                said = self._network(features[rows], teams[rows], None if kept is None else kept[:, rows])  # (n_batch,)
            loss = nn.functional.binary_cross_entropy_with_logits(said, outcome[rows])
            self._optimiser.zero_grad()
            self._scaler.scale(loss).backward()
            self._scaler.step(self._optimiser)
            self._scaler.update()

    def _kept(self, n_games: int) -> Tensor | None:
        """Draw which units are left out in an epoch, all at once, since each draw takes as long as a product."""
        share, depth = self._settings.dropout, self._settings.depth
        if not share or not depth:
            return None
        shape, device = (depth, n_games, self._settings.width), self._dropped.device
        return (torch.rand(shape, generator=self._dropped, device=device) >= share) / (1 - share)

    def _watch(self) -> None:
        with torch.no_grad():
            said = self._network(self._watched.features, self._watched.teams)  # (n_watched,)
            loss = nn.functional.binary_cross_entropy_with_logits(said, self._watched.outcome).item()
        # A loss that is not a number is never less, so such a training ends by its patience.
        if loss < self.best.loss or not self.best.weights:
            weights = {name: one.clone() for name, one in self._network.state_dict().items()}
            self.best = Best(weights, loss, self._epoch, said.cpu().double().sigmoid().numpy())

    # Between attempts.

    def _keep(self, folder: Path) -> None:
        """Write all that the next epoch depends on."""
        tensors = {f"now.{name}": one for name, one in self._network.state_dict().items()}
        tensors |= {f"best.{name}": one for name, one in self.best.weights.items()}
        for number, state in self._optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{number}.{name}": one for name, one in state.items()}
        tensors |= {"order": self._order.get_state(), "dropped": self._dropped.get_state()}
        tensors["says"] = torch.from_numpy(self.best.says)
        about = {
            "epoch": self._epoch,
            "best_epoch": self.best.epoch,
            "best_loss": self.best.loss.hex(),
            "scaler": self._scaler.state_dict(),
        }
        save_file(
            {name: one.detach().cpu().contiguous() for name, one in tensors.items()},
            folder / _FILE,
            metadata={"training": json.dumps(about)},
        )

    def _take_up(self, path: Path) -> None:
        with safe_open(path, framework="pt") as file:
            about = json.loads(file.metadata()["training"])
            # Copied, as in Examples.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118  (no mapping)
        device = self._train.features.device

        def under(prefix: str) -> dict[str, Tensor]:
            return {name.removeprefix(prefix): one for name, one in tensors.items() if name.startswith(prefix)}

        self._network.load_state_dict(under("now."))
        states: dict[int, dict[str, Tensor]] = {}
        for name, one in under("optimiser.").items():
            number, _, of_it = name.partition(".")
            states.setdefault(int(number), {})[of_it] = one
        groups = self._optimiser.state_dict()["param_groups"]
        self._optimiser.load_state_dict({"state": states, "param_groups": groups})
        self._order.set_state(tensors["order"])
        self._dropped.set_state(tensors["dropped"])
        if about["scaler"]:
            self._scaler.load_state_dict(about["scaler"])
        self._epoch = about["epoch"]
        best = {name: one.to(device) for name, one in under("best.").items()}
        self.best = Best(best, float.fromhex(about["best_loss"]), about["best_epoch"], tensors["says"].numpy())


@contextmanager
def repeatable(device: torch.device, threads: int) -> Iterator[None]:
    """Let torch compute the same each time it is asked the same; afterwards its flags are as they were."""
    if device.type == "cuda":
        # Read when CUDA's library of products is first used, so that it has to stay.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    threads_before = torch.get_num_threads()
    torch.use_deterministic_algorithms(True, warn_only=device.type == "mps")
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(threads_before)
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


def half_of(device: torch.device) -> torch.dtype:
    """The kind of half precision that a device computes in by itself."""
    whole_range = device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if whole_range else torch.float16


def device_of(name: str) -> torch.device:
    """The device of a name.

    Args:
        name: cpu, cuda, cuda:N or mps.

    Raises:
        ModelError: The name is none, or this machine or this build of torch has no such device.
    """
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ModelError(f"device={name} is not known; use cpu, cuda, cuda:N or mps.") from error
    there = torch.cuda.device_count() if device.type == "cuda" else int(device.type == "cpu" or sees_mps())
    if (device.index or 0) >= there:
        raise ModelError(
            f"device={name} is not there for torch {torch.__version__}, which sees {there} of this kind; use "
            "device=cpu, or install a build of torch for this machine."
        )
    return device


def sees_mps() -> bool:
    """Whether torch would find the GPU of an Apple chip."""
    return torch.backends.mps.is_available()


def log_odds(
    weights: dict[str, NDArray[np.float32]], settings: Settings, features: Any, teams: Any
) -> NDArray[np.float64]:
    """What a trained network says of games, on the CPU.

    Args:
        weights: Of the network, by name.
        settings: What it was trained with.
        features: (n_games, n_features), standardised.
        teams: (n_games, 2), rows of the embedding.

    Returns:
        Log-odds of a home win, (n_games,) float64.
    """
    games = Examples.on(torch.device("cpu"), features, teams, np.zeros(len(features)))
    n_teams = len(weights["teams.weight"]) - 1
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        network = Network(features.shape[1], n_teams, settings)
        network.load_state_dict({name: torch.tensor(one) for name, one in weights.items()})
        answer: NDArray[np.float64] = network(games.features, games.teams).double().numpy()
    return answer
