"""Writes what journals say to the tracking store, once whatever interrupts it.

A run carries its journal's id as the tag `sweeproute.journal`; one paged search finds the runs that an earlier writer
made, and replaying a journal into a run that has part of it already changes nothing. A run's status is written last,
so that an ended run is a whole one.
"""

import getpass
import logging
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeproute import journal
from sweeproute.configuration import rule_tags, run_tags
from sweeproute.data_input import data_tags, dataset_input
from sweeproute.launch_facts import from_record, launch_tags, milliseconds, reported_last
from sweeproute.store import Store
from sweeproute.store_run import StoreRun, found_runs
from sweeproute.sweep_folder import (
    ENDED,
    Attempt,
    command_script,
    launch_record,
    overrides_of,
)

if TYPE_CHECKING:
    from mlflow.entities import Run

log = logging.getLogger(__name__)

# Our words for an end under the store's. What was pruned is told from what was killed by the tag `sweeproute.state`: as
# FINISHED its metrics, of the first seasons alone, would stand among those of whole trials.
_STATUSES = {"LOST": "FAILED", "PRUNED": "KILLED"}
Record = Mapping[str, Any]


class Phase(Enum):
    """What is known of the jobs while their journals are read."""

    # They run: more may come.
    FOLLOWING = "following"
    # The coordinator is gone: nothing more will be recorded now, yet jobs may still run elsewhere.
    LEAVING = "leaving"
    # All have ended: a journal without an end was cut off.
    OVER = "over"


@dataclass
class _Progress:
    """How far an attempt's journal has been written, in bytes, and to which run."""

    run: StoreRun | None = None
    offset: int = 0
    # How the journal ended, and when (milliseconds since 1970), once that has been read.
    status: str | None = None
    ended_ms: int | None = None
    # Artifacts that the journal names, and that are not there yet: path, and where it goes.
    awaited: tuple[tuple[str, str], ...] = ()
    # Folders of nested journals, relative to this one's.
    nested: tuple[str, ...] = ()
    # An adopted run is ended by `mlflow run`, whatever it holds by then: its status says nothing.
    adopted: bool = False


class Replay:
    """The writer of one sweep, or of one run alone."""

    def __init__(
        self,
        store: Store,
        root: Path,
        sweep: Record | None,
        *,
        models: str = "best",
        parent_run: str | None = None,
        script: str = "train.py",
    ) -> None:
        """Store the arguments; `attach` looks into the store.

        Args:
            store: Where to write.
            root: The folder of the sweep or of the run.
            sweep: The sweep's record, {"id": ...} for a sweep of another launcher, None for a run alone.
            models: Which fitted models become artifacts: best, all or none.
            parent_run: A run that exists already, made by `mlflow run`: a sweep's parent, or the run alone itself.
            script: The script that was started, where the sweep's record does not say.
        """
        self._store = store
        self._root = root
        self._sweep = sweep
        self._models = models
        self._parent_run = parent_run
        self._script = command_script(sweep, script)
        self._progress: dict[Path, _Progress] = {}
        self._parent: StoreRun | None = None
        self._found: dict[str, Run] = {}

    def attach(self) -> None:
        """Find the runs that an earlier writer made, and make or adopt the sweep's parent run."""
        if self._sweep is not None:
            self._found = self._search("sweeproute.sweep", str(self._sweep["id"]))
            self._parent = self._write_parent(self._sweep)
        elif self._parent_run is None:
            page = journal.merge(journal.read(self._root)[0])
            nested = [journal.merge(journal.read(self._root / path)[0]) for path in page.nested]
            for one in (page, *nested):
                self._found |= self._search("sweeproute.journal", one.journal or "")

    def write(self, attempts: Sequence[Attempt], phase: Phase) -> bool:
        """Write what is new of the attempts of one job.

        Attempts that do not count come first, so that never two of them are current.

        Args:
            attempts: All attempts of the job.
            phase: What is known of the jobs.

        Returns:
            Whether all have ended and stand in the store, as far as is known now.
        """
        records = {attempt: launch_record(attempt.folder) for attempt in attempts}
        current = {attempt for attempt in attempts if (records[attempt] or {}).get("current")}
        newest = max(attempt.number for attempt in attempts)
        done = []
        for attempt in sorted(attempts, key=lambda attempt: (attempt in current, attempt.number)):
            superseded = attempt not in current and (bool(current) or attempt.number < newest)
            done.append(self._write_attempt(attempt, records[attempt], superseded, phase))
        return all(done)

    def write_model(self, attempt: Attempt) -> None:
        """Keep the fitted model that a job saved in its folder as an artifact of its run, once."""
        run, folder = self._progress.get(attempt.folder, _Progress()).run, attempt.folder / "model"
        if run is None or run.deleted or "sweeproute.model" in run.tags or not folder.is_dir():
            return
        self._store.client.log_artifacts(run.id, str(folder), "model")
        run.write(tags={"sweeproute.model": "model"})

    def write_plots(self, folder: Path) -> None:
        """Keep the plots of a sweep as artifacts of its own run."""
        if self._parent is not None:
            files = sorted(path for path in folder.rglob("*") if path.is_file())
            self._parent.keep(files, folder, "sweeproute.plots", folder.name)

    def write_code(self, patches: Sequence[Path]) -> None:
        """Keep what the code had beside its commit as artifacts of the sweep's own run, or of a run alone."""
        alone = None if self._sweep is not None else self._progress.get(self._root, _Progress()).run
        run = self._parent or alone
        if run is not None and patches:
            run.keep(patches, patches[0].parent, "sweeproute.code_patch")

    def link(self, attempt: Attempt) -> str | None:
        """Where MLflow's pages show the run of an attempt, None where it has no run."""
        run = self._progress.get(attempt.folder, _Progress()).run
        return None if run is None else f"#/experiments/{self._store.experiment_id}/runs/{run.id}"

    def finish(
        self, state: str, ended_ms: int | None, result: str = "", facts: Mapping[str, str] | None = None
    ) -> None:
        """End the sweep's parent run.

        Args:
            state: FINISHED, FAILED or KILLED.
            ended_ms: Milliseconds since 1970; now when None.
            result: What came out of the sweep, in Markdown; it follows the sweep's note in the run's description.
            facts: Further tags.
        """
        if self._parent is None or self._parent.deleted:
            return
        tags = {"sweeproute.state": state, "sweeproute.result": result, **(facts or {})}
        before = self._store.client.get_run(self._parent.id).data.tags
        note = str((self._sweep or {}).get("note") or "")
        # A description that a person wrote meanwhile stays.
        if before.get("mlflow.note.content", "") in (note, _described(note, before.get("sweeproute.result", ""))):
            tags["mlflow.note.content"] = _described(note, result)
        self._parent.write(tags=tags)
        self._parent.end(state, ended_ms)

    def _write_attempt(
        self,
        attempt: Attempt,
        record: Record | None,
        superseded: bool,
        phase: Phase,
        below: StoreRun | None = None,
        path: str = "",
    ) -> bool:
        """Write what is new of an attempt; `path` is the folder in it of a run that stands below the attempt's own."""
        folder = attempt.folder / path
        progress = self._progress.setdefault(folder, _Progress())
        ended = record is not None and record.get("state") in ENDED
        if progress.run is not None and progress.run.deleted:
            return True
        entries, offset = journal.read(folder, progress.offset)
        page = journal.merge(entries)
        if progress.run is None:
            if page.journal is None and (below is not None or not ended):
                return phase is Phase.OVER
            progress.run = self._run_of(attempt, record, page, progress, below)
            if progress.run.deleted:
                return True
        try:
            done = self._write_news(attempt, folder, record, page, superseded, phase, progress, below)
        except Exception:
            if not progress.run.check_deleted():
                raise
            return True
        progress.offset = offset
        progress.nested += tuple(page.nested)
        nested = [self._write_attempt(attempt, record, superseded, phase, progress.run, one) for one in progress.nested]
        return done and all(nested)

    def _write_news(
        self,
        attempt: Attempt,
        folder: Path,
        record: Record | None,
        page: journal.Page,
        superseded: bool,
        phase: Phase,
        progress: _Progress,
        below: StoreRun | None,
    ) -> bool:
        run = progress.run
        assert run is not None
        if page.status is not None:
            progress.status, progress.ended_ms = page.status, page.ended
        status, ended_ms = _end(record, progress, superseded, phase)
        tags = launch_tags(attempt, record, superseded, status is not None)
        if run.tags.get("sweeproute.kind") != "trial":
            # By what counts something is chosen, and nothing may be by these.
            tags.pop("sweeproute.current", None)
        if progress.status == "PRUNED" and record is None:
            tags["sweeproute.state"] = progress.status
        tags |= run_tags(self._sweep, overrides_of(attempt.folder, record))
        if not superseded and "sweeproute.superseded" in run.tags:
            tags["sweeproute.superseded"] = "false"
        if run.ended and not progress.adopted:
            # It stands there whole; what may have changed since is which attempt counts.
            run.write(tags=tags)
        else:
            params, metrics = page.params, page.metrics
            if page.journal is None and progress.offset == 0 and record is not None:
                params, metrics = from_record(attempt, record)
            elif record is not None and record.get("state") == "PRUNED" and progress.status is None:
                metrics = [*metrics, *reported_last(attempt, record)]
            run.write(params, metrics, {**page.tags, **data_tags(page), **tags})
            awaited = []
            for path, to in (*progress.awaited, *page.artifacts):
                if status is None and not (folder / path).exists():
                    awaited.append((path, to))  # the files of a job far away follow its journal
                else:
                    self._write_artifact(folder, path, to, run)
            progress.awaited = tuple(awaited)
            if page.inputs:
                self._store.client.log_inputs(run.id, [dataset_input(entry) for entry in page.inputs])
            if status is not None and self._models == "all" and below is None:
                self.write_model(attempt)
        if status is not None:
            run.end(status, ended_ms)
            progress.adopted = False
        return run.ended and not progress.adopted

    def _run_of(
        self,
        attempt: Attempt,
        record: Record | None,
        page: journal.Page,
        progress: _Progress,
        below: StoreRun | None,
    ) -> StoreRun:
        """Find the run of an attempt, adopt it or create it."""
        # Where a job left no journal its place in the sweep stands for the journal's id.
        place = f"record:{(record or {}).get('sweep')}/{attempt.job}/{attempt.number}"
        journal_id = page.journal or place
        reused = (record or {}).get("reused")
        if reused:
            # The journal is a copy of one whose run belongs to another sweep.
            journal_id = f"{journal_id}@{place}"
        found = self._found.get(journal_id) or (self._found.get(place) if below is None else None)
        if found is not None:
            return StoreRun.found(self._store, found)
        kind = "follow_up" if (record or {}).get("follow_up") else "trial"
        tags = {"sweeproute.kind": kind, **self._provenance(), **page.tags}
        tags |= {"sweeproute.journal": journal_id, "sweeproute.attempt": str(attempt.number)}
        if reused:
            tags["sweeproute.reused"] = f"{reused['sweep']}/{reused['job']}"
        if "sweeproute.git_commit" in page.tags:
            tags["mlflow.source.git.commit"] = page.tags["sweeproute.git_commit"]
        if attempt.job is not None:
            tags["sweeproute.trial"] = str(attempt.job)
        if self._sweep is None and self._parent_run is not None and below is None:
            run = StoreRun.found(self._store, self._store.client.get_run(self._parent_run))
            run.write(tags=tags)
            progress.adopted = True
            return run
        if self._sweep is not None:
            tags["sweeproute.sweep"] = str(self._sweep["id"])
        parent = below or self._parent
        if parent is not None:
            tags["mlflow.parentRunId"] = parent.id
        started_ms = page.started or milliseconds((record or {}).get("started_at"))
        name = page.name or (self._root.name if attempt.job is None else f"job {attempt.job}")
        return StoreRun.create(self._store, name, started_ms, tags)

    def _write_artifact(self, folder: Path, path: str, to: str, run: StoreRun) -> None:
        source = folder / path
        if any(Path(part).is_absolute() or ".." in Path(part).parts for part in (path, to)):
            log.warning("%s: the artifact %r to %r leaves its folder; not logged", folder, path, to)
        elif source.is_dir():
            self._store.client.log_artifacts(run.id, str(source), to or source.name)
        elif source.exists():
            self._store.client.log_artifact(run.id, str(source), to or None)
        else:
            log.warning("%s: the artifact %r is not there; not logged", folder, path)

    def _write_parent(self, sweep: Record) -> StoreRun:
        tags = {
            **self._provenance(),
            "sweeproute.kind": "sweep",
            "sweeproute.sweep": str(sweep["id"]),
            "sweeproute.journal": f"sweep:{sweep['id']}",
            "sweeproute.state": str(sweep.get("state") or "RUNNING"),
            **rule_tags(sweep),
        }
        if sweep.get("argv"):
            tags["sweeproute.command"] = shlex.join(str(word) for word in sweep["argv"])
        found = self._found.get(tags["sweeproute.journal"])
        if found is None and self._parent_run is not None:
            found = self._store.client.get_run(self._parent_run)
        if sweep.get("note") and (found is None or "mlflow.note.content" not in found.data.tags):
            tags["mlflow.note.content"] = str(sweep["note"])
        if found is None:
            name = str(sweep.get("name") or sweep["id"])
            return StoreRun.create(self._store, name, milliseconds(sweep.get("started")), tags)
        parent = StoreRun.found(self._store, found)
        if not parent.deleted:
            parent.write(tags=tags)
            if tags["sweeproute.state"] == "RUNNING":
                # A resumed sweep runs again.
                parent.reopen()
        return parent

    def _provenance(self) -> dict[str, str]:
        """Who and what made a run; MLflow's own context providers do not see the runs that a client creates."""
        try:
            user = getpass.getuser()
        except (OSError, KeyError):
            # A container's user may have no name.
            user = "unknown"
        return {
            "mlflow.user": user,
            "mlflow.source.name": self._script,
            "mlflow.source.type": "LOCAL" if self._parent_run is None else "PROJECT",
        }

    def _search(self, tag: str, value: str) -> dict[str, "Run"]:
        """The runs with this tag by their journal's id, deleted ones included."""
        runs = found_runs(self._store.client, [self._store.experiment_id], tag, value)
        return {run.data.tags.get("sweeproute.journal", ""): run for run in runs}


def _described(note: str, result: str) -> str:
    return "\n\n".join(part for part in (note, result) if part)


def _end(record: Record | None, journalled: _Progress, superseded: bool, phase: Phase) -> tuple[str | None, int | None]:
    """Status and end (milliseconds since 1970) that a run has by now; the launcher's record outweighs the journal."""
    if record is not None and record.get("state") in ENDED:
        ended_ms = milliseconds(record.get("ended_at")) or journalled.ended_ms
        if record["state"] == "FINISHED" and superseded:
            return "KILLED", ended_ms
        return _STATUSES.get(record["state"], record["state"]), ended_ms
    if superseded and phase is Phase.OVER:
        return "KILLED", journalled.ended_ms
    if journalled.status is not None and (record is None or phase is not Phase.FOLLOWING):
        return _STATUSES.get(journalled.status, journalled.status), journalled.ended_ms
    if phase is Phase.OVER:
        return "KILLED", None
    return None, None
