"""Finds out what the columns of a table are: roles, features, and what must be no feature."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from sweeproute.data import Dataset

# What a table may call the columns that a data set needs, and those that it can use.
NEEDED = {
    "outcome": ("home_win", "home_won", "outcome", "won", "target", "label"),
    "season": ("season", "year"),
    "date": ("date", "gameday", "game_date", "kickoff", "gametime", "played_on"),
}
ODDS = {
    "odds_home": ("odds_home", "home_odds", "home_decimal_odds", "decimal_odds_home", "home_closing_odds"),
    "odds_away": ("odds_away", "away_odds", "away_decimal_odds", "decimal_odds_away", "away_closing_odds"),
}
_TEAMS = {
    "home_team": ("home_team", "home_team_name", "home_team_abbr"),
    "away_team": ("away_team", "away_team_name", "away_team_abbr"),
}
_GAME = {"game_id": ("game_id", "game_key", "match_id")}
# A name that is made of these alone, one of the second kind among them, is of a game that has ended: home_score,
# point_diff, final_margin, total.
_BESIDE = (
    *("home", "away", "host", "visitor", "visiting", "guest", "road", "team", "opponent", "opp", "own", "h", "a"),
    *("final", "actual", "real", "full", "game", "difference", "differential", "diff", "net", "combined", "sum"),
    *("scored", "allowed", "for", "against", "of", "by", "in", "is", "did", "went", "first", "second", "half"),
)
_ENDED = (
    *("scores", "score", "points", "point", "pts", "margin", "results", "result", "total", "overtime", "ot"),
    *("winner", "won", "win", "loser", "lost", "loss", "tied", "tie", "mov", "victory", "covered", "cover", "outcome"),
    *("q1", "q2", "q3", "q4"),
)
_ALL_ENDED = re.compile(rf"(?:{'|'.join(_BESIDE + _ENDED)})+")
_SOME_ENDED = re.compile("|".join(_ENDED))
# With other words beside them, too: these wherever they stand, those at the end.
_ANYWHERE = {"result", "results", "winner", "won", "covered"}
_LAST = {"score", "scores", "margin", "points", "pts", "overtime"}
# Unless the name says that it looks back over earlier games, or that it expects.
_LOOKS_BACK = {
    *("avg", "average", "mean", "median", "std", "var", "last", "prev", "previous", "prior", "past", "before"),
    *("pregame", "rolling", "roll", "ewm", "ewma", "ema", "lag", "lagged", "asof", "ytd", "season", "form", "per"),
    *("pct", "rate", "ratio", "streak", "trend", "since", "recent", "career", "history", "historical"),
}
_EXPECTS = {
    *("line", "spread", "implied", "expected", "predicted", "projected", "prob", "probability", "elo", "rating"),
}
_TELLING = 0.75
_IDS = {"id", "gsis", "pfr", "pff", "espn", "ftn", "index"}


@dataclass
class Table:
    """What stands in a table.

    Attributes:
        settings: The group `data` that reads it, `source` included.
        told: The roles of its columns, in words.
        games: Its games; None where they cannot be read as they are.
        ended: Columns that only a game that has ended has.
        excluded: All columns that are made no features: those, ids, and odds.
        american: Columns of American odds, which a table of features cannot have.
        problems: Why it cannot be used, a sentence each.
    """

    settings: dict[str, Any] = field(default_factory=lambda: {"source": "csv"})
    told: str = ""
    games: "Dataset | None" = None
    ended: list[str] = field(default_factory=list)
    excluded: list[str] = field(default_factory=list)
    american: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def has_odds(self) -> bool:
        """Whether there is something to bet at."""
        return self.settings.get("source") != "csv" or None not in map(self.settings.get, ODDS)

    @property
    def seasons(self) -> list[int]:
        """Seasons with a game that was won, ascending."""
        return [] if self.games is None else sorted({int(one) for one in self.games.season})

    @property
    def suspects(self) -> list[str]:
        """Features that alone tell winners from losers better than bookmakers do.

        A ranking of the games by one of them has an area under the ROC curve of 0.75 or more, either way round; closing
        odds of the NFL come to about 0.7, a side's own score to about 0.8. Of fewer than 100 games nothing is said.
        """
        if self.games is None or len(self.games.outcome) < 100:
            return []
        found = []
        for name, column in self.games.features.items():
            there = column.notna()
            ranks, won = column[there].rank(), self.games.outcome[there.to_numpy()] == 1
            pairs = int(won.sum()) * int((~won).sum())
            if pairs:
                # Mann and Whitney's U over the pairs of a winner and a loser is the area.
                area = (ranks[won].sum() - won.sum() * (won.sum() + 1) / 2) / pairs
                if max(area, 1 - area) >= _TELLING:
                    found.append(str(name))
        return found


def look(path: Path, said: Mapping[str, Any], years: tuple[int, int] | None) -> Table:
    """Read a table, and find out what its columns are.

    Args:
        path: Comma-separated, or parquet by its suffix.
        said: Fields of the group `data` that are settled already, such as the column of the outcome.
        years: First and last season that are wanted.

    Returns:
        What stands there, with what is wrong with it.
    """
    found = Table()
    try:
        frame = _read(path)
    except (ValueError, OSError) as error:
        found.problems.append(f"dataset {path} is no table ({_first_line(error)}); give CSV or parquet.")
        return found
    names = [str(name) for name in frame.columns]
    if _is_games_table(names, said):
        first, last = years or (None, None)
        found.settings = {"source": "nfl", "path": str(path), "first_season": first, "last_season": last, **said}
        found.told = "games in the schema of nflverse's games.csv; what was known before each is made from the earlier"
    else:
        _features(frame, names, path, said, found)
    if not found.problems:
        _load(path, found)
    return found


def known_afterwards(name: str) -> bool:
    """Whether a column's name says that only a game that has ended has it: a score, a margin, a winner.

    Args:
        name: The column's name, in whatever case.

    Example:
        >>> [known_afterwards(name) for name in ("home_score", "pointDiff", "home_points_avg", "total_line")]
        [True, True, False, False]
    """
    words = _words(name)
    joined = "".join(words)
    if _ALL_ENDED.fullmatch(joined) and _SOME_ENDED.search(joined):
        return True
    if not words or any(word in _LOOKS_BACK or re.fullmatch(r"l?\d+[a-z]?", word) for word in words):
        return False
    return bool(_ANYWHERE.intersection(words)) or (words[-1] in _LAST and not _EXPECTS.intersection(words))


def plain(word: Any) -> str:
    """A word without case, blanks and marks."""
    return re.sub(r"[^a-z0-9]", "", str(word).lower())


def _read(path: Path) -> "pd.DataFrame":
    # lazy import: a command that shows its help needs no tables
    import pandas as pd

    return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, low_memory=False)


def _is_games_table(names: list[str], said: Mapping[str, Any]) -> bool:
    from sweeproute.data.games import REQUIRED

    has_outcome = "outcome" in said or _named(NEEDED["outcome"], names) is not None
    return set(REQUIRED) <= set(names) and not has_outcome


def _features(frame: "pd.DataFrame", names: list[str], path: Path, said: Mapping[str, Any], found: Table) -> None:
    """Give each column its role, as a table of features."""
    roles = {role: said.get(role, _named(known, names)) for role, known in NEEDED.items()}
    roles |= {role: said.get(role, _named(known, names)) for role, known in _GAME.items()}
    for pair in (ODDS, _TEAMS):
        sides = {role: said.get(role, _named(known, names)) for role, known in pair.items()}
        # One side alone is of no use, unless somebody said so and is to be told.
        if None not in sides.values() or said.keys() & pair.keys():
            roles |= sides
    for role in NEEDED:
        if roles[role] is None:
            found.problems.append(
                f"dataset {path} has no column that is known as its {role} ({', '.join(NEEDED[role])}); say which one "
                f"is: data.{role}=COLUMN."
            )
    found.told = ", ".join(f"{role}: {name}" for role, name in roles.items() if name is not None)
    numeric = {str(name) for name in frame.select_dtypes(["number", "bool"]).columns} - set(roles.values())
    free = [name for name in names if name in numeric]
    other_outcomes = {plain(name) for name in NEEDED["outcome"]}
    found.ended = [name for name in free if known_afterwards(name) or plain(name) in other_outcomes]
    found.american = [name for name in names if plain(name) in ("homemoneyline", "awaymoneyline")]
    found.excluded = [name for name in free if name in found.ended or _is_price_or_id(name)]
    _as_somebody_said(said, free, path, found)
    settings = {role: name for role, name in roles.items() if name is not None}
    if found.excluded:
        settings["exclude"] = found.excluded
    found.settings = {"source": "csv", "path": str(path), **settings, **said}


def _as_somebody_said(said: Mapping[str, Any], free: list[str], path: Path, found: Table) -> None:
    """Respect features and exclusions that were said, as long as no result is among the features."""
    import fnmatch

    literally = [name for name in said.get("features") or [] if name in found.excluded]
    found.ended = [name for name in found.ended if name not in literally]
    found.excluded = [name for name in found.excluded if name not in literally]
    if "exclude" not in said:
        return
    patterns = [str(pattern) for pattern in said["exclude"] or []]
    chosen = {name for pattern in patterns for name in free if name == pattern or fnmatch.fnmatch(name, pattern)}
    if left := [name for name in found.ended if name not in chosen]:
        found.problems.append(
            f"data.exclude leaves {', '.join(left)} of {path} among the features, which only a game that has ended "
            f"has; say data.exclude=[{','.join([*patterns, *left])}], or name in data.features what was known before."
        )
    found.excluded = [name for name in free if name in chosen]


def _load(path: Path, found: Table) -> None:
    from sweeproute.data import DataError, load

    try:
        found.games = load(found.settings)
    except DataError as error:
        found.problems.append(f"dataset {path}: {error}")


def _named(known: Iterable[str], names: list[str]) -> str | None:
    """The first column that has one of these names, in whatever case."""
    there = {plain(name): name for name in reversed(names)}
    return next((there[plain(name)] for name in known if plain(name) in there), None)


def _is_price_or_id(name: str) -> bool:
    words = _words(name)
    return (
        bool({"odds", "moneyline"}.intersection(words))
        or words[-1:] in [[word] for word in _IDS]
        or not words[:1]
        or (words[0] == "unnamed")
    )


def _words(name: str) -> list[str]:
    """The words of a name, small: home_score, homeScore and Home-Score have the same two."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", str(name)).lower()
    return [word for word in re.split(r"[^a-z0-9]+", apart) if word]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
