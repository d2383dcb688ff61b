"""Runs a sweep's jobs on a far machine: what its warm parent loads once, and what each fork of it does."""

import base64
import pickle
import platform
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

# Whatever a pickle from the near side needs to be read here as it was meant there.
_PICKLED_WITH = ("cloudpickle", "omegaconf", "hydra-core")


class MismatchError(RuntimeError):
    """The near side's pickles cannot be read here."""


def versions() -> dict[str, str]:
    """Versions that have to agree on both sides: minor of Python, all of what pickles pass through."""
    found = {"python": ".".join(platform.python_version_tuple()[:2])}
    for name in _PICKLED_WITH:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    return found


def packed(content: Any) -> str:
    """An object of ours as text, on its way to a machine of ours."""
    return base64.b64encode(pickle.dumps(content, protocol=pickle.HIGHEST_PROTOCOL)).decode()


def _unpacked(text: str) -> Any:
    return pickle.loads(base64.b64decode(text))  # noqa: S301  (from the coordinator that started this process)


def load(settings: dict[str, Any]) -> None:
    """Make this process ready to be forked for jobs; nothing is unpickled before the versions have been compared.

    Args:
        settings: versions, payload (path), base (path of the config that the message names), message (packed: one of
            the jobs, without a folder), links (see run).

    Raises:
        MismatchError: The two sides differ in what a pickle depends on.
    """
    found = versions()
    differing = [
        f"{name} {found.get(name)} there, {wanted} here"
        for name, wanted in settings["versions"].items()
        if found.get(name) != wanted
    ]
    if differing:
        raise MismatchError(
            f"its Python environment differs: {'; '.join(differing)}. `sweeproute setup` makes one that agrees."
        )
    # lazy import: after the comparison, since a module of another version may not even import
    from . import _worker

    _link(settings["links"])
    _worker.start(settings["payload"], parent=None)
    message = _unpacked(settings["message"])
    _worker.warm(message)
    _worker.rehearse(message)


def run(argument: dict[str, Any], folder: str) -> str:
    """Run one job in this process, a fork of the warm one.

    Args:
        argument: message (packed), links (path of a staged file, and the name under which the job asks for it).
        folder: The job's output folder here.

    Returns:
        What `_worker.run` answers: JSON.
    """
    from . import _worker

    _link(argument["links"])
    message = _unpacked(argument["message"])
    # A folder that it names already is one of a disk that both sides share.
    return _worker.run(message if message.folder else replace(message, folder=folder))


def _link(links: list[list[str]]) -> None:
    for target, name in links:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            Path(name).symlink_to(target)
