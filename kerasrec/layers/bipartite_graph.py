"""Layer that keeps a graph between rows and columns, and smooths vectors over it."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from kerasrec._keras import compiled_by_xla, replace_weight
from kerasrec.layers.id_matrix import IdMatrix
from kerasrec.types import Tensor

# The edges by column, beside those by row: sums over sorted edges are fused with the lookup.
_EDGES = ("rows", "columns", "rows_by_column", "columns_by_column")


@keras.saving.register_keras_serializable("kerasrec")
class BipartiteGraph(IdMatrix):
    """`IdMatrix` that smooths vectors of rows and columns over the graph of its ones.

    A step replaces each vector by the sum of its neighbours', scaled by the degrees:

        r'_u = sum_{i in N(u)} c_i / sqrt(d_u d_i),    c'_i = sum_{u in N(i)} r_u / sqrt(d_u d_i)

    The step is its own gradient, since the normalised adjacency matrix is symmetric. Without XLA no
    array has a vector for each edge, forward or backward.

    Args:
        num_rows: number of rows.
        num_columns: number of columns; ids are smaller.
        **kwargs: as for `IdMatrix`.

    Raises:
        ValueError: if a number is not an integer or too small.

    Example:

    >>> layer = BipartiteGraph(2, 3)
    >>> layer.assign(np.array([0, 0, 1]), np.array([0, 2, 2]))  # [[1, 0, 1], [0, 0, 1]]
    >>> first, second = layer.steps(np.float32([[1], [0]]), np.float32([[0], [0], [2]]), 1)
    >>> [np.asarray(side, float).round(2).tolist() for side in second]
    [[[1.0], [1.41]], [[0.71], [0.0], [0.5]]]
    """

    def build(self, input_shape: Any = None) -> None:
        """Create the weights, whose shapes do not depend on the input."""
        if self.built:
            return
        super().build(input_shape)
        # After the others, in the order in which `resize` replaces them.
        for name in _EDGES:
            options = {"dtype": "int32", "initializer": "zeros", "trainable": False}
            setattr(self, name, self.add_weight(shape=(self.size,), name=name, **options))

    def assign(self, rows: np.ndarray, ids: np.ndarray) -> None:
        """Replace the graph.

        Args:
            rows: row number of each edge.
            ids: its column, above 0. Repeated edges count once.
        """
        super().assign(rows, ids)
        rows = np.repeat(np.arange(self.num_rows, dtype=np.int32), np.diff(self.starts))
        columns = np.asarray(self.ids)
        order = np.argsort(columns, kind="stable")
        edges = (rows, columns, rows[order], columns[order])
        for name, values in zip(_EDGES, edges, strict=True):
            getattr(self, name).assign(values)

    def resize(self, size: int, longest: int) -> None:
        """Make place for another graph, before weights are loaded.

        Args:
            size: number of edges.
            longest: number of edges of the row that has most.
        """
        super().resize(size, longest)
        for name in _EDGES:
            replace_weight(self, name, np.zeros(size, np.int32))

    def steps(self, rows: Tensor, columns: Tensor, count: int) -> list[tuple[Tensor, Tensor]]:
        """Return the vectors of rows and columns after 0, 1, ... `count` steps.

        Args:
            rows: float32 `(rows, dim)`.
            columns: float32 `(columns, dim)`.
            count: number of steps.
        """
        rows_of, columns_of, rows_by, columns_by = (
            tf.convert_to_tensor(getattr(self, name)) for name in _EDGES
        )
        row_scale = _inverse_root_counts(rows_of, self.num_rows)
        column_scale = self.column_scale()

        def neighbours(rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
            return (
                row_scale * _sum_rows(column_scale * columns, columns_of, rows_of, self.num_rows),
                column_scale * _sum_rows(row_scale * rows, rows_by, columns_by, self.num_columns),
            )

        @tf.custom_gradient
        def step(rows: Tensor, columns: Tensor) -> Any:
            # Gradients of lookups arrive as slices.
            return neighbours(rows, columns), lambda *upstream: neighbours(
                *map(tf.convert_to_tensor, upstream)
            )

        found = [(tf.convert_to_tensor(rows), tf.convert_to_tensor(columns))]
        for _ in range(count):
            found.append(step(*found[-1]))
        return found

    def column_scale(self) -> Tensor:
        """Return 1 / sqrt(d_i) of each column, 0 where there are no edges, `(columns, 1)`."""
        return _inverse_root_counts(self.columns_by_column, self.num_columns)


def _sum_rows(values: Tensor, source: Tensor, target: Tensor, count: int) -> Tensor:
    """Return the sums of the rows `source` of a matrix, by `target`, which is sorted."""
    if compiled_by_xla():
        return ops.segment_sum(tf.gather(values, source), target, count)
    return tf.sparse.segment_sum(values, source, target, num_segments=count)


def _inverse_root_counts(ids: Tensor, count: int) -> Tensor:
    """Return 1 / sqrt(number of edges), 0 where there are none, `(count, 1)`."""
    ids = ops.convert_to_tensor(ids)
    counts = ops.segment_sum(ops.ones_like(ids, "float32"), ids, count)[:, None]
    return ops.where(counts > 0, ops.rsqrt(ops.maximum(counts, 1.0)), 0.0)
