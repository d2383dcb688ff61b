"""The trade-offs between several objectives: the front that nothing dominates, with its knee."""

from collections.abc import Sequence

# Distances, on a front that is scaled to [0, 1], that differ by less are the same but for rounding.
_SAME = 1e-9

# The values of one trial's objectives, of each of which less is better.
Losses = Sequence[float]


def front(points: Sequence[Losses]) -> list[int]:
    """Find the points that no other dominates: none is at least as good in everything, and better in something.

    Args:
        points: Losses by (point, objective), all finite, as many objectives in each.

    Returns:
        Positions of the points on the front, ascending. Of points that are equal in everything the first one stands
        for all.

    Example:
        >>> front([(1, 4), (2, 2), (3, 3), (4, 1), (2, 2)])
        [0, 1, 3]
    """
    found: list[int] = []
    # In this order a point is dominated only by points before it, and then by one that is on the front itself.
    for position in sorted(range(len(points)), key=lambda position: (*points[position], position)):
        losses = points[position]
        if not any(all(a <= b for a, b in zip(points[other], losses, strict=True)) for other in found):
            found.append(position)
    return sorted(found)


def knee(points: Sequence[Losses]) -> int:
    """Find the point of a front where it bulges most towards the ideal.

    Each objective is scaled to [0, 1] over the front. The extreme points, one an objective, are those that are best in
    it; the knee is the point farthest from the hyperplane through them (the straight line, of two objectives), on the
    side of the ideal, which is best in everything [1]_.

    Of points that are equally far the one that is best in the first objective is the knee, and of such equals the
    first. So it is in a front of two points, or one that bulges nowhere towards the ideal: there the extreme points
    themselves are farthest, at no distance. An objective in which all are equal does not count. Where the extreme
    points give no hyperplane, since one is best in two objectives or since the ideal lies on it, the one through the
    worst of each objective alone stands in, on which all scaled losses add up to 1.

    Args:
        points: Losses by (point, objective) of a front, at least one point, as `front` leaves them.

    Returns:
        The knee's position.

    References:
        .. [1] Das, I. (1999). On characterizing the "knee" of the Pareto curve based on normal-boundary intersection.
           Structural Optimization 18, 107-115.

    Example:
        >>> knee([(0.0, 1.0), (0.1, 0.3), (0.6, 0.2), (1.0, 0.0)])
        1
    """
    scaled = _scaled(points)
    extremes = [min(scaled, key=lambda losses: (losses[axis], sum(losses))) for axis in range(len(scaled[0]))]
    normal = _solved(extremes) or [1.0] * len(extremes)
    length = sum(part * part for part in normal) ** 0.5
    # The hyperplane is where the product with the normal is 1; the ideal, of which it is 0, lies on the positive side.
    heights = [(1 - sum(n * x for n, x in zip(normal, losses, strict=True))) / (length or 1) for losses in scaled]
    farthest = max(heights)
    return min(
        (position for position, height in enumerate(heights) if height >= farthest - _SAME),
        key=lambda position: points[position][0],
    )


def _scaled(points: Sequence[Losses]) -> list[list[float]]:
    """Losses in [0, 1] over the points, without the objectives in which all points are equal."""
    axes = [(min(axis), max(axis)) for axis in zip(*points, strict=True)]
    return [
        [(loss - low) / (high - low) for loss, (low, high) in zip(losses, axes, strict=True) if high > low]
        for losses in points
    ]


def _solved(rows: Sequence[Losses]) -> list[float] | None:
    """Solve rows · x = 1 by Gaussian elimination with partial pivoting; None where there is no one solution."""
    size = len(rows)
    left = [[*row, 1.0] for row in rows]
    for column in range(size):
        pivot = max(range(column, size), key=lambda row: abs(left[row][column]))
        if abs(left[pivot][column]) < _SAME:
            return None
        left[column], left[pivot] = left[pivot], left[column]
        for row in range(size):
            if row != column:
                factor = left[row][column] / left[column][column]
                left[row] = [a - factor * b for a, b in zip(left[row], left[column], strict=True)]
    return [left[row][size] / left[row][row] for row in range(size)]
