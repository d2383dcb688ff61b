"""Makes of a sweep in the tracking store what a thesis's chapter needs: tables, and every number behind them."""

import shlex
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from sweeproute import chapter_figures, completion, deliverables, request_kept, runs_best, sweep_runs
from sweeproute.chapter import Chapter
from sweeproute.comparison import Comparison, compare
from sweeproute.report_config import Report
from sweeproute.tables import Table
from sweeproute.whole_folder import FolderError, add_file, copy_files, replace_folder

# The file of a report that says in few lines what there is.
SUMMARY = completion.FILE
# What draws beside the tables, see `make`.
Also = Callable[[Comparison], AbstractContextManager[Callable[[Path], None]]]


@dataclass(frozen=True, eq=False)
class Question:
    """What a report is asked to tell of."""

    sweep: str
    # What decides, in place of the sweep's own metrics, and which side of it is better.
    metric: str | None = None
    direction: str | None = None
    experiment: str | None = None
    # The tracking store; the sweep's own when None.
    uri: str | None = None
    # Values that parameters or tags of runs have to have; see `sweep_runs.read`.
    where: Mapping[str, str] | None = None

    @property
    def options(self) -> list[str]:
        """What has to be typed behind the sweep to ask the same again; where the store is, is not part of it."""
        words = []
        for name in ("metric", "direction", "experiment"):
            if getattr(self, name) is not None:
                words += [f"--{name}", getattr(self, name)]
        return words + [word for key, value in (self.where or {}).items() for word in ("--where", f"{key}={value}")]


@dataclass(frozen=True, eq=False)
class Made:
    """A report that was made."""

    folder: Path
    # The files that were made, relative to the folder.
    files: tuple[str, ...]
    # The tables of every set of seasons, that of models first.
    tables: tuple[Table, ...]
    comparison: Comparison
    # What makes a comparison doubtful, in sentences.
    warnings: tuple[str, ...]
    # Names of the files that were copied into a thesis.
    copied: tuple[str, ...] = ()
    # Names of files of an earlier report in the same folder that this one does not have.
    gone: tuple[str, ...] = ()


class NotCopiedError(FolderError):
    """A report that was made, and could not be copied into a thesis."""

    def __init__(self, made: Made, why: FolderError) -> None:
        super().__init__(f"{why} The report itself is in {made.folder}.")
        self.made = made


def make(question: Question, settings: Report, also: Also | None = None) -> Made:
    """Make a report from the tracking store alone.

    Args:
        question: What it tells of.
        settings: In which words, and where to.
        also: Begins something more of the comparison, such as figures, while the tables are made, and is told the new
            folder to put it there before the document is written that shows it.

    Returns:
        What was made; made again, it is the same to the last byte.

    Raises:
        sweeproute.runs_where.RegistryError: There is nothing to tell of.
        sweeproute.comparable.ComparisonError: Runs that do not belong into one table.
        sweeproute.chapter.ChapterError: The settings ask for what is not known.
        sweeproute.whole_folder.FolderError: The folder is somebody's own.
        NotCopiedError: The thesis has files of its own by these names, or cannot be written; the report is made.
        sweeproute.pointers.NoSuchSweepError: No such sweep.
        sweeproute.selection.DirectionError: It is not known whether more of the metric is better.
    """
    runs = sweep_runs.read(question.sweep, question.experiment, question.uri, question.where)
    comparison = compare(runs, question.metric, question.direction)
    best = None
    if not question.where:
        best = runs_best.chosen(runs.id, question.metric, question.direction, question.experiment, runs.uri, mixed=True)
    chosen = deliverables.chosen(best, comparison)
    chapters = [Chapter(comparison, found, settings) for found in comparison.sets]
    again = shlex.join(["sweeproute", "report", runs.id, *question.options])
    captions = {name: caption for chapter in chapters for name, caption in chapter.figures.items()}
    folder = Path(settings.to) if settings.to else Path("reports") / runs.id
    with also(comparison) if also is not None else nullcontext() as finish:
        files = deliverables.files(comparison, chapters, chosen, settings, again)
        request = request_kept.read(runs)

        def last(beside: Path) -> dict[str, str]:
            if finish is not None:
                finish(beside)
            return {deliverables.DOCUMENT: deliverables.document(chapters, _figures(beside), captions)}

        gone = [name for name in replace_folder(folder, files, last) if name != completion.FILE]
    names = [name for name in files if name.endswith(".tex")] + _figures(folder)
    problem = None
    try:
        if settings.copy_to:
            copy_files({Path(name).name: folder / name for name in names}, Path(settings.copy_to))
    except FolderError as error:
        problem = error
    # Last, since it says of each path whether something is there.
    told = completion.message(chapters, chosen, settings, folder, request, copied=problem is None)
    add_file(folder, completion.FILE, told)
    made = Made(
        folder,
        tuple(sorted([*files, deliverables.DOCUMENT, completion.FILE])),
        tuple(table for chapter in chapters for table in chapter.tables),
        comparison,
        best.warnings if best else (),
        tuple(names) if settings.copy_to and problem is None else (),
        tuple(gone),
    )
    if problem is not None:
        raise NotCopiedError(made, problem) from problem
    return made


def drawing(settings: Report) -> Also | None:
    """What draws the figures of a report into its folder, see `make`; None where none are wanted."""
    if not settings.figures:
        return None
    return lambda comparison: chapter_figures.drawing(comparison, settings.titles, settings.level)


def log(made: Made) -> str | None:
    """Keep a report as artifacts of its sweep's own run.

    Returns:
        The id of that run; None where the store has none.
    """
    sweep = made.comparison.sweep
    if sweep.run_id is None:
        return None
    sweep.client.log_artifacts(sweep.run_id, str(made.folder), "report")
    return sweep.run_id


def _figures(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in sorted((folder / deliverables.FIGURES).glob("*.pdf"))]
