"""Cross-validation folds: repeated k-fold, and windows along time."""

from collections.abc import Iterator

import numpy as np

from kerasrec._checks import check_integer
from kerasrec.data.splits.split import Split, global_time_split, k_fold
from kerasrec.data.tables.interactions import Interactions


def repeated_k_fold(
    interactions: Interactions,
    *,
    folds: int = 5,
    repeats: int = 2,
    seed: int = 0,
    valid: float = 0.0,
) -> Iterator[Split]:
    """Repeat `k_fold` with the seeds `seed`, `seed + 1`, ....

    Args:
        interactions: see `k_fold`.
        folds: see `k_fold`.
        valid: see `k_fold`.
        repeats: number of times the rows are shuffled and cut.
        seed: seed of the first shuffle.

    Raises:
        ValueError: if `repeats` is less than 1, or as in `k_fold`.

    Example:

    >>> rows = Interactions.from_table(
    ...     {"user_id": [1, 1, 2, 2], "item_id": [5, 6, 5, 6]}, label=None, time=None)
    >>> [len(split.test) for split in repeated_k_fold(rows, folds=2, repeats=2)]
    [2, 2, 2, 2]
    """
    check_integer("repeated_k_fold", "repeats", repeats, 1)
    cut = [
        k_fold(interactions, folds=folds, seed=seed + repeat, valid=valid)
        for repeat in range(repeats)
    ]
    return (split for splits in cut for split in splits)


def time_folds(
    interactions: Interactions, *, folds: int = 5, valid: bool = False
) -> Iterator[Split]:
    """Split into test windows along time, each after all rows it is trained on.

    The rows are cut at `folds` moments into `folds + 1` blocks of about equal size, rows of the
    same time in one block. Fold i trains on the first i blocks and tests on the next. With `valid`
    there is one more block, and the block before the test block is the valid part. Rows after the
    test block are in no part, since they are in the future.

    Args:
        interactions: the rows, with a time column.
        folds: number of folds.
        valid: whether the block before the test block is for validation.

    Raises:
        ValueError: without a time column or enough different times, or if `folds` is not positive.

    Example:

    >>> rows = Interactions.from_table({
    ...     "user_id": [1, 1, 2, 2], "item_id": [5, 6, 5, 6], "timestamp": [1, 2, 3, 4]},
    ...     label=None)
    >>> [(len(split.train), len(split.test)) for split in time_folds(rows, folds=3)]
    [(1, 1), (2, 1), (3, 1)]
    """
    check_integer("time_folds", "folds", folds, 1)
    if interactions.time is None:
        raise ValueError(
            f"time_folds: expected a time column; these interactions have {interactions.columns}. "
            "Without time, use k_fold."
        )
    time = interactions.column(interactions.time)
    blocks = folds + 1 + valid
    ordered = np.sort(time)
    # First time of every block except the first. An end after all rows is appended below.
    starts = ordered[np.arange(1, blocks) * len(ordered) // blocks] if len(ordered) else ordered
    cuts = [int(start) for start in starts]
    if len(ordered) < blocks or len({int(ordered[0]), *cuts}) < blocks:
        raise ValueError(
            f"time_folds: {folds} folds need {blocks} blocks of different times; the "
            f"{len(time)} rows have {len(np.unique(time))} times, and some are too frequent. Use "
            "fewer folds."
        )
    cuts.append(int(ordered[-1]) + 1)
    return (
        global_time_split(
            interactions.take(time < cuts[at + 1 + valid]), cuts=(cuts[at], cuts[at + valid])
        )
        for at in range(folds)
    )
