"""Reads a plan back, to run exactly it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from ._compose import Composer
from ._errors import SettingsError, nearest_first
from ._plan_file import identities
from ._records import read_json
from .config import RoutedLauncherConf

# The field by which a job's class says where it is planned to run.
FIELD = "planned"
# What the hashes of a plan are of, in the order in which they are told; all of it is in the fingerprint.
_HASHED = {"code_hash": "the code", "data_hash": "the data", "fingerprint": "the configuration"}
_AGAIN = "Make a new plan (hydra.launcher.dry_run=true), or run the command without one."


@dataclass(frozen=True)
class Planned:
    """A plan that is to be run.

    Attributes:
        path: Where it was read.
        points: The overrides of each job, by number.
        places: The platform of each job, with the reason for it; absent where the plan knew of none.
        identity: Hashes by choice of groups; see _plan_file.identities.
    """

    path: Path
    points: Mapping[int, tuple[str, ...]]
    places: Mapping[int, tuple[str, str]]
    identity: Mapping[str, Mapping[str, str]]

    def settings(self, settings: RoutedLauncherConf) -> RoutedLauncherConf:
        """The launcher's settings, under which jobs go where they are planned and nowhere else while that is there."""
        rules = [
            {FIELD: _place(*place), "route_to": place[0], "reason": f"as planned: {place[1]}"}
            for place in dict.fromkeys(self.places.values())
        ]
        written: Any = OmegaConf.to_container(settings.rules) if OmegaConf.is_config(settings.rules) else settings.rules
        return replace(settings, rules=[*rules, *written], overflow="never", restart_slow=False)

    def fields(self) -> dict[int, dict[str, str]]:
        """What the rules of `settings` match on, by job."""
        return {number: {FIELD: _place(*place)} for number, place in self.places.items()}

    def check(self, listed: Sequence[tuple[str, ...]], platforms: Iterable[str]) -> None:
        """Refuse a plan whose jobs are no longer those of its command.

        Args:
            listed: The overrides of each job as the command lists them now.
            platforms: The registry's.

        Raises:
            SettingsError: A job is another one now, or its platform is not in the registry.
        """
        for number, overrides in self.points.items():
            if number >= len(listed) or listed[number] != overrides:
                now = " ".join(listed[number]) if number < len(listed) else "none"
                raise SettingsError(
                    f"Job {number} of the plan {self.path} is {' '.join(overrides)}, and of this command it is {now}. "
                    f"{_AGAIN}"
                )
        known = list(platforms)
        for name in dict.fromkeys(platform for platform, _ in self.places.values()):
            if name not in known:
                raise SettingsError(
                    f"The plan {self.path} names the platform {name!r}, which is not in the registry. "
                    f"Allowed: {nearest_first(name, known)}."
                )

    def check_identity(self, composer: Composer, identity: str | None) -> None:
        """Refuse a plan whose jobs would no longer do the same.

        Args:
            composer: Composes its jobs.
            identity: The launcher's setting of that name.

        Raises:
            SettingsError: Code, data or configuration have changed.
        """
        for groups, now in identities(composer, identity, self.points).items():
            before = self.identity.get(groups, {})
            changed = [key for key in _HASHED if before.get(key) != now.get(key)]
            # A fingerprint is of all three: it tells of the configuration where the other two are the same.
            told = [key for key in changed if key != "fingerprint"] or changed
            if told:
                what = " and ".join(
                    f"{_HASHED[key]} ({str(before.get(key))[:8]} -> {str(now.get(key))[:8]})" for key in told
                )
                of = f" of {groups}" if groups else ""
                raise SettingsError(f"Since the plan {self.path} was made, {what}{of} has changed. {_AGAIN}")


def read(path: Path) -> Planned:
    """Read a plan.

    Args:
        path: The file.

    Returns:
        The plan.

    Raises:
        SettingsError: There is no plan there.
    """
    content = read_json(path)
    if content is None:
        raise SettingsError(f"hydra.launcher.plan is {str(path)!r}, and no plan can be read there. {_AGAIN}")
    try:
        jobs: list[Mapping[str, Any]] = content["jobs"]
        points = {int(job["job"]): tuple(map(str, job["overrides"])) for job in jobs}
        places = {int(job["job"]): (str(job["platform"]), str(job["reason"])) for job in jobs if job["platform"]}
        return Planned(path, dict(sorted(points.items())), places, content["identity"])
    except (KeyError, TypeError, ValueError) as error:
        raise SettingsError(f"The plan {path} does not read: {type(error).__name__} {error}. {_AGAIN}") from None


def _place(platform: str, reason: str) -> str:
    return f"{platform}: {reason}"
