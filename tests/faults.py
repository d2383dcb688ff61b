"""Breaks a sweep over a far machine in every way that is known, one after the other.

    python tests/faults.py [--times 20] [--first 0] [--jobs 200] [--search] [--only NAME ...]

The far machine is the tests' workstation, which needs Linux and root.
"""

import argparse
import os
import shutil
import signal
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import workstation
from disturbed_sweep import DisturbedSweep, Outcome, counts
from far_app import wait_until
from workstation import Workstation

Table = Mapping[tuple[str, ...], Any]

# What an outage of more than 10 s brings with it, by design: it cannot be told from a death.
BOTH_ENDS = "its queue was worked through from both ends"
# A file that the suite's own app has no use for, and that takes a while to travel.
_BALLAST_BYTES = 19 << 20


@dataclass(frozen=True)
class Fault:
    """Something that happens to a sweep.

    Attributes:
        name: In a few words.
        inflict: Starts the sweep and has it happen; gets how long it lasts. A coordinator that it leaves is waited for.
        seconds: How long it lasts.
        short_s: How long it lasts in the test suite.
        again: Why a job may be run more than once; empty where none may.
        says: What the person must read.
        in_suite: Whether the test suite has it happen, too.
    """

    name: str
    inflict: Callable[[DisturbedSweep, float], None]
    seconds: float = 0.0
    short_s: float = 0.0
    again: str = ""
    says: str = ""
    in_suite: bool = True


# What begins, and what ends it.
Change = Callable[[Workstation], object]
NEAR_LINK: tuple[Change, Change] = (lambda box: box.near_link(False), lambda box: box.near_link(True))
FAR_LINK: tuple[Change, Change] = (lambda box: box.far_link(False), lambda box: box.far_link(True))
BLACK_HOLE: tuple[Change, Change] = (lambda box: box.black_hole(True), lambda box: box.black_hole(False))
SSHD: tuple[Change, Change] = (Workstation.kill_sshd, Workstation.start_sshd)
POWER: tuple[Change, Change] = (Workstation.power_off, Workstation.power_on)
DISK: tuple[Change, Change] = (Workstation.fill_disk, Workstation.free_disk)


def _outage(begin: Change, end: Change) -> Any:
    """Something that begins when the sweep is under way, and that ends later."""

    def inflict(sweep: DisturbedSweep, seconds: float) -> None:
        sweep.start()
        sweep.under_way()
        sweep.struck()
        begin(sweep.box)
        sweep.last(seconds)
        end(sweep.box)
        sweep.over()

    return inflict


def _death(kill: Callable[[DisturbedSweep], object]) -> Any:
    """Something that is over at once."""

    def inflict(sweep: DisturbedSweep, _: float) -> None:
        sweep.start()
        sweep.under_way()
        sweep.struck()
        kill(sweep)
        sweep.over()

    return inflict


def _throughout(begin: Callable[[DisturbedSweep], object]) -> Any:
    """Something that is so from before the beginning to the end; gives further words for the command line."""

    def inflict(sweep: DisturbedSweep, _: float) -> None:
        words = begin(sweep)
        sweep.start(*(words if isinstance(words, list) else []))

    return inflict


def _kill_ssh(sweep: DisturbedSweep) -> None:
    for process in sweep.near_processes():
        if process.name() == "ssh":
            process.kill()


def _kill_supervisor(sweep: DisturbedSweep) -> None:
    sweep.box.run(f"kill -KILL {sweep.supervisor()}")


def _kill_parents(sweep: DisturbedSweep) -> None:
    sweep.box.run(f"pkill -KILL -P {sweep.supervisor()}")


def _kill_worker(sweep: DisturbedSweep, _: float) -> None:
    number = sweep.jobs // 3
    sweep.start(f"wait=[{number}]")
    pid = sweep.await_far_process(number)
    sweep.struck()
    sweep.box.run(f"kill -KILL {pid}")
    sweep.over()
    sweep.go()


def _replace_coordinator(sweep: DisturbedSweep) -> None:
    sweep.kill()
    sweep.resume()


def _kill_while_staging(sweep: DisturbedSweep, _: float) -> None:
    for number in range(3):
        (sweep.app.folder / f"ballast{number}").write_bytes(os.urandom(_BALLAST_BYTES))
    sweep.start()
    sweep.await_word(lambda: any((sweep.far_root / "trees").glob("*~")), "code that is on its way")
    sweep.struck()
    sweep.kill()
    sweep.over()
    sweep.resume()


def _resume_twice(sweep: DisturbedSweep, _: float) -> None:
    sweep.start()
    sweep.under_way()
    first = sweep.coordinator
    assert first is not None
    first.send_signal(signal.SIGSTOP)
    sweep.resume()
    said = sweep.finish(code=1)
    assert f"is being run by process {first.pid}" in said, said
    sweep.coordinator = first
    first.send_signal(signal.SIGCONT)


def _cancel_while_down(sweep: DisturbedSweep, _: float) -> None:
    number = sweep.jobs // 3
    sweep.start(f"wait=[{number}]")
    pid = sweep.await_far_process(number)
    sweep.struck()
    sweep.box.black_hole(True)
    assert sweep.coordinator is not None
    sweep.coordinator.send_signal(signal.SIGINT)
    sweep.finish(code=130)
    sweep.box.black_hole(False)
    sweep.over()
    sweep.resume()
    sweep.await_word(lambda: not sweep.far_lives(pid), "what was cancelled to end over there")
    sweep.go()


def _lose_for_good(sweep: DisturbedSweep, _: float) -> None:
    number = sweep.jobs // 3
    sweep.start(f"wait=[{number}]", "hydra.launcher.lost_after_min=0.02")
    pid = sweep.await_far_process(number)
    sweep.struck()
    sweep.box.black_hole(True)
    sweep.await_word(lambda: sweep.near_executions()[number], "the lost job to run here")
    sweep.app.go()
    sweep.finish()
    sweep.box.black_hole(False)
    sweep.over()
    sweep.contact()
    wait_until(lambda: not sweep.far_lives(pid), "what was given up to end over there")


def _close_lid(sweep: DisturbedSweep, seconds: float) -> None:
    sweep.start()
    sweep.under_way()
    stopped = sweep.near_processes()
    sweep.struck()
    for process in stopped:
        process.suspend()
    sweep.last(seconds)
    for process in reversed(stopped):
        process.resume()
    sweep.over()


def _remove_python(sweep: DisturbedSweep) -> None:
    sweep.box.run(f"rm {sweep.box.python}", user="root")


def _slow(sweep: DisturbedSweep) -> list[str]:
    return [f"hydra.launcher.platforms.box.ssh_config={sweep.box.slow_config(100)}"]


def _clock(hours: int) -> Any:
    return _throughout(lambda sweep: sweep.box.skew_clock(hours * 3600))


def _several(sweep: DisturbedSweep, _: float) -> None:
    sweep.start(f"hydra.launcher.overflow={sweep.rng.choice(['never', 'always'])}")
    sweep.under_way()
    for _ in range(5):
        if not sweep.lives():
            return
        kill = sweep.rng.choice([None, _kill_ssh, _kill_supervisor, _kill_parents, _replace_coordinator])
        if kill is None:
            begin, end = sweep.rng.choice([NEAR_LINK, FAR_LINK, BLACK_HOLE, SSHD, POWER, DISK])
            begin(sweep.box)
            sweep.last(sweep.rng.choice([0.5, 2.0, 4.0, 11.0]))
            end(sweep.box)
        else:
            kill(sweep)
        sweep.last(sweep.rng.uniform(0, 2))


FAULTS = [
    Fault("nothing", _throughout(lambda _: None), in_suite=False),
    Fault("near link down", _outage(*NEAR_LINK), 15, 5, BOTH_ENDS),
    Fault("far link down", _outage(*FAR_LINK), 15, 5, BOTH_ENDS),
    Fault("black hole for 5 s", _outage(*BLACK_HOLE), 5, 5),
    Fault("black hole for 2 min", _outage(*BLACK_HOLE), 120, 12, BOTH_ENDS, says="has not answered for 10 s"),
    Fault("20 % loss", _throughout(lambda sweep: sweep.box.loss(20)), again=BOTH_ENDS),
    Fault("100 ms round trip", _throughout(_slow)),
    Fault("sshd killed", _outage(*SSHD), 4, 2),
    Fault("ssh killed", _death(_kill_ssh)),
    Fault("worker killed", _kill_worker, again="it was killed"),
    Fault("warm parents killed", _death(_kill_parents)),
    Fault("supervisor killed", _death(_kill_supervisor)),
    Fault(
        "power off and on", _outage(*POWER), 20, 12, f"it was lost, or {BOTH_ENDS}", says="has not answered for 10 s"
    ),
    Fault("silent for too long", _lose_for_good, again="it was given up"),
    Fault("coordinator killed", _death(_replace_coordinator)),
    Fault("second resume", _resume_twice),
    Fault("cancel while down", _cancel_while_down, again="it was cancelled"),
    Fault("killed while staging", _kill_while_staging),
    Fault("disk full", _outage(*DISK), 5, 3, "its result could not be kept"),
    Fault("wrong host key", _throughout(lambda sweep: sweep.box.change_host_key()), says="has another host key"),
    Fault("Python missing", _throughout(_remove_python), says="has no Python under the name"),
    Fault("clock an hour ahead", _clock(1)),
    Fault("clock an hour behind", _clock(-1)),
    Fault("lid closed", _close_lid, 600, 12),
    Fault("one after another", _several, again="of whatever it was", in_suite=False),
]


def undisturbed(jobs: int) -> Table:
    """The table of a sweep of so many jobs to which nothing happens."""
    with Workstation.start() as box, tempfile.TemporaryDirectory() as folder, counts(box) as at:
        sweep = DisturbedSweep(box, Path(folder), at, jobs)
        sweep.start()
        sweep.finish()
        return sweep.table()


def run(
    fault: Fault,
    box: Workstation,
    expected: Table,
    jobs: int,
    seconds: float,
    folder: Path,
    rng: Random | None = None,
    *,
    search: bool = False,
) -> Outcome:
    """Have a fault happen to a sweep.

    Args:
        fault: Which.
        box: The workstation; nothing has happened to it yet.
        expected: The table of an undisturbed sweep of as many jobs.
        jobs: How many.
        seconds: How long the fault lasts.
        folder: Where the sweep's files are.
        rng: Chooses the moment.
        search: Whether a study proposes the jobs.
    """
    with counts(box) as at:
        sweep = DisturbedSweep(box, folder, at, jobs, rng=rng, search=search)
        try:
            fault.inflict(sweep, seconds)
            if sweep.runs():
                sweep.finish()
            outcome = sweep.outcome(fault.again, expected)
        except AssertionError as error:
            outcome = Outcome([str(error)], output=sweep.output)
        finally:
            sweep.close()
    if fault.says not in outcome.output:
        outcome.problems.append(f"nothing says {fault.says!r}")
    return outcome


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="where to begin counting them: a long count can be split")
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--search", action="store_true", help="let a study propose the jobs")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="faults whose names hold one of these words")
    parser.add_argument("--short", action="store_true", help="let each last as long as in the test suite")
    parser.add_argument("--keep", type=Path, help="keep the folders of sweeps that did not end right in here")
    asked = parser.parse_args()
    if workstation.missing():
        raise SystemExit(workstation.missing())
    # Started in the background, this process ignores Ctrl-C, and so would the coordinators that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    chosen = [fault for fault in FAULTS if not asked.only or any(word in fault.name for word in asked.only)]
    columns = "{:22} {:>5} {:>5} {:>10}  {:>8} {:>8} {:>8}  {}"
    print(columns.format("fault", "times", "right", "run again", "next s", "fall s", "all s", "notes"), flush=True)
    wrong = 0
    expected = undisturbed(asked.jobs)
    for fault in chosen:
        outcomes = [_once(fault, expected, asked, Random(asked.first + time)) for time in range(asked.times)]
        right = sum(not one.problems for one in outcomes)
        wrong += asked.times - right
        again = f"{sum(one.again for one in outcomes)} {'allowed' if fault.again else ''}"
        times = [_median(getattr(one, name) for one in outcomes) for name in ("next_s", "fallback_s", "took_s")]
        notes = "; ".join(dict.fromkeys(problem for one in outcomes for problem in one.problems))
        print(columns.format(fault.name, asked.times, right, again, *times, notes or fault.again), flush=True)
    sys.exit(1 if wrong else 0)


def _once(fault: Fault, expected: Table, asked: argparse.Namespace, rng: Random) -> Outcome:
    folder = Path(tempfile.mkdtemp(prefix="fault-"))
    with Workstation.start() as box:
        seconds = fault.short_s if asked.short else fault.seconds
        outcome = run(fault, box, expected, asked.jobs, seconds, folder, rng, search=asked.search)
    if outcome.problems and asked.keep:
        asked.keep.mkdir(parents=True, exist_ok=True)
        (folder / "output").write_text("\n".join([*outcome.problems, outcome.output]))
        shutil.copytree(folder, asked.keep / folder.name)
    shutil.rmtree(folder, ignore_errors=True)
    return outcome


def _median(values: Any) -> str:
    known = [value for value in values if value is not None]
    return f"{statistics.median(known):.1f}" if known else "-"


if __name__ == "__main__":
    main()
