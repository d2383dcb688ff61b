"""The folder behind `journal:FOLDER`: where what lies, and how lines are added to it.

    FOLDER/journal.jsonl                    the folder's own id
    FOLDER/experiments/ID/journal.jsonl     an experiment: its name and tags
    FOLDER/runs/ID/journal.jsonl            a run, in the verbs of a trial's own journal and a few more
    FOLDER/runs/ID/artifacts/               its artifacts
    FOLDER/models/ID/journal.jsonl          a logged model, and beside it its artifacts

Lines are only ever added, each with one write, so that many processes can write at once and a killed one leaves whole
lines but for its last. No MLflow is needed here.
"""

import hashlib
import json
import os
import time
import uuid
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sweeproute import journal

ARTIFACTS = "artifacts"
DEFAULT_EXPERIMENT = "Default"
Entry = dict[str, Any]
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
# Journals that are kept open between two lines.
_OPEN = 64


def experiment_id(name: str) -> str:
    """An experiment's id, which follows from its name: processes that cannot talk to each other agree on it."""
    if name == DEFAULT_EXPERIMENT:
        return "0"
    # 18 digits, as the ids of MLflow's own stores have at most.
    return str(10**17 + int(hashlib.sha256(name.encode()).hexdigest(), 16) % (9 * 10**17))


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class JournalFolder:
    """Finds and writes the journals of one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._descriptors: OrderedDict[Path, int] = OrderedDict()

    def experiment(self, id: str) -> Path:
        """The folder of an experiment."""
        return self.root / "experiments" / id

    def run(self, id: str) -> Path:
        """The folder of a run."""
        return self.root / "runs" / id

    def model(self, id: str) -> Path:
        """The folder of a logged model."""
        return self.root / "models" / id

    def runs(self) -> list[str]:
        """The ids of all runs."""
        return _names(self.root / "runs")

    def models(self) -> list[str]:
        """The ids of all logged models."""
        return _names(self.root / "models")

    def id(self) -> str | None:
        """The folder's own id, by which a real store's runs are known as its; None where nothing was logged yet."""
        head = first(self.root)
        return str(head["store"]) if head is not None and head["verb"] == "create_store" else None

    def claim(self, folder: Path, entry: Entry) -> Entry:
        """Begin a journal, unless one has begun; of several processes that do at once, the first line counts.

        Returns:
            The journal's first entry.
        """
        while (head := first(folder)) is None:
            folder.mkdir(parents=True, exist_ok=True)
            self.append(folder, [entry])
            # Nobody comes back to it soon.
            self.close(folder)
        return head

    def begin(self) -> None:
        """Give the folder its id."""
        self.claim(self.root, {"verb": "create_store", "store": uuid.uuid4().hex})

    def append(self, folder: Path, entries: Sequence[Mapping[str, Any]]) -> int:
        """Add lines with one write.

        Returns:
            How many bytes that were.

        Raises:
            OSError: The disk is full, for one; what came through of the lines is no entry.
        """
        lines = ("\n".join(map(_encode, entries)) + "\n").encode()
        descriptor = self._descriptors.get(folder)
        if descriptor is None:
            descriptor = self._open(folder)
        else:
            self._descriptors.move_to_end(folder)
        left = lines
        try:
            while left:
                left = left[os.write(descriptor, left) :]
        except OSError:
            # The next line shall not stand behind a torn one: opening looks at that.
            self.close(folder)
            raise
        return len(lines)

    def size(self, folder: Path) -> int:
        """Bytes that a journal has; 0 where there is none."""
        descriptor = self._descriptors.get(folder)
        try:
            return (os.fstat(descriptor) if descriptor is not None else (folder / journal.FILE).stat()).st_size
        except OSError:
            return 0

    def close(self, folder: Path) -> None:
        """Close a journal until its next line."""
        descriptor = self._descriptors.pop(folder, None)
        if descriptor is not None:
            os.close(descriptor)

    def _open(self, folder: Path) -> int:
        while len(self._descriptors) >= _OPEN:
            os.close(self._descriptors.popitem(last=False)[1])
        path = folder / journal.FILE
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._descriptors[folder] = descriptor
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            # A process was killed in its last line. That is ended, not cut off: another process may be adding one.
            os.write(descriptor, b"\n")
        return descriptor


def first(folder: Path) -> Entry | None:
    """A journal's first entry, or None."""
    with suppress(OSError), (folder / journal.FILE).open("rb") as file:
        for line in file:
            with suppress(ValueError, TypeError, KeyError):
                entry = json.loads(line)
                entry["verb"]
                return entry if line.endswith(b"\n") else None
    return None


def is_folder_of_journals(folder: Path) -> bool:
    """Whether `journal:` has written to a folder."""
    return (first(folder) or {}).get("verb") == "create_store"


def _names(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(folder))
    except FileNotFoundError:
        return []
