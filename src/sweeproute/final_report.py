"""Makes the report of a sweep that has ended, and says what lies where.

`python -m sweeproute.final_report FOLDER SWEEP` is a process of its own, so that no coordinator imports what a report
takes, and whatever becomes of it the sweep stands. Its settings, as JSON, are on its standard input;
MLFLOW_TRACKING_URI names the store.
"""

import argparse
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sweeproute import report, request_kept, sweep_runs
from sweeproute.errors import explain
from sweeproute.execution import execution
from sweeproute.report_config import Report


def lines(root: Path, sweep: str, settings: Report, uri: str) -> list[str]:
    """Make it.

    Args:
        root: The folder of the sweep.
        sweep: Its id.
        settings: The report's.
        uri: The tracking store.

    Returns:
        What a person is to know, a line each.

    Raises:
        Exception: What `report.make` raises.
    """
    runs = sweep_runs.read(sweep, uri=uri)
    request = root / request_kept.FILE
    if runs.run_id is not None and request.is_file():
        runs.client.log_artifact(runs.run_id, str(request))
    try:
        made = report.make(report.Question(sweep, uri=uri), settings, report.drawing(settings))
    except report.NotCopiedError as error:
        # A thesis that refuses is no reason to keep it from MLflow.
        report.log(error.made)
        raise
    run_id = report.log(made)
    drawn = " and the figures" if settings.figures else ""
    told = [f"Report: {made.folder}, {len(made.files)} files{drawn}; {report.SUMMARY} says what there is"]
    if settings.copy_to:
        told.append(f"  {settings.copy_to}: {len(made.copied)} tables and figures of it")
    if run_id is not None:
        told.append(f"  In MLflow it is report/ of the run {run_id}; tables.txt there shows the tables")
    went = execution(made.comparison.sweep)
    lacking = sum(went.without.values()) + went.not_started
    if lacking:
        told.append(f"  It is without {lacking} jobs that have not finished; `sweeproute resume {sweep}` runs these")
    return told + [f"  {warning}" for warning in made.warnings]


def _settings(told: Mapping[str, Any]) -> Report:
    from omegaconf import OmegaConf

    found = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Report), told))
    assert isinstance(found, Report)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the report, and say on standard output what a person is to know.

    Args:
        arguments: The command line; the process's own when None.

    Returns:
        0; 1 where it could not be made, for a reason that was said.
    """
    parser = argparse.ArgumentParser(prog="python -m sweeproute.final_report", description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of a sweep")
    parser.add_argument("sweep", help="its id")
    asked = parser.parse_args(arguments)
    # Whoever is told to end clears away what is half made.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    settings = _settings(json.load(sys.stdin))
    try:
        told = lines(asked.folder, asked.sweep, settings, os.environ["MLFLOW_TRACKING_URI"])
    except Exception as error:
        sentence = explain(error)
        if sentence is None:
            raise
        print(sentence)
        return 1
    print("\n".join(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())
