"""Self-attention over packed sequences, with a bias by distance."""

from typing import Any

import keras
from keras import ops

from kerasrec.layers.histories import seen_by_each
from kerasrec.types import Tensor

LOWEST = -1e9


@keras.saving.register_keras_serializable("kerasrec")
class CausalAttention(keras.layers.Layer):
    """Multi-head self-attention of each step to itself and to what came before it.

        a_ts = <q_t, k_s> / sqrt(d / heads) + b_{t-s}        s <= t, in the same sequence
        y_t  = W_o sum_s softmax_s(a_ts) v_s + c

    q, k and v are linear in x; b is a number per head and distance, 0 at first (the relative bias
    of Raffel et al., 2020, "Exploring the Limits of Transfer Learning", here without buckets).
    With it a head can turn to what is newest before any vector of a place says so. Different from
    `keras.layers.MultiHeadAttention`, which takes no bias: several sequences may share a row, and
    the three products with x are one.

    Args:
        num_heads: number of heads; they divide the last axis of the inputs.
        max_length: number of distances; larger ones share the last bias.
        **kwargs: as for `keras.layers.Layer`.

    Input shape:
        `(batch, length, dim)`, and the place of each step in its sequence, `(batch, length)` or
        `(1, length)`, 0 where one begins; the length is static.

    Output shape:
        `(batch, length, dim)`.

    Raises:
        ValueError: if `dim` is no multiple of `num_heads`.

    Example:

    >>> import numpy as np
    >>> steps = np.ones((1, 4, 2), "float32")
    >>> found = CausalAttention(1, max_length=4)(steps, np.array([[0, 1, 0, 1]])).numpy()
    >>> bool(np.allclose(found[:, :2], found[:, 2:])), found.shape
    (True, (1, 4, 2))
    """

    def __init__(self, num_heads: int, max_length: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.max_length = max_length

    def build(self, input_shape: Any) -> None:
        """Creates the weights."""
        dim = input_shape[-1]
        if dim % self.num_heads:
            raise ValueError(
                f"CausalAttention: the inputs' last axis must be a multiple of num_heads="
                f"{self.num_heads}; received {dim}."
            )
        self.inward = keras.layers.Dense(3 * dim, name="inward", dtype=self.dtype_policy)
        self.outward = keras.layers.Dense(dim, name="outward", dtype=self.dtype_policy)
        self.inward.build(input_shape)
        self.outward.build(input_shape)
        self.distance_bias = self.add_weight(
            (self.num_heads, self.max_length), initializer="zeros", name="distance_bias"
        )
        self.built = True

    def call(self, inputs: Tensor, place: Tensor) -> Tensor:
        """What each step finds."""
        length, dim = inputs.shape[1:]
        parts = ops.reshape(
            self.inward(inputs), (-1, length, 3, self.num_heads, dim // self.num_heads)
        )
        query, key, value = (parts[:, :, number] for number in range(3))
        query = query * ops.cast((dim // self.num_heads) ** -0.5, query.dtype)
        scores = ops.cast(ops.einsum("bthd,bshd->bhts", query, key), "float32")
        step = ops.arange(length, dtype="int32")
        distance = ops.clip(step[:, None] - step, 0, self.max_length - 1)
        scores = scores + ops.take(ops.cast(self.distance_bias, "float32"), distance, axis=1)
        scores = ops.where(seen_by_each(place)[:, None], scores, LOWEST)
        # Softmax by hand: that of keras warns where a row has one step.
        shares = ops.exp(scores - ops.stop_gradient(ops.max(scores, axis=-1, keepdims=True)))
        shares = ops.cast(shares / ops.sum(shares, axis=-1, keepdims=True), value.dtype)
        found = ops.einsum("bhts,bshd->bthd", shares, value)
        return self.outward(ops.reshape(found, (-1, length, dim)))

    def compute_output_spec(self, inputs: Tensor, place: Tensor) -> Any:
        """Shape and dtype of what is found."""
        return keras.KerasTensor(inputs.shape, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "max_length": self.max_length,
        }
