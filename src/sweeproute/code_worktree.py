"""Lays out the code of a commit beside a repository, for as long as something runs with it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from sweeproute.code_snapshot import GitError, git

__all__ = ["GitError", "has", "laid_out", "moved"]


def has(repository: Path, commit: str) -> bool:
    """Whether a repository holds a commit."""
    try:
        git(repository, "cat-file", "-e", f"{commit}^{{commit}}")
    except GitError:
        return False
    return True


@contextmanager
def laid_out(repository: Path, commit: str, folder: Path, patch: Path | None = None) -> Iterator[None]:
    """Lay out a commit as a worktree of its own, which the branches and the files of the repository do not notice.

    Args:
        repository: The top of a repository.
        commit: The commit.
        folder: Where to; removed when this is left.
        patch: What is applied to it; see `code_snapshot.take`. None for nothing.

    Raises:
        GitError: git refused, or the patch does not fit the commit.
    """
    try:
        git(repository, "worktree", "add", "--quiet", "--detach", "--force", str(folder), commit)
        if patch is not None:
            # A blank at the end of a line is not for us to correct.
            git(folder, "apply", "--whitespace=nowarn", "--binary", str(patch))
        yield
    finally:
        with suppress(GitError):
            git(repository, "worktree", "remove", "--force", str(folder))
        # No prune: it would take away a worktree of the person's that lies on a disk that is not there just now.


def moved(paths: Sequence[Path], repository: Path, folder: Path) -> list[Path]:
    """Where paths in a repository lie in a worktree of it.

    Args:
        paths: Any; those outside of the repository are left out.
        repository: Its top.
        folder: The worktree's.

    Returns:
        Those that are there.
    """
    inside = [path.resolve().relative_to(repository) for path in paths if path.resolve().is_relative_to(repository)]
    return [folder / path for path in dict.fromkeys(inside) if (folder / path).exists()]
