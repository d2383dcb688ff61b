"""Keeps the log of a sweep's studies whole, in Optuna's own journal format."""

import json
import os
import re
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna import Study, create_study
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend, JournalFileSymlinkLock

from ._errors import SettingsError, SweepError, headline

_BEGINS = b'{"op_code":'
# A key that Optuna passes over: the lines of one step carry it, all but the last.
_MORE = "more"


@dataclass(frozen=True)
class StudyStorage:
    """Where studies are kept; opened once a sweep, since Optuna reads a journal anew for each storage object.

    Attributes:
        optuna: The storage, as Optuna takes it.
        step: Opens a block of which all changes are written at once, where the storage can do that.
        abandon: Has nothing more written by this process, not even by a step that is open, where the storage can do
            that.
    """

    optuna: BaseStorage
    step: Callable[[], AbstractContextManager[None]]
    abandon: Callable[[], None] = lambda: None

    def names(self) -> list[str]:
        """The names of the studies that it holds."""
        return [one.study_name for one in self.optuna.get_all_studies()]

    def study(self, name: str, directions: Sequence[Any]) -> Study:
        """A study of this name, made where there is none."""
        return create_study(storage=self.optuna, study_name=name, directions=directions, load_if_exists=True)

    def forget(self, name: str) -> None:
        """Delete a study, where there is one of this name."""
        with self.step(), suppress(KeyError):
            self.optuna.delete_study(self.optuna.get_study_id_from_name(name))


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Optuna's warnings from the terminal: of experimental parts, and of what is checked here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def open_storage(place: Path | str) -> StudyStorage:
    """Open what keeps the studies of a sweep.

    Args:
        place: The path of a study log, healed and made where need be, by whoever holds the sweep's folder; or as text
            the URL of a database, as Optuna takes it.

    Returns:
        The storage.

    Raises:
        SettingsError: The URL is none, or its database cannot be opened.
        SweepError: The log is damaged where no crash would damage it, or is no study log.
    """
    if isinstance(place, str):
        return StudyStorage(_database(place), nullcontext)
    heal(place)
    log = StudyLog(place)
    try:
        return StudyStorage(JournalStorage(log), log.step, log.abandon)
    except (ValueError, KeyError, AssertionError) as error:
        raise SweepError(
            f"{place} is damaged: {headline(str(error)) or type(error).__name__}. Bring back an earlier copy of it; "
            "without it, the search begins anew and the jobs that are done are kept."
        ) from error


def _database(url: str) -> BaseStorage:
    try:
        return RDBStorage(url)
    except Exception as error:  # SQLAlchemy's, a driver's, or that of a missing driver
        shown = re.sub(r"(//[^/@:]*):[^/@]*@", r"\1:***@", url)
        raise SettingsError(
            f"hydra.sweeper.storage is {shown!r}, which cannot be opened: {headline(str(error))}. "
            "It takes the URL of a database, such as sqlite:///study.db; null keeps the studies in the sweep's folder."
        ) from error


def heal(path: Path) -> None:
    """Take away what a crash left of an unfinished step: cut lines, lines whose step did not end, and locks.

    Args:
        path: A study log, or where one will be. Nobody else writes to it: the caller holds the sweep's folder.

    Raises:
        SweepError: It is no study log.
    """
    for left in path.parent.glob(f"{path.name}.lock*"):
        left.unlink(missing_ok=True)
    if not path.exists():
        return
    written = path.read_bytes()
    if not written.startswith(_BEGINS[: len(written)]):
        raise SweepError(f"{path} is no study log of Optuna's. Move it away; the search then begins anew.")
    end = len(written)
    while end:
        start = written.rfind(b"\n", 0, end - 1) + 1
        if _ends_a_step(written[start:end]):
            break
        end = start
    if end < len(written):
        with path.open("r+b") as log:
            log.truncate(end)
            os.fsync(log.fileno())


def _ends_a_step(line: bytes) -> bool:
    if not line.endswith(b"\n"):
        return False
    try:
        return _MORE not in json.loads(line)
    except ValueError:
        return False


class StudyLog(BaseJournalBackend):
    """Optuna's journal file, written a step at a time.

    Optuna by itself writes, locks and flushes to the disk a line for each parameter that is suggested, so that an ask
    costs a dozen flushes, and a crash leaves half a trial. Here a step is one write and one flush, under the lock that
    Optuna's own writers take; its lines say that they belong together, so that `heal` can tell half a step.

    Args:
        path: The file; it is made where there is none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = JournalFileSymlinkLock(str(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = JournalFileBackend(str(path), self._lock)
        self._lines = 0
        self._step: list[dict[str, Any]] | None = None
        self._broken = self._abandoned = False

    @contextmanager
    def step(self) -> Iterator[None]:
        """A block whose changes are written at once at its end, also where it raises: Optuna has taken them in."""
        if self._step is not None:
            yield
            return
        if self._broken:
            raise OSError(None, "an earlier step could not be written", str(self._path))
        self._lock.acquire()
        try:
            self._read_on()
            self._step = []
            try:
                yield
            finally:
                logs, self._step = self._step, None
                self._write(logs)
        finally:
            if not self._abandoned:  # else the lock may be another's
                self._lock.release()

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        """Lines from a number on, those of the step that is open included."""
        if self._step is None:
            yield from self._file.read_logs(log_number_from)
            return
        if log_number_from < self._lines:
            yield from self._file.read_logs(log_number_from)
        yield from self._step[max(0, log_number_from - self._lines) :]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Add lines to the step that is open, or as a step of their own."""
        with self.step():
            assert self._step is not None
            # As a reader will find them: enumerations as numbers, keys as text.
            self._step += [json.loads(json.dumps(log)) for log in logs]

    def abandon(self) -> None:
        """Write nothing more: somebody else may have the file from now on."""
        self._abandoned = True

    def _read_on(self) -> None:
        self._lines += sum(1 for _ in self._file.read_logs(self._lines))

    def _write(self, logs: list[dict[str, Any]]) -> None:
        if not logs:
            return
        lines = [log | {_MORE: True} for log in logs[:-1]] + logs[-1:]
        text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines).encode()
        with self._path.open("ab", buffering=0) as log:
            size = log.tell()
            if self._abandoned:
                raise OSError(None, "it was given up", str(self._path))
            try:
                if log.write(text) != len(text):
                    raise OSError(None, "only a part could be written", str(self._path))
                os.fsync(log.fileno())
            except OSError:
                # What Optuna holds in memory is ahead of the file now: nothing more may follow it.
                self._broken = True
                log.truncate(size)
                raise
        self._read_on()
