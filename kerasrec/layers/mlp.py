"""Multi-layer perceptron: hidden layers with activation, batch normalisation and dropout."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kerasrec._checks import check_integer, check_number, check_share
from kerasrec.layers.dropout import Dropout
from kerasrec.types import Tensor


@keras.saving.register_keras_serializable("kerasrec")
class MLP(keras.layers.Layer):
    """Hidden layers, one after the other.

        h_l = dropout(activation(norm(W_l h_{l-1} + b_l)))

    With batch normalisation, which has a shift of its own, there is no b_l. Layers that are
    factorized multiply two linear maps of their input, and so double the degree of its products:

        a, c = A_l h_{l-1} + b_l, C_l h_{l-1} + d_l
        h_l = dropout(activation(norm(a + a * c)))

    Args:
        hidden_units: widths of the layers; with none, the input is returned.
        activation: name of a Keras activation.
        dropout: fraction of the hidden units dropped in training, after each layer.
        batch_normalization: whether each layer is normalised before its activation.
        factorized: whether the layers multiply two linear maps.
        l1: weight of the penalty on the absolute values of all W_l.
        l2: weight of the penalty on the squares of all W_l.

    Input shape:
        `(..., width)`.

    Output shape:
        `(..., last of hidden_units)`.

    Raises:
        ValueError: if a width is not positive, `dropout` is no share or a penalty is negative.

    Example:

    >>> import numpy as np
    >>> MLP((8, 4), dropout=0.1)(np.ones((2, 3))).shape
    TensorShape([2, 4])
    """

    def __init__(
        self,
        hidden_units: Sequence[int],
        *,
        activation: str = "relu",
        dropout: float = 0.0,
        batch_normalization: bool = False,
        factorized: bool = False,
        l1: float = 0.0,
        l2: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for units in hidden_units:
            check_integer(self, "each of hidden_units", units, 1)
        check_share(self, "dropout", dropout, one=False)
        check_number(self, "l1", l1)
        check_number(self, "l2", l2)
        self.hidden_units = tuple(hidden_units)
        self.activation = activation
        self.dropout = dropout
        self.batch_normalization = batch_normalization
        self.factorized = factorized
        self.l1 = l1
        self.l2 = l2
        policy = {"dtype": self.dtype_policy}
        self.hidden = [
            keras.layers.Dense(
                2 * units if factorized else units,
                use_bias=factorized or not batch_normalization,
                kernel_regularizer=keras.regularizers.L1L2(l1, l2) if l1 or l2 else None,
                name=f"hidden_{index}",
                **policy,
            )
            for index, units in enumerate(self.hidden_units)
        ]
        self.norms = [
            keras.layers.BatchNormalization(name=f"norm_{index}", **policy)
            for index in range(len(self.hidden_units) if batch_normalization else 0)
        ]
        self.activate = keras.layers.Activation(activation, name="activation", **policy)
        self.drop = Dropout(dropout, name="dropout", **policy)

    def build(self, input_shape: Any) -> None:
        """Create the weights of all layers."""
        shape = tuple(input_shape)
        for index, layer in enumerate(self.hidden):
            layer.build(shape)
            shape = (*shape[:-1], self.hidden_units[index])
            if self.norms:
                self.norms[index].build((None, shape[-1]))
        self.built = True

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Return the output of the last layer."""
        x = inputs
        for index, layer in enumerate(self.hidden):
            x = layer(x)
            if self.factorized:
                one, other = ops.split(x, 2, axis=-1)
                x = one + one * other
            if self.norms:
                # The stock layer keeps the rank that it was built with; candidates add an axis.
                rows = ops.reshape(x, (-1, x.shape[-1]))
                rows = self.norms[index](rows, training=training)
                x = ops.reshape(rows, ops.shape(x))
            x = self.drop(self.activate(x), training=training)
        return x

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "hidden_units": list(self.hidden_units),
            "activation": self.activation,
            "dropout": self.dropout,
            "batch_normalization": self.batch_normalization,
            "factorized": self.factorized,
            "l1": self.l1,
            "l2": self.l2,
        }
