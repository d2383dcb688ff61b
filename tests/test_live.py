"""A sweep is shown as a table on a terminal, as few plain lines elsewhere."""

import io
import os
import subprocess
import sys

import pytest

from hydra_plugins.sweeproute._live import LINES_S, REFRESH_S, SweepState, duration, open_view, summary
from hydra_plugins.sweeproute._occupancy import Counts

BUSY = SweepState(
    platforms={"local_m4": Counts(4, 4, 20, 29, 1), "remote_4090": Counts(2, 0, 0, 0, 0)},
    total=54,
    elapsed_s=75.0,
    left_s=62.0,
)
DONE = SweepState(platforms={"local_m4": Counts(4, 0, 0, 53, 1)}, total=54, elapsed_s=140.0, left_s=0.0)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_line_tells_what_is_done_and_left_and_where_the_jobs_are() -> None:
    assert summary(BUSY) == (
        "29 of 54 done, 1 failed, 1 min 15 s gone, about 1 min 2 s left"
        " | local_m4: 4 running, 20 queued, 29 done, 1 failed"
    )


def test_pruned_jobs_are_counted_where_there_are_some() -> None:
    state = SweepState({"local_m4": Counts(4, 0, 0, 2, 0, 7)}, total=9, elapsed_s=3.0, left_s=0.0)
    assert summary(state) == "2 of 9 done, 7 pruned, 3 s gone | local_m4: 2 done, 7 pruned"


@pytest.mark.parametrize("pruned", [0, 7])
def test_the_table_has_a_column_of_pruned_jobs_where_there_are_some(
    monkeypatch: pytest.MonkeyPatch, clock: Clock, pruned: int
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    view = open_view(stream, clock)
    view.update(SweepState({"local_m4": Counts(4, 0, 0, 2, 0, pruned)}, total=9, elapsed_s=3.0, left_s=0.0))
    view.close()
    assert ("pruned" in stream.getvalue()) == bool(pruned)


def test_a_line_says_so_where_the_time_left_or_the_total_is_unknown() -> None:
    state = SweepState({"local_m4": Counts(4, 1, 0, 2, 0)}, total=None, elapsed_s=3.0, left_s=None)
    assert summary(state) == "2 done, 3 s gone, time left not known yet | local_m4: 1 running, 2 done"


def test_a_line_on_a_finished_sweep_has_no_time_left() -> None:
    assert summary(DONE) == "53 of 54 done, 1 failed, 2 min 20 s gone | local_m4: 53 done, 1 failed"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s"), (59.6, "1 min 0 s"), (200.0, "3 min 20 s"), (7_500.0, "2 h 5 min")]
)
def test_a_duration_has_its_two_largest_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_without_a_terminal_lines_come_rarely_and_events_at_once(clock: Clock) -> None:
    stream = io.StringIO()
    view = open_view(stream, clock)
    view.update(BUSY)
    view.event("retry: job 3")
    assert stream.getvalue() == "retry: job 3\n"
    clock.now += LINES_S
    for _ in range(50):
        view.update(BUSY)
    assert stream.getvalue().count("29 of 54 done") == 1
    view.update(DONE)
    view.close()
    assert stream.getvalue().endswith(f"{summary(DONE)}\n")


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path) -> None:
    code = (
        "import sys; from hydra_plugins.sweeproute._live import open_view; view = open_view(sys.stdout)\n"
        "for number in range(100_000): view.event(f'job {number}')\n"
        "view.close(); print('to the end', file=sys.stderr)"
    )
    command = f'"{sys.executable}" -c "$CODE" | head -n 1'
    done = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, env={**os.environ, "CODE": code}, check=True
    )
    assert (done.stdout, done.stderr) == ("job 0\n", "to the end\n")


def test_what_was_shown_last_is_not_said_again_at_the_end(clock: Clock) -> None:
    stream = io.StringIO()
    view = open_view(stream, clock)
    clock.now += LINES_S
    view.update(DONE)
    view.close()
    assert stream.getvalue().count("53 of 54 done") == 1


def test_a_sweep_that_never_started_shows_nothing(clock: Clock) -> None:
    stream = io.StringIO()
    open_view(stream, clock).close()
    assert stream.getvalue() == ""


def test_on_a_terminal_the_table_is_drawn_four_times_a_second_at_most(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    view = open_view(stream, clock)
    for _ in range(10):
        view.update(BUSY)
    assert stream.getvalue().count("29 of 54 done, 1 failed, 1 min 15 s gone, about 1 min 2 s left") == 1
    for column in ("platform", "running", "queued", "done", "failed", "4 of 4", "local_m4", "remote_4090"):
        assert column in stream.getvalue()
    clock.now += REFRESH_S
    view.update(BUSY)
    assert stream.getvalue().count("29 of 54 done") == 2
    view.update(DONE)
    view.close()
    assert "53 of 54 done" in stream.getvalue()


def test_on_a_terminal_events_stand_above_the_table(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    view = open_view(stream, clock)
    view.update(BUSY)
    view.event("failed: job 3 (x=[1]): ValueError")
    view.close()
    assert "failed: job 3 (x=[1]): ValueError" in stream.getvalue()
    assert stream.getvalue().rindex("29 of 54") > stream.getvalue().rindex("failed: job 3")


def test_a_terminal_that_cannot_redraw_gets_lines(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    stream = Terminal()
    view = open_view(stream, clock)
    clock.now += LINES_S
    view.update(BUSY)
    assert stream.getvalue() == f"{summary(BUSY)}\n"


def test_without_a_terminal_rich_is_not_imported() -> None:
    code = (
        "import io, sys; from hydra_plugins.sweeproute._live import open_view; open_view(io.StringIO()).close();"
        "sys.exit('rich' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
