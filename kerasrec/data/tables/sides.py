"""Detection of the side that a column describes: the user, the item or the context."""

from typing import Literal

import numpy as np

# Probability below which a constant value per group is not attributed to chance.
_LUCK = 1e-6


def side_of(
    column: np.ndarray, users: np.ndarray, items: np.ndarray
) -> Literal["user", "item", "context"]:
    """Find what a column describes, by the groups within which it is constant.

    A column that is constant within users is known before an item is chosen. So it is the user's
    even if it is constant within items as well. One that is constant within items only reveals the
    item.

    Example:

    >>> rows = np.arange(40)
    >>> side_of(rows % 10 // 2, users=rows // 10, items=rows % 10)
    'item'
    """
    if _is_constant_within(column, users):
        return "user"
    return "item" if _is_constant_within(column, items) else "context"


def _is_constant_within(column: np.ndarray, groups: np.ndarray) -> bool:
    """Return whether all rows of each group share a value, beyond chance."""
    order = np.argsort(groups, kind="stable")
    group, value = groups[order], column[order]
    same_group = group[1:] == group[:-1]
    if (same_group & (value[1:] != value[:-1])).any():
        return False
    # Independent values with the shares p agree in a group of m rows with probability sum(p ** m).
    counts = np.bincount(value)
    most = counts.max()
    relative = counts[counts > 0] / most  # relative to the largest, so that powers do not vanish
    sizes, groups_of_size = np.unique(np.bincount(group), return_counts=True)
    luck = sum(
        number * (size * np.log(most / len(value)) + np.log((relative**size).sum()))
        for size, number in zip(sizes, groups_of_size, strict=True)
        if size > 1
    )
    return bool(luck < np.log(_LUCK))
