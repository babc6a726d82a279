"""Attention of a candidate over a history, with weights from hidden layers."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kerasrec._checks import check_integer
from kerasrec.layers.mlp import MLP
from kerasrec.types import Tensor

LOWEST = -1e9


@keras.saving.register_keras_serializable("kerasrec")
class ActivationUnit(keras.layers.Layer):
    """Sum of the steps of a history, weighted for a candidate.

        a_j = w . MLP([e_j, c, e_j - c, e_j * c]) + b
        y = sum over j of a_j e_j,  or of softmax(a)_j e_j

    Without the softmax, the length of y grows with the number of steps that matter to c. The first
    hidden layer is computed as (K_1 + K_3) e_j + (K_2 - K_3) c + K_4 (e_j * c), so that only the
    last product is one of pairs. Of several candidates the steps are read one after the other,
    unless it is training: memory then grows with candidates x steps, and not with their hidden
    units.

    Args:
        hidden_units: widths of the hidden layers, at least one.
        softmax: whether the weights of a history add up to 1.
        **kwargs: as for `keras.layers.Layer`.

    Call arguments:
        inputs: the steps e `(batch, steps, dim)`, 0 at padding.
        real: 1 at steps and 0 at padding, `(batch, steps)`.
        candidates: c `(batch, candidates, dim)`.
        training: whether it is training.

    Output shape:
        `(batch, candidates, dim)`, zeros for an empty history.

    Raises:
        ValueError: if there is no hidden layer or a width is not positive.

    Example:

    >>> import numpy as np
    >>> steps, real, candidates = np.ones((2, 5, 4)), np.ones((2, 5)), np.ones((2, 3, 4))
    >>> ActivationUnit((8,))(steps, real, candidates).shape
    TensorShape([2, 3, 4])
    """

    def __init__(
        self, hidden_units: Sequence[int], *, softmax: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        for units in hidden_units or (0,):
            check_integer(self, "each of hidden_units", units, 1)
        self.hidden_units = tuple(hidden_units)
        self.softmax = softmax
        policy = {"dtype": self.dtype_policy}
        # As in the code of the paper. Sigmoids give weights other than 0 to rows that start near 0.
        self.mlp = MLP(self.hidden_units[1:], activation="sigmoid", name="mlp", **policy)
        # A bias moves all weights of a history alike, which a softmax takes away again.
        self.output_layer = keras.layers.Dense(1, use_bias=not softmax, name="output", **policy)

    def build(self, input_shape: Any) -> None:
        """Create the weights."""
        dim, units = input_shape[-1], self.hidden_units[0]
        self.kernel = self.add_weight((4 * dim, units), name="kernel")
        self.bias = self.add_weight((units,), initializer="zeros", name="bias")
        self.mlp.build((None, units))
        self.output_layer.build((None, self.hidden_units[-1]))
        self.built = True

    def call(
        self, inputs: Tensor, real: Tensor, candidates: Tensor, training: bool = False
    ) -> Tensor:
        """Return the weighted sums."""
        kernel, bias = (ops.cast(w, self.compute_dtype) for w in (self.kernel, self.bias))
        of_step, of_candidate, of_difference, of_product = ops.split(kernel, 4)
        own = ops.matmul(inputs, of_step + of_difference) + bias  # (batch, steps, units)
        theirs = ops.matmul(candidates, of_candidate - of_difference)

        def weights(steps: Tensor, own: Tensor, candidates: Tensor, theirs: Tensor) -> Tensor:
            product = ops.matmul(steps * candidates, of_product)
            hidden = self.mlp(ops.sigmoid(product + own + theirs))
            return ops.squeeze(self.output_layer(hidden), axis=-1)

        if training or candidates.shape[1] == 1:
            found = weights(
                inputs[:, None], own[:, None], candidates[:, :, None], theirs[:, :, None]
            )
        else:
            steps = (ops.swapaxes(x, 0, 1)[:, :, None] for x in (inputs, own))
            found = ops.map(
                lambda step: weights(step[0], step[1], candidates, theirs), tuple(steps)
            )
            found = ops.transpose(found, (1, 2, 0))  # (batch, candidates, steps)
        real = ops.cast(real, "float32")[:, None]
        found = ops.cast(found, "float32")
        if self.softmax:  # by hand: `keras.ops.softmax` warns of a single step
            found = found + LOWEST * (1.0 - real)
            found = ops.exp(found - ops.stop_gradient(ops.max(found, axis=-1, keepdims=True)))
            found = found / ops.sum(found, axis=-1, keepdims=True)
        return ops.matmul(ops.cast(found * real, inputs.dtype), inputs)

    def compute_output_spec(
        self, inputs: Tensor, real: Tensor, candidates: Tensor, training: bool = False
    ) -> Any:
        """Return shape and dtype of the output."""
        return keras.KerasTensor(candidates.shape, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "hidden_units": list(self.hidden_units),
            "softmax": self.softmax,
        }
