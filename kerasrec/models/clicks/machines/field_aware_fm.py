"""Field-aware factorization machine: a vector of each feature for each other feature."""

from typing import Any

import keras
import numpy as np
from keras import ops

from kerasrec.models.clicks.field_model import FieldModel
from kerasrec.schema import Schema
from kerasrec.types import Features, Tensor


@keras.saving.register_keras_serializable("kerasrec")
class FieldAwareFM(FieldModel):
    """Field-aware factorization machine.

        logit = b + sum over f of w_f + sum over f < g of <v_f(g), v_g(f)>

    v_f(g) is the vector that feature f has for feature g. A row therefore holds as many vectors as
    there are features, of which `embedding_dim` can be small (Juan et al., 2016, "Field-aware
    Factorization Machines for CTR Prediction"). Deviations from the paper: each feature of the
    schema is a field, the ids of a bag together; there is a linear part; a row holds its vectors
    and w, and the penalty is on both.

    Args:
        schema: the features.
        embedding_dim: length of each of the vectors of a row.
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
    >>> model = FieldAwareFM(schema, embedding_dim=4)
    >>> model({"country": np.array([2, 3]), "age": np.array([31.0, 55.0])}).shape
    TensorShape([2])
    """

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: int = 4,
        embedding_l2: float = 0.0,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            schema, embedding_dim=embedding_dim, embedding_l2=embedding_l2, name=name, dtype=dtype
        )
        self.fields = self.make_fields(self.num_fields * embedding_dim + 1)
        self.bias = self.make_bias()
        self.build()

    def call(self, inputs: Features, training: bool = False) -> Tensor:
        """Return the logits of the rows."""
        fields = ops.cast(self.fields(inputs), "float32")
        linear = ops.sum(fields[..., -1], axis=-1)
        shape = (*ops.shape(fields)[:-1], self.num_fields, self.embedding_dim)
        vectors = ops.reshape(fields[..., :-1], shape)  # (batch[, candidates], f, g, dim)
        products = ops.sum(vectors * ops.swapaxes(vectors, -2, -3), axis=-1)
        each_pair_once = np.triu(np.ones((self.num_fields, self.num_fields), "float32"), 1)
        pairs = ops.sum(products * each_pair_once, axis=(-2, -1))
        return linear + pairs + ops.cast(self.bias, "float32")
