"""Reads when a sweep has to have ended."""

from datetime import datetime, time

from ._errors import SettingsError

_DAY = "2026-11-25"


def read_time(written: str) -> datetime:
    """Read a deadline; a day alone stands for its end, and a time without a zone is this machine's.

    Args:
        written: As in 2026-11-25T18:00.

    Returns:
        The time, with its zone.

    Raises:
        SettingsError: It is none.
    """
    try:
        found = datetime.fromisoformat(written)
    except ValueError:
        raise SettingsError(
            f"hydra.launcher.deadline is {written!r}. It takes a time, as in {_DAY}T18:00, or a day, as in {_DAY}."
        ) from None
    if len(written) <= len(_DAY):
        found = datetime.combine(found, time.max)
    return found.astimezone()
