"""Densely connected encoder of a bag of items."""

from typing import Any

import keras
from keras import ops

from kerasrec.layers.id_bag import sum_rows
from kerasrec.types import Tensor

# Hidden layers, as in the paper of RecVAE, and the epsilon of the normalisation in its program.
LAYERS = 5
_EPSILON = 0.1


class ProfileEncoder(keras.layers.Layer):
    """Hidden layers that each read the sum of all layers before, and a normal distribution.

        h_1 = norm(swish(W_1 x)),    h_n = norm(swish(W_n h_{n-1} + h_1 + ... + h_{n-1}))

    (Shenbin et al., 2020, "RecVAE"). x is a bag of items with weights.

    Args:
        num_ids: number of item ids.
        units: width of the hidden layers.
        dim: length of the mean.
        **kwargs: as for `keras.layers.Layer`.

    Input shape:
        int32 ids `(batch, width)`, each once, 0 at padding; float32 weights, likewise.

    Output shape:
        Mean and logarithm of the variance `(batch, dim)`.
    """

    built: bool

    def __init__(self, num_ids: int, units: int, dim: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.autocast = False
        # The first layer is float32 under every policy.
        self.vectors = self.add_weight(
            shape=(num_ids, units), initializer="glorot_uniform", autocast=False, name="vectors"
        )
        self.bias = self.add_weight(shape=(units,), initializer="zeros", name="bias")
        self.hidden = [self._dense(units, f"hidden_{at}") for at in range(1, LAYERS)]
        self.norms = [
            keras.layers.LayerNormalization(
                epsilon=_EPSILON, name=f"{self.name}_norm_{at}", dtype=self.dtype_policy
            )
            for at in range(LAYERS)
        ]
        self.mean = self._dense(dim, "mean")
        self.log_variance = self._dense(dim, "log_variance")
        for layer in (*self.hidden, *self.norms, self.mean, self.log_variance):
            layer.build((None, units))
        self.built = True

    def _dense(self, units: int, name: str) -> keras.layers.Dense:
        # Paths of weights hold the name of the layer that is built alone.
        return keras.layers.Dense(units, name=f"{self.name}_{name}", dtype=self.dtype_policy)

    def call(self, items: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and logarithm of the variance."""
        read = ops.cast(sum_rows(self.vectors, items, weights), self.compute_dtype)
        hidden = self.norms[0](ops.silu(read + ops.cast(self.bias, self.compute_dtype)))
        before = hidden
        for layer, norm in zip(self.hidden, self.norms[1:], strict=True):
            hidden = norm(ops.silu(layer(hidden) + before))
            before = before + hidden
        return self.mean(hidden), self.log_variance(hidden)
