"""Tests of which files count as a project's code."""

import os
import subprocess
from pathlib import Path

import pytest

from submitit_ssh import project_files
from submitit_ssh.content_cache import ContentError
from submitit_ssh.project_files import ProjectFiles, find_package, project_root

LIMIT = 1_000_000


@pytest.fixture(autouse=True)
def own_git(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a person has told git to ignore, sign or forbid."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "somebody")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "somebody@example.org")


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", "-c", "protocol.file.allow=always", *words], cwd=folder, check=True, capture_output=True)


def write(folder: Path, *names: str, content: str = "") -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content or f"# {name}\n")


def repository(folder: Path, *names: str, ignored: str = "") -> Path:
    """A repository in which these files are tracked."""
    write(folder, *names)
    if ignored:
        write(folder, ".gitignore", content=ignored)
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "--allow-empty", "-m", "first")
    return folder


def tracked(folder: Path, standing: Path | None = None) -> ProjectFiles:
    found = ProjectFiles(folder, LIMIT, standing)
    found.add_tracked()
    return found


def walked(folder: Path, standing: Path | None = None) -> ProjectFiles:
    found = ProjectFiles(folder, LIMIT, standing)
    found.add_all()
    return found


def test_tracked_changed_and_untracked_files_are_code_but_not_ignored_or_deleted_ones(tmp_path: Path) -> None:
    root = repository(tmp_path, "a.py", "b.py", "c.py", ignored="*.log\ndata/\n")
    write(root, "a.py", content="changed = 1\n")
    (root / "b.py").unlink()
    git(root, "rm", "-q", "--cached", "c.py")
    write(root, "new/d.py", "x.log", "data/big.csv")
    found = tracked(root)
    assert set(found.files) == {".gitignore", "a.py", "c.py", "new/d.py"}
    assert found.left_out == []


def test_a_conflict_and_a_folder_in_a_files_place_are_listed_once(tmp_path: Path) -> None:
    root = repository(tmp_path, "a.py", "b.py")
    git(root, "checkout", "-q", "-b", "other")
    write(root, "a.py", content="other = 1\n")
    git(root, "commit", "-qam", "other")
    git(root, "checkout", "-q", "-")
    write(root, "a.py", content="mine = 1\n")
    git(root, "commit", "-qam", "mine")
    assert subprocess.run(["git", "merge", "other"], cwd=root, capture_output=True).returncode == 1
    (root / "b.py").unlink()
    write(root, "b.py/inner.py")
    found = tracked(root)
    assert set(found.files) == {"a.py", "b.py/inner.py"}
    assert found.left_out == []


def test_submodules_are_files_with_all_that_is_new_in_them(tmp_path: Path) -> None:
    library = repository(tmp_path / "library", "lib.py", ignored="*.tmp\n")
    root = repository(tmp_path / "app", "app.py")
    for name in ("parts/lib", "empty"):
        git(root, "submodule", "add", "-q", str(library), name)
    git(root, "submodule", "deinit", "-q", "-f", "empty")
    write(root, "parts/lib/new.py", "parts/lib/x.tmp")
    found = tracked(root)
    assert set(found.files) == {".gitmodules", "app.py", "parts/lib/.gitignore", "parts/lib/lib.py", "parts/lib/new.py"}
    assert found.left_out == [("empty", "a submodule that is not checked out")]


def test_a_clone_within_is_code_but_a_second_working_tree_is_not(tmp_path: Path) -> None:
    root = repository(tmp_path, "app.py")
    repository(root / "clone", "part.py")
    git(root, "worktree", "add", "-q", "second")
    found = tracked(root)
    assert set(found.files) == {"app.py", "clone/part.py"}
    assert found.left_out == [("second", "a second working tree of a repository")]


@pytest.mark.parametrize("listed", [True, False], ids=["by git", "without git"])
def test_what_runs_leave_and_what_is_made_here_is_no_code(tmp_path: Path, listed: bool) -> None:
    root = repository(tmp_path, "app.py", "pkg/part.py") if listed else tmp_path
    write(root, "app.py", "pkg/part.py")
    left = [
        *("multirun/1/0/a.txt", "pkg/outputs/b.txt", "sweeps/1/.sweeproute/sweep.json", "sweeps/1/0/journal.jsonl"),
        *("runs/1/multirun.yaml", "runs/1/0/model.ubj", "once/.hydra/config.yaml", "once/table.csv"),
        *("mlruns/0/meta.yaml", "mlartifacts/x", "mlflow.db", "mlflow.db-wal", "pkg/store.sqlite", "x.sqlite3-journal"),
        *("env/pyvenv.cfg", "env/lib/x.py", "conda/conda-meta/history", "conda/y.py", "__pycache__/z.pyc"),
        *(".mypy_cache/a", "pkg/.pytest_cache/b", "any/CACHEDIR.TAG", "any/c", "lib/site-packages/d.py", ".DS_Store"),
    ]
    write(root, *left)
    found = (tracked if listed else walked)(root)
    assert set(found.files) == {"app.py", "pkg/part.py"}
    assert found.left_out == []


def test_what_git_tracks_is_code_even_where_runs_leave_theirs(tmp_path: Path) -> None:
    root = repository(tmp_path, "outputs/reference.json", "teams.db", "app/outputs/tables.py")
    write(root, "outputs/new.json", "other.db")
    assert set(tracked(root).files) == {"outputs/reference.json", "teams.db", "app/outputs/tables.py"}


def test_a_package_is_code_even_under_the_name_of_a_run_folder(tmp_path: Path) -> None:
    write(tmp_path, "app/outputs/__init__.py", "app/outputs/tables.py")
    assert set(walked(tmp_path).files) == {"app/outputs/__init__.py", "app/outputs/tables.py"}


@pytest.mark.parametrize("listed", [True, False], ids=["by git", "without git"])
def test_where_somebody_works_is_code_even_where_runs_have_left_theirs(tmp_path: Path, listed: bool) -> None:
    names = {"app/main.py", "app/conf/x.yaml", "top.py"}
    root = repository(tmp_path, *names) if listed else tmp_path
    write(root, *names, ".sweeproute/sweep.json", "app/.sweeproute/sweep.json", "app/.hydra/config.yaml")
    write(root, "app/new.py", "app/multirun.yaml")
    found = (tracked if listed else walked)(root, standing=root / "app")
    assert set(found.files) == names | {"app/new.py"}


def test_large_unreadable_and_odd_things_are_left_out_with_the_reason(tmp_path: Path) -> None:
    write(tmp_path, "a.py", "closed.py", "shut/in.py", "listed/in.py")
    (tmp_path / "big.csv").write_bytes(b"x" * 1_234_567)
    os.mkfifo(tmp_path / "pipe")
    reasons = {
        "big.csv": "1.235 MB, where at most 1 MB are sent",
        "pipe": "not a plain file",
    }
    if os.geteuid() != 0:  # root reads everything
        (tmp_path / "closed.py").chmod(0)
        (tmp_path / "shut").chmod(0)
        (tmp_path / "listed").chmod(0o400)
        reasons |= dict.fromkeys(("closed.py", "shut", "listed/in.py"), "cannot be read")
    found = walked(tmp_path)
    for name in ("shut", "listed"):
        (tmp_path / name).chmod(0o700)
    assert dict(found.left_out) == reasons
    assert "a.py" in found.files


@pytest.mark.parametrize("listed", [True, False], ids=["by git", "without git"])
def test_links_become_content_inside_and_are_left_out_where_they_lead_elsewhere(tmp_path: Path, listed: bool) -> None:
    outside = tmp_path / "outside"
    write(outside, "secret.txt", "more/secret.txt")
    root = tmp_path / "app"
    write(root, "conf/a.yaml", "conf/deep/b.yaml", "env/pyvenv.cfg", "env/x.py")
    for name, target in {
        "one.yaml": "conf/a.yaml",
        "sub/conf": "../conf",
        "chain.yaml": "one.yaml",
        "secret": "../outside/secret.txt",
        "folder": str(outside),
        "dangling": "nothing",
        "loop": "loop",
        "conf/deep/up": "../..",
        "config": ".git/config",
        "env-file": "env/x.py",
        "env-folder": "env",
        "sideways": "../app/../outside/more",
    }.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).symlink_to(target)
    repository(root)
    if not listed:
        (root / ".git").rename(tmp_path / "git")
        (root / ".git").mkdir()
        write(root, ".git/config")
    found = (tracked if listed else walked)(root)
    plain = {"conf/a.yaml", "conf/deep/b.yaml"}
    assert set(found.files) == plain | {"one.yaml", "chain.yaml", "sub/conf/a.yaml", "sub/conf/deep/b.yaml"}
    assert found.files["chain.yaml"] == found.files["sub/conf/a.yaml"] == root / "conf" / "a.yaml"
    out, not_sent = "a link that leads out of the project", "a link to what is not sent"
    assert dict(found.left_out) == {
        **dict.fromkeys(("secret", "folder", "sideways"), out),
        **dict.fromkeys(("dangling", "loop"), "a link that leads nowhere"),
        **dict.fromkeys(("config", "env-file", "env-folder"), not_sent),
        "conf/deep/up": "a link to a folder that it lies in",
    }


def test_a_tracked_folder_that_became_a_link_is_not_followed_out(tmp_path: Path) -> None:
    root = repository(tmp_path / "app", "a.py", "data/known.csv")
    (root / "data").rename(tmp_path / "moved")
    (root / "data").symlink_to(tmp_path / "moved")
    found = tracked(root)
    assert set(found.files) == {"a.py"}
    assert found.left_out == [("data", "a link that leads out of the project")]


def test_hostile_names_are_files_like_any_other(tmp_path: Path) -> None:
    hostile = ["-rf", "a\nb", "tab\t", "päth/ünï.py", "? x.py", "H y.py", "100644 0 0\tz", "q'\"$(x)", "é" * 100, " "]
    root = repository(tmp_path, *hostile[:5])
    write(root, *hostile[5:])
    found = tracked(root)
    assert set(found.files) == set(hostile)
    assert set(walked(root).files) == set(hostile)


def test_a_name_that_cannot_be_printed_is_said_in_words_that_can(tmp_path: Path) -> None:
    (tmp_path / "a\nb").symlink_to("/")
    assert walked(tmp_path).left_out == [("a\\nb", "a link that leads out of the project")]


def test_more_files_than_code_can_have_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project_files, "MOST_FILES", 3)
    write(tmp_path, *(f"{n}.txt" for n in range(4)))
    with pytest.raises(ContentError, match=r"holds more than 3 files, .* project's own folder"):
        walked(tmp_path)


def test_a_repository_that_git_cannot_read_is_an_error_in_gits_words(tmp_path: Path) -> None:
    root = repository(tmp_path, "a.py")
    (root / ".git" / "index").write_bytes(b"damaged, and long enough to be looked at by git")
    with pytest.raises(ContentError, match=r"git cannot list the files of .*: .*(index|signature)"):
        tracked(root)


def test_a_hook_in_which_this_runs_does_not_name_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, other = repository(tmp_path / "app", "a.py"), repository(tmp_path / "other", "b.py")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))
    assert set(tracked(root).files) == {"a.py"}


def test_the_project_is_the_repository_around_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = repository(tmp_path / "app", "sub/deep/a.py")
    (tmp_path / "alias").symlink_to(root)
    assert project_root(tmp_path / "alias" / "sub" / "deep") == (root, True)
    (tmp_path / "plain").mkdir()
    assert project_root(tmp_path / "plain") == (tmp_path / "plain", False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert project_root(root / "sub") == (root, False)


def test_the_repository_of_a_home_folder_is_no_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = repository(tmp_path / "home", ".bashrc", "work/a.py")
    monkeypatch.setenv("HOME", str(home))
    assert project_root(home / "work") == (home / "work", False)


def test_a_package_is_found_without_importing_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "outer/__init__.py", "outer/inner/__init__.py", "space/part/__init__.py", "space_alone/x.py")
    write(tmp_path, "outer/__init__.py", "space/part/__init__.py", "single.py", content="raise SystemExit\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert find_package("outer.inner") == ("outer", [tmp_path / "outer"])
    assert find_package("space.part") == ("space.part", [tmp_path / "space" / "part"])
    assert find_package("space_alone") == ("space_alone", [tmp_path / "space_alone"])
    assert find_package("single") == ("single", [tmp_path / "single.py"])
    for name in ("no_such", "space.no_such", "sys", "__main__.x"):
        with pytest.raises(ModuleNotFoundError, match=f"{name} is not a package of files here"):
            find_package(name)
