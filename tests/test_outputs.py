"""What a far job sends is written into its folder, and nowhere else."""

from pathlib import Path

import pytest

from submitit_ssh.outputs import Outputs


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "sweep" / "0"
    place.mkdir(parents=True)
    return place


def outputs(folder, limit_gb=1.0, reserved=("launch.json", ".hydra"), live=("journal.jsonl",), kept=("checkpoint",)):
    return Outputs(folder, limit_gb, frozenset(reserved), live, kept)


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_file_that_grows_is_there_as_it_comes(folder):
    out = outputs(folder)
    out.write("journal.jsonl", 0, b"one\n", False)
    assert (folder / "journal.jsonl").read_bytes() == b"one\n"
    out.write("journal.jsonl", 4, b"two\n", False)
    assert (folder / "journal.jsonl").read_bytes() == b"one\ntwo\n"
    assert out.offsets() == {"journal.jsonl": 8}
    assert out.close() == ""


def test_a_whole_file_appears_when_its_last_piece_is_there(folder):
    out = outputs(folder)
    out.write("model/trees.ubj", 0, b"ab", False)
    assert not (folder / "model" / "trees.ubj").exists()
    out.write("model/trees.ubj", 2, b"cd", True)
    out.write("empty", 0, b"", True)
    assert tree(folder) == {"model/trees.ubj": b"abcd", "empty": b""}


def test_a_whole_file_that_is_sent_again_from_its_start_is_right(folder):
    out = outputs(folder)
    out.write("big", 0, b"xxxxxxxx", False)
    assert out.offsets() == {}  # a new connection: whole files come anew
    out.write("big", 0, b"ab", False)
    out.write("big", 2, b"c", True)
    assert tree(folder) == {"big": b"abc"}


def test_what_never_came_to_its_end_is_not_left_behind(folder):
    out = outputs(folder)
    out.write("model/trees.ubj", 0, b"ab", False)
    out.write("whole", 0, b"ab", True)
    out.write("journal.jsonl", 0, b"one\n", False)
    out.offsets()  # a new connection, over which it does not come again
    out.close()
    assert tree(folder) == {"whole": b"ab", "journal.jsonl": b"one\n"}


def test_a_kept_folder_loses_what_the_far_side_has_removed(folder):
    out = outputs(folder, limit_gb=1e-6)
    for name in ("checkpoint/fit-1/trees", "checkpoint/index", "model/trees", "checkpoints"):
        out.write(name, 0, b"x" * 200, True)
    out.write("checkpoint/fit-1/more", 0, b"x", False)
    out.keep("checkpoint", ["index"])
    assert tree(folder) == dict.fromkeys(["checkpoint/index", "model/trees", "checkpoints"], b"x" * 200)
    assert not (folder / "checkpoint" / "fit-1").exists()
    out.write("checkpoint/fit-2/trees", 0, b"x" * 300, True)  # what is gone takes no room
    out.write("checkpoint/fit-1/more", 0, b"y", True)
    out.keep("checkpoint", ["fit-1/more"])
    assert out.close() == ""
    assert tree(folder / "checkpoint") == {"fit-1/more": b"y"}


def test_what_is_kept_and_does_not_fit_is_left_out_and_the_job_goes_on(folder):
    out = outputs(folder, limit_gb=1e-6)
    out.write("checkpoint/index", 0, b"x" * 100, True)
    out.write("checkpoint/big", 0, b"x" * 800, False)
    out.write("checkpoint/big", 800, b"x" * 800, False)
    out.keep("checkpoint", ["big"])
    out.write("checkpoint/big", 1600, b"x" * 100, True)
    (folder / "checkpoint" / "taken").mkdir(parents=True)
    out.write("checkpoint/taken", 0, b"x", True)
    out.write("whole", 0, b"x" * 900, True)
    assert out.close() == ""
    assert tree(folder) == {"whole": b"x" * 900}


def test_nothing_is_removed_but_from_a_folder_that_is_kept(folder, tmp_path):
    (folder / "launch.json").write_text("ours")
    (folder / "model").mkdir()
    (folder / "model" / "trees").write_text("a result")
    (tmp_path / "sweep" / "checkpoint").symlink_to(folder)
    out = outputs(folder)
    for name in ("", ".", "..", "model", "checkpoint/..", "../0", "/", "../checkpoint"):
        out.keep(name, [])
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("kept")
    (folder / "checkpoint").symlink_to(elsewhere)
    out.keep("checkpoint", [])
    (folder / "checkpoint").unlink()
    (folder / "checkpoint").mkdir()
    (folder / "checkpoint" / "link").symlink_to(elsewhere)
    out.keep("checkpoint", [])
    assert tree(folder) == {"launch.json": b"ours", "model/trees": b"a result"}
    assert (elsewhere / "file").read_text() == "kept"


def test_an_adopted_job_goes_on_behind_what_is_here(folder):
    (folder / "journal.jsonl").write_bytes(b"one\n")
    out = outputs(folder)
    out.resume()
    assert out.offsets() == {"journal.jsonl": 4}
    out.write("journal.jsonl", 4, b"two\n", False)
    assert (folder / "journal.jsonl").read_bytes() == b"one\ntwo\n"


HOSTILE = ["../launch.json", "/etc/passwd", "a/../../b", "", ".", "a//b", "a/./b", "a\x00b", "x" * 300, "a\\b", None, 7]


@pytest.mark.parametrize("name", [*HOSTILE, "/".join("a" * 20)])
def test_a_path_that_leaves_the_folder_is_left_out_and_touches_nothing(folder, name):
    out = outputs(folder)
    out.write(name, 0, b"evil", True)
    assert out.close() == ""
    assert tree(folder.parents[1]) == {}
    (said,) = out.left_out
    assert said.startswith(f"left out: {name!r:.200} (")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("plots\\a.png", "it holds a backslash or a zero byte"),
        ("/".join("abcdefghijklmnopq"), "it has 17 parts, and 16 are allowed"),
        ("é" * 121, "a part of it takes 242 bytes, and 240 are allowed"),
        ("\ud800", "it is no text"),
        ("a~FAR", "a name that ends in ~far is what has not come to its end"),
        ("../a", "it leads out of the job's folder, or round about"),
        (["a"], "it is no path"),
    ],
)
def test_what_is_left_out_is_told_once_and_the_rest_comes(folder, name, why):
    out = outputs(folder)
    out.write("before", 0, b"x", True)
    out.write(name, 0, b"one", False)
    out.write(name, 3, b"two", True)
    out.write("after", 0, b"x", True)
    assert out.close() == ""
    assert out.left_out == [f"left out: {name!r} ({why})"]
    assert tree(folder) == {"before": b"x", "after": b"x"}


def test_a_name_that_the_disk_does_not_take_is_left_out(folder):
    deep = folder / ("d" * 200) / ("d" * 200)
    deep.mkdir(parents=True)
    out = outputs(deep)
    for name in ("/".join(["a" * 240] * 16), "b"):
        out.write(name, 0, b"x", True)
    assert out.close() == ""
    (said,) = out.left_out
    assert "(this disk does not take its name: " in said
    assert tree(deep) == {"b": b"x"}


def test_of_much_that_is_left_out_some_is_told(folder):
    out = outputs(folder)
    for number in range(1000):
        out.write(f"../{number}", 0, b"x", True)
    assert len(out.left_out) == 21
    assert out.left_out[-1] == "left out: others"


def test_what_cannot_be_written_is_a_problem_beside_what_is_left_out(folder):
    (folder / "taken").mkdir()
    out = outputs(folder)
    out.write("a\\b", 0, b"x", True)
    out.write("taken", 0, b"x", True)
    assert "could not be written here" in out.close()
    assert len(out.left_out) == 1


def test_our_own_records_cannot_be_overwritten(folder):
    (folder / "launch.json").write_text("ours")
    out = outputs(folder)
    out.write("launch.json", 0, b"theirs", True)
    out.write(".hydra/config.yaml", 0, b"theirs", True)
    assert tree(folder) == {"launch.json": b"ours"}
    assert out.close() == ""
    assert out.left_out == []


@pytest.mark.parametrize("name", ["Launch.json", "LAUNCH.JSON", "launch.j\u017fon", ".HYDRA/config.yaml"])
def test_our_own_records_are_ours_in_any_case(folder, name):
    out = outputs(folder)
    out.write(name, 0, b"theirs", True)
    assert out.close() == ""
    assert tree(folder) == {}
    assert "which belongs to this side" in out.left_out[0]


def test_outputs_that_are_too_large_stop_at_the_limit(folder):
    out = outputs(folder, limit_gb=1e-6)
    out.write("a", 0, b"x" * 600, True)
    out.write("b", 0, b"x" * 600, True)
    out.write("c", 10**10, b"x", False)
    assert "larger than 1e-06 GB" in out.close()
    assert tree(folder) == {"a": b"x" * 600}


def test_a_later_piece_at_a_smaller_offset_makes_no_room(folder):
    out = outputs(folder, limit_gb=1e-6)
    for number in range(20):
        out.write(f"file{number}", 0, b"x" * 900, False)
        out.write(f"file{number}", 0, b"", False)
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 1000
    assert "larger than 1e-06 GB" in out.close()


def test_a_file_that_comes_anew_and_is_shorter_makes_room(folder):
    out = outputs(folder, limit_gb=1e-6)
    out.write("a", 0, b"x" * 900, False)
    out.offsets()  # a new connection
    out.write("a", 0, b"x" * 100, True)
    out.write("b", 0, b"x" * 900, True)
    assert out.close() == ""
    assert tree(folder) == {"a": b"x" * 100, "b": b"x" * 900}


def test_an_offset_below_zero_is_refused(folder):
    out = outputs(folder)
    out.write("a", -1, b"x", True)
    assert out.close()
    assert tree(folder) == {}


def test_a_link_that_lies_in_the_way_is_not_followed(folder, tmp_path):
    target = tmp_path / "target"
    target.write_text("kept")
    (folder / "journal.jsonl").symlink_to(target)
    out = outputs(folder)
    out.write("journal.jsonl", 0, b"evil", False)
    assert out.close()
    assert target.read_text() == "kept"


def test_no_descriptor_is_left_open(folder):
    before = len(list(Path("/dev/fd").iterdir()))
    out = outputs(folder)
    for number in range(20):
        out.write(f"file{number}", 0, b"x", False)
    out.close()
    assert len(list(Path("/dev/fd").iterdir())) == before
