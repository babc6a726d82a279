"""Embedding concat-MLP: embed every feature, concatenate, score with a multi-layer perceptron."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kerasrec.layers import Dropout, FeatureEmbedding
from kerasrec.models.base import Recommender, align
from kerasrec.schema import Schema
from kerasrec.training import check_size
from kerasrec.types import Features, Tensor


@keras.saving.register_keras_serializable("kerasrec")
class EmbeddingMLP(Recommender):
    """Embedding concat-MLP.

        x = [e(user features), e(context features), e(item features)]
        score = w . relu(W_n ... relu(W_1 x + b_1) ... + b_n) + b

    The "MLP" of neural collaborative filtering (He et al., 2017), over all features of the schema:
    ids are embedded, bags and sequences are averaged, numbers enter as they are (scale them).
    Deviations from the paper: the layers need not halve, and features beyond the ids are allowed.

    Args:
        schema: the features.
        embedding_dim: length of a row, in every table.
        hidden_units: widths of the hidden layers.
        dropout: share of hidden units dropped in training, after each hidden layer.
        initial_bias: where b starts; the mean training rating is a good choice.
        stddev: standard deviation of the initial rows.
        l2: weight of the penalty on looked-up rows.

    Input shape:
        dict of named features: query side `(batch,) + shape`, item side `(batch,) + shape` or
        `(batch, candidates) + shape`, with the shapes and dtypes of the schema.

    Output shape:
        float32 scores `(batch,)` or `(batch, candidates)`.

    Raises:
        ValueError: if an input is missing, a size is not positive or a weight is negative.

    Example:

    >>> import numpy as np
    >>> from kerasrec.schema import Categorical, Schema
    >>> schema = Schema(user=Categorical("user_id", 10), item=Categorical("item_id", 12))
    >>> model = EmbeddingMLP(schema, embedding_dim=8, hidden_units=(16,))
    >>> model.predict({"user_id": np.array([2]), "item_id": np.array([[4, 5, 6]])}, verbose=0).shape
    (1, 3)
    """

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: int = 64,
        hidden_units: Sequence[int] = (128, 64),
        dropout: float = 0.0,
        initial_bias: float = 0.0,
        stddev: float = 0.1,
        l2: float = 0.0,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(schema, name=name, dtype=dtype)
        check_size(self, "embedding_dim", embedding_dim)
        for units in hidden_units:
            check_size(self, "each of hidden_units", units)
        self.embedding_dim = embedding_dim
        self.hidden_units = tuple(hidden_units)
        self.dropout = dropout
        self.initial_bias = initial_bias
        self.stddev = stddev
        self.l2 = l2
        self.features = FeatureEmbedding(
            self.schema,
            embedding_dim=embedding_dim,
            stddev=stddev,
            l2=l2,
            name="features",
            dtype=self.dtype_policy,
        )
        self.hidden = [
            keras.layers.Dense(
                units, activation="relu", name=f"hidden_{index}", dtype=self.dtype_policy
            )
            for index, units in enumerate(self.hidden_units)
        ]
        self.drop = Dropout(dropout, name="dropout", dtype=self.dtype_policy)
        self.output_layer = keras.layers.Dense(
            1,
            bias_initializer=keras.initializers.Constant(initial_bias),
            name="output",
            dtype=self.dtype_policy,
        )
        self.build()

    def call(self, inputs: Features, training: bool = False) -> Tensor:
        """Scores of the pairs."""
        items = self.features(inputs, names=[f.name for f in self.schema.item])
        query = self.features(inputs, names=[f.name for f in self.schema.query])
        query = align(query, items)
        lead = items.shape[:-1] if None not in items.shape[:-1] else ops.shape(items)[:-1]
        query = ops.broadcast_to(query, (*lead, query.shape[-1]))
        x = ops.concatenate([query, items], axis=-1)  # (batch[, candidates], width)
        for layer in self.hidden:
            x = self.drop(layer(x), training=training)
        return ops.cast(ops.squeeze(self.output_layer(x), axis=-1), "float32")

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "embedding_dim": self.embedding_dim,
            "hidden_units": list(self.hidden_units),
            "dropout": self.dropout,
            "initial_bias": self.initial_bias,
            "stddev": self.stddev,
            "l2": self.l2,
        }
