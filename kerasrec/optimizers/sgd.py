"""Gradient descent, with or without momentum."""

import keras

from kerasrec.optimizers.sparse import SparseUpdates
from kerasrec.types import Tensor


@keras.saving.register_keras_serializable("kerasrec")
class SGD(SparseUpdates, keras.optimizers.SGD):
    """`keras.optimizers.SGD` whose sparse gradients are summed, then clipped, then applied.

        velocity = momentum * velocity - learning_rate * gradient
        row = row + velocity
        row = row + momentum * velocity - learning_rate * gradient   (nesterov)

    Without momentum, a row without a gradient stays unchanged, and the result equals that of the
    same model with dense gradients. With momentum, the velocity of such a row is kept for its next
    gradient. A dense model would apply the velocity and let it decay. The results are then equal
    only if every row is touched in every step.

    Args:
        *args: as for `keras.optimizers.SGD`.
        skip_nonfinite: skip updates that are not finite, see `SparseUpdates`.
        **kwargs: as for `keras.optimizers.SGD`.

    Raises:
        ValueError: if an argument is out of range, or a variable is not of a float dtype.

    Example:

    >>> from kerasrec.layers import Embedding
    >>> import numpy as np
    >>> model = keras.Sequential([Embedding(5, 1, embeddings_initializer="zeros")])
    >>> model.compile(SGD(1.0, clipnorm=1.0), loss=lambda y_true, y_pred: -y_pred)
    >>> history = model.fit(np.array([[3], [3]]), np.zeros((2, 1)), verbose=0)
    >>> float(model.layers[0].embeddings[3, 0])
    1.0
    """

    def is_linear(self) -> bool:
        """Return whether there is no momentum."""
        return not self.momentum

    def row_slots(self, index: int) -> list[keras.Variable]:
        """Return the velocity if there is momentum."""
        return [self.momentums[index]] if self.momentum else []

    def row_step(
        self,
        gradient: Tensor,
        row: Tensor,
        slots: tuple[Tensor, ...],
        learning_rate: Tensor,
        *shared: Tensor,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the updated rows and slots."""
        change = -learning_rate * gradient
        if not slots:
            return row + change, ()
        velocity = self.momentum * slots[0] + change
        return row + (self.momentum * velocity + change if self.nesterov else velocity), (velocity,)
