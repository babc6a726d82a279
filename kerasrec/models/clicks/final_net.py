"""Layers that multiply two linear maps of their input, in one or two blocks."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kerasrec._checks import check_flag, check_number
from kerasrec.layers.fields.field_embedding import flat
from kerasrec.models.clicks.field_model import DeepFieldModel, as_logit
from kerasrec.schema import Schema
from kerasrec.types import Features, Tensor


@keras.saving.register_keras_serializable("kerasrec")
class FinalNet(DeepFieldModel):
    """Factorised interaction layers, with two blocks that learn from their mean.

        h_{l+1} = dropout(relu(norm(A_l h_l + (A_l h_l) * (B_l h_l))))     with biases in A, B
        logit = mean over the blocks of w_s . h_s + b_s

    Each layer doubles the degree of the products of features, where a hidden layer of an MLP adds
    none. Two blocks are regularised by self-distillation: each is also trained towards the
    probability that the model as a whole gives,

        loss + distillation * sum over blocks of crossentropy(sigmoid(logit), logit_s)

    (Zhu et al., 2023, "FINAL: Factorized Interaction Layer for CTR Prediction"). With the field
    gate, the blocks also read each v_f times a linear map of that dimension over all fields.

    Args:
        schema: the features.
        embedding_dim: length of a row, in every table.
        hidden_units: widths of the first block.
        second_hidden_units: widths of the second block; with none, there is one block.
        distillation: weight of the self-distillation, 0 for none.
        field_gate: whether the blocks also read gated fields.
        dropout: fraction of the hidden units dropped in training, after each layer.
        batch_normalization: whether each layer is normalised before its activation.
        embedding_l2: weight of the penalty on looked-up rows.

    Input shape:
        dict of named features: query side `(batch,) + shape`, item side, if there is one,
        `(batch,) + shape` or `(batch, candidates) + shape`.

    Output shape:
        float32 logits `(batch,)` or `(batch, candidates)`.

    Raises:
        ValueError: if an input is missing, a size is not positive, a weight is negative or
            `dropout` is no share.

    Example:

    >>> import numpy as np
    >>> from kerasrec.schema import Categorical, Numeric, Schema
    >>> schema = Schema(context=[Categorical("country", 12), Numeric("age", mean=40.0)])
    >>> model = FinalNet(schema, embedding_dim=8, hidden_units=(16,), second_hidden_units=(8,))
    >>> model({"country": np.array([2, 3]), "age": np.array([31.0, 55.0])}).shape
    TensorShape([2])
    """

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: int = 16,
        hidden_units: Sequence[int] = (128, 64),
        second_hidden_units: Sequence[int] = (),
        distillation: float = 1.0,
        field_gate: bool = False,
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
        check_number(self, "distillation", distillation)
        check_flag(self, "field_gate", field_gate)
        self.distillation = distillation
        self.field_gate = field_gate
        self.fields = self.make_fields(embedding_dim)
        if field_gate:
            # All gates are 1 at the start.
            self.gate = keras.layers.Dense(
                self.num_fields,
                kernel_initializer="zeros",
                bias_initializer="ones",
                name="gate",
                dtype=self.dtype_policy,
            )
        blocks = [self.hidden_units, *([self.second_hidden_units] if second_hidden_units else [])]
        self.blocks = [
            self.make_mlp(f"block_{index}", units, factorized=True)
            for index, units in enumerate(blocks)
        ]
        self.outputs_of_blocks = [
            self.make_output(f"output_{index}") for index in range(len(blocks))
        ]
        self.build()

    def call(self, inputs: Features, training: bool = False) -> Tensor:
        """Return the logits of the rows. In training, add the loss of the self-distillation."""
        fields = self.fields(inputs)  # (batch[, candidates], fields, dim)
        if self.field_gate:
            gates = ops.swapaxes(self.gate(ops.swapaxes(fields, -1, -2)), -1, -2)
            fields = ops.concatenate([fields, gates * fields], axis=-2)
        x = flat(fields)
        logits = [
            as_logit(output(block(x, training=training)))
            for block, output in zip(self.blocks, self.outputs_of_blocks, strict=True)
        ]
        logit = sum(logits[1:], logits[0]) / len(logits)
        if training and self.distillation and len(logits) > 1:
            goal = ops.stop_gradient(ops.sigmoid(logit))
            losses = [ops.mean(ops.softplus(one) - goal * one) for one in logits]
            self.add_loss(self.distillation * sum(losses[1:], losses[0]))
        return logit

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "second_hidden_units": list(self.second_hidden_units),
            "distillation": self.distillation,
            "field_gate": self.field_gate,
        }
