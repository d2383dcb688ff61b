"""`sweeproute platforms`: which machines there are, and how they have fared."""

import argparse
import dataclasses
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sweeproute.commands import Commands

if TYPE_CHECKING:
    from hydra_plugins.sweeproute._platforms import Registry
    from hydra_plugins.sweeproute.config import PlatformConf
    from sweeproute.history import Attempt

# Sweeps whose folders are read: shares of time are of these, durations of all that has run.
_NEWEST = 100
# Seconds that a far machine has to answer.
_PATIENCE_S = 8.0


def add(commands: Commands) -> None:
    """Add the command's words."""
    platforms = commands.add_parser("platforms", help="which machines there are, and how they have fared")
    platforms.add_argument("--history", action="store_true", help="figures of what has run, beside the targets")
    platforms.add_argument("--json", action="store_true", help="everything, for a program")
    platforms.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="as in registry.platforms.NAME.host=me@box")
    platforms.set_defaults(run=run)


def run(asked: argparse.Namespace) -> None:
    """Print the platforms, and with --history what is known of them."""
    from sweeproute.commands.composing import registry

    found = registry(asked.overrides)
    states = _states(found)
    history = _history(found) if asked.history else None
    if asked.json:
        print(json.dumps({"platforms": states} | ({"history": history} if history is not None else {})))
        return
    print("\n".join(_state_lines(states)))
    for name, state in states.items():
        if told := _told(state):
            print(f"{name} {told}")
    for note in found.notes:
        print(note)
    if history is not None:
        print("\n".join(["", *_history_lines(history)]))


def probe(name: str, entry: "PlatformConf") -> dict[str, Any]:
    """Ask a far machine what it is and has now.

    Args:
        name: The platform.
        entry: Its entry in the registry.

    Returns:
        `state`, a word, and `why` where it cannot be used; where it answers its `load`, with jobs of all sweeps and
        persons that share its supervisor.
    """
    if entry.backend != "ssh":
        return {"state": "available"}
    from hydra_plugins.sweeproute._errand import Errand
    from hydra_plugins.sweeproute._reach import reach_of
    from submitit_ssh.errors import FarError

    try:
        with Errand(name, reach_of(name, entry), timeout_s=_PATIENCE_S) as errand:
            load = dict(errand.load())
    except FarError as error:
        return {"state": "unavailable", "why": str(error).rstrip(".")}
    return {"state": "paused" if load.get("paused") else "available", "load": load}


def _states(found: "Registry") -> dict[str, dict[str, Any]]:
    """What is known of each platform now."""
    from hydra_plugins.sweeproute._conditions import paused
    from sweeproute import pointers
    from sweeproute.progress import is_running, progress
    from sweeproute.sweep_folder import sweep_record

    newest = pointers.pointers()[:_NEWEST]
    running = [progress(one) for one in newest if is_running(one.folder, sweep_record(one.folder))]
    states, on_pause = {}, paused()
    for name, platform in found.platforms.items():
        entry = found.settings[name]
        if name in found.unavailable:
            known = {"state": "unavailable", "why": found.unavailable[name]}
        elif found.local(name):
            known = {"state": "available"}
        else:
            known = probe(name, entry)
        if name in on_pause:
            known["state"] = "paused"
        states[name] = {
            **known,
            "name": entry.name,
            "backend": entry.backend,
            "host": entry.host,
            "slots": platform.slots,
            "running": sum(sweep.count("running", name) for sweep in running),
            "queued": sum(sweep.count("queued", name) for sweep in running),
            "specs": dataclasses.asdict(entry.specs),
            "capabilities": list(entry.capabilities),
            "best_for": list(entry.best_for),
        }
    return states


def _state_lines(states: dict[str, dict[str, Any]]) -> list[str]:
    from hydra_plugins.sweeproute._columns import columns

    rows: list[Sequence[str]] = [("platform", "state", "slots", "running", "queued", "cores", "memory", "GPU", "where")]
    for name, state in states.items():
        specs = state["specs"]
        rows.append(
            (
                name,
                state["state"],
                *(str(state[key]) for key in ("slots", "running", "queued")),
                _or_blank(specs["cpu_cores"]),
                _or_blank(specs["memory_gb"], "{:g} GB"),
                str(specs["gpu"] or "none"),
                state["host"] or ("this machine" if state["backend"] == "joblib" else state.get("why", "")),
            )
        )
    return columns(rows, right=(2, 3, 4, 5, 6))


def _told(state: dict[str, Any]) -> str:
    """What a far machine says of itself, as a clause that follows its name."""
    if state["backend"] == "ssh" and state.get("why") and state["host"]:
        return str(state["why"])
    load = state.get("load")
    if not load:
        return ""
    from sweeproute.progress import counted

    parts = [f"has {load['memory_free_gb']:.0f} of {load['memory_gb']:.0f} GB free"]
    for gpu in load.get("gpus") or ():
        used = gpu["memory_gb"] - gpu["memory_free_gb"]
        busy = "" if gpu["utilisation"] is None else f" {gpu['utilisation']:.0f} % busy,"
        parts.append(f"{gpu['name']}{busy} {used:.1f} of {gpu['memory_gb']:.0f} GB used")
    running, queued = len(load.get("running") or ()), load.get("queued", 0)
    runs, wait = "runs" if running == 1 else "run", "waits" if queued == 1 else "wait"
    parts.append(f"{counted(running)} {runs} there, {queued} {wait}")
    return "; ".join([*parts, *([load["waits"]] if load.get("waits") else [])])


def _history(found: "Registry") -> dict[str, Any]:
    """Figures of what has run, in plain values."""
    from sweeproute import history, performance, pointers
    from sweeproute.targets import targets

    sweeps = history.sweeps(pointers.pointers()[:_NEWEST])
    attempts = history.attempts()
    names = list(dict.fromkeys([*found.platforms, *(attempt.platform for attempt in attempts)]))
    costs = performance.rule_costs(attempts, _routed(found, attempts))
    return {
        "sweeps": len(sweeps),
        "attempts": len(attempts),
        "platforms": [dataclasses.asdict(one) for one in performance.platform_figures(names, sweeps, attempts)],
        "models": [dataclasses.asdict(one) for one in performance.model_figures(attempts)],
        "rules": [dataclasses.asdict(one) for one in costs],
        "targets": [dataclasses.asdict(one) for one in targets(sweeps, attempts)],
    }


def _routed(found: "Registry", attempts: "Sequence[Attempt]") -> dict[str, str]:
    """The platform that the rules send each model to."""
    from hydra_plugins.sweeproute._admission import JobClass

    models = dict.fromkeys(attempt.model for attempt in attempts if attempt.model is not None)
    return {model: found.policy.target(JobClass((("model_type", model),)))[0] for model in models}


def _history_lines(history: dict[str, Any]) -> list[str]:
    from hydra_plugins.sweeproute._columns import columns

    shares = ("success", "availability", "cpu", "gpu", "idle")
    rows: list[Sequence[str]] = [("platform", "attempts", *shares)]
    rows += [
        (one["platform"], str(one["attempts"]), *(_share(one[key]) for key in shares)) for one in history["platforms"]
    ]
    text = [
        f"Attempts that have ended: {history['attempts']}. Sweeps that shares of time are of: {history['sweeps']}.",
        "",
    ]
    text += [*columns(rows, right=range(1, 7)), ""]
    rows = [("model", "platform", "runs", "median", "success")]
    for one in history["models"]:
        median = _or_blank(one["median_s"], "{:.1f} s")
        rows.append((one["model"] or "any", one["platform"], str(one["runs"]), median, _share(one["success"])))
    text += [*columns(rows, right=(2, 3, 4)), ""]
    text += [_cost(one) for one in history["rules"]] or ["No rule is known to cost time."]
    rows = [("target", "aim", "value", "verdict")]
    rows += [tuple(target[key] for key in ("name", "aim", "value", "verdict")) for target in history["targets"]]
    return [*text, "", *columns(rows)]


def _cost(cost: dict[str, Any]) -> str:
    from sweeproute.progress import counted

    same = f"the same {counted(cost['runs'], 'point')}"
    points = same if cost["same_points"] else counted(cost["other_runs"], "other run")
    return (
        f"{cost['model']} is routed to {cost['platform']}, where the median of {counted(cost['runs'], 'run')} is "
        f"{cost['median_s']:.1f} s; on {cost['other']} {points} took {cost['other_median_s']:.1f} s: the rule costs "
        f"{cost['median_s'] - cost['other_median_s']:.1f} s a job."
    )


def _share(value: float | None) -> str:
    return "not measured" if value is None else f"{100 * value:.1f} %"


def _or_blank(value: Any, form: str = "{}") -> str:
    return "" if value is None else form.format(value)
