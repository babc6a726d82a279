"""SparseEASE: EASE with weights of some neighbours of each item, for large catalogues."""

from typing import Any

import keras
import numpy as np
import scipy.sparse

from kerasrec._checks import check_number
from kerasrec.models.adapted.neighbour_weights import (
    CommonUsers,
    NeighbourWeightsRecommender,
    placed,
)
from kerasrec.schema import Schema


@keras.saving.register_keras_serializable("kerasrec")
class SparseEASE(NeighbourWeightsRecommender):
    """Linear model that predicts each item from the items most like it, in closed form.

        score(u, i) = sum_{j in N(i)} x_uj B_ij     x_uj: 1 if item j is among the user's items

    N(i) are the `neighbours` items with the largest cosine to i. The weights of an item minimise
    the squared error over all users, as in `EASE`, with those of all other items at 0:

        ||x_i - X_N B_i||^2 + l2 ||B_i||^2,    B_i = (X_N^T X_N + l2 I)^-1 X_N^T x_i

    Each item is a system of `neighbours` equations, so that memory grows with the number of items,
    where that of `EASE` grows with its square and its time with the third power. Weights may be
    negative, unlike those of `SLIM`. (After Steck, 2019, "Embarrassingly Shallow Autoencoders for
    Sparse Data", and the restriction to neighbours of Ning and Karypis, 2011.) `adapt` solves it.
    Where the items of a user come from, see `AdaptedRecommender`.

    Args:
        schema: names and sizes of the features; only the user id, the item id and a history of it
            are used.
        l2: weight of the penalty, in units of users: an item with fewer users than this predicts
            little.
        neighbours: number of other items that have a weight, for each item.

    Input shape:
        dict with the user id `(batch,)`, or a history `(batch, length)` instead, and the item id
        `(batch,)` or `(batch, candidates)`, int32.

    Output shape:
        float32 scores `(batch,)` or `(batch, candidates)`.

    Raises:
        ValueError: if an input is missing, an argument is out of range, the neighbours of the items
            do not fit into memory, or `l2` is too small for the rows.

    Example:

    >>> import numpy as np
    >>> from kerasrec.schema import Categorical, Schema
    >>> schema = Schema(user=Categorical("user_id", 5), item=Categorical("item_id", 5))
    >>> model = SparseEASE(schema, l2=1.0)
    >>> model.adapt({"user_id": np.array([2, 2, 3, 3, 4]), "item_id": np.array([2, 3, 2, 3, 2])})
    >>> scores = model({"user_id": np.array([4, 4]), "item_id": np.array([3, 4])})
    >>> [round(float(score), 3) for score in scores]
    [0.5, 0.0]
    """

    def __init__(
        self,
        schema: Schema,
        *,
        l2: float = 100.0,
        neighbours: int = 200,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(schema, neighbours=neighbours, name=name, dtype=dtype)
        check_number(self, "l2", l2, zero=False)
        self.l2 = l2

    def _weights_of(self, items: np.ndarray, common: CommonUsers) -> scipy.sparse.csr_matrix:
        others, target = common.nearest(items, self.neighbours)
        equations = common.among(others) + self.l2 * np.eye(others.shape[1], dtype=np.float32)
        try:
            found = np.linalg.solve(equations, target[..., None])[..., 0]
        except np.linalg.LinAlgError as error:
            raise ValueError(
                "SparseEASE.adapt: the equations are singular in float32. Choose a larger l2."
            ) from error
        return placed(others, found, len(common.counts))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "l2": self.l2}
