"""Finds sweeps that chose by the very seasons that are to be a holdout now: what they chose has seen those."""

from collections.abc import Iterator
from pathlib import Path

from sweeproute import journal, pointers
from sweeproute.sweep_folder import SweepFolder, launch_record

# Sweeps that are named in the sentence.
_NAMED = 3


def sentence(games_hash: str, seasons: tuple[int, int], sweep: str | None = None) -> str | None:
    """Say that seasons of a holdout were chosen by before.

    Args:
        games_hash: Of the games.
        seasons: The first and the last season of the holdout.
        sweep: The sweep that is to score it, which is no other.

    Returns:
        The sentence; None where no sweep that was started on this machine, and still has its folder, chose by any.
    """
    found = [(id, first, last) for id, first, last in _chosen_by(games_hash, sweep) if _overlap(seasons, (first, last))]
    if not found:
        return None
    named = ", ".join(f"{id} ({first} to {last})" for id, first, last in found[:_NAMED])
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return (
        f"Seasons of the holdout {seasons[0]} to {seasons[1]} were chosen by before, by sweep {named}{more}: a model "
        "or a space that was taken over from there has seen them, and its scores on them are no scores on unseen games."
    )


def _chosen_by(games_hash: str, sweep: str | None) -> Iterator[tuple[str, int, int]]:
    """Each other sweep over these games, with the seasons that it tested on to choose by."""
    for pointer in pointers.pointers():
        if pointer.id == sweep:
            continue
        for attempt in SweepFolder(pointer.folder).attempts():
            launch = launch_record(attempt.folder) or {}
            if launch.get("state") != "FINISHED":
                continue
            if (launch.get("identity") or {}).get("games_hash") == games_hash and not launch.get("follow_up"):
                tested = _tested(attempt.folder)
                if tested is not None:
                    yield pointer.id, *tested
            # All of a sweep's trials are tested on the same seasons, or it could not choose among them.
            break


def _tested(folder: Path) -> tuple[int, int] | None:
    """The first and the last season that a trial was tested on; None where its journal does not say."""
    told = journal.merge(journal.read(folder)[0]).tags.get("sweeproute.seasons", "")
    first, _, last = told.partition("-")
    return (int(first), int(last or first)) if first.isdecimal() and (last or first).isdecimal() else None


def _overlap(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]
