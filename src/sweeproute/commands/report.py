"""`sweeproute report`: the tables of a chapter, with every number behind them, from the tracking store alone."""

import argparse
import sys

from sweeproute.commands import Commands, kinds

# Files that are gone which are named.
_GONE = 5


def add(commands: Commands) -> None:
    """Add the command's words."""
    report = commands.add_parser("report", help="compare a sweep's models: LaTeX tables, CSV and JSON")
    report.add_argument("sweep", metavar="SWEEP", help="a sweep; its folder is not needed")
    report.add_argument("--to", metavar="DIR", help="where to (default: reports/SWEEP)")
    report.add_argument("--copy-to", metavar="DIR", help="a thesis's folder that gets tables and figures, too")
    report.add_argument("--metric", help="what chooses each configuration (default: what the sweep was told)")
    report.add_argument("--direction", choices=("maximize", "minimize"), help="follows from the metric when left out")
    report.add_argument(
        "--where", action="append", metavar="KEY=VALUE", help="only runs with this parameter or tag; as often as needed"
    )
    report.add_argument("--experiment", help="of one MLflow experiment; of all when left out")
    report.add_argument("--uri", help="the tracking store; the sweep's own when left out")
    report.add_argument("--tables-only", action="store_true", help="draw no figures")
    report.add_argument("--log", action="store_true", help="keep it as artifacts of the sweep's own run in MLflow")
    report.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="as in report.alpha=0.01")
    report.set_defaults(run=run)


def run(asked: argparse.Namespace) -> None:
    """Make the report, print the table of models, and name the folder."""
    # lazy import: as in every command, so that --help answers at once
    from sweeproute import pointers, report, report_record, tables
    from sweeproute.commands import composing
    from sweeproute.commands.check import note
    from sweeproute.progress import counted

    where = kinds(asked.where or ())
    settings = composing.report(asked.overrides)
    settings.to = asked.to or settings.to
    settings.copy_to = asked.copy_to or settings.copy_to
    question = report.Question(asked.sweep, asked.metric, asked.direction, asked.experiment, asked.uri, where)
    settings.figures = settings.figures and not asked.tables_only
    try:
        made = report.make(question, settings, report.drawing(settings))
    except report.NotCopiedError as error:
        if asked.log:
            report.log(error.made)
        raise
    for pointer in pointers.pointers():
        if pointer.id == made.comparison.sweep.id and report_record.problem(pointer.folder) is not None:
            # What could not be made at the sweep's end is there now.
            report_record.note(pointer.folder, None)
    names = {table.name: table for table in made.tables}
    shown = [table for name, table in names.items() if name.startswith(settings.comparison.name)]
    print("\n\n".join(tables.to_text(table) for table in shown))
    print(f"\n{made.folder}: {len(made.files)} files, {', '.join(f'{name}.tex' for name in names)}")
    if made.gone:
        few = ", ".join(made.gone[:_GONE]) + (" and more" if len(made.gone) > _GONE else "")
        note(
            f"Gone with the report that was there, since this one has no such: {counted(len(made.gone), 'file')}, {few}"
        )
    if settings.copy_to:
        print(f"{settings.copy_to}: {len(made.copied)} tables and figures")
    if asked.log:
        run_id = report.log(made)
        if run_id is None:
            note("The sweep has no run of its own in the store; the report is not logged.")
        else:
            print(f"Kept in MLflow as report/ of the run {run_id}")
    for warning in made.warnings:
        print(warning, file=sys.stderr)
