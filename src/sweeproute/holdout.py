"""Scores what a sweep has chosen on the holdout seasons: once, in jobs of its own, when all others have ended.

Which scores were taken is kept by `holdout_record`: who looks a second time chooses by the holdout, whether they mean
to or not.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from sweeproute import holdout_record
from sweeproute.config import ConfigError
from sweeproute.selection import Rule, rule
from sweeproute.winners import by_model, differs, winners

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# The name of the record, and the key that says that a trial is tested on the holdout, and which look at it this is.
FILE, SCORING = holdout_record.FILE, holdout_record.SCORING
# What `holdout` may be: never scored, scored unless it was before, scored whether it was or not.
WORDS = ("false", "true", "again")
# What a job on the holdout says for itself.
_SET_HERE = ("calibration", "calibration.methods", SCORING)
Record = Mapping[str, Any]


class HoldoutError(ConfigError):
    """The holdout cannot be scored, or was scored before."""


def check(cfg: DictConfig) -> None:
    """Refuse a word that is none, and a holdout without seasons.

    Args:
        cfg: A trial's config.

    Raises:
        HoldoutError: In a sentence.
    """
    word = str(cfg.holdout).lower()
    if word not in WORDS:
        raise HoldoutError(f"holdout={cfg.holdout} is not known; use {', '.join(WORDS[:-1])} or {WORDS[-1]}.")
    scores = word != "false" or cfg.validation.scoring
    if scores and cfg.validation.holdout_seasons is None:
        raise HoldoutError(
            f"holdout={word} has no seasons to score; set validation.holdout_seasons, such as [2023,2024]."
        )


def is_wanted(cfg: DictConfig) -> bool:
    """Whether the holdout is to be scored when the sweep has ended."""
    return str(cfg.holdout).lower() != "false"


def check_seasons(cfg: DictConfig, season: "NDArray[np.int64]") -> None:
    """Refuse a holdout that the data does not have.

    Args:
        cfg: A trial's config.
        season: Of each game, (n_games,).

    Raises:
        HoldoutError: In a sentence.
    """
    first, last = cfg.validation.holdout_seasons
    there = set(season.tolist())
    missing = [one for one in range(first, last + 1) if one not in there]
    if missing:
        raise HoldoutError(
            f"validation.holdout_seasons=[{first},{last}] has {missing[0]}, and the data has {min(there)} to "
            f"{max(there)}; set it to seasons that are there."
        )


def claim(
    cfg: DictConfig, games_hash: str, models: Sequence[str] = (), *, sweep: str | None = None, resumed: bool = False
) -> None:
    """Claim the holdout for a sweep that is to score it at its end, and refuse to begin what could not be scored then.

    Args:
        cfg: A trial's config.
        games_hash: Of its data.
        models: Types of what is to be made of the sweep's models, and scored, too.
        sweep: Its id; None for the one that the config says.
        resumed: Whether it goes on, so that what it has scored before, or was going to, is its own.

    Raises:
        HoldoutError: Its model, or one of the others, was scored on these seasons of these games before, or is going to
            be by another sweep that runs; or its config says already that it is scored, which is for `holdout` to say.
    """
    if cfg.validation.scoring:
        raise HoldoutError(f"{SCORING}={cfg.validation.scoring} is set by holdout=true; leave it out.")
    if sweep is None and cfg.sweep.id is not None:
        sweep = str(cfg.sweep.id)
    entries = [_entry(cfg, games_hash, model, sweep, None) for model in (cfg.model.type, *models)]
    with holdout_record.held():
        _claim(entries, _unless_taken_back(entries), forced=_forced(cfg), resumed=resumed)


def refuse_spent(cfg: DictConfig, games_hash: str, models: Sequence[str]) -> None:
    """Refuse what `claim` would refuse, and claim nothing: for who only asks what would come.

    Args:
        cfg: A trial's config.
        games_hash: Of its data.
        models: Types of all that is to be scored.

    Raises:
        HoldoutError: See `claim`.
    """
    sweep = None if cfg.sweep.id is None else str(cfg.sweep.id)
    entries = [_entry(cfg, games_hash, model, sweep, None) for model in models]
    # Without the record's lock, for which its folder would be made: nothing is written.
    _numbers(entries, holdout_record.scored(), forced=_forced(cfg))


def follow_up(
    results: Sequence[Record], decides: Record, cfg: DictConfig, made: Mapping[str, Sequence[str]] | None = None
) -> list[list[str]]:
    """Say which jobs score the holdout: for each model the configuration that won, under each calibration.

    A configuration is run with all of its repeats, and once for all calibrations under which it has won. What is
    scored is noted before it runs. Where one of all that is to be scored may not be, none is.

    Args:
        results: The launch records of a sweep's jobs, all of which have ended well.
        decides: What the sweep chooses by: metric, direction, repeats.
        cfg: The config of one of the jobs.
        made: As for `note`, what will be made of the models and scored once they have been.

    Returns:
        The overrides of each job; none where `holdout` is false.

    Raises:
        HoldoutError: These seasons were scored before, with this data, by another sweep or for another configuration;
            or are going to be by another sweep that runs.
    """
    if not is_wanted(cfg):
        return []
    if decides.get("failed"):
        print("The holdout was not scored, since not all jobs have ended well; resume=true goes on.", flush=True)
        return []
    refuse_swept(results)
    # Two sweeps that end together are no first one twice.
    with holdout_record.held():
        return _wanted([one for one in results if one["state"] == "FINISHED"], decides, cfg, made or {})


def _wanted(
    finished: Sequence[Record], decides: Record, cfg: DictConfig, made: Mapping[str, Sequence[str]]
) -> list[list[str]]:
    methods = [str(method) for method in cfg.calibration.methods]
    entries: list[dict[str, Any]] = []
    of_entry: list[list[tuple[Record, list[str]]]] = []
    for model, of_model in by_model(finished).items():
        chosen = _chosen(of_model, rule(decides), methods)
        words = [[f"calibration.methods=[{','.join(won)}]", *one["overrides"]] for one, won in chosen]
        entries.append(_entry(cfg, _games(of_model), model, of_model[0]["sweep"], words))
        of_entry.append(chosen)
    all_of_them = [*entries, *_made(finished, cfg, made)]
    before = _unless_taken_back(all_of_them)
    numbers = _claim(all_of_them, before, forced=_forced(cfg))
    wanted: list[list[str]] = []
    for entry, chosen, number in zip(entries, of_entry, numbers, strict=False):
        entry["scoring"] = number
        wanted += [overrides(one["overrides"], won, number) for one, won in chosen]
    _note_new(entries, before)
    return wanted


def note(results: Sequence[Record], cfg: DictConfig, made: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Note that what is made of models is scored on the holdout, as the models themselves are.

    Args:
        results: The launch records of a sweep's jobs.
        cfg: The config of one of them.
        made: By its type the overrides that say of which models.

    Returns:
        By type which look at these seasons this is; see `SCORING`.

    Raises:
        HoldoutError: See `follow_up`.
    """
    entries = _made(results, cfg, made)
    with holdout_record.held():
        before = _unless_taken_back(entries)
        for entry, number in zip(entries, _claim(entries, before, forced=_forced(cfg)), strict=True):
            entry["scoring"] = number
        _note_new(entries, before)
    return {entry["model"]: int(entry["scoring"]) for entry in entries}


def _made(results: Sequence[Record], cfg: DictConfig, made: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    return [_entry(cfg, _games(results), model, results[0]["sweep"], [words]) for model, words in made.items()]


def _entry(
    cfg: DictConfig, games_hash: str | None, model: str, sweep: str | None, words: Sequence[Sequence[str]] | None
) -> dict[str, Any]:
    return {
        "games_hash": games_hash,
        "seasons": list(cfg.validation.holdout_seasons),
        "model": model,
        "sweep": sweep,
        "overrides": None if words is None else sorted(map(sorted, words)),
    }


def _games(results: Sequence[Record]) -> str | None:
    found: str | None = (results[0].get("identity") or {}).get("games_hash")
    return found


def _forced(cfg: DictConfig) -> bool:
    return str(cfg.holdout).lower() == "again"


def _note_new(entries: Sequence[dict[str, Any]], before: Sequence[Record]) -> None:
    for entry in entries:
        if entry not in [holdout_record.about(one) for one in before]:
            holdout_record.note(entry)


def refuse_swept(results: Sequence[Record]) -> None:
    """Refuse jobs that are compared on other games, or under other calibrations.

    Args:
        results: Of each at least its overrides.

    Raises:
        HoldoutError: They were told different things.
    """
    group = differs(results, ("calibration", "data", "validation"))
    if group is not None:
        raise HoldoutError(
            f"The jobs of this sweep differ in {group}, so that there is no one holdout to score them on. Give {group} "
            "one value, or leave holdout=true out; all results are kept."
        )


def _chosen(results: Sequence[Record], decides: Rule, methods: Sequence[str]) -> list[tuple[Record, list[str]]]:
    """The jobs of the configurations that won, each with the calibrations under which it did, in the order of both."""
    won: dict[int, list[str]] = {}
    for method, positions in winners(results, decides, methods).items():
        for position in positions:
            won.setdefault(position, []).append(method)
    return [(results[position], won[position]) for position in sorted(won)]


def configuration(overrides: Sequence[str]) -> tuple[str, ...]:
    """What a job on the holdout shares with the one that was chosen: all but the calibration, and that it scores."""
    return tuple(word for word in overrides if word.lstrip("+").partition("=")[0] not in _SET_HERE)


def overrides(words: Sequence[str], methods: Sequence[str], scoring: int) -> list[str]:
    """A job that says of the holdout what one of the sweep has said of the selection seasons."""
    return [*configuration(words), f"calibration.methods=[{','.join(methods)}]", f"{SCORING}={scoring}"]


def _unless_taken_back(entries: Sequence[Record]) -> list[dict[str, Any]]:
    """What was scored before, without what a sweep has noted for these that died before it looked."""
    found = []
    for one in holdout_record.scored():
        others = any(_alike(entry, one) and one["sweep"] != entry["sweep"] for entry in entries)
        if not (others and holdout_record.take_back(one)):
            found.append(one)
    return found


def _claim(entries: Sequence[Record], before: Sequence[Record], *, forced: bool, resumed: bool = False) -> list[int]:
    """Which look at the holdout each of these will be, 1 for the first; nobody else is the first from now on."""
    numbers = _numbers(entries, before, forced=forced, resumed=resumed)
    holdout_record.claim([{key: one[key] for key in ("games_hash", "seasons", "model", "sweep")} for one in entries])
    return numbers


def _numbers(entries: Sequence[Record], before: Sequence[Record], *, forced: bool, resumed: bool = False) -> list[int]:
    """Which look each of these would be.

    The same configurations of the same sweep are no second time; nor, where a sweep goes on and they are not known yet,
    is anything of its own.
    """
    numbers = []
    claimed = holdout_record.claimed()
    for entry in entries:
        alike = [one for one in before if _alike(entry, one)]
        mine = [one for one in alike if one["sweep"] == entry["sweep"]]
        same = [one for one in mine if resumed or one["overrides"] == entry["overrides"]]
        if same:
            numbers.append(int(same[0]["scoring"]))
            continue
        if alike and not forced:
            raise HoldoutError(_second(entry, alike[-1]))
        others = (one for one in claimed if not (resumed and one["sweep"] == entry["sweep"]))
        running = next((one for one in others if _alike(entry, one)), None)
        if running is not None and not forced:
            raise HoldoutError(_at_once(entry, running))
        numbers.append(1 + max((int(one["scoring"]) for one in alike), default=0))
    return numbers


def _alike(entry: Record, other: Record) -> bool:
    """Whether two are looks of one model at the same games, or at some of them."""
    (first, last), (begin, end) = entry["seasons"], other["seasons"]
    same = all(entry[key] == other.get(key) for key in ("games_hash", "model"))
    return bool(same and begin <= last and first <= end)


def _second(entry: Record, before: Record) -> str:
    first, last = entry["seasons"]
    other = before["sweep"]
    by = f"sweep {other}" if other != entry["sweep"] else "this sweep, for other configurations"
    return (
        f"Seasons of {first} to {last} were scored for {entry['model']} before, by {by}. Whoever looks twice "
        "chooses by them. The same command with holdout=again reuse=true scores them all the same, runs no trial "
        "again, and says in the runs that it was not the first time."
    )


def _at_once(entry: Record, running: Record) -> str:
    first, last = entry["seasons"]
    by = f"sweep {running['sweep']}" if running["sweep"] is not None else "another sweep"
    return (
        f"Seasons of {first} to {last} are going to be scored for {entry['model']} by {by}, which runs now, and "
        "whoever looks second chooses by them. Wait until it has ended, after which this may score them where that has "
        "not; or say holdout=again, which scores them all the same."
    )
