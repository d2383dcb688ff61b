"""Says which jobs the results of a sweep call for: what has won on the holdout, and ensembles of it."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig

from sweeproute import ensemble, holdout
from sweeproute.configuration import split
from sweeproute.selection import rule
from sweeproute.winners import differs

Record = Mapping[str, Any]

# What an ensemble says for itself, or has no use for: its model, and where it runs.
_OWN = ("model", "job", "search_space", "platform", "device", "threads")
# What all jobs have to share, or an ensemble would be judged as some of its members were, and not as others.
_SHARED = ("calibration", "data", "validation", "betting")


def jobs(results: Sequence[Record], decides: Record, cfg: DictConfig) -> list[list[str]]:
    """Say which jobs follow, now that all have ended; the launcher's `follow_up` hook.

    The holdout's come first, with ensembles on the selection seasons beside them. When those have ended, ensembles of
    what was said of the holdout follow.

    Args:
        results: The launch records of a sweep's jobs, all of which have ended well.
        decides: What the sweep chooses by: metric, direction, repeats; `followed`, the launch records of the jobs that
            this has called for before, and that have ended well.
        cfg: The config of one of the jobs.

    Returns:
        The overrides of each job, those that have run by now among them.

    Raises:
        sweeproute.holdout.HoldoutError: The holdout was scored before.
    """
    scored = holdout.follow_up(results, decides, cfg)
    return [*scored, *_ensembles(results, decides, cfg, scored)]


def _ensembles(
    results: Sequence[Record], decides: Record, cfg: DictConfig, scored: Sequence[Sequence[str]]
) -> list[list[str]]:
    methods = list(dict.fromkeys(map(str, cfg.ensemble)))
    if not methods:
        return []
    said = _said_once(decides)
    if decides.get("failed"):
        said("No ensemble was made, since not all jobs have ended well; resume=true goes on.")
        return []
    group = differs(results, _SHARED)
    if group is not None:
        said(f"No ensemble was made, since the jobs of this sweep differ in {group}. Give {group} one value.")
        return []
    finished = [one for one in results if one["state"] == "FINISHED"]
    calibrations = [str(method) for method in cfg.calibration.methods]
    chosen, left = ensemble.chosen(finished, rule(decides), calibrations)
    if left:
        said(f"No ensemble has {' or '.join(left)} for a member: there are no probabilities of it, stakes alone.")
    for of_method in chosen.values():
        if len(of_method) < 2:
            models = [str(one[0]["fields"]["model_type"]) for one in of_method]
            said(f"No ensemble was made. {ensemble.too_few(str(results[0]['sweep']), models)}")
            return []
    forced = cfg.platform.name
    if forced is not None:
        said(f"Ensembles are made where the sweep's folder lies, with what their members said, and not on {forced}.")
    members = ",".join(
        f"{method}:[{','.join(_listed(one) for one in of_method)}]" for method, of_method in chosen.items()
    )
    # It fits nothing that a GPU could.
    told = [*_words(finished, decides), "device=cpu", *(["platform.name=null"] if forced is not None else [])]
    wanted = {
        f"{ensemble.PREFIX}{method}": [
            *told,
            "model=ensemble",
            f"model.params.method={method}",
            f"model.params.sweep={_text(str(results[0]['sweep']))}",
            f"model.params.members={{{members}}}",
        ]
        for method in methods
    }
    ended = {tuple(one["overrides"]) for one in decides.get("followed") or ()}
    if not scored or not ended.issuperset(map(tuple, scored)):
        return list(wanted.values())
    looks = holdout.note(results, cfg, wanted)
    return [*wanted.values(), *([*words, f"{holdout.SCORING}={looks[type]}"] for type, words in wanted.items())]


def _said_once(decides: Record) -> Any:
    """What tells the person, unless it was told before: the hook is asked again when its first jobs have ended."""
    return (lambda text: None) if decides.get("followed") else (lambda text: print(text, flush=True))  # noqa: ARG005


def _text(word: str) -> str:
    """A word as Hydra reads it as text: an id may look like a number, or have blanks."""
    from hydra.core.override_parser.types import Quote, QuotedString

    plain = re.fullmatch(r"[A-Za-z]\w*", word) and word.lower() not in ("true", "false", "null", "nan", "inf")
    return word if plain else QuotedString(word, Quote.single).with_quotes()


def _listed(jobs: Sequence[Record]) -> str:
    return f"[{','.join(str(one['job']) for one in jobs)}]"


def _words(records: Sequence[Record], decides: Record) -> list[str]:
    """What all jobs were told alike, but for what is a model's own, and of repeats what the first was told."""
    kept, repeat = split(records[0]["overrides"], decides.get("repeats") or ())
    alike = [word for word in kept if all(word in one["overrides"] for one in records)]
    return [word for word in (*alike, *repeat) if word.lstrip("+~").partition("=")[0].split(".")[0] not in _OWN]
