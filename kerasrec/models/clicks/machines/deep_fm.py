"""Factorization machine and hidden layers over the same vectors."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kerasrec.layers.fields.field_embedding import flat, pair_products
from kerasrec.models.clicks.field_model import DeepFieldModel, as_logit
from kerasrec.schema import Schema
from kerasrec.types import Features, Tensor


@keras.saving.register_keras_serializable("kerasrec")
class DeepFM(DeepFieldModel):
    """Factorization machine beside hidden layers that read the same vectors.

        logit = sum over f of w_f + sum over f < g of <v_f, v_g> + w . MLP([v_1, ..., v_F]) + b

    The pairs are those of `FactorizationMachine`; the hidden layers add products of more features
    (Guo et al., 2017, "DeepFM: A Factorization-Machine based Neural Network for CTR Prediction").
    Deviations from the paper: the vector of a number is its scaled value times a trained vector,
    that of a bag the mean over its ids.

    Args:
        schema: the features.
        embedding_dim: length of a row, in every table.
        hidden_units: widths of the hidden layers.
        dropout: fraction of the hidden units dropped in training, after each hidden layer.
        batch_normalization: whether each hidden layer is normalised before its activation.
        embedding_l2: weight of the penalty on looked-up rows.

    Input shape:
        dict of named features: query side `(batch,) + shape`, item side, if there is one,
        `(batch,) + shape` or `(batch, candidates) + shape`.

    Output shape:
        float32 logits `(batch,)` or `(batch, candidates)`.

    Raises:
        ValueError: if an input is missing, a size is not positive, the weight is negative or
            `dropout` is no share.

    Example:

    >>> import numpy as np
    >>> from kerasrec.schema import Categorical, Numeric, Schema
    >>> schema = Schema(context=[Categorical("country", 12), Numeric("age", mean=40.0)])
    >>> model = DeepFM(schema, embedding_dim=8, hidden_units=(16,))
    >>> model({"country": np.array([2, 3]), "age": np.array([31.0, 55.0])}).shape
    TensorShape([2])
    """

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: int = 16,
        hidden_units: Sequence[int] = (128, 64),
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
        self.fields = self.make_fields(embedding_dim + 1)  # v and w, which are looked up together
        self.mlp = self.make_mlp("mlp", self.hidden_units)
        self.output_layer = self.make_output()
        self.build()

    def call(self, inputs: Features, training: bool = False) -> Tensor:
        """Return the logits of the rows."""
        fields = self.fields(inputs)
        vectors = fields[..., :-1]  # (batch[, candidates], fields, dim)
        linear = ops.sum(ops.cast(fields[..., -1], "float32"), axis=-1)
        deep = self.output_layer(self.mlp(flat(vectors), training=training))
        return linear + pair_products(vectors) + as_logit(deep)
