"""Reads a request for training as people hand it over, and says as a command what it asks for."""

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time
from pathlib import Path
from typing import Any

TRIGGER = "parallel_training_request"
# Of a range of seasons: how many come before the first one that is tested, and how many are the holdout.
_BEFORE, _HOLDOUT = 9, 2
# Keys that a request may have, each under what it stands for here.
_KEYS = {
    "context": ("requested_by", "task", "models", "dataset", "seasons", "validation", "deadline"),
    "requirements": ("reproducibility", "calibration", "metrics", "output_format"),
}
_TOP = ("trigger", *_KEYS, "expected_deliverables", "resource_estimate")
# What a table may call the columns that a data set needs.
_COLUMNS = {
    "outcome": ("home_win", "home_won", "outcome", "won", "target", "label"),
    "season": ("season", "year"),
    "date": ("date", "gameday", "game_date", "kickoff", "gametime", "played_on"),
}
_METRICS = {"auc": "auc", "brier": "brier", "brierscore": "brier", "logloss": "log_loss", "roi": "roi", "ece": "ece"}
_METRICS["accuracy"] = "accuracy"


class RequestError(ValueError):
    """A request that cannot be served; each problem is a sentence on a line of its own."""


@dataclass
class Understood:
    """What a request asks for.

    Attributes:
        overrides: The words behind `python train.py -m`.
        lines: What was understood: of each part its name, what stands there, what it means here.
        deadline: When it has to be done; None where nobody says.
        problems: What cannot be served, a sentence each.
    """

    overrides: list[str] = field(default_factory=list)
    lines: list[tuple[str, str, str]] = field(default_factory=list)
    deadline: datetime | None = None
    problems: list[str] = field(default_factory=list)

    def say(self, part: str, written: Any, meaning: str, *overrides: str) -> None:
        """Note what a part means."""
        shown = written if isinstance(written, str) else json.dumps(written, default=str)
        self.lines.append((part, shown, meaning))
        self.overrides += overrides


def read(path: Path, conf: Path, now: datetime) -> Understood:
    """Read a request.

    Args:
        path: A YAML file. Its parts may be mappings, or lists of mappings with a key each.
        conf: The folder of the configuration, which says what models there are.
        now: The present, with its zone.

    Returns:
        What it asks for, its problems included.

    Raises:
        RequestError: The file cannot be read, or is no request.
    """
    content = _content(path)
    given: dict[str, Any] = {}
    found = Understood()
    for part, known in _KEYS.items():
        for key, value in _pairs(content.get(part)):
            if key in known:
                given[key] = value
            else:
                found.problems.append(f"{part} has {key!r}, which is not known; {_allowed(key, known)}.")
    _models(given.get("models"), conf, found)
    seasons = _seasons(given.get("seasons"), found)
    _dataset(given.get("dataset"), seasons, path.parent, found)
    _validation(given.get("validation"), found)
    _calibrations(given.get("calibration"), found)
    _metrics(given.get("metrics"), found)
    if "reproducibility" in given:
        found.say("reproducibility", given["reproducibility"], "every trial is pinned to its seed", "seed=42")
    _deadline(given.get("deadline"), now, found)
    if "output_format" in given:
        found.say("output_format", given["output_format"], "sweeproute report last, when it has ended")
    if "task" in given:
        found.say("task", given["task"], "the sweep's note", _override("sweep.note", str(given["task"])))
    return found


def _content(path: Path) -> dict[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RequestError(f"{path} cannot be read ({error.strerror}); name the file of a request.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark is not None else ""
        raise RequestError(f"{path} is no YAML{where}; mend it, or quote what stands there.") from error
    if not isinstance(content, dict) or content.get("trigger") != TRIGGER:
        seen = content.get("trigger") if isinstance(content, dict) else None
        raise RequestError(f"{path} has trigger {seen!r}; a request has trigger: {TRIGGER}.")
    strange = [key for key in content if key not in _TOP]
    if strange:
        raise RequestError(f"{path} has {strange[0]!r}, which is not known; {_allowed(strange[0], _TOP)}.")
    return content


def _pairs(part: Any) -> Iterable[tuple[str, Any]]:
    """Keys and values of a mapping, or of a list of mappings."""
    for one in part if isinstance(part, list) else [part]:
        if isinstance(one, Mapping):
            yield from ((str(key), value) for key, value in one.items())


def _models(written: Any, conf: Path, found: Understood) -> None:
    types = _types(conf)
    if not written:
        found.problems.append(f"The request names no models; write models: [{', '.join(types.values())}].")
        return
    names = []
    for one in _listed(written):
        match = next((name for name, kind in types.items() if _plain(one) in (_plain(name), _plain(kind))), None)
        if match is None:
            found.problems.append(f"models has {one!r}, which is not known; {_allowed(one, types.values())}.")
        else:
            names.append(match)
    if names:
        found.say("models", written, ", ".join(names), f"model={','.join(dict.fromkeys(names))}")


def _types(conf: Path) -> dict[str, str]:
    """Of each model's file the type that it names, by its option."""
    found = {}
    for path in sorted((conf / "model").glob("*.yaml")):
        named = re.search(r"^  type: *(\S+)", path.read_text(encoding="utf-8"), re.MULTILINE)
        if named is not None:
            found[path.stem] = named[1]
    return found


def _seasons(written: Any, found: Understood) -> tuple[int, int] | None:
    if written is None:
        return None
    years = [int(year) for one in _listed(written) for year in re.findall(r"\d{4}", str(one))]
    if not years:
        found.problems.append(f"seasons is {written!r}; write a first and a last one, as in [2003-2024].")
        return None
    first, last = min(years), max(years)
    tested = first + _BEFORE
    chosen = last - _HOLDOUT
    if tested > chosen:
        least = _BEFORE + _HOLDOUT + 1
        found.problems.append(
            f"seasons {first} to {last} are {last - first + 1}; {least} or more are needed, {_BEFORE} of them to begin "
            f"with and {_HOLDOUT} for the holdout."
        )
        return None
    found.say(
        "seasons",
        written,
        f"{tested} to {chosen} are tested and chosen by, each by models of the seasons from {first} on; "
        f"{chosen + 1} to {last} are the holdout, scored once",
        f"validation.first_test_season={tested}",
        f"validation.selection_seasons=[{tested},{chosen}]",
        f"validation.holdout_seasons=[{chosen + 1},{last}]",
        "holdout=true",
    )
    return first, last


def _dataset(written: Any, seasons: tuple[int, int] | None, folder: Path, found: Understood) -> None:
    if written is None:
        found.say("dataset", "not said", "the simulated league", "data=league", *_range(seasons))
        return
    if _plain(written) in ("league", "nfl"):
        found.say("dataset", written, f"data={_plain(written)}", f"data={_plain(written)}", *_range(seasons))
        return
    path = next((one for one in (Path(str(written)), folder / str(written)) if one.is_file()), None)
    if path is None:
        found.problems.append(
            f"dataset {written} is no file (looked in {Path.cwd()}, and beside the request); bring it there, or say "
            "another behind the request: data.path=FILE, data=nfl or data=league."
        )
        return
    header = path.open(encoding="utf-8").readline().strip().split(",")
    columns = {role: next((name for name in names if name in header), None) for role, names in _COLUMNS.items()}
    missing = [role for role, name in columns.items() if name is None]
    if missing:
        known = ", ".join(_COLUMNS[missing[0]])
        found.problems.append(
            f"dataset {written} has no column that is known as its {missing[0]} ({known}); say which one is: "
            f"data.{missing[0]}=COLUMN."
        )
    told = ", ".join(f"{role}: {name}" for role, name in columns.items() if name)
    overrides = [_override(f"data.{role}", name) for role, name in columns.items() if name]
    found.say("dataset", written, f"a table of features ({told})", "data=csv", _override("data.path", path), *overrides)


def _range(seasons: tuple[int, int] | None) -> list[str]:
    return [] if seasons is None else [f"data.first_season={seasons[0]}", f"data.last_season={seasons[1]}"]


def _validation(written: Any, found: Understood) -> None:
    if written is None:
        return
    words = _plain(written)
    if "walkforward" not in words:
        found.problems.append(
            f"validation is {written!r}; what there is: walk-forward, over an expanding window or a rolling one."
        )
        return
    if "rolling" in words:
        found.say("validation", written, "walk-forward over ten seasons at a time", "validation.window=rolling")
        found.overrides.append("validation.window_seasons=10")
    else:
        found.say("validation", written, "walk-forward over all earlier seasons", "validation=walk_forward")


def _calibrations(written: Any, found: Understood) -> None:
    if not written:
        return
    known = ("none", "platt", "isotonic")
    asked = [str(one).strip().lower() for one in _listed(written)]
    for one in asked:
        if one not in known:
            found.problems.append(f"calibration has {one!r}, which is not known; {_allowed(one, known)}.")
    methods = [one for one in known if one in asked or one == "none"]
    if len(methods) > 1:
        found.say(
            "calibration",
            written,
            f"{', '.join(methods)}, all by one fit, on the season before each tested one",
            f"calibration.methods=[{','.join(methods)}]",
            "validation.calibration_seasons=1",
        )


def _metrics(written: Any, found: Understood) -> None:
    if not written:
        return
    names = []
    for one in _listed(written):
        if (name := _METRICS.get(_plain(one))) is None:
            found.problems.append(f"metrics has {one!r}, which is not known; {_allowed(str(one), _METRICS.values())}.")
        else:
            names.append(name)
    if names:
        meaning = f"{', '.join(names)}; the first chooses"
        found.say("metrics", written, meaning, f"hydra.sweeper.metric={names[0]}")


def _deadline(written: Any, now: datetime, found: Understood) -> None:
    if written is None:
        return
    try:
        at = datetime.fromisoformat(str(written))
    except ValueError:
        found.problems.append(f"deadline is {written!r}; write a day or a time, as in {now.date()}T18:00.")
        return
    if len(str(written)) <= len("2026-01-01"):
        at = datetime.combine(at, time.max)
    at = at.astimezone(now.tzinfo) if at.tzinfo else at.replace(tzinfo=now.tzinfo)
    if at <= now:
        found.problems.append(
            f"The deadline {written} has passed: it is {now:%Y-%m-%d %H:%M}. Write a later one, or say "
            "hydra.launcher.deadline=TIME."
        )
        return
    found.deadline = at
    found.say("deadline", written, f"{at:%Y-%m-%d %H:%M}", f"hydra.launcher.deadline={at:%Y-%m-%dT%H:%M}")


def _listed(written: Any) -> Sequence[Any]:
    return written if isinstance(written, list) else [one.strip() for one in str(written).split(",")]


def _plain(word: Any) -> str:
    """A word without case, blanks and marks."""
    return re.sub(r"[^a-z0-9]", "", str(word).lower())


def _allowed(word: Any, names: Iterable[str]) -> str:
    known = list(dict.fromkeys(names))
    near = difflib.get_close_matches(str(word), known, n=len(known), cutoff=0.4)
    return f"allowed, nearest first: {', '.join([*near, *(name for name in known if name not in near)])}"


def _override(key: str, value: Any) -> str:
    """A word of Hydra's with any text as its value."""
    from hydra.core.override_parser.types import Quote, QuotedString

    return f"{key}={QuotedString(str(value), Quote.single).with_quotes()}"
