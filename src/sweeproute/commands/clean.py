"""`sweeproute clean`: removes what old sweeps have left."""

import argparse
import re
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from sweeproute.commands import Commands

if TYPE_CHECKING:
    from pathlib import Path

    from hydra_plugins.sweeproute.config import PlatformConf
    from sweeproute.cleaning import OldSweep

_SECONDS = {"h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
# Sweeps that are listed one by one.
_SHOWN = 20
# Seconds that a far machine has to answer, and then to look through its disk.
_PATIENCE_S = 8.0
_LOOKS_S = 300.0


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
    clean = commands.add_parser(
        "clean", help="remove what old sweeps have left, here and on far machines, never a registered model's"
    )
    clean.add_argument(
        "--older-than", type=age, default="30d", metavar="AGE", help="as in 12h, 30d, 8w (default: %(default)s)"
    )
    done = clean.add_mutually_exclusive_group()
    done.add_argument("--dry-run", action="store_true", help="only say what would be removed; so it is without --yes")
    done.add_argument("--yes", action="store_true", help="remove it")
    clean.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="as in registry.platforms.NAME.host=me@box")
    clean.set_defaults(run=run)


def run(asked: argparse.Namespace) -> None:
    """Say what there is to remove, and with --yes remove it."""
    import functools

    from sweeproute import cleaning, registry
    from sweeproute.commands import elsewhere

    before = time.time() - asked.older_than
    sweeps = cleaning.old_sweeps(before, functools.cache(registry.registered_sweeps))
    cache = _cache()
    files = cleaning.old_caches(cache, before)
    far = list(_far(asked))
    any_far = any(goes for _, goes in far)
    if sweeps or files:
        print("\n".join(_lines(sweeps, files, cache)))
    for line, _ in far:
        print(line)
    if not (sweeps or files or any_far):
        print("Nothing is that old.")
        return
    removable = [one for one in sweeps if one.kept is None]
    if not asked.yes:
        if removable or files or any_far:
            print("Nothing has been removed" + ("." if asked.dry_run else "; say --yes to remove it."))
        return
    for one in removable:
        if one.pointer.on is not None and (why := elsewhere.remove(one.pointer)):
            print(f"{one.pointer.id} is kept: {why}")
        elif not cleaning.remove(one):
            print(f"{one.pointer.id} is kept: somebody runs it now.")
    for path in files:
        path.unlink(missing_ok=True)
    print("Done.")


def _far(asked: argparse.Namespace) -> Iterator[tuple[str, bool]]:
    """What goes on the far machines of the registry, a sentence each; and whether anything does.

    With --yes it goes now. A machine that cannot be reached is a sentence, too.
    """
    from submitit_ssh.errors import FarError
    from sweeproute.commands import composing

    try:
        registry = composing.registry(asked.overrides)
    except composing.NoAppError as error:
        if asked.overrides:
            raise
        yield f"Far machines are left out: {error}", False
        return
    machines: dict[tuple[str | None, ...], tuple[str, PlatformConf]] = {}
    for name, entry in registry.settings.items():
        if entry.backend == "ssh" and entry.host is not None:
            # Two platforms may be one machine.
            machines.setdefault((entry.host, entry.ssh_config, entry.root), (name, entry))
    for name, entry in machines.values():
        try:
            found = _ask(name, entry, asked.older_than, dry=not asked.yes)
        except FarError as error:
            yield f"{name} is left out: {error}", False
        else:
            if what := _gone(found):
                yield f"{name}: {what}", True


def _ask(name: str, entry: "PlatformConf", unused_s: float, dry: bool) -> Mapping[str, Any]:
    from hydra_plugins.sweeproute._errand import Errand
    from hydra_plugins.sweeproute._reach import reach_of

    wish = {"unused_s": unused_s, "limit_gb": entry.cache_gb, "jobs": True, "dry": dry}
    with Errand(name, reach_of(name, entry), timeout_s=_PATIENCE_S) as errand:
        return errand.ask("clean", answers_s=_LOOKS_S, **wish)


def _gone(found: Mapping[str, Any]) -> str:
    """What goes on a far machine; empty where that is nothing."""
    from sweeproute.progress import counted

    contents, jobs = found["contents"], found["jobs"]
    parts = []
    if contents:
        what = "file or tree" if contents == 1 else "files and trees"
        parts.append(f"{contents} {what} of its cache ({_bytes(found['content_bytes'])})")
    if jobs:
        parts.append(f"{counted(jobs, 'ended job')} that nobody has fetched ({_bytes(found['job_bytes'])})")
    return ", ".join(parts)


def _lines(sweeps: "list[OldSweep]", files: "list[Path]", cache: "Path") -> list[str]:
    from sweeproute.progress import clock, counted

    removable = [one for one in sweeps if one.kept is None]
    text = [f"Sweeps to remove: {len(removable)} ({_bytes(sum(one.bytes for one in removable))})"]
    for one in removable[:_SHOWN]:
        what = f"{counted(one.jobs)}, {_bytes(one.bytes)}, {one.pointer.folder}" if one.paths else "its folder is gone"
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
