"""Factorization machine: all pairs of features, at a cost that is linear in the features."""

from typing import Any

import keras
from keras import ops

from kerasrec.layers.fields.field_embedding import pair_products
from kerasrec.models.clicks.field_model import FieldModel
from kerasrec.schema import Schema
from kerasrec.types import Features, Tensor


@keras.saving.register_keras_serializable("kerasrec")
class FactorizationMachine(FieldModel):
    """Factorization machine of the second order (Rendle, 2010, "Factorization Machines").

        logit = b + sum over f of w_f + sum over f < g of <v_f, v_g>

    The sum over the pairs is computed from sums over the features, since

        sum over f < g of <v_f, v_g> = 1/2 (||sum of v_f||^2 - sum of ||v_f||^2)

    v_f and w_f are the row of an id, the mean row of the ids of a bag or a sequence, or trained
    numbers times the scaled number. With a user and an item alone, this is a biased matrix
    factorisation. Deviations from the paper: the ids of a bag count as one feature, of which no
    pairs are formed; a row holds v and w, and the penalty is on both.

    Args:
        schema: the features.
        embedding_dim: length of v.
        embedding_l2: weight of the penalty on looked-up rows.

    Input shape:
        dict of named features: query side `(batch,) + shape`, item side, if there is one,
        `(batch,) + shape` or `(batch, candidates) + shape`.

    Output shape:
        float32 logits `(batch,)` or `(batch, candidates)`.

    Raises:
        ValueError: if an input is missing, the size is not positive or the weight is negative.

    Example:

    >>> import numpy as np
    >>> from kerasrec.schema import Categorical, Numeric, Schema
    >>> schema = Schema(context=[Categorical("country", 12), Numeric("age", mean=40.0)])
    >>> model = FactorizationMachine(schema, embedding_dim=8)
    >>> model({"country": np.array([2, 3]), "age": np.array([31.0, 55.0])}).shape
    TensorShape([2])
    """

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: int = 16,
        embedding_l2: float = 0.0,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            schema, embedding_dim=embedding_dim, embedding_l2=embedding_l2, name=name, dtype=dtype
        )
        self.fields = self.make_fields(embedding_dim + 1)  # v and w, which are looked up together
        self.bias = self.make_bias()
        self.build()

    def call(self, inputs: Features, training: bool = False) -> Tensor:
        """Return the logits of the rows."""
        fields = ops.cast(self.fields(inputs), "float32")
        linear = ops.sum(fields[..., -1], axis=-1)
        return linear + pair_products(fields[..., :-1]) + ops.cast(self.bias, "float32")
