"""UserKNN: a neighbourhood model with similarities between users."""

from typing import Any

import keras
import numpy as np
import scipy.sparse
from keras import ops

from kerasrec._checks import check_choice, check_integer, check_number
from kerasrec.models.adapted.interactions import InteractionsRecommender
from kerasrec.models.adapted.item_knn import SIMILARITIES
from kerasrec.schema import Schema
from kerasrec.types import Features, Tensor


@keras.saving.register_keras_serializable("kerasrec")
class UserKNN(InteractionsRecommender):
    """Neighbourhood model that adds up the similarities of the users who have an item.

        score(u, i) = sum_{v in N(u)} s_uv x_vi     x_vi: 1 if item i is among the items of v

    N(u) are the `neighbours` users of the training rows most similar to u, without u itself; equal
    similarities at the limit all count. With c_uv items in common and c_u of a user,

        cosine:   s_uv = c_uv / (sqrt(c_u c_v) + shrinkage)
        jaccard:  s_uv = c_uv / (c_u + c_v - c_uv + shrinkage)

    (Herlocker et al., 1999, "An Algorithmic Framework for Performing Collaborative Filtering").
    `adapt` only keeps the rows: similarities are computed for each query, by a sparse product with
    all training rows. Where the items of a user come from, see `AdaptedRecommender`.

    Args:
        schema: names and sizes of the features; only the user id, the item id and a history of it
            are used.
        similarity: "cosine" or "jaccard".
        neighbours: number of similar users that count, for each user.
        shrinkage: number in the denominator, above.

    Input shape:
        dict with the user id `(batch,)`, a history `(batch, length)` if the schema has one, and the
        item id `(batch,)` or `(batch, candidates)`, int32.

    Output shape:
        float32 scores `(batch,)` or `(batch, candidates)`.

    Raises:
        ValueError: if an input is missing or an argument is out of range.

    Example:

    >>> import numpy as np
    >>> from kerasrec.schema import Categorical, Schema
    >>> schema = Schema(user=Categorical("user_id", 5), item=Categorical("item_id", 5))
    >>> model = UserKNN(schema, similarity="jaccard")
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
        self.build()

    def _solve(self, matrix: scipy.sparse.csr_matrix) -> None:
        """Compute nothing: the rows are the model."""

    def all_scores(self, profile: Tensor, inputs: Features) -> Tensor:
        """Return the scores of all items, `(item ids, batch)`."""
        num_users = self.schema.user_id.num_ids
        common = self.user_rows.times(profile)  # (users, batch)
        starts = ops.convert_to_tensor(self.user_rows.starts)
        theirs = ops.cast(starts[1:] - starts[:-1], "float32")[:, None]
        own = ops.sum(profile, axis=0)
        product = ops.sqrt(theirs * own)
        size = product if self.similarity == "cosine" else theirs + own - common
        similar = ops.where(common > 0, common / ops.maximum(size + self.shrinkage, 1e-9), 0.0)
        itself = inputs[self.schema.user_id.name] == np.arange(num_users)[:, None]
        similar = ops.transpose(ops.where(itself, 0.0, similar))  # (batch, users)
        limit = ops.top_k(similar, min(self.neighbours, num_users))[0][:, -1:]
        kept = ops.where(similar >= limit, similar, 0.0)
        return self.user_rows.transposed_times(ops.transpose(kept))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "similarity": self.similarity,
            "neighbours": self.neighbours,
            "shrinkage": self.shrinkage,
        }
