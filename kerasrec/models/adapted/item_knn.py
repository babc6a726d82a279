"""ItemKNN: the classic neighbourhood model, with similarities between items."""

from typing import Any

import keras
import numpy as np
import scipy.sparse

from kerasrec._checks import check_choice, check_integer, check_number
from kerasrec.models.adapted.item_weights import (
    ItemWeightsRecommender,
    keep_largest,
    similar_counts,
)
from kerasrec.schema import Schema

SIMILARITIES = ("cosine", "jaccard")


@keras.saving.register_keras_serializable("kerasrec")
class ItemKNN(ItemWeightsRecommender):
    """Neighbourhood model that adds up similarities between an item and the items of the user.

        score(u, i) = sum_{j in N(i)} x_uj s_ij     x_uj: 1 if item j is among the user's items

    N(i) are the `neighbours` items most similar to i. With c_ij users in common and c_i of an item,

        cosine:   s_ij = c_ij / (sqrt(c_i c_j) + shrinkage)
        jaccard:  s_ij = c_ij / (c_i + c_j - c_ij + shrinkage)

    Shrinkage lowers similarities that few users support (Sarwar et al., 2001, "Item-Based
    Collaborative Filtering Recommendation Algorithms"; Deshpande and Karypis, 2004, "Item-Based
    Top-N Recommendation Algorithms"). `adapt` computes it by one sparse product. Where the items
    of a user come from, see `AdaptedRecommender`.

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
        ValueError: if an input is missing, an argument is out of range, or the matrix of the items
            does not fit into memory.

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
        super().__init__(schema, name=name, dtype=dtype)
        check_choice(self, "similarity", similarity, SIMILARITIES)
        check_integer(self, "neighbours", neighbours, 1)
        check_number(self, "shrinkage", shrinkage)
        self.similarity = similarity
        self.neighbours = neighbours
        self.shrinkage = shrinkage

    def _item_weights(self, matrix: scipy.sparse.csr_matrix) -> np.ndarray:
        counts = np.asarray(matrix.sum(axis=0), np.float32)[0]
        weights = np.zeros((len(counts), len(counts)), np.float32)
        for start in range(0, len(counts), 1024):
            rows = slice(start, start + 1024)
            found = similarities(
                similar_counts(matrix, rows), counts[rows], counts, self.similarity, self.shrinkage
            )
            own = np.arange(len(found))
            found[own, start + own] = 0
            weights[rows] = keep_largest(found, self.neighbours)
        return weights

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "similarity": self.similarity,
            "neighbours": self.neighbours,
            "shrinkage": self.shrinkage,
        }


def similarities(
    common: np.ndarray, own: np.ndarray, others: np.ndarray, kind: str, shrinkage: float
) -> np.ndarray:
    """Return cosine or Jaccard similarities of sets, 0 where nothing is in common.

    Args:
        common: number of elements in common `(sets, other sets)`.
        own: number of elements of each set.
        others: number of elements of each other set.
        kind: one of `SIMILARITIES`.
        shrinkage: number added to the denominator.
    """
    product = np.sqrt(own[:, None] * others)
    size = product if kind == "cosine" else own[:, None] + others - common
    return np.divide(common, size + shrinkage, out=np.zeros_like(common), where=common > 0)
