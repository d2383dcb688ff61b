"""Says at the end of a command what came out of it, from the job folders alone."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from sweeproute import history
from sweeproute.errors import nearest_first
from sweeproute.selection import DirectionError, maximize
from sweeproute.store import masked
from sweeproute.sweep_folder import Outcome, SweepFolder, best, command_script, sweep_record
from sweeproute.targets import short, targets

# Failed jobs that are listed one by one.
_SHOWN = 10
# Hydra's options that say which config a command means, and so belong to the command that reproduces it.
_CONFIG_OPTIONS = ("-cn", "-cp", "-cd", "--config-name", "--config-path", "--config-dir")


def lines(root: Path, *, uri: str, experiment: str, argv: Sequence[str], metric: str = "auc") -> list[str]:
    """The last lines of a command.

    Args:
        root: The folder of the sweep, or of the run.
        uri: Where its runs are tracked.
        experiment: The experiment that they are in.
        argv: The command line of this process.
        metric: The metric that chooses the best, where the sweep's record does not name one.

    Returns:
        Lines of text; none where there were no jobs.
    """
    folder, record = SweepFolder(root), sweep_record(root)
    outcomes = folder.outcomes()
    if not outcomes:
        return []
    command = (record or {}).get("argv") or argv
    where = [f"Runs: experiment {experiment} in {masked(uri)}", f"Files: {_short(root)}"]
    if not folder.is_sweep():
        chosen = outcomes[0]
        told = [_metrics(chosen, metric), f"  {reproduction(command, chosen.overrides)}"] if chosen.metrics else []
        return [*told, *where, f"Next: {_look(uri)}"]
    metric = str((record or {}).get("metric") or metric)
    text = [_counts(record, outcomes), *_best_lines(outcomes, metric, (record or {}).get("direction"), command)]
    text += _failures(outcomes)
    text += _targets(root, record)
    following = [_look(uri)]
    if record is not None:
        if any(outcome.state == "FINISHED" and metric in outcome.metrics for outcome in outcomes):
            following.append(f"sweeproute best --sweep {record['id']} --metric {metric}")
        if any(outcome.state == "KILLED" for outcome in outcomes) or record.get("state") == "KILLED":
            following.insert(0, f"sweeproute resume {record['id']}")
    return [*text, *where, f"Next: {following[0]}", *(f"      {step}" for step in following[1:])]


def reproduction(argv: Sequence[str], overrides: Sequence[str]) -> str:
    """The command that runs one configuration again, fit for a shell.

    Args:
        argv: The command line that it came from.
        overrides: The configuration's overrides.

    Example:
        >>> reproduction(["train.py", "-m", "model=glm,xgboost"], ["model=glm", "seed=1"])
        'python train.py model=glm seed=1'
    """
    script = command_script({"argv": list(argv)})
    words = ["python", script] if script.endswith(".py") else [script]
    for position, word in enumerate(argv[1:], start=1):
        if word in _CONFIG_OPTIONS:
            words += argv[position : position + 2]
        elif word.startswith(tuple(f"{option}=" for option in _CONFIG_OPTIONS)):
            words.append(word)
    return shlex.join([*words, *overrides])


def _counts(record: dict[str, object] | None, outcomes: list[Outcome]) -> str:
    counts: dict[str, int] = {}
    for outcome in outcomes:
        counts[outcome.state] = counts.get(outcome.state, 0) + 1
    said = {
        "FINISHED": "finished",
        "PRUNED": "pruned",
        "FAILED": "failed",
        "KILLED": "stopped",
        "LOST": "lost",
        "RUNNING": "unfinished",
    }
    total = (record or {}).get("total") or len(outcomes)
    parts = [f"{counts[state]} {word}" for state, word in said.items() if state in counts]
    if isinstance(total, int) and total > len(outcomes):
        parts.append(f"{total - len(outcomes)} not started")
    name = f"Sweep {record['id']}" if record is not None else "Sweep"
    if record is not None and record.get("name"):
        name += f" ({record['name']})"
    return f"{name}: {total} jobs, {', '.join(parts)}"


def _best_lines(outcomes: list[Outcome], metric: str, direction: str | None, argv: Sequence[str]) -> list[str]:
    try:
        chosen, unable = best(outcomes, metric, maximize(metric, direction))
    except DirectionError as error:
        return [str(error)]
    text = []
    if chosen is not None:
        platform = f" on {chosen.platform}" if chosen.platform else ""
        text += [
            f"Best {metric}: job {chosen.attempt.job}{platform}",
            f"  {_metrics(chosen, metric)}",
            f"  {reproduction(argv, chosen.overrides)}",
        ]
    elif not unable:
        names = {name for outcome in outcomes if outcome.state == "FINISHED" for name in outcome.metrics}
        if names:
            text.append(f"No finished job has a metric {metric}; there are {nearest_first(metric, names)}")
    if unable:
        text.append(f"  {unable} finished without a finite {metric}, and cannot win")
    return text


def _failures(outcomes: list[Outcome]) -> list[str]:
    failed = [outcome for outcome in outcomes if outcome.state in ("FAILED", "LOST")]
    text = [
        f"  job {outcome.attempt.job}: {masked(outcome.error or 'no message; see its log')[:300]}"
        for outcome in failed[:_SHOWN]
    ]
    if len(failed) > _SHOWN:
        text.append(f"  and {len(failed) - _SHOWN} more")
    return ["Failed:", *text] if text else []


def _targets(root: Path, record: Mapping[str, object] | None) -> list[str]:
    """What the sweep has reached of the targets, where it came to its end and its platforms were noted."""
    if (record or {}).get("state") not in ("FINISHED", "FAILED"):
        return []
    sweep = history.sweep(root)
    return [f"Targets {short(targets([sweep], sweep.attempts))}"] if sweep is not None and sweep.sessions else []


def _metrics(outcome: Outcome, first: str) -> str:
    names = sorted(outcome.metrics, key=lambda name: name != first)
    return "  ".join(f"{name}={_number(outcome.metrics[name])}" for name in names)


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() else f"{value:.4f}"


def _look(uri: str) -> str:
    shown = masked(uri)
    return f"open {shown}" if uri.startswith("http") else f"mlflow ui --backend-store-uri {shlex.quote(shown)}"


def _short(path: Path) -> str:
    """A path from here where it lies below, as a person would type it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) and path != here else path)
