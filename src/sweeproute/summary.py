"""Says at the end of a command what came out of it, from the job folders alone."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from sweeproute import history
from sweeproute.choice import Chosen
from sweeproute.configuration import estimates, split
from sweeproute.errors import nearest_first
from sweeproute.holdout import SCORING
from sweeproute.mlflow_journal import is_journal
from sweeproute.score_text import front_table, headline, jobs, lacking, repeats, scores
from sweeproute.selection import DirectionError, Rule, rule
from sweeproute.store import masked
from sweeproute.sweep_folder import Outcome, SweepFolder, choose, command_script, sweep_record
from sweeproute.targets import short, targets

# Failed jobs, or points of a front, that are listed one by one.
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
    where = [f"Runs: {_store(uri, experiment)}", f"Files: {short_path(root)}"]
    if not folder.is_sweep():
        alone = outcomes[0]
        told = [scores(estimates([alone.metrics]), [metric]), f"  {reproduction(command, alone.overrides)}"]
        return [*(told if alone.metrics else []), *where, f"Next: {_look(uri, root)}"]
    text = [_counts(record, outcomes)]
    try:
        decides = rule(record, metric)
    except DirectionError as error:
        text.append(str(error))
    else:
        text += _best_lines(outcomes, decides, command)
    text += _followed_up(outcomes, record)
    text += _failures(outcomes)
    text += _targets(root, record)
    following = [_look(uri, root)]
    if record is not None:
        named = record.get("metric") or metric
        metrics = [named] if isinstance(named, str) else named
        scored = any(outcome.state == "FINISHED" and outcome.metrics.keys() >= set(metrics) for outcome in outcomes)
        if scored and not is_journal(uri):
            asked = f" --metric {metrics[0]}" if len(metrics) == 1 else ""
            following.append(f"sweeproute best --sweep {record['id']}{asked}")
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


def _best_lines(outcomes: list[Outcome], decides: Rule, argv: Sequence[str]) -> list[str]:
    choice = choose(outcomes, decides)
    keys = choice.rule.repeats
    metrics = " and ".join(decides.metrics)
    text = []
    if choice.winner is not None:
        first = choice.winner.repeats[0]
        kept, _ = split(first.overrides, keys)
        what = headline(choice)
        if len(decides.objectives) > 1:
            points = [(_jobs(point).partition(" ")[2], point.estimates, "") for point in choice.front]
            table = front_table(decides.metrics, points, choice.knee, _SHOWN)
            text += [headline(choice), *(f"  {line}" for line in table)]
            what = "Its knee"
        platforms = sorted({outcome.platform for outcome in choice.winner.repeats if outcome.platform})
        on = f" on {', '.join(platforms)}" if platforms else ""
        text.append(f"{what}: {_jobs(choice.winner)}{on}")
        told = f"  {scores(choice.winner.estimates, decides.metrics)}"
        text.append(told + (f"  ({repeats(choice.finished_repeats, keys)})" if keys else ""))
        text.append(f"  {reproduction(argv, kept)}")
        text += [f"  {said}"] if (said := lacking(choice)) else []
    elif not choice.not_finite:
        names = {name for outcome in outcomes if outcome.state == "FINISHED" for name in outcome.metrics}
        missing = [metric for metric in decides.metrics if metric not in names]
        if names and missing:
            text.append(f"No finished job has a metric {missing[0]}; there are {nearest_first(missing[0], names)}")
        elif names:
            text.append(f"No finished job has both {metrics}")
    if choice.not_finite:
        text.append(f"  {choice.not_finite} finished without a finite {metrics}, and cannot win")
    return text


def _followed_up(outcomes: list[Outcome], record: Mapping[str, object] | None) -> list[str]:
    """What came of the jobs that the results of the others called for: the scores on the holdout, or an app's own."""
    repeated = [str(key) for key in (record or {}).get("repeats") or ()]  # type: ignore[attr-defined]
    groups: dict[tuple[str, ...], list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.follow_up and outcome.state == "FINISHED" and outcome.metrics:
            groups.setdefault(split(outcome.overrides, repeated)[0], []).append(outcome)
    holdout: list[str] = []
    ensembles: list[str] = []
    other: list[str] = []
    told_of = {overrides: _values(overrides) for overrides in groups}
    newest = {_ensemble(values): overrides for overrides, values in told_of.items()}
    for overrides, group in groups.items():
        values = told_of[overrides]
        scored, together = SCORING in values, _ensemble(values) is not None
        if together and newest[_ensemble(values)] != overrides:
            continue  # made of what had won before the sweep went further
        name = _model_and_method(values) if scored or together else shlex.join(overrides)
        called = ", ".join(part for part in (jobs([outcome.attempt.job for outcome in group]), name) if part)
        told = scores(estimates([outcome.metrics for outcome in group]), (), indent="    ")
        (holdout if scored else ensembles if together else other).append(f"  {called}: {told}")
    return [
        *(["Of the models together, by which nothing was chosen:", *ensembles] if ensembles else []),
        *(["On the holdout, by which nothing was chosen:", *holdout] if holdout else []),
        *(["Follow-ups:", *other] if other else []),
    ]


def _values(overrides: Sequence[str]) -> dict[str, str]:
    return {key.lstrip("+"): value for key, _, value in (word.partition("=") for word in overrides)}


def _ensemble(values: Mapping[str, str]) -> tuple[str, bool] | None:
    """Which ensemble of the sweep's models a job is, and whether on the holdout; None where it is none."""
    method = values.get("model.params.method", "")
    return (method, SCORING in values) if values.get("model") == "ensemble" else None


def _model_and_method(values: Mapping[str, str]) -> str:
    """What tells a job on the holdout from the others: its model, where it was named, and how it was calibrated."""
    first = values.get("calibration.methods", "").strip("[]").partition(",")[0]
    method, _ = _ensemble(values) or ("", False)
    return " ".join(word for word in (values.get("model", ""), method, "" if first == "none" else first) if word)


def _jobs(chosen: Chosen[Outcome]) -> str:
    return jobs([outcome.attempt.job for outcome in chosen.repeats])


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


def _store(uri: str, experiment: str) -> str:
    if is_journal(uri):
        return f"in their folder alone, since {uri} takes what MLflow's own calls log"
    return f"experiment {experiment} in {masked(uri)}"


def _look(uri: str, root: Path) -> str:
    if is_journal(uri):
        return f"sweeproute sync {shlex.quote(short_path(root))} --uri sqlite:///mlflow.db"
    shown = masked(uri)
    return f"open {shown}" if uri.startswith("http") else f"mlflow ui --backend-store-uri {shlex.quote(shown)}"


def short_path(path: Path) -> str:
    """A path from here where it lies below, as a person would type it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) and path != here else path)
