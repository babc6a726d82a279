"""Causal self-attention over packed sequences."""

from typing import Any

import keras
from keras import ops

from kerasrec.layers.dropout import Dropout
from kerasrec.layers.histories import seen_by_each
from kerasrec.types import Tensor

LOWEST = -1e9


@keras.saving.register_keras_serializable("kerasrec")
class CausalAttention(keras.layers.Layer):
    """Multi-head causal self-attention: each step attends to itself and to earlier steps.

        a_ts = <q_t, k_s> / sqrt(d / heads) + b_{t-s}        s <= t, in the same sequence
        y_t  = W_o sum_s softmax_s(a_ts) v_s + c

    q, k and v are linear in x. b is a bias per head and distance, initialised to 0 (the relative
    bias of Raffel et al., 2020, "Exploring the Limits of Transfer Learning", here without buckets).
    It lets a head prefer recent steps without a position embedding. Unlike in
    `keras.layers.MultiHeadAttention`, which takes no bias, several sequences may share a row, and
    the three projections of x are one matrix product.

    Args:
        num_heads: number of heads, a divisor of the last axis of the inputs.
        max_length: number of distances with a bias of their own; larger ones share the last bias.
        distance_bias: add b.
        output_projection: multiply the concatenated head outputs by W_o and add c.
        dropout: fraction of the softmax weights dropped in training.
        **kwargs: as for `keras.layers.Layer`.

    Call arguments:
        inputs: x `(batch, length, dim)`; the length is static.
        position: position of each step in its sequence, `(batch, length)` or `(1, length)`, 0 at
            the start of a sequence.
        queries: inputs of the query projection, `(batch, length, dim)`; None for the inputs.
        training: apply dropout to the softmax weights.

    Output shape:
        `(batch, length, dim)`.

    Raises:
        ValueError: if `dim` is not a multiple of `num_heads`.

    Example:

    >>> import numpy as np
    >>> steps = np.ones((1, 4, 2), "float32")
    >>> found = CausalAttention(1, max_length=4)(steps, np.array([[0, 1, 0, 1]])).numpy()
    >>> bool(np.allclose(found[:, :2], found[:, 2:])), found.shape
    (True, (1, 4, 2))
    """

    def __init__(
        self,
        num_heads: int,
        max_length: int,
        *,
        distance_bias: bool = True,
        output_projection: bool = True,
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.max_length = max_length
        self.distance_bias = distance_bias
        self.output_projection = output_projection
        self.dropout = dropout
        self.drop = Dropout(dropout, name="dropout", dtype=self.dtype_policy)

    def build(self, input_shape: Any) -> None:
        """Create the weights."""
        dim = input_shape[-1]
        if dim % self.num_heads:
            raise ValueError(
                f"CausalAttention: the inputs' last axis must be a multiple of num_heads="
                f"{self.num_heads}; received {dim}."
            )
        self.inward = keras.layers.Dense(3 * dim, name="inward", dtype=self.dtype_policy)
        self.inward.build(input_shape)
        if self.output_projection:
            self.outward = keras.layers.Dense(dim, name="outward", dtype=self.dtype_policy)
            self.outward.build(input_shape)
        if self.distance_bias:
            self.bias = self.add_weight(
                (self.num_heads, self.max_length), initializer="zeros", name="distance_bias"
            )
        self.built = True

    def call(
        self,
        inputs: Tensor,
        position: Tensor,
        queries: Tensor | None = None,
        training: bool = False,
    ) -> Tensor:
        """Return the attention output of each step."""
        length, dim = inputs.shape[1:]
        heads = (-1, length, self.num_heads, dim // self.num_heads)
        query, key, value = (
            ops.reshape(part, heads) for part in self._projected(inputs, queries, dim)
        )
        query = query * ops.cast((dim // self.num_heads) ** -0.5, query.dtype)
        scores = ops.cast(ops.einsum("bthd,bshd->bhts", query, key), "float32")
        if self.distance_bias:
            step = ops.arange(length, dtype="int32")
            distance = ops.clip(step[:, None] - step, 0, self.max_length - 1)
            scores = scores + ops.take(ops.cast(self.bias, "float32"), distance, axis=1)
        scores = ops.where(seen_by_each(position)[:, None], scores, LOWEST)
        # Softmax by hand: `keras.ops.softmax` warns about rows of a single step.
        shares = ops.exp(scores - ops.stop_gradient(ops.max(scores, axis=-1, keepdims=True)))
        shares = ops.cast(shares / ops.sum(shares, axis=-1, keepdims=True), value.dtype)
        shares = self.drop(shares, training=training)
        found = ops.reshape(ops.einsum("bhts,bshd->bthd", shares, value), (-1, length, dim))
        return self.outward(found) if self.output_projection else found

    def _projected(self, inputs: Tensor, queries: Tensor | None, dim: int) -> list[Tensor]:
        """Return q, k and v `(batch, length, dim)`, as one product if all depend on x."""
        if queries is None:
            return ops.split(self.inward(inputs), 3, axis=-1)
        kernel = ops.cast(self.inward.kernel, self.compute_dtype)
        bias = ops.cast(self.inward.bias, self.compute_dtype)
        query = ops.matmul(queries, kernel[:, :dim]) + bias[:dim]
        return [query, *ops.split(ops.matmul(inputs, kernel[:, dim:]) + bias[dim:], 2, axis=-1)]

    def compute_output_spec(
        self,
        inputs: Tensor,
        position: Tensor,
        queries: Tensor | None = None,
        training: bool = False,
    ) -> Any:
        """Return shape and dtype of the output."""
        return keras.KerasTensor(inputs.shape, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "max_length": self.max_length,
            "distance_bias": self.distance_bias,
            "output_projection": self.output_projection,
            "dropout": self.dropout,
        }
