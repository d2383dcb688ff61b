"""Sets rows of text under each other."""

from collections.abc import Sequence


def columns(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Set rows of text under each other, two spaces between columns.

    Args:
        rows: Cells, as many in each row.
        right: Numbers of the columns whose cells end alike, as numbers do.

    Returns:
        A line a row.

    Example:
        >>> print(*columns([("model", "jobs"), ("GLM", "12")], right=[1]), sep="\\n")
        model  jobs
        GLM      12
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if number in right else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
