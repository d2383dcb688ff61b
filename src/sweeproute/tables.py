"""Tables as plain data, and as CSV, JSON and text; what makes LaTeX of them stands in `latex`."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

# What stands for a value that is not there, in texts for people.
MISSING = "–"
# How a cell stands among those it is compared with.
BEST, TIED = "best", "tied"
_STANDINGS = {BEST: "*", TIED: "="}


@dataclass(frozen=True)
class Column:
    """A column: its key for programs, its title for people, and how its numbers are written for them."""

    key: str
    title: str
    # Digits behind the point; None for a column of text.
    decimals: int | None = None
    # Shown times 100, as per cent.
    percent: bool = False
    # Smaller values are shown as less than this.
    least: float | None = None


@dataclass(frozen=True)
class Cell:
    """A value with what is known of it."""

    # A text, a number, or nothing; never 0 for nothing. An empty text is a cell that stays blank.
    value: str | float | None = None
    # Ends of its interval.
    low: float | None = None
    high: float | None = None
    # Standard error of the mean over repeats.
    error: float | None = None
    # best where it is significantly better than all it is compared with, tied where it is not significantly worse than
    # the best; empty where it is worse, or nothing is tested.
    standing: str = ""
    # Letters that a note explains.
    mark: str = ""


@dataclass(frozen=True)
class Table:
    """A table of a report."""

    name: str
    caption: str
    label: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    # The number of the row before which a section begins, and its title.
    sections: tuple[tuple[int, str], ...] = ()
    # Sentences below the table.
    notes: tuple[str, ...] = field(default=())


def number(value: float | None) -> float | None:
    """A number for a cell: nothing in place of NaN."""
    return None if value is None or math.isnan(value) else float(value)


def to_csv(table: Table) -> str:
    """A table in full precision: columns of values and, where there are any, of ends, errors, standings and marks."""
    heads, cells = [], []
    for place, column in enumerate(table.columns):
        own = [row[place] for row in table.rows]
        for part in ("value", "low", "high", "error", "standing", "mark"):
            values = [getattr(cell, part) for cell in own]
            if part == "value" or any(value not in (None, "") for value in values):
                heads.append(column.key if part == "value" else f"{column.key}_{part}")
                cells.append(values)
    return rows_to_csv(heads, list(zip(*cells, strict=True)))


def rows_to_csv(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Rows of values in full precision; what is missing is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(heads)
    writer.writerows([_exact(value) for value in row] for row in rows)
    return text.getvalue()


def _exact(value: Any) -> Any:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return repr(float(value)) if isinstance(value, float) else value


def to_json(table: Table) -> str:
    """A table in full precision."""
    return json_text(asdict(table))


def json_text(content: Any, indent: int | None = 2) -> str:
    """Plain data as JSON: NaN as null, infinities as the strings that `float` takes back, keys in their order.

    Args:
        content: Mappings, lists and what JSON has.
        indent: Spaces of each level; None for all on one line.
    """
    return json.dumps(_plain(content), indent=indent, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {str(key): _plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_plain(value) for value in content]
    if isinstance(content, float) and not math.isfinite(content):
        return None if math.isnan(content) else ("Infinity" if content > 0 else "-Infinity")
    return content


def shown(cell: Cell, column: Column, part: str = "value") -> str | None:
    """A number of a cell as people read it; None where there is none.

    Args:
        cell: The cell.
        column: Its column.
        part: value, low, high or error.

    Example:
        >>> shown(Cell(0.0312), Column("roi", "ROI (%)", 1, percent=True)), shown(Cell(), Column("roi", "ROI", 1))
        ('3.1', None)
    """
    value = getattr(cell, part)
    if value is None or isinstance(value, str):
        return value or None
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if column.least is not None and value < column.least:
        return f"<{column.least:.{column.decimals or 0}f}"
    value = round(value * (100 if column.percent else 1), column.decimals or 0)
    # A zero has no sign.
    return f"{value + 0.0:.{column.decimals or 0}f}"


def to_text(table: Table) -> str:
    """A table for a terminal: * for what is significantly best, = for what ties with it."""
    lines: list[list[str]] = [[column.title for column in table.columns]]
    numeric = [column.decimals is not None for column in table.columns]
    for row in table.rows:
        line = []
        for cell, column in zip(row, table.columns, strict=True):
            text = shown(cell, column)
            mark = _STANDINGS.get(cell.standing, "")
            blank = column.decimals is None or cell.value == ""
            line.append((text if text is not None else "" if blank else MISSING) + mark)
            if cell.mark and column.decimals is None:
                line[-1] += f" ({cell.mark})"
        lines.append(line)
    # A mark stands behind the digits, which are to stand below each other.
    marked = [any(line[place][-1:] in _STANDINGS.values() for line in lines[1:]) for place in range(len(numeric))]
    for line in lines:
        for place, is_marked in enumerate(marked):
            if is_marked and line[place][-1:] not in _STANDINGS.values():
                line[place] += " "
    widths = [max(len(line[place]) for line in lines) for place in range(len(numeric))]
    drawn = [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in lines
    ]
    begun = dict(table.sections)
    told = [drawn[0], "-" * len(drawn[0])]
    for position, body in enumerate(drawn[1:]):
        if position in begun:
            told.append(begun[position])
        told.append(body)
    return "\n".join([table.caption, "", *told, "", *table.notes])
