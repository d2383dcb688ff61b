"""The schema of the group `report`: which tables a report has, and in which words."""

from dataclasses import dataclass, field

from omegaconf import MISSING


@dataclass
class ReportColumn:
    """A column of a report's table: a metric, and how it is written."""

    metric: str = MISSING
    title: str = MISSING
    # Digits behind the point.
    decimals: int = 3
    # Shown times 100.
    percent: bool = False
    # With its interval below, where there is one.
    interval: bool = False


@dataclass
class ReportTable:
    """A table of a report: the name of its file, and what it says."""

    name: str = MISSING
    # {games}, {seasons}, {set}, {metric}, {n_models} and {sweep} stand for what they say.
    caption: str = MISSING
    label: str = MISSING
    columns: list[ReportColumn] = field(default_factory=list)


@dataclass
class MetricTable:
    """A table of one metric on some of the games: season by season, or another way."""

    name: str = MISSING
    caption: str = MISSING
    label: str = MISSING
    # null for the first metric that decides.
    metric: str | None = None
    decimals: int = 3


@dataclass
class SubsetTable(MetricTable):
    """The table of one metric by favourite and by part of the season."""

    # The weeks at which a new part begins.
    weeks: list[int] = field(default_factory=lambda: [7, 13])


@dataclass
class LearningTable(MetricTable):
    """The table of how far models are ahead of a baseline, as the seasons that they learn from grow in number."""

    # The baseline; where the games have none of it, the home-win rate.
    against: str = "elo"


@dataclass
class ImportanceTable:
    """The table of the features on which models lean."""

    name: str = MISSING
    caption: str = MISSING
    label: str = MISSING
    decimals: int = 4
    # So many features, those of the greatest importance in any model.
    most: int = 20


@dataclass
class SignificanceTable:
    """The table of p-values between models."""

    name: str = MISSING
    caption: str = MISSING
    label: str = MISSING
    # A block each: auc, brier, log_loss, accuracy, roi.
    metrics: list[str] = field(default_factory=list)
    # With more rows than this, each model stands there with its best calibration alone.
    most: int = 15


@dataclass
class Report:
    """What `sweeproute report` makes of a sweep, also when the sweep ends."""

    # Whether a sweep makes it at its end; null makes it where `copy_to` is said.
    at_end: bool | None = None
    # Draw the figures, too.
    figures: bool = True
    # Its folder; null is reports/<sweep>.
    to: str | None = None
    # A thesis's folder that gets the tables and figures, too; null for none.
    copy_to: str | None = None
    # A difference counts with at most this p-value, adjusted for the number of tests.
    alpha: float = 0.05
    # Share of intervals that should contain the truth.
    level: float = 0.95
    # Resamples of weeks behind intervals and tests, and their seed.
    resamples: int = 2000
    seed: int = 0
    comparison: ReportTable = field(default_factory=ReportTable)
    calibration: ReportTable = field(default_factory=ReportTable)
    betting: ReportTable = field(default_factory=ReportTable)
    season: MetricTable = field(default_factory=MetricTable)
    subset: SubsetTable = field(default_factory=SubsetTable)
    learning: LearningTable = field(default_factory=LearningTable)
    importance: ImportanceTable = field(default_factory=ImportanceTable)
    significance: SignificanceTable = field(default_factory=SignificanceTable)
    # The caption of each figure, by the name of its file; places in braces as those of a table.
    figure_captions: dict[str, str] = field(default_factory=dict)
    # What models, calibrations, baselines and metrics are called; another is called by its name.
    titles: dict[str, str] = field(default_factory=dict)
    # The folder of each model type in a report; another's is its name in small letters.
    folders: dict[str, str] = field(default_factory=dict)
