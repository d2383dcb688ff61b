"""Tests of folders that are there whole or not at all."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sweeproute.whole_folder import CONTENTS, COPIED, FolderError, add_file, copy_files, replace_folder

# Copies three files as `copy_files` does, and is killed when it has copied one and half of the next.
KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from sweeproute.whole_folder import copy_files
copied = []
def copyfile(source, to):
    if copied:
        Path(to).write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)
    copied.append(Path(to).write_bytes(Path(source).read_bytes()))
shutil.copyfile = copyfile
made, thesis = map(Path, sys.argv[1:])
copy_files({path.name: path for path in sorted(made.iterdir())}, thesis)
"""


def content(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in (CONTENTS, COPIED))
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


def makes(folder: Path, **texts: str) -> dict[str, Path]:
    """Files as a report makes them, by their names in a thesis."""
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.tex").write_text(text)
    return {f"{name}.tex": folder / f"{name}.tex" for name in texts}


def test_a_folder_is_made_and_made_again(tmp_path):
    folder = tmp_path / "deep" / "report"
    assert replace_folder(folder, {"a.txt": "1", "sub/b.txt": "2"}) == []
    assert replace_folder(folder, {"a.txt": "3", "c.txt": "4"}) == ["sub/b.txt"]
    assert content(folder) == {"a.txt": "3", "c.txt": "4"}
    assert [path.name for path in folder.parent.iterdir()] == ["report"]


def test_what_somebody_put_there_stays_and_what_was_drawn_into_it_goes_with_it(tmp_path):
    folder = tmp_path / "report"

    def draw(beside: Path) -> dict[str, str]:
        (beside / "figures").mkdir(exist_ok=True)
        (beside / "figures" / "drawn.pdf").write_text("new")
        return {"last.tex": ",".join(sorted(path.name for path in (beside / "figures").iterdir()))}

    replace_folder(folder, {"a.txt": "1"}, draw)
    (folder / "figures" / "mine.pdf").write_text("mine")
    (folder / "notes.md").write_text("mine")
    replace_folder(folder, {"a.txt": "2"}, draw)
    expected = {"a.txt": "2", "figures/drawn.pdf": "new", "figures/mine.pdf": "mine", "notes.md": "mine"}
    assert content(folder) == expected | {"last.tex": "drawn.pdf,mine.pdf"}
    assert replace_folder(folder, {"a.txt": "3"}) == ["figures/drawn.pdf", "last.tex"]
    assert content(folder) == {"a.txt": "3", "figures/mine.pdf": "mine", "notes.md": "mine"}


def test_a_failure_leaves_the_old_folder_and_nothing_beside_it(tmp_path):
    folder = tmp_path / "report"
    replace_folder(folder, {"a.txt": "1"})

    def fail(beside: Path) -> dict[str, str]:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        replace_folder(folder, {"a.txt": "2"}, fail)
    assert content(folder) == {"a.txt": "1"}
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


@pytest.mark.parametrize("there", ["folder", "file", "half"])
def test_a_folder_of_somebody_is_not_replaced(tmp_path, there):
    folder = tmp_path / "thesis"
    if there == "file":
        folder.write_text("mine")
    else:
        folder.mkdir()
        (folder / ("chapter.tex" if there == "folder" else CONTENTS)).write_text("mine")
    with pytest.raises(FolderError, match="was not made by this command"):
        replace_folder(folder, {"a.txt": "1"})
    assert list(tmp_path.iterdir()) == [folder]


def test_an_empty_folder_is_taken(tmp_path):
    (tmp_path / "report").mkdir()
    replace_folder(tmp_path / "report", {"a.txt": "1"})
    assert content(tmp_path / "report") == {"a.txt": "1"}


def test_what_a_killed_process_left_is_cleared_and_the_old_folder_found(tmp_path):
    folder = tmp_path / "report"
    replace_folder(folder, {"a.txt": "1"})
    (folder / "mine.txt").write_text("mine")
    # Killed between the two renamings.
    folder.rename(tmp_path / ".report.before")
    (tmp_path / ".report.making-x").mkdir()
    replace_folder(folder, {"a.txt": "2"})
    assert content(folder) == {"a.txt": "2", "mine.txt": "mine"}
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_files_are_copied_into_a_folder_whose_others_stay_and_copied_again(tmp_path):
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    (thesis / "chapter.tex").write_text("mine")
    copy_files(makes(tmp_path / "made", one="old"), thesis)
    copy_files(makes(tmp_path / "made", one="new", two="2"), thesis)
    assert content(thesis) == {"chapter.tex": "mine", "one.tex": "new", "two.tex": "2"}
    with pytest.raises(FolderError, match="No such file"):
        copy_files({"one.tex": tmp_path / "gone.tex"}, thesis)
    assert content(thesis) == {"chapter.tex": "mine", "one.tex": "new", "two.tex": "2"}
    # What was copied stays known while others are.
    copy_files(makes(tmp_path / "made", two="3"), thesis)
    copy_files(makes(tmp_path / "made", one="newer"), thesis)
    assert content(thesis) == {"chapter.tex": "mine", "one.tex": "newer", "two.tex": "3"}


@pytest.mark.parametrize("own", ["written", "changed", "folder", "link", "forgotten"])
def test_a_file_of_somebody_is_not_copied_over_and_nothing_else_is_copied(tmp_path, own):
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    mine = thesis / "two.tex"
    if own == "changed":
        copy_files(makes(tmp_path / "made", one="1", two="2"), thesis)
        mine.write_text("2, and a word of mine")
    elif own == "folder":
        mine.mkdir()
    elif own == "link":
        copy_files(makes(tmp_path / "made", one="1", two="2"), thesis)
        mine.rename(thesis / "other.tex")
        mine.symlink_to("other.tex")
    else:
        mine.write_text("mine")
        (thesis / COPIED).write_text("{" if own == "forgotten" else '{"one.tex": []}')
    before = content(thesis)
    with pytest.raises(FolderError, match=r"thesis has two\.tex, which this .* not made, .*nothing was copied"):
        copy_files(makes(tmp_path / "made", one="new", two="new", three="new"), thesis)
    assert content(thesis) == before
    assert mine.is_symlink() == (own == "link")


def test_a_file_that_is_the_same_is_left_as_it_is(tmp_path):
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    (thesis / "one.tex").write_text("1")
    before = (thesis / "one.tex").stat()
    copy_files(makes(tmp_path / "made", one="1"), thesis)
    after = (thesis / "one.tex").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    copy_files(makes(tmp_path / "made", one="2"), thesis)
    assert content(thesis) == {"one.tex": "2"}


def test_of_many_files_of_somebody_some_are_named(tmp_path):
    names = [f"t{number}" for number in range(8)]
    makes(tmp_path / "thesis", **dict.fromkeys(names, "mine"))
    with pytest.raises(FolderError, match=r"thesis has t0\.tex, t1\.tex, t2\.tex, t3\.tex, t4\.tex and 3 more, which"):
        copy_files(makes(tmp_path / "made", **dict.fromkeys(names, "new")), tmp_path / "thesis")


def test_a_copy_that_was_killed_is_understood_by_the_next(tmp_path):
    made, thesis = tmp_path / "made", tmp_path / "thesis"
    copy_files(makes(made, a="1", b="1", c="1"), thesis)
    makes(made, a="2", b="2", c="2")
    died = subprocess.run([sys.executable, "-c", KILLED, str(made), str(thesis)], check=False)
    assert died.returncode == -signal.SIGKILL
    left = content(thesis)
    assert left.pop(".b.tex.copying~") == "half"
    assert left == {"a.tex": "2", "b.tex": "1", "c.tex": "1"}
    # Neither what came nor what did not is taken for somebody's own, by a report that has changed meanwhile.
    copy_files(makes(made, a="3", b="3", c="3"), thesis)
    assert content(thesis) == {"a.tex": "3", "b.tex": "3", "c.tex": "3"}
    assert {name: len(hashes) for name, hashes in json.loads((thesis / COPIED).read_text()).items()} == {
        "a.tex": 1,
        "b.tex": 1,
        "c.tex": 1,
    }


def test_a_made_folder_is_as_open_as_any_other(tmp_path):
    replace_folder(tmp_path / "report", {"a.txt": "1"})
    (tmp_path / "other").mkdir()
    assert (tmp_path / "report").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_two_that_make_the_same_folder_at_once_do_not_clear_away_each_others(tmp_path):
    folder = tmp_path / "report"

    def at_the_same_time(beside: Path) -> dict[str, str]:
        with pytest.raises(FolderError, match=r"Another process makes .*report just now; wait for it"):
            replace_folder(folder, {"a.txt": "theirs"})
        return {}

    replace_folder(folder, {"a.txt": "ours"}, at_the_same_time)
    assert content(folder) == {"a.txt": "ours"}


def test_where_nothing_can_be_written_it_is_said_and_what_was_there_stays(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for write in (
        lambda to: replace_folder(to, {"a.txt": "1"}),
        lambda to: copy_files({"file": tmp_path / "file"}, to),
    ):
        with pytest.raises(FolderError, match=r"cannot be written \(.*\); make room, or name another folder"):
            write(tmp_path / "file" / "report")
    folder = tmp_path / "report"
    replace_folder(folder, {"a.txt": "1"})
    with pytest.raises(FolderError, match="File name too long"):
        replace_folder(folder, {"a.txt": "2", "b" * 300: "3"})
    assert content(folder) == {"a.txt": "1"}


def test_a_file_that_was_added_later_goes_when_the_folder_is_made_again(tmp_path):
    folder = tmp_path / "report"
    replace_folder(folder, {"a.txt": "1"})
    add_file(folder, "b.txt", "first")
    add_file(folder, "b.txt", "second")
    (folder / "mine.txt").write_text("a person's own")
    assert content(folder) == {"a.txt": "1", "b.txt": "second", "mine.txt": "a person's own"}
    replace_folder(folder, {"a.txt": "2"})
    assert content(folder) == {"a.txt": "2", "mine.txt": "a person's own"}
    with pytest.raises(FolderError, match=r"cannot be written \(.*\); make room"):
        add_file(tmp_path / "nowhere", "b.txt", "1")
