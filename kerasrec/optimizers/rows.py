"""The rows of a table that a batch touched, each with the sum of its gradients.

A gradient of `tf.gather` names a row as often as the batch does. Everything that is not linear in
the gradient (clipping, squaring it) needs the sum over these duplicates first.
"""

import math
from typing import Any, NamedTuple

import tensorflow as tf

from kerasrec._keras import compiled_by_xla
from kerasrec.types import Tensor

# Tables of at most so many rows for each id of a batch are updated as a whole, with rows that rest
# masked out: up to there that is faster than to find the touched rows, for which XLA has to sort.
ROWS_PER_ID, ROWS_PER_ID_IN_XLA = 2, 6
# Where the number of ids is not known when the step is traced, as of batches the last of which is
# shorter: tables of at most so many weights.
SMALL_TABLE, SMALL_TABLE_IN_XLA = 2**17, 2**19


class Slices(tf.IndexedSlices):
    """Extend IndexedSlices by what Keras needs to divide by a loss scale."""

    def __truediv__(self, divisor: Any) -> tf.IndexedSlices:
        """Divide the values."""
        return tf.IndexedSlices(self.values / divisor, self.indices, self.dense_shape)


class Rows(NamedTuple):
    """Touched rows, padded so that few shapes occur: each shape is compiled once.

    Slots from `count` on are padding. They name the first row again and hold zeros; `gradients`
    gives them the gradient of that row, so that an update writes the same numbers to it twice.

    `ids`: row numbers, `(slots,)`. `sums`: summed gradients, `(slots, ...)`. `count`: rows that
    were touched, `()`. `scale`: what clipping multiplies the gradient by, `()`.
    """

    ids: Tensor
    sums: Tensor
    count: Tensor
    scale: Tensor

    def gradients(self) -> Tensor:
        """The clipped gradient of the row that each slot names, `(slots, ...)`."""
        sums = tf.where(_real(self.count, self.sums), self.sums, self.sums[:1])
        return sums * tf.cast(self.scale, sums.dtype)

    def read(self, table: tf.Variable) -> Tensor:
        """Gather the rows that the slots name."""
        return gather(table, self.ids)

    def write(self, table: tf.Variable, values: Tensor) -> None:
        """Write the rows that the slots name."""
        scatter(table, self.ids, values)

    def only_touched(self, new: tuple[Tensor, ...], old: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the new rows: a slot always names a touched row."""
        return new


class Table(NamedTuple):
    """The gradient of a whole small table, and which of its rows the batch touched, `(rows,)`.

    It has the methods of `Rows`, so that one formula serves both.
    """

    gradient: Tensor
    touched: Tensor

    def gradients(self) -> Tensor:
        """Return the clipped gradient of each row, zero where the batch did not touch it."""
        return self.gradient

    def read(self, table: tf.Variable) -> Tensor:
        """Read the whole table."""
        return tf.convert_to_tensor(table)

    def write(self, table: tf.Variable, values: Tensor) -> None:
        """Write the whole table."""
        table.assign(values)

    def only_touched(self, new: tuple[Tensor, ...], old: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return new values for the touched rows and old ones for those that rest."""
        return tuple(
            tf.where(tf.reshape(self.touched, (-1,) + (1,) * (len(n.shape) - 1)), n, o)
            for n, o in zip(new, old, strict=True)
        )


def sum_duplicates(gradient: tf.IndexedSlices, num_rows: int) -> Rows:
    """Sums the gradients of equal ids.

    Outside XLA a hash map finds the duplicates; XLA sorts, which needs no dynamic shapes.

    Args:
        gradient: values for ids that may repeat, or may be none at all.
        num_rows: rows of the table.

    Returns:
        Rows with a scale of 1.
    """
    ids, values = gradient.indices, gradient.values
    if compiled_by_xla():
        order = tf.argsort(ids)
        ids, values = tf.gather(ids, order), tf.gather(values, order)
        first = tf.concat([tf.ones_like(ids[:1], "bool"), ids[1:] != ids[:-1]], axis=0)
        slots = tf.cumsum(tf.cast(first, "int32")) - 1
        count = tf.reduce_sum(tf.cast(first, "int32"))
        size = tf.minimum(tf.size(ids), num_rows)
        ids = tf.math.unsorted_segment_max(ids, slots, size)
        ids = tf.where(tf.range(size) < count, ids, ids[:1])
    else:
        ids, slots = tf.unique(ids)
        count = tf.size(ids)
        ids = pad(ids, count)
        size = tf.size(ids)
    sums = tf.math.unsorted_segment_sum(values, slots, size)
    return Rows(ids, sums, count, tf.ones((), "float32"))


def pad(ids: Tensor, count: Tensor) -> Tensor:
    """Repeats the first id, so that lengths are few: multiples of 32, or of an eighth of
    the power of two below."""
    octave = tf.math.log(tf.cast(tf.maximum(count, 1), "float32")) / tf.math.log(2.0)
    step = tf.bitwise.left_shift(1, tf.cast(tf.maximum(octave - 3.0, 5.0), "int32"))
    return tf.concat([ids, tf.tile(ids[:1], [-count % step])], axis=0)


def is_small_table(gradient: Any, shape: tuple[int, ...]) -> bool:
    """Return whether a sparse gradient updates the whole table faster than its touched rows.

    Args:
        gradient: tensor or IndexedSlices.
        shape: of the table.
    """
    if not isinstance(gradient, tf.IndexedSlices):
        return False
    ids = gradient.indices.shape[0]
    if ids is None:
        return math.prod(shape) <= (SMALL_TABLE_IN_XLA if compiled_by_xla() else SMALL_TABLE)
    return shape[0] <= ids * (ROWS_PER_ID_IN_XLA if compiled_by_xla() else ROWS_PER_ID)


def sum_into_table(gradient: tf.IndexedSlices, num_rows: int) -> Tensor:
    """The gradient of the whole table, zero where no id points: `(num_rows, ...)`."""
    return tf.math.unsorted_segment_sum(gradient.values, gradient.indices, num_rows)


def touched_rows(gradient: tf.IndexedSlices, num_rows: int) -> Tensor:
    """Which rows of a table an id points to: bool `(num_rows,)`."""
    ids = gradient.indices
    return tf.math.unsorted_segment_sum(tf.ones_like(ids), ids, num_rows) > 0


def flagged(touched: Tensor, table: tf.Variable, divisor: int) -> Rows:
    """Rows whose flag is up, with the value they have in `table`, divided by `divisor`."""
    count = tf.reduce_sum(tf.cast(touched, "int32"))
    if compiled_by_xla():
        ids = tf.argsort(tf.cast(touched, "int32"), direction="DESCENDING", stable=True)
        ids = tf.where(tf.range(tf.size(ids)) < count, ids, ids[:1])
    else:
        ids = pad(tf.cast(tf.where(touched)[:, 0], "int32"), count)
    values = gather(table, ids) / divisor
    sums = tf.where(_real(count, values), values, tf.zeros_like(values))
    return Rows(ids, sums, count, tf.ones((), "float32"))


def gather(table: tf.Variable, ids: Tensor) -> Tensor:
    """Rows of a variable, read without reading the variable."""
    return tf.raw_ops.ResourceGather(resource=table.handle, indices=ids, dtype=table.dtype)


def scatter(table: tf.Variable, ids: Tensor, rows: Tensor) -> None:
    """Writes rows of a variable in place. An id may repeat if its rows are equal."""
    tf.raw_ops.ResourceScatterUpdate(resource=table.handle, indices=ids, updates=rows)


def add(table: tf.Variable, ids: Tensor, rows: Tensor) -> None:
    """Add to rows of a variable in place. An id may repeat."""
    tf.raw_ops.ResourceScatterAdd(resource=table.handle, indices=ids, updates=rows)


def _real(count: Tensor, values: Tensor) -> Tensor:
    """Which slots are not padding, shaped to broadcast over their values."""
    real = tf.range(tf.shape(values)[0]) < count
    return tf.reshape(real, (-1,) + (1,) * (values.shape.rank - 1))
