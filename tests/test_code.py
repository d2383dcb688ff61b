"""Tests of the code hash of an app that names no identity."""

from pathlib import Path

from hydra_plugins.sweeproute._code import default_identity


def write(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}\n")


def test_the_hash_follows_the_apps_code_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path, "app.py", "pkg/part.py")
    before = default_identity(tmp_path)
    assert set(before) == {"code_hash"}
    write(
        tmp_path,
        "notes.txt",
        ".hidden/x.py",
        "venv/pyvenv.cfg",
        "venv/lib/y.py",
        "out/.sweeproute/sweep.json",
        "out/0/z.py",
    )
    assert default_identity(tmp_path) == before
    (tmp_path / "pkg" / "part.py").write_text("changed = 1\n")
    changed = default_identity(tmp_path)
    assert changed != before
    (tmp_path / "pkg" / "part.py").rename(tmp_path / "pkg" / "other.py")
    assert default_identity(tmp_path) not in (before, changed)
