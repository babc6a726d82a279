"""Batches that train a model to tell the next item of each user."""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from kerasrec.data import blocks
from kerasrec.data import columns as check
from kerasrec.data.blocks import Arrays, block_dataset, count_batches
from kerasrec.data.packing import pack
from kerasrec.data.sequences import first_rows, history_features, in_order
from kerasrec.schema import Schema
from kerasrec.types import Columns

PLACE = "place"
"""Feature beside the history: the place of each step in its own sequence, 0 where one begins."""


def next_items(
    columns: Columns,
    schema: Schema,
    *,
    batch_size: int,
    time: str | None = "timestamp",
    targets: str = "all",
    pack_rows: bool = True,
    shuffle: bool = True,
    seed: int = 0,
) -> tf.data.Dataset:
    """One sequence per user: at each step the items so far, and as the target the next one.

    Of a user with more than `max_length + 1` items the newest are taken. Sequences of several users
    share a row, so that next to no padding is computed and all batches have one shape, which XLA
    compiles once; `place` tells where a new sequence begins:

        history   a b c x y    with a row of width 5, user 1: a b c d, user 2: x y z
        place     0 1 2 0 1
        target    b c d y z

    A user's steps never see another user's, nor anything later: that is up to the model, which
    `kerasrec.testing.check_model` checks. Rows beyond the last one are empty (0 everywhere).

    Args:
        columns: encoded training columns, one row per interaction.
        schema: has a `Sequence` of the item id among its user or context features, whose
            `max_length` is the width of a row.
        batch_size: rows of a batch; all replicas of a distribution strategy together.
        time: name of the time column, ties in the order of the file; None if the rows of each user
            are in order already.
        targets: "all" for the next item at every step, "last" for each user's newest item alone.
        pack_rows: whether users share rows; otherwise each has one, right-padded.
        shuffle: whether each pass has another order and other users together.
        seed: of the order.

    Returns:
        dataset of (dict of int32 `history` and `place` `(batch_size, max_length)`, int32 target
        item `(batch_size, max_length)`, 0 where there is none); its cardinality is known.

    Raises:
        ValueError: if the schema has no such sequence, a column is missing, empty or of another
            length or dtype, no user has two rows, or an argument is out of range.

    Example:

    >>> from kerasrec.schema import Categorical, Sequence
    >>> schema = Schema(
    ...     user=[Categorical("user", 4), Sequence("history", of="item", max_length=3)],
    ...     item=[Categorical("item", 9)],
    ... )
    >>> columns = {
    ...     "user": np.array([2, 2, 2, 3, 3], np.int32),
    ...     "item": np.array([7, 5, 6, 8, 4], np.int32),
    ...     "timestamp": np.array([30, 10, 20, 1, 2]),
    ... }
    >>> features, target = next(iter(next_items(columns, schema, batch_size=1)))
    >>> features["history"].numpy().tolist(), target.numpy().tolist()
    ([[5, 6, 8]], [[6, 7, 4]])
    >>> features["place"].numpy().tolist()
    [[0, 1, 0]]
    """
    owner = "next_items"
    feature = history_features(schema, owner)[0]
    check.check_integer(owner, "batch_size", batch_size, 1)
    check.check_integer(owner, "seed", seed, 0)
    if targets not in ("all", "last"):
        raise ValueError(f"{owner}: targets must be 'all' or 'last'; received {targets!r}.")
    names = [schema.user_id.name, schema.item_id.name] + ([] if time is None else [time])
    for name in names:
        check.column(columns, name, owner)
    check.check_rows(columns, names, owner)
    _, users, items = in_order([columns], schema, time, owner)
    begins = first_rows(users)
    ends = np.append(begins[1:], len(users))
    enough = ends - begins >= 2
    if not enough.any():
        raise ValueError(
            f"{owner}: no user has the two rows that an item and its successor take. Pass all rows "
            "of the users, not a sample of rows."
        )
    width = feature.max_length
    ends = ends[enough] - 1  # the newest item has no successor
    begins = np.maximum(begins[enough], ends - width)
    lengths = ends - begins
    packing = pack(lengths, width, alone=not pack_rows)
    by_row = np.argsort(packing.row, kind="stable")
    row, offset, slot_lengths = (a[by_row] for a in (packing.row, packing.offset, packing.lengths))
    first_slot = np.searchsorted(row, np.arange(packing.num_rows + 1))
    batches = count_batches(owner, packing.num_rows, batch_size, False)
    step = max(1, blocks.BLOCK_VALUES // (3 * batch_size * width))

    def make(rows: np.ndarray, begin: np.ndarray, count: int) -> Arrays:
        """The block of `count` batches that holds these rows."""
        arrays = [np.zeros((count * batch_size, width), np.int32) for _ in range(3)]
        chosen = first_slot[rows + 1] - first_slot[rows]
        slot = _ranges(first_slot[rows], chosen)
        length = slot_lengths[slot]
        start = np.repeat(np.arange(len(rows)), chosen) * width + offset[slot]
        goes, comes, place = (
            _ranges(start, length),
            _ranges(begin[slot], length),
            _ranges(0, length),
        )
        target = items[comes + 1]
        if targets == "last":
            target = np.where(place == np.repeat(length - 1, length), target, np.int32(0))
        for array, values in zip(arrays, (items[comes], place, target), strict=True):
            array.ravel()[goes] = values
        history, places, wanted = (a.reshape(count, batch_size, width) for a in arrays)
        return {feature.name: history, PLACE: places}, wanted

    def one_pass(number: int) -> Iterator[Arrays]:
        rng = np.random.default_rng([seed, number]) if shuffle else None
        begin = begins[packing.assign(lengths, rng)][by_row]
        order = np.arange(packing.num_rows) if rng is None else rng.permutation(packing.num_rows)
        for first in range(0, batches, step):
            count = min(step, batches - first)
            yield make(order[first * batch_size : (first + count) * batch_size], begin, count)

    return block_dataset(
        one_pass, make(np.zeros(0, np.int64), begins, 1), batches=batches, rows=batch_size
    )


def _ranges(start: np.ndarray | int, count: np.ndarray) -> np.ndarray:
    """The numbers from each start on, so many of each, one after the other."""
    ends = np.cumsum(count)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + np.repeat(start - (ends - count), count)
