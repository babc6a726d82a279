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
    """Deep and cross network with full or low-rank crosses.

        x_0 = [embedded ids, scaled numbers]
        x_{l+1} = x_0 * (W_l x_l + b_l) + x_l          element by element, num_layers times
        logit = w . [x_L, MLP(x_0)] + b

    With a `rank`, W_l is the product U_l V_l of two narrow matrices. After L cross layers the
    model holds products of up to L + 1 features (Wang et al., 2021, "DCN V2: Improved Deep & Cross
    Network and Practical Lessons for Web-scale Learning to Rank Systems"). Deviations from the
    paper: the hidden layers stand beside the crosses and not behind them, and there is no mixture
    of low-rank experts.

    Args:
        schema: the features.
        embedding_dim: length of a row, in every table.
        num_layers: number of cross layers.
        rank: inner width of W; None for full matrices.
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
        ValueError: if an input is missing, a size is not positive, the weight is negative or
            `dropout` is no share.

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
        self.num_layers = num_layers
        self.rank = rank
        self.features = self.make_features()
        names = [feature.name for feature in self.schema.features]
        width, policy = self.features.width(names), {"dtype": self.dtype_policy}
        self.narrow_maps = [
            keras.layers.Dense(rank, use_bias=False, name=f"cross_{index}_narrow", **policy)
            for index in range(num_layers if rank else 0)
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
            crossed = first * cross(x) + crossed
        parts = [crossed]
        if self.hidden_units:
            parts.append(self.mlp(first, training=training))
        return as_logit(self.output_layer(ops.concatenate(parts, axis=-1)))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "num_layers": self.num_layers, "rank": self.rank}
