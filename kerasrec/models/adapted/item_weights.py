"""Base class of linear item-item models: a score is a sum of weights between items."""

from typing import Any

import numpy as np
import scipy.sparse
from keras import ops

from kerasrec._checks import check_memory
from kerasrec.models.adapted.base import AdaptedRecommender
from kerasrec.schema import FIRST_ID, Schema
from kerasrec.types import Features, Tensor

_INSTEAD = (
    "Leave rare items out (min_count=), or take a model whose memory grows with the items alone, "
    "such as GraphFilter or MatrixFactorization."
)


class ItemWeightsRecommender(AdaptedRecommender):
    """Base class of models with a weight for each pair of items.

        score(u, i) = sum_j x_uj W_ij             x_uj: 1 if item j is among the user's items

    A subclass stores its arguments and defines `_item_weights`. It is a retriever, whose query
    vector is x_u and whose item vector is the row W_i.

    Args:
        schema: the features; only the user id, the item id and a history of it are used.
        name: name of the model.
        dtype: dtype or dtype policy.

    Raises:
        ValueError: if the weights do not fit into memory.
    """

    def __init__(self, schema: Schema, *, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(schema, name=name, dtype=dtype)
        num_ids = self.schema.item_id.num_ids
        check_memory(self, f"{num_ids - FIRST_ID:,} items", 4 * num_ids**2, _INSTEAD)
        # In float32 under every policy, like counts.
        self.item_weights = self.add_weight(
            shape=(num_ids, num_ids),
            initializer="zeros",
            trainable=False,
            dtype="float32",
            autocast=False,
            name="item_weights",
        )
        self.build()

    def _solve(self, matrix: scipy.sparse.csr_matrix) -> None:
        num_ids = matrix.shape[1]
        # While the weights are computed, there are the old ones, the new ones and a copy of these.
        owner = f"{type(self).__name__}.adapt"
        check_memory(owner, f"{num_ids - FIRST_ID:,} items", 12 * num_ids**2, _INSTEAD)
        self.item_weights.assign(self._item_weights(matrix))

    def _item_weights(self, matrix: scipy.sparse.csr_matrix) -> np.ndarray:
        """Return W, float32 `(item ids, item ids)`, with zeros at ids that are no items."""
        raise NotImplementedError

    def call(self, inputs: Features, training: bool = False) -> Tensor:
        """Return the scores of the pairs."""
        return ops.sum(self.contributions(inputs)[1], axis=-1)

    def contributions(self, inputs: Features) -> tuple[Tensor, Tensor]:
        """Return what each item of the query adds to a score, which explains the score.

        Args:
            inputs: as for a call.

        Returns:
            int32 ids `(batch, width)` of the items of each query, padded with 0, and float32
            contributions `(batch, width)` or `(batch, candidates, width)`, which add up to the
            score.
        """
        items = ops.convert_to_tensor(inputs[self.schema.item_id.name])
        history = self.items_of(inputs)
        columns = history[:, None, :] if len(items.shape) == 2 else history
        # Positions in the matrix exceed int32 beyond 46,340 items.
        rows = ops.cast(items[..., None], "int64") * self.schema.item_id.num_ids
        weights = ops.reshape(self.item_weights, (-1,))
        found = ops.take(weights, rows + ops.cast(columns, "int64"))
        return history, ops.where(columns != 0, found, 0.0)

    def query_embedding(self, inputs: Features) -> Tensor:
        """Return x_u, `(batch, item ids)`."""
        return self.profile(inputs)

    def item_embedding(self, inputs: Features) -> Tensor:
        """Return the rows W_i, `(items, item ids)`."""
        return ops.take(self.item_weights, inputs[self.schema.item_id.name], axis=0)
