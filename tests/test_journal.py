"""Tests of the trial's side of tracking."""

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sweeproute.journal import FILE, Journal, JournalError, merge, read


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / FILE).read_text().splitlines()]


def test_each_call_is_one_whole_line_that_another_process_can_read_at_once(tmp_path):
    journal = Journal.open(tmp_path / "0", "glm", {"sweeproute.seed": 42})
    journal.params({"C": 1.0, "note": "two\nlines"})
    journal.metrics({"auc": 0.7}, step=2010, time=1_700_000_000_000)
    start, params, metrics = lines(tmp_path / "0")
    assert start["verb"] == "create_run"
    assert len(start["journal"]) == 32
    assert start["tags"] == {"sweeproute.seed": "42"}
    assert params["params"] == {"C": "1.0", "note": "two\nlines"}
    assert metrics["metrics"] == [["auc", 0.7, 2010, 1_700_000_000_000]]


def test_numbers_that_are_not_finite_survive_as_strict_json(tmp_path):
    with Journal.open(tmp_path, "glm") as journal:
        journal.metrics({"a": float("nan"), "b": float("inf"), "c": float("-inf")})
    for line in (tmp_path / FILE).read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)
    last = merge(read(tmp_path)[0]).last_metrics()
    assert math.isnan(last["a"])
    assert last["b"] == math.inf
    assert last["c"] == -math.inf


def test_a_torn_last_line_is_left_for_later_by_readers_and_cut_by_the_next_writer(tmp_path):
    first = Journal.open(tmp_path, "glm")
    first.metrics({"auc": 0.6})
    whole = (tmp_path / FILE).stat().st_size
    with (tmp_path / FILE).open("ab") as file:
        file.write(b'{"verb":"log_ba')
    entries, offset = read(tmp_path)
    assert [entry["verb"] for entry in entries] == ["create_run", "log_batch"]
    assert offset == whole
    again = Journal.open(tmp_path, "glm")
    assert again.id == first.id
    again.metrics({"auc": 0.7})
    assert [entry["verb"] for entry in read(tmp_path, offset)[0]] == ["log_batch"]
    assert len(lines(tmp_path)) == 3


def test_a_trial_run_again_in_a_folder_whose_journal_has_ended_is_another_run(tmp_path):
    with Journal.open(tmp_path, "glm") as first:
        first.params({"C": 1})
    with Journal.open(tmp_path, "glm") as second:
        second.params({"C": 2})
    assert second.id != first.id
    assert merge(read(tmp_path)[0]).params == {"C": "2"}


def test_reading_on_from_an_offset_gives_each_entry_once(tmp_path):
    journal = Journal.open(tmp_path, "glm")
    seen, offset = read(tmp_path)
    for step in range(5):
        journal.metrics({"auc": step}, step=step)
        entries, offset = read(tmp_path, offset)
        seen += entries
    assert [row[2] for entry in seen[1:] for row in entry["metrics"]] == [0, 1, 2, 3, 4]
    assert read(tmp_path, offset) == ([], offset)
    assert read(tmp_path / "nowhere") == ([], 0)


@pytest.mark.parametrize(
    ("error", "status"), [(None, "FINISHED"), (ValueError("no"), "FAILED"), (KeyboardInterrupt(), "KILLED")]
)
def test_leaving_the_block_ends_the_run_as_it_went(tmp_path, error, status):
    def work():
        with Journal.open(tmp_path, "glm"):
            if error is not None:
                raise error

    if error is None:
        work()
    else:
        with pytest.raises(type(error)):
            work()
    assert lines(tmp_path)[-1]["status"] == status


def test_what_a_killed_process_had_written_is_kept(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from sweeproute.journal import Journal\n"
        "journal = Journal.open(Path(sys.argv[1]), 'glm'); journal.metrics({'auc': 0.7}, step=2010)\n"
        "os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == -9
    page = merge(read(tmp_path)[0])
    assert page.last_metrics() == {"auc": 0.7}
    assert page.status is None


def test_the_metric_of_the_highest_step_is_the_last_one_whatever_the_order(tmp_path):
    journal = Journal.open(tmp_path, "glm")
    journal.metrics({"auc": 0.71}, step=2012)
    journal.metrics({"auc": 0.65}, step=2011)
    assert merge(read(tmp_path)[0]).last_metrics() == {"auc": 0.71}


def test_of_a_parameter_the_first_value_stands_and_of_a_tag_the_last(tmp_path):
    journal = Journal.open(tmp_path, "glm", {"t": 1})
    journal.params({"p": 1})
    journal.params({"p": 2})
    journal.tags({"t": 2})
    page = merge(read(tmp_path)[0])
    assert (page.params, page.tags) == ({"p": "1"}, {"t": "2"})


def test_artifacts_are_named_relative_to_the_folder_and_never_outside_it(tmp_path):
    journal = Journal.open(tmp_path, "glm")
    journal.artifact(tmp_path / "deep" / "a.txt", to="files")
    assert lines(tmp_path)[-1] == {"verb": "log_artifact", "path": "deep/a.txt", "to": "files"}
    with pytest.raises(JournalError, match="outside the job's folder"):
        journal.artifact("../elsewhere.txt")


def test_a_journal_that_has_ended_takes_nothing_more(tmp_path):
    journal = Journal.open(tmp_path, "glm")
    with pytest.raises(JournalError, match="'DONE'; allowed are FINISHED, FAILED, KILLED, PRUNED"):
        journal.end("DONE")
    journal.end()
    with pytest.raises(JournalError, match="has ended"):
        journal.params({"p": 1})


def test_a_line_that_is_no_entry_hides_none_of_the_others(tmp_path):
    journal = Journal.open(tmp_path, "glm")
    with (tmp_path / FILE).open("ab") as file:
        file.write(b"\x00\x00\n[1]\n")
    journal.params({"p": 1})
    assert [entry["verb"] for entry in read(tmp_path)[0]] == ["create_run", "log_batch"]


def test_the_digest_of_an_input_fits_the_store_and_its_whole_hash_travels_along(tmp_path):
    journal = Journal.open(tmp_path, "glm")
    journal.input("league", "ab" * 32, source="league")
    entry = lines(tmp_path)[-1]
    assert len(entry["digest"]) == 32
    assert entry["hash"] == "ab" * 32


def test_a_whole_trial_costs_the_job_two_milliseconds_at_most(tmp_path):
    def trial(folder: Path) -> float:
        start = time.perf_counter()
        journal = Journal.open(folder, "glm")
        journal.params({f"model.params.p{number}": number * 0.1 for number in range(40)})
        for step in range(20):
            journal.metrics({f"metric{number}": number / 7 for number in range(10)}, step=step)
        journal.tags({f"sweeproute.t{number}": "x" * 20 for number in range(5)})
        journal.artifact("predictions.parquet")
        journal.end()
        return time.perf_counter() - start

    # The best of many: the machine may be busy with other things, the journal is not slower for that.
    assert min(trial(tmp_path / str(number)) for number in range(30)) <= 0.002


def test_writing_needs_the_standard_library_alone():
    code = "import sys; import sweeproute.journal; print(*{m.split('.')[0] for m in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1] / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(done.stdout.split()) <= {*sys.stdlib_module_names, "__main__", "sweeproute"}
