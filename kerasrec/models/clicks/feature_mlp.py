"""Multi-layer perceptron over the features of any table."""

from collections.abc import Sequence
from typing import Any

import keras

from kerasrec._checks import check_choice, check_number
from kerasrec.layers.feature_embedding import concatenated
from kerasrec.models.clicks.field_model import DeepFieldModel, as_logit
from kerasrec.schema import Schema
from kerasrec.types import Features, Tensor

ACTIVATIONS = (
    *("elu", "gelu", "hard_sigmoid", "leaky_relu", "linear", "mish", "relu", "relu6", "selu"),
    *("sigmoid", "silu", "softplus", "softsign", "swish", "tanh"),
)


@keras.saving.register_keras_serializable("kerasrec")
class FeatureMLP(DeepFieldModel):
    """Multi-layer perceptron over the columns of a table, with or without ids.

        x = [embedded ids, scaled numbers]
        logit = w . act(W_n ... act(W_1 x + b_1) ... + b_n) + b

    Numbers enter the first layer as they are, scaled as the schema says. Ten numeric columns with
    `hidden_units=(16,)` are the network 10 -> 16 -> 1, with 10 * 16 + 16 + 16 + 1 weights. With
    no hidden layers the model is linear in x. The loss has the penalties

        l1 * sum of |W| + l2 * sum of W^2        over W_1 ... W_n and w
        embedding_l2 * mean of ||row||^2         over the rows that the batch looks up

    The baseline of models of clicks, and hard to beat when tuned (Zhu et al., 2022, "BARS: Towards
    Open Benchmarking for Recommender Systems", where it is called DNN).

    Args:
        schema: the features.
        embedding_dim: length of a row, in every table.
        hidden_units: widths of the hidden layers.
        activation: name of a Keras activation.
        dropout: fraction of the hidden units dropped in training, after each hidden layer.
        batch_normalization: whether each hidden layer is normalised before its activation.
        l1: weight of the penalty on the absolute values of W and w.
        l2: weight of the penalty on the squares of W and w.
        embedding_l2: weight of the penalty on looked-up rows.

    Input shape:
        dict of named features: query side `(batch,) + shape`, item side, if there is one,
        `(batch,) + shape` or `(batch, candidates) + shape`.

    Output shape:
        float32 logits `(batch,)` or `(batch, candidates)`.

    Raises:
        ValueError: if an input is missing, a size is not positive, a weight is negative, `dropout`
            is no share or there is no such activation.

    Example:

    >>> import numpy as np
    >>> from kerasrec.schema import Numeric, Schema
    >>> schema = Schema(context=[Numeric("height"), Numeric("width")], label="sold")
    >>> model = FeatureMLP(schema, hidden_units=(16,))
    >>> model.compile("adam", keras.losses.BinaryCrossentropy(from_logits=True))
    >>> columns = {"height": np.array([1.0, 2.0]), "width": np.array([0.5, np.nan])}
    >>> history = model.fit(columns, np.array([1.0, 0.0]), verbose=0)
    >>> model.predict(columns, verbose=0).shape
    (2,)
    """

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: int = 16,
        hidden_units: Sequence[int] = (128, 64),
        activation: str = "relu",
        dropout: float = 0.0,
        batch_normalization: bool = False,
        l1: float = 0.0,
        l2: float = 0.0,
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
        check_choice(self, "activation", activation, ACTIVATIONS)
        check_number(self, "l1", l1)
        check_number(self, "l2", l2)
        self.activation = activation
        self.l1 = l1
        self.l2 = l2
        self.features = self.make_features()
        self.mlp = self.make_mlp("mlp", self.hidden_units, activation=activation, l1=l1, l2=l2)
        penalty = keras.regularizers.L1L2(l1, l2) if l1 or l2 else None
        self.output_layer = self.make_output(kernel_regularizer=penalty)
        self.build()

    def call(self, inputs: Features, training: bool = False) -> Tensor:
        """Return the logits of the rows."""
        x = self.mlp(concatenated(self.features, inputs), training=training)
        return as_logit(self.output_layer(x))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "activation": self.activation,
            "l1": self.l1,
            "l2": self.l2,
        }
