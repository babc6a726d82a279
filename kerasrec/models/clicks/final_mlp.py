"""Two streams of hidden layers, whose outputs are fused by a bilinear form."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kerasrec._checks import check_integer
from kerasrec.layers.fields.field_embedding import flat
from kerasrec.models.clicks.field_model import DeepFieldModel, as_logit
from kerasrec.schema import Schema
from kerasrec.types import Features, Tensor


@keras.saving.register_keras_serializable("kerasrec")
class FinalMLP(DeepFieldModel):
    """Two-stream MLP with gated fields and bilinear fusion.

        x = [v_1, ..., v_F]                                     vectors of all features
        h_s = MLP_s(2 sigmoid(gate_s) * x)                      s = 1, 2
        logit = w_1 . h_1 + w_2 . h_2 + b + sum over heads k of h_1k' W_k h_2k

    Each head k reads an equal part of h_1 and of h_2. The gate of the first stream is an MLP of
    the vectors of the query, that of the second of the item, so that the streams look at different
    fields. Where the schema has no such side, the gate reads a trained vector (Mao et al., 2023,
    "FinalMLP: An Enhanced Two-Stream MLP Model for CTR Prediction"). Deviation from the paper:
    the gates read the vectors of x and have no tables of their own.

    Args:
        schema: the features.
        embedding_dim: length of a row, in every table.
        hidden_units: widths of the first stream.
        second_hidden_units: widths of the second stream.
        num_heads: number of heads, a divisor of the last width of both streams.
        gate_units: widths of the hidden layers of both gates; None for no gates.
        dropout: fraction of the hidden units dropped in training, after each hidden layer.
        batch_normalization: whether each hidden layer is normalised before its activation.
        embedding_l2: weight of the penalty on looked-up rows.

    Input shape:
        dict of named features: query side `(batch,) + shape`, item side, if there is one,
        `(batch,) + shape` or `(batch, candidates) + shape`.

    Output shape:
        float32 logits `(batch,)` or `(batch, candidates)`.

    Raises:
        ValueError: if an input is missing, a size is not positive, a stream has no layer or a last
            width that the heads do not divide, the weight is negative or `dropout` is no share.

    Example:

    >>> import numpy as np
    >>> from kerasrec.schema import Categorical, Numeric, Schema
    >>> schema = Schema(context=[Categorical("country", 12), Numeric("age", mean=40.0)])
    >>> model = FinalMLP(schema, embedding_dim=8, hidden_units=(16,), second_hidden_units=(8,))
    >>> model({"country": np.array([2, 3]), "age": np.array([31.0, 55.0])}).shape
    TensorShape([2])
    """

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: int = 16,
        hidden_units: Sequence[int] = (128, 64),
        second_hidden_units: Sequence[int] = (128, 64),
        num_heads: int = 1,
        gate_units: Sequence[int] | None = None,
        dropout: float = 0.0,
        batch_normalization: bool = False,
        embedding_l2: float = 0.0,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            schema,
            embedding_dim=embedding_dim,
            hidden_units=hidden_units,
            dropout=dropout,
            batch_normalization=batch_normalization,
            embedding_l2=embedding_l2,
            name=name,
            dtype=dtype,
        )
        self.second_hidden_units = self.widths("second_hidden_units", second_hidden_units)
        check_integer(self, "num_heads", num_heads, 1)
        last = [*self.hidden_units[-1:], *self.second_hidden_units[-1:]]
        if len(last) < 2 or any(width % num_heads for width in last):
            raise ValueError(
                f"FinalMLP: each stream needs a layer, whose last width num_heads={num_heads} "
                f"divides; received hidden_units={self.hidden_units} and "
                f"second_hidden_units={self.second_hidden_units}. Change a width, or num_heads=1."
            )
        self.num_heads = num_heads
        self.gate_units = (
            gate_units if gate_units is None else self.widths("gate_units", gate_units)
        )
        self.fields = self.make_fields(embedding_dim)
        self.streams = [
            self.make_mlp("stream_1", self.hidden_units),
            self.make_mlp("stream_2", self.second_hidden_units),
        ]
        query = sum(feature in self.schema.query for feature in self.schema.fields)
        self.sides_of_gates = [slice(query), slice(query, None)]
        self.gates: list[Any] = []
        self.starts: list[Any] = []  # trained vectors, None for a gate that reads a side
        if self.gate_units is not None:
            self._make_gates()
        self.output_layer = self.make_output()  # w_1, w_2 and b
        self.bilinear = self.add_weight(
            shape=(num_heads, *(width // num_heads for width in last)),
            initializer="glorot_uniform",
            name="bilinear",
        )
        self.build()

    def _make_gates(self) -> None:
        for index, side in enumerate(self.sides_of_gates):
            start = None
            if not self.schema.fields[side]:
                start = self.add_weight(
                    shape=(1, self.embedding_dim), initializer="ones", name=f"start_{index + 1}"
                )
            self.starts.append(start)
            width = self.num_fields * self.embedding_dim
            output = keras.layers.Dense(
                width, "sigmoid", name=f"gate_{index + 1}_output", dtype=self.dtype_policy
            )
            hidden = self.make_mlp(f"gate_{index + 1}", self.gate_units or ())
            self.gates.append((hidden, output))

    def call(self, inputs: Features, training: bool = False) -> Tensor:
        """Return the logits of the rows."""
        fields = self.fields(inputs)  # (batch[, candidates], fields, dim)
        x = flat(fields)
        first, second = (
            stream(self._gated(index, x, fields, training), training=training)
            for index, stream in enumerate(self.streams)
        )
        linear = as_logit(self.output_layer(ops.concatenate([first, second], axis=-1)))
        first, second = self._heads(first), self._heads(second)
        weights = ops.cast(self.bilinear, first.dtype)
        fused = ops.sum(ops.einsum("...hi,hij->...hj", first, weights) * second, axis=(-2, -1))
        return linear + ops.cast(fused, "float32")

    def _gated(self, index: int, x: Tensor, fields: Tensor, training: bool) -> Tensor:
        if not self.gates:
            return x
        hidden, output = self.gates[index]
        start = self.starts[index]
        if start is None:
            context = flat(fields[..., self.sides_of_gates[index], :])
        else:
            context = ops.cast(start, x.dtype)
        gate = output(hidden(context, training=training))
        if len(gate.shape) < len(x.shape):  # a trained vector, the same for all candidates
            gate = ops.expand_dims(gate, 1)
        return 2 * gate * x

    def _heads(self, x: Tensor) -> Tensor:
        width = x.shape[-1] // self.num_heads
        return ops.reshape(x, (*ops.shape(x)[:-1], self.num_heads, width))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "second_hidden_units": list(self.second_hidden_units),
            "num_heads": self.num_heads,
            "gate_units": None if self.gate_units is None else list(self.gate_units),
        }
