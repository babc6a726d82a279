"""Neural matrix factorisation: a weighted dot product plus a multi-layer perceptron."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kerasrec._checks import check_integer
from kerasrec.layers import Embedding
from kerasrec.models.base import align
from kerasrec.models.perceptron import PerceptronRecommender
from kerasrec.schema import Schema
from kerasrec.types import Features, Tensor


@keras.saving.register_keras_serializable("kerasrec")
class NeuMF(PerceptronRecommender):
    """Neural matrix factorisation (He et al., 2017, "Neural Collaborative Filtering").

        g = p_u * q_i                                            element by element
        h = relu(W_n ... relu(W_1 [e(user), e(context), e(item)] + b_1) ... + b_n)
        score = w . [g, h] + b

    The two parts have separate tables. If w is 0 for h, the model is a matrix factorisation with
    weighted dimensions. If w is 0 for g, it is `EmbeddingMLP`. Deviations from the paper: both
    parts are trained together from the start, without pretraining; h reads all features of the
    schema, as in `EmbeddingMLP`.

    Args:
        schema: the features.
        embedding_dim: length of a row, in every table of both parts.
        hidden_units: widths of the hidden layers.
        dropout: fraction of the hidden units dropped in training, after each hidden layer.
        initial_bias: initial value of b.
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
    >>> model = NeuMF(schema, embedding_dim=8, hidden_units=(16,))
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
        if not self.hidden_units:
            check_integer(self, "each of hidden_units", 0, 1)
        self.user_vectors, self.item_vectors = (
            Embedding(
                feature.num_ids,
                embedding_dim,
                l2=l2,
                # Use a fresh initializer: one used twice would give both tables the same numbers.
                embeddings_initializer=keras.initializers.RandomNormal(stddev=stddev),
                name=name_of_table,
                dtype=self.dtype_policy,
            )
            for feature, name_of_table in (
                (self.schema.user_id, "user_vectors"),
                (self.schema.item_id, "item_vectors"),
            )
        )
        self.make_perceptron()
        self.build()

    def call(self, inputs: Features, training: bool = False) -> Tensor:
        """Return the scores of the pairs."""
        user = self.user_vectors(inputs[self.schema.user_id.name])
        item = self.item_vectors(inputs[self.schema.item_id.name])
        product = align(user, item) * item  # (batch[, candidates], embedding_dim)
        x = ops.concatenate([product, self.perceptron(inputs, training)], axis=-1)
        return ops.cast(ops.squeeze(self.output_layer(x), axis=-1), "float32")

    def item_part(self, inputs: Features) -> Tensor:
        """Return [W_i i, q], see `kerasrec.types.PartsRanker`; None if a layer is quantized."""
        hidden = self.part_of_items(inputs)
        if hidden is None:
            return None
        item = self.item_vectors(inputs[self.schema.item_id.name])
        return ops.concatenate([hidden, item], axis=-1)

    def query_part(self, inputs: Features) -> Tensor:
        """Return [W_q q + b_1, w of g * p]."""
        user = self.user_vectors(inputs[self.schema.user_id.name])
        weights = ops.cast(self.output_layer.kernel[: self.embedding_dim, 0], user.dtype)
        return ops.concatenate([self.part_of_query(inputs), weights * user], axis=-1)

    def score_parts(self, query: Tensor, items: Tensor) -> Tensor:
        """Return the scores `(batch, items)` of all pairs. w . g is a matrix product."""
        query, items = (ops.cast(part, self.compute_dtype) for part in (query, items))
        width = self.hidden_units[0]
        layer = self.output_layer
        kernel, bias = (ops.cast(w, self.compute_dtype) for w in (layer.kernel, layer.bias))
        h = self.of_parts(query[:, :width], items[:, :width])
        score = ops.reshape(ops.matmul(h, kernel[self.embedding_dim :]), (-1, ops.shape(items)[0]))
        score += ops.matmul(query[:, width:], ops.transpose(items[:, width:])) + bias
        return ops.cast(score, "float32")
