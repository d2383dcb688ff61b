"""`sweeproute reproduce`: runs a trial or a sweep again, and says whether all of it has come out the same."""

import argparse
import sys
import traceback
from typing import TYPE_CHECKING

from sweeproute.commands import Commands

if TYPE_CHECKING:
    from sweeproute.reproduce import Reproduction, Verdict

_SAME, _OTHERWISE, _CANNOT, _WITHIN = 0, 1, 2, 3
_TOLD = """\
Every metric at every step is compared, but for times, and every prediction game by game, of a trial and of its further
calibrations. NaN equals NaN.

exit codes, the first that applies to any of the runs:
  1  different: the first difference is said
  2  cannot be reproduced: other data, or code that is not at hand
  3  within the tolerance, since the device class is another (GPU, BLAS kernel, threads, versions)
  0  identical

Where code or configuration have changed, a worktree of the run's commit is what runs, with the snapshot of what its
working tree had besides; it is removed again. Nothing is tracked, and no look at the holdout is noted. Runs that were
pruned, or did not finish, are left out."""


def add(commands: Commands) -> None:
    """Add the command's words."""
    reproduce = commands.add_parser(
        "reproduce",
        help="run a trial or a sweep again, and say whether it has come out the same",
        description="Run a trial on record again, or all trials of a sweep that count, and compare.",
        epilog=_TOLD,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    reproduce.add_argument(
        "what",
        metavar="RUN_OR_SWEEP",
        help="a run's id, or 6 characters of its beginning; a sweep's id or name, or last",
    )
    reproduce.add_argument("--uri", help="the tracking store; the sweep's own when left out")
    reproduce.add_argument("--app", metavar="FILE", help="the script (default: that of the sweep, else train.py)")
    reproduce.add_argument(
        "--tolerance",
        type=_positive,
        default=1e-6,
        metavar="T",
        help="how far probabilities and metrics may be off on another device class (default: %(default)g)",
    )
    reproduce.add_argument("--no-record", action="store_true", help="do not write the verdict to the runs as tags")
    reproduce.add_argument(
        "overrides", nargs="*", metavar="OVERRIDE", help="where it runs and where its data lies: data.path=FILE"
    )
    reproduce.set_defaults(run=run)


def run(asked: argparse.Namespace) -> None:
    """Print the verdict, and end with its code."""
    # lazy import: as in every command, so that --help answers at once
    from sweeproute.errors import explain
    from sweeproute.reproduce import Question, reproduce

    question = Question(
        asked.what, asked.uri, asked.app, asked.tolerance, tuple(asked.overrides), note=not asked.no_record
    )
    try:
        found = reproduce(question, lambda line: print(line, file=sys.stderr, flush=True))
    except Exception as error:
        # Whatever is wrong, 1 would say that a result has come out otherwise.
        if (sentence := explain(error) or _of_store(error)) is None:
            traceback.print_exc()
            sentence = f"{type(error).__name__}."
        # A verdict like the others, which an MLflow project's run shows.
        print(f"cannot be reproduced: {sentence}", flush=True)
        sys.exit(_CANNOT)
    print(_of_sweep(found) if found.asked.sweep is not None else _of_run(found.verdicts[0]), flush=True)
    sys.exit(max((_code(verdict) for verdict in found.verdicts), key=(_SAME, _WITHIN, _CANNOT, _OTHERWISE).index))


def _of_run(verdict: "Verdict") -> str:
    return f"{verdict.word}: run {verdict.run.run_id} ({verdict.run.title}): {verdict.detail}"


def _of_sweep(found: "Reproduction") -> str:
    from sweeproute.reproduce import IDENTICAL

    rows = [
        (verdict.run.tags.get("trial", "-"), verdict.run.run_id, _model(verdict), verdict.word, verdict.detail)
        for verdict in found.verdicts
        if verdict.word != IDENTICAL
    ]
    lines = []
    if rows:
        table = [("job", "run", "model", "verdict", ""), *rows]
        widths = [max(len(row[column]) for row in table) for column in range(4)]
        cells = (zip(row[:4], widths, strict=True) for row in table)
        lines = [
            "  ".join([*(text.ljust(width) for text, width in of_row), row[4]]).rstrip()
            for of_row, row in zip(cells, table, strict=True)
        ]
    words = [verdict.word for verdict in found.verdicts]
    counts = ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(sorted(words, key=_place)))
    left = ", ".join(f"{number} {state}" for state, number in found.asked.left.items())
    summary = f"{found.asked.sweep}: of {len(words)} runs {counts}" + (f"; left out: {left}" if left else "") + "."
    return "\n".join([*lines, summary])


def _model(verdict: "Verdict") -> str:
    return verdict.run.tags.get("model_type", "model") + (" (holdout)" if verdict.run.scored else "")


def _place(word: str) -> int:
    from sweeproute.reproduce import CANNOT, DIFFERENT, IDENTICAL

    return {IDENTICAL: 0, DIFFERENT: 2, CANNOT: 3}.get(word, 1)


def _code(verdict: "Verdict") -> int:
    return (_SAME, _WITHIN, _OTHERWISE, _CANNOT)[_place(verdict.word)]


def _of_store(error: Exception) -> str | None:
    """What a store said that cannot be asked, in a sentence."""
    if not type(error).__module__.startswith(("mlflow.", "sqlalchemy.")):
        return None
    from sweeproute.store import refusal

    return f"the tracking store {refusal(error, 'refuses')}."


def _positive(text: str) -> float:
    value = float(text)
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"{text} is no tolerance; use 0 or more, as in 1e-6")
    return value
