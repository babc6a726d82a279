"""What models with a multi-layer perceptron over all features share."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kerasrec.layers import Dropout, FeatureEmbedding
from kerasrec.models.base import Recommender, align
from kerasrec.schema import Schema
from kerasrec.training import check_size
from kerasrec.types import Features, Tensor


class PerceptronRecommender(Recommender):
    """Base of models that pass the embedded features of a pair through hidden layers.

        x = [e(user features), e(context features), e(item features)]
        h = relu(W_n ... relu(W_1 x + b_1) ... + b_n)

    A subclass creates its own layers, calls `make_perceptron()` and `build()`, and defines `call`,
    which ends with `output_layer`.

    Args:
        schema: the features.
        embedding_dim: length of a row, in every table.
        hidden_units: widths of the hidden layers.
        dropout: share of hidden units dropped in training, after each hidden layer.
        initial_bias: where the bias of the output starts.
        stddev: standard deviation of the initial rows.
        l2: weight of the penalty on looked-up rows.
        name: name of the model.
        dtype: dtype or dtype policy.

    Raises:
        ValueError: if a size is not positive.
    """

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: int,
        hidden_units: Sequence[int],
        dropout: float,
        initial_bias: float,
        stddev: float,
        l2: float,
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

    def make_perceptron(self) -> None:
        """Creates `features`, `hidden`, `drop` and `output_layer`."""
        policy = {"dtype": self.dtype_policy}
        self.features = FeatureEmbedding(
            self.schema,
            embedding_dim=self.embedding_dim,
            stddev=self.stddev,
            l2=self.l2,
            name="features",
            **policy,
        )
        self.hidden = [
            keras.layers.Dense(units, activation="relu", name=f"hidden_{index}", **policy)
            for index, units in enumerate(self.hidden_units)
        ]
        self.drop = Dropout(self.dropout, name="dropout", **policy)
        self.output_layer = keras.layers.Dense(
            1,
            bias_initializer=keras.initializers.Constant(self.initial_bias),
            name="output",
            **policy,
        )

    def perceptron(self, inputs: Features, training: bool) -> Tensor:
        """h of the pairs, `(batch[, candidates], width of the last hidden layer)`.

        Args:
            inputs: named features.
            training: whether hidden units are dropped.
        """
        items = self.features(inputs, names=[f.name for f in self.schema.item])
        query = align(self.features(inputs, names=[f.name for f in self.schema.query]), items)
        if self._shares_query(items):
            x = self.drop(self._first_of_candidates(query, items), training=training)
            hidden = self.hidden[1:]
        else:
            lead = items.shape[:-1] if None not in items.shape[:-1] else ops.shape(items)[:-1]
            query = ops.broadcast_to(query, (*lead, query.shape[-1]))
            x, hidden = ops.concatenate([query, items], axis=-1), self.hidden
        for layer in hidden:
            x = self.drop(layer(x), training=training)
        return x

    def _shares_query(self, items: Tensor) -> bool:
        """Whether several candidates share a query, and the first layer is a plain product."""
        if len(items.shape) < 3 or not self.hidden or not self.hidden[0].built:
            return False
        return getattr(self.hidden[0], "quantization_mode", None) is None

    def _first_of_candidates(self, query: Tensor, items: Tensor) -> Tensor:
        """The first hidden layer, whose product with the query is computed once per query.

        W [q, i] = W_q q + W_i i: for a thousand candidates a thousandth of the one part.
        """
        layer = self.hidden[0]
        kernel = ops.cast(layer.kernel, layer.compute_dtype)
        bias = ops.cast(layer.bias, layer.compute_dtype)
        query, items = (ops.cast(side, layer.compute_dtype) for side in (query, items))
        width = query.shape[-1]
        x = ops.matmul(items, kernel[width:]) + (ops.matmul(query, kernel[:width]) + bias)
        return layer.activation(x)

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
