"""A simulated league that plays seasons in the shape of the NFL's, with a bookmaker who prices them.

32 teams in two conferences of four divisions. Each has an attack and a defence (points per game against an average
opponent) that are drawn anew in part every season and drift from week to week. A game is a fixed number of drives for
each side; a drive ends in a touchdown, a field goal or nothing, and the chance of a touchdown follows from the points
that a side is expected to make: its attack, the other's defence, home advantage, rest. So scores have the NFL's key
numbers and spread, and the probability that the home side wins is known exactly. The bookmaker learns from all results,
hears some news of every team each week, quotes what follows from both, adds his overround, and rounds. So the market
knows more than the results do and less than the truth, and is calibrated: no bet that the results suggest has an edge.
"""

import datetime as dt
from collections.abc import Iterator

import numpy as np
import pandas as pd

from sweeproute.data.bookmaker import Beliefs, moneylines

CONFERENCES = ("A", "N")
DIVISIONS = tuple(f"{conference}{side}" for conference in CONFERENCES for side in "ENSW")
TEAMS = tuple(f"{division}{number}" for division in DIVISIONS for number in range(1, 5))
N_TEAMS = len(TEAMS)

# Scoring: 11 drives a side with touchdowns of 7 and field goals of 3 spread the margin by about 13.4 points (one SD).
DRIVES = 11
FIELD_GOAL = 0.15
AVERAGE_POINTS = 22.3
HOME_POINTS = 2.4
REST_POINTS = 0.12  # per day of difference, up to a week of it
PER_DRIVE = AVERAGE_POINTS / DRIVES
# Of an average side's score: 7 for a point by touchdowns, 3 for one by field goals, less the mean squared, a drive.
SCORE_VARIANCE = DRIVES * (7 * (PER_DRIVE - 3 * FIELD_GOAL) + 3 * 3 * FIELD_GOAL - PER_DRIVE**2)
# Of games level after four quarters: the share that stays a tie, what a point of strength is worth in overtime.
STILL_TIED = 0.06
OVERTIME_EDGE = 0.015
# Attack and defence, points: what is kept from one season to the next, what is new, what a week changes; the spread to
# which this leads, and from which it starts.
KEPT = 0.82
SEASON_SD = 2.05
WEEK_SD = 0.15
START_SD = SEASON_SD / (1 - KEPT**2) ** 0.5
# The bookmaker: noise of each week's news of an attack or a defence (points), range of his overround.
NEWS_SD = 4.5
OVERROUND = (0.025, 0.045)

BYE_WEEKS = range(5, 13)
NEUTRAL_GAMES = 3  # a season, besides the final
# Kick-offs of a regular week: how many games on which day after Thursday, at what time; the others Sunday at one.
SLOTS = ((1, 0, "20:20"), (1, 3, "20:20"), (1, 4, "20:15"), (4, 3, "16:25"))
PLAYOFF_SLOTS = ((2, "16:30"), (3, "13:00"), (2, "20:15"), (3, "16:40"), (3, "20:15"), (4, "20:15"))


def simulate(first_season: int, last_season: int, seed: int) -> pd.DataFrame:
    """Play the seasons and price their games.

    Args:
        first_season: first season, a year.
        last_season: last season, inclusive.
        seed: of the whole simulation; a later last season leaves the earlier seasons as they are.

    Returns:
        (n_games, n_columns) in the schema of nflverse's games.csv, and one column outside it: home_win_probability, the
        true probability that the home side wins, given that the game is not a tie. It is no feature: no one knows it.
    """
    rng = np.random.default_rng(seed)
    strength = rng.normal(0, START_SD, 2 * N_TEAMS)
    beliefs = Beliefs(2 * N_TEAMS, START_SD**2)
    # Only differences matter, so attacks and defences are centred.
    kept = KEPT * np.kron(np.eye(2), np.eye(N_TEAMS) - 1 / N_TEAMS)
    seasons = []
    for year in range(first_season, last_season + 1):
        strength = kept @ strength + rng.normal(0, SEASON_SD, 2 * N_TEAMS)
        beliefs.move(kept, SEASON_SD**2)
        season = _Season(year, rng, strength, beliefs)
        season.play()
        strength = season.strength
        seasons.append(pd.DataFrame(season.rows))
    return pd.concat(seasons, ignore_index=True)


class _Season:
    """One season, week by week."""

    def __init__(self, year: int, rng: np.random.Generator, strength: np.ndarray, beliefs: Beliefs) -> None:
        self.year = year
        self.rng = rng
        self.strength = strength  # (64,) points: the attacks, then the defences
        self.beliefs = beliefs  # the bookmaker's, about them
        self.rows: list[dict[str, object]] = []
        self.wins = np.zeros(N_TEAMS)
        self.balance = np.zeros(N_TEAMS)  # points for minus points against
        self.last_day: list[dt.date | None] = [None] * N_TEAMS
        labor_day = next(day for day in _days(dt.date(year, 9, 1)) if day.weekday() == 0)
        self.opening = labor_day + dt.timedelta(days=3)

    def play(self) -> None:
        """Play the regular season, then the playoffs."""
        weeks = _schedule(self.rng, 18 if self.year >= 2021 else 17)
        neutral = set(self.rng.choice(np.arange(2, len(weeks)), NEUTRAL_GAMES, replace=False).tolist())
        for week, pairs in enumerate(weeks, 1):
            slots = [(day, time) for count, day, time in SLOTS for _ in range(count)]
            slots += [(3, "13:00")] * (len(pairs) - len(slots))
            grounds = [game == len(slots) - 1 and week in neutral for game in range(len(slots))]
            self._week(week, "REG", self.rng.permutation(pairs), slots, grounds)
        self._playoffs(len(weeks) + 1)

    def _playoffs(self, week: int) -> None:
        """Play down to one team a conference, best seed against worst, then the final on neutral ground."""
        n_seeds = 7 if self.year >= 2020 else 6
        order = sorted(range(N_TEAMS), key=lambda team: (-self.wins[team], -self.balance[team], team))
        half = N_TEAMS // len(CONFERENCES)
        alive = [[team for team in order if team // half == side][:n_seeds] for side in range(len(CONFERENCES))]
        for game_type in ("WC", "DIV", "CON"):
            # Best seeds wait until the number left is a power of two.
            resting = len(alive[0]) if len(alive[0]) & (len(alive[0]) - 1) else 0
            byes = (1 << resting.bit_length()) - resting if resting else 0
            pairs = [(seeds[byes + k], seeds[-1 - k]) for seeds in alive for k in range((len(seeds) - byes) // 2)]
            home_won = self._week(week, game_type, np.array(pairs), list(PLAYOFF_SLOTS), [False] * len(pairs))
            losers = {pair[1] if won else pair[0] for pair, won in zip(pairs, home_won, strict=True)}
            alive = [[team for team in seeds if team not in losers] for seeds in alive]
            week += 1
        final = np.array([[alive[0][0], alive[1][0]]])
        self._week(week, "SB", final, [(10, "18:30")], [True])  # a week later than the round before asks for

    def _week(
        self, week: int, game_type: str, pairs: np.ndarray, slots: list[tuple[int, str]], neutral: list[bool]
    ) -> np.ndarray:
        """Play one week's games; returns whether each home side won."""
        rng, n_games = self.rng, len(pairs)
        self.strength = self.strength + rng.normal(0, WEEK_SD, 2 * N_TEAMS)
        home, away = pairs[:, 0], pairs[:, 1]
        ground = np.array(neutral)
        days = [self.opening + dt.timedelta(days=7 * (week - 1) + day) for day, _ in slots[:n_games]]
        rest = np.array([[self._rest(team, day) for team in pair] for pair, day in zip(pairs, days, strict=True)])

        edge = np.where(ground, 0.0, HOME_POINTS) + REST_POINTS * np.clip(rest[:, 0] - rest[:, 1], -7, 7)
        even = AVERAGE_POINTS + np.outer(edge / 2, [1, -1])  # (n_games, 2) points if all were average
        design = _design(pairs)
        expected = even + (design @ self.strength).reshape(-1, 2)
        scores, overtime = _play(rng, expected, may_tie=game_type == "REG")
        foreseen, quotes = self._price(even, design)
        self.beliefs.see(design, (scores - even).ravel(), SCORE_VARIANCE)
        truth = win_probability(expected).round(6)

        margin = scores[:, 0] - scores[:, 1]
        for game in np.argsort([f"{day} {time}" for day, (_, time) in zip(days, slots, strict=False)], kind="stable"):
            one, two, day = int(home[game]), int(away[game]), days[game]
            self.rows.append(
                {
                    "game_id": f"{self.year}_{week:02d}_{TEAMS[two]}_{TEAMS[one]}",
                    "season": self.year,
                    "game_type": game_type,
                    "week": week,
                    "gameday": day.isoformat(),
                    "weekday": day.strftime("%A"),
                    "gametime": slots[game][1],
                    "away_team": TEAMS[two],
                    "away_score": float(scores[game, 1]),
                    "home_team": TEAMS[one],
                    "home_score": float(scores[game, 0]),
                    "location": "Neutral" if neutral[game] else "Home",
                    "result": float(margin[game]),
                    "total": float(scores[game].sum()),
                    "overtime": float(overtime[game]),
                    "away_rest": int(rest[game, 1]),
                    "home_rest": int(rest[game, 0]),
                    "away_moneyline": float(quotes[game, 1]),
                    "home_moneyline": float(quotes[game, 0]),
                    "spread_line": _half(foreseen[game, 0] - foreseen[game, 1]),
                    "total_line": _half(foreseen[game].sum()),
                    "div_game": int(one // 4 == two // 4),
                    "home_win_probability": float(truth[game]),
                }
            )
            self.last_day[one] = self.last_day[two] = day
            self.balance[one] += margin[game]
            self.balance[two] -= margin[game]
            self.wins[one] += (margin[game] > 0) + 0.5 * (margin[game] == 0)
            self.wins[two] += (margin[game] < 0) + 0.5 * (margin[game] == 0)
        return margin > 0

    def _price(self, even: np.ndarray, design: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Let the bookmaker hear the week's news; returns what points he expects and his quotes, both (n_games, 2)."""
        every = np.eye(2 * N_TEAMS)
        self.beliefs.move(every, WEEK_SD**2)
        self.beliefs.see(every, self.strength + self.rng.normal(0, NEWS_SD, 2 * N_TEAMS), NEWS_SD**2)
        expected = even + (design @ self.beliefs.mean).reshape(-1, 2)
        doubt = np.sqrt(self.beliefs.variance_of(design[::2] - design[1::2]))  # of the margin
        overround = self.rng.uniform(*OVERROUND, len(even))
        return expected, moneylines(_mean_win_probability(expected, doubt), overround)

    def _rest(self, team: int, day: dt.date) -> int:
        """Days since the team's last game of the season; a week before the first, as nflverse has it."""
        last = self.last_day[team]
        return 7 if last is None else (day - last).days


def win_probability(expected: np.ndarray) -> np.ndarray:
    """Return the exact probability that the home side wins, given that the game is not a tie.

    Args:
        expected: (n_games, 2) points that home and away are expected to score.

    Returns:
        (n_games,) from the distribution of the two sums of independent drives, and from overtime.
    """
    drive = np.zeros((*expected.shape, 8 * DRIVES))  # probability of 0, 3 and 7 points, room for 11 touchdowns
    touchdown = _touchdown(expected)
    drive[..., 0], drive[..., 3], drive[..., 7] = 1 - FIELD_GOAL - touchdown, FIELD_GOAL, touchdown
    points = np.fft.irfft(np.fft.rfft(drive) ** DRIVES, drive.shape[-1])  # (n_games, 2, n_points)
    below = np.cumsum(points[:, 1], axis=-1) - points[:, 1]
    ahead = (points[:, 0] * below).sum(axis=-1)
    level = (points[:, 0] * points[:, 1]).sum(axis=-1)
    return (ahead + level * (1 - STILL_TIED) * _overtime_win(expected)) / (1 - level * STILL_TIED)


def _mean_win_probability(expected: np.ndarray, doubt: np.ndarray) -> np.ndarray:
    """Mean win probability (n_games,) when the expected margin is normal with SD `doubt`, (n_games,) points."""
    half = np.sqrt(3) / 2 * doubt[:, None] * np.array([1, -1])  # Gauss-Hermite quadrature with three nodes
    low, middle, high = (win_probability(expected + node * half) for node in (-1, 0, 1))
    return (low + 4 * middle + high) / 6


def _design(pairs: np.ndarray) -> np.ndarray:
    """Which strengths make whose points: (2 * n_games, n_strengths), rows in the order home, away, home, ..."""
    own, other = pairs.ravel(), pairs[:, ::-1].ravel()
    team = np.eye(N_TEAMS)
    return np.hstack([team[own], -team[other]])


def _play(rng: np.random.Generator, expected: np.ndarray, may_tie: bool) -> tuple[np.ndarray, np.ndarray]:
    """Draw the scores (n_games, 2), and which games went to overtime."""
    touchdown = _touchdown(expected)
    shares = np.stack([touchdown, np.full_like(touchdown, FIELD_GOAL), 1 - FIELD_GOAL - touchdown], axis=-1)
    scores = rng.multinomial(DRIVES, shares)[..., :2] @ np.array([7, 3])
    overtime = scores[:, 0] == scores[:, 1]
    decided = overtime & ((rng.random(len(scores)) >= STILL_TIED) | (not may_tie))
    home_first = rng.random(len(scores)) < _overtime_win(expected)
    extra = np.where(rng.random(len(scores)) < 0.6, 3, 6)
    scores[:, 0] += np.where(decided & home_first, extra, 0)
    scores[:, 1] += np.where(decided & ~home_first, extra, 0)
    return scores, overtime


def _touchdown(expected: np.ndarray) -> np.ndarray:
    """Chance that a drive ends in a touchdown, so that the drives make the expected points."""
    return np.clip((expected / DRIVES - 3 * FIELD_GOAL) / 7, 0.03, 0.6)


def _overtime_win(expected: np.ndarray) -> np.ndarray:
    return np.clip(0.5 + OVERTIME_EDGE * (expected[:, 0] - expected[:, 1]), 0.05, 0.95)


def _schedule(rng: np.random.Generator, n_weeks: int) -> list[np.ndarray]:
    """Pair the teams for each week: (n_games, 2) of home and away.

    Every team meets its three rivals of the division twice, home and away, in weeks without byes, and others at most
    once; four teams are off in each week of byes. The side with fewer home games so far plays at home.
    """
    free = [week for week in range(1, n_weeks + 1) if week not in BYE_WEEKS]
    # The last week is the rivals', as in the NFL; the others are drawn.
    rivals = [*sorted(rng.choice(free[:-1], 5, replace=False).tolist()), free[-1]]
    off = rng.permutation(N_TEAMS).reshape(len(BYE_WEEKS), -1)
    legs = rng.permutation([(0, 1, 2, 3), (0, 2, 3, 1), (0, 3, 1, 2)])
    met = np.eye(N_TEAMS, dtype=bool)
    for division in range(len(DIVISIONS)):
        met[4 * division : 4 * division + 4, 4 * division : 4 * division + 4] = True
    hosted = np.zeros(N_TEAMS)
    weeks = []
    for week in range(1, n_weeks + 1):
        if week in rivals:
            leg = rivals.index(week)
            within = np.concatenate([legs[leg % 3] + 4 * division for division in range(len(DIVISIONS))]).reshape(-1, 2)
            pairs = within if leg < 3 else within[:, ::-1]
        else:
            resting = off[week - BYE_WEEKS.start] if week in BYE_WEEKS else []
            pairs = _strangers(rng, np.setdiff1d(np.arange(N_TEAMS), resting), met)
            met[pairs[:, 0], pairs[:, 1]] = met[pairs[:, 1], pairs[:, 0]] = True
            swap = hosted[pairs[:, 0]] > hosted[pairs[:, 1]]
            pairs = np.where(swap[:, None], pairs[:, ::-1], pairs)
        hosted[pairs[:, 0]] += 1
        weeks.append(pairs)
    return weeks


def _strangers(rng: np.random.Generator, teams: np.ndarray, met: np.ndarray) -> np.ndarray:
    """Pair the teams so that no pair has met; draws again when the last ones cannot be paired, which soon works out."""
    while True:
        left, pairs = rng.permutation(teams).tolist(), []
        while left:
            team = left.pop()
            other = next((candidate for candidate in left if not met[team, candidate]), None)
            if other is None:
                break
            left.remove(other)
            pairs.append((team, other))
        else:
            return np.array(pairs)


def _half(value: float) -> float:
    return float(np.round(2 * value) / 2)


def _days(first: dt.date) -> Iterator[dt.date]:
    while True:
        yield first
        first += dt.timedelta(days=1)
