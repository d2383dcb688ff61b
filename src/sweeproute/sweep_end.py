"""Has the report of a sweep made at its end, where one is wanted, and says what came of it."""

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sweeproute import report_record, request_kept
from sweeproute.store import absolute
from sweeproute.sweep_folder import SweepFolder, own, sweep_record
from sweeproute.tracking_status import saved_status

# Seconds after which a report is given up: one of a thousand runs takes minutes.
_PATIENCE_S = 1800.0


def wanted(settings: Mapping[str, Any]) -> bool:
    """Whether a sweep makes its report at its end."""
    at_end = settings.get("at_end")
    return bool(at_end) or (at_end is None and bool(settings.get("copy_to")))


def keep_request(root: Path, content: str | None) -> None:
    """Keep what a sweep answers in its folder; one that lies there from an earlier start stays.

    Args:
        root: The sweep's folder.
        content: The request, as `request_kept.text` has it; None for none.
    """
    path = root / request_kept.FILE
    if content is not None and not path.exists():
        beside = path.with_name(f"{path.name}~")
        beside.write_text(content, encoding="utf-8")
        beside.replace(path)


def make_report(
    root: Path,
    settings: Mapping[str, Any],
    uri: str,
    overrides: Sequence[str],
    say: Callable[[str], None],
    cwd: Path | None = None,
) -> bool:
    """Make the report of a sweep that has come to its end, and note in its folder whether there is one.

    Args:
        root: The sweep's folder.
        settings: The report's, as plain data.
        uri: The tracking store.
        overrides: The sweep's, of which the report's own make it again.
        say: Takes a line for the person.
        cwd: The working directory of the sweep's command, in which folders are named; None for this process's.

    Returns:
        False where it was not made, though it was to be.
    """
    record, folder = sweep_record(root), SweepFolder(root)
    if (record or {"state": "FINISHED"}).get("state") not in ("FINISHED", "FAILED") or not folder.outcomes():
        # It was stopped, or refused: what goes on with it makes the report.
        return True
    # Another sweeper's sweep has no record, and goes by its folder.
    sweep = str(record["id"]) if record is not None else f"{root.parent.name}/{root.name}"
    problem = _unwritten(root, sweep) or _run(root, sweep, settings, uri, say, cwd)
    report_record.note(root, problem)
    if problem is not None:
        own_words = [word for word in overrides if word.lstrip("+").partition("=")[0].partition(".")[0] == "report"]
        again = shlex.join(["sweeproute", "report", sweep, "--log", *own_words])
        say(f"report: {problem}. Once that is mended, `{again}` makes it; of the results nothing is lost.")
    return problem is None


def _unwritten(root: Path, sweep: str) -> str | None:
    """What keeps a report from being whole: runs that do not stand in the store."""
    status = saved_status(root)
    if status.total == 0:
        return "not made, since no run of this sweep is tracked"
    if left := status.total - status.written:
        return f"not made, since {left} of {status.total} runs are not written yet: say `sweeproute sync {sweep}`"
    return None


def _run(
    root: Path, sweep: str, settings: Mapping[str, Any], uri: str, say: Callable[[str], None], cwd: Path | None
) -> str | None:
    """Make it in a process of its own; why it was not made, None where it was."""
    log = own(root, "report.log")
    try:
        with log.open("wb") as errors:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "sweeproute.final_report", str(root), sweep],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=cwd,
                # The address may hold a password, which the command line would show to everyone on this machine.
                env={**os.environ, "MLFLOW_TRACKING_URI": absolute(uri)},
                # Ctrl-C is for the coordinator alone, which then ends it.
                start_new_session=True,
            )
    except OSError as error:
        return f"not made, since {error}"
    try:
        said, _ = process.communicate(json.dumps(settings), timeout=_PATIENCE_S)
    except KeyboardInterrupt:
        return "left out"
    except subprocess.TimeoutExpired:
        return f"not made within {_PATIENCE_S / 60:.0f} min"
    finally:
        _end(process)
    told = said.strip()
    if process.returncode == 0:
        for line in told.splitlines():
            say(line)
        return None
    if process.returncode == 1 and told:
        return f"not made: {told.rstrip('.')}"
    return f"not made (exit code {process.returncode}; the error is in {log})"


def _end(process: "subprocess.Popen[str]") -> None:
    """End it with what it has started to draw, should it still be there."""
    for number, patience_s in ((signal.SIGTERM, 5.0), (signal.SIGKILL, None)):
        if process.poll() is not None:
            return
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, number)
            process.wait(patience_s)
