"""The tables of a thesis's chapter: what of a comparison stands in which of them, and what is said below."""

import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sweeproute import chapter_parts, ensemble
from sweeproute.baselines import ELO, HOME, MARKET, Baseline
from sweeproute.chapter_parts import ChapterError, Parts
from sweeproute.comparable import apart, span
from sweeproute.comparison import Comparison, Row, SetOfSeasons
from sweeproute.configuration import Estimate
from sweeproute.data.features import ELO_K
from sweeproute.report_config import Report, ReportTable
from sweeproute.selection import finite
from sweeproute.sweep_runs import SELECTION
from sweeproute.tables import BEST, TIED, Cell, Column, Table, number
from sweeproute.verdicts import TESTED, Settings, Verdicts, judge

_PLACES = ("games", "seasons", "set", "metric", "n_models", "sweep")
_NOTHING = Estimate(float("nan"), None, 0)


@dataclass(frozen=True, eq=False)
class Chapter:
    """One set of seasons, with all that its tables say."""

    comparison: Comparison
    found: SetOfSeasons
    settings: Report

    @cached_property
    def verdicts(self) -> Verdicts:
        """What is significant among its rows."""
        rows = [row.games for row in self.found.rows]
        values = {
            metric: np.array([row.metrics.get(metric, _NOTHING).mean for row in self.found.rows]) for metric in TESTED
        }
        told = self.settings
        return judge(
            rows,
            values,
            [one.games for one in self.found.baselines],
            self.found.betting,
            Settings(told.alpha, told.level, told.resamples, told.seed),
        )

    @cached_property
    def tables(self) -> tuple[Table, ...]:
        """All of them."""
        told = self.settings
        return (
            self._of_metrics(told.comparison, []),
            self._of_metrics(told.calibration, self._of_calibrations()),
            self._of_metrics(told.betting, self._of_bets()),
            *(self._by_part(one) for one in chapter_parts.parts(self.found, told)),
            *self._importance(),
            self._significance(),
        )

    @cached_property
    def figures(self) -> dict[str, str]:
        """Captions of figures, by the names of their files without what they end in."""
        end = "" if self.found.name == SELECTION else f"_{self.found.name}"
        captions = self.settings.figure_captions
        return {f"{name}{end}": self._caption(text, name) for name, text in captions.items()}

    def title(self, name: str) -> str:
        """What a model, a calibration, a baseline or a metric is called."""
        return self.settings.titles.get(name, name)

    @cached_property
    def marks(self) -> tuple[str, ...]:
        """A letter for each class of device that a row was made on; none where all are the same."""
        return tuple(",".join(self._letters[one] for one in row.device_classes) for row in self.found.rows)

    @cached_property
    def _letters(self) -> dict[str, str]:
        classes = list(dict.fromkeys(one for row in self.found.rows for one in row.device_classes))
        if len(classes) < 2:
            return dict.fromkeys(classes, "")
        return dict(zip(classes, string.ascii_lowercase, strict=False))

    def _of_metrics(self, told: ReportTable, more: Sequence[str]) -> Table:
        columns = [Column("model", "Model"), Column("calibration", "Calibration")]
        columns += [Column(one.metric, one.title, one.decimals, one.percent) for one in told.columns]
        rows = []
        for position, row in enumerate(self.found.rows):
            cells = [
                self._metric(row.metrics.get(one.metric, _NOTHING), one.metric, position, interval=one.interval)
                for one in told.columns
            ]
            rows.append((*self._names(position), *cells))
        for position, baseline in enumerate(self.found.baselines):
            cells = []
            for one in told.columns:
                value = number(baseline.metrics.get(one.metric))
                ends = self.verdicts.baseline_intervals.get(one.metric) if value is not None and one.interval else None
                low, high = (number(end[position]) for end in ends) if ends else (None, None)
                cells.append(Cell(value, low, high))
            rows.append((Cell(self.title(baseline.name), mark=self._mark(baseline)), Cell(), *cells))
        sections = ((len(self.found.rows), ""),)
        return self._table(told, columns, rows, sections, [*self._of_standing(told), *more])

    def _metric(self, found: Estimate, metric: str, position: int, *, interval: bool) -> Cell:
        value = number(found.mean)
        if value is None:
            return Cell()
        low = high = None
        if interval and metric in self.verdicts.intervals:
            low, high = (number(end[position]) for end in self.verdicts.intervals[metric])
        return Cell(value, low, high, number(found.sem), self._standing(metric, position))

    def _standing(self, metric: str, position: int) -> str:
        there = [row for row in self.found.rows if number(row.metrics.get(metric, _NOTHING).mean) is not None]
        if metric not in self.verdicts.tests or len(there) < 2:
            return ""
        standing = self.verdicts.tests[metric].standing
        return BEST if standing.bold[position] else TIED if standing.tied[position] else ""

    def _names(self, position: int) -> tuple[Cell, Cell]:
        row = self.found.rows[position]
        first = position == 0 or self.found.rows[position - 1].model != row.model
        mark = self.marks[position]
        # A model is named once, unless its rows differ in what they were made on.
        model = Cell(self.title(row.model), mark=mark) if first or mark else Cell(self.title(row.model))
        return model, Cell(self.title(row.calibration))

    def _mark(self, baseline: Baseline) -> str:
        partly = baseline.name == MARKET and 0 < len(baseline.games) < len(self.found.games)
        return "m" if partly else ""

    def _by_part(self, one: Parts) -> Table:
        rows = []
        for position, found in enumerate(one.of_rows):
            told = [found.get(column.key, _NOTHING) for column in one.columns]
            rows.append((*self._names(position), *(Cell(number(cell.mean), error=number(cell.sem)) for cell in told)))
        for baseline, values in zip(self.found.baselines, one.of_baselines, strict=True):
            name = Cell(self.title(baseline.name), mark=self._mark(baseline))
            rows.append((name, Cell(), *(Cell(number(values.get(column.key))) for column in one.columns)))
        columns = [Column("model", "Model"), Column("calibration", "Calibration"), *one.columns]
        shape = ReportTable(one.told.name, one.told.caption, one.told.label)
        return self._table(shape, columns, rows, ((len(self.found.rows), ""),), [one.note], self.title(one.metric))

    def _importance(self) -> Iterator[Table]:
        """None where no importances were found."""
        told = self.settings.importance
        leans = self.found.leaning
        if not leans:
            return
        means = {model: dict(found.groupby("feature")["increase"].mean()) for model, found in leans.items()}
        most = {name: max(of.get(name, 0.0) for of in means.values()) for of in means.values() for name in of}
        names = sorted(most, key=lambda name: -most[name])[: told.most]
        columns = [Column("feature", "Feature")]
        columns += [Column(model, self.title(model), told.decimals) for model in means]
        rows = [(Cell(name), *(Cell(number(of.get(name))) for of in means.values())) for name in names]
        seasons = sorted({int(season) for found in leans.values() for season in found["season"]})
        over = f"Means over the seasons {span(seasons)}, in each of which" if len(seasons) > 1 else f"In {seasons[0]}"
        often = " or ".join(map(str, self.found.shuffles))
        often = "once" if often == "1" else f"{often} times" if often else "several times"
        more = [
            f"{over} a feature was shuffled {often} among the games, for models as they are, without calibration. "
            "Features that say much the same share what they say.",
        ]
        if len(names) < len(most):
            more.append(f"The {len(names)} of {len(most)} on which any model leans most; importances.csv has all.")
        shape = ReportTable(told.name, told.caption, told.label)
        yield self._table(shape, columns, rows, (), more, below=self._of_rows(self.found.shuffled, "Models"))

    def _significance(self) -> Table:
        told = self.settings.significance
        shown = self._shown(told.most)
        columns = [Column("row", "", None), Column("model", "Model"), Column("calibration", "Calibration")]
        numbers = [f"({place})" for place in range(1, len(shown) + 1)]
        columns += [Column(f"p_{place}", numbers[place - 1], 3, least=0.001) for place in range(1, len(shown) + 1)]
        rows: list[tuple[Cell, ...]] = []
        sections: list[tuple[int, str]] = []
        for metric in told.metrics:
            if metric not in self.verdicts.tests:
                raise ChapterError(
                    f"report.significance.metrics has {metric!r}, of which pairs are not tested; allowed are "
                    f"{', '.join(TESTED)}."
                )
            tests = self.verdicts.tests[metric]
            sections.append((len(rows), self.title(metric)))
            for place, position in enumerate(shown):
                before = [Cell(number(tests.adjusted[position, other])) for other in shown[:place]]
                cells = [*before, *(Cell("") for _ in shown[place:])]
                rows.append((Cell(numbers[place]), *self._names(position), *cells))
            for place, baseline in enumerate(self.found.baselines):
                cells = [Cell(number(tests.against_adjusted[position, place])) for position in shown]
                name = Cell(self.title(baseline.name), mark=self._mark(baseline))
                rows.append((Cell(""), name, Cell(), *cells))
        more = [
            f"Two-sided p-values, for each score adjusted by Holm's method for {_pairs(len(self.found.rows))} of "
            "models, and for all comparisons with baselines.",
            "AUC by DeLong's method, other scores by Diebold and Mariano's test, returns by a bootstrap; games of a "
            "week may depend on each other.",
        ]
        if len(shown) < len(self.found.rows):
            more.append("Each model with its best calibration; significance.csv has all pairs.")
        shape = ReportTable(told.name, told.caption, told.label)
        names = " and ".join(self.title(metric) for metric in told.metrics)
        return self._table(shape, columns, rows, tuple(sections), more, names)

    def _shown(self, most: int) -> list[int]:
        """The rows of the table of p-values: all, or of each model the best one by the first metric that decides."""
        rows = self.found.rows
        if len(rows) <= most:
            return list(range(len(rows)))
        objective = self.found.rule.objectives[0]
        best: dict[str, int] = {}
        for position, row in enumerate(rows):
            loss = objective.loss(row.metrics[objective.metric].mean)
            if row.model not in best or loss < objective.loss(rows[best[row.model]].metrics[objective.metric].mean):
                best[row.model] = position
        return list(best.values())

    def _table(
        self,
        told: ReportTable,
        columns: Sequence[Column],
        rows: Sequence[tuple[Cell, ...]],
        sections: tuple[tuple[int, str], ...],
        more: Sequence[str],
        metric: str | None = None,
        below: Sequence[str] | None = None,
    ) -> Table:
        """A table with its notes; `below` are those of what stands in it, where that is not all rows and baselines."""
        if below is None:
            below = [*self._of_baselines(), *self._of_rows(self.found.rows), *self._of_devices()]
        if any(cell.error is not None and cell.low is None for row in rows for cell in row):
            more = [*more, "In parentheses standard errors of means over seeds."]
        apart_by = "" if self.found.name == SELECTION else self.found.name
        return Table(
            f"{told.name}_{apart_by}" if apart_by else told.name,
            self._caption(told.caption, told.name, metric),
            f"{told.label}-{apart_by}" if apart_by else told.label,
            tuple(columns),
            tuple(tuple(row) for row in rows),
            sections,
            (*more, *below, *self._of_origin()),
        )

    def _caption(self, text: str, name: str, metric: str | None = None) -> str:
        games = self.found.games
        says = {
            "games": f"{len(games):,}",
            "seasons": span(games["season"]),
            "set": self.found.name,
            "metric": metric or self.title(self.found.rule.metrics[0]),
            "n_models": len({row.model for row in self.found.rows}),
            "sweep": self.comparison.sweep.id,
        }
        try:
            return text.format_map(says)
        except (KeyError, ValueError, IndexError):
            raise ChapterError(
                f"The caption {text!r} of {name} names what is not known; allowed in braces are {', '.join(_PLACES)}."
            ) from None

    def _of_standing(self, told: ReportTable) -> list[str]:
        tested = [one.title for one in told.columns if one.metric in self.verdicts.tests]
        if not tested or len(self.found.rows) < 2:
            return []
        said = [
            f"Bold, or *: significantly better than every other model (p ≤ {self.settings.alpha:g}, adjusted by Holm's "
            "method).",
            f"=: not significantly worse than the best. Tested {'are' if len(tested) > 1 else 'is'} "
            f"{', '.join(tested)}; baselines take no part.",
        ]
        if any(one.interval for one in told.columns):
            said.append(f"Intervals of {self.settings.level * 100:g} % are from resampled weeks, of AUC DeLong's.")
        return said

    def _of_baselines(self) -> list[str]:
        market = next(one for one in self.found.baselines if one.name == MARKET)
        first, before = self.found.games["season"].min(), self.found.before
        known = before is not None and bool((before["season"] < first).any())
        also = f", those of the {SELECTION} among them" if known else ", 0.5 in the first"
        said = [f"{self.title(HOME)}: the share in the tested seasons before{also}."]
        if any(one.name == ELO for one in self.found.baselines):
            said.append(f"{self.title(ELO)}: ratings that nothing is fitted to, K of {ELO_K:g}.")
        if market.games.empty:
            said.append("No game has odds, so that there is no market to compare with.")
        elif self._mark(market):
            said.append(
                f"m: on the {len(market.games):,} games that have odds, on which alone it is compared with a model."
            )
        return said

    def _of_calibrations(self) -> list[str]:
        said = ["Brier = reliability - resolution + uncertainty, over the best curve that never falls."]
        different = [
            self.title(model)
            for model in dict.fromkeys(row.model for row in self.found.rows)
            if len({row.configuration for row in self.found.rows if row.model == model}) > 1
        ]
        if different:
            said.append(
                f"Each calibration of {', '.join(different)} has the configuration that was best with it, so that its "
                "rows differ in more than calibration."
            )
        return said

    def _of_bets(self) -> list[str]:
        rule = self.found.betting
        said = [
            f"Rule: {rule.stake * 100:g} % of the first bankroll where the expected profit of a unit staked is at "
            f"least {rule.min_edge:g}; Kelly: the same bets at {rule.kelly_fraction:g} of Kelly's stake; all: one unit "
            "on each game that has odds.",
            "ROI is profit over total staked, growth the natural logarithm of what a unit has become.",
        ]
        rules = {
            tuple(run.params.get(f"betting.{name}") for name in ("min_edge", "stake", "kelly_fraction"))
            for row in self.found.rows
            for run in row.runs
        }
        if len(rules) > 1:
            said.append("Rows differ in their betting rule; the one above is that of the first.")
        if bettors := self._bettors(self.found.rows):
            said.append(f"By stakes of their own, in units of the rule's, not by the rule: {bettors}.")
        return said

    def _bettors(self, rows: Sequence[Row]) -> str:
        """The models among these that give stakes, by what they are called."""
        return ", ".join(dict.fromkeys(self.title(row.model) for row in rows if row.gives_stakes))

    def _of_rows(self, rows: Sequence[Row], called: str = "Rows") -> list[str]:
        tags = [run.tags for row in rows for run in row.runs]
        said = ensemble.told(tags, self.title, begins=self.found.name == SELECTION)
        if bettors := self._bettors(rows):
            said.append(f"Stakes and no probabilities, so no score of these: {bettors}.")
        folds = [row.folds for row in rows]
        names = sorted({name for one in folds for name in one if one[name] != folds[0].get(name)})
        if names:
            said.append(f"{called} differ in {', '.join(names)}.")
        return said

    def _of_devices(self) -> list[str]:
        if len(self._letters) < 2:
            return []
        classes = list(self._letters)
        told = "; ".join(f"{self._letters[one]}: {name}" for one, name in zip(classes, apart(classes), strict=True))
        return [f"Made on different classes of device, so that last digits do not compare ({told})."]

    def _of_origin(self) -> list[str]:
        found = self.found
        seeds = sorted({seed for row in found.rows for seed in row.seeds}, key=lambda seed: (len(seed), seed))
        repeated = any(len(row.runs) > 1 for row in found.rows)
        told = " (means over them)" if repeated else ""
        return [
            f"{len(found.games):,} games in {self.verdicts.n_weeks:,} weeks of {span(found.games['season'])} "
            f"({found.name} seasons); data {found.data_hash[:12] or 'without a hash'}, "
            f"seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)}{told}.",
            *self._of_choice(),
        ]

    def _of_choice(self) -> list[str]:
        """By what, and on which seasons, the rows were chosen."""
        objectives = self.comparison.rule.objectives
        by = " and ".join(f"{self.title(one.metric)} ({one.direction})" for one in objectives)
        if self.found.name == SELECTION:
            said = [f"Configurations are chosen by {by} on these seasons, which flatters them."]
            lacking = [
                row for row in self.found.rows if any(not finite(row.metrics[one.metric].mean) for one in objectives)
            ]
            if lacking:
                names = ", ".join(dict.fromkeys(self.title(row.model) for row in lacking))
                said.append(f"Without it, so that the first configuration stands here, chosen by nothing: {names}.")
            return said
        said = ["Nothing is chosen on these seasons: the configurations are those that won on the selection seasons."]
        first = self.comparison.sets[0]
        chosen = {(row.model, row.calibration): row.configuration for row in first.rows if first.name == SELECTION}
        others = [
            f"{self.title(row.model)} {self.title(row.calibration)}"
            for row in self.found.rows
            if chosen.get((row.model, row.calibration), row.configuration) != row.configuration
        ]
        if others:
            said.append(f"By {by} others would have been chosen of {', '.join(others)}.")
        times = max(row.scoring for row in self.found.rows)
        if times > 1:
            said.append(f"They were scored {times} times, so that they are no longer unseen.")
        return said


def _pairs(n: int) -> str:
    count = n * (n - 1) // 2
    return f"{count:,} pair" + ("" if count == 1 else "s")
