"""What can go wrong, named for what happened to the person at the keyboard."""

import difflib
from collections.abc import Iterable

from hydra.errors import CompactHydraException


class SweepError(CompactHydraException):
    """Said as a sentence: Hydra prints exceptions of this base without a traceback."""


class SettingsError(SweepError):
    """A setting of the launcher or the sweeper that cannot be served."""


class SweepBusyError(SweepError):
    """Another process is running this sweep."""


class JobsFailedError(SweepError):
    """The sweep went through, and some of its jobs failed."""


class JobFailedError(RuntimeError):
    """A job that failed where it ran; carries the type, message and traceback of the original error as text.

    Attributes:
        error_type: Qualified name of the exception that was raised, or of the kind of failure.
        error_class: user, out_of_memory, killed, time_limit, lost, precheck or lacking.
        remote_traceback: The traceback as text; empty where there is none.
    """

    def __init__(self, message: str, error_type: str = "", error_class: str = "user", remote_traceback: str = ""):
        super().__init__(message, error_type, error_class, remote_traceback)
        self.message = message
        self.error_type = error_type
        self.error_class = error_class
        self.remote_traceback = remote_traceback

    def __str__(self) -> str:
        text = f"{self.error_type}: {self.message}" if self.error_type else self.message
        return f"{text}\n\n{self.remote_traceback}" if self.remote_traceback else text


def nearest_first(name: str, allowed: Iterable[str], limit: int = 8) -> str:
    """List what is allowed, the nearest match first.

    Args:
        name: What was given.
        allowed: What could have been given.
        limit: How many are named before the rest is counted.

    Returns:
        The names, separated by commas.
    """
    names = list(dict.fromkeys(str(a) for a in allowed))
    near = difflib.get_close_matches(name, names, n=len(names) or 1, cutoff=0.5)
    ordered = near + [n for n in names if n not in near]
    rest = len(ordered) - limit
    return ", ".join(ordered[:limit]) + (f" and {rest} more" if rest > 0 else "")


def headline(message: str) -> str:
    """The first line of a message that says something; what follows it is detail."""
    return next((line.strip() for line in message.splitlines() if line.strip()), "")
