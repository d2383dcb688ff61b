"""Trains an agent of Stable-Baselines3 to bet, so that a training that was cut goes on bitwise the same."""

import copy
import json
import random
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import stable_baselines3
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import Tensor

from sweeproute.checkpoint import Progress
from sweeproute.models.betting_environment import BettingEnvironment
from sweeproute.models.network_training import device_of, repeatable

_FILE = "training.safetensors"
# What a replay buffer remembers of each step.
_REMEMBERED = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")
# How many steps, updates and episodes there were, by the library's own names; what the algorithm lacks is left out.
_COUNTS = ("num_timesteps", "_n_updates", "_n_calls", "_episode_num", "exploration_rate", "_current_progress_remaining")


@dataclass(frozen=True, eq=False)
class Past:
    """The games that a bettor learns from, in the order of their kick-off.

    Attributes:
        observations: What is seen of each, (n_games, n_values) float32.
        odds: Decimal odds of home and away, (n_games, 2), NaN where absent.
        outcome: 1 when the home side won, else 0, (n_games,).
        season: (n_games,).
    """

    observations: NDArray[np.float32]
    odds: NDArray[np.float64]
    outcome: NDArray[np.integer]
    season: NDArray[np.integer]


@dataclass(frozen=True)
class Settings:
    """What a training is told.

    Attributes:
        algorithm: DQN or PPO.
        options: The library's own, by its names.
        total_timesteps: Games to bet on.
        n_envs: Seasons that are played at the same time.
        width: Units of each hidden layer.
        depth: Hidden layers.
        weight_decay: As in `NeuralNetwork`.
        max_units: The greatest stake.
        risk_aversion: As in `BettingEnvironment`.
        seed: Of the first weights, and of all that is drawn.
    """

    algorithm: str
    options: Mapping[str, Any]
    total_timesteps: int
    n_envs: int
    width: int
    depth: int
    weight_decay: float
    max_units: int
    risk_aversion: float
    seed: int


def train(
    past: Past, settings: Settings, device: str, threads: int, progress: Progress | None
) -> list[NDArray[np.float32]]:
    """Train an agent.

    Args:
        past: The games that it learns from.
        settings: What it is told.
        device: cpu, cuda, cuda:N or mps.
        threads: Of torch.
        progress: Where a former attempt stood, and where to keep how far this one comes; None to keep nothing.

    Returns:
        Weights and biases of the layers from an observation to a value of each action, (n_out, n_in) and (n_out,) in
        turn; between layers stands a rectifier.

    Raises:
        ModelError: There is no such device.
    """
    there = device_of(device)
    with _apart(there), repeatable(there, threads):
        first = _season(past, settings)
        # The games are the same, and lie in memory once.
        seasons = [first, *(copy.copy(first) for _ in range(settings.n_envs - 1))]
        agent = _agent(DummyVecEnv([partial(_itself, one) for one in seasons]), settings, there)
        if progress is not None and progress.saved is not None:
            _take_up(agent, seasons, progress.saved / _FILE)
        left = settings.total_timesteps - agent.num_timesteps
        if left > 0:
            keeping = _Keeping(seasons, progress, agent.num_timesteps)
            agent.learn(left, keeping, reset_num_timesteps=agent.num_timesteps == 0)
        return _layers(agent)


def _season(past: Past, settings: Settings) -> BettingEnvironment:
    return BettingEnvironment(
        past.observations, past.odds, past.outcome, past.season, settings.max_units, settings.risk_aversion
    )


def _itself(season: BettingEnvironment) -> BettingEnvironment:
    return season


def _agent(seasons: DummyVecEnv, settings: Settings, device: torch.device) -> Any:
    hidden = [settings.width] * settings.depth
    shape: dict[str, Any] = {
        "net_arch": hidden if settings.algorithm == "DQN" else {"pi": hidden, "vf": hidden},
        "activation_fn": torch.nn.ReLU,
        "optimizer_class": torch.optim.AdamW,
        "optimizer_kwargs": {"weight_decay": settings.weight_decay, "fused": device.type in ("cpu", "cuda")},
    }
    kind = getattr(stable_baselines3, settings.algorithm)
    with warnings.catch_warnings():
        # That so small a network gains little on a GPU, and that its target follows after each step: both are known.
        warnings.filterwarnings("ignore", module="stable_baselines3")
        agent = kind(
            "MlpPolicy", seasons, policy_kwargs=shape, seed=settings.seed, device=device, **dict(settings.options)
        )
    # One of its own would make a folder for each fit.
    agent.set_logger(Logger(folder=None, output_formats=[]))
    return agent


def _layers(agent: Any) -> list[NDArray[np.float32]]:
    """The layers that choose, in their order."""
    policy = agent.policy
    parts = [policy.q_net.q_net] if hasattr(policy, "q_net") else [policy.mlp_extractor.policy_net, policy.action_net]
    layers = [one for part in parts for one in part.modules() if isinstance(one, torch.nn.Linear)]
    return [one.detach().cpu().numpy().copy() for layer in layers for one in (layer.weight, layer.bias)]


@contextmanager
def _apart(device: torch.device) -> Iterator[None]:
    """Leave the generators that the library seeds and draws from as they were: they are those of the whole process."""
    before = random.getstate(), np.random.get_state()
    cudnn = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        try:
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])
            torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = cudnn


# Between attempts.


class _Keeping(BaseCallback):
    """Keeps how far a training has come before it plays on: all that it has seen is learned from by then."""

    def __init__(self, seasons: list[BettingEnvironment], progress: Progress | None, begun: int) -> None:
        super().__init__()
        self._seasons, self._progress, self._begun = seasons, progress, begun

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        agent = self.model
        if self._progress is not None and agent.num_timesteps > self._begun and self._progress.due():
            self._progress.save(f"{agent.num_timesteps} games bet on", partial(_keep, agent, self._seasons))


def _keep(agent: Any, seasons: list[BettingEnvironment], folder: Path) -> None:
    """Write all that the next step depends on."""
    tensors = {f"policy.{name}": one for name, one in agent.policy.state_dict().items()}
    for number, state in agent.policy.optimizer.state_dict()["state"].items():
        tensors |= {f"optimiser.{number}.{name}": one for name, one in state.items()}
    tensors["seen"] = torch.from_numpy(agent._last_obs)
    tensors["begun"] = torch.from_numpy(agent._last_episode_starts)
    buffer = getattr(agent, "replay_buffer", None)
    about: dict[str, Any] = {"counts": {name: getattr(agent, name) for name in _COUNTS if hasattr(agent, name)}}
    if buffer is not None:
        filled = buffer.size()
        tensors |= {f"remembered.{name}": torch.from_numpy(getattr(buffer, name)[:filled]) for name in _REMEMBERED}
        about["buffer"] = {"pos": buffer.pos, "full": buffer.full}
    _, keys, *rest = np.random.get_state(legacy=True)
    tensors["numpy"] = torch.from_numpy(np.asarray(keys, dtype=np.int64))
    tensors["torch"] = torch.get_rng_state()
    if agent.device.type == "cuda":
        tensors["cuda"] = torch.cuda.get_rng_state(agent.device)
    about["numpy"] = rest
    about["places"] = [one.place for one in seasons]
    about["actions"] = agent.action_space.np_random.bit_generator.state
    save_file(
        {name: one.detach().cpu().contiguous() for name, one in tensors.items()},
        folder / _FILE,
        metadata={"training": json.dumps(about)},
    )


def _take_up(agent: Any, seasons: list[BettingEnvironment], path: Path) -> None:
    with safe_open(path, framework="pt") as file:
        about = json.loads(file.metadata()["training"])
        # Copied, since the last bits of a product may depend on where in memory an array begins.
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118  (no mapping)

    def under(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): one for name, one in tensors.items() if name.startswith(prefix)}

    agent.policy.load_state_dict(under("policy."))
    states: dict[int, dict[str, Tensor]] = {}
    for name, one in under("optimiser.").items():
        number, _, of_it = name.partition(".")
        states.setdefault(int(number), {})[of_it] = one
    groups = agent.policy.optimizer.state_dict()["param_groups"]
    agent.policy.optimizer.load_state_dict({"state": states, "param_groups": groups})
    for name, value in about["counts"].items():
        setattr(agent, name, value)
    agent._last_obs, agent._last_episode_starts = tensors["seen"].numpy(), tensors["begun"].numpy()
    if "buffer" in about:
        buffer = agent.replay_buffer
        for name, one in under("remembered.").items():
            getattr(buffer, name)[: len(one)] = one.numpy()
        buffer.pos, buffer.full = about["buffer"]["pos"], about["buffer"]["full"]
    for season, place in zip(seasons, about["places"], strict=True):
        season.go_to(place)
    agent.action_space.np_random.bit_generator.state = about["actions"]
    np.random.set_state(("MT19937", tensors["numpy"].numpy().astype(np.uint32), *about["numpy"]))
    torch.set_rng_state(tensors["torch"])
    if "cuda" in tensors:
        torch.cuda.set_rng_state(tensors["cuda"], agent.device)
