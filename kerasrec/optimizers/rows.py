"""Touched rows of a table, with their summed gradients.

A gradient of `tf.gather` lists a row as often as the batch looks it up. Operations that are not
linear in the gradient, such as clipping or squaring, need the sum over these duplicates first.
"""

import math
from typing import Any, NamedTuple

import tensorflow as tf

from kerasrec._keras import compiled_by_xla
from kerasrec.types import Tensor

# Tables of at most this many rows per id of a batch are updated as a whole, with untouched rows
# masked out. Up to this size that is faster than finding the touched rows, for which XLA has to
# sort.
ROWS_PER_ID, ROWS_PER_ID_IN_XLA = 2, 6
# Where the number of ids is unknown at tracing, as with a shorter last batch: tables of at most
# this many weights.
SMALL_TABLE, SMALL_TABLE_IN_XLA = 2**17, 2**19


class Slices(tf.IndexedSlices):
    """IndexedSlices that support division, which Keras needs for loss scaling."""

    def __truediv__(self, divisor: Any) -> tf.IndexedSlices:
        """Divide the values."""
        return tf.IndexedSlices(self.values / divisor, self.indices, self.dense_shape)


class Rows(NamedTuple):
    """Touched rows, padded to few distinct shapes, since each shape is compiled once.

    Slots from `count` on are padding. They repeat the first row and hold zeros. `gradients` gives
    them the gradient of that row, so an update writes the same values to it twice.

    `ids`: row numbers, `(slots,)`. `sums`: summed gradients, `(slots, ...)`. `count`: number of
    touched rows, `()`. `scale`: factor that clipping applies to the gradient, `()`.
    """

    ids: Tensor
    sums: Tensor
    count: Tensor
    scale: Tensor

    def gradients(self) -> Tensor:
        """Return the clipped gradient of the row of each slot, `(slots, ...)`."""
        sums = tf.where(_real(self.count, self.sums), self.sums, self.sums[:1])
        return sums * tf.cast(self.scale, sums.dtype)

    def read(self, table: tf.Variable) -> Tensor:
        """Gather the rows of the slots."""
        return gather(table, self.ids)

    def write(self, table: tf.Variable, values: Tensor) -> None:
        """Write the rows of the slots."""
        scatter(table, self.ids, values)

    def only_touched(self, new: tuple[Tensor, ...], old: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the new rows, since every slot holds a touched row."""
        return new


class Table(NamedTuple):
    """Gradient of a whole small table, with a mask `(rows,)` of the rows that the batch touched.

    It has the methods of `Rows`, so one formula serves both.
    """

    gradient: Tensor
    touched: Tensor

    def gradients(self) -> Tensor:
        """Return the clipped gradient of each row; zero for untouched rows."""
        return self.gradient

    def read(self, table: tf.Variable) -> Tensor:
        """Read the whole table."""
        return tf.convert_to_tensor(table)

    def write(self, table: tf.Variable, values: Tensor) -> None:
        """Write the whole table."""
        table.assign(values)

    def only_touched(self, new: tuple[Tensor, ...], old: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return new values for touched rows and old values for the others."""
        return tuple(
            tf.where(tf.reshape(self.touched, (-1,) + (1,) * (len(n.shape) - 1)), n, o)
            for n, o in zip(new, old, strict=True)
        )


def sum_duplicates(gradient: tf.IndexedSlices, num_rows: int) -> Rows:
    """Sum the gradients of duplicate ids.

    Outside XLA, a hash map finds the duplicates. XLA sorts instead, which needs no dynamic shapes.

    Args:
        gradient: values for ids, which may repeat or be empty.
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
    return Rows(ids, segment_sum(values, slots, ids), count, tf.ones((), "float32"))


def pad(ids: Tensor, count: Tensor) -> Tensor:
    """Pad with the first id, so that few lengths occur.

    Lengths are multiples of 32, or of an eighth of the power of two below.
    """
    octave = tf.math.log(tf.cast(tf.maximum(count, 1), "float32")) / tf.math.log(2.0)
    step = tf.bitwise.left_shift(1, tf.cast(tf.maximum(octave - 3.0, 5.0), "int32"))
    return tf.concat([ids, tf.tile(ids[:1], [-count % step])], axis=0)


def is_small_table(gradient: Any, shape: tuple[int, ...]) -> bool:
    """Return whether a sparse gradient updates the whole table faster than its touched rows.

    Args:
        gradient: tensor or IndexedSlices.
        shape: shape of the table.
    """
    if not isinstance(gradient, tf.IndexedSlices):
        return False
    ids = gradient.indices.shape[0]
    if ids is None:
        return math.prod(shape) <= (SMALL_TABLE_IN_XLA if compiled_by_xla() else SMALL_TABLE)
    return shape[0] <= ids * (ROWS_PER_ID_IN_XLA if compiled_by_xla() else ROWS_PER_ID)


def sum_into_table(gradient: tf.IndexedSlices, num_rows: int) -> Tensor:
    """Return the gradient of the whole table, zero for untouched rows: `(num_rows, ...)`."""
    return segment_sum(gradient.values, gradient.indices, num_rows)


def touched_rows(gradient: tf.IndexedSlices, num_rows: int) -> Tensor:
    """Return the mask of rows that appear among the ids: bool `(num_rows,)`."""
    ids = gradient.indices
    return segment_sum(tf.ones_like(ids), ids, num_rows) > 0


def flagged(touched: Tensor, table: tf.Variable, divisor: int) -> Rows:
    """Return the masked rows with their values in `table`, divided by `divisor`."""
    count = tf.reduce_sum(tf.cast(touched, "int32"))
    if compiled_by_xla():
        ids = tf.argsort(tf.cast(touched, "int32"), direction="DESCENDING", stable=True)
        ids = tf.where(tf.range(tf.size(ids)) < count, ids, ids[:1])
    else:
        ids = pad(tf.cast(tf.where(touched)[:, 0], "int32"), count)
    values = gather(table, ids) / divisor
    sums = tf.where(_real(count, values), values, tf.zeros_like(values))
    return Rows(ids, sums, count, tf.ones((), "float32"))


@tf.function(jit_compile=True, autograph=False)
def segment_sum(values: Tensor, segments: Tensor, slots: Tensor | int) -> Tensor:
    """Sum the values of each segment, in one XLA kernel.

    Outside XLA the same operation takes about four times as long on a CPU.

    Args:
        values: `(values, ...)`.
        segments: the segment of each value, `(values,)`.
        slots: number of segments, or a tensor with as many rows.
    """
    count = slots if isinstance(slots, int) else tf.shape(slots)[0]
    return tf.math.unsorted_segment_sum(values, segments, count)


def gather(table: tf.Variable, ids: Tensor) -> Tensor:
    """Gather rows of a variable without reading the whole variable."""
    return tf.raw_ops.ResourceGather(resource=table.handle, indices=ids, dtype=table.dtype)


def scatter(table: tf.Variable, ids: Tensor, rows: Tensor) -> None:
    """Write rows of a variable in place. An id may repeat if its rows are equal."""
    tf.raw_ops.ResourceScatterUpdate(resource=table.handle, indices=ids, updates=rows)


def add(table: tf.Variable, ids: Tensor, rows: Tensor) -> None:
    """Add to rows of a variable in place. An id may repeat."""
    tf.raw_ops.ResourceScatterAdd(resource=table.handle, indices=ids, updates=rows)


def _real(count: Tensor, values: Tensor) -> Tensor:
    """Return the mask of slots that are not padding, shaped to broadcast over their values."""
    real = tf.range(tf.shape(values)[0]) < count
    return tf.reshape(real, (-1,) + (1,) * (values.shape.rank - 1))
