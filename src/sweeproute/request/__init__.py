"""Reads a request for training as people hand it over, and says as a command what it asks for."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, time
from pathlib import Path
from typing import Any

from sweeproute.request.seasons import read_folds, read_range, say_seasons, say_validation
from sweeproute.request.table import ODDS, Table, look, plain
from sweeproute.request.understood import RequestError, Understood, allowed, key_of, listed, override, sweeps
from sweeproute.selection import ENSEMBLES

__all__ = ["RequestError", "Understood", "read"]

TRIGGER = "parallel_training_request"
# Keys that a request may have, each under what it stands for here.
_KEYS = {
    "context": ("requested_by", "task", "models", "dataset", "seasons", "validation", "deadline"),
    "requirements": ("reproducibility", "calibration", "metrics", "output_format"),
}
_TOP = ("trigger", *_KEYS, "expected_deliverables", "resource_estimate")
_METRICS = {"auc": "auc", "brier": "brier", "brierscore": "brier", "logloss": "log_loss", "roi": "roi", "ece": "ece"}
_METRICS["accuracy"] = "accuracy"
_CALIBRATIONS = ("none", "platt", "isotonic")
# Among the models: those that have won, together.
_ENSEMBLE = "ensemble"
_SEED = 42
_SEED_IN_WORDS = re.compile(
    r"(?:seeds?|random[ _]state)\s*(?:is|of|to|[:=])?\s*(-?\d+)(?!\d|\.\d|\s*(?:,|and|&|to|-|–|/)\s*\d)|^\s*(-?\d+)\s*$"
)
_SHOWN_FEATURES = 5


def read(path: Path, conf: Path, now: datetime, behind: Sequence[str] = ()) -> Understood:
    """Read a request.

    Args:
        path: A YAML file. Its parts may be mappings, or lists of mappings with a key each.
        conf: The folder of the configuration, which says what models there are.
        now: The present, with its zone.
        behind: Words of Hydra's that go before what the file says.

    Returns:
        What it asks for, its problems included.

    Raises:
        RequestError: The file cannot be read, or is no request; a word is none of Hydra's; there is no configuration.
    """
    content = _content(path)
    given: dict[str, Any] = {}
    found = Understood(behind={key_of(word): word for word in behind}, written=content)
    for part, known in _KEYS.items():
        for key, value in _pairs(content.get(part)):
            if key in known:
                given[key] = value
            else:
                found.refuse(f"{part} has {key!r}, which is not known; {allowed(key, known)}.")
    _models(given.get("models"), conf, found)
    years = read_range(given.get("seasons"), found)
    table = _table(given.get("dataset"), years, path.parent, found)
    methods = _methods(given.get("calibration"), found)
    folds = read_folds(given.get("validation"), methods != ["none"], found)
    say_seasons(given.get("seasons"), years, folds, table, found)
    _dataset(given.get("dataset"), years, table, found)
    say_validation(given.get("validation"), folds, found)
    _calibrations(given.get("calibration"), methods, folds.calibration, found)
    _metrics(given.get("metrics"), table, found)
    _reproducibility(given.get("reproducibility"), found)
    _deadline(given.get("deadline"), now, found)
    meaning = "tables, figures and training_complete.yaml when it has ended; report.copy_to=DIR puts them into a thesis"
    found.say("output_format", given.get("output_format", "not said"), meaning, "report.at_end=true")
    if content.get("resource_estimate"):
        found.say(
            "resource_estimate", content["resource_estimate"], "held to what is measured, in training_complete.yaml"
        )
    if "task" in given:
        found.say("task", given["task"], "the sweep's note", override("sweep.note", str(given["task"])))
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
        raise RequestError(f"{path} has {strange[0]!r}, which is not known; {allowed(strange[0], _TOP)}.")
    return content


def _pairs(part: Any) -> Iterable[tuple[str, Any]]:
    """Keys and values of a mapping, or of a list of mappings."""
    for one in part if isinstance(part, list) else [part]:
        if isinstance(one, Mapping):
            yield from ((str(key), value) for key, value in one.items())


def _models(written: Any, conf: Path, found: Understood) -> None:
    types = _types(conf)
    if not written:
        found.refuse(f"The request names no models; write models: [{', '.join(types.values())}].", "model")
        return
    names, together = [], False
    for one in listed(written):
        if plain(one) in (_ENSEMBLE, f"{_ENSEMBLE}s"):
            together = True
            continue
        match = next((name for name, kind in types.items() if plain(one) in (plain(name), plain(kind))), None)
        if match is None:
            found.refuse(f"models has {one!r}, which is not known; {allowed(one, types.values())}.", "model")
        else:
            names.append(match)
    if names or "model" in found.behind:
        words = [f"model={','.join(dict.fromkeys(names))}"]
        if together:
            words.append(f"ensemble=[{','.join(ENSEMBLES)}]")
        found.say("models", written, ", ".join(names + (["what has won together"] if together else [])), *words)


def _types(conf: Path) -> dict[str, str]:
    """Of each model's file the type that it names, by its option."""
    found = {}
    for path in sorted((conf / "model").glob("*.yaml")):
        if path.stem == _ENSEMBLE:
            continue  # no model that is trained: what has won of those is made into one at the end
        named = re.search(r"^  type: *(\S+)", path.read_text(encoding="utf-8"), re.MULTILINE)
        if named is not None:
            found[path.stem] = named[1]
    if not found:
        raise RequestError(
            f"There is no configuration in {conf.absolute()}: it has no models. Go to the folder that holds conf and "
            "train.py, and say it there."
        )
    return found


def _table(written: Any, years: tuple[int, int] | None, folder: Path, found: Understood) -> Table | None:
    """Look at the table that the data is; None where it is none, or is not there."""
    if not _is_table(written, found):
        return None
    path = Path(str(found.said("data.path", written))).expanduser()
    path = next((one for one in (path, folder / path) if one.is_file()), path)
    if not path.is_file():
        found.refuse(
            f"dataset {path} is no file (looked in {Path.cwd()}, and beside the request); bring it there, or say "
            "another behind the request: data.path=FILE, data=nfl or data=league."
        )
        return Table()
    said = {
        key.removeprefix("data."): found.said(key)
        for key, word in found.behind.items()
        if key.startswith("data.") and key != "data.path" and not sweeps(word)
    }
    table = look(path, said, years)
    for problem in table.problems:
        found.refuse(problem)
    return table


def _is_table(written: Any, found: Understood) -> bool:
    """Whether the data is a file, after what is said behind the request."""
    if "data" in found.behind:
        if found.said("data") != "csv":
            return False
    elif plain(written or "") in ("league", "nfl"):
        return False
    return written is not None or "data.path" in found.behind


def _dataset(written: Any, years: tuple[int, int] | None, table: Table | None, found: Understood) -> None:
    if table is not None and "path" not in table.settings:
        return
    shown = "not said" if written is None else written
    if table is None:
        source = found.said("data", "league" if written is None else plain(written))
        meaning = "the simulated league" if source == "league" else f"data={source}"
        if "data" in found.behind:
            meaning = f"{found.behind['data']}, as said behind the request"
        # Of what a sweep over data or another source would need, nothing is known here.
        ranged = years if source in ("league", "nfl") else None
        found.say("dataset", shown, meaning, f"data={source}", *_range(ranged))
        return
    words = [override(f"data.{key}", value) for key, value in table.settings.items() if key != "source"]
    source = table.settings["source"]
    found.say("dataset", shown, f"a table: {table.told}", f"data={source}", *(word for word in words if word))
    if table.games is not None and source == "csv":
        names = [str(name) for name in table.games.features.columns]
        more = ", ..." if len(names) > _SHOWN_FEATURES else ""
        found.say("", "features", f"{len(names)}: {', '.join(names[:_SHOWN_FEATURES])}{more}")
        if suspects := table.suspects:
            out = ",".join([*table.excluded, *suspects])
            meaning = "each alone tells winners from losers better than closing odds do; if only a game that has ended"
            found.say("", "look again", f"{', '.join(suspects)}: {meaning} has it, say data.exclude=[{out}]")
    if table.excluded:
        why = "known only afterwards, ids or odds" if table.ended else "ids or odds"
        why = "as said behind the request" if "data.exclude" in found.behind else why
        found.say("", "no features", f"{', '.join(table.excluded)} ({why})")


def _range(seasons: tuple[int, int] | None) -> list[str]:
    return [] if seasons is None else [f"data.first_season={seasons[0]}", f"data.last_season={seasons[1]}"]


def _methods(written: Any, found: Understood) -> list[str]:
    """The calibrations that are asked for, here or behind the file, without what is not known."""
    said = found.said("calibration.methods")
    if said is None and "calibration" in found.behind:
        return ["none"] if found.said("calibration") == "none" else list(_CALIBRATIONS)
    asked = [str(one).strip().lower() for one in listed(said if said is not None else written or [])]
    return [one for one in _CALIBRATIONS if one in asked or one == "none"]


def _calibrations(written: Any, methods: list[str], seasons: int, found: Understood) -> None:
    if not written and methods == ["none"]:
        return
    for one in listed(written or []):
        if str(one).strip().lower() not in _CALIBRATIONS:
            problem = f"calibration has {one!r}, which is not known; {allowed(one, _CALIBRATIONS)}."
            found.refuse(problem, "calibration", "calibration.methods")
    if methods == ["none"]:
        found.say("calibration", written, "none")
        return
    on = "the season" if seasons == 1 else f"the {seasons} seasons"
    # An option of the group behind the file names its methods itself.
    words = [] if "calibration" in found.behind else [f"calibration.methods=[{','.join(methods)}]"]
    meaning = f"{', '.join(methods)}, all by one fit, on {on} before each tested one"
    found.say("calibration", written or "not said", meaning, *words, f"validation.calibration_seasons={seasons}")


def _metrics(written: Any, table: Table | None, found: Understood) -> None:
    if not written:
        return
    chooses = "hydra.sweeper.metric"
    names = []
    for one in listed(written):
        if (name := _METRICS.get(plain(one))) is None:
            problem = f"metrics has {one!r}, which is not known; {allowed(str(one), _METRICS.values())}."
            found.refuse(problem, chooses)
        else:
            names.append(name)
    without = ""
    if "roi" in names and table is not None and "path" in table.settings and not table.has_odds:
        names.remove("roi")
        without = f"no roi, as the table has no decimal odds ({', '.join(one[0] for one in ODDS.values())})"
        if table.american:
            without += f"; {', '.join(table.american)} are American: +150 is 2.5, -200 is 1.5"
        if not names:
            found.refuse(
                f"metrics asks for roi alone, and there is {without}; say data.odds_home=COLUMN data.odds_away=COLUMN, "
                "or write another metric.",
                chooses,
            )
    if names:
        meaning = f"{', '.join(names)}; the first chooses"
        found.say("metrics", written, f"{meaning}; {without}" if without else meaning, f"{chooses}={names[0]}")


def _reproducibility(written: Any, found: Understood) -> None:
    if written is None:
        return
    known = ("seed", "random_seed", "random_state")
    seed: Any = _SEED
    if pairs := list(_pairs(written)):
        for key, value in pairs:
            if plain(key) not in map(plain, known):
                found.refuse(f"reproducibility has {key!r}, which is not known; {allowed(key, known)}.", "seed")
            else:
                seed = value
    elif re.search(r"\d", str(written)):
        named = _SEED_IN_WORDS.search(str(written).lower())
        seed = None if named is None else int(named[1] or named[2])
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**32:
        found.refuse(
            f"reproducibility is {written!r}; write one seed, a whole number from 0 to {2**32 - 1}: {{seed: 7}}.",
            "seed",
        )
        return
    found.say("reproducibility", written, f"every trial is pinned to seed {seed}", f"seed={seed}")


def _deadline(written: Any, now: datetime, found: Understood) -> None:
    key = "hydra.launcher.deadline"
    behind = found.said(key)
    if written is None and behind is None:
        return
    asked = written if behind is None else behind
    # A word behind the file mends what the file says, and nothing mends that word.
    mends = (key,) if behind is None else ()
    try:
        at = datetime.fromisoformat(str(asked))
    except ValueError:
        found.refuse(f"deadline is {asked!r}; write a day or a time, as in {now.date()}T18:00.", *mends)
        return
    if len(str(asked)) <= len("2026-01-01"):
        at = datetime.combine(at, time.max)
    at = at.astimezone(now.tzinfo) if at.tzinfo else at.replace(tzinfo=now.tzinfo)
    if at <= now:
        found.refuse(
            f"The deadline {asked} has passed: it is {now:%Y-%m-%d %H:%M}. Write a later one, or say {key}=TIME.",
            *mends,
        )
        return
    found.deadline = at
    if written is not None:
        found.say("deadline", str(written), f"{at:%Y-%m-%d %H:%M}", f"{key}={at:%Y-%m-%dT%H:%M}")
