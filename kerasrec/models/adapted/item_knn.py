"""ItemKNN: the classic neighbourhood model, with similarities between items."""

from typing import Any

import keras
import numpy as np
import scipy.sparse

from kerasrec._checks import check_choice, check_number
from kerasrec.models.adapted.neighbour_weights import (
    CommonUsers,
    NeighbourWeightsRecommender,
    keep_largest,
    rows_of,
)
from kerasrec.schema import Schema

SIMILARITIES = ("cosine", "jaccard")


@keras.saving.register_keras_serializable("kerasrec")
class ItemKNN(NeighbourWeightsRecommender):
    """Neighbourhood model that adds up similarities between an item and the items of the user.

        score(u, i) = sum_{j in N(i)} x_uj s_ij     x_uj: 1 if item j is among the user's items

    N(i) are the `neighbours` items most similar to i. With c_ij users in common and c_i of an item,

        cosine:   s_ij = c_ij / (sqrt(c_i c_j) + shrinkage)
        jaccard:  s_ij = c_ij / (c_i + c_j - c_ij + shrinkage)

    Shrinkage lowers similarities that few users support (Sarwar et al., 2001, "Item-Based
    Collaborative Filtering Recommendation Algorithms"; Deshpande and Karypis, 2004, "Item-Based
    Top-N Recommendation Algorithms"). `adapt` computes it by one sparse product, and memory
    grows with the number of items and neighbours alone. Where the items of a user come from, see
    `AdaptedRecommender`.

    Args:
        schema: names and sizes of the features; only the user id, the item id and a history of it
            are used.
        similarity: "cosine" or "jaccard".
        neighbours: number of similar items that count, for each item.
        shrinkage: number in the denominator, above.

    Input shape:
        dict with the user id `(batch,)`, or a history `(batch, length)` instead, and the item id
        `(batch,)` or `(batch, candidates)`, int32.

    Output shape:
        float32 scores `(batch,)` or `(batch, candidates)`.

    Raises:
        ValueError: if an input is missing, an argument is out of range, or the neighbours of the
            items do not fit into memory.

    Example:

    >>> import numpy as np
    >>> from kerasrec.schema import Categorical, Schema
    >>> schema = Schema(user=Categorical("user_id", 5), item=Categorical("item_id", 5))
    >>> model = ItemKNN(schema, similarity="jaccard")
    >>> model.adapt({"user_id": np.array([2, 2, 3, 4]), "item_id": np.array([2, 3, 2, 4])})
    >>> model({"user_id": np.array([3, 3]), "item_id": np.array([3, 4])}).numpy().tolist()
    [0.5, 0.0]
    """

    def __init__(
        self,
        schema: Schema,
        *,
        similarity: str = "cosine",
        neighbours: int = 100,
        shrinkage: float = 0.0,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(schema, neighbours=neighbours, name=name, dtype=dtype)
        check_choice(self, "similarity", similarity, SIMILARITIES)
        check_number(self, "shrinkage", shrinkage)
        self.similarity = similarity
        self.shrinkage = shrinkage

    def _weights_of(self, items: np.ndarray, common: CommonUsers) -> scipy.sparse.csr_matrix:
        found = common.of(items)
        own, others = common.counts[rows_of(found, items)], common.counts[found.indices]
        product = np.sqrt(own * others)
        size = product if self.similarity == "cosine" else own + others - found.data
        found.data /= size + np.float32(self.shrinkage)
        return keep_largest(found, self.neighbours)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        config = {"similarity": self.similarity, "shrinkage": self.shrinkage}
        return {**super().get_config(), **config}
