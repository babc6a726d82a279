"""Deep and cross network, version 2: explicit crosses of features beside hidden layers."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kerasrec._checks import check_integer
from kerasrec.layers.feature_embedding import concatenated
from kerasrec.models.clicks.field_model import DeepFieldModel, as_logit
from kerasrec.schema import Schema
from kerasrec.types import Features, Tensor


@keras.saving.register_keras_serializable("kerasrec")
class DCNv2(DeepFieldModel):
    """Deep and cross network with full crosses, low-rank ones or a mixture of these.

        x_0 = [embedded ids, scaled numbers]
        x_{l+1} = x_0 * (W_l x_l + b_l) + x_l          element by element, num_layers times
        logit = w . [x_L, MLP(x_0)] + b

    With a `rank`, W_l is the product U_l V_l of two narrow matrices. With `experts`, W_l x_l is a
    mixture of such products with gates that depend on the row, and two nonlinearities between:

        g = softmax(G_l x_l)
        sum over e of g_e U_le tanh(C_le tanh(V_le x_l))           instead of W_l x_l

    After L cross layers without experts the model holds products of up to L + 1 features (Wang et
    al., 2021, "DCN V2: Improved Deep & Cross Network and Practical Lessons for Web-scale Learning
    to Rank Systems", section 3.3 for experts). Deviations from the paper: the hidden layers stand
    beside the crosses and not behind them, and a layer's experts share b_l, which changes nothing
    as their gates add up to 1 but the number of weights.

    Args:
        schema: the features.
        embedding_dim: length of a row, in every table.
        num_layers: number of cross layers.
        rank: inner width of W; None for full matrices.
        experts: number of low-rank matrices that a layer mixes; 1 for no mixture. More than one
            need a `rank`.
        hidden_units: widths of the hidden layers; with none, the model consists of the crosses.
        dropout: fraction of the hidden units dropped in training, after each hidden layer.
        batch_normalization: whether each hidden layer is normalised before its activation.
        embedding_l2: weight of the penalty on looked-up rows.

    Input shape:
        dict of named features: query side `(batch,) + shape`, item side, if there is one,
        `(batch,) + shape` or `(batch, candidates) + shape`.

    Output shape:
        float32 logits `(batch,)` or `(batch, candidates)`.

    Raises:
        ValueError: if an input is missing, a size is not positive, there are experts without a
            rank, the weight is negative or `dropout` is no share.

    Example:

    >>> import numpy as np
    >>> from kerasrec.schema import Categorical, Numeric, Schema
    >>> schema = Schema(context=[Categorical("country", 12), Numeric("age", mean=40.0)])
    >>> model = DCNv2(schema, embedding_dim=8, hidden_units=(16,))
    >>> model({"country": np.array([2, 3]), "age": np.array([31.0, 55.0])}).shape
    TensorShape([2])
    """

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: int = 16,
        num_layers: int = 3,
        rank: int | None = None,
        experts: int = 1,
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
        if rank is not None:
            check_integer(self, "rank", rank, 1, hint="None stands for full matrices.")
        check_integer(self, "experts", experts, 1)
        if experts > 1 and rank is None:
            raise ValueError(
                f"DCNv2: the experts of a mixture are low-rank matrices; received "
                f"experts={experts} and rank=None. Pass rank= too, such as a quarter of the width "
                "of all features, or leave experts out."
            )
        self.num_layers = num_layers
        self.rank = rank
        self.experts = experts
        self.features = self.make_features()
        names = [feature.name for feature in self.schema.features]
        width, policy = self.features.width(names), {"dtype": self.dtype_policy}
        self.narrow_maps = [
            keras.layers.Dense(
                experts * (rank or 0), use_bias=False, name=f"cross_{index}_narrow", **policy
            )
            for index in range(num_layers if rank else 0)
        ]
        mixed = range(num_layers if experts > 1 else 0)
        self.gates = [
            keras.layers.Dense(experts, use_bias=False, name=f"cross_{index}_gate", **policy)
            for index in mixed
        ]
        self.inner_maps = [
            self.add_weight(
                shape=(experts, rank, rank),
                initializer=keras.initializers.GlorotUniform(),
                name=f"cross_{index}_inner",
            )
            for index in mixed
        ]
        self.crosses = [
            keras.layers.Dense(width, name=f"cross_{index}", **policy)
            for index in range(num_layers)
        ]
        self.mlp = self.make_mlp("mlp", self.hidden_units)
        self.output_layer = self.make_output()
        self.build()

    def call(self, inputs: Features, training: bool = False) -> Tensor:
        """Return the logits of the rows."""
        first = crossed = concatenated(self.features, inputs)
        for index, cross in enumerate(self.crosses):
            x = self.narrow_maps[index](crossed) if self.rank else crossed
            if self.experts > 1:
                x = self._mixed(x, self.gates[index](crossed), self.inner_maps[index])
            crossed = first * cross(x) + crossed
        parts = [crossed]
        if self.hidden_units:
            parts.append(self.mlp(first, training=training))
        return as_logit(self.output_layer(ops.concatenate(parts, axis=-1)))

    def _mixed(self, narrow: Tensor, gates: Tensor, inner: Tensor) -> Tensor:
        """Return the gated vectors of all experts side by side.

        One product with all U then both maps them back and adds them up.
        """
        shape = ops.shape(narrow)
        x = ops.tanh(ops.reshape(narrow, (*shape[:-1], self.experts, inner.shape[-1])))
        x = ops.tanh(ops.einsum("...er,ers->...es", x, ops.cast(inner, x.dtype)))
        # In float32 under mixed precision too.
        weights = ops.softmax(ops.cast(gates, "float32"), axis=-1)
        x = x * ops.cast(weights, x.dtype)[..., None]
        return ops.reshape(x, shape)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "num_layers": self.num_layers,
            "rank": self.rank,
            "experts": self.experts,
        }
