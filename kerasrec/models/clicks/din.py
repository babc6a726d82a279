"""Deep interest network: attention of the candidate over a user's history."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kerasrec._checks import check_choice, check_integer, check_share
from kerasrec.layers.histories import newest
from kerasrec.layers.interest.activation_unit import ActivationUnit
from kerasrec.layers.interest.candidate_transformer import CandidateTransformer
from kerasrec.layers.interest.item_features import ItemFeatures
from kerasrec.layers.mlp import MLP
from kerasrec.models.clicks.field_model import FieldModel, as_logit
from kerasrec.schema import Schema
from kerasrec.types import Columns, Features, Tensor

INTERESTS = ("attention", "softmax", "transformer")


@keras.saving.register_keras_serializable("kerasrec")
class DIN(FieldModel):
    """Deep interest network: a history read for each candidate, and hidden layers.

        a_j = w . sigmoid(W [e_j, c, e_j - c, e_j * c] + b) + b'
        s = sum over j of a_j e_j                                  e_j: row of the j-th newest item
        logit = v . MLP([user and context features, item features, s]) + b''

    c is the row of the candidate in the same table, and with `history_features` both are rows
    beside the embedded features of the item. The items of the history that resemble the candidate
    count (Zhou et al., 2018, "Deep Interest Network for Click-Through Rate Prediction").
    The weights a_j are not normalised, so that s is longer the more of them matter. Deviations from
    the paper: ReLU in the hidden layers instead of Dice, sigmoid in those of the weights as in the
    authors' code, products e_j * c instead of outer products.

    With `history_features`, `set_items` tells the features of all items; `kerasrec.runs` calls it.

    With `interest="transformer"`, s is the candidate's state after a transformer layer over the
    history and the candidate (Chen et al., 2019, "Behavior Sequence Transformer for E-commerce
    Recommendation in Alibaba"). Deviations: positions are counted and not times, added and not
    concatenated, and the states of the other items are left out.

    Args:
        schema: the features, with a sequence of the item id among those of user or context.
        embedding_dim: length of a row, in every table.
        hidden_units: widths of the hidden layers.
        attention_units: widths of the hidden layers of the weights.
        interest: "attention" for the weights above, "softmax" to let them add up to 1, or
            "transformer".
        num_heads: number of heads of the transformer, a divisor of the length of c.
        history_features: names of features of the items that the history is read with.
        dropout: fraction of the hidden units dropped in training, after each hidden layer.
        embedding_l2: weight of the penalty on looked-up rows.

    Input shape:
        dict of named features: query side `(batch,) + shape`, item side `(batch,) + shape` or
        `(batch, candidates) + shape`. The history has any length, newest last, 0 is padding in any
        position, and the newest `max_length` items are used.

    Output shape:
        float32 logits `(batch,)` or `(batch, candidates)`.

    Raises:
        ValueError: if the schema has no sequence of the item id, an input is missing, a size is not
            positive, `num_heads` does not divide the length of c, the weight is negative,
            `dropout` is no share, or there is no such `interest` or feature of the items.

    Example:

    >>> import numpy as np
    >>> from kerasrec.schema import Categorical, IdSequence
    >>> history = IdSequence("history", of="item", max_length=3)
    >>> schema = Schema(user=[Categorical("user", 10), history], item=Categorical("item", 12))
    >>> inputs = {"user": np.array([1]), "history": np.array([[4, 5, 0]]), "item": np.array([7])}
    >>> DIN(schema, embedding_dim=8)(inputs).shape
    TensorShape([1])
    """

    sides = ("user", "item")
    needs_history = True

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: int = 16,
        hidden_units: Sequence[int] = (128, 64),
        attention_units: Sequence[int] = (32, 16),
        interest: str = "attention",
        num_heads: int = 2,
        history_features: Sequence[str] = (),
        dropout: float = 0.0,
        embedding_l2: float = 0.0,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            schema, embedding_dim=embedding_dim, embedding_l2=embedding_l2, name=name, dtype=dtype
        )
        check_choice(self, "interest", interest, INTERESTS)
        check_share(self, "dropout", dropout, one=False)
        check_integer(self, "num_heads", num_heads, 1)
        self.hidden_units = tuple(hidden_units)
        self.attention_units = tuple(attention_units)
        self.interest = interest
        self.num_heads = num_heads
        self.history_features = tuple(history_features)
        self.dropout = dropout
        item = self.schema.item_id.name
        if self.schema.item_history is None:
            raise ValueError(
                f"DIN: expected a schema with a sequence of {item!r} among the user or context "
                f"features; received {[f.name for f in self.schema.query]}. Add "
                f"IdSequence('history', of={item!r}, max_length=50), or let "
                "ready.with_history(50) add it."
            )
        self.sequence = self.schema.item_history
        self.known_by = (*(f.name for f in self.schema.user), self.sequence.name)
        self.beside = [f.name for f in self.schema.query if f is not self.sequence]
        policy = {"dtype": self.dtype_policy}
        self.item_features = ItemFeatures(self.schema, self.history_features, name="item_features")
        # First what the history has of its items, which is the candidate of the attention.
        compared = [item, *self.history_features]
        self.of_item = [*compared, *(f.name for f in self.schema.item if f.name not in compared)]
        self.features = self.make_features()
        self.row_width = self.features.width(compared)
        if interest == "transformer" and self.row_width % num_heads:
            raise ValueError(
                f"DIN: num_heads must divide the length of c; received num_heads={num_heads} and "
                f"embedding_dim={embedding_dim}, where {compared} have {self.row_width} numbers. "
                "Change one of them."
            )
        self.reader: Any = ActivationUnit(
            self.attention_units, softmax=interest == "softmax", name="attention", **policy
        )
        if interest == "transformer":
            self.reader = CandidateTransformer(
                num_heads, self.sequence.max_length, dropout=dropout, name="transformer", **policy
            )
        self.mlp = MLP(self.hidden_units, dropout=dropout, name="mlp", **policy)
        self.output_layer = self.make_output()
        self.build()

    def set_items(self, items: Columns) -> None:
        """Keep the features of all items, see `kerasrec.types.ItemTableReader`."""
        self.item_features.assign(items)

    def call(self, inputs: Features, training: bool = False) -> Tensor:
        """Return the logits of the items."""
        query = self.query_part(inputs)
        items = self.features(inputs, names=self.of_item)
        if len(items.shape) > 2:
            return self._score(query, items, training)
        return ops.squeeze(self._score(query, items[:, None], training), axis=1)

    def item_part(self, inputs: Features) -> Tensor:
        """Return the embedded item features, see `kerasrec.types.PartsRanker`."""
        return self.features(inputs, names=self.of_item)

    def query_part(self, inputs: Features) -> Tensor:
        """Return the other features, the mask of the history and its rows, one after the other."""
        ids = newest(inputs[self.sequence.name], self.sequence.max_length)
        real = ops.cast(ops.not_equal(ids, 0), self.compute_dtype)
        rows = self.features.tables[self.schema.item_id.name](ids)
        if self.history_features:
            known = self.item_features(ids, embedding=self.features)
            rows = ops.concatenate([rows, known], axis=-1)
        rows = ops.reshape(rows * real[..., None], (-1, ids.shape[1] * self.row_width))
        beside = self.features(inputs, names=self.beside)
        return ops.concatenate([beside, real, rows], axis=-1)

    def score_parts(self, query: Tensor, items: Tensor) -> Tensor:
        """Return the scores `(batch, items)` of every query with every item."""
        query, items = (ops.cast(part, self.compute_dtype) for part in (query, items))
        shape = (ops.shape(query)[0], *ops.shape(items))
        return self._score(query, ops.broadcast_to(items, shape), training=False)

    def _score(self, query: Tensor, items: Tensor, training: bool) -> Tensor:
        """Return the logits of items `(batch, candidates, width)` after `query_part`."""
        width, dim = self.features.width(self.beside), self.row_width
        length = (query.shape[-1] - width) // (dim + 1)
        beside, real = query[:, :width], query[:, width : width + length]
        rows = ops.reshape(query[:, width + length :], (-1, length, dim))
        interest = self.reader(rows, real, items[..., :dim], training=training)
        beside = ops.broadcast_to(beside[:, None], (*ops.shape(items)[:2], width))
        x = self.mlp(ops.concatenate([beside, items, interest], axis=-1), training=training)
        return as_logit(self.output_layer(x))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "hidden_units": list(self.hidden_units),
            "attention_units": list(self.attention_units),
            "interest": self.interest,
            "num_heads": self.num_heads,
            "history_features": list(self.history_features),
            "dropout": self.dropout,
        }
