"""Finds the members of an ensemble in the folder of their sweep, and refuses those that do not belong together."""

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from sweeproute import pointers
from sweeproute.config import plain
from sweeproute.configuration import split
from sweeproute.ensemble import PREFIX, EnsembleError, Member, Members, Record, again, chosen, is_one, too_few
from sweeproute.selection import ENSEMBLES, rule
from sweeproute.sweep_folder import SweepFolder, launch_record, sweep_record

# What a job on the holdout says for itself.
_OF_SCORING = ("calibration", "calibration.methods", "validation.scoring")
# States of a sweep in which nothing more comes of it.
_ENDED = ("FINISHED", "FAILED")
# The groups of the config in which an ensemble has to agree with its members.
_AGREE = ("validation", "betting")


def check(cfg: DictConfig) -> None:
    """Refuse methods that are none, and an ensemble that has no members.

    Args:
        cfg: A trial's config.

    Raises:
        EnsembleError: In a sentence.
    """
    known = ", ".join(ENSEMBLES)
    for method in cfg.ensemble:
        if method not in ENSEMBLES:
            raise EnsembleError(f"ensemble=[{','.join(cfg.ensemble)}] has {method!r}, which is not known; use {known}.")
    if not is_one(cfg):
        return
    params = cfg.model.params
    if not 0 < params.clip < 0.5:
        raise EnsembleError(f"model.params.clip={params.clip} is out of range; use more than 0 and less than 0.5.")
    if not params.C > 0:
        raise EnsembleError(f"model.params.C={params.C} is out of range; use more than 0.")
    find(cfg)


def members(cfg: DictConfig) -> Members | None:
    """What an ensemble is made of, see `find`; None for a model."""
    return find(cfg) if is_one(cfg) else None


def find(cfg: DictConfig, *, scored: bool = False) -> Members:
    """Find the members of an ensemble, from the folder of their sweep.

    Args:
        cfg: The config of a trial whose model is an ensemble. Where it scores the holdout, so have its members.
        scored: Whether they have to have been scored there all the same.

    Returns:
        The members.

    Raises:
        EnsembleError: There is no such sweep, it has too few models, they were judged otherwise than this trial is, or
            were not scored on the holdout.
        sweeproute.pointers.NoSuchSweepError: There is no such sweep.
    """
    root, record, own = _sweep(str(cfg.model.params.sweep))
    records = _records(root)
    decides = rule(record)
    finished = [one for one in records.values() if one.get("state") == "FINISHED" and not one.get("follow_up")]
    finished = [one for one in finished if not _type(one).startswith(PREFIX)]
    methods = [str(method) for method in cfg.calibration.methods]
    if not finished:
        raise EnsembleError(
            f"Sweep {record['id']} has no finished run of a model, so that there is nothing to make an ensemble of; "
            "name another by model.params.sweep."
        )
    pinned = cfg.model.params.get("members")
    if pinned is not None:
        numbers = {method: [list(jobs) for jobs in pinned.get(method) or ()] for method in methods}
        missing = [job for jobs in numbers.values() for one in jobs for job in one if job not in records]
        if missing:
            raise EnsembleError(f"model.params.members has job {missing[0]}, which sweep {record['id']} does not have.")
        found = {method: [[records[job] for job in one] for one in jobs] for method, jobs in numbers.items()}
    elif not own and record.get("state") not in _ENDED:
        raise EnsembleError(
            f"Sweep {record['id']} has not ended, so that what has won in it is not known; `sweeproute resume "
            f"{record['id']}` goes on with one that was stopped."
        )
    else:
        theirs = _methods(finished[0]["folder"], finished[0])
        lacking = [method for method in methods if method not in theirs]
        if lacking:
            raise EnsembleError(
                f"calibration.methods has {lacking[0]}, and sweep {record['id']} has {', '.join(theirs)} alone; say "
                f"calibration.methods=[{','.join(theirs)}], or leave the calibration out."
            )
        found = {method: jobs for method, jobs in chosen(finished, decides, theirs)[0].items() if method in methods}
        found = {method: found[method] for method in methods}
    for method, of_method in found.items():
        if len(of_method) < 2:
            raise EnsembleError(too_few(record["id"], [_type(jobs[0]) for jobs in of_method]))
        for jobs in of_method:
            _check(cfg, jobs[0], method, record["id"])
    scoring = scored or bool(cfg.validation.scoring)
    return Members(
        str(record["id"]),
        own,
        decides,
        {
            method: tuple(
                Member(_type(jobs[0]), tuple(jobs), _scored(jobs, records, method, record["id"]) if scoring else ())
                for jobs in of_method
            )
            for method, of_method in found.items()
        },
    )


def _sweep(name: str) -> tuple[Path, Record, bool]:
    """The folder and the record of a sweep, and whether it is the one that this job belongs to."""
    here = _here()
    mine = None if here is None else sweep_record(here)
    if here is not None and mine is not None and name == mine["id"]:
        return here, mine, True
    if name == pointers.LAST:
        before = float("inf") if mine is None else float(mine.get("started") or 0)
        mine_id = None if mine is None else mine["id"]
        found = next((one for one in pointers.pointers() if one.id != mine_id and one.started < before), None)
        if found is None:
            raise pointers.NoSuchSweepError(pointers.no_such_sweep(name, []))
        pointer = found
    else:
        pointer = pointers.find(name)
    record = sweep_record(pointer.folder)
    if record is None or record["id"] != pointer.id:
        cure = f"; `sweeproute sync {pointer.id}` brings it here" if pointer.on is not None else ""
        raise EnsembleError(
            f"The folder of sweep {pointer.id}, {pointer.folder}, is not there any more, and what its models said lies "
            f"in it{cure}."
        )
    return pointer.folder, record, False


def _here() -> Path | None:
    """The folder of the sweep whose job this is; None where it is none."""
    if not HydraConfig.initialized():
        return None
    return Path(HydraConfig.get().sweep.dir)


def _records(root: Path) -> dict[int, Record]:
    """The launch record of each job of a sweep, with its folder: of the attempt that counts, else of the newest."""
    found: dict[int, Record] = {}
    for attempt in SweepFolder(root).attempts():
        record = launch_record(attempt.folder)
        if attempt.job is None or record is None:
            continue
        if attempt.job not in found or record.get("current") or not found[attempt.job].get("current"):
            found[attempt.job] = {**record, "folder": attempt.folder}
    return dict(sorted(found.items()))


def _type(record: Record) -> str:
    return str((record.get("fields") or {}).get("model_type"))


def _check(cfg: DictConfig, member: Record, method: str, sweep: str) -> None:
    """Refuse a member that was judged otherwise than the ensemble is to be."""
    config = _config(member["folder"], member)
    who = f"{_type(member)}, job {member['job']} of sweep {sweep},"
    if method not in config["calibration"]["methods"]:
        raise EnsembleError(f"{who} has no calibration {method}; it has {', '.join(config['calibration']['methods'])}.")
    for group in _AGREE:
        mine, theirs = plain(cfg[group]), config[group]
        aside = ("scoring", *(() if cfg.validation.scoring else ("holdout_seasons",)))
        for key in mine:
            if key not in aside and mine[key] != theirs.get(key, mine[key]):
                raise EnsembleError(
                    f"{who} has {group}.{key}={_shown(theirs[key])}, and this ensemble {_shown(mine[key])}, so that "
                    f"they are not judged alike; {again(member)}"
                )


def _scored(jobs: Sequence[Record], records: Mapping[int, Record], method: str, sweep: str) -> tuple[Record, ...]:
    """The jobs that scored a member on the holdout, the newest of each."""
    found = []
    for one in jobs:
        wanted = _configuration(one)
        like = [
            record
            for record in records.values()
            if record.get("follow_up")
            and record.get("state") == "FINISHED"
            and any(word.lstrip("+").startswith(f"{_OF_SCORING[-1]}=") for word in record["overrides"])
            and _configuration(record) == wanted
            and method in _methods(record["folder"], record)
        ]
        if not like:
            raise EnsembleError(
                f"{_type(one)}, job {one['job']} of sweep {sweep}, was not scored on the holdout under {method}, so "
                "that an ensemble of it cannot be; holdout=true scores what a sweep has chosen when it ends."
            )
        found.append(like[-1])
    return tuple(found)


def _configuration(record: Record) -> frozenset[str]:
    kept, _ = split(record["overrides"], _OF_SCORING)
    return frozenset(kept)


def _methods(folder: Path, record: Record) -> list[str]:
    return [str(method) for method in _config(folder, record)["calibration"]["methods"]]


def _config(folder: Path, record: Record) -> dict[str, Any]:
    """The config of a trial, as it was journalled."""
    try:
        return _read(folder / "config.yaml")
    except OSError:
        raise EnsembleError(
            f"Job {record['job']} of sweep {record['sweep']} has left no config.yaml in {folder}; "
            f"`sweeproute sync {record['sweep']}` brings what lies elsewhere."
        ) from None


@functools.lru_cache(maxsize=64)
def _read(path: Path) -> dict[str, Any]:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), loader)
    return found


def _shown(value: Any) -> str:
    return json.dumps(value).replace(" ", "") if not isinstance(value, str) else value
