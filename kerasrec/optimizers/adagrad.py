"""Adagrad with one accumulator per weight or per row."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from kerasrec.optimizers.sparse import SparseUpdates
from kerasrec.types import Tensor


@keras.saving.register_keras_serializable("kerasrec")
class Adagrad(SparseUpdates, keras.optimizers.Adagrad):
    """`keras.optimizers.Adagrad` whose sparse gradients are summed, then clipped, then squared.

        accumulator = accumulator + gradient^2
        row = row - learning_rate * gradient / sqrt(accumulator + epsilon)

    A row without a gradient stays unchanged in the dense form too, so the results are equal.

    Args:
        *args: as for `keras.optimizers.Adagrad`.
        skip_nonfinite: skip updates that are not finite, see `SparseUpdates`.
        **kwargs: as for `keras.optimizers.Adagrad`.

    Raises:
        ValueError: if an argument is out of range, or a variable is not of a float dtype.

    Example:

    >>> optimizer = Adagrad(0.1, clipnorm=1.0)
    >>> optimizer.get_config()["clipnorm"]
    1.0
    """

    def row_slots(self, index: int) -> list[keras.Variable]:
        """Return the accumulator."""
        return [self.state("accumulator", index)]

    def row_step(
        self,
        gradient: Tensor,
        row: Tensor,
        slots: tuple[Tensor, ...],
        learning_rate: Tensor,
        *shared: Tensor,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the updated rows and slots."""
        accumulator = slots[0] + self._square(gradient)
        return row - learning_rate * gradient / tf.sqrt(
            _as_rows(accumulator, row) + self.epsilon
        ), (accumulator,)

    def _square(self, gradient: Tensor) -> Tensor:
        return tf.square(gradient)


@keras.saving.register_keras_serializable("kerasrec")
class RowwiseAdagrad(Adagrad):
    """Adagrad with one accumulator per row, as in DLRM, which takes less memory.

        accumulator = accumulator + mean over the row of gradient^2
        row = row - learning_rate * gradient / sqrt(accumulator + epsilon)

    A row is a slice along the first axis. A vector or a scalar has one accumulator per number, as
    in `Adagrad`. With rows of length 1, it is equal to `Adagrad` (Mudigere et al., 2022,
    "Software-Hardware Co-design for Fast and Scalable Training of Deep Learning Recommendation
    Models"). Deviation: epsilon is inside the root, as in Keras.

    Args:
        *args: as for `keras.optimizers.Adagrad`.
        skip_nonfinite: skip updates that are not finite, see `SparseUpdates`.
        **kwargs: as for `keras.optimizers.Adagrad`.

    Raises:
        ValueError: if an argument is out of range, or a variable is not of a float dtype.

    Example:

    >>> table = keras.Variable(keras.ops.zeros((4, 3)))
    >>> optimizer = RowwiseAdagrad(0.1)
    >>> optimizer.build([table])
    >>> optimizer.row_slots(0)[0].shape.as_list()
    [4]
    """

    def add_optimizer_variables(
        self, trainable_variables: Sequence[keras.Variable], name: Any, initializer: Any = "zeros"
    ) -> Any:
        """Create accumulators of one number per row. Other state is created as in Keras."""
        if name != "accumulator":
            return super().add_optimizer_variables(trainable_variables, name, initializer)
        return [
            super(RowwiseAdagrad, self).add_optimizer_variables([v], name, initializer)[0]
            if len(v.shape) < 2
            else self.add_row_variable(v, name, v.dtype, initializer)
            for v in trainable_variables
        ]

    def dense_step(self, gradient: Tensor, variable: tf.Variable, learning_rate: Tensor) -> None:
        """Update a whole variable."""
        (accumulator,) = self.row_slots(self.index_of(variable))
        gradient = tf.cast(gradient, variable.dtype)
        value, (sums,) = self.row_step(gradient, variable, (accumulator.value,), learning_rate)
        accumulator.assign(sums)
        variable.assign(value)

    def _square(self, gradient: Tensor) -> Tensor:
        axes = list(range(1, max(gradient.shape.rank, 1)))
        return tf.reduce_mean(tf.square(gradient), axis=axes)


def _as_rows(numbers: Tensor, rows: Tensor) -> Tensor:
    """Reshape one number per row to broadcast over the rows."""
    missing = len(rows.shape) - len(numbers.shape)
    return ops.reshape(numbers, (-1,) + (1,) * missing) if missing else numbers
