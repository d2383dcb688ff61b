"""Compares what has run with what it is meant to reach."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sweeproute import performance
from sweeproute.history import Attempt, Sweep

NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Target:
    """One figure with its aim."""

    name: str
    aim: str
    # As text with its unit, or that it has not been measured.
    value: str
    # met, missed or not measured.
    verdict: str


def targets(sweeps: Sequence[Sweep], attempts: Sequence[Attempt]) -> list[Target]:
    """Compare sweeps with the targets.

    Args:
        sweeps: Those that are over.
        attempts: Whose success counts.

    Returns:
        A line a target; what has not been measured says so.
    """
    speed_up = performance.speed_up(sweeps)
    cpu, gpu, idle = performance.use(sweeps, "cpu"), performance.use(sweeps, "gpu"), performance.idle(sweeps)
    success = performance.success(attempts)
    there, least = _least_available(sweeps)
    took_s = [sweep.seconds for sweep in sweeps if sweep.seconds is not None]
    hours = max(took_s) / 3600 if took_s else None
    return [
        _target("speed-up over sequential", "4 to 6", speed_up, "{:.1f}", lambda x: x >= 4),
        _target("GPU use", "over 80 %", gpu, "{:.1%}", lambda x: x > 0.8),
        _target("CPU use", "60 to 80 %", cpu, "{:.1%}", lambda x: 0.6 <= x <= 0.8),
        _target("idle", "under 10 %", idle, "{:.1%}", lambda x: x < 0.1),
        _target("success", "over 95 %", success, "{:.1%}", lambda x: x > 0.95),
        _target("availability", "over 99 %", there, "{:.1%}" + (f" ({least})" if least else ""), lambda x: x > 0.99),
        _target("length of a sweep", "under 6 h", hours, "{:.2f} h", lambda x: x < 6),
    ]


def short(found: Sequence[Target]) -> str:
    """All of them on one line: those met, those missed with their aim, those not measured."""
    met = [f"{target.name} {target.value}" for target in found if target.verdict == "met"]
    missed = [f"{target.name} {target.value} ({target.aim})" for target in found if target.verdict == "missed"]
    unknown = [target.name for target in found if target.verdict == NOT_MEASURED]
    parts = {"met": met, "missed": missed, NOT_MEASURED: unknown}
    return "; ".join(f"{verdict}: {', '.join(names)}" for verdict, names in parts.items() if names)


def _target(name: str, aim: str, value: float | None, form: str, reached: Callable[[float], bool]) -> Target:
    if value is None:
        return Target(name, aim, NOT_MEASURED, NOT_MEASURED)
    return Target(name, aim, form.format(value).replace("%", " %"), "met" if reached(value) else "missed")


def _least_available(sweeps: Sequence[Sweep]) -> tuple[float | None, str | None]:
    """The availability of the platform that was there the least, with its name."""
    names = sorted({name for sweep in sweeps for session in sweep.sessions for name in session.slots})
    measured = [(there, name) for name in names if (there := performance.availability(sweeps, name)) is not None]
    return min(measured) if measured else (None, None)
