"""How many candidates score higher than a positive, and how many the same."""

from collections.abc import Iterator

import numpy as np

# Flags of comparisons made at once. Many, since between its calls of numpy a thread waits for the
# other threads to let go of the interpreter's lock: calls of a few microseconds run one by one.
_FLAGS = 5 << 18
# From so many positives on, it is worth a comparison to learn whether a sort is cheaper.
_MANY = 10
# What sorting one score costs, in scores compared with one value for greater and for equal; and
# what comes on top, in such scores for each score of the row.
_SORT_COST = 40
_SORT_START = 4
# Flags are bytes of 0 or 1; so many words of eight add up without a carry between the bytes.
_WORDS = 255


def count_better(
    scores: np.ndarray, row: np.ndarray, value: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For each value, how many scores of its row are greater, and how many are equal.

    Rows next to each other that have equally many values are compared in one go.

    Args:
        scores: float32 `(rows, width)`; NaN counts as neither.
        row: `(values,)` row of each value, ascending.
        value: float32 `(values,)`, none of them NaN.

    Returns:
        Two int64 arrays `(values,)`.

    Example:

    >>> scores = np.array([[1, 2, 2, np.nan]], np.float32)
    >>> greater, tied = count_better(scores, np.array([0, 0]), np.array([1, 2], np.float32))
    >>> greater.tolist(), tied.tolist()
    ([2, 0], [1, 2])
    """
    greater, reached = np.zeros(len(row), np.int64), np.zeros(len(row), np.int64)
    if not len(row):
        return greater, reached
    compare = _Comparison(scores.shape[1], len(row))
    for start, first, rows, many in _groups(row, compare.most):
        stop = start + rows * many
        if many >= _MANY and _by_sorting(
            scores[first], value[start:stop], greater[start:stop], reached[start:stop], compare
        ):
            continue
        lines, values = scores[first : first + rows], value[start:stop].reshape(rows, many)
        for at in range(0, many, compare.most):
            counts = compare(lines, values[:, at : at + compare.most])
            part = slice(start + at, start + at + counts.shape[1])
            greater[part], reached[part] = counts
    return greater, reached - greater


def _groups(row: np.ndarray, most: int) -> Iterator[tuple[int, int, int, int]]:
    """First value, first row, rows, and values of each row, for rows compared in one go."""
    starts = np.flatnonzero(np.diff(row, prepend=-1))
    counts = np.diff(starts, append=len(row))
    begins = np.ones(len(starts), bool)  # rows that cannot go with the row before
    begins[1:] = (np.diff(counts) != 0) | (np.diff(row[starts]) != 1) | (counts[1:] >= _MANY)
    begin = np.flatnonzero(begins)
    for i, j in zip(begin.tolist(), [*begin[1:].tolist(), len(starts)], strict=True):
        many = int(counts[i])
        for k in range(i, j, step := max(1, most // many)):
            yield int(starts[k]), int(row[starts[k]]), min(step, j - k), many


class _Comparison:
    """Compares rows with values, in memory of its own."""

    def __init__(self, width: int, values: int) -> None:
        words = max(1, -(-width // 8))
        groups = -(-words // _WORDS)
        each = -(-words // groups)
        self.width, self.most = width, max(1, min(_FLAGS // (8 * words), values))
        # (greater or no less, value, score); the columns beyond the width stay zero.
        self._flags = np.zeros((2, self.most, groups * each * 8), bool)
        self._words = self._flags.view(np.uint64).reshape(2, self.most, groups, each)

    def __call__(self, lines: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Of the scores `(rows, width)`, how many are greater and how many are no less.

        Gives `(2, rows * values of a row)` for values `(rows, values of a row)`.
        """
        shape = (*values.shape, -1)
        flags = self._flags[:, : values.size]
        for compare, found in zip((np.greater, np.greater_equal), flags, strict=True):
            compare(lines[:, None], values[:, :, None], out=found.reshape(shape)[..., : self.width])
        return self._count(values.size)

    def reaching(self, line: np.ndarray, value: np.floating) -> tuple[int, np.ndarray]:
        """How many scores `(width,)` are no less than the value, and which."""
        np.greater_equal(line, value, out=self._flags[0, 0, : self.width])
        return int(self._count(1)[0, 0]), self._flags[0, 0, : self.width]

    def _count(self, values: int) -> np.ndarray:
        sums = np.add.reduce(self._words[:, :values], axis=3)
        return sums.view(np.uint8).sum(axis=2, dtype=np.int64)


def _by_sorting(
    line: np.ndarray,
    values: np.ndarray,
    greater: np.ndarray,
    reached: np.ndarray,
    compare: _Comparison,
) -> bool:
    """Sorts the scores that reach the lowest value, if that costs less than comparing all."""
    listed, which = compare.reaching(line, values.min())
    if _SORT_COST * listed + _SORT_START * len(line) >= len(values) * len(line):
        return False
    ordered = np.sort(line[which])
    greater[:] = listed - np.searchsorted(ordered, values, side="right")
    reached[:] = listed - np.searchsorted(ordered, values, side="left")
    return True
