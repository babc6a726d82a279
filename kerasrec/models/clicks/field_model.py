"""Base classes of models of tables of features, which need neither users nor items."""

from collections.abc import Sequence
from typing import Any, ClassVar

import keras
from keras import ops

from kerasrec._checks import check_flag, check_integer, check_number, check_share
from kerasrec.layers import FeatureEmbedding
from kerasrec.layers.fields.field_embedding import FieldEmbedding
from kerasrec.layers.mlp import MLP
from kerasrec.models.base import Recommender
from kerasrec.schema import Schema
from kerasrec.types import Tensor

# Standard deviation of initial rows. A row that is hardly trained then says little.
STDDEV = 0.01


class FieldModel(Recommender):
    """Base class of models that predict a label from the features of any schema.

    A subclass creates its layers, calls `build()` and defines `call`.

    Args:
        schema: the features.
        embedding_dim: length of a row, in every table.
        embedding_l2: weight of the penalty on looked-up rows.
        name: name of the model.
        dtype: dtype or dtype policy.

    Raises:
        ValueError: if the size is not positive or the weight is negative.
    """

    output_kind = "logit"
    sides: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: int,
        embedding_l2: float,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(schema, name=name, dtype=dtype)
        check_integer(self, "embedding_dim", embedding_dim, 1)
        check_number(self, "embedding_l2", embedding_l2)
        self.embedding_dim = embedding_dim
        self.embedding_l2 = embedding_l2

    @property
    def num_fields(self) -> int:
        """Return the number of fields: the features without weights of bags."""
        return len(self.schema.fields)

    def make_fields(
        self, width: int, only: Sequence[str] | None = None, stddev: float = STDDEV
    ) -> FieldEmbedding:
        """Create the embedding of the features as fields.

        Args:
            width: length of the vector of a field.
            only: names of the features; None for all.
            stddev: standard deviation of the initial rows.
        """
        return FieldEmbedding(
            self.schema,
            embedding_dim=width,
            stddev=stddev,
            l2=self.embedding_l2,
            only=only,
            name="fields",
            dtype=self.dtype_policy,
        )

    def make_features(
        self,
        only: Sequence[str] | None = None,
        *,
        name: str = "features",
        l2: float | None = None,
    ) -> FeatureEmbedding:
        """Create the embedding of the features as one vector, with numbers as they are.

        Args:
            only: names of the features; None for all.
            name: name of the layer.
            l2: weight of the penalty on looked-up rows; None for `embedding_l2`.
        """
        return FeatureEmbedding(
            self.schema,
            embedding_dim=self.embedding_dim,
            stddev=STDDEV,
            l2=self.embedding_l2 if l2 is None else l2,
            only=only,
            name=name,
            dtype=self.dtype_policy,
        )

    def make_bias(self) -> Any:
        """Create a bias of the logit, for models without an output layer."""
        return self.add_weight(shape=(1,), initializer="zeros", name="bias")

    def make_output(self, name: str = "output", **options: Any) -> Any:
        """Create a layer from a vector to the logit.

        Args:
            name: name of the layer.
            **options: more arguments of `keras.layers.Dense`.
        """
        return keras.layers.Dense(1, name=name, dtype=self.dtype_policy, **options)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "embedding_dim": self.embedding_dim,
            "embedding_l2": self.embedding_l2,
        }


class DeepFieldModel(FieldModel):
    """Base class of models of fields with hidden layers.

    Args:
        schema: the features.
        embedding_dim: length of a row, in every table.
        hidden_units: widths of the hidden layers.
        dropout: fraction of the hidden units dropped in training, after each hidden layer.
        batch_normalization: whether each hidden layer is normalised before its activation.
        embedding_l2: weight of the penalty on looked-up rows.
        name: name of the model.
        dtype: dtype or dtype policy.

    Raises:
        ValueError: if a size is not positive, `dropout` is no share or the weight is negative.
    """

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: int,
        hidden_units: Sequence[int],
        dropout: float,
        batch_normalization: bool,
        embedding_l2: float,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            schema, embedding_dim=embedding_dim, embedding_l2=embedding_l2, name=name, dtype=dtype
        )
        self.hidden_units = self.widths("hidden_units", hidden_units)
        check_share(self, "dropout", dropout, one=False)
        check_flag(self, "batch_normalization", batch_normalization)
        self.dropout = dropout
        self.batch_normalization = batch_normalization

    def widths(self, argument: str, units: Sequence[int]) -> tuple[int, ...]:
        """Return widths of layers as a tuple, and check them.

        Args:
            argument: name of the argument, for the message.
            units: the widths, which must be positive.
        """
        for width in units:
            check_integer(self, f"each of {argument}", width, 1)
        return tuple(units)

    def make_mlp(self, name: str, hidden_units: Sequence[int], **options: Any) -> MLP:
        """Create hidden layers with the dropout and the normalisation of the model.

        Args:
            name: name of the layers.
            hidden_units: their widths.
            **options: more arguments of `MLP`.
        """
        return MLP(
            hidden_units,
            dropout=self.dropout,
            batch_normalization=self.batch_normalization,
            name=name,
            dtype=self.dtype_policy,
            **options,
        )

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "hidden_units": list(self.hidden_units),
            "dropout": self.dropout,
            "batch_normalization": self.batch_normalization,
        }


def as_logit(x: Tensor) -> Tensor:
    """Return `(batch[, candidates], 1)` as float32 logits without the last axis.

    Args:
        x: output of a layer of one unit.
    """
    return ops.cast(ops.squeeze(x, axis=-1), "float32")
