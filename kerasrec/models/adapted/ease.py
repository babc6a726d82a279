"""EASE: a linear item-item model in closed form."""

from typing import Any

import keras
import numpy as np
import scipy.linalg
import scipy.sparse

from kerasrec._checks import check_number
from kerasrec.models.adapted.item_weights import ItemWeightsRecommender
from kerasrec.schema import Schema


@keras.saving.register_keras_serializable("kerasrec")
class EASE(ItemWeightsRecommender):
    """Linear model that predicts each item from the other items of the user.

        score(u, i) = sum_j x_uj B_ji             x_uj: 1 if item j is among the user's items

    B has zeros on the diagonal and minimises the squared error over all users and items,

        ||X - X B||^2 + l2 ||B||^2

    which has a closed form (Steck, 2019, "Embarrassingly Shallow Autoencoders for Sparse Data"):

        P = (X^T X + l2 I)^-1,    B_ji = -P_ji / P_ii    for j != i

    Nothing is trained by gradients: `adapt` solves it, in seconds for some thousand items. On
    catalogues of this size it is among the strongest models of pairs without features. Time grows
    with the third power of the number of items and memory with the second, so catalogues too large
    for the memory of the machine are refused.

    Where the items of a user come from, see `AdaptedRecommender`: from training by user id, or,
    with a sequence of the item id in the schema, from any history.

    Args:
        schema: names and sizes of the features; only the user id, the item id and a history of it
            are used.
        l2: weight of the penalty, in units of users: an item with fewer users than this predicts
            little. None for 4 times the mean number of items of a user.

    Input shape:
        dict with the user id `(batch,)`, or a history `(batch, length)` instead, and the item id
        `(batch,)` or `(batch, candidates)`, int32.

    Output shape:
        float32 scores `(batch,)` or `(batch, candidates)`.

    Raises:
        ValueError: if an input is missing, `l2` is not positive, or the matrices of the items do
            not fit into memory.

    Example:

    >>> import numpy as np
    >>> from kerasrec.schema import Categorical, Schema
    >>> schema = Schema(user=Categorical("user_id", 5), item=Categorical("item_id", 5))
    >>> model = EASE(schema, l2=1.0)
    >>> model.adapt({"user_id": np.array([2, 2, 3, 3, 4]), "item_id": np.array([2, 3, 2, 3, 2])})
    >>> model({"user_id": np.array([4, 4]), "item_id": np.array([3, 4])}).numpy().tolist()
    [0.5, 0.0]
    """

    def __init__(
        self,
        schema: Schema,
        *,
        l2: float | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(schema, name=name, dtype=dtype)
        if l2 is not None:
            hint = "None chooses it from the data."
            check_number(self, "l2", l2, zero=False, hint=hint)
        self.l2 = l2

    def _item_weights(self, matrix: scipy.sparse.csr_matrix) -> np.ndarray:
        l2 = default_l2(matrix) if self.l2 is None else self.l2
        gram = np.asarray((matrix.T @ matrix).toarray(), np.float32)
        gram[np.diag_indices_from(gram)] += l2
        weights = inverse(gram)
        weights /= -np.diag(weights)[:, None]
        np.fill_diagonal(weights, 0)
        return weights

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "l2": self.l2}


def default_l2(matrix: scipy.sparse.csr_matrix) -> float:
    """Return 4 times the mean number of items of a user.

    The penalties of the paper are 200 for 59 items (Million Song Data), 500 for 73 (MovieLens 20M)
    and 1000 for 122 (Netflix): 3 to 8 times as many. Quality changes little within a factor of 2.
    """
    lengths = np.diff(matrix.indptr)
    return float(4 * lengths[lengths > 0].mean())


def inverse(matrix: np.ndarray) -> np.ndarray:
    """Return the inverse of a symmetric positive float32 matrix, which it overwrites.

    Args:
        matrix: in C order.

    Raises:
        ValueError: if the matrix is singular in float32.
    """
    # The transpose of a matrix in C order is the order of LAPACK, so that nothing is copied.
    factor, failed = scipy.linalg.lapack.spotrf(matrix.T, lower=1, overwrite_a=1, clean=0)
    found, singular = scipy.linalg.lapack.spotri(factor, lower=1, overwrite_c=1)
    if failed or singular:
        raise ValueError("EASE.adapt: the equations are singular in float32. Choose a larger l2.")
    upper: np.ndarray = found.T
    for start in range(0, len(upper), 1024):
        stop = start + 1024
        corner = np.triu(upper[start:stop, start:stop])
        upper[start:stop, start:stop] = corner + np.triu(corner, 1).T
        upper[stop:, start:stop] = upper[start:stop, stop:].T
    return upper
