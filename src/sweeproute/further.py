"""Says which jobs the results of a sweep call for: what has won on the holdout, and ensembles of it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig

from sweeproute import ensemble, holdout, stakes
from sweeproute.config import plain
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
        sweeproute.holdout.HoldoutError: The holdout was scored before, for a model or for an ensemble, or another sweep
            that runs is going to score it; then nothing of it is scored.
    """
    made = _ensembles(results, decides, cfg)
    scored = holdout.follow_up(results, decides, cfg, made)
    ended = {tuple(one["overrides"]) for one in decides.get("followed") or ()}
    if not made or not scored or not ended.issuperset(map(tuple, scored)):
        return [*scored, *made.values()]
    looks = holdout.note(results, cfg, made)
    on_holdout = [[*words, f"{holdout.SCORING}={looks[type]}"] for type, words in made.items()]
    return [*scored, *made.values(), *on_holdout]


def _ensembles(results: Sequence[Record], decides: Record, cfg: DictConfig) -> dict[str, list[str]]:
    """The overrides of each ensemble's job, by its type; none where none is wanted, or can be."""
    methods = list(dict.fromkeys(map(str, cfg.ensemble)))
    if not methods:
        return {}
    said = _said_once(decides)
    if decides.get("failed"):
        said("No ensemble was made, since not all jobs have ended well; resume=true goes on.")
        return {}
    group = differs(results, _SHARED)
    if group is not None:
        said(f"No ensemble was made, since the jobs of this sweep differ in {group}. Give {group} one value.")
        return {}
    finished = [one for one in results if one["state"] == "FINISHED"]
    calibrations = [str(method) for method in cfg.calibration.methods]
    chosen, left = ensemble.chosen(finished, rule(decides), calibrations)
    if left:
        said(f"No ensemble has {' or '.join(left)} for a member: there are no probabilities of it, stakes alone.")
    for of_method in chosen.values():
        if len(of_method) < 2:
            models = [str(one[0]["fields"]["model_type"]) for one in of_method]
            said(f"No ensemble was made. {ensemble.too_few(str(results[0]['sweep']), models)}")
            return {}
    forced = cfg.platform.name
    if forced is not None:
        said(f"Ensembles are made where the sweep's folder lies, with what their members said, and not on {forced}.")
    members = ",".join(
        f"{method}:[{','.join(_listed(one) for one in of_method)}]" for method, of_method in chosen.items()
    )
    # It fits nothing that a GPU could.
    told = [*_words(finished, decides), "device=cpu", *(["platform.name=null"] if forced is not None else [])]
    return {
        f"{ensemble.PREFIX}{method}": [
            *told,
            "model=ensemble",
            f"model.params.method={method}",
            f"model.params.sweep={_text(str(results[0]['sweep']))}",
            f"model.params.members={{{members}}}",
        ]
        for method in methods
    }


def beforehand(planned: Sequence[Record], decides: Record) -> list[dict[str, Any]]:
    """Say which jobs will follow, before any has run; the launcher's `foresee` hook.

    Args:
        planned: The jobs of a sweep: of each its overrides, and the config of one of its choice of groups.
        decides: What the sweep chooses by: metric, direction, repeats.

    Returns:
        For the holdout, the ensembles and the ensembles on the holdout: round, as these wait for each other; says, a
        sentence; jobs, the overrides of as many as there may be at most. Which configuration wins is not known, so that
        some of each model stand for it.
    """
    if not planned:
        return []
    cfg: DictConfig = planned[0]["config"]
    repeats = decides.get("repeats") or ()
    models = _planned_models(planned, repeats)
    found: list[dict[str, Any]] = []
    scores = holdout.is_wanted(cfg)
    if scores:
        try:
            holdout.refuse_swept(planned)
            types = [f"{ensemble.PREFIX}{method}" for method in dict.fromkeys(map(str, cfg.ensemble))]
            # lazy import: pandas, for a look that few ask for
            from sweeproute import data

            games = data.load(plain(cfg.data)).games_hash
            holdout.refuse_spent(cfg, games, [*(one.type for one in models), *types])
            jobs, sentence = _on_holdout(models, cfg)
        except holdout.HoldoutError as error:
            scores, jobs, sentence = False, [], f"the holdout will not be scored. {error}"
        found.append({"round": 1, "says": sentence, "jobs": jobs})
    methods = list(dict.fromkeys(map(str, cfg.ensemble)))
    if methods:
        group = differs(planned, _SHARED)
        members = [one.type for one in models if one.probable]
        if group is not None or len(members) < 2:
            why = f"the jobs differ in {group}; give {group} one value" if group is not None else _too_few(members)
            found.append({"round": 1, "says": f"no ensemble will be made, since {why}.", "jobs": []})
            return found
        words = [*_words(planned, decides), "device=cpu", "model=ensemble"]
        made = [[*words, f"model.params.method={method}"] for method in methods]
        of = f"{_counted(len(made), 'ensemble')} ({', '.join(methods)}) of {_listed_out(members)}"
        found.append({"round": 1, "says": f"{of}.", "jobs": made})
        if scores:
            there = [[*words, f"{holdout.SCORING}=1"] for words in made]
            found.append({"round": 2, "says": f"{of}, on the holdout.", "jobs": there})
    return found


@dataclass(frozen=True)
class _Model:
    """A model of a sweep that has not begun: its calibrations, and each of its configurations with its repeats."""

    type: str
    probable: bool
    calibrations: tuple[str, ...]
    configurations: Sequence[Sequence[Sequence[str]]]


def _planned_models(planned: Sequence[Record], repeats: Sequence[str]) -> list[_Model]:
    of_model: dict[str, list[Record]] = {}
    for one in planned:
        of_model.setdefault(str(one["config"].model.type), []).append(one)
    found = []
    for model, jobs in of_model.items():
        alike: dict[frozenset[str], list[Sequence[str]]] = {}
        for one in jobs:
            alike.setdefault(frozenset(split(one["overrides"], repeats)[0]), []).append(one["overrides"])
        cfg = jobs[0]["config"]
        probable = cfg.model.gives != stakes.STAKES and not model.startswith(ensemble.PREFIX)
        found.append(_Model(model, probable, tuple(stakes.calibrations(cfg)), list(alike.values())))
    return found


def _on_holdout(models: Sequence[_Model], cfg: DictConfig) -> tuple[list[list[str]], str]:
    """Jobs that may score the holdout, and how many that are."""
    jobs: list[list[str]] = []
    least = 0
    under: dict[tuple[str, ...], list[str]] = {}
    for one in models:
        under.setdefault(one.calibrations, []).append(one.type)
        there = one.configurations
        least += min(map(len, there))
        number = min(len(there), len(one.calibrations))
        for place in range(number):  # from the whole of them, evenly
            won = one.calibrations[place::number]
            stand_in = there[(2 * place + 1) * len(there) // (2 * number)]
            jobs += [holdout.overrides(words, won, 1) for words in stand_in]
    first, last = cfg.validation.holdout_seasons
    what = f"{least} to {_counted(len(jobs), 'job')}" if least < len(jobs) else _counted(least, "job")
    which = "; ".join(f"{_listed_out(types)} under {_listed_out(methods)}" for methods, types in under.items())
    won_of = "what has won of " if any(len(one.configurations) > 1 for one in models) else ""
    return jobs, f"{what} on the holdout, seasons {first} to {last}: {won_of}{which}."


def _too_few(members: Sequence[str]) -> str:
    has = f"{members[0]} alone" if members else "none"
    return f"it takes two models or more that give probabilities, and there is {has}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _listed_out(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), *names[-1:]] if len(names) > 1 else names)


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
