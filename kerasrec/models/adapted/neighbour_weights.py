"""Base class of linear item-item models with weights of some neighbours of each item."""

import functools
from typing import Any

import numpy as np
import scipy.sparse
from keras import ops

from kerasrec._checks import check_integer, check_memory
from kerasrec.layers.id_weights import IdWeights
from kerasrec.models.adapted.all_items import AllItemsRecommender
from kerasrec.schema import FIRST_ID, Schema
from kerasrec.types import Features, Tensor

# Items whose weights are computed at once.
BLOCK = 256
# Items up to which all numbers of users in common are kept, in a dense matrix of up to 1 GiB.
_DENSE_ITEMS = 2**14


class NeighbourWeightsRecommender(AllItemsRecommender):
    """Base class of models with a weight for each item and each of its neighbours.

        score(u, i) = sum_{j in N(i)} x_uj W_ij     x_uj: 1 if item j is among the user's items

    Memory is 8 bytes for each item and neighbour, so that it grows with the number of items and not
    with its square. A subclass stores its arguments and defines `_weights_of`.

    Args:
        schema: the features; only the user id, the item id and a history of it are used.
        neighbours: largest number of items that have a weight, for each item.
        name: name of the model.
        dtype: dtype or dtype policy.

    Raises:
        ValueError: if `neighbours` is no positive integer, or the weights do not fit into memory.
    """

    def __init__(
        self, schema: Schema, *, neighbours: int, name: str | None = None, dtype: Any = None
    ) -> None:
        super().__init__(schema, name=name, dtype=dtype)
        check_integer(self, "neighbours", neighbours, 1)
        self.neighbours = neighbours
        num_ids = self.schema.item_id.num_ids
        what = f"{num_ids - FIRST_ID:,} items with {neighbours:,} neighbours each"
        needed = 8 * num_ids * min(neighbours, num_ids)
        check_memory(self, what, needed, "Choose fewer neighbours.")
        self.item_weights = IdWeights(num_ids, neighbours, name="item_weights")
        self.build()

    def _solve(self, matrix: scipy.sparse.csr_matrix) -> None:
        common = CommonUsers(matrix)
        items = np.flatnonzero(common.counts)
        found = [
            self._weights_of(items[start : start + BLOCK], common)
            for start in range(0, len(items), BLOCK)
        ]
        weights = scipy.sparse.vstack(found).tocoo()
        places = items[weights.row], weights.col
        shape = (matrix.shape[1], matrix.shape[1])
        self.item_weights.assign(scipy.sparse.csr_matrix((weights.data, places), shape=shape))

    def _weights_of(self, items: np.ndarray, common: "CommonUsers") -> scipy.sparse.csr_matrix:
        """Return the rows of W of some items, `(some items, item ids)`.

        Args:
            items: ids of items with users.
            common: numbers of users that items have in common.
        """
        raise NotImplementedError

    def all_scores(self, profile: Tensor, inputs: Features) -> Tensor:
        """Return the scores of all items, `(item ids, batch)`."""
        return self.item_weights.times(profile)

    def pair_scores(self, inputs: Features) -> Tensor:
        """Return the score of one item for each query, `(batch,)`."""
        neighbours, weights = self.item_weights(inputs[self.schema.item_id.name])
        there = ops.take_along_axis(self.profile(inputs), neighbours, axis=1)
        return ops.sum(there * weights, axis=1)

    def contributions(self, inputs: Features) -> tuple[Tensor, Tensor]:
        """Return what each item of the query adds to a score, which explains the score.

        Args:
            inputs: as for a call.

        Returns:
            int32 ids `(batch, width)` of the items of each query, padded with 0, and float32
            contributions `(batch, width)` or `(batch, candidates, width)`, which add up to the
            score.
        """
        neighbours, weights = self.item_weights(inputs[self.schema.item_id.name])
        history = self.items_of(inputs)
        columns = history[:, None, :] if len(neighbours.shape) == 3 else history
        same = (columns[..., None] == neighbours[..., None, :]) & (columns[..., None] != 0)
        return history, ops.sum(ops.where(same, weights[..., None, :], 0.0), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments. Subclasses add their own."""
        return {**super().get_config(), "neighbours": self.neighbours}


class CommonUsers:
    """Numbers of users that items have in common.

    Args:
        matrix: ones `(user ids, item ids)`.
    """

    def __init__(self, matrix: scipy.sparse.csr_matrix) -> None:
        self._rows, self._columns = matrix.tocsr(), matrix.tocsc()
        self.counts = np.diff(self._columns.indptr).astype(np.float32)
        """Number of users of each item."""

    def of(self, items: np.ndarray) -> scipy.sparse.csr_matrix:
        """Return the numbers above 0 of some items with all others, `(some items, items)`."""
        found = (self._columns[:, items].T @ self._rows).tocsr().astype(np.float32)
        found.data[rows_of(found, items) == found.indices] = 0
        found.eliminate_zeros()
        found.sort_indices()
        return found

    def nearest(self, items: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the other items with the largest cosine, and their numbers of users in common.

        Args:
            items: ids of some items.
            count: largest number of other items.

        Returns:
            int ids `(some items, others)`, padded with 0, and float32 numbers of this shape.
        """
        cosines = self.of(items)
        # The number of users of the item itself is the same for all of its neighbours.
        cosines.data /= np.sqrt(self.counts[cosines.indices])
        cosines = keep_largest(cosines, count)
        shape = (len(items), max(1, int(np.diff(cosines.indptr).max())))
        found, common = np.zeros(shape, np.int64), np.zeros(shape, np.float32)
        rows = rows_of(cosines, np.arange(len(items)))
        places = np.arange(cosines.nnz) - cosines.indptr[rows]
        found[rows, places] = cosines.indices
        common[rows, places] = cosines.data * np.sqrt(self.counts[cosines.indices])
        return found, common

    def among(self, items: np.ndarray) -> np.ndarray:
        """Return the numbers within groups of items, float32 `(groups, width, width)`.

        Args:
            items: ids `(groups, width)`, of which 0 has no users.
        """
        if len(self.counts) <= _DENSE_ITEMS:
            return self._dense[items[:, :, None], items[:, None, :]]
        columns = (self._columns[:, one] for one in items)
        return np.stack([(one.T @ one).toarray() for one in columns]).astype(np.float32)

    @functools.cached_property
    def _dense(self) -> np.ndarray:
        return np.asarray((self._rows.T @ self._rows).toarray(), np.float32)


def keep_largest(matrix: scipy.sparse.csr_matrix, count: int) -> scipy.sparse.csr_matrix:
    """Return a sparse matrix with only the largest numbers of each row.

    Equal numbers at the limit are kept in the order of their columns.

    Args:
        matrix: numbers above 0, sorted by column.
        count: number of them that are kept in each row.
    """
    for row in np.flatnonzero(np.diff(matrix.indptr) > count):
        own = matrix.data[matrix.indptr[row] : matrix.indptr[row + 1]]
        own[np.argsort(-own, kind="stable")[count:]] = 0
    matrix.eliminate_zeros()
    return matrix


def rows_of(matrix: scipy.sparse.csr_matrix, names: np.ndarray) -> np.ndarray:
    """Return the row of each number of a sparse matrix.

    Args:
        matrix: any sparse matrix by rows.
        names: what each row is called.
    """
    return np.repeat(names, np.diff(matrix.indptr))


def placed(others: np.ndarray, values: np.ndarray, num_ids: int) -> scipy.sparse.csr_matrix:
    """Return a sparse matrix `(rows, num_ids)` with a few numbers in each row.

    Args:
        others: columns of the numbers `(rows, width)`, with 0 for none.
        values: the numbers.
        num_ids: number of columns.
    """
    rows, places = np.nonzero(others)
    numbers = values[rows, places], (rows, others[rows, places])
    return scipy.sparse.csr_matrix(numbers, shape=(len(others), num_ids))
