"""`sweeproute clean`: removes what old sweeps have left."""

import argparse
import re
import time
from typing import TYPE_CHECKING

from sweeproute.commands import Commands

if TYPE_CHECKING:
    from pathlib import Path

    from sweeproute.cleaning import OldSweep

_SECONDS = {"h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
# Sweeps that are listed one by one.
_SHOWN = 20


def age(text: str) -> float:
    """Read a length of time, as in 12h, 30d or 8w.

    Returns:
        Seconds.

    Raises:
        argparse.ArgumentTypeError: It is none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([hdw])", text.strip())
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no age; write hours, days or weeks, as in 12h, 30d, 8w")
    return float(found[1]) * _SECONDS[found[2]]


def add(commands: Commands) -> None:
    """Add the command's words."""
    clean = commands.add_parser("clean", help="remove what old sweeps have left, never a registered model's")
    clean.add_argument(
        "--older-than", type=age, default="30d", metavar="AGE", help="as in 12h, 30d, 8w (default: %(default)s)"
    )
    done = clean.add_mutually_exclusive_group()
    done.add_argument("--dry-run", action="store_true", help="only say what would be removed; so it is without --yes")
    done.add_argument("--yes", action="store_true", help="remove it")
    clean.set_defaults(run=run)


def run(asked: argparse.Namespace) -> None:
    """Say what there is to remove, and with --yes remove it."""
    import functools

    from sweeproute import cleaning, registry

    before = time.time() - asked.older_than
    sweeps = cleaning.old_sweeps(before, functools.cache(registry.registered_sweeps))
    cache = _cache()
    files = cleaning.old_caches(cache, before)
    if not sweeps and not files:
        print("Nothing is that old.")
        return
    print("\n".join(_lines(sweeps, files, cache)))
    removable = [one for one in sweeps if one.kept is None]
    if not asked.yes:
        if removable or files:
            print("Nothing has been removed" + ("." if asked.dry_run else "; say --yes to remove it."))
        return
    for one in removable:
        if not cleaning.remove(one):
            print(f"{one.pointer.id} is kept: somebody runs it now.")
    for path in files:
        path.unlink(missing_ok=True)
    print("Done.")


def _lines(sweeps: "list[OldSweep]", files: "list[Path]", cache: "Path") -> list[str]:
    from sweeproute.progress import clock

    removable = [one for one in sweeps if one.kept is None]
    text = [f"Sweeps to remove: {len(removable)} ({_bytes(sum(one.bytes for one in removable))})"]
    for one in removable[:_SHOWN]:
        what = f"{one.jobs} jobs, {_bytes(one.bytes)}, {one.pointer.folder}" if one.paths else "its folder is gone"
        text.append(f"  {one.pointer.id}: ended {clock(one.ended)}, {what}")
    if len(removable) > _SHOWN:
        text.append(f"  and {len(removable) - _SHOWN} more")
    freed = _bytes(sum(path.lstat().st_size for path in files))
    text.append(f"Files of the cache to remove: {len(files)} ({freed}) in {cache}")
    text += [f"Kept: {one.pointer.id} {one.kept}" for one in sweeps if one.kept is not None]
    return text


def _cache() -> "Path":
    from hydra_plugins.sweeproute._records import cache_dir

    return cache_dir()


def _bytes(number: int) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.1f} MB"
