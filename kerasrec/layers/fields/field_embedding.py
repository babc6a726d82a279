"""Embedding of each feature of a table into a vector of its own."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from kerasrec.layers.feature_embedding import (
    feature_numbers,
    feature_tables,
    join_sides,
    mean_of_real,
)
from kerasrec.schema import Feature, Numeric, Schema
from kerasrec.types import Features, Tensor


@keras.saving.register_keras_serializable("kerasrec")
class FieldEmbedding(keras.layers.Layer):
    """Embed each feature of a schema as one vector of the same length.

        e_f = row of the id                      of a Categorical
        e_f = mean of the rows of the real ids   of a Bag or an IdSequence, weighted by BagWeights
        e_f = sum over k of x_k v_fk             of a Numeric with the scaled numbers x

    A missing number is 0 once it is scaled, which stands for the mean, and x_k may be whether it is
    missing (`Numeric.missing`). Those of a date are its age and its parts. The numbers of a numeric
    sequence are those of its newest events. A sequence shares the table of the feature whose ids
    it holds. With `embedding_dim=1` the vectors are the terms of a linear model.

    Args:
        schema: the features.
        embedding_dim: length of every vector.
        stddev: standard deviation of the initial rows and of the initial v.
        l2: weight of the penalty on looked-up rows, see `kerasrec.layers.Embedding`. The vectors v
            of a feature count as looked up in each example.
        only: names of the features to embed; None for all.

    Input shape:
        dict of feature name to tensor: query side `(batch,) + feature.shape`, item side
        `(batch,) + feature.shape` or `(batch, candidates) + feature.shape`.

    Output shape:
        `(batch, fields, embedding_dim)` or `(batch, candidates, fields, embedding_dim)`, with the
        fields in the order of `schema.fields`.

    Example:

    >>> import numpy as np
    >>> from kerasrec.schema import Categorical, Numeric, Schema
    >>> schema = Schema(context=[Categorical("country", 12), Numeric("age", mean=40.0)])
    >>> layer = FieldEmbedding(schema, embedding_dim=4)
    >>> layer({"country": np.array([2, 3]), "age": np.array([31.0, np.nan])}).shape
    TensorShape([2, 2, 4])
    """

    built: bool

    def __init__(
        self,
        schema: Schema | Mapping[str, Any],
        *,
        embedding_dim: int = 64,
        stddev: float = 0.1,
        l2: float = 0.0,
        only: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.schema = schema if isinstance(schema, Schema) else Schema.from_dict(schema)
        self.embedding_dim = embedding_dim
        self.stddev = stddev
        self.l2 = l2
        self.only = only if only is None else list(only)
        self.fields = [f for f in self.schema.fields if only is None or f.name in only]
        # Ids and raw numbers share one dict, and numbers are scaled before they are rounded.
        self.autocast = False
        self.tables = feature_tables(
            self.schema, embedding_dim, only, stddev=stddev, l2=l2, dtype=self.dtype_policy
        )

    def build(self, input_shape: Any = None) -> None:
        """Create the tables and the vectors of numbers, whose shapes do not depend on the input."""
        if self.built:
            return
        for table in self.tables.values():
            table.build()
        self.vectors = {
            feature.name: self.add_weight(
                shape=(feature.width, self.embedding_dim),
                initializer=keras.initializers.RandomNormal(stddev=self.stddev),
                name=f"{feature.name}_vectors",
            )
            for feature in self.fields
            if isinstance(feature, Numeric)
        }
        self.built = True

    def call(self, inputs: Features) -> Tensor:
        """Return the vectors of the fields."""
        query, items = (
            [self._vector(inputs, f) for f in self.fields if f in side]
            for side in (self.schema.query, self.schema.item)
        )
        if not query or not items:
            return ops.stack(query or items, axis=-2)
        return join_sides(ops.stack(query, axis=-2), ops.stack(items, axis=-2), axis=-2)

    def _vector(self, inputs: Features, feature: Feature) -> Tensor:
        value = inputs[feature.name]
        if isinstance(feature, Numeric):
            vectors = self.vectors[feature.name]
            if self.l2:
                squares = ops.sum(ops.square(ops.cast(vectors, "float32")), axis=-1)
                self.add_loss(self.l2 * ops.mean(squares))
            numbers = feature_numbers(value, feature, self.compute_dtype)
            return ops.matmul(numbers, ops.cast(vectors, self.compute_dtype))
        rows = self.tables[self.schema.id_space(feature.name)](value)
        if not feature.is_padded:
            return rows
        weights = self.schema.weights_of(feature.name)
        return mean_of_real(rows, value, feature, None if weights is None else inputs[weights])

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "schema": self.schema.to_dict(),
            "embedding_dim": self.embedding_dim,
            "stddev": self.stddev,
            "l2": self.l2,
            "only": self.only,
        }


def flat(fields: Tensor) -> Tensor:
    """Return the vectors of fields as one, `(batch[, candidates], fields * dim)`.

    Args:
        fields: `(batch[, candidates], fields, dim)`.
    """
    width = fields.shape[-2] * fields.shape[-1]
    return ops.reshape(fields, (*ops.shape(fields)[:-2], width))


def pooled_pairs(vectors: Tensor) -> Tensor:
    """Return the sum of the element-wise products of all pairs of fields.

        sum over f < g of v_f * v_g = 1/2 ((sum over f of v_f)^2 - sum over f of v_f^2)

    The cost is linear in the fields. float32, since the difference of two large numbers is left.

    Args:
        vectors: `(batch[, candidates], fields, dim)`.

    Returns:
        `(batch[, candidates], dim)`.
    """
    vectors = ops.cast(vectors, "float32")
    of_sum = ops.square(ops.sum(vectors, axis=-2))
    return 0.5 * (of_sum - ops.sum(ops.square(vectors), axis=-2))


def pair_products(vectors: Tensor) -> Tensor:
    """Return the sum of the dot products of all pairs of fields, `(batch[, candidates])`.

    Args:
        vectors: `(batch[, candidates], fields, dim)`.
    """
    return ops.sum(pooled_pairs(vectors), axis=-1)
