"""The schema of the configuration: one dataclass per group of `conf/`, registered with Hydra."""

import difflib
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from sweeproute.report_config import Report


class ConfigError(ValueError):
    """A config that composes, and yet cannot run."""


@dataclass
class Prefix:
    """An axis of a model along which one fit serves several points of a grid: shorter fits are its beginning."""

    # Dotted key of a parameter that says how long a fit is: model.params.n_estimators, or max_iter.
    key: str = MISSING
    # Dotted key to the value, or list of values, that it has to have for this; a key that is not there counts as null.
    when: dict[str, Any] = field(default_factory=dict)


@dataclass
class Model:
    """A model: how it is routed, its parameters under the library's own names, and how the estimator is built."""

    # The name that routing rules match: GLM, GLM_R, XGBoost, LightGBM, RandomForest, NeuralNetwork, RL_DQN, RL_PPO.
    type: str = MISSING
    # `_target_` names the class, the rest are its keyword arguments.
    params: dict[str, Any] = field(default_factory=dict)
    # What is instantiated: a pipeline around the parameters where the model needs one, null for themselves.
    estimator: Any = None
    # What it answers a game with: probabilities, by which the betting rule bets, or stakes of its own.
    gives: str = "probabilities"
    # Along which axis one fit serves several points of a grid; null for none.
    prefix: Prefix | None = None
    # Devices that it can use: cpu, cuda, and mps, the GPU of an Apple chip. One that cannot use any takes no notice.
    devices: list[str] = field(default_factory=lambda: ["cpu", "cuda"])
    # What its results can depend on beside what the results of every model do; as `code` of the root.
    code: list[str] = field(default_factory=list)


@dataclass
class Job:
    """What a job asks of a platform; set per model, overridable per trial."""

    # 1 (last) to 10 (first).
    priority: int = 5
    # Minutes; used until a finished run of the same model on the same platform is known.
    estimated_duration_minutes: float = 60
    # GB of main memory.
    required_memory_gb: float = 1
    # GB of GPU memory.
    required_gpu_memory_gb: float = 0
    # What a platform has to name among its capabilities.
    required_capabilities: list[str] = field(default_factory=list)


@dataclass
class PlatformChoice:
    """Where the jobs of this command may go: a platform's name, or null for routed by the rules."""

    name: str | None = None


@dataclass
class SearchSpace:
    """What is searched of one model."""

    # Dotted key to its values: a list, a range as in {low: 0.01, high: 0.3, log: true}, or Hydra's sweep syntax.
    axes: dict[str, Any] = field(default_factory=dict)
    # Conditions that a point has to meet, as in "model.params.num_leaves <= 2 ** model.params.max_depth".
    constraints: list[str] = field(default_factory=list)


@dataclass
class Data:
    """A source of games; the fields of each source stand in its own dataclass below."""

    source: str = MISSING


@dataclass
class LeagueData(Data):
    """A simulated league that makes a games table in the schema of nflverse's games.csv."""

    source: str = "league"
    # First and last season, inclusive.
    first_season: int = 2003
    last_season: int = 2024
    # Seed of the simulation; apart from the trial's own seed, so that repeats see the same games.
    seed: int = 7
    # Add the closing market's numbers to the features.
    market_features: bool = False


@dataclass
class NflData(Data):
    """Real games in the schema of nflverse's games.csv, by path or downloaded."""

    source: str = "nfl"
    # Path of a games.csv; null downloads it once into the cache.
    path: str | None = None
    url: str = "https://github.com/nflverse/nfldata/raw/master/data/games.csv"
    # Expected SHA-256 of the file, 64 hexadecimal digits; null accepts what is there and records it.
    sha256: str | None = None
    # First and last season to use, inclusive; null takes what the table has.
    first_season: int | None = None
    last_season: int | None = None
    market_features: bool = False


@dataclass
class CsvData(Data):
    """Any feature table: one row a game, with columns for the outcome, the season, the date and the features."""

    source: str = "csv"
    path: str = MISSING
    # Column of the outcome: 1 if the first-named (home) side won, else 0.
    outcome: str = MISSING
    season: str = MISSING
    date: str = MISSING
    # Column that identifies a game; null numbers the rows.
    game_id: str | None = None
    # Columns of decimal odds of the home and the away side; null where there are none.
    odds_home: str | None = None
    odds_away: str | None = None
    # Columns of the names of the home and the away team, for models that learn something of each; null where there are
    # none.
    home_team: str | None = None
    away_team: str | None = None
    # Column names or glob patterns of the features; empty takes every numeric column that has no other role.
    features: list[str] = field(default_factory=list)
    # Column names or glob patterns that are never features.
    exclude: list[str] = field(default_factory=list)


@dataclass
class Validation:
    """Walk-forward validation: which seasons train, which calibrate, which test."""

    # expanding (all earlier seasons) or rolling (the last `window_seasons`).
    window: str = "expanding"
    # Length of a rolling window in seasons.
    window_seasons: int | None = None
    # First season that may be tested.
    first_test_season: int = MISSING
    # Seasons left out between the training window and what follows it.
    gap_seasons: int = 0
    # Seasons directly before the test season that neither train nor test, kept for calibration.
    calibration_seasons: int = 0
    # First and last season that trials, the sweeper and `best` see, inclusive.
    selection_seasons: list[int] = MISSING
    # First and last season of the holdout, inclusive; scored once, when a sweep with holdout=true has ended; null for
    # none.
    holdout_seasons: list[int] | None = None
    # 0 tests the selection seasons; n tests the holdout seasons, for the n-th time. Set by holdout=true.
    scoring: int = 0


@dataclass
class Betting:
    """The betting rule whose return is reported."""

    # Bet on a side where probability times decimal odds exceeds one by at least this much.
    min_edge: float = 0.02
    # Fraction of the bankroll staked on each bet (flat).
    stake: float = 0.01
    # Fraction of Kelly's stake, by which the same bets are sized a second time.
    kelly_fraction: float = 0.25


@dataclass
class Calibration:
    """What is made of a model's probabilities, on games that neither train nor test it."""

    # none, platt, isotonic: one fit serves all that are named. The first is the trial's own; each of the others is a
    # run of its own below the trial's.
    methods: list[str] = field(default_factory=lambda: ["none"])


@dataclass
class Tracking:
    """Where runs are recorded."""

    # MLflow tracking URI; a relative SQLite path is taken from the working directory.
    uri: str = MISSING
    experiment: str = MISSING
    # Which trials keep their fitted model: best, all or none.
    models: str = "best"
    # Seconds between two samples of what the machine of a trial is busy with; null or 0 for none.
    system_metrics_s: float | None = 10


@dataclass
class Checkpoint:
    """How a long trial is kept, so that a later attempt goes on from there."""

    # Minutes of running after which, and then each time which, a trial keeps how far it has come; null or 0 for never.
    minutes: float | None = 30


@dataclass
class Importances:
    """On which features models lean, found by shuffling them in the games that a model is tested on."""

    # Of which jobs: holdout (those that score it), all, or none.
    of: str = "holdout"
    # Shuffles of each feature in each season.
    repeats: int = 5


@dataclass
class Sweep:
    """Names of a sweep, for people."""

    # Made from the time when null.
    id: str | None = None
    name: str | None = None
    note: str | None = None
    # Path of the request that it answers, as `sweeproute request` has understood it; kept with the sweep.
    request: str | None = None


@dataclass
class Config:
    """The root: what `conf/config.yaml` fills."""

    model: Model = field(default_factory=Model)
    job: Job = field(default_factory=Job)
    platform: PlatformChoice = field(default_factory=PlatformChoice)
    search_space: SearchSpace = field(default_factory=SearchSpace)
    # The registry keeps the field names of the user's own file; the launcher's schema checks it.
    registry: Any = MISSING
    data: Any = MISSING
    validation: Validation = field(default_factory=Validation)
    calibration: Calibration = field(default_factory=Calibration)
    betting: Betting = field(default_factory=Betting)
    tracking: Tracking = field(default_factory=Tracking)
    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    importances: Importances = field(default_factory=Importances)
    sweep: Sweep = field(default_factory=Sweep)
    report: Report = field(default_factory=Report)
    # Draw the plots of a sweep of more than two finished trials at its end, into its folder and its run in MLflow.
    plots: bool = True
    # Pins Python, NumPy, the model and the workers.
    seed: int = 42
    # auto, cpu, cuda or mps; auto is settled by the platform.
    device: str = "auto"
    # Threads of one job; null is the platform's cores over its slots.
    threads: int | None = None
    # What a trial's results can depend on: files of the working directory, modules and packages. Hashed into its
    # fingerprint.
    code: list[str] = field(default_factory=list)
    # Go on with the newest unfinished sweep of the same overrides: false, true, keep or rerun.
    resume: Any = False
    # Score the configurations that won on the holdout seasons when a sweep has ended: false, true, or again, where they
    # were scored before.
    holdout: Any = False
    # What is made of the configurations that won when a sweep of several models has ended, each a run of its own:
    # average, stacking, best_of; none where the list is empty.
    ensemble: list[str] = field(default_factory=list)
    # Take results of earlier sweeps that have the same fingerprint instead of running the trials again.
    reuse: bool = False


def plain(node: DictConfig) -> dict[str, Any]:
    """A node of the config as a plain mapping, its interpolations resolved."""
    content = OmegaConf.to_container(node, resolve=True)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


# Keys that say where and how a trial runs, not what it is: they are left out of its fingerprint.
WHERE_AND_HOW = (
    "device",
    "threads",
    "platform",
    "registry",
    "tracking",
    "plots",
    "report",
    "checkpoint",
    "importances",
    "sweep",
    "holdout",
    "ensemble",
    "resume",
    "reuse",
    "job",
    "search_space",
)


def check_keys(node: DictConfig, path: str = "") -> None:
    """Refuse keys that an override has added to a group whose keys are all known: `+report.alhpa=0.1`.

    The config's own top level takes keys of a person's own.

    Args:
        node: A composed config, or a group of it.
        path: The group's key.

    Raises:
        ConfigError: In a sentence, with what is there, the nearest first.
    """
    fields = getattr(OmegaConf.get_type(node), "__dataclass_fields__", None)
    for key in map(str, node.keys()):
        if path and fields is not None and key not in fields:
            near = difflib.get_close_matches(key, fields, n=len(fields), cutoff=0)
            raise ConfigError(f"There is no key {path}.{key}. Keys of {path}, nearest match first: {', '.join(near)}.")
        child = node._get_node(key)
        if isinstance(child, DictConfig) and not (child._is_none() or child._is_missing() or child._is_interpolation()):
            check_keys(child, f"{path}.{key}".lstrip("."))


def register() -> None:
    """Store the schema under the names that the defaults lists of `conf/` use."""
    store = ConfigStore.instance()
    store.store(name="schema", node=Config, provider="sweeproute")
    for source in (LeagueData, NflData, CsvData):
        store.store(group="data", name=f"{source.source}_schema", node=source, provider="sweeproute")
    store.store(group="report", name="schema", node=Report, provider="sweeproute")
    # What a report of a sweep that has ended composes by itself.
    store.store(name="report_alone", node={"defaults": [{"report": "thesis"}]}, provider="sweeproute")


register()
