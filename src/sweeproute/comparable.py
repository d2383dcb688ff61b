"""Refuses to put runs into one table that were not made from the same data, or not tested on the same games."""

import re
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from sweeproute.sweep_runs import FinishedRun

# Parameters that say which seasons train, calibrate and test begin so.
FOLDS = "validation."


class ComparisonError(LookupError):
    """Runs that do not belong into one table."""


def check_data(runs: Sequence[FinishedRun]) -> None:
    """Refuse runs of different data, chosen or not: the best of them would be that of the easier data.

    Raises:
        ComparisonError: In a sentence.
    """
    first: dict[str, FinishedRun] = {}
    for run in runs:
        first.setdefault(run.data_hash, run)
    if len(first) > 1:
        told = " and ".join(f"{_who(run)} from {hash[:12] or 'data without a hash'}" for hash, run in first.items())
        one = next(iter(filter(None, first)))
        raise ComparisonError(
            f"The sweep's runs were made from different data ({told}), so that no table can compare them; report "
            f"those of one alone: --where data_hash={one[:12]}."
        )


def check_games(runs: Sequence[FinishedRun], games: Mapping[str, pd.DataFrame]) -> None:
    """Refuse runs that were tested on different games.

    Args:
        runs: The runs.
        games: Their predictions by run id.

    Raises:
        ComparisonError: In a sentence.
    """
    first, frame = runs[0], games[runs[0].run_id]
    for run in runs[1:]:
        other = games[run.run_id]
        if not (frame["game_id"].equals(other["game_id"]) and frame["outcome"].equals(other["outcome"])):
            raise _other_games(first, _span(frame), run, _span(other))


def check_sizes(runs: Sequence[FinishedRun]) -> None:
    """Refuse, before anything is chosen, runs that were tested on other numbers of games.

    Raises:
        ComparisonError: In a sentence.
    """
    for run in runs:
        sizes = [one.metrics.get("n_games", float("nan")) for one in (runs[0], run)]
        if sizes[0] == sizes[0] != sizes[1] == sizes[1]:
            raise _other_games(runs[0], f"{sizes[0]:.0f} games", run, f"{sizes[1]:.0f}")


def _other_games(one: FinishedRun, games: str, other: FinishedRun, other_games: str) -> ComparisonError:
    known = sorted(one.params.keys() & other.params.keys())
    differs = [name for name in known if name.startswith(FOLDS) and one.params[name] != other.params[name]]
    cure = f"; report those of one alone: --where '{differs[0]}={one.params[differs[0]]}'" if differs else ""
    return ComparisonError(
        f"{_who(one)} was tested on {games}, {_who(other)} on {other_games}, so that no table can compare them{cure}."
    )


def _who(run: FinishedRun) -> str:
    return f"{run.model} {run.calibration}" + (f", job {run.job}," if run.job is not None else "")


def _span(games: pd.DataFrame) -> str:
    return f"{len(games)} games of {span(games['season'])}"


def span(seasons: Iterable[int]) -> str:
    """Seasons on one line.

    Example:
        >>> span([2018, 2019, 2019]), span([2018])
        ('2018–2019', '2018')
    """
    found = sorted({int(season) for season in seasons})
    if len(found) == 1:
        return str(found[0])
    if found == list(range(found[0], found[-1] + 1)):
        return f"{found[0]}–{found[-1]}"
    return ", ".join(map(str, found))


def apart(classes: Sequence[str]) -> list[str]:
    """Classes of device by the parts alone in which they differ.

    Example:
        >>> apart(["cpu;x86_64;threads=1", "cpu;arm64;threads=1"])
        ['x86_64', 'arm64']
    """
    parts = [re.split("[;,]", one) for one in classes]
    if len({len(part) for part in parts}) > 1:
        return list(classes)
    differing = [place for place in range(len(parts[0])) if len({part[place] for part in parts}) > 1]
    return [", ".join(part[place] for place in differing) for part in parts]
