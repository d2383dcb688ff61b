"""Tests of what a far machine is sent: the content, its name, and where paths here are to be found there."""

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from submitit_ssh import staging
from submitit_ssh.far.store import unpack
from submitit_ssh.staging import Code, ContentError

FAR = "/far/.sweeproute"
OURS = ("hydra_plugins.sweeproute", "sweeproute", "submitit_ssh")


@pytest.fixture(autouse=True)
def own_git(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a person has told git to ignore."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def write(folder: Path, *names: str, content: str | None = None) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"name = {name!r}\n" if content is None else content)
    return folder


def repository(folder: Path, *names: str) -> Path:
    write(folder, *names)
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    return folder


def contents(code: Code) -> dict[str, bytes]:
    with code.staged().open() as stream, tarfile.open(fileobj=io.BytesIO(stream.read())) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}


def far_tree(code: Code, root: Path) -> Path:
    """The tree as the far side unpacks it."""
    tar = root / "tar"
    tar.parent.mkdir(parents=True, exist_ok=True)
    with code.staged().open() as stream:
        tar.write_bytes(stream.read())
    (root / "trees").mkdir()
    unpack(tar, root / "trees" / code.sha)
    return root / "trees" / code.sha


def test_a_file_and_bytes_are_named_by_their_content_and_read_as_often_as_wanted(tmp_path: Path, cache: Path) -> None:
    content = os.urandom(300_000)
    (tmp_path / "data.bin").write_bytes(content)
    for one in (staging.file(tmp_path / "data.bin", cache), staging.blob(content)):
        assert (one.sha, one.kind, one.size) == (hashlib.sha256(content).hexdigest(), "store", len(content))
        for _ in range(2):
            with one.open() as stream:
                assert stream.read() == content
    assert staging.file(tmp_path / "data.bin", cache) == staging.blob(content)


def test_a_file_that_has_changed_since_is_not_sent_under_its_old_name(tmp_path: Path, cache: Path) -> None:
    write(tmp_path, "data.csv")
    one = staging.file(tmp_path / "data.csv", cache)
    write(tmp_path, "data.csv", content="other")
    with pytest.raises(ContentError, match=r"data\.csv has changed"):
        one.open()
    (tmp_path / "data.csv").unlink()
    with pytest.raises(FileNotFoundError):
        one.open()


def test_a_tree_is_read_by_several_at_once_even_after_the_cache_has_gone(tmp_path: Path, cache: Path) -> None:
    code = Code.collect(repository(tmp_path / "app", *(f"{n}.py" for n in range(400))), cache=cache)
    one, other = code.staged().open(), code.staged().open()
    pieces = [one.read(100_000)]
    assert staging.clean(cache, 0) > code.size
    del code
    pieces += [one.read(50_000), one.read()]
    assert b"".join(pieces) == other.read()


def test_the_code_is_the_whole_repository_as_it_lies_on_disk(tmp_path: Path, cache: Path) -> None:
    root = repository(tmp_path / "app", "train.py", "conf/config.yaml", "pkg/sub/part.py", "data/x.csv")
    write(root, ".gitignore", content="data/\n")
    (root / "train.py").chmod(0o755)
    code = Code.collect(root / "pkg" / "sub", cache=cache)
    names = {".gitignore", "train.py", "conf/config.yaml", "pkg/sub/part.py"}
    assert contents(code).keys() == names
    staged = code.staged()
    with staged.open() as stream:
        content = stream.read()
    assert (staged.sha, staged.kind) == (code.sha, "trees")
    assert (hashlib.sha256(content).hexdigest(), len(content)) == (code.sha, code.size)
    assert (code.files, code.size, code.left_out) == (4, staged.size, [])


def test_the_hash_follows_the_content_alone(tmp_path: Path, cache: Path) -> None:
    here = repository(tmp_path / "here", "a.py", "b/c.py")
    there = write(tmp_path / "there", "b/c.py", "a.py")
    os.utime(there / "a.py", (1, 1))
    first = Code.collect(here, cache=cache)
    assert Code.collect(there, cache=cache).sha == first.sha
    write(here, "b/c.py", content="changed = 1\n")
    changed = Code.collect(here, cache=cache)
    assert changed.sha != first.sha
    assert contents(changed)["b/c.py"] == b"changed = 1\n"


def test_hostile_names_arrive(tmp_path: Path, cache: Path) -> None:
    names = {"-rf", "a\nb.py", "päth/ünï ☃.py", "'\"$(x)`", "/".join(["d" * 200] * 5), os.fsdecode(b"latin-\xe9")}
    root = repository(tmp_path / "app")
    for name in names:
        try:
            write(root, name)
        except OSError:  # a Mac has no names that are not Unicode
            assert name.startswith("latin")
    code = Code.collect(root, cache=cache)
    tree = far_tree(code, tmp_path / "far")
    arrived = {path.relative_to(tree).as_posix(): path.read_bytes() for path in tree.rglob("*") if path.is_file()}
    assert arrived == {name: (root / name).read_bytes() for name in names if (root / name).exists()}


def test_paths_of_the_project_are_found_there_and_no_others(tmp_path: Path, cache: Path) -> None:
    root = repository(tmp_path / "app", "conf/model/a.yaml", ".hidden/b.yaml", "outputs/c.yaml", "d.py")
    (root / "link").symlink_to("conf")
    (tmp_path / "alias").symlink_to(root)
    code = Code.collect(root, cache=cache)
    tree = f"{FAR}/trees/{code.sha}"
    for near, there in {
        root: tree,
        root / "conf": f"{tree}/conf",
        root / "conf" / "model" / "a.yaml": f"{tree}/conf/model/a.yaml",
        root / ".hidden": f"{tree}/.hidden",
        root / "link" / "model": f"{tree}/link/model",
        root / "conf" / ".." / "d.py": f"{tree}/d.py",
        tmp_path / "alias" / "conf": f"{tree}/conf",
        root / "outputs": None,
        root / "conf" / "missing.yaml": None,
        tmp_path: None,
        tmp_path / "app2" / "conf": None,
        Path("conf"): None,
        Path("hydra.conf"): None,
    }.items():
        assert code.far_path(near, FAR) == there, near


def test_the_search_path_keeps_its_order_and_what_does_not_travel_falls_out(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = repository(tmp_path / "app", "scripts/train.py", "src/pkg/a.py", "lib/b.py", "tool.zip")
    write(root, "env/pyvenv.cfg", "env/lib/site-packages/c.py")
    monkeypatch.chdir(root / "scripts")
    entries = [root / "lib", "", root / "env" / "lib" / "site-packages", "../src", root / "lib", root / "tool.zip"]
    monkeypatch.setattr(sys, "path", [*map(str, entries), str(tmp_path), *sys.path])
    code = Code.collect(Path.cwd(), cache=cache)
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.chdir(tmp_path)
    tree = f"{FAR}/trees/{code.sha}"
    assert code.sys_path(FAR) == [f"{tree}/{name}" for name in ("lib", "scripts", "src", "tool.zip")]
    assert code.cwd(FAR) == f"{tree}/scripts"
    assert Code.collect(root, cache=cache).cwd(FAR) == tree


@pytest.mark.parametrize("flags", [[], ["-P"]], ids=["as usual", "without its folder on the path"])
def test_the_folder_of_the_running_script_can_be_imported_from(tmp_path: Path, cache: Path, flags: list[str]) -> None:
    root = repository(tmp_path / "app", "scripts/helper.py")
    program = (
        "import json, pathlib, sys; sys.path.append(sys.argv[1]); from submitit_ssh.staging import Code; "
        "code = Code.collect(pathlib.Path.cwd(), cache=pathlib.Path(sys.argv[2])); "
        "print(json.dumps([code.sha, code.sys_path('')]))"
    )
    write(root, "scripts/train.py", content=program)
    near = str(Path(staging.__file__).parents[1])
    words = [sys.executable, *flags, "scripts/train.py", near, str(cache)]
    sha, path = json.loads(subprocess.run(words, cwd=root, check=True, capture_output=True).stdout)
    assert path == [f"/trees/{sha}/scripts"]


def test_packages_from_outside_the_project_can_be_imported_there(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "site", "foreign/__init__.py", "foreign/deep/a.py", "foreign/teams.db", "foreign/outputs/b.py")
    write(tmp_path / "site", "foreign/__pycache__/a.pyc", "spaced/part/__init__.py", "single.py")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    root = repository(tmp_path / "app", "train.py")
    monkeypatch.chdir(root)
    monkeypatch.syspath_prepend(str(root))
    code = Code.collect(root, ["foreign", "spaced.part", "single", *OURS], cache=cache)
    assert code.left_out == []
    names = contents(code).keys()
    ours = {name.split("/")[1] for name in names if name.startswith("packages/")}
    assert ours == {"foreign", "spaced", "single.py", "hydra_plugins", "sweeproute", "submitit_ssh"}
    assert {"packages/foreign/teams.db", "packages/foreign/outputs/b.py"} <= names
    assert not any("__pycache__" in name for name in names)
    far = tmp_path / "far"
    tree = far_tree(code, far)
    assert code.far_path(tmp_path / "site" / "foreign" / "deep", str(far)) == str(tree / "packages/foreign/deep")
    program = (
        f"import sys; sys.path[:0] = {code.sys_path(str(far))!r}; import foreign.deep.a, spaced.part, single, train; "
        "import submitit_ssh.staging, hydra_plugins.sweeproute; "
        "print(foreign.deep.a.name, single.name, train.name, submitit_ssh.staging.__file__)"
    )
    said = subprocess.run([sys.executable, "-I", "-S", "-c", program], check=True, capture_output=True, text=True)
    here = tree / "packages" / "submitit_ssh" / "staging.py"
    assert said.stdout.split() == ["foreign/deep/a.py", "single.py", "train.py", str(here)]


def test_packages_that_the_project_makes_importable_are_sent_once(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = repository(tmp_path / "app", "src/mine/__init__.py", "src/alone.py", "elsewhere/hidden/__init__.py")
    write(root, "env/pyvenv.cfg", "env/site-packages/installed/__init__.py")
    monkeypatch.syspath_prepend(str(root / "src"))
    monkeypatch.syspath_prepend(str(root / "env" / "site-packages"))
    monkeypatch.chdir(root)
    code = Code.collect(root, ["mine", "alone", "installed"], cache=cache)
    assert {name for name in contents(code) if name.startswith("packages/")} == {"packages/installed/__init__.py"}
    tree = f"{FAR}/trees/{code.sha}"
    assert code.sys_path(FAR) == [f"{tree}/src", f"{tree}/packages"]


def test_packages_alone_are_a_tree_without_a_project(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code = Code.collect(None, ["submitit_ssh"], cache=cache)
    tree = f"{FAR}/trees/{code.sha}"
    assert (code.sys_path(FAR), code.cwd(FAR)) == ([f"{tree}/packages"], tree)
    assert code.far_path(tmp_path, FAR) is None


def test_packages_do_not_mix_with_a_folder_of_that_name(tmp_path: Path, cache: Path) -> None:
    root = repository(tmp_path / "app", "packages/submitit_ssh/mine.py")
    code = Code.collect(root, ["submitit_ssh"], cache=cache)
    assert code.sys_path(FAR)[-1] == f"{FAR}/trees/{code.sha}/packages_"
    assert {"packages/submitit_ssh/mine.py", "packages_/submitit_ssh/staging.py"} <= contents(code).keys()


def test_packages_that_cannot_travel_are_said(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "fast/__init__.py", "fast/_speed.cpython-311-darwin.so", "heavy/__init__.py", "app/train.py")
    (tmp_path / "heavy" / "weights.bin").write_bytes(b"x" * 2_000_000)
    monkeypatch.syspath_prepend(str(tmp_path))
    code = Code.collect(tmp_path / "app", ["fast", "no_such", "heavy"], limit_mb=1, cache=cache)
    assert code.left_out == [
        ("fast", "has modules that are compiled for this machine"),
        ("no_such", "no_such is not a package of files here"),
        ("heavy: weights.bin", "2 MB, where at most 1 MB are sent"),
    ]
    assert contents(code).keys() == {"train.py", "packages/heavy/__init__.py"}


def test_an_empty_project_is_an_empty_tree(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "app").mkdir()
    monkeypatch.chdir(tmp_path / "app")
    code = Code.collect(Path.cwd(), cache=cache)
    assert (code.files, code.cwd(FAR)) == (0, f"{FAR}/trees/{code.sha}")
    assert list(far_tree(code, tmp_path / "far").iterdir()) == []
