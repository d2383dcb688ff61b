"""Says which jobs of an earlier start of a sweep need not run again."""

from collections.abc import Mapping
from typing import Any

from . import _worker
from ._code import default_identity
from ._compose import Composer
from ._errors import SettingsError
from ._records import DONE, SweepFolder
from ._returns import RoutedReturn
from ._route import returned


def kept(
    numbered: Mapping[int, tuple[str, ...]], sweep: SweepFolder, composer: Composer, resume: Any, identity: str | None
) -> dict[int, RoutedReturn]:
    """The returns of the jobs that have finished.

    Args:
        numbered: Overrides of the jobs that are wanted, by number.
        sweep: Holds what an earlier start has recorded.
        composer: Composes the jobs' configs.
        resume: true, keep or rerun.
        identity: Dotted path of the function that hashes a config; None for the default.

    Returns:
        Returns by job number.

    Raises:
        SettingsError: Code or data has changed since, and nobody has said what is to become of the earlier results.
    """
    done = {}
    for number, overrides in numbered.items():
        launch = sweep.launches.get(number)
        if launch and launch["state"] in DONE and tuple(launch["overrides"]) == overrides:
            done[number] = returned(composer, launch, sweep.folder / launch["folder"])
    word = str(resume).lower()
    if not done or word == "keep":
        return done
    if word == "rerun":
        return {}
    changed = _changed(done, numbered, sweep, composer, identity)
    if changed:
        what = ", ".join(f"{key} {was[:8]} -> {str(now)[:8]}" for key, (was, now) in changed.items())
        raise SettingsError(
            f"Since {len(done)} of {len(numbered)} jobs finished, this has changed: {what}. "
            "Say resume=keep to keep their results, or resume=rerun to run them again; "
            "to `sweeproute resume`, --keep or --rerun."
        )
    return done


def _changed(
    done: Mapping[int, RoutedReturn],
    numbered: Mapping[int, tuple[str, ...]],
    sweep: SweepFolder,
    composer: Composer,
    identity: str | None,
) -> dict[str, tuple[str, Any]]:
    """What results of two versions of code or data would stand in one table for: each hash as it was, and as it is."""
    changed: dict[str, tuple[str, Any]] = {}
    asked = set()
    for number in done:
        hashes = {k: v for k, v in (sweep.launches[number].get("identity") or {}).items() if k != "fingerprint"}
        if (before := tuple(hashes.items())) in asked:
            continue
        asked.add(before)
        config = composer.compose(numbered[number], number)
        now = _worker.identity_of(identity, config) if identity else default_identity()
        changed |= {key: (was, now.get(key)) for key, was in before if was != now.get(key)}
    return changed
