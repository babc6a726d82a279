"""Cleaning of interactions: missing values, duplicates, k-core and outliers."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kerasrec._checks import check_choice, check_integer, check_number
from kerasrec.data.tables.arrow import columns_of, is_text, joined, to_arrow
from kerasrec.data.tables.interactions import Interactions


def drop_missing(data: Any, columns: Sequence[str] | None = None) -> pa.Table:
    """Drop the rows of a table with a null, NaN or empty string.

    Args:
        data: a dict of columns or a table of the Arrow protocol.
        columns: the columns to check; None for all.

    Raises:
        ValueError: if a column does not exist, or no row is complete.

    Example:

    >>> drop_missing({"user_id": ["a", "", "c"], "rating": [1.0, 2.0, float("nan")]}).num_rows
    1
    """
    source = {
        name: to_arrow(column, f"column {name!r}") for name, column in columns_of(data).items()
    }
    names = list(source) if columns is None else list(columns)
    if isinstance(columns, str) or not set(names) <= set(source):
        raise ValueError(
            f"drop_missing: columns must be a sequence of names among {list(source)}; received "
            f"{columns!r}."
        )
    table = joined(source)
    complete = np.ones(table.num_rows, bool)
    for name in names:
        complete &= ~missing_values(table[name])
    if not complete.any():
        raise ValueError(
            f"drop_missing: none of the {table.num_rows} rows has a value in each of the columns "
            f"{names}. Name fewer columns, or fill them in."
        )
    return table.filter(pa.array(complete))


def missing_values(column: pa.ChunkedArray) -> np.ndarray:
    """Return a mask `(rows,)` of the nulls, NaN and empty strings of a column."""
    missing = pc.is_null(column, nan_is_null=True)
    if is_text(column.type):
        missing = pc.or_(missing, pc.fill_null(pc.equal(pc.binary_length(column), 0), True))
    return np.asarray(missing.to_numpy())


def deduplicate(
    interactions: Interactions, policy: Literal["last", "mean", "error"] = "last"
) -> Interactions:
    """Keep one row for each (user, item) pair.

    Args:
        interactions: the rows, read with `duplicates="keep"`.
        policy: "last" keeps the row with the latest time (for equal times, or without a time
            column, the later one in the file). "mean" keeps the same row with the mean of the
            pair's labels. "error" rejects duplicates.

    Returns:
        The kept rows in their order.

    Raises:
        ValueError: if the policy is "error" and a pair repeats, or "mean" and there is no label.

    Example:

    >>> rows = Interactions.from_table({"user_id": [1, 1, 2], "item_id": [5, 5, 5],
    ...     "rating": [2, 4, 3]}, time=None, duplicates="keep")
    >>> deduplicate(rows, "mean").column("rating").tolist()
    [3.0, 3.0]
    """
    check_choice("deduplicate", "policy", policy, ("last", "mean", "error"))
    if policy == "error":
        interactions.refuse_duplicates()
        return interactions
    pairs = interactions.pairs()
    keys = (
        (pairs,) if interactions.time is None else (interactions.column(interactions.time), pairs)
    )
    order = np.lexsort(keys)
    ends = np.flatnonzero(np.append(np.diff(pairs[order]) != 0, True)) if len(order) else order
    kept = np.sort(order[ends])
    if policy == "last":
        return interactions.take(kept)
    if interactions.label is None:
        raise ValueError(
            "deduplicate: policy 'mean' needs a label column; these interactions have none. Use "
            "policy 'last'."
        )
    distinct, group = np.unique(pairs, return_inverse=True)
    labels = interactions.column(interactions.label).astype(np.float64)
    means = np.bincount(group, labels, len(distinct)) / np.bincount(group, minlength=len(distinct))
    return interactions.take(kept).with_column(interactions.label, means[group[kept]])


def k_core(interactions: Interactions, *, user: int = 5, item: int = 5) -> Interactions:
    """Keep the largest set of rows in which all users and items have enough rows.

    Args:
        interactions: the rows.
        user: least number of rows of a user.
        item: least number of rows of an item.

    Raises:
        ValueError: if a minimum is below 1, or no rows are left.

    Example:

    >>> rows = Interactions.from_table({"user_id": [1, 1, 2, 2, 3], "item_id": [5, 6, 5, 6, 7]},
    ...     label=None, time=None)
    >>> len(k_core(rows, user=2, item=2))
    4
    """
    for name, value in (("user", user), ("item", item)):
        check_integer("k_core", name, value, 1)
    sides = [_Side(interactions.codes(interactions.user), user)]
    sides.append(_Side(interactions.codes(interactions.item), item))
    kept = np.ones(len(interactions), bool)
    found = [side.short(np.arange(len(side.counts))) for side in sides]
    while any(len(short) for short in found):
        # Visit only the rows of ids that have just become short, each once.
        rows = np.concatenate([side.rows(short) for side, short in zip(sides, found, strict=True)])
        rows = np.unique(rows[kept[rows]])
        kept[rows] = False
        found = [side.remove(rows) for side in sides]
    if not kept.any():
        raise ValueError(
            f"k_core: no rows are left of {len(interactions)} with at least {user} rows a user and "
            f"{item} an item. Lower the minimum."
        )
    return interactions.take(np.flatnonzero(kept))


class _Side:
    """Users or items of some rows, with the number of rows each has left."""

    def __init__(self, codes: np.ndarray, least: int) -> None:
        self.codes, self.least = codes, least
        self.counts = np.bincount(codes)
        self._order = np.argsort(codes, kind="stable")
        self._start = np.cumsum(self.counts) - self.counts
        self._size = self.counts.copy()

    def short(self, ids: np.ndarray) -> np.ndarray:
        """Return those of the ids that have rows, but too few."""
        return ids[(self.counts[ids] > 0) & (self.counts[ids] < self.least)]

    def rows(self, ids: np.ndarray) -> np.ndarray:
        """Return all rows of some ids, removed ones included."""
        size = self._size[ids]
        within = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
        return self._order[np.repeat(self._start[ids], size) + within]

    def remove(self, rows: np.ndarray) -> np.ndarray:
        """Mark rows as removed, and return the ids that now have too few rows."""
        codes = self.codes[rows]
        np.subtract.at(self.counts, codes, 1)
        return self.short(np.unique(codes))


def drop_outliers(
    interactions: Interactions,
    *,
    low: float | None = None,
    high: float | None = None,
    z_score: float | None = None,
) -> Interactions:
    """Keep the rows whose label lies in a range.

    Args:
        interactions: the rows.
        low: least label that is kept.
        high: greatest label that is kept.
        z_score: greatest distance from the mean that is kept, in standard deviations of all labels.

    Raises:
        ValueError: if there is no label, no limit, or no row within the limits.

    Example:

    >>> rows = Interactions.from_table({"user_id": [1, 2, 3], "item_id": [5, 6, 7],
    ...     "rating": [0, 4, 99]}, time=None)
    >>> drop_outliers(rows, low=1, high=5).column("rating").tolist()
    [4.0]
    """
    if interactions.label is None:
        raise ValueError("drop_outliers: expected interactions with a label column; there is none.")
    if low is None and high is None and z_score is None:
        raise ValueError("drop_outliers: expected one of low, high and z_score; received none.")
    if z_score is not None:
        check_number("drop_outliers", "z_score", z_score, zero=False, numpy=True)
    labels = interactions.column(interactions.label).astype(np.float64)
    kept = np.ones(len(labels), bool)
    if low is not None:
        kept &= labels >= low
    if high is not None:
        kept &= labels <= high
    if z_score is not None and len(labels):
        kept &= np.abs(labels - labels.mean()) <= z_score * labels.std()
    if not kept.any():
        raise ValueError(
            f"drop_outliers: no label of {len(labels)} rows is within low={low}, high={high}, "
            f"z_score={z_score}. Widen the range."
        )
    return interactions.take(kept)
