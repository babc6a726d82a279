"""Batches for next-item and next-label training at every step of a user."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import tensorflow as tf

from kerasrec._checks import check_choice, check_integer
from kerasrec.data.batches import blocks
from kerasrec.data.batches.blocks import Arrays, block_dataset, count_batches
from kerasrec.data.batches.packing import pack
from kerasrec.data.encoding import columns as check
from kerasrec.data.encoding.positives import is_positive, no_positive
from kerasrec.data.encoding.sequences import event_numbers, first_rows, history_features, in_order
from kerasrec.schema import Schema
from kerasrec.types import Columns

POSITION = "position"
"""Name of the feature with the position of each step in its own sequence, from 0."""


def next_items(
    columns: Columns,
    schema: Schema,
    *,
    batch_size: int,
    time: str | None = "",
    targets: str = "all",
    windows: str = "newest",
    pack_rows: bool = True,
    shuffle: bool = True,
    seed: int = 0,
) -> tf.data.Dataset:
    """Batch one sequence per user: at each step the items so far, with the next as target.

    If a user has more than `max_length + 1` items, only the newest are used. With `windows="all"`
    the older ones form separate sequences. Sequences of several users share a row, so there is
    hardly any padding, and all batches have one shape that XLA compiles once. `position` is the
    position in the sequence, so it is 0 where a new sequence begins:

        history   a b c x y    with a row of width 5, user 1: a b c d, user 2: x y z
        position  0 1 2 0 1
        target    b c d y z

    Only positives by `Schema.positive` are targets. A row with another label stays in the history,
    since the user has seen its item, and the step before it has no target. Without a label column,
    every row is a positive.

    The model must not let a step see other users' steps or later ones, which
    `kerasrec.testing.check_model` checks. Rows beyond the last one are empty (0 everywhere).

    Args:
        columns: encoded training columns, one row per interaction.
        schema: has an `IdSequence` of the item id among its user or context features, whose
            `max_length` is the width of a row.
        batch_size: rows of a batch, over all replicas of a distribution strategy.
        time: name of the time column, ties in the order of the file; "" for that of the schema, or
            "timestamp" if it names none. None if the rows of each user are in order already.
        targets: "all" for the next item at every step, "last" for each user's newest item only, if
            it is a positive.
        windows: "newest" for the newest `max_length` steps of each user, "all" for every step. All
            steps are cut into windows of `max_length` from the newest back, so that only the oldest
            window may be shorter. A window does not see the steps before it.
        pack_rows: whether users share rows. Otherwise each has one, right-padded.
        shuffle: whether each epoch has another order and other users in a row.
        seed: seed of the order.

    Returns:
        Dataset of (dict of int32 `history` and `position` `(batch_size, max_length)`, int32 target
        item `(batch_size, max_length)`, 0 where there is none), with known cardinality.

    Raises:
        ValueError: if the schema has no such sequence, a column does not fit it, no user has a row
            and a positive after it, or an argument is out of range.

    Example:

    >>> from kerasrec.schema import Categorical, IdSequence
    >>> history = IdSequence("history", of="item", max_length=3)
    >>> schema = Schema(user=[Categorical("user", 4), history], item=[Categorical("item", 9)])
    >>> columns = {"user": np.array([2, 2, 2, 3, 3]), "item": np.array([7, 5, 6, 8, 4])}
    >>> columns["timestamp"] = np.array([30, 10, 20, 1, 2])
    >>> features, target = next(iter(next_items(columns, schema, batch_size=1)))
    >>> features["history"].numpy().tolist(), target.numpy().tolist()
    ([[5, 6, 8]], [[6, 7, 4]])
    >>> features["position"].numpy().tolist()
    [[0, 1, 0]]
    """
    owner = "next_items"
    feature = history_features(schema, owner)[0]
    check_choice(owner, "targets", targets, ("all", "last"))
    check_choice(owner, "windows", windows, ("newest", "all"))
    if windows == "all" and targets == "last":
        raise ValueError(
            f"{owner}: windows='all' adds steps that targets='last' gives no target. Pass one."
        )
    positive = is_positive(columns, schema, owner)
    steps = _Steps.of(
        owner,
        columns,
        schema,
        time,
        feature.max_length,
        every=windows == "all",
        # Steps after a user's last positive have no target. For "last" only the newest row matters.
        until=None if targets == "last" else positive,
    )
    # The target of a step is the row after it.
    chosen = np.append(positive[steps.order][1:], False)
    if targets == "last":
        chosen &= steps.newest
        if not chosen.any():
            raise ValueError(no_positive(int(steps.newest.sum()), schema, f"{owner}: targets"))
    fields = {feature.name: (steps.items, 0), "target": (steps.items, 1)}

    def finish(arrays: dict[str, np.ndarray]) -> Arrays:
        return arrays, arrays.pop("target")

    return steps.dataset(fields, finish, batch_size, pack_rows, shuffle, seed, targets_at=chosen)


def next_labels(
    columns: Columns,
    schema: Schema,
    *,
    batch_size: int,
    time: str | None = "",
    windows: str = "newest",
    weight: str | None = None,
    pack_rows: bool = True,
    shuffle: bool = True,
    seed: int = 0,
) -> tf.data.Dataset:
    """Batch one sequence per user: at each step the events so far, the next row, its label.

    `histories` gives one row for each label. This gives all labels of a user in one sequence, for
    example whether each next rating is high. It is for `kerasrec.training.StepwiseTrainer`:

        history   a b c x y    with a row of width 5, user 1: a b c d, user 2: x y z
        position  0 1 2 0 1
        item      b c d y z    likewise the other features of the row that the label belongs to
        label     labels of these rows, with weight 1; 0 and 0 at padding

    A user's first row has no history and is left out.

    Args:
        columns: encoded training columns, one row per interaction: ids, label, the columns of each
            `NumericSequence`, and the other features of the schema.
        schema: has an `IdSequence` of the item id or a `NumericSequence` among its user or context
            features, all of one `max_length`.
        weight: name of a column of weights of the labels, such as 0 for rows that only belong to
            histories.
        batch_size: see `next_items`.
        time: see `next_items`.
        windows: see `next_items`.
        pack_rows: see `next_items`.
        shuffle: see `next_items`.
        seed: see `next_items`.

    Returns:
        Dataset of (dict of the features of the schema and `position`, `(batch_size, max_length) +`
        the shape of one; float32 label and weight `(batch_size, max_length)`).

    Raises:
        ValueError: as in `next_items`, or if histories differ in length.

    Example:

    >>> from kerasrec.schema import Categorical, NumericSequence
    >>> ratings = NumericSequence("ratings", of="label", max_length=3)
    >>> schema = Schema(user=[Categorical("user", 4), ratings], item=[Categorical("item", 9)])
    >>> columns = {"user": np.array([2, 2, 2, 3, 3]), "item": np.array([7, 5, 6, 8, 4])}
    >>> columns["timestamp"] = np.array([30, 10, 20, 1, 2])
    >>> columns["label"] = np.array([3.0, 1.0, 2.0, 4.0, 5.0])
    >>> features, label, weight = next(iter(next_labels(columns, schema, batch_size=1)))
    >>> features["ratings"].numpy().tolist(), features["item"].numpy().tolist()
    ([[1.0, 2.0, 4.0]], [[6, 7, 4]])
    >>> label.numpy().tolist(), weight.numpy().tolist()
    ([[2.0, 3.0, 5.0]], [[1.0, 1.0, 1.0]])
    """
    owner = "next_labels"
    numeric = schema.number_histories
    events = schema.item_histories if numeric else history_features(schema, owner)
    widths = {f.name: f.max_length for f in events} | {f.name: f.max_length for f in numeric}
    if len(set(widths.values())) > 1:
        raise ValueError(
            f"{owner}: histories share their steps, so they need one max_length; received {widths}."
        )
    check_choice(owner, "windows", windows, ("newest", "all"))
    width = next(iter(widths.values()))
    steps = _Steps.of(owner, columns, schema, time, width, every=windows == "all")
    fields = {f.name: (steps.items, 0) for f in events}
    for feature in numeric:
        fields[feature.name] = event_numbers([columns], feature, owner)[steps.order], 0
    others = [f for f in schema.features if f.name not in fields]
    for name, values in check.features(columns, others, schema, owner).items():
        fields[name] = np.asarray(values)[steps.order], 1
    label = check.numbers(columns, schema.label, owner)[steps.order]
    weights = np.ones_like(label)
    if weight is not None:
        weights = check.weights(columns, weight, owner)[steps.order]
    check.check_rows(columns, [*(f.name for f in others), *(f.of for f in numeric)], owner)
    fields["\0label"] = label, 1
    fields["\0weight"] = weights, 1

    def finish(arrays: dict[str, np.ndarray]) -> Arrays:
        return arrays, arrays.pop("\0label"), arrays.pop("\0weight")

    return steps.dataset(fields, finish, batch_size, pack_rows, shuffle, seed)


@dataclasses.dataclass(frozen=True)
class _Steps:
    """Sorted rows, and where the steps of each user lie: a row and its successor."""

    owner: str
    order: np.ndarray
    items: np.ndarray
    begins: np.ndarray
    lengths: np.ndarray
    width: int

    @classmethod
    def of(
        cls,
        owner: str,
        columns: Columns,
        schema: Schema,
        time: str | None,
        width: int,
        every: bool = False,
        until: np.ndarray | None = None,
    ) -> "_Steps":
        """Create from columns, with the newest `width` steps of each user or every step.

        With a mask `until`, a user's steps end at the last marked row.
        """
        # Rows sorted by user and time. A user's rows are `begins` to `ends`.
        order, users, items = in_order([columns], schema, time, owner)
        begins = first_rows(users)
        ends = np.append(begins[1:], len(users))
        if not (ends - begins >= 2).any():
            raise ValueError(
                f"{owner}: no user has the two rows that an item and its successor take. Pass all "
                "rows of the users, not a sample of rows."
            )
        if until is not None:
            # Position after each marked row, else 0. The maximum of a user's rows is the new end.
            marked = np.where(until[order], np.arange(1, len(users) + 1), 0)
            ends = np.maximum(begins, np.maximum.reduceat(marked, begins))
        # A step needs a row and its successor.
        enough = ends - begins >= 2
        if not enough.any():
            raise ValueError(no_positive(len(users), schema, f"{owner}: rows after the first"))
        ends = ends[enough] - 1  # the newest item has no successor
        begins = begins[enough]
        if every:
            # Windows of a user, newest first. Each ends a multiple of the width before the end.
            count = -(-(ends - begins) // width)
            oldest = np.repeat(begins, count)
            ends = np.repeat(ends, count) - width * _ranges(0, count)
            begins = oldest
        # Keep at most the newest `width` steps of each range.
        begins = np.maximum(begins, ends - width)
        return cls(owner, order, items, begins, ends - begins, width)

    @property
    def newest(self) -> np.ndarray:
        """Mark the last row of each user that has a successor."""
        found = np.zeros(len(self.items), bool)
        found[self.begins + self.lengths - 1] = True
        return found

    def dataset(
        self,
        fields: Mapping[str, tuple[np.ndarray, int]],
        finish: Callable[[dict[str, np.ndarray]], Arrays],
        batch_size: int,
        pack_rows: bool,
        shuffle: bool,
        seed: int,
        targets_at: np.ndarray | None = None,
    ) -> tf.data.Dataset:
        """Build the dataset of packed rows.

        A field has a value for each of the sorted rows, and the offset from a step to the row of
        its value: 0 for inputs, 1 for what is predicted. `finish` makes (features, label[, weight])
        of the arrays of a block. Only the steps of the mask `targets_at` have a target.
        """
        check_integer(self.owner, "batch_size", batch_size, 1, numpy=True)
        check_integer(self.owner, "seed", seed, 0, numpy=True)
        width = self.width
        # Slots are sorted by row, so that the slots of a row are adjacent.
        packing = pack(self.lengths, width, alone=not pack_rows)
        by_row = np.argsort(packing.row, kind="stable")
        row, offset, slot_lengths = (
            a[by_row] for a in (packing.row, packing.offset, packing.lengths)
        )
        # Row r has the slots first_slot[r] to first_slot[r + 1].
        first_slot = np.searchsorted(row, np.arange(packing.num_rows + 1))
        batches = count_batches(self.owner, packing.num_rows, batch_size, False)
        # Numbers per step, `position` included, to size the blocks.
        numbers = 1 + sum(values[0].size for values, _ in fields.values())
        step = max(1, blocks.BLOCK_VALUES // (numbers * batch_size * width))

        def make(rows: np.ndarray, begin: np.ndarray, count: int) -> Arrays:
            """Make the block of `count` batches that holds these rows."""
            chosen = first_slot[rows + 1] - first_slot[rows]
            slot = _ranges(first_slot[rows], chosen)
            length = slot_lengths[slot]
            start = np.repeat(np.arange(len(rows)), chosen) * width + offset[slot]
            # Positions of the steps in the block, and their positions in the sorted rows.
            goes, comes = _ranges(start, length), _ranges(begin[slot], length)
            positions = count * batch_size * width
            found = {POSITION: np.zeros(positions, np.int32)}
            found[POSITION][goes] = _ranges(0, length)
            for name, (values, later) in fields.items():
                found[name] = np.zeros((positions, *values.shape[1:]), values.dtype)
                # Targets are `later` rows after the step, which is still the same user.
                wanted = values[comes + later]
                if later and targets_at is not None:
                    wanted = np.where(targets_at[comes], wanted, wanted.dtype.type(0))
                found[name][goes] = wanted
            shape = (count, batch_size, width)
            return finish({n: a.reshape(*shape, *a.shape[1:]) for n, a in found.items()})

        def one_epoch(number: int) -> Iterator[Arrays]:
            rng = np.random.default_rng([seed, number]) if shuffle else None
            # Each epoch draws the sequence of each slot, and then the order of the rows.
            begin = self.begins[packing.assign(self.lengths, rng)][by_row]
            rows = packing.num_rows
            order = np.arange(rows) if rng is None else rng.permutation(rows)
            for first in range(0, batches, step):
                count = min(step, batches - first)
                yield make(order[first * batch_size : (first + count) * batch_size], begin, count)

        # An empty block, for names, shapes and dtypes.
        example = make(np.zeros(0, np.int64), self.begins, 1)
        return block_dataset(one_epoch, example, batches=batches, rows=batch_size)


def _ranges(start: np.ndarray | int, count: np.ndarray) -> np.ndarray:
    """Concatenate ranges: `count` numbers from each start."""
    ends = np.cumsum(count)
    total = int(ends[-1]) if len(ends) else 0
    # A running number, shifted by each start minus the numbers counted before it.
    return np.arange(total) + np.repeat(start - (ends - count), count)
