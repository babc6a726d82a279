"""Embedding of a set of features of any kind into one vector."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from kerasrec.layers.embedding import Embedding
from kerasrec.layers.histories import events, newest_positions, scaled, take_steps
from kerasrec.schema import BagWeights, Date, Feature, Numeric, Schema
from kerasrec.types import Features, Tensor

LARGEST_HOUR = 16_000_000.0
"""About the year 3795, and 145 before 1970. Dates outside count as these two."""


@keras.saving.register_keras_serializable("kerasrec")
class FeatureEmbedding(keras.layers.Layer):
    """Embed each feature of a schema and concatenate the results.

    A categorical feature is embedded by its table. A bag or a sequence is the mean of its embedded
    ids without padding, weighted if the bag has weights, and zeros if it is empty. Numbers are
    scaled as the schema says, and those of a numeric sequence follow one event after the other. A
    sequence shares the table of the feature whose ids it holds.

    Args:
        schema: the features.
        embedding_dim: length of a row, in every table.
        stddev: standard deviation of the initial rows.
        l2: weight of the penalty on looked-up rows, see `kerasrec.layers.Embedding`.
        only: features that calls may ask for, so that the others need no table; None for all.

    Input shape:
        dict of feature name to tensor, `(batch,) + feature.shape` or, for all requested features
        alike, `(batch, candidates) + feature.shape`.

    Output shape:
        `(batch, width)` or `(batch, candidates, width)`, where width is `embedding_dim` for each
        feature of ids plus the `width` of each numeric feature.

    Example:

    >>> import numpy as np
    >>> from kerasrec.schema import Categorical, Numeric, Schema
    >>> schema = Schema(Categorical("user", 5), Categorical("item", 9), Numeric("hour"))
    >>> layer = FeatureEmbedding(schema, embedding_dim=4)
    >>> inputs = {"user": np.array([2, 3]), "hour": np.array([0.5, 0.1])}
    >>> layer(inputs, names=["user", "hour"]).shape
    TensorShape([2, 5])
    """

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
        # Bags and sequences mix float inputs with integer ids, so each input is cast where it is
        # used.
        self.autocast = False
        self.tables = feature_tables(
            self.schema, embedding_dim, only, stddev=stddev, l2=l2, dtype=self.dtype_policy
        )

    def build(self, input_shape: Any = None) -> None:
        """Create all tables, whichever features a call asks for."""
        for table in self.tables.values():
            table.build()
        self.built = True

    def width(self, names: Sequence[str]) -> int:
        """Return the width of the concatenated vector of the named features."""
        features = [self.schema.feature(name) for name in names]
        return sum(f.width if isinstance(f, Numeric) else self.embedding_dim for f in features)

    def call(self, inputs: Features, names: Sequence[str]) -> Tensor:
        """Return the concatenated vectors of the named features, in that order."""
        features = [self.schema.feature(name) for name in names]
        vectors = [self._vector(inputs, f) for f in features if not isinstance(f, BagWeights)]
        return ops.concatenate(vectors, axis=-1)

    def _vector(self, inputs: Features, feature: Feature) -> Tensor:
        value = inputs[feature.name]
        if isinstance(feature, Numeric):
            return feature_numbers(value, feature, self.compute_dtype)
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


def feature_tables(
    schema: Schema,
    embedding_dim: int,
    only: Sequence[str] | None,
    *,
    stddev: float,
    l2: float,
    dtype: Any,
) -> dict[str, Embedding]:
    """Create the tables of the features that have ids, one for each set of ids.

    Args:
        schema: the features.
        embedding_dim: length of a row.
        only: names of the features that need a table; None for all.
        stddev: standard deviation of the initial rows.
        l2: weight of the penalty on looked-up rows.
        dtype: dtype policy.

    Returns:
        dict of tables by the name of the feature whose ids they hold.
    """
    asked = [f for f in schema.features if only is None or f.name in only]
    spaces = {schema.id_space(f.name) for f in asked if f.has_ids}
    return {
        name: Embedding(
            schema.num_ids(name),
            embedding_dim,
            l2=l2,
            embeddings_initializer=keras.initializers.RandomNormal(stddev=stddev),
            name=f"{name}_embedding",
            dtype=dtype,
        )
        for name in (feature.name for feature in schema.features)
        if name in spaces
    }


def feature_numbers(value: Tensor, feature: Numeric, dtype: str) -> Tensor:
    """Return the scaled numbers of a numeric feature, `(batch[, candidates], feature.width)`.

    Those of a numeric sequence are its newest events, one after the other, followed by zeros. The
    last one is the share of missing numbers, if the feature tells them. Those of a date are its age
    and its parts, see `Date`.

    Args:
        value: raw numbers, NaN where one is missing.
        feature: the feature.
        dtype: dtype of the result.
    """
    numbers = ops.cast(scaled(value, feature), dtype)
    if not feature.is_history:
        numbers = ops.expand_dims(numbers, -1) if feature.shape == () else numbers
        parts = [numbers]
        if isinstance(feature, Date):
            parts += [ops.cast(part, dtype) for part in date_parts(value)]
        if feature.missing:
            gaps = ops.cast(ops.isnan(ops.convert_to_tensor(value)), dtype)
            gaps = ops.reshape(gaps, ops.shape(numbers))
            parts.append(ops.mean(gaps, axis=-1, keepdims=True))
        return parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=-1)
    position = newest_positions(events(value), feature.shape[0])
    steps = take_steps(numbers, position)
    short = feature.shape[0] - steps.shape[1]
    steps = ops.pad(steps, [[0, 0], [0, short], *[[0, 0]] * (len(steps.shape) - 2)])
    return ops.reshape(steps, (-1, math.prod(feature.shape)))


def date_parts(hours: Tensor) -> list[Tensor]:
    """Return hour of the day, day of the week and month, each as 1 among zeros.

    Args:
        hours: whole hours since 1970 `(...)`, NaN where a date is missing.

    Returns:
        float32 tensors `(..., 24)`, `(..., 7)` with Monday first, and `(..., 12)`.

    Example:

    >>> import numpy as np
    >>> hour, weekday, month = date_parts(np.array([0.0]))  # Thursday, 1970-01-01 00:00
    >>> [int(np.argmax(part[0])) for part in (hour, weekday, month)]
    [0, 3, 0]
    """
    hours = ops.cast(hours, "float32")
    missing = ops.isnan(hours)
    # In this range, float32 holds every hour and int32 the numbers below.
    hours = ops.clip(ops.where(missing, 0.0, hours), -LARGEST_HOUR, LARGEST_HOUR)
    whole = ops.cast(ops.floor(hours), "int32")
    day = ops.floor_divide(whole, 24)
    # Years from March on, in eras of 400 years, so that leap days come last.
    era_day = ops.mod(day + 719_468, 146_097)
    leap = era_day // 1_460 - era_day // 36_524 + era_day // 146_096
    year = (era_day - leap) // 365
    year_day = era_day - (365 * year + year // 4 - year // 100)
    month = ops.mod((5 * year_day + 2) // 153 + 2, 12)
    numbers = (whole - 24 * day, ops.mod(day + 3, 7), month)
    there = ops.cast(ops.logical_not(missing), "float32")[..., None]
    return [
        ops.one_hot(number, size, dtype="float32") * there
        for number, size in zip(numbers, Date.parts, strict=True)
    ]


def mean_of_real(
    rows: Tensor, ids: Tensor, feature: Feature, weights: Tensor | None = None
) -> Tensor:
    """Return the mean of the rows of a bag or a sequence without padding, zeros if it is empty.

    Args:
        rows: `(..., length, dim)`.
        ids: `(..., length)`, 0 at padding.
        feature: the feature. A longer history is truncated to its newest events.
        weights: raw weights of the ids `(..., length)`, see `BagWeights`; None for equal ones.
    """
    real = ops.not_equal(ids, 0)
    if feature.is_history and ids.shape[-1] != feature.shape[0]:
        after = ops.flip(ops.cumsum(ops.flip(ops.cast(real, "int32"), -1), axis=-1), -1)
        real = real & (after <= feature.shape[0])
    if weights is not None:
        shares = ops.cast(weights, "float32")
        shares = ops.maximum(ops.where(ops.isnan(shares), 1.0, shares), 0.0)
        shares = ops.where(real, shares, 0.0)
        total = ops.sum(shares, axis=-1, keepdims=True)
        shares = shares / ops.where(total > 0, total, 1.0)
        return ops.sum(rows * ops.cast(shares[..., None], rows.dtype), axis=-2)
    real = ops.cast(ops.expand_dims(real, -1), rows.dtype)
    return ops.sum(rows * real, axis=-2) / ops.maximum(ops.sum(real, axis=-2), 1)


def join_sides(query: Tensor, items: Tensor, axis: int = -1) -> Tensor:
    """Concatenate tensors of the query and of the items, the query repeated for each candidate.

    Args:
        query: `(batch, ...)`.
        items: `(batch, ...)` or `(batch, candidates, ...)`.
        axis: axis of the concatenation, counted from the end.

    Example:

    >>> import numpy as np
    >>> join_sides(np.ones((2, 3)), np.ones((2, 5, 4))).shape
    TensorShape([2, 5, 7])
    """
    if len(items.shape) > len(query.shape):
        query = ops.expand_dims(query, 1)
    lead = items.shape[:axis]
    if None in lead:
        lead = ops.shape(items)[:axis]
    query = ops.broadcast_to(query, (*lead, *query.shape[axis:]))
    return ops.concatenate([query, items], axis=axis)


def concatenated(features: FeatureEmbedding, inputs: Features) -> Tensor:
    """Return the concatenated vectors of all features, `(batch[, candidates], width)`.

    Args:
        features: the embedding.
        inputs: named features.
    """
    query, items = (
        [f.name for f in side if features.only is None or f.name in features.only]
        for side in (features.schema.query, features.schema.item)
    )
    if not query or not items:
        return features(inputs, names=query or items)
    return join_sides(features(inputs, names=query), features(inputs, names=items))
