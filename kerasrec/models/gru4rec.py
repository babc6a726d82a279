"""GRU4Rec: next-item prediction by recurrent layers over a user's history."""

from collections.abc import Sequence
from typing import Any

import keras

from kerasrec._checks import check_integer
from kerasrec.layers import Dropout, Recurrent
from kerasrec.models.sequential import SequentialRecommender
from kerasrec.schema import Schema
from kerasrec.types import Tensor


@keras.saving.register_keras_serializable("kerasrec")
class GRU4Rec(SequentialRecommender):
    """Recurrent sequential recommender.

        h_t = gru(... gru(q_{i(t)}, h_{t-1}))
        score(u, i) = <W h_n + b, q_i>           n: newest item

    Proposed by Hidasi et al., 2016, "Session-based Recommendations with Recurrent Neural Networks",
    and Hidasi and Karatzoglou, 2018. Train it with `kerasrec.retrieval.NextItemTrainer` on
    `kerasrec.data.next_items`. Deviations from the papers: input and output share one vector per
    item; packed rows of whole histories replace session-parallel batches; the loss is chosen in
    `NextItemTrainer`. The user id is not used, so new users can be served from their history.

    Args:
        schema: the features; only the item id and its sequence are used.
        embedding_dim: length of q_i.
        hidden_units: widths of the recurrent layers, one after the other.
        cell: "gru" or "lstm".
        dropout: fraction of the inputs and of each layer's outputs dropped in training.
        stddev: standard deviation of the initial q_i.

    Input shape:
        dict with the history `(batch, length)` of any length, newest last, and the item id
        `(batch,)` or `(batch, candidates)`, int32. 0 is padding in any position, and the newest
        `max_length` items are used.

    Output shape:
        float32 scores `(batch,)` or `(batch, candidates)`.

    Raises:
        ValueError: if the schema has no sequence of the item id, an input is missing, the cell is
            unknown or a size is not positive.

    Example:

    >>> import numpy as np
    >>> from kerasrec.schema import Categorical, IdSequence
    >>> history = IdSequence("history", of="item", max_length=3)
    >>> schema = Schema(user=[Categorical("user", 10), history], item=Categorical("item", 12))
    >>> inputs = {"user": np.array([1]), "history": np.array([[4, 5, 0]]), "item": np.array([7])}
    >>> GRU4Rec(schema, embedding_dim=8, hidden_units=(16,))(inputs).shape
    TensorShape([1])
    """

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: int = 64,
        hidden_units: Sequence[int] = (128,),
        cell: str = "gru",
        dropout: float = 0.2,
        stddev: float = 0.05,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(schema, embedding_dim=embedding_dim, stddev=stddev, name=name, dtype=dtype)
        for units in hidden_units:
            check_integer(self, "each of hidden_units", units, 1)
        self.hidden_units = tuple(hidden_units)
        self.cell = cell
        self.dropout = dropout
        policy = {"dtype": self.dtype_policy}
        self.recurrent = [
            Recurrent(units, cell=cell, name=f"recurrent_{index}", **policy)
            for index, units in enumerate(self.hidden_units)
        ]
        self.output_layer = keras.layers.Dense(embedding_dim, name="output", **policy)
        self.drop = Dropout(dropout, name="dropout", **policy)
        self.build()

    def transform(self, vectors: Tensor, position: Tensor, training: bool) -> Tensor:
        """Return W h_t + b."""
        x = self.drop(vectors, training=training)
        for layer in self.recurrent:
            x = self.drop(layer(x, position), training=training)
        return self.output_layer(x)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "hidden_units": list(self.hidden_units),
            "cell": self.cell,
            "dropout": self.dropout,
        }
