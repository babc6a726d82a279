"""Self-attention between the features of a row, beside hidden layers."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kerasrec._checks import check_integer
from kerasrec.layers.fields.field_embedding import flat
from kerasrec.models.clicks.field_model import DeepFieldModel, as_logit
from kerasrec.schema import Schema
from kerasrec.types import Features, Tensor


@keras.saving.register_keras_serializable("kerasrec")
class AutoInt(DeepFieldModel):
    """Multi-head self-attention over fields, beside hidden layers.

        E_0 = [v_1, ..., v_F]
        A_h = softmax(E_l Q_h (E_l K_h)' / sqrt(d)) E_l V_h        for each head h
        E_{l+1} = relu([A_1, ..., A_H] + E_l R)                    num_layers times
        logit = w . [E_L, MLP(E_0)] + b

    Each field collects what the fields that matter to it hold, so that the attention says which
    features interact (Song et al., 2019, "AutoInt: Automatic Feature Interaction Learning via
    Self-Attentive Neural Networks"). Deviation from the paper: products are divided by the root of
    their length d = embedding_dim / num_heads.

    Args:
        schema: the features.
        embedding_dim: length of a row, in every table, and of a field after each attention.
        num_layers: number of attention layers.
        num_heads: number of heads of each attention, a divisor of `embedding_dim`.
        hidden_units: widths of the hidden layers; with none, the model consists of the attention.
        dropout: fraction of the hidden units dropped in training, after each hidden layer.
        batch_normalization: whether each hidden layer is normalised before its activation.
        embedding_l2: weight of the penalty on looked-up rows.

    Input shape:
        dict of named features: query side `(batch,) + shape`, item side, if there is one,
        `(batch,) + shape` or `(batch, candidates) + shape`.

    Output shape:
        float32 logits `(batch,)` or `(batch, candidates)`.

    Raises:
        ValueError: if an input is missing, a size is not positive, `num_heads` does not divide
            `embedding_dim`, the weight is negative or `dropout` is no share.

    Example:

    >>> import numpy as np
    >>> from kerasrec.schema import Categorical, Numeric, Schema
    >>> schema = Schema(context=[Categorical("country", 12), Numeric("age", mean=40.0)])
    >>> model = AutoInt(schema, embedding_dim=8, num_heads=2)
    >>> model({"country": np.array([2, 3]), "age": np.array([31.0, 55.0])}).shape
    TensorShape([2])
    """

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: int = 16,
        num_layers: int = 3,
        num_heads: int = 2,
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
        check_integer(self, "num_layers", num_layers, 1)
        check_integer(self, "num_heads", num_heads, 1)
        if embedding_dim % num_heads:
            raise ValueError(
                f"AutoInt: num_heads must divide embedding_dim; received num_heads={num_heads} and "
                f"embedding_dim={embedding_dim}. Change one of them."
            )
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.fields = self.make_fields(embedding_dim)
        # Q, K, V and R side by side, as one product.
        self.projections = [
            keras.layers.Dense(
                4 * embedding_dim,
                use_bias=False,
                name=f"attention_{index}",
                dtype=self.dtype_policy,
            )
            for index in range(num_layers)
        ]
        self.mlp = self.make_mlp("mlp", self.hidden_units)
        self.output_layer = self.make_output()
        self.build()

    def call(self, inputs: Features, training: bool = False) -> Tensor:
        """Return the logits of the rows."""
        start = x = self.fields(inputs)  # (batch[, candidates], fields, dim)
        for projection in self.projections:
            query, key, value, rest = ops.split(projection(x), 4, axis=-1)
            x = ops.relu(self._attend(query, key, value) + rest)
        parts = [flat(x)]
        if self.hidden_units:
            parts.append(self.mlp(flat(start), training=training))
        return as_logit(self.output_layer(ops.concatenate(parts, axis=-1)))

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        if self.num_fields == 1:  # a softmax over one field is 1
            return value
        lead, dim = ops.shape(query)[:-1], self.embedding_dim // self.num_heads
        query, key, value = (
            ops.reshape(one, (*lead, self.num_heads, dim)) for one in (query, key, value)
        )
        products = ops.einsum("...fhd,...ghd->...hfg", query, key) / dim**0.5
        # In float32 under mixed precision too.
        weights = ops.softmax(ops.cast(products, "float32"), axis=-1)
        mean = ops.einsum("...hfg,...ghd->...fhd", ops.cast(weights, value.dtype), value)
        return ops.reshape(mean, (*lead, self.embedding_dim))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "num_layers": self.num_layers,
            "num_heads": self.num_heads,
        }
