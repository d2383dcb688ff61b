"""Runs trials on record again, and says whether all that was recorded of them has come out the same."""

import datetime as dt
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sweeproute import recorded, rerun, rerun_code, rerun_words
from sweeproute.pointers import Pointer
from sweeproute.recorded import Asked, Recorded
from sweeproute.rerun import App, Made, RerunError
from sweeproute.rerun_code import Code
from sweeproute.run_difference import Results, first_difference, largest_difference
from sweeproute.store import refusal

IDENTICAL, DIFFERENT, CANNOT = "identical", "different", "cannot be reproduced"


@dataclass(frozen=True)
class Question:
    """What is to be reproduced, and how.

    Attributes:
        what: A sweep, or a run; see `recorded.find`.
        uri: The tracking store; the sweep's own when None.
        app: The script; the sweep's own, else train.py, when None.
        tolerance: By how much numbers may differ, absolutely, where the device class is another.
        overrides: Words for all trials, of where they run and where their data lies.
        note: Whether the verdicts are written to the runs.
    """

    what: str
    uri: str | None = None
    app: str | None = None
    tolerance: float = 1e-6
    overrides: tuple[str, ...] = ()
    note: bool = True


@dataclass(frozen=True)
class Verdict:
    """What came of one trial.

    Attributes:
        run: The trial on record.
        word: identical, within TOLERANCE, different, or cannot be reproduced.
        detail: The first difference, or why there is none to look for; of what is the same how much of it there is.
        device: The device class that it was run again on; None where it was not.
    """

    run: Recorded
    word: str
    detail: str
    device: str | None = None

    @property
    def is_within(self) -> bool:
        """Whether numbers differ by no more than they may."""
        return self.word.startswith("within ")


@dataclass(frozen=True)
class Reproduction:
    """What came of all that was asked for."""

    asked: Asked
    verdicts: tuple[Verdict, ...]


def reproduce(question: Question, say: Callable[[str], None]) -> Reproduction:
    """Run again what is asked for, and compare.

    Args:
        question: What.
        say: Takes what a person has to know on the way.

    Returns:
        A verdict for each trial, in the order of the jobs.

    Raises:
        sweeproute.rerun.RerunError: The app is not there.
        sweeproute.recorded.NotRecordedError: There is no such run.
        sweeproute.runs_where.RegistryError: There is no such store, or no trial of the sweep has finished.
        sweeproute.pointers.NoSuchSweepError: There is no such sweep.
    """
    rerun_words.check(question.overrides)
    asked = recorded.find(question.what, question.uri)
    app = _app(asked, question.app)
    whole = [run for run in asked.runs if "overrides" in run.tags and "fingerprint" in run.tags]
    why = "Its run does not say by which words it was made, or what its fingerprint is."
    verdicts = {run.run_id: Verdict(run, CANNOT, why) for run in asked.runs if run not in whole}
    with rerun.place() as place:
        for run in whole:
            if members_of := run.tags.get("members_of"):
                rerun.lend(place, members_of)
        if whole:
            verdicts |= _again(question, asked, app, whole, place, say)
    found = tuple(verdicts[run.run_id] for run in asked.runs)
    if question.note:
        try:
            _note(asked, found)
        except Exception as error:
            # Whatever a store may raise: hours of work are not to be done again for a tag.
            say(f"The verdict stands below, and not in the tags of the runs: the tracking store {refusal(error)}.")
    return Reproduction(asked, found)


def _again(
    question: Question, asked: Asked, app: App, runs: Sequence[Recorded], place: Path, say: Callable[[str], None]
) -> dict[str, Verdict]:
    """Run trials again: by the code that lies here as far as that makes them, the others each by their commit's."""
    files = asked.pointer.on.files if asked.pointer is not None and asked.pointer.on is not None else {}

    def words(run: Recorded) -> list[str]:
        return rerun_words.again(run.overrides, run.tags, question.overrides, files, app.cwd)

    groups = rerun_code.groups(runs)
    codes = list(zip(groups, rerun_code.here(app, place, groups, words), strict=True))
    together = [(code, group) for group, code in codes if code.makes(group)]
    verdicts: dict[str, Verdict] = {}
    number = 0
    if together:
        made_here = [run for _, group in together for run in group]
        verdicts |= _by_code(together[0][0], question, asked, made_here, words, place, number)
    for group, code in codes:
        if code.makes(group):
            continue
        number += 1
        try:
            with rerun_code.of_commit(code, place, group, words, asked.store, say) as other:
                verdicts |= _by_code(other, question, asked, group, words, place, number)
        except RerunError as error:
            verdicts |= {run.run_id: Verdict(run, CANNOT, str(error)) for run in group}
    return verdicts


def _by_code(
    code: Code,
    question: Question,
    asked: Asked,
    runs: Sequence[Recorded],
    words: Callable[[Recorded], list[str]],
    place: Path,
    number: int,
) -> dict[str, Verdict]:
    jobs = [[*words(run), *code.words] for run in runs]
    try:
        folders = _run(code, place, runs, jobs, question, number, together=asked.sweep is not None)
    except RerunError as error:
        return {run.run_id: Verdict(run, CANNOT, str(error)) for run in runs}
    return {
        run.run_id: _verdict(question, asked, run, folder, place) for run, folder in zip(runs, folders, strict=True)
    }


def _run(
    code: Code,
    place: Path,
    runs: Sequence[Recorded],
    jobs: Sequence[list[str]],
    question: Question,
    number: int,
    *,
    together: bool,
) -> list[Path | str]:
    """Run trials again: those of a sweep as one, where the code takes a list of jobs; else one after the other.

    Returns:
        For each trial its folder, or in a clause why it has none.
    """
    probed = code.probed
    if together and probed.lists:
        return rerun.sweep(code.app, place, jobs, rerun_words.of_sweep(jobs, question.overrides), probed, number)
    found: list[Path | str] = []
    for job, (run, words) in enumerate(zip(runs, jobs, strict=True)):
        unique = 1_000 * number + job
        try:
            if run.scored:
                # Scores of the holdout are for jobs of a sweep.
                told = rerun_words.of_sweep([words], question.overrides)
                found += rerun.sweep(code.app, place, [words], told, probed, unique)
            else:
                found.append(rerun.alone(code.app, place, words, probed.callbacks, unique))
        except RerunError as error:
            found.append(str(error))
    return found


def _verdict(question: Question, asked: Asked, run: Recorded, folder: Path | str, place: Path) -> Verdict:
    if isinstance(folder, str):
        return Verdict(run, CANNOT, folder)
    made = rerun.made(folder)
    if made.tags.get("sweeproute.fingerprint") != run.tags["fingerprint"]:
        return Verdict(run, CANNOT, "What was run again has another fingerprint, so that it is not the same trial.")
    device = made.tags.get("sweeproute.device_class", "")
    before = {
        method: asked.store.results(run_id, place / "recorded" / run_id)
        for method, run_id in {run.method: run.run_id, **run.below}.items()
    }
    difference = _first(before, made, 0.0)
    if difference is None:
        return Verdict(run, IDENTICAL, _counted(before), device)
    was = run.tags.get("device_class")
    if was == device or was is None:
        return Verdict(run, DIFFERENT, difference, device)
    beyond = _first(before, made, question.tolerance)
    if beyond is not None:
        return Verdict(run, DIFFERENT, f"{beyond}; {_devices(was, device)}", device)
    largest = max(largest_difference(one, made.results[method]) for method, one in before.items())
    detail = f"{_counted(before)} differ by {largest:.1e} at most; {_devices(was, device)}"
    return Verdict(run, f"within {question.tolerance:g}", detail, device)


def _first(before: Mapping[str, Results], made: Made, tolerance: float) -> str | None:
    """The first difference under any calibration, the trial's own first."""
    for place, (method, one) in enumerate(before.items()):
        other = made.results.get(method)
        under = f"under {method}, " if place else ""
        if other is None:
            return f"{under or method}there are results on record, and none were made again"
        difference = first_difference(one, other, tolerance)
        if difference is not None:
            return f"{under}{difference}"
    extra = [method for method in made.results if method not in before]
    return f"under {extra[0]}, results came out that are not on record" if extra else None


def _counted(results: Mapping[str, Results]) -> str:
    values = sum(len(one.compared) for one in results.values())
    tables = [one.predictions for one in results.values() if one.predictions is not None]
    cells = sum(table.size for table in tables)
    more = f", under {len(results)} calibrations" if len(results) > 1 else ""
    return f"{values:,} values of metrics and {cells:,} of predictions{more}"


def _devices(was: str, now: str) -> str:
    """What two device classes do not share."""
    parts = [(one, other) for one, other in zip(was.split(";"), now.split(";"), strict=False) if one != other]
    told = []
    for one, other in parts:
        left = [part for part in one.split(",") if part not in other.split(",")]
        right = [part for part in other.split(",") if part not in one.split(",")]
        told.append(f"{','.join(left) or 'nothing'} then, {','.join(right) or 'nothing'} now")
    return f"another device class: {'; '.join(told) or now}"


def _note(asked: Asked, verdicts: Sequence[Verdict]) -> None:
    """Write the verdicts to the runs; what could not be reproduced has none."""
    now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    for verdict in verdicts:
        if verdict.device is not None:
            tags = {"reproduced": verdict.word, "reproduced_at": now, "reproduced_on": verdict.device}
            asked.store.note(verdict.run.run_id, tags)


def _app(asked: Asked, named: str | None) -> App:
    """The app of what is asked for, as it was started here; else the script that is named."""
    pointer = asked.pointer
    if named is not None:
        return _there(App(Path(named).absolute(), Path.cwd(), sys.executable))
    if pointer is not None and pointer.cwd.is_dir() and (script := _script(pointer)).is_file():
        python = pointer.python if Path(pointer.python).is_file() else sys.executable
        return App(script, pointer.cwd, python)
    typed = Path(asked.runs[0].tags.get("mlflow.source.name", "train.py"))
    script = next((path for path in (typed, Path("train.py")) if path.is_file()), typed)
    return _there(App(script.absolute(), Path.cwd(), sys.executable))


def _script(pointer: Pointer) -> Path:
    return pointer.cwd / (pointer.argv[0] if pointer.argv else "train.py")


def _there(app: App) -> App:
    if not app.script.is_file():
        raise RerunError(f"There is no script {str(app.script)!r}. Run this where it lies, or name it: --app FILE.")
    return replace(app)
