"""Convolutions over the outer products of the vectors of features."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasrec._checks import check_integer
from kerasrec.models.clicks.field_model import DeepFieldModel, as_logit
from kerasrec.schema import Schema
from kerasrec.types import Features, Tensor


@keras.saving.register_keras_serializable("kerasrec")
class ConvolutionalInteraction(DeepFieldModel):
    """Convolutional network over the outer products of all pairs of features.

        X = stack of v_f v_g' for all f < g         (embedding_dim, embedding_dim, pairs)
        c = relu(conv(... relu(conv(X))))           halves both sides, down to one
        logit = sum over f of w_f + w . MLP(c) + b

    The outer product of two vectors holds what their dot product adds up, and the convolutions
    learn which dimensions go together (He et al., 2018, "Outer Product-based Neural Collaborative
    Filtering", for a user and an item; Xin et al., 2019, "CFM: Convolutional Factorization Machines
    for Context-Aware Recommendation"). Deviations from the papers: the pairs are the channels of
    convolutions in two dimensions; no attention pools the features before. The cost grows with the
    square of the features and of `embedding_dim`.

    Args:
        schema: the features, of which two or more are needed.
        embedding_dim: length of a row, in every table.
        filters: number of channels after each convolution.
        kernel_size: side of each convolution, and the steps it takes.
        hidden_units: widths of the hidden layers above the convolutions.
        dropout: fraction of the hidden units dropped in training, after each hidden layer.
        batch_normalization: whether each hidden layer is normalised before its activation.
        embedding_l2: weight of the penalty on looked-up rows.

    Input shape:
        dict of named features: query side `(batch,) + shape`, item side, if there is one,
        `(batch,) + shape` or `(batch, candidates) + shape`.

    Output shape:
        float32 logits `(batch,)` or `(batch, candidates)`.

    Raises:
        ValueError: if an input is missing, the schema has one feature, a size is too small, the
            weight is negative or `dropout` is no share.

    Example:

    >>> import numpy as np
    >>> from kerasrec.schema import Categorical, Numeric, Schema
    >>> schema = Schema(context=[Categorical("country", 12), Numeric("age", mean=40.0)])
    >>> model = ConvolutionalInteraction(schema, embedding_dim=8, filters=4)
    >>> model({"country": np.array([2, 3]), "age": np.array([31.0, 55.0])}).shape
    TensorShape([2])
    """

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: int = 16,
        filters: int = 32,
        kernel_size: int = 2,
        hidden_units: Sequence[int] = (64,),
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
        check_integer(self, "filters", filters, 1)
        check_integer(self, "kernel_size", kernel_size, 2)
        if self.num_fields < 2:
            raise ValueError(
                "ConvolutionalInteraction needs a schema with two features or more, whose pairs it "
                f"reads; received {[feature.name for feature in self.schema.features]}. Add a "
                "feature, or use FeatureMLP."
            )
        self.filters = filters
        self.kernel_size = kernel_size
        self.fields = self.make_fields(embedding_dim + 1)  # v and w, which are looked up together
        self.pairs = [[int(f) for f in side] for side in np.triu_indices(self.num_fields, 1)]
        self.convolutions: list[Any] = []
        side = embedding_dim
        while side > 1:
            layer = keras.layers.Conv2D(
                filters,
                kernel_size,
                strides=kernel_size,
                padding="same",
                activation="relu",
                name=f"convolution_{len(self.convolutions)}",
                dtype=self.dtype_policy,
            )
            self.convolutions.append(layer)
            side = -(-side // kernel_size)
        self.mlp = self.make_mlp("mlp", self.hidden_units)
        self.output_layer = self.make_output()
        self.build()

    def call(self, inputs: Features, training: bool = False) -> Tensor:
        """Return the logits of the rows."""
        fields = self.fields(inputs)  # (batch[, candidates], fields, dim + 1)
        linear = ops.sum(ops.cast(fields[..., -1], "float32"), axis=-1)
        # Convolutions know one leading axis.
        vectors = ops.reshape(fields[..., :-1], (-1, self.num_fields, self.embedding_dim))
        first, second = (ops.take(vectors, side, axis=1) for side in self.pairs)
        x = ops.einsum("npi,npj->nijp", first, second)
        for layer in self.convolutions:
            x = layer(x)
        deep = self.output_layer(self.mlp(ops.reshape(x, (-1, x.shape[-1])), training=training))
        return linear + ops.reshape(as_logit(deep), ops.shape(linear))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
        }
