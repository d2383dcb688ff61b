"""Brings the files that a job's config names to a far machine, each by its content and under its own name."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from submitit_ssh.staging import Staged, file

from ._compose import parse


@dataclass(frozen=True)
class NamedFiles:
    """The files of one config.

    Attributes:
        contents: What has to be over there.
        settled: Overrides that name the files where they lie there.
        links: Where content lies there, with the name under which the job asks for it: readers tell a format by its
            ending.
    """

    contents: tuple[Staged, ...]
    settled: tuple[Override, ...]
    links: tuple[tuple[str, str], ...]


class FilesByKey:
    """Finds the files that configs name.

    Args:
        keys: Keys of the app's config that may name one.
        cache: Folder on this machine for what staging remembers.
    """

    def __init__(self, keys: Sequence[str], cache: Path) -> None:
        self._keys = keys
        self._cache = cache

    def of(self, config: DictConfig, root: str) -> NamedFiles:
        """The files that a config names; a key that is not there, or that names none, is the job's own business.

        Args:
            config: A job's config.
            root: The far machine's folder.
        """
        contents, settled, links = [], [], []
        for key in self._keys:
            value = OmegaConf.select(config, key, throw_on_missing=False)
            path = Path(str(value)).expanduser() if value else None
            if path is None or not path.is_file():
                continue
            one = file(path, self._cache)
            name = f"{root}/files/{one.sha}/{re.sub('[^A-Za-z0-9._-]', '_', path.name)}"
            contents.append(one)
            settled.append(parse(f"{key}='{name}'"))
            links.append((f"{root}/store/{one.sha}", name))
        return NamedFiles(tuple(contents), tuple(settled), tuple(links))
