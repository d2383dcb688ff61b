"""Enters into the record here what a sweep has scored of the holdout on another machine, once that has come home."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweeproute import holdout_record
from sweeproute.sweep_folder import SweepFolder, launch_record

# What tells one look from another, whichever of its jobs have come home.
_SAME = ("games_hash", "seasons", "model", "sweep", "scoring")
Record = Mapping[str, Any]


def merge(root: Path) -> list[dict[str, Any]]:
    """Enter every look of a sweep at the holdout that is not in the record yet.

    Args:
        root: The sweep's folder, as it has come home.

    Returns:
        What was entered: games_hash, seasons, model, sweep, overrides, scoring of each look.
    """
    records = [(one.folder, record) for one in SweepFolder(root).attempts() if (record := launch_record(one.folder))]
    games = next((found for _, record in records if (found := (record.get("identity") or {}).get("games_hash"))), None)
    looks: dict[tuple[str, int], list[tuple[Path, Record]]] = {}
    for folder, record in records:
        scoring = _scoring(record)
        if record.get("follow_up") and scoring:
            model = str((record.get("fields") or {}).get("model_type"))
            looks.setdefault((model, scoring), []).append((folder, record))
    entered = []
    with holdout_record.held():
        known = [tuple(one.get(key) for key in _SAME) for one in holdout_record.scored()]
        for (model, scoring), jobs in looks.items():
            seasons = next((found for folder, _ in [*jobs, *records] if (found := _seasons(folder)) is not None), None)
            if seasons is None:
                continue
            entry = {
                "games_hash": games,
                "seasons": seasons,
                "model": model,
                "sweep": jobs[0][1].get("sweep"),
                "overrides": sorted(sorted(map(str, record["overrides"])) for _, record in jobs),
                "scoring": scoring,
            }
            if tuple(entry[key] for key in _SAME) not in known:
                holdout_record.note(entry)
                entered.append(entry)
    return entered


def _scoring(record: Record) -> int:
    """Which look at the holdout a job is; 0 for one that is none."""
    for word in record.get("overrides") or ():
        key, _, value = str(word).lstrip("+").partition("=")
        if key == holdout_record.SCORING and value.isdigit():
            return int(value)
    return 0


def _seasons(folder: Path) -> list[int] | None:
    """The holdout seasons of a job, by the config that it was given; None where that cannot be read."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    for path in (folder / "config.yaml", folder / ".hydra" / "config.yaml"):
        try:
            first, last = yaml.load(path.read_text(encoding="utf-8"), loader)["validation"]["holdout_seasons"]
            return [int(first), int(last)]
        except (OSError, KeyError, TypeError, ValueError, yaml.YAMLError):
            continue
    return None
