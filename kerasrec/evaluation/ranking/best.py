"""Selection of the k highest scores of every row without sorting.

The k-th largest of the maxima of groups of columns is a bound that at least k scores of the row
reach, and few others. Only these are sorted. Rows with ties among them, or with fewer than k
scores, are partitioned as a whole.
"""

import dataclasses

import numpy as np

# Columns of a group, and least number of groups as a multiple of k. With fewer groups, too many
# scores reach the bound. A row in which more than _MANY times k do is partitioned as a whole.
_GROUP = 16
_GROUPS = 4
_MANY = 4


@dataclasses.dataclass(frozen=True, eq=False)
class Best:
    """Columns of the highest scores of some rows, in no particular order.

    Args:
        columns: `(rows, k)`.
        keys: the scores of these columns, negated; NaN where fewer than k are numbers.
        tied: for each row in which several scores equal the k-th, the columns of these. Higher
            scores come first in such a row, and `draw` fills the other places.
    """

    columns: np.ndarray
    keys: np.ndarray
    tied: dict[int, np.ndarray]

    def draw(self, rng: np.random.Generator) -> None:
        """Choose at random among the scores that tie with the k-th of a row."""
        for row in sorted(self.tied):
            keys = self.keys[row]
            higher = np.count_nonzero(keys < keys[-1])
            drawn = rng.choice(self.tied[row], len(keys) - higher, replace=False)
            self.columns[row, higher:] = drawn


def best_columns(scores: np.ndarray, k: int) -> Best:
    """Find the k highest scores of every row.

    Args:
        scores: float32 `(rows, width)`; NaN is lower than all numbers.
        k: number of scores, at most `width`.

    Example:

    >>> found = best_columns(np.array([[1, 5, 3, np.nan], [2, 2, 2, 7]], np.float32), 2)
    >>> sorted(found.columns[0].tolist()), found.columns[1, 0].tolist(), found.tied[1].tolist()
    ([1, 2], 3, [0, 1, 2])
    """
    rows = len(scores)
    found = Best(np.empty((rows, k), np.int64), np.empty((rows, k), scores.dtype), {})
    done = _by_bound(scores, k, found)
    _as_a_whole(scores, np.flatnonzero(~done), found)
    return found


def _by_bound(scores: np.ndarray, k: int, found: Best) -> np.ndarray:
    """Fill the rows whose k highest scores are distinct. Return a mask of the rows filled."""
    rows, width = scores.shape
    groups = width // _GROUP
    if groups < _GROUPS * k:
        return np.zeros(rows, bool)
    # Any grouping of columns is valid. Strided groups let numpy compare them elementwise.
    grouped = scores[:, : groups * _GROUP].reshape(rows, _GROUP, groups)
    keys = -np.fmax.reduce(grouped, axis=1)
    keys.partition(k - 1, axis=1)  # NaN sorts last
    at = np.flatnonzero(scores >= -keys[:, k - 1 : k])
    row = at // width
    count = np.bincount(row, minlength=rows)
    few = (count >= k) & (count <= _MANY * k + _GROUP)
    at, row = at[few[row]], row[few[row]]
    value = scores.reshape(-1)[at]
    order = np.lexsort((-value, row))
    at, value = at[order], value[order]
    count = count[few]
    index = (np.cumsum(count) - count)[:, None] + np.arange(k)
    last = index[:, -1]
    equal = np.zeros(len(value) + 1, bool)  # each score and the one before it
    equal[1:-1] = value[1:] == value[:-1]
    tied = equal[index[:, 1:]].any(axis=1) | (equal[last + 1] & (count > k))
    done = np.flatnonzero(few)[~tied]
    found.columns[done] = at[index[~tied]] % width
    found.keys[done] = -value[index[~tied]]
    filled = np.zeros(rows, bool)
    filled[done] = True
    return filled


def _as_a_whole(scores: np.ndarray, rows: np.ndarray, found: Best) -> None:
    """Fill the given rows by partitioning all their scores."""
    width, k = scores.shape[1], found.columns.shape[1]
    keys = -scores[rows]  # NaN sorts last, as the lowest score must
    if k == width:
        found.columns[rows] = np.arange(width)
        found.keys[rows] = keys
        return
    columns = np.argpartition(keys, k - 1, axis=1)[:, :k]
    found.columns[rows] = columns
    found.keys[rows] = np.take_along_axis(keys, columns, axis=1)
    last = found.keys[rows].max(axis=1, keepdims=True)  # NaN where fewer are left
    several = np.flatnonzero((keys == last).sum(axis=1) > 1)
    for row, some, bound in zip(rows[several].tolist(), keys[several], last[several], strict=True):
        higher = np.flatnonzero(some < bound)
        found.columns[row, : len(higher)] = higher
        found.keys[row, : len(higher)] = some[higher]
        found.keys[row, len(higher) :] = bound
        found.tied[row] = np.flatnonzero(some == bound).astype(np.int32)
