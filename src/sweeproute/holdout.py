"""Scores what a sweep has chosen on the holdout seasons: once, in jobs of its own, when all others have ended.

Which scores were taken is kept in `holdout.jsonl` in the user's state directory, a line for each sweep and model: who
looks a second time chooses by the holdout, whether they mean to or not.
"""

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from filelock import FileLock
from omegaconf import DictConfig

from sweeproute.config import ConfigError
from sweeproute.pointers import state_directory
from sweeproute.selection import Rule, rule
from sweeproute.winners import by_model, differs, winners

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FILE = "holdout.jsonl"
# What `holdout` may be: never scored, scored unless it was before, scored whether it was or not.
WORDS = ("false", "true", "again")
# The key that says that a trial is tested on the holdout, and which look at it this is.
SCORING = "validation.scoring"
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


def check_unscored(cfg: DictConfig, games_hash: str, models: Sequence[str] = ()) -> None:
    """Refuse to begin what could not be scored at its end.

    Args:
        cfg: A trial's config.
        games_hash: Of its data.
        models: Types of what is to be made of the sweep's models, and scored, too.

    Raises:
        HoldoutError: Its model was scored on these seasons of these games before; or its config says already that it is
            scored, which is for `holdout` to say.
    """
    if cfg.validation.scoring:
        raise HoldoutError(f"{SCORING}={cfg.validation.scoring} is set by holdout=true; leave it out.")
    if str(cfg.holdout).lower() == "true":
        for model in (cfg.model.type, *models):
            _number(_entry(cfg, games_hash, model, None, None), list(_scored()), forced=False)


def follow_up(results: Sequence[Record], decides: Record, cfg: DictConfig) -> list[list[str]]:
    """Say which jobs score the holdout: for each model the configuration that won, under each calibration.

    A configuration is run with all of its repeats, and once for all calibrations under which it has won. What is
    scored is noted before it runs.

    Args:
        results: The launch records of a sweep's jobs, all of which have ended well.
        decides: What the sweep chooses by: metric, direction, repeats.
        cfg: The config of one of the jobs.

    Returns:
        The overrides of each job; none where `holdout` is false.

    Raises:
        HoldoutError: These seasons were scored before, with this data, by another sweep or for another configuration.
    """
    if not is_wanted(cfg):
        return []
    if decides.get("failed"):
        print("The holdout was not scored, since not all jobs have ended well; resume=true goes on.", flush=True)
        return []
    refuse_swept(results)
    state_directory().mkdir(parents=True, exist_ok=True)
    # Two sweeps that end together are no first one twice.
    with FileLock(state_directory() / f"{FILE}.lock"):
        return _wanted([one for one in results if one["state"] == "FINISHED"], decides, cfg)


def _wanted(finished: Sequence[Record], decides: Record, cfg: DictConfig) -> list[list[str]]:
    methods = [str(method) for method in cfg.calibration.methods]
    wanted: list[list[str]] = []
    entries: list[dict[str, Any]] = []
    before = list(_scored())
    for model, of_model in by_model(finished).items():
        chosen = _chosen(of_model, rule(decides), methods)
        words = [[f"calibration.methods=[{','.join(won)}]", *one["overrides"]] for one, won in chosen]
        entry = _entry(cfg, _games(of_model), model, of_model[0]["sweep"], words)
        entry["scoring"] = _number(entry, before, forced=_forced(cfg))
        entries.append(entry)
        wanted += [overrides(one["overrides"], won, entry["scoring"]) for one, won in chosen]
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
    state_directory().mkdir(parents=True, exist_ok=True)
    with FileLock(state_directory() / f"{FILE}.lock"):
        before = list(_scored())
        entries = [_entry(cfg, _games(results), model, results[0]["sweep"], [words]) for model, words in made.items()]
        for entry in entries:
            entry["scoring"] = _number(entry, before, forced=_forced(cfg))
        _note_new(entries, before)
    return {entry["model"]: int(entry["scoring"]) for entry in entries}


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
        if entry not in [{key: value for key, value in one.items() if key != "at"} for one in before]:
            _note(entry)


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


def _number(entry: Record, before: Sequence[Record], *, forced: bool) -> int:
    """Which look this is, 1 for the first; the same configurations of the same sweep are no second time."""
    first, last = entry["seasons"]
    alike = [
        one
        for one in before
        if all(one.get(key) == entry[key] for key in ("games_hash", "model"))
        and one["seasons"][0] <= last
        and first <= one["seasons"][1]
    ]
    for one in alike:
        if one["sweep"] == entry["sweep"] and one["overrides"] == entry["overrides"]:
            return int(one["scoring"])
    if alike and not forced:
        other = alike[-1]["sweep"]
        by = f"sweep {other}" if other != entry["sweep"] else "this sweep, for other configurations"
        raise HoldoutError(
            f"Seasons of {first} to {last} were scored for {entry['model']} before, by {by}. Whoever looks twice "
            "chooses by them. The same command with holdout=again reuse=true scores them all the same, runs no trial "
            "again, and says in the runs that it was not the first time."
        )
    return 1 + max((int(one["scoring"]) for one in alike), default=0)


def _scored() -> Iterator[dict[str, Any]]:
    """What was noted; a line that was cut by a crash is passed over."""
    try:
        content = (state_directory() / FILE).read_bytes()
    except FileNotFoundError:
        return
    for line in content.splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue


def _note(entry: Record) -> None:
    path = state_directory() / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        # The newline before it ends a line that a crash has cut.
        os.write(descriptor, b"\n" + json.dumps({**entry, "at": time.time()}).encode() + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
