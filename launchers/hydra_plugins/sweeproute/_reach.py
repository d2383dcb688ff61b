"""Says how ssh gets to a platform of the registry."""

from pathlib import Path

from submitit_ssh.ssh import Settings

from ._errors import SettingsError
from .config import PlatformConf


def reach_of(name: str, entry: PlatformConf) -> Settings:
    """How a platform of the registry is reached.

    Args:
        name: The platform.
        entry: Its entry in the registry.

    Returns:
        The settings of its machine. The Python that the registry names for the jobs serves the supervisor too: whoever
        had to name one may have no other that is new enough.

    Raises:
        SettingsError: It has no host.
    """
    if entry.host is None:
        raise SettingsError(
            f"{name} has no host. Say what ssh is given, here or in the registry: "
            f"registry.platforms.{name}.host=me@box."
        )
    config = None if entry.ssh_config is None else str(Path(entry.ssh_config).expanduser().absolute())
    return Settings(entry.host, config, python=entry.python or "python3", root=entry.root)
