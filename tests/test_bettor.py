"""Bettors: what they learn, that it is the same however often it was cut, and what their files hold."""

import random
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from sweeproute import estimators
from sweeproute.checkpoint import Checkpoint, Progress
from sweeproute.estimators import Bettor, Games, ModelError, Priced
from sweeproute.models.betting_observation import Scale, observe
from sweeproute.models.bettor import DQN, PPO, Agent
from synthetic_games import games

DATASET = games()
FEATURES = DATASET.features.to_numpy(dtype=np.float64)
ALL = Priced(Games(FEATURES), DATASET.odds, DATASET.season)
SMALL_NET: dict[str, Any] = {"n_envs": 8, "width": 8, "batch_size": 64}
QUICK: dict[type[Agent], dict[str, Any]] = {
    DQN: {**SMALL_NET, "total_timesteps": 1400, "learning_starts": 200, "gradient_steps": 1},
    PPO: {**SMALL_NET, "total_timesteps": 1536, "n_steps": 32},
}
BOTH = pytest.mark.parametrize("kind", [DQN, PPO])


def fitted(
    kind: type[Agent],
    progress: Progress | None = None,
    outcome: np.ndarray = DATASET.outcome,
    priced: Priced = ALL,
    **changes: Any,
) -> Agent:
    return kind(**QUICK[kind] | changes).fit_bets(priced, outcome, progress)


@cache
def plain(kind: type[Agent]) -> Agent:
    """One that learned of all games."""
    return fitted(kind)


def learned(agent: Agent) -> list[bytes]:
    """What a fit learned, and what it stakes, bit for bit."""
    return [*(one.tobytes() for one in agent.layers_), agent.stakes(ALL.games, ALL.odds).tobytes()]


# What they learn


@BOTH
def test_it_answers_with_whole_units_on_one_side_and_with_none_where_there_are_no_odds(kind: type[Agent]) -> None:
    agent = plain(kind)
    assert isinstance(agent, Bettor)
    units = agent.stakes(ALL.games, ALL.odds)
    assert units.shape == DATASET.outcome.shape
    assert set(units.tolist()) <= {-2, -1, 0, 1, 2}
    unpriced = np.isnan(ALL.odds).any(axis=1)
    assert unpriced.any()
    assert not units[unpriced].any()


def known_ends(priced: np.ndarray) -> Priced:
    """Games at even odds that a feature tells the end of."""
    tell = np.column_stack([2.0 * DATASET.outcome - 1, FEATURES[:, 1:]])
    return Priced(Games(tell), priced, DATASET.season)


@BOTH
def test_it_backs_the_winner_where_a_feature_tells_who_that_is(kind: type[Agent]) -> None:
    even = known_ends(np.full(DATASET.odds.shape, 1.9))
    changes: dict[str, Any] = {"total_timesteps": 16000, "n_envs": 40, "learning_rate": 0.01}
    units = fitted(kind, priced=even, **changes).stakes(even.games, even.odds)
    right = np.sign(units) == np.where(DATASET.outcome == 1, 1, -1)
    assert right.mean() > 0.95


@BOTH
def test_it_leaves_bets_alone_that_nobody_can_win(kind: type[Agent]) -> None:
    # Who wins is drawn, and a winner pays a tenth of what a loser costs.
    hopeless = Priced(ALL.games, np.full(DATASET.odds.shape, 1.1), DATASET.season)
    drawn = np.random.default_rng(2).integers(0, 2, len(DATASET.outcome)).astype(np.int8)
    changes: dict[str, Any] = {"total_timesteps": 12000, "n_envs": 40, "learning_rate": 0.01}
    units = fitted(kind, priced=hopeless, outcome=drawn, **changes).stakes(hopeless.games, hopeless.odds)
    assert np.count_nonzero(units) < 0.02 * len(units)


@BOTH
def test_it_chooses_as_the_library_would(kind: type[Agent], monkeypatch: pytest.MonkeyPatch) -> None:
    from sweeproute.models import bettor_training

    kept: list[Any] = []
    of_library = bettor_training._layers
    monkeypatch.setattr(bettor_training, "_layers", lambda agent: (kept.append(agent), of_library(agent))[1])
    agent = fitted(kind, depth=2)
    seen = observe(FEATURES, ALL.odds, Scale(agent.mean_, agent.deviation_))
    theirs, _ = kept[0].predict(seen, deterministic=True)
    assert agent.values(seen).argmax(axis=1).tolist() == theirs.tolist()
    assert len(set(theirs.tolist())) > 1 or kind is PPO


@BOTH
def test_what_it_stakes_on_a_season_does_not_depend_on_its_results_nor_on_anything_later(kind: type[Agent]) -> None:
    early, late = (np.flatnonzero(rows) for rows in (DATASET.season < 2009, DATASET.season >= 2009))
    past = Priced(Games(FEATURES[early]), ALL.odds[early], DATASET.season[early])
    agent = fitted(kind, priced=past, outcome=DATASET.outcome[early])
    first = late[:40]
    before = agent.stakes(Games(FEATURES[first]), ALL.odds[first])
    whole = agent.stakes(Games(FEATURES[late]), ALL.odds[late])
    assert before.tobytes() == whole[:40].tobytes()


@BOTH
def test_only_games_with_odds_teach_it(kind: type[Agent]) -> None:
    unpriced = np.isnan(ALL.odds).any(axis=1)
    wild = Priced(Games(np.where(unpriced[:, None], 50.0, FEATURES)), ALL.odds, DATASET.season)
    outcome = np.where(unpriced, 1 - DATASET.outcome, DATASET.outcome).astype(np.int8)
    assert learned(fitted(kind, priced=wild, outcome=outcome)) == learned(plain(kind))


# The same again


@BOTH
def test_the_same_seed_learns_bitwise_the_same_and_another_something_else(kind: type[Agent]) -> None:
    assert learned(fitted(kind)) == learned(plain(kind))
    assert learned(fitted(kind, random_state=1)) != learned(plain(kind))


@BOTH
def test_it_leaves_the_random_states_and_the_threads_alone_and_does_not_depend_on_them(
    kind: type[Agent],
) -> None:
    whole = learned(plain(kind))
    random.seed(3)
    np.random.seed(3)
    torch.manual_seed(3)
    torch.set_num_threads(2)
    before = random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state().tolist()
    flags = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.deterministic
    assert learned(fitted(kind)) == whole
    assert before == (random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state().tolist())
    assert flags == (torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.deterministic)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)


class Cut(Exception):
    pass


class CutAfter(Progress):
    """The fit of a process that is killed after some saves."""

    def __init__(self, checkpoint: Checkpoint, saves: int) -> None:
        super().__init__(checkpoint, 2018, checkpoint.fit(2018).saved, 0.0)
        self._left = saves

    def due(self) -> bool:
        return True

    def save(self, *args: Any) -> None:
        super().save(*args)
        self._left -= 1
        if not self._left:
            raise Cut


def opened(folder: Path) -> Checkpoint:
    return Checkpoint.open(folder, "f", "cpu", None)


def cut(kind: type[Agent], folder: Path, saves: int, **changes: Any) -> None:
    with pytest.raises(Cut):
        fitted(kind, CutAfter(opened(folder), saves), **changes)


@pytest.mark.parametrize(
    ("kind", "changes", "saves", "where"),
    [
        (DQN, {}, (90, 60), "1200 games bet on"),
        # A buffer that has begun anew, games that later ones count for, and a target of their own.
        (
            DQN,
            {"buffer_size": 400, "gamma": 0.9, "train_freq": 3, "target_update_interval": 64},
            (25, 30),
            "1320 games",
        ),
        (PPO, {}, (2, 3), "1280 games bet on"),
        (PPO, {"gamma": 0.5, "depth": 0, "risk_aversion": 0.1}, (1, 1), "512 games bet on"),
    ],
    ids=str,
)
def test_a_fit_that_was_cut_twice_learns_bitwise_what_it_learns_at_once(
    kind: type[Agent], changes: dict[str, Any], saves: tuple[int, int], where: str, tmp_path: Path
) -> None:
    for one in saves:
        cut(kind, tmp_path, one, **changes)
    again = opened(tmp_path)
    assert str(again.resumed_from([2018])).startswith(f"fold 2018, {where}")
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == {".json", ".safetensors"}
    assert learned(fitted(kind, again.fit(2018), **changes)) == learned(fitted(kind, **changes))


# Files and parameters


@BOTH
def test_it_comes_back_from_its_file_and_stakes_the_same(kind: type[Agent], tmp_path: Path) -> None:
    agent = plain(kind)
    estimators.save(agent, tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}
    again = estimators.load(tmp_path)
    assert type(again) is kind
    assert again.get_params() == agent.get_params()
    assert learned(again) == learned(agent)


@pytest.mark.parametrize("content", [b"", b"x" * 400])
def test_a_damaged_file_is_named(content: bytes, tmp_path: Path) -> None:
    estimators.save(plain(DQN), tmp_path)
    (tmp_path / "bettor.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match=r"bettor\.safetensors cannot be read .*; save the model again"):
        estimators.load(tmp_path)


@BOTH
def test_its_parameters_are_copied_as_scikit_learn_copies_them(kind: type[Agent]) -> None:
    agent = kind(width=7, gamma=0.3)
    assert clone(agent).get_params() == agent.get_params()


def test_what_cannot_be_is_said_in_a_sentence() -> None:
    with pytest.raises(NotFittedError, match="has learned nothing yet"):
        DQN().stakes(ALL.games, ALL.odds)
    with pytest.raises(ModelError, match="None of the 480 training games has odds"):
        fitted(DQN, priced=replace(ALL, odds=np.full_like(ALL.odds, np.nan)))
    with pytest.raises(ModelError, match="was fitted on 6 features, and is asked about games with 2"):
        plain(DQN).stakes(Games(FEATURES[:, :2]), ALL.odds)
    with pytest.raises(ModelError, match="device=abacus is not known; use cpu, cuda"):
        fitted(PPO, device="abacus")
    with pytest.raises(ValueError, match="'gamma' parameter of DQN must be a float in the range"):
        fitted(DQN, gamma=1.5)
