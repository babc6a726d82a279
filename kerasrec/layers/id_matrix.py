"""Layer that keeps rows of ids and multiplies by them, as by a sparse matrix of ones."""

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from kerasrec._checks import check_integer
from kerasrec._keras import compiled_by_xla
from kerasrec.layers.id_rows import IdRows
from kerasrec.types import Tensor


@keras.saving.register_keras_serializable("kerasrec")
class IdMatrix(IdRows):
    """`IdRows` that also multiplies dense matrices, from the left.

    Time and memory of a product follow the number of ids. Only under XLA, which has no sparse
    products, there is an intermediate result of one row per id.

    Args:
        num_rows: number of rows.
        num_columns: number of columns; ids are smaller.
        **kwargs: as for `IdRows`.

    Raises:
        ValueError: if a number is not an integer or too small.

    Example:

    >>> import numpy as np
    >>> layer = IdMatrix(2, 3)
    >>> layer.assign(np.array([0, 0, 1]), np.array([0, 2, 2]))  # [[1, 0, 1], [0, 0, 1]]
    >>> layer.times(np.float32([[1], [2], [4]])).numpy().tolist()
    [[5.0], [4.0]]
    >>> layer.transposed_times(np.float32([[1], [2]])).numpy().tolist()
    [[1.0], [0.0], [3.0]]
    """

    def __init__(self, num_rows: int, num_columns: int, **kwargs: Any) -> None:
        check_integer(self, "num_columns", num_columns, 1)
        self.num_columns = num_columns  # subclasses build weights of this size
        super().__init__(num_rows, **kwargs)

    def times(self, values: Tensor) -> Tensor:
        """Return the product with `(columns, batch)`, float32 `(rows, batch)`."""
        return self._product(values, transposed=False)

    def transposed_times(self, values: Tensor) -> Tensor:
        """Return the product of the transpose with `(rows, batch)`, float32 `(columns, batch)`."""
        return self._product(values, transposed=True)

    def _product(self, values: Tensor, *, transposed: bool) -> Tensor:
        columns = ops.convert_to_tensor(self.ids)
        places = ops.arange(self.size, dtype="int32")
        ends = ops.convert_to_tensor(self.starts)[1:]
        rows = ops.cast(ops.searchsorted(ends, places, side="right"), "int32")
        shape = (self.num_rows, self.num_columns)
        ones = ops.ones((self.size,), "float32")
        return sparse_product(rows, columns, ones, shape, values, transposed=transposed)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "num_columns": self.num_columns}


def sparse_product(
    rows: Tensor,
    columns: Tensor,
    weights: Tensor,
    shape: tuple[int, int],
    values: Tensor,
    *,
    transposed: bool = False,
) -> Tensor:
    """Return the product of a sparse matrix with a dense one, float32.

    Args:
        rows: int32 row of each number of the sparse matrix, ascending.
        columns: int32 column of each number.
        weights: float32 numbers.
        shape: shape of the sparse matrix.
        values: dense matrix.
        transposed: whether to multiply by the transpose.
    """
    values = ops.convert_to_tensor(values)
    if compiled_by_xla():
        source, target = (rows, columns) if transposed else (columns, rows)
        taken = ops.take(values, source, axis=0) * weights[:, None]
        return ops.segment_sum(taken, target, shape[1] if transposed else shape[0])
    places = tf.cast(tf.stack([rows, columns], axis=1), tf.int64)
    matrix = tf.SparseTensor(places, weights, shape)
    return tf.sparse.sparse_dense_matmul(matrix, values, adjoint_a=transposed)
