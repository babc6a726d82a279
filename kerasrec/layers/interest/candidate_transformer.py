"""Transformer layer over a history and a candidate, read at the candidate."""

from typing import Any

import keras
from keras import ops

from kerasrec._checks import check_integer
from kerasrec.layers.dropout import Dropout
from kerasrec.types import Tensor

LOWEST = -1e9


@keras.saving.register_keras_serializable("kerasrec")
class CandidateTransformer(keras.layers.Layer):
    """One transformer layer over the steps of a history and a candidate behind them.

        x_j = e_j + p_{n-j+1},  x_0 = c + p_0            n: number of steps
        y = norm(x_0 + W_o [softmax_j(q_h . k_hj) v_hj for each head h])
        z = norm(y + W_2 leaky_relu(W_1 y + b_1) + b_2)

    q is linear in x_0, k and v in all x, the candidate's own included, so that a candidate without
    a history attends to itself. p counts the steps back from the candidate. The state of the
    candidate alone is computed, which costs as much as one step of a self-attention.

    Args:
        num_heads: number of heads, a divisor of the last axis of the inputs.
        max_length: largest number of steps.
        dropout: fraction of the units dropped in training, after the attention and after W_2.
        **kwargs: as for `keras.layers.Layer`.

    Call arguments:
        inputs: the steps e `(batch, steps, dim)`, 0 at padding, which is on the right.
        real: 1 at steps and 0 at padding, `(batch, steps)`.
        candidates: c `(batch, candidates, dim)`.
        training: whether to apply dropout.

    Output shape:
        `(batch, candidates, dim)`.

    Raises:
        ValueError: if a number is not positive, or `dim` is not a multiple of `num_heads`.

    Example:

    >>> import numpy as np
    >>> steps, real, candidates = np.ones((2, 5, 4)), np.ones((2, 5)), np.ones((2, 3, 4))
    >>> CandidateTransformer(2, 5)(steps, real, candidates).shape
    TensorShape([2, 3, 4])
    """

    def __init__(
        self, num_heads: int, max_length: int, *, dropout: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        check_integer(self, "num_heads", num_heads, 1)
        check_integer(self, "max_length", max_length, 1)
        self.num_heads = num_heads
        self.max_length = max_length
        self.dropout = dropout
        self.drop = Dropout(dropout, name="dropout", dtype=self.dtype_policy)

    def build(self, input_shape: Any) -> None:
        """Create the weights."""
        dim, policy = input_shape[-1], {"dtype": self.dtype_policy}
        if dim % self.num_heads:
            raise ValueError(
                f"CandidateTransformer: the inputs' last axis must be a multiple of num_heads="
                f"{self.num_heads}; received {dim}."
            )
        self.places = self.add_weight(
            (self.max_length + 1, dim),
            initializer=keras.initializers.RandomNormal(stddev=0.02),
            name="places",
        )

        def dense(units: int, name: str, **options: Any) -> Any:
            layer = keras.layers.Dense(units, name=name, **options, **policy)
            layer.build((None, dim))
            return layer

        def norm(name: str) -> Any:
            layer = keras.layers.LayerNormalization(epsilon=1e-6, name=name, **policy)
            layer.build((None, dim))
            return layer

        self.query = dense(dim, "query", use_bias=False)
        self.keys_values = dense(2 * dim, "keys_values", use_bias=False)
        self.outward = dense(dim, "outward")
        self.inner, self.outer = dense(dim, "inner"), dense(dim, "outer")
        self.attention_norm, self.forward_norm = norm("attention_norm"), norm("forward_norm")
        self.built = True

    def call(
        self, inputs: Tensor, real: Tensor, candidates: Tensor, training: bool = False
    ) -> Tensor:
        """Return z of the candidates."""
        width, dim = candidates.shape[-1], candidates.shape[-1] // self.num_heads
        places = ops.cast(self.places, self.compute_dtype)
        back = ops.sum(ops.cast(real, "int32"), axis=1)[:, None] - ops.arange(inputs.shape[1])
        steps = inputs + ops.take(places, ops.clip(back, 0, self.max_length), axis=0)
        x = candidates + places[0]

        def heads(values: Tensor) -> Tensor:
            shape = ops.shape(values)
            return ops.reshape(values, (shape[0], shape[1], self.num_heads, dim))

        query = heads(self.query(x)) * ops.cast(dim**-0.5, self.compute_dtype)
        key, value = map(heads, ops.split(self.keys_values(steps), 2, axis=-1))
        own_key, own_value = map(heads, ops.split(self.keys_values(x), 2, axis=-1))
        products = ops.cast(ops.einsum("bchd,bshd->bchs", query, key), "float32")
        products = products + LOWEST * (1.0 - ops.cast(real, "float32"))[:, None, None]
        own = ops.cast(ops.sum(query * own_key, axis=-1, keepdims=True), "float32")
        shares = ops.softmax(ops.concatenate([own, products], axis=-1), axis=-1)
        shares = ops.cast(shares, self.compute_dtype)
        found = shares[..., :1] * own_value
        found = found + ops.einsum("bchs,bshd->bchd", shares[..., 1:], value)
        found = self.outward(ops.reshape(found, (*ops.shape(x)[:2], width)))
        x = self.attention_norm(x + self.drop(found, training=training))
        forward = self.outer(ops.leaky_relu(self.inner(x)))
        return self.forward_norm(x + self.drop(forward, training=training))

    def compute_output_spec(
        self, inputs: Tensor, real: Tensor, candidates: Tensor, training: bool = False
    ) -> Any:
        """Return shape and dtype of the output."""
        return keras.KerasTensor(candidates.shape, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "max_length": self.max_length,
            "dropout": self.dropout,
        }
