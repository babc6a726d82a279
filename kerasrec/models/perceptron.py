"""Base class of models with a multi-layer perceptron over all features."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kerasrec._checks import check_integer
from kerasrec.layers import Dropout, FeatureEmbedding
from kerasrec.layers.feature_embedding import join_sides
from kerasrec.models.base import Recommender, align
from kerasrec.schema import Feature, Schema
from kerasrec.types import Features, Tensor


class PerceptronRecommender(Recommender):
    """Base class of models that pass the embedded features of a pair through hidden layers.

        x = [e(user features), e(context features), e(item features)]
        h = relu(W_n ... relu(W_1 x + b_1) ... + b_n)

    A subclass creates its own layers, calls `make_perceptron()` and `build()`, and defines `call`,
    which ends with `output_layer`.

    Args:
        schema: the features.
        embedding_dim: length of a row, in every table.
        hidden_units: widths of the hidden layers.
        dropout: fraction of the hidden units dropped in training, after each hidden layer.
        initial_bias: initial value of the output bias.
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
        check_integer(self, "embedding_dim", embedding_dim, 1)
        for units in hidden_units:
            check_integer(self, "each of hidden_units", units, 1)
        self.embedding_dim = embedding_dim
        self.hidden_units = tuple(hidden_units)
        self.dropout = dropout
        self.initial_bias = initial_bias
        self.stddev = stddev
        self.l2 = l2

    def make_perceptron(self) -> None:
        """Create `features`, `hidden`, `drop` and `output_layer`."""
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
        """Return h of the pairs, `(batch[, candidates], width of the last hidden layer)`.

        Args:
            inputs: named features.
            training: whether to apply dropout.
        """
        items = self._embedded(inputs, self.schema.item)
        query = self._embedded(inputs, self.schema.query)
        if len(items.shape) > 2 and self._adds_up():
            query = self._sum_of_query(align(query, items))
            return self.after_sum(query + self._sum_of_items(items), training)
        return self._through(self.hidden, join_sides(query, items), training)

    def part_of_items(self, inputs: Features) -> Tensor:
        """Return W_i i, the items' part of the first layer's sum, `(items, width)`.

        Return None if there is no such sum: there is no hidden layer, or one is quantized.
        """
        if not self._adds_up():
            return None
        return self._sum_of_items(self._embedded(inputs, self.schema.item))

    def part_of_query(self, inputs: Features) -> Tensor:
        """Return W_q q + b_1, the query's part of the first layer's sum, `(batch, width)`."""
        return self._sum_of_query(self._embedded(inputs, self.schema.query))

    def of_parts(self, query: Tensor, items: Tensor) -> Tensor:
        """Return h of all pairs, `(batch * items, width of the last hidden layer)`.

        Args:
            query: `part_of_query`.
            items: `part_of_items`.
        """
        # Use plain matrix products: with a third axis they take longer.
        x = ops.expand_dims(query, 1) + items
        return self.after_sum(ops.reshape(x, (-1, x.shape[-1])), training=False)

    def after_sum(self, x: Tensor, training: bool) -> Tensor:
        """Return h from the first layer's sums, `(..., width of the first hidden layer)`."""
        x = self.drop(self.hidden[0].activation(x), training=training)
        return self._through(self.hidden[1:], x, training)

    def _embedded(self, inputs: Features, features: Sequence[Feature]) -> Tensor:
        return self.features(inputs, names=[feature.name for feature in features])

    def _adds_up(self) -> bool:
        """Return whether the first layer is a plain product and can be split into two.

        W [q, i] = W_q q + W_i i: for a thousand candidates, W_q q is computed once instead of a
        thousand times.
        """
        if not self.hidden or not self.hidden[0].built:
            return False
        layers = (self.hidden[0], self.output_layer)
        return all(getattr(layer, "quantization_mode", None) is None for layer in layers)

    def _sum_of_query(self, query: Tensor) -> Tensor:
        layer = self.hidden[0]
        columns = slice(query.shape[-1])
        return self._times(query, layer, columns) + ops.cast(layer.bias, layer.compute_dtype)

    def _sum_of_items(self, items: Tensor) -> Tensor:
        return self._times(items, self.hidden[0], slice(-items.shape[-1], None))

    @staticmethod
    def _times(x: Tensor, layer: Any, rows: slice) -> Tensor:
        kernel = ops.cast(layer.kernel, layer.compute_dtype)[rows]
        return ops.matmul(ops.cast(x, layer.compute_dtype), kernel)

    def _through(self, layers: Sequence[Any], x: Tensor, training: bool) -> Tensor:
        for layer in layers:
            x = self.drop(layer(x), training=training)
        return x

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "embedding_dim": self.embedding_dim,
            "hidden_units": list(self.hidden_units),
            "dropout": self.dropout,
            "initial_bias": self.initial_bias,
            "stddev": self.stddev,
            "l2": self.l2,
        }
