"""Layer that keeps a few weights between ids, as a sparse square matrix."""

from typing import Any

import keras
import numpy as np
import scipy.sparse
from keras import ops

from kerasrec._checks import check_integer
from kerasrec.layers.id_matrix import sparse_product
from kerasrec.types import Tensor


@keras.saving.register_keras_serializable("kerasrec")
class IdWeights(keras.layers.Layer):
    """Sparse square matrix of weights between ids, with some numbers in each row.

    Memory is 8 bytes for each id and neighbour. The weights are not trained.

    Args:
        num_ids: number of rows and of columns.
        neighbours: largest number of weights in a row; of fewer ids, there is one for each.
        **kwargs: as for `keras.layers.Layer`.

    Input shape:
        Integer row numbers `(...)`.

    Output shape:
        int32 ids `(..., neighbours)`, padded with 0, and their float32 weights.

    Raises:
        ValueError: if a number is not an integer or too small.

    Example:

    >>> layer = IdWeights(3, 1)
    >>> layer.assign(scipy.sparse.csr_matrix([[0, 0, 0], [0, 0, 0.5], [0, 2, 0]]))
    >>> [part.numpy().tolist() for part in layer(np.array([2, 1]))]
    [[[1], [2]], [[2.0], [0.5]]]
    >>> layer.times(np.float32([[1], [3], [4]])).numpy().tolist()
    [[0.0], [2.0], [6.0]]
    """

    built: bool

    def __init__(self, num_ids: int, neighbours: int, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        check_integer(self, "num_ids", num_ids, 1)
        check_integer(self, "neighbours", neighbours, 1)
        self.num_ids = num_ids
        self.neighbours = neighbours
        self.build()

    def build(self, input_shape: Any = None) -> None:
        """Create the weights, whose shapes do not depend on the input."""
        if self.built:
            return
        shape = (self.num_ids, min(self.neighbours, self.num_ids))
        fixed: dict[str, Any] = {"initializer": "zeros", "trainable": False}
        self.ids = self.add_weight(shape=shape, dtype="int32", name="ids", **fixed)
        # In float32 under every policy, like counts.
        self.weights_of_ids = self.add_weight(
            shape=shape, dtype="float32", autocast=False, name="weights", **fixed
        )
        self.built = True

    def assign(self, matrix: scipy.sparse.csr_matrix) -> None:
        """Replace all weights.

        Args:
            matrix: `(num_ids, num_ids)`, with at most `neighbours` numbers in a row.

        Raises:
            ValueError: if a row has more.
        """
        matrix = scipy.sparse.csr_matrix(matrix)
        matrix.eliminate_zeros()
        matrix.sort_indices()
        counts = np.diff(matrix.indptr)
        shape = tuple(self.ids.shape)
        if counts.max(initial=0) > shape[1]:
            raise ValueError(
                f"IdWeights.assign: expected at most {shape[1]} numbers in a row; received "
                f"{counts.max()}."
            )
        rows = np.repeat(np.arange(len(counts)), counts)
        places = np.arange(matrix.nnz) - np.repeat(matrix.indptr[:-1], counts)
        ids, weights = np.zeros(shape, np.int32), np.zeros(shape, np.float32)
        ids[rows, places], weights[rows, places] = matrix.indices, matrix.data
        self.ids.assign(ids)
        self.weights_of_ids.assign(weights)

    def call(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the ids with a weight in some rows, and the weights."""
        rows = ops.convert_to_tensor(inputs)
        return ops.take(self.ids, rows, axis=0), ops.take(self.weights_of_ids, rows, axis=0)

    def times(self, values: Tensor) -> Tensor:
        """Return the product with `(num_ids, batch)`, float32 of the same shape."""
        width = self.ids.shape[1]
        rows = ops.repeat(ops.arange(self.num_ids, dtype="int32"), width)
        columns = ops.reshape(ops.convert_to_tensor(self.ids), (-1,))
        weights = ops.reshape(ops.convert_to_tensor(self.weights_of_ids), (-1,))
        shape = (self.num_ids, self.num_ids)
        return sparse_product(rows, columns, weights, shape, values)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        sizes = {"num_ids": self.num_ids, "neighbours": self.neighbours}
        return {**super().get_config(), **sizes}
