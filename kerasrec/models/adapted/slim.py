"""SLIM: a sparse linear item-item model, learned by an elastic net."""

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

# Sweeps over the weights of an item.
_SWEEPS = 100
_TOLERANCE = 1e-4


@keras.saving.register_keras_serializable("kerasrec")
class SLIM(NeighbourWeightsRecommender):
    """Sparse linear model that predicts each item from a few other items of the user.

        score(u, i) = sum_j x_uj W_ij             x_uj: 1 if item j is among the user's items

    The weights W_i of an item are not negative, zero for the item itself, and minimise

        1/2 ||x_i - X W_i||^2 + l2 / 2 ||W_i||^2 + l1 ||W_i||_1

    (Ning and Karypis, 2011, "SLIM: Sparse Linear Methods for Top-N Recommender Systems"). As in
    the faster variant of the paper, only the `neighbours` items with the largest cosine take part.
    `adapt` solves it by coordinate descent, many items at once. Weights that `l1` sets to zero keep
    a recommendation explainable by a few items. Where the items of a user come from, see
    `AdaptedRecommender`.

    Args:
        schema: names and sizes of the features; only the user id, the item id and a history of it
            are used.
        l1: weight of the sum of the weights; larger values give fewer of them.
        l2: weight of the squares of the weights.
        neighbours: number of other items that may have a weight, for each item.

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
    >>> model = SLIM(schema, l1=0.5, l2=1.0)
    >>> model.adapt({"user_id": np.array([2, 2, 3, 4]), "item_id": np.array([2, 3, 2, 4])})
    >>> scores = model({"user_id": np.array([3, 3]), "item_id": np.array([3, 4])})
    >>> [round(float(score), 3) for score in scores]
    [0.167, 0.0]
    """

    def __init__(
        self,
        schema: Schema,
        *,
        l1: float = 1.0,
        l2: float = 50.0,
        neighbours: int = 200,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(schema, neighbours=neighbours, name=name, dtype=dtype)
        check_number(self, "l1", l1)
        check_number(self, "l2", l2, zero=False)
        self.l1 = l1
        self.l2 = l2

    def _weights_of(self, items: np.ndarray, common: CommonUsers) -> scipy.sparse.csr_matrix:
        others, target = common.nearest(items, self.neighbours)
        found = elastic_net(common.among(others), target, self.l1, self.l2)
        return placed(others, found, len(common.counts))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "l1": self.l1, "l2": self.l2}


def elastic_net(gram: np.ndarray, target: np.ndarray, l1: float, l2: float) -> np.ndarray:
    """Return weights of at least 0 that minimise 1/2 w.G w - t.w + l2/2 ||w||^2 + l1 sum w.

    Args:
        gram: G of each problem, `(problems, width, width)`.
        target: t of each problem, `(problems, width)`.
        l1: weight of the sum.
        l2: weight of the squares, above 0.
    """
    weights = np.zeros_like(target)
    slope = target - l1  # minus the gradient without the penalty l2
    for _ in range(_SWEEPS):
        largest = 0.0
        for j in range(target.shape[1]):
            own = gram[:, j, j]
            new = np.maximum(slope[:, j] + own * weights[:, j], 0) / (own + l2)
            change = new - weights[:, j]
            if change.any():
                slope -= change[:, None] * gram[:, j]
                weights[:, j] = new
                largest = max(largest, float(np.abs(change).max()))
        if largest < _TOLERANCE:
            break
    return weights
