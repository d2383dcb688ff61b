"""The tables of a chapter with a column for each part of the games: by season, by kind of game, by what is learned."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sweeproute import learning_curve
from sweeproute.baselines import HOME, NAMES
from sweeproute.comparable import span
from sweeproute.comparison import SetOfSeasons
from sweeproute.configuration import Estimate, estimates
from sweeproute.report_config import MetricTable, Report
from sweeproute.runs_where import nearest
from sweeproute.selection import maximize
from sweeproute.subsets import score, subsets
from sweeproute.tables import Column

_NOTHING = Estimate(float("nan"), None, 0)


class ChapterError(ValueError):
    """What a report is told to say cannot be said."""


@dataclass(frozen=True, eq=False)
class Parts:
    """What stands in such a table.

    Attributes:
        told: Its name and caption.
        metric: Of which it tells.
        columns: One a part; its key finds the values.
        of_rows: Values of each row of the comparison.
        of_baselines: Values of each baseline; one that is missing or NaN is not there.
        note: What has to be known of it.
    """

    told: MetricTable
    metric: str
    columns: tuple[Column, ...]
    of_rows: Sequence[Mapping[str, Estimate]]
    of_baselines: Sequence[Mapping[str, float]]
    note: str


def parts(found: SetOfSeasons, settings: Report) -> Iterator[Parts]:
    """Make what stands in these tables; of few seasons there is no learning curve.

    Args:
        found: The rows and baselines.
        settings: Metrics, and how games are divided.

    Raises:
        ChapterError: The settings name a metric or a baseline that is not there.
    """
    yield _season(found, settings.season)
    yield _subset(found, settings)
    against = settings.learning.against
    if against not in NAMES:
        raise ChapterError(
            f"report.learning.against={against} is no baseline; there are, nearest match first: "
            f"{nearest(against, NAMES)}."
        )
    if found.games["season"].nunique() >= learning_curve.LEAST:
        yield _learning(found, settings)


def _metric(found: SetOfSeasons, told: MetricTable, key: str) -> str:
    metric = told.metric or found.rule.metrics[0]
    if metric not in (known := sorted({name for row in found.rows for name in row.metrics})):
        raise ChapterError(
            f"report.{key}.metric={metric} is no metric of these runs; theirs are, nearest match first: "
            f"{nearest(metric, known)}."
        )
    return metric


def _season(found: SetOfSeasons, told: MetricTable) -> Parts:
    metric = _metric(found, told, "season")
    seasons = sorted({int(season) for season in found.games["season"]})
    return Parts(
        told,
        metric,
        tuple(Column(str(one), str(one), told.decimals) for one in seasons),
        [{str(one): row.seasons.get(one, {}).get(metric, _NOTHING) for one in seasons} for row in found.rows],
        [
            {str(one): baseline.by_season.get(one, {}).get(metric, np.nan) for one in seasons}
            for baseline in found.baselines
        ],
        "Nothing is tested within a season, whose weeks are few.",
    )


def _subset(found: SetOfSeasons, settings: Report) -> Parts:
    told, metric = settings.subset, _metric(found, settings.subset, "subset")
    divided = subsets(found.games, told.weeks)

    def scores(games: pd.DataFrame) -> Mapping[str, float]:
        # A baseline may have a forecast of some games alone.
        whole = len(games) == len(found.games)
        return score(games, divided if whole else subsets(games, told.weeks), metric, found.betting)

    counts = ", ".join(f"{one.title.lower()} {int(one.games.sum()):,}" for one in divided)
    return Parts(
        told,
        metric,
        tuple(Column(one.key, one.title, told.decimals) for one in divided),
        [estimates([scores(games) for games in row.games]) for row in found.rows],
        [{} if np.isnan(one.metrics.get(metric, np.nan)) else scores(one.games) for one in found.baselines],
        f"Games: {counts}. The favourite is whom the closing odds give more than half. Nothing is tested here.",
    )


def _learning(found: SetOfSeasons, settings: Report) -> Parts:
    told, metric = settings.learning, _metric(found, settings.learning, "learning")
    known = {one.name: one for one in found.baselines}
    against = known.get(told.against, known[HOME])
    seasons = np.unique(found.games["season"].to_numpy())
    thirds = [
        Column(f"{one[0]}_{one[-1]}", span(one.tolist()), told.decimals) for one in learning_curve.thirds(seasons)
    ]
    columns = (
        *thirds,
        Column("slope", "Per season", told.decimals + 1),
        Column("slope_error", "Standard error", told.decimals + 1),
    )
    of_baseline = {season: values.get(metric, np.nan) for season, values in against.by_season.items()}

    def gains(of_seasons: Mapping[int, float]) -> dict[str, Estimate]:
        whole = {one: of_seasons.get(one, np.nan) for one in seasons.tolist()}
        gain = learning_curve.gain(whole, of_baseline, maximize=maximize(metric))
        values = [Estimate(float(one), None, 1) for one in (*gain.parts, gain.slope, gain.error)]
        return dict(zip([one.key for one in columns], values, strict=True))

    baselines = [
        gains({season: values.get(metric, np.nan) for season, values in one.by_season.items()})
        for one in found.baselines
    ]
    title = settings.titles.get(metric, metric)
    return Parts(
        told,
        metric,
        columns,
        [gains({one: values.get(metric, _NOTHING).mean for one, values in row.seasons.items()}) for row in found.rows],
        [{key: one.mean for key, one in values.items()} for values in baselines],
        f"{title} of a season beside that of {settings.titles.get(against.name, against.name)}, so that a season's own "
        "difficulty cancels out; positive is better. Means over seasons, each foretold from those before it; per "
        "season the slope of a straight line.",
    )
