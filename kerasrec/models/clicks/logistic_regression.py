"""Logistic regression over the features of any table."""

from typing import Any

import keras
from keras import ops

from kerasrec._checks import check_number
from kerasrec.models.clicks.field_model import FieldModel
from kerasrec.schema import Schema
from kerasrec.types import Features, Tensor


@keras.saving.register_keras_serializable("kerasrec")
class LogisticRegression(FieldModel):
    """Linear model of the log-odds of a label.

        logit = b + sum over features of w_f

    w_f is the weight of the id of a categorical feature, the mean weight of the ids of a bag or a
    sequence, and the sum of weight times scaled number of a numeric feature. Features add up: such
    a model cannot say that a user likes an item more than others do, and ranks items alike for all
    users. It is the baseline that shows what interactions of features are worth.

    The L2 penalty applies to the weights that a batch looks up:

        loss + l2 * mean of w^2

    Args:
        schema: the features.
        l2: weight of the penalty on looked-up weights.

    Input shape:
        dict of named features: query side `(batch,) + shape`, item side, if there is one,
        `(batch,) + shape` or `(batch, candidates) + shape`.

    Output shape:
        float32 logits `(batch,)` or `(batch, candidates)`.

    Raises:
        ValueError: if an input is missing or `l2` is negative.

    Example:

    >>> import numpy as np
    >>> from kerasrec.schema import Categorical, Numeric, Schema
    >>> schema = Schema(context=[Categorical("country", 12), Numeric("age", mean=40.0)])
    >>> model = LogisticRegression(schema)
    >>> model.predict({"country": np.array([2, 3]), "age": np.array([31.0, 55.0])}, verbose=0)
    array([0., 0.], dtype=float32)
    """

    def __init__(
        self, schema: Schema, *, l2: float = 0.0, name: str | None = None, dtype: Any = None
    ) -> None:
        super().__init__(schema, embedding_dim=1, embedding_l2=0.0, name=name, dtype=dtype)
        check_number(self, "l2", l2)
        self.l2 = self.embedding_l2 = l2
        self.fields = self.make_fields(1, stddev=0.0)
        self.bias = self.make_bias()
        self.build()

    def call(self, inputs: Features, training: bool = False) -> Tensor:
        """Return the logits of the rows."""
        terms = ops.cast(self.fields(inputs), "float32")  # (batch[, candidates], fields, 1)
        return ops.sum(terms, axis=(-2, -1)) + ops.cast(self.bias, "float32")

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        config = super().get_config()
        del config["embedding_dim"], config["embedding_l2"]
        return {**config, "l2": self.l2}
