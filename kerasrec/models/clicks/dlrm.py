"""Dot products of all pairs of vectors, and hidden layers below and above them."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasrec.layers.feature_embedding import concatenated, join_sides
from kerasrec.models.clicks.field_model import DeepFieldModel, as_logit
from kerasrec.schema import Schema
from kerasrec.types import Features, Tensor


@keras.saving.register_keras_serializable("kerasrec")
class DLRM(DeepFieldModel):
    """Deep learning recommendation model (Naumov et al., 2019).

        n = MLP_bottom([all scaled numbers])                       of length embedding_dim
        z = [<v, v'> for all pairs of n and the vectors of ids]
        logit = w . MLP_top([n, z]) + b

    See "Deep Learning Recommendation Model for Personalization and Recommendation Systems". n is
    absent where the schema has no numbers, and the top layers then read z alone. A feature without
    another one to pair it with enters them as its vector.

    Args:
        schema: the features.
        embedding_dim: length of a row, in every table, and of n.
        bottom_units: widths of the hidden layers below n.
        hidden_units: widths of the hidden layers above the dot products.
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
    >>> model = DLRM(schema, embedding_dim=8, bottom_units=(16,))
    >>> model({"country": np.array([2, 3]), "age": np.array([31.0, 55.0])}).shape
    TensorShape([2])
    """

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: int = 16,
        bottom_units: Sequence[int] = (64,),
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
        self.bottom_units = self.widths("bottom_units", bottom_units)
        features = self.schema.fields
        numbers = [feature.name for feature in features if not feature.has_ids]
        ids = [feature.name for feature in features if feature.has_ids]
        self.fields = self.make_fields(embedding_dim, only=ids) if ids else None
        self.numbers = self.make_features(only=numbers) if numbers else None
        if numbers:
            self.bottom = self.make_mlp("bottom", (*self.bottom_units, embedding_dim))
        vectors = len(ids) + bool(numbers)
        # Positions of the pairs among the products of all with all.
        first, second = np.triu_indices(vectors, 1)
        self.pairs = [int(position) for position in first * vectors + second]
        self.mlp = self.make_mlp("mlp", self.hidden_units)
        self.output_layer = self.make_output()
        self.build()

    def call(self, inputs: Features, training: bool = False) -> Tensor:
        """Return the logits of the rows."""
        vectors: Any = None if self.fields is None else self.fields(inputs)
        if self.numbers is not None:
            n = self.bottom(concatenated(self.numbers, inputs), training=training)
            n = ops.expand_dims(n, -2)
            vectors = n if vectors is None else join_sides(n, vectors, axis=-2)
        parts = []  # vectors: (batch[, candidates], vectors, dim)
        if self.numbers is not None or not self.pairs:
            parts.append(vectors[..., 0, :])
        if self.pairs:
            count = vectors.shape[-2]
            products = ops.matmul(vectors, ops.swapaxes(vectors, -1, -2))
            products = ops.reshape(products, (*ops.shape(vectors)[:-2], count * count))
            parts.append(ops.take(products, self.pairs, axis=-1))
        x = ops.concatenate(parts, axis=-1)
        return as_logit(self.output_layer(self.mlp(x, training=training)))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "bottom_units": list(self.bottom_units)}
