"""Linear model beside hidden layers."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kerasrec._checks import check_integer, check_number
from kerasrec.layers.fields.crossed_ids import CrossedIds
from kerasrec.layers.fields.field_embedding import flat
from kerasrec.models.clicks.field_model import DeepFieldModel, as_logit
from kerasrec.schema import Categorical, Schema
from kerasrec.types import Features, Tensor


@keras.saving.register_keras_serializable("kerasrec")
class WideAndDeep(DeepFieldModel):
    """Linear model and hidden layers, trained together.

        logit = sum over f of w_f + sum over crosses of w_fg... + w . MLP([v_1, ..., v_F]) + b

    The wide part keeps what single ids and some combinations of them say, the deep part generalises
    (Cheng et al., 2016, "Wide & Deep Learning for Recommender Systems"). A cross has a weight for
    each combination of the ids of its features: "this user and this app". Deviations from the
    paper: the wide part reads every feature, and both parts have one optimizer.

    Args:
        schema: the features.
        embedding_dim: length of a row, in every table.
        hidden_units: widths of the hidden layers.
        dropout: fraction of the hidden units dropped in training, after each hidden layer.
        batch_normalization: whether each hidden layer is normalised before its activation.
        embedding_l2: weight of the penalty on looked-up rows.
        crosses: the combinations, each by the names of two or more categorical features, as in
            `[["user", "app"]]`.
        cross_rows: largest number of rows in the table of a cross. More combinations share rows.
        cross_l2: weight of the penalty on the squares of all weights of crosses, in each step.

    Input shape:
        dict of named features: query side `(batch,) + shape`, item side, if there is one,
        `(batch,) + shape` or `(batch, candidates) + shape`.

    Output shape:
        float32 logits `(batch,)` or `(batch, candidates)`.

    Raises:
        ValueError: if an input is missing, a size is not positive, the weight is negative, a cross
            names something else than categorical features or `dropout` is no share.

    Example:

    >>> import numpy as np
    >>> from kerasrec.schema import Categorical, Numeric, Schema
    >>> schema = Schema(context=[Categorical("country", 12), Numeric("age", mean=40.0)])
    >>> model = WideAndDeep(schema, embedding_dim=8, hidden_units=(16,))
    >>> model({"country": np.array([2, 3]), "age": np.array([31.0, 55.0])}).shape
    TensorShape([2])
    """

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: int = 16,
        hidden_units: Sequence[int] = (128, 64),
        dropout: float = 0.0,
        batch_normalization: bool = False,
        embedding_l2: float = 0.0,
        crosses: Sequence[Sequence[str]] = (),
        cross_rows: int = 2**20,
        cross_l2: float = 0.0,
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
        self.fields = self.make_fields(embedding_dim + 1)  # v and w, which are looked up together
        self.mlp = self.make_mlp("mlp", self.hidden_units)
        self.output_layer = self.make_output()
        check_integer(self, "cross_rows", cross_rows, 2)
        if isinstance(crosses, str) or any(isinstance(n, str) or len(n) < 2 for n in crosses):
            raise ValueError(
                f"{type(self).__name__}: crosses must be sequences of two or more names, such as "
                f'[["user", "item"]]; received {crosses!r}.'
            )
        self.crosses = tuple(tuple(names) for names in crosses)
        check_number(self, "cross_l2", cross_l2)
        self.cross_rows, self.cross_l2 = cross_rows, cross_l2
        self.crossed = [
            CrossedIds(
                [self._feature(name, names).num_ids for name in names],
                rows=cross_rows,
                l2=cross_l2,
                name="_x_".join(names),
                dtype=self.dtype_policy,
            )
            for names in self.crosses
        ]
        self.build()

    def _feature(self, name: str, names: Sequence[str]) -> Categorical:
        """Return a feature of a cross, and check it."""
        found = {f.name: f for f in self.schema.features if isinstance(f, Categorical)}
        if name not in found or len(set(names)) != len(names):
            raise ValueError(
                f"{type(self).__name__}: each of crosses must name two or more different "
                f"categorical features, of {list(found)}; received {list(names)}."
            )
        return found[name]

    def call(self, inputs: Features, training: bool = False) -> Tensor:
        """Return the logits of the rows."""
        fields = self.fields(inputs)  # (batch[, candidates], fields, dim + 1)
        wide = ops.sum(ops.cast(fields[..., -1], "float32"), axis=-1)
        for names, table in zip(self.crosses, self.crossed, strict=True):
            wide = wide + as_logit(table(self._together([inputs[name] for name in names])))
        deep = self.output_layer(self.mlp(flat(fields[..., :-1]), training=training))
        return wide + as_logit(deep)

    def _together(self, ids: list[Tensor]) -> list[Tensor]:
        """Repeat the ids of the query for each candidate, where some of a cross have candidates."""
        ids = [ops.convert_to_tensor(one) for one in ids]
        most = max(ids, key=lambda one: len(one.shape))
        shape = ops.shape(most)
        return [
            one
            if len(one.shape) == len(most.shape)
            else ops.broadcast_to(ops.expand_dims(one, -1), shape)
            for one in ids
        ]

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        crosses = [list(names) for names in self.crosses]
        return {
            **super().get_config(),
            "crosses": crosses,
            "cross_rows": self.cross_rows,
            "cross_l2": self.cross_l2,
        }
