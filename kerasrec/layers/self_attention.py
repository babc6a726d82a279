"""Causal self-attention over packed sequences."""

from typing import Any

import keras
from keras import ops

from kerasrec.types import Tensor

CLOSED = -1e9  # a logit that no softmax gives a share


@keras.saving.register_keras_serializable("kerasrec")
class SelfAttention(keras.layers.Layer):
    """Multi-head attention of each step to itself and the earlier steps that a mask opens.

        y = W_o [softmax(Q_h K_h' / sqrt(d_h) + mask) V_h]_h

    (Vaswani et al., 2017, "Attention Is All You Need"). The mask is added and made once for all
    layers of a model, by `causal_mask`. The heads are folded into the batch, which leaves matrix
    products of rank 3; XLA computes these faster on CPUs than those of `ops.einsum`.

    Args:
        num_heads: heads that the width of the input is divided by.
        **kwargs: as for `keras.layers.Layer`.

    Input shape:
        `(batch, length, dim)`, and a mask `(batch, length, length)`.

    Output shape:
        `(batch, length, dim)`.

    Raises:
        ValueError: if `dim` is not a multiple of `num_heads`.

    Example:

    >>> import numpy as np
    >>> steps = np.ones((1, 3, 4), "float32")
    >>> SelfAttention(2)(steps, causal_mask(np.array([[0, 1, 0]]))).shape
    TensorShape([1, 3, 4])
    """

    def __init__(self, num_heads: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_heads = num_heads

    def build(self, input_shape: Any) -> None:
        """Creates the two projections."""
        dim = input_shape[-1]
        if dim % self.num_heads:
            raise ValueError(
                f"SelfAttention: the width {dim} must be a multiple of num_heads; received "
                f"num_heads={self.num_heads}."
            )
        self.head_dim = dim // self.num_heads
        self.inward = keras.layers.Dense(3 * dim, name="query_key_value", dtype=self.dtype_policy)
        self.outward = keras.layers.Dense(dim, name="output", dtype=self.dtype_policy)
        self.inward.build(input_shape)
        self.outward.build(input_shape)
        self.built = True

    def call(self, inputs: Tensor, mask: Tensor) -> Tensor:
        """What each step gathers from the steps that it sees."""
        length, heads = inputs.shape[1], self.num_heads
        query, key, value = (
            self._fold(x, length) for x in ops.split(self.inward(inputs), 3, axis=-1)
        )
        scores = ops.matmul(query, ops.transpose(key, (0, 2, 1)))
        scores = scores * ops.cast(self.head_dim**-0.5, scores.dtype)
        mask = ops.cast(mask, scores.dtype)
        if heads > 1:
            scores = ops.reshape(scores, (-1, heads, length, length)) + mask[:, None]
            scores = ops.reshape(scores, (-1, length, length))
        else:
            scores = scores + mask
        # Keras warns of a softmax over one place; its share is 1.
        shares = ops.softmax(scores, axis=-1) if length > 1 else ops.ones_like(scores)
        found = ops.matmul(shares, value)
        if heads > 1:
            found = ops.reshape(found, (-1, heads, length, self.head_dim))
            found = ops.transpose(found, (0, 2, 1, 3))
        return self.outward(ops.reshape(found, (-1, length, heads * self.head_dim)))

    def _fold(self, x: Tensor, length: int) -> Tensor:
        if self.num_heads == 1:
            return x
        x = ops.reshape(x, (-1, length, self.num_heads, self.head_dim))
        return ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (-1, length, self.head_dim))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "num_heads": self.num_heads}


def causal_mask(place: Tensor) -> Tensor:
    """0 where a step may look, else a number that closes it: earlier steps of its own sequence.

    Args:
        place: place of each step in its own sequence `(batch, length)`, 0 where one begins.

    Returns:
        float32 `(batch, length, length)`.

    Example:

    >>> import numpy as np
    >>> (causal_mask(np.array([[0, 1, 0]]))[0] == 0).numpy().astype(int).tolist()
    [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    """
    place = ops.cast(place, "int32")
    index = ops.arange(place.shape[1], dtype="int32")
    begin = (index - place)[:, :, None]  # where the sequence of the looking step begins
    open_ = (index >= begin) & (index <= index[:, None])
    return ops.where(open_, 0.0, CLOSED)
