"""Factorization machine with hidden layers above its products of pairs."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kerasrec._checks import check_share
from kerasrec.layers import Dropout
from kerasrec.layers.fields.field_embedding import pooled_pairs
from kerasrec.models.clicks.field_model import DeepFieldModel, as_logit
from kerasrec.schema import Schema
from kerasrec.types import Features, Tensor


@keras.saving.register_keras_serializable("kerasrec")
class NeuralFM(DeepFieldModel):
    """Neural factorization machine (He and Chua, 2017).

        p = sum over f < g of v_f * v_g                            element by element
        logit = b + sum over f of w_f + w . MLP(p)

    A factorization machine sums the elements of p; here hidden layers read them, see "Neural
    Factorization Machines for Sparse Predictive Analytics". p comes from sums over the features, at
    a cost that is linear in them:

        p = 1/2 ((sum of v_f)^2 - sum of v_f^2)

    With `batch_normalization`, p is normalised too, as in the paper, which makes its elements alike
    in size however short the rows are. `pair_dropout` keeps the pairs from learning the rows by
    heart.

    Args:
        schema: the features.
        embedding_dim: length of v.
        hidden_units: widths of the hidden layers; with none, the model weighs the elements of p.
        dropout: fraction of the hidden units dropped in training, after each hidden layer.
        pair_dropout: fraction of the elements of p dropped in training.
        batch_normalization: whether p and each hidden layer are normalised, the latter before its
            activation.
        embedding_l2: weight of the penalty on looked-up rows.

    Input shape:
        dict of named features: query side `(batch,) + shape`, item side, if there is one,
        `(batch,) + shape` or `(batch, candidates) + shape`.

    Output shape:
        float32 logits `(batch,)` or `(batch, candidates)`.

    Raises:
        ValueError: if an input is missing, a size is not positive, the weight is negative or a
            dropout is no share.

    Example:

    >>> import numpy as np
    >>> from kerasrec.schema import Categorical, Numeric, Schema
    >>> schema = Schema(context=[Categorical("country", 12), Numeric("age", mean=40.0)])
    >>> model = NeuralFM(schema, embedding_dim=8, hidden_units=(16,))
    >>> model({"country": np.array([2, 3]), "age": np.array([31.0, 55.0])}).shape
    TensorShape([2])
    """

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: int = 64,
        hidden_units: Sequence[int] = (64,),
        dropout: float = 0.0,
        pair_dropout: float = 0.0,
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
        check_share(self, "pair_dropout", pair_dropout, one=False)
        self.pair_dropout = pair_dropout
        self.fields = self.make_fields(embedding_dim + 1)  # v and w, which are looked up together
        policy = {"dtype": self.dtype_policy}
        self.normalization = (
            # Products of fresh rows are smaller than the stock layer's epsilon.
            keras.layers.BatchNormalization(epsilon=1e-9, name="pair_normalization", **policy)
            if batch_normalization
            else None
        )
        self.drop_pairs = Dropout(pair_dropout, name="pair_dropout", **policy)
        self.mlp = self.make_mlp("mlp", self.hidden_units)
        self.output_layer = self.make_output()
        self.build()

    def call(self, inputs: Features, training: bool = False) -> Tensor:
        """Return the logits of the rows."""
        fields = self.fields(inputs)  # (batch[, candidates], fields, dim + 1)
        linear = ops.sum(ops.cast(fields[..., -1], "float32"), axis=-1)
        pairs = ops.cast(pooled_pairs(fields[..., :-1]), self.compute_dtype)
        if self.normalization is not None:
            # The stock layer keeps the rank that it was built with; candidates add an axis.
            rows = ops.reshape(pairs, (-1, self.embedding_dim))
            pairs = ops.reshape(self.normalization(rows, training=training), ops.shape(pairs))
        pairs = self.drop_pairs(pairs, training=training)
        return linear + as_logit(self.output_layer(self.mlp(pairs, training=training)))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "pair_dropout": self.pair_dropout}
