"""Concatenated embeddings of all features, scored by a multi-layer perceptron."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kerasrec.models.perceptron import PerceptronRecommender
from kerasrec.schema import Schema
from kerasrec.types import Features, Tensor


@keras.saving.register_keras_serializable("kerasrec")
class EmbeddingMLP(PerceptronRecommender):
    """Multi-layer perceptron over the concatenated embeddings of all features.

        x = [e(user features), e(context features), e(item features)]
        score = w . relu(W_n ... relu(W_1 x + b_1) ... + b_n) + b

    The "MLP" of neural collaborative filtering (He et al., 2017), over all features of the schema:
    ids are embedded, bags and sequences are averaged, numbers are scaled as the schema says.
    Deviations from the paper: layer widths need not halve, and features other than the ids are
    allowed.

    Args:
        schema: the features.
        embedding_dim: length of a row, in every table.
        hidden_units: widths of the hidden layers.
        dropout: fraction of the hidden units dropped in training, after each hidden layer.
        initial_bias: initial value of b; the mean training rating is a good choice.
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
        super().__init__(
            schema,
            embedding_dim=embedding_dim,
            hidden_units=hidden_units,
            dropout=dropout,
            initial_bias=initial_bias,
            stddev=stddev,
            l2=l2,
            name=name,
            dtype=dtype,
        )
        self.make_perceptron()
        self.build()

    def call(self, inputs: Features, training: bool = False) -> Tensor:
        """Return the scores of the pairs."""
        score = self.output_layer(self.perceptron(inputs, training))
        return ops.cast(ops.squeeze(score, axis=-1), "float32")

    def item_part(self, inputs: Features) -> Tensor:
        """Return W_i i, see `kerasrec.types.PartsRanker`; None without hidden layers."""
        return self.part_of_items(inputs)

    def query_part(self, inputs: Features) -> Tensor:
        """Return W_q q + b_1."""
        return self.part_of_query(inputs)

    def score_parts(self, query: Tensor, items: Tensor) -> Tensor:
        """Return the scores `(batch, items)` of every query with every item."""
        query, items = (ops.cast(part, self.compute_dtype) for part in (query, items))
        score = self.output_layer(self.of_parts(query, items))
        return ops.cast(ops.reshape(score, (-1, ops.shape(items)[0])), "float32")
