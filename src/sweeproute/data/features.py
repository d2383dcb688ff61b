"""As-of features: each game described by the games that had ended before its kick-off."""

import math
from collections import deque
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import pandas as pd

from sweeproute.betting import implied_probability
from sweeproute.data.games import MARKET, is_played, odds_of, spans, teams_of

# Elo with margin of victory as FiveThirtyEight described it for the NFL: K of 20, a third of the way back to the mean
# between seasons, 400 points for odds of ten to one. The faster one follows a season's turns.
ELO_K = 20.0
ELO_FAST_K = 40.0
ELO_HOME = 55.0  # Elo points; 25 of them are about one point on the field
# Attack and defence in points: the share of a game's surprise that is learned, the share lost between seasons.
POINTS_RATE = 0.07
MARGIN_RATE = 0.12
BETWEEN_SEASONS = 0.35
HOME_POINTS = 2.3  # mean margin of home sides
AVERAGE_POINTS = 21.5  # of a side in a game, where the running mean starts
AVERAGE_RATE = 0.005
# Windows in games. The pseudo-games draw a short record towards zero instead of leaving it undefined.
FORM_GAMES = 5
ROLLING_GAMES = 8
MEETINGS = 4
BYE_DAYS = 13
MOST_REST = 7.0  # days of difference, beyond which more rest means nothing

# Normal approximation of the final margin around the spread (Stern 1991, The American Statistician 45(3)).
SPREAD_SD = 13.86

# What is written about a game, home minus away unless it says otherwise.
NAMES = (
    "elo",  # rating, home advantage included
    "elo_fast",  # the same with a higher K, without what `elo` says
    "strength",  # attack plus defence, points
    "attack",  # home attack against away defence, points
    "defence",  # home defence against away attack, points
    "margin",  # smoothed margin adjusted for opponents, points
    "margin_to_date",  # mean margin of the season to date
    "wins_to_date",  # share of wins of the season to date
    "form",  # share of wins in the last five games of the season
    "points_for",  # mean of the last eight games of the season, above the league's mean
    "points_against",
    "home_away_split",  # margins of the home side at home against those of the away side away
    "head_to_head",  # mean margin of the last four meetings
    "rest",  # days
    "bye",  # -1, 0 or 1: who comes from a week off
    "neutral",  # 1 on neutral ground
)
MARKET_NAMES = ("market_probability", *MARKET)

_Points = TypeVar("_Points", float, np.ndarray)


@dataclass
class _Team:
    """What is known about a franchise at one moment."""

    elo: float = 0.0
    elo_fast: float = 0.0
    attack: float = 0.0
    defence: float = 0.0
    margin: float = 0.0
    at_home: deque[float] = field(default_factory=lambda: deque(maxlen=ROLLING_GAMES))
    away: deque[float] = field(default_factory=lambda: deque(maxlen=ROLLING_GAMES))
    season: int = -1
    margins: list[float] = field(default_factory=list)
    wins: list[float] = field(default_factory=list)
    points_for: list[float] = field(default_factory=list)
    points_against: list[float] = field(default_factory=list)

    def enter(self, season: int) -> None:
        """Begin a season: ratings go back towards the mean, the season's record is empty."""
        if self.season == season:
            return
        if self.season >= 0:
            self.elo *= 2 / 3
            self.elo_fast *= 2 / 3
            self.attack *= 1 - BETWEEN_SEASONS
            self.defence *= 1 - BETWEEN_SEASONS
            self.margin *= 1 - BETWEEN_SEASONS
        self.season = season
        self.margins, self.wins, self.points_for, self.points_against = [], [], [], []

    def record(self, scored: float, conceded: float, average: float) -> None:
        """Add a result to the season's record; wins are centred, half a point either way."""
        self.margins.append(scored - conceded)
        self.wins.append(float(np.sign(scored - conceded)) / 2)
        self.points_for.append(scored - average)
        self.points_against.append(conceded - average)


class _League:
    """All teams at one moment of the walk through time."""

    def __init__(self) -> None:
        self.teams: dict[str, _Team] = {}
        self.meetings: dict[frozenset[str], deque[tuple[str, float]]] = {}
        self.average = AVERAGE_POINTS

    def pair(self, home: str, away: str, season: int) -> tuple[_Team, _Team]:
        pair = self.teams.setdefault(home, _Team()), self.teams.setdefault(away, _Team())
        for team in pair:
            team.enter(season)
        return pair

    def settle(self, home: str, away: str, season: int, neutral: bool, scored: float, conceded: float) -> None:
        """Learn from a game that has ended; `scored` is the home side's."""
        one, two = self.pair(home, away, season)
        margin = scored - conceded
        advantage = 0.0 if neutral else ELO_HOME
        step = elo_step(one.elo - two.elo + advantage, margin, ELO_K)
        one.elo, two.elo = one.elo + step, two.elo - step
        step = elo_step(one.elo_fast - two.elo_fast + advantage, margin, ELO_FAST_K)
        one.elo_fast, two.elo_fast = one.elo_fast + step, two.elo_fast - step

        edge = 0.0 if neutral else HOME_POINTS / 2
        surprise_home = scored - (self.average + edge + one.attack - two.defence)
        surprise_away = conceded - (self.average - edge + two.attack - one.defence)
        one.attack += POINTS_RATE * surprise_home
        two.defence -= POINTS_RATE * surprise_home
        two.attack += POINTS_RATE * surprise_away
        one.defence -= POINTS_RATE * surprise_away
        self.average += AVERAGE_RATE * (surprise_home + surprise_away) / 2

        surprise = margin - 2 * edge - (one.margin - two.margin)
        one.margin += MARGIN_RATE * surprise
        two.margin -= MARGIN_RATE * surprise

        one.record(scored, conceded, self.average)
        two.record(conceded, scored, self.average)
        one.at_home.append(margin)
        two.away.append(-margin)
        self.meetings.setdefault(frozenset((home, away)), deque(maxlen=MEETINGS)).append((home, margin))

    def describe(
        self, home: str, away: str, season: int, neutral: bool, rest: tuple[float, float]
    ) -> tuple[float, ...]:
        """Return one game's features in the order of `NAMES`, from what is known now."""
        one, two = self.pair(home, away, season)
        elo = one.elo - two.elo
        attack, defence = one.attack - two.defence, one.defence - two.attack
        meetings = self.meetings.get(frozenset((home, away)), ())
        return (
            elo + (0.0 if neutral else ELO_HOME),
            one.elo_fast - two.elo_fast - elo,
            attack + defence,
            attack,
            defence,
            one.margin - two.margin,
            _mean(one.margins, 4) - _mean(two.margins, 4),
            _mean(one.wins, 4) - _mean(two.wins, 4),
            _mean(one.wins[-FORM_GAMES:], 2) - _mean(two.wins[-FORM_GAMES:], 2),
            _mean(one.points_for[-ROLLING_GAMES:], 3) - _mean(two.points_for[-ROLLING_GAMES:], 3),
            _mean(one.points_against[-ROLLING_GAMES:], 3) - _mean(two.points_against[-ROLLING_GAMES:], 3),
            _mean(one.at_home, 4) - _mean(two.away, 4),
            _mean([margin if host == home else -margin for host, margin in meetings], 2),
            min(max(rest[0] - rest[1], -MOST_REST), MOST_REST),
            float(rest[0] >= BYE_DAYS) - float(rest[1] >= BYE_DAYS),
            float(neutral),
        )


def build_features(games: pd.DataFrame, market: bool = False) -> pd.DataFrame:
    """Describe every game by what was known before its kick-off.

    A game informs another only if it had ended by then: four hours after its own kick-off, or at the end of its day
    where the hour is not known. Simultaneous games do not inform each other. Ties inform; games without a score do not.

    Args:
        games: (n_games, n_columns), a games table in any order; see `sweeproute.data.games`.
        market: add the closing market's own numbers.

    Returns:
        (n_games, n_features) float64 in the order and with the index of `games`; nothing is missing, save market
        features of games that had no line.

    Raises:
        DataError: a day or a time is not one.
    """
    begin, end = spans(games)
    game_id = games["game_id"].astype(str).to_numpy()
    home, away = teams_of(games).T.tolist()
    season = games["season"].astype(int).tolist()
    neutral = (games["location"] == "Neutral").tolist()
    rest = list(zip(games["home_rest"].astype(float), games["away_rest"].astype(float), strict=True))
    scored, conceded = games["home_score"].astype(float).tolist(), games["away_score"].astype(float).tolist()

    # The id settles the order of equal times, so that the order of the file cannot matter.
    upcoming = np.lexsort((game_id, begin)).tolist()
    ended = [row for row in np.lexsort((game_id, end)).tolist() if not math.isnan(scored[row])]
    known_at, next_ended = end[ended], 0
    league = _League()
    rows: list[tuple[float, ...]] = [()] * len(games)
    for row in upcoming:
        while next_ended < len(ended) and known_at[next_ended] <= begin[row]:
            past = ended[next_ended]
            league.settle(home[past], away[past], season[past], neutral[past], scored[past], conceded[past])
            next_ended += 1
        rows[row] = league.describe(home[row], away[row], season[row], neutral[row], rest[row])

    features = pd.DataFrame(rows, columns=list(NAMES), index=games.index, dtype=np.float64)
    if market:
        features[list(MARKET_NAMES)] = _market(games)
    # The last bits of exp and log differ between machines; without them the data hash is the same on all.
    return features.round(6)


def elo_probability(difference: _Points) -> _Points:
    """Return what ratings say of games: 400 points are odds of ten to one (Elo 1978, The Rating of Chessplayers).

    Args:
        difference: home minus away rating, home advantage included, of one game or (n_games,).

    Returns:
        Probability of a home win, of the same shape.
    """
    return 1 / (1 + 10 ** (-difference / 400))


def elo_step(difference: float, margin: float, k: float) -> float:
    """Return what the home side's rating gains from a game, and the away side's loses.

    Args:
        difference: home minus away rating before the game, home advantage included.
        margin: home minus away score.
        k: how much a surprise moves the ratings, rating points.

    Returns:
        Rating points: k times log(|margin| + 1) times the surprise, damped for favourites (FiveThirtyEight, "How our
        NFL predictions work"); a tie counts as half a win with no margin.
    """
    expected = elo_probability(difference)
    if margin == 0:
        return k * (0.5 - expected)
    favourite = difference if margin > 0 else -difference
    return k * math.log(abs(margin) + 1) * 2.2 / (favourite * 0.001 + 2.2) * ((margin > 0) - expected)


def home_wins(games: pd.DataFrame) -> np.ndarray:
    """Return the outcome of each game, (n_games,) float64: 1 home, 0 away, NaN for a tie or no score."""
    margin = (games["home_score"].astype(float) - games["away_score"].astype(float)).to_numpy()
    return np.where(is_played(games) & (margin != 0), (margin > 0).astype(float), np.nan)


def _market(games: pd.DataFrame) -> np.ndarray:
    """Return (n_games, 3): the home side's probability without the overround, spread, total."""
    lines = games[list(MARKET)].to_numpy(np.float64)
    from_spread = [0.5 * math.erfc(-spread / SPREAD_SD / math.sqrt(2)) for spread in lines[:, 0]]
    probability = implied_probability(odds_of(games))
    return np.column_stack([np.where(np.isnan(probability), from_spread, probability), lines])


def _mean(values: "list[float] | deque[float]", pseudo: int) -> float:
    """Mean with `pseudo` further games of zero."""
    return sum(values) / (len(values) + pseudo)
