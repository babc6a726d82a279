"""Counts of the candidates that score higher than a positive, or the same.

Two methods give the same counts. Comparing a value with the scores of its row takes two passes over
the row. Sorting takes one pass that copies the scores at or above the lowest of several values, and
a sort of the copy. A sample of the columns estimates how many scores reach each value. From that
follows for which values of a row sorting is cheaper: usually the high ones, which few scores reach.
"""

import threading
from collections.abc import Iterator

import numpy as np

# Columns compared at a time, so that scores and flags stay in the cache of a core.
_TILE = 1 << 16
# Flags of comparisons made at once. There are many, since a thread waits for the interpreter's lock
# between numpy calls, and calls of a few microseconds would effectively run one by one.
_FLAGS = 5 << 18
# Sample: number of runs, and columns of a run, which share a cache line. Sampling only pays for a
# row with at least _SEVERAL values.
_RUNS = 40
_RUN = 16
_SEVERAL = 10
# Cost of sorting in units of one comparison with the row: the copying pass, and copying and sorting
# the whole row. Cost of the calls, in scores. Share of scores from which a row is sorted in place.
_COPY_COST = 1.2
_SORT_COST = 18.0
_CALL_COST = 50_000
_IN_PLACE = 0.5
# Flags are bytes of 0 or 1. This many 8-byte words add up without a carry between bytes.
_WORDS = 255

_local = threading.local()


def count_better(
    scores: np.ndarray, row: np.ndarray, value: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Count for each value how many scores of its row are greater, and how many are equal.

    Adjacent rows with equally many values are compared together.

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
    if not len(row):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    order = np.lexsort((value, row))
    values = value[order]
    start = np.flatnonzero(np.diff(row, prepend=-1))
    many = np.diff(start, append=len(row))
    rows = row[start]
    counts = np.zeros((2, len(row)), np.int64)
    compared = many if many.max() < _SEVERAL else _compared(scores, rows, start, many, values)
    for some, lines, number in _groups(scores, rows, compared):
        at = start[some, None] + np.arange(number)
        counts[:, at] = _compare(lines, values[at])
    for i in np.flatnonzero(compared < many).tolist():
        part = slice(start[i] + compared[i], start[i] + many[i])
        _by_sorting(scores[rows[i]], values[part], counts[:, part])
    found = np.empty_like(counts)
    found[:, order] = counts
    return found[0], found[1] - found[0]


def _compared(
    scores: np.ndarray, rows: np.ndarray, start: np.ndarray, many: np.ndarray, values: np.ndarray
) -> np.ndarray:
    """Return how many of the lowest values of each row to compare. The others are sorted."""
    height, width = scores.shape
    run = max(_RUN, width // _RUNS)
    runs = max(1, width // run)
    sample = scores[:, : runs * run].reshape(height, runs, -1)[:, :, :_RUN].reshape(height, -1)
    reached = np.empty(len(values))
    for some, lines, number in _groups(sample, rows, many):
        at = start[some, None] + np.arange(number)
        reached[at] = _compare(lines, values[at], ties=False)[1]
    index = np.arange(len(values)) - np.repeat(start, many)
    sorting = _COPY_COST + _CALL_COST / width + _SORT_COST * reached / sample.shape[1]
    cost = index + sorting  # if this is the lowest value counted by sorting
    least = np.minimum.reduceat(cost, start)
    cheapest = np.flatnonzero(cost == np.repeat(least, many))
    first = index[cheapest[np.searchsorted(cheapest, start)]]
    return np.where((least < many) & (many >= _SEVERAL), first, many)


def _groups(
    scores: np.ndarray, rows: np.ndarray, number: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Group rows to compare together: their places, scores, and number of values each."""
    begins = np.ones(len(rows), bool)  # rows that cannot be grouped with the previous row
    begins[1:] = (np.diff(number) != 0) | (np.diff(rows) != 1)
    ends = [*np.flatnonzero(begins)[1:].tolist(), len(rows)]
    tile = min(_TILE, scores.shape[1])
    for i, j in zip(np.flatnonzero(begins).tolist(), ends, strict=True):
        if not (values := int(number[i])):
            continue
        step = max(1, _FLAGS // (tile * values))
        for k in range(i, j, step):
            some = np.arange(k, min(k + step, j))
            yield some, scores[rows[k] : rows[k] + len(some)], values


def _compare(lines: np.ndarray, values: np.ndarray, *, ties: bool = True) -> np.ndarray:
    """Count the scores `(rows, width)` that are greater (if `ties`) and not less.

    Return int64 `(2, rows, values)` for values `(rows, values)`: greater, then not less.
    """
    width = lines.shape[1]
    counts = np.zeros((2, *values.shape), np.int64)
    tiles = -(-width // _TILE)
    step = -(-width // tiles)
    words = -(-step // 8)
    groups = -(-words // _WORDS)
    each = -(-words // groups)
    bytes_ = groups * each * 8
    flags = _scratch(values.size * bytes_).reshape(values.size, bytes_)
    for at in range(0, width, step):
        tile = lines[:, None, at : at + step]
        length = tile.shape[2]
        flags[:, length:] = False
        found = flags.reshape(*values.shape, bytes_)[..., :length]
        for count, compare in zip(counts, (np.greater, np.greater_equal), strict=True):
            if not ties and compare is np.greater:
                continue
            compare(tile, values[:, :, None], out=found)
            sums = np.einsum("vgw->vg", flags.view(np.uint64).reshape(-1, groups, each))
            count += sums.view(np.uint8).sum(axis=1, dtype=np.int64).reshape(values.shape)
    return counts


def _scratch(size: int) -> np.ndarray:
    """Return reusable memory of this thread for flags, since allocating is as slow as counting."""
    if len(getattr(_local, "flags", ())) < size:
        _local.flags = np.empty(size, bool)
    flags: np.ndarray = _local.flags
    return flags[:size]


def _by_sorting(line: np.ndarray, values: np.ndarray, counts: np.ndarray) -> None:
    """Write the counts of ascending values, by sorting the scores that reach the lowest."""
    flags = np.greater_equal(line, values[0], out=_scratch(len(line)))
    kept = np.compress(flags, line)
    kept.sort()
    counts[0] = len(kept) - np.searchsorted(kept, values, side="right")
    counts[1] = len(kept) - np.searchsorted(kept, values, side="left")
