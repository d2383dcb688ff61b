"""Remembers what far machines said of themselves, for the next sweep to begin with."""

from pathlib import Path

from ._records import read_json, state_dir, write_json


def remember(platform: str, host: str, cores: int) -> None:
    """Keep how many cores a machine has.

    Args:
        platform: Its name.
        host: What ssh is given.
        cores: Those that its jobs may use.
    """
    if cores_of(platform, host) != cores:
        _path(platform).parent.mkdir(parents=True, exist_ok=True)
        write_json(_path(platform), {"host": host, "cores": cores})


def cores_of(platform: str, host: str) -> int | None:
    """How many cores a machine said that it has; None where it has not been asked yet."""
    kept = read_json(_path(platform)) or {}
    cores = kept.get("cores")
    return cores if kept.get("host") == host and isinstance(cores, int) and cores > 0 else None


def _path(platform: str) -> Path:
    return state_dir() / "machines" / f"{platform}.json"
