"""Keeps what the code of a sweep had that its commit has not, so that it can be run again.

A patch against the commit, `code.patch`, lies in our own folder of the sweep: changes of the files that git tracks, and
of those that it does not what a trial's results depend on: code that the fingerprint covers, and config that counts.
Data is left out: it has a hash of its own, and can be large. Nothing is written where there is nothing to keep.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sweeproute import fingerprint
from sweeproute.config import WHERE_AND_HOW
from sweeproute.sweep_folder import OWN, own

# Bytes that a patch may have: what is larger is hardly code.
LARGEST = 10_000_000
# Beside the patch, why there is none although there should be one.
TOO_LARGE = "code.patch.txt"
# What is taken for data by its name.
_DATA = ("csv", "parquet", "feather", "arrow", "npy", "npz", "h5", "pkl", "db", "sqlite", "zip", "gz", "zst", "xlsx")
_GIT_S = 60
_OF_HOOKS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")


class GitError(Exception):
    """git has refused, or is not there; the message is what it said, in one line."""


def git(folder: Path, *words: str, stdin: bytes | None = None, index: Path | None = None) -> bytes:
    """Run git, without the hooks of the repository.

    Args:
        folder: Where.
        words: Its words.
        stdin: What it reads.
        index: The index that it works on instead of the repository's own.

    Returns:
        What it wrote to its standard output.

    Raises:
        GitError: It failed.
    """
    # Within a hook of git's these name the repository of that hook.
    environment = {name: value for name, value in os.environ.items() if name not in _OF_HOOKS}
    if index is not None:
        environment["GIT_INDEX_FILE"] = str(index)
    command = ["git", "-C", str(folder), "-c", f"core.hooksPath={os.devnull}", *words]
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, timeout=_GIT_S, check=False, env=environment)
    except (OSError, subprocess.SubprocessError) as error:
        raise GitError(str(error)) from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").split("\n")
        raise GitError(next((line for line in said if line), f"git {words[0]} ended with code {done.returncode}"))
    return done.stdout


def top(folder: Path) -> Path:
    """The top of the repository that a folder lies in.

    Raises:
        GitError: It lies in none.
    """
    return Path(os.fsdecode(git(folder, "rev-parse", "--show-toplevel")).rstrip("\n"))


def take(app: Path, names: Sequence[str]) -> bytes:
    """Make the patch.

    Args:
        app: The app's folder.
        names: What a trial's results can depend on; see `fingerprint.code_hash`.

    Returns:
        What `git apply` takes in a checkout of the commit; empty where that is the code, or where there is no commit.
    """
    try:
        root = top(app)
        git(root, "rev-parse", "--verify", "HEAD")
        return _diff(root, app, names)
    except GitError:
        return b""


def keep(root: Path, app: Path, names: Sequence[str]) -> None:
    """Keep the patch in the folder of a sweep, or of a run alone.

    A sweep that goes on with other code gets another patch beside the first.

    Args:
        root: The folder.
        app: The app's.
        names: As of `take`.
    """
    patch = take(app, names)
    if not patch or any(path.read_bytes() == patch for path in kept(root)):
        return
    own(root, "").mkdir(parents=True, exist_ok=True)
    if len(patch) > LARGEST:
        said = (
            f"What the working tree had beside its commit has {len(patch) / 1e6:.1f} MB, and {LARGEST / 1e6:.0f} MB "
            "are kept at most: this sweep cannot be reproduced from its commit. Commit what is large, or take it out "
            "of what git tracks."
        )
        own(root, TOO_LARGE).write_text(said + "\n", encoding="utf-8")
        return
    count = len(kept(root))
    path = own(root, f"code-{count + 1}.patch" if count else "code.patch")
    beside = path.with_suffix(".new")
    beside.write_bytes(patch)
    beside.replace(path)


def kept(root: Path) -> list[Path]:
    """The patches in the folder of a sweep, or of a run alone, the first one first."""
    return ordered((root / OWN).glob("code*.patch"))


def ordered(patches: Any) -> list[Path]:
    """Patches in the order in which they were kept."""
    return sorted(patches, key=lambda path: (len(path.name), path.name))


def problem(root: Path) -> str | None:
    """Why a folder has no patch although there should be one; None where that is not so."""
    try:
        return own(root, TOO_LARGE).read_text(encoding="utf-8").strip()
    except OSError:
        return None


def _diff(root: Path, app: Path, names: Sequence[str]) -> bytes:
    tracked = set(git(root, "ls-files", "-z").split(b"\0"))
    new = sorted(name for name in _that_count(root, app, names) if os.fsencode(name) not in tracked)
    with tempfile.TemporaryDirectory() as folder:
        # In an index of our own: the person's must not know of files that they have not added.
        index = Path(folder, "index")
        theirs = Path(os.fsdecode(git(root, "rev-parse", "--git-path", "index")).rstrip("\n"))
        if (root / theirs).exists():
            # With its time: git looks into files that are as new as the index, and takes older ones at their word.
            shutil.copy2(root / theirs, index)
        if new:
            listed = b"\0".join(map(os.fsencode, new))
            words = ("--pathspec-from-file=-", "--pathspec-file-nul")
            git(root, "--literal-pathspecs", "add", "--intent-to-add", "--force", *words, stdin=listed, index=index)
        form = ("--binary", "--no-color", "--no-ext-diff", "--no-textconv", "--no-renames", "--ignore-submodules=all")
        prefixes = ("--src-prefix=a/", "--dst-prefix=b/")
        data = [f":(exclude,icase,glob)**/*.{suffix}" for suffix in _DATA]
        return git(root, "diff", *form, *prefixes, "HEAD", "--", ":/", *data, index=index)


def _that_count(root: Path, app: Path, names: Sequence[str]) -> Iterator[str]:
    """Files in the repository that a trial's results can depend on, by their names from its top."""
    real = Path(os.path.realpath(root))
    for path in (*fingerprint.code_files((*names, *_of_models(app)), app), *_config(app)):
        found = Path(os.path.realpath(path))
        if found.is_relative_to(real):
            yield found.relative_to(real).as_posix()


def _of_models(app: Path) -> Iterator[str]:
    """What the results of a single model can depend on besides, as its file says."""
    import yaml

    for path in sorted((app / "conf" / "model").glob("*.yaml")):
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError):
            continue
        model = content.get("model") if isinstance(content, dict) else None
        code = model.get("code") if isinstance(model, dict) else None
        yield from (str(name) for name in code or ())


def _config(app: Path) -> Iterator[Path]:
    """Files of groups that are part of a fingerprint: those that say where and how may hold more than code may."""
    for group in sorted((app / "conf").glob("*")):
        if group.is_dir() and group.name not in (*WHERE_AND_HOW, "hydra"):
            yield from sorted(group.rglob("*.yaml"))
