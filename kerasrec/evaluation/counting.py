"""How many candidates score higher than a positive, and how many the same."""

import numpy as np

# Rows up to this width are compared many at a time, wider ones one by one: that costs a few calls
# a row, and saves copying the row for each of its positives.
_NARROW = 4096
# Bytes of flags at a time, so that they stay in a core's cache.
_FLAGS = 1 << 18
# What sorting one score costs, in scores compared with one value for greater and for equal.
_SORT_COST = 32


def count_better(
    scores: np.ndarray, row: np.ndarray, value: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For each value, how many scores of its row are greater, and how many are equal.

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
    greater, tied = np.zeros(len(row), np.int64), np.zeros(len(row), np.int64)
    width = scores.shape[1]
    step = max(1, _FLAGS // max(width, 1))
    if width <= _NARROW:
        for part in (slice(start, start + step) for start in range(0, len(row), step)):
            lines, values = scores[row[part]], value[part, None]
            greater[part] = np.count_nonzero(lines > values, axis=1)
            tied[part] = np.count_nonzero(lines == values, axis=1)
        return greater, tied
    flags = np.empty((step, width), bool)
    starts = np.flatnonzero(np.diff(row, prepend=-1))
    for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), len(row)], strict=True):
        line, values = scores[row[start]], value[start:stop]
        if stop - start > 3:
            # Only what is no lower than the lowest value matters: sorted, if that is little.
            flag = np.greater_equal(line, values.min(), out=flags[0])
            listed = np.count_nonzero(flag)
            if _SORT_COST * listed + 2 * width < (stop - start) * width:
                ordered = np.sort(np.compress(flag, line))
                up_to = np.searchsorted(ordered, values, side="right")
                greater[start:stop] = listed - up_to
                tied[start:stop] = up_to - np.searchsorted(ordered, values, side="left")
                continue
        for begin in range(start, stop, step):
            some = value[begin : min(begin + step, stop), None]
            flag = flags[: len(some)]
            np.greater(line, some, out=flag)
            for i, one in enumerate(flag):
                greater[begin + i] = np.count_nonzero(one)
            np.equal(line, some, out=flag)
            if flag.any():  # rare, and cheaper to ask than to count
                for i, one in enumerate(flag):
                    tied[begin + i] = np.count_nonzero(one)
    return greater, tied
