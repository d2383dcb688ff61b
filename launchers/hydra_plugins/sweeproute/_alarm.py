"""Tells the person when a sweep loses a platform, what that means, and when it is back."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from ._admission import JobClass, speed
from ._durations import Durations
from ._handoff import platform_unavailable
from ._live import View
from ._notify import notify
from ._occupancy import Counts
from ._platforms import Registry
from ._records import SweepFolder


@dataclass(frozen=True)
class Loss:
    """A platform that a sweep has lost.

    Attributes:
        platform: Which.
        why: A clause that follows its name.
        before, after: Jobs by platform, just before the loss and just after it.
        classes: The class of each job that waits, wherever.
        running: Jobs that may still run there.
        left_s: Expected seconds to the end of the sweep; None where nothing is known.
        answers: Whether it answers, and cannot run the jobs.
    """

    platform: str
    why: str
    before: Mapping[str, Counts]
    after: Mapping[str, Counts]
    classes: Sequence[JobClass]
    running: int
    left_s: float | None
    answers: bool = False


class SweepAlarm:
    """Says it on the screen, in a file that can be handed on, and through the person's own command.

    Args:
        view: Where lines go.
        sweep: Where the file goes.
        registry: The platforms.
        durations: How long jobs took where.
        command: The setting hydra.launcher.notify.
        deadline: Seconds since the epoch by which the sweep has to end; None for none.
    """

    def __init__(
        self,
        view: View,
        sweep: SweepFolder,
        registry: Registry,
        durations: Durations,
        command: Any = None,
        deadline: float | None = None,
    ) -> None:
        self._view = view
        self._sweep = sweep
        self._registry = registry
        self._durations = durations
        self._command = command
        self._deadline = deadline

    def lost(self, loss: Loss) -> None:
        """A platform can no longer be used."""
        entry = self._registry.settings[loss.platform]
        meant = [one for one in loss.classes if self._registry.policy.target(one)[0] == loss.platform]
        loss = replace(loss, classes=meant)
        fallback = self._fallback(loss)
        facts = {
            "id": self._sweep.record["id"],
            "folder": str(self._sweep.folder),
            "platform": loss.platform,
            "issue": loss.why,
            "host": entry.host,
            "ssh_config": entry.ssh_config,
            "answers": loss.answers,
            "gpu": bool(entry.specs.gpu),
            "queued": loss.before[loss.platform].queued,
            "models": dict(Counter(job_class.model_type for job_class in loss.classes if job_class.model_type)),
            "running": loss.running,
            "fallback": fallback,
            "slower": None if fallback is None else self._slower(loss.platform, fallback, loss.classes),
            "left_s": loss.left_s,
            "deadline": self._deadline,
        }
        said = f"{loss.platform} {loss.why}"
        if facts["queued"]:
            pace = f" ({facts['slower']:.2g}x slower)" if (facts["slower"] or 0) > 1 else ""
            said += f"; its {facts['queued']} queued jobs " + (
                f"go on on {fallback}{pace}" if fallback else "wait for it"
            )
        if loss.running:
            said += f"; {loss.running} may still run there"
        with suppress(OSError):
            said += f"; see {platform_unavailable(facts)}"
        self._view.event(said)
        notify(self._command, "platform_lost", facts, wait_s=0.0, say=self._view.event)

    def back(self, platform: str) -> None:
        """It can again."""
        self._view.event(f"{platform} is back")

    def said(self, text: str) -> None:
        """Anything else worth a line."""
        self._view.event(text)

    def _fallback(self, loss: Loss) -> str | None:
        """The platform to which most of its jobs go now."""
        gains = {name: after.queued - loss.before[name].queued for name, after in loss.after.items()}
        gains.pop(loss.platform, None)
        best = max(gains, key=lambda name: gains[name], default=None)
        if best is not None and gains[best] > 0:
            return best
        if not loss.classes:
            return None
        states = {state.name: state for state in self._registry.states()}
        states[loss.platform] = replace(states[loss.platform], available=False, why=loss.why)
        return self._registry.policy.home(loss.classes[0], states).platform

    def _slower(self, lost: str, fallback: str, classes: Sequence[JobClass]) -> float | None:
        """How many times longer jobs take on the fallback: as measured, else as the registry says."""
        if not classes:
            return None
        there = self._durations.typical_s(classes[0].model_type, lost)
        here = self._durations.typical_s(classes[0].model_type, fallback)
        if there and here:
            return here / there
        states = {state.name: state for state in self._registry.states()}
        return speed(classes[0], states[lost]) / speed(classes[0], states[fallback])
