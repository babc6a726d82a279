"""Several multi-layer perceptrons over the features of any table, whose mean is the score."""

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
class MLPEnsemble(DeepFieldModel):
    """Networks of their own, trained side by side on one loss each; the score is their mean.

        z_m = MLP_m([embedded ids, scaled numbers])       for each member m, with tables of its own
        logit = 1 / M * sum over m of z_m
        training loss = 1 / M * sum over m of loss(label, z_m)

    The members start from other weights and end at other errors, which their mean cancels out
    (Lakshminarayanan et al., 2017, "Simple and Scalable Predictive Uncertainty Estimation using
    Deep Ensembles"). It pays on tables of few rows. Each
    member moves as it would alone with Adam, whose steps do not depend on the scale of a loss.

    Args:
        schema: the features.
        embedding_dim: length of a row, in every table.
        hidden_units: widths of the hidden layers of a member.
        members: number of networks, which multiplies the cost.
        dropout: fraction of the hidden units dropped in training, after each hidden layer.
        batch_normalization: whether each hidden layer is normalised before its activation.
        embedding_l2: weight of the penalty on looked-up rows, of which the loss has the mean over
            the members.

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
    >>> model = MLPEnsemble(schema, embedding_dim=4, hidden_units=(16,), members=3)
    >>> model({"country": np.array([2, 3]), "age": np.array([31.0, 55.0])}).shape
    TensorShape([2])
    """

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: int = 16,
        hidden_units: Sequence[int] = (256, 128),
        members: int = 4,
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
        check_integer(self, "members", members, 1)
        self.members = members
        numbers, l2 = range(members), embedding_l2 / members
        self.features = [self.make_features(name=f"features_{n}", l2=l2) for n in numbers]
        self.mlps = [self.make_mlp(f"mlp_{n}", self.hidden_units) for n in numbers]
        self.output_layers = [self.make_output(f"output_{n}") for n in numbers]
        self._logits: Tensor | None = None  # of all members, from a call until its loss
        self.build()

    def call(self, inputs: Features, training: bool = False) -> Tensor:
        """Return the mean logits of the rows."""
        logits = []
        for features, mlp, output in zip(self.features, self.mlps, self.output_layers, strict=True):
            x = mlp(concatenated(features, inputs), training=training)
            logits.append(as_logit(output(x)))
        if training:
            self._logits = ops.concatenate(logits, axis=0)
        return ops.mean(ops.stack(logits), axis=0)

    def compute_loss(
        self,
        x: Any = None,
        y: Tensor = None,
        y_pred: Tensor = None,
        sample_weight: Tensor = None,
        training: bool = True,
    ) -> Tensor:
        """Return the mean of the losses of the members in training, else the loss of their mean."""
        if training and self._logits is not None:
            y_pred, self._logits = self._logits, None
            y = ops.concatenate([ops.convert_to_tensor(y)] * self.members, axis=0)
            if sample_weight is not None:
                weights = [ops.convert_to_tensor(sample_weight)] * self.members
                sample_weight = ops.concatenate(weights, axis=0)
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "members": self.members}
