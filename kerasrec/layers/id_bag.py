"""Weighted sum of the rows of a table, one sum for each bag of ids."""

import tensorflow as tf
from keras import ops

from kerasrec._keras import compiled_by_xla
from kerasrec.types import Tensor


def sum_rows(table: Tensor, ids: Tensor, weights: Tensor) -> Tensor:
    """Return the product of a sparse matrix, whose rows are bags of ids, with a table.

    Time and memory follow the number of ids. Only under XLA, which has no sparse products, the bags
    of the batch become a dense matrix of `(batch, rows of the table)`. On a CPU that is faster up
    to some ten thousand rows, and the gradient of the table is dense either way.

    Args:
        table: float32 `(rows, dim)`.
        ids: int32 `(batch, width)`, 0 at padding. No bag holds an id twice.
        weights: float32 weights of the ids `(batch, width)`, 0 at padding.

    Returns:
        float32 `(batch, dim)`.

    Example:

    >>> import numpy as np
    >>> table = np.float32([[9], [9], [1], [2]])
    >>> sum_rows(table, np.array([[3, 2], [0, 3]]), np.float32([[1, 0.5], [0, 2]])).numpy().tolist()
    [[2.5], [4.0]]
    """
    ids, weights = ops.convert_to_tensor(ids), ops.convert_to_tensor(weights)
    table = ops.convert_to_tensor(table)
    shape = (ops.shape(ids)[0], table.shape[0])
    if compiled_by_xla():
        rows = ops.broadcast_to(ops.arange(shape[0], dtype="int32")[:, None], ops.shape(ids))
        places = ops.reshape(ops.stack([rows, ops.cast(ids, "int32")], axis=-1), (-1, 2))
        bags = ops.scatter_update(ops.zeros(shape, "float32"), places, ops.reshape(weights, (-1,)))
        return ops.matmul(bags, table)
    real = tf.where(ids != 0)
    columns = tf.cast(tf.gather_nd(ids, real), tf.int64)
    bags = tf.SparseTensor(
        tf.stack([real[:, 0], columns], axis=1),
        tf.gather_nd(weights, real),
        tf.cast(tf.stack(shape), tf.int64),
    )
    return tf.sparse.sparse_dense_matmul(bags, table)
