"""Alternating least squares: fits matrix factorisation to implicit feedback in closed form."""

import concurrent.futures
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse

from kerasrec._checks import check_integer, check_number
from kerasrec.data.encoding.positive_ids import known_positives, ones_of
from kerasrec.schema import FIRST_ID
from kerasrec.types import Columns

# Vectors of the other side that a thread gathers at once, each of the length of an embedding.
_VECTORS = 2**15


class AlternatingLeastSquares:
    """Solver that fits the vectors of `MatrixFactorization` to positives, without gradients.

    It minimises (Hu et al., 2008, "Collaborative Filtering for Implicit Feedback Datasets"; Rendle
    et al., 2022, "Revisiting the Performance of iALS on Item Recommendation Benchmarks")

        sum over positives (u, i) of (1 - <p_u, q_i>)^2
        + unobserved_weight * sum over all (u, i) of <p_u, q_i>^2
        + l2 * (sum_u n_u^exponent ||p_u||^2 + sum_i n_i^exponent ||q_i||^2)

    where n_u is the number of positives of u plus `unobserved_weight` times the number of items,
    and n_i likewise. Given the vectors of one side, each vector of the other solves a linear
    system, and `fit` alternates between both. Blocks of vectors are solved in parallel. `fit`
    begins with the vectors that the model has, so a second call continues, also on newer rows.

    Args:
        model: a `MatrixFactorization` with `use_bias=False` and without a temperature.
        l2: weight of the penalty.
        unobserved_weight: weight of a pair that is no positive, towards a score of 0.
        exponent: how much more frequent users and items are penalised: 0 for all alike, 1 for
            a penalty in proportion to n.

    Raises:
        ValueError: if the model is another one, or a number is out of range.

    Example:

    >>> from kerasrec.models import MatrixFactorization
    >>> from kerasrec.schema import Categorical, Schema
    >>> schema = Schema(Categorical("user", 5), Categorical("item", 5))
    >>> model = MatrixFactorization(schema, embedding_dim=2, use_bias=False)
    >>> solver = AlternatingLeastSquares(model)
    >>> rows = {"user": np.array([2, 2, 3, 4]), "item": np.array([2, 3, 2, 4])}
    >>> losses = solver.fit(rows, epochs=3)["loss"]
    >>> losses[0] > losses[1] > losses[2]
    True
    """

    def __init__(
        self,
        model: Any,
        *,
        l2: float = 0.003,
        unobserved_weight: float = 0.1,
        exponent: float = 1.0,
    ) -> None:
        bias, temperature = getattr(model, "use_bias", True), getattr(model, "temperature", None)
        if not hasattr(model, "user_vectors") or bias or temperature is not None:
            raise ValueError(
                "AlternatingLeastSquares: expected a MatrixFactorization of user and item vectors "
                f"alone; received {type(model).__name__} with use_bias={bias} and "
                f"temperature={temperature}. Make it with use_bias=False, temperature=None."
            )
        check_number(self, "l2", l2, zero=False)
        check_number(self, "unobserved_weight", unobserved_weight)
        check_number(self, "exponent", exponent)
        self.model = model
        self.l2 = l2
        self.unobserved_weight = unobserved_weight
        self.exponent = exponent

    def fit(self, columns: Columns, *, epochs: int = 16) -> dict[str, list[float]]:
        """Solve for the vectors of all items, then of all users, again and again.

        Args:
            columns: encoded training columns with the user id, the item id and, if there is one,
                the label, by which positives are chosen. A repeated pair counts once.
            epochs: number of times that both sides are solved.

        Returns:
            `{"loss": ...}`, the objective after each epoch, which never rises but by rounding.

        Raises:
            ValueError: if a column is missing or badly encoded, or there are no positives.
        """
        check_integer("AlternatingLeastSquares.fit", "epochs", epochs, 1)
        schema = self.model.schema
        owner = "AlternatingLeastSquares.fit"
        by_user = ones_of(schema, *known_positives(owner, schema, columns))
        by_item = by_user.T.tocsr()
        p, q = self._vectors()
        p[:FIRST_ID] = q[:FIRST_ID] = 0  # of unknown ids nothing is known
        losses = []
        for _ in range(epochs):
            q = self._solve(by_item, p, schema.user_id.num_ids - FIRST_ID)
            p = self._solve(by_user, q, schema.item_id.num_ids - FIRST_ID)
            losses.append(self._loss(by_user, p, q))
        self.model.user_vectors.embeddings.assign(p)
        self.model.item_vectors.embeddings.assign(q)
        return {"loss": losses}

    def fold_in(self, histories: np.ndarray) -> np.ndarray:
        """Solve for the vectors of users who were not there in training.

        Their dot products with `item_embedding` are their scores. A user of the training rows gets
        the vector of the model.

        Args:
            histories: encoded item ids `(users, length)`, padded with 0 anywhere.

        Returns:
            float32 `(users, embedding_dim)`, zeros for an empty history.

        Raises:
            ValueError: if ids lie outside the schema.
        """
        ids = np.asarray(histories)
        num_items = self.model.schema.item_id.num_ids
        if ids.ndim != 2 or ids.dtype.kind not in "iu" or ids.min(initial=0) < 0:
            raise ValueError(
                "AlternatingLeastSquares.fold_in: expected encoded item ids (users, length); "
                f"received {ids.dtype} of shape {ids.shape}."
            )
        if ids.max(initial=0) >= num_items:
            raise ValueError(
                f"AlternatingLeastSquares.fold_in: expected item ids from 0 to {num_items - 1}; "
                f"received {ids.max()}. Encode raw ids first."
            )
        user, position = np.nonzero(ids >= FIRST_ID)
        ones = np.ones(len(user), np.float32)
        rows = scipy.sparse.csr_matrix((ones, (user, ids[user, position])), (len(ids), num_items))
        rows.data[:] = 1
        return self._solve(rows, self._vectors()[1], num_items - FIRST_ID)

    def _vectors(self) -> tuple[np.ndarray, np.ndarray]:
        model = self.model
        p, q = model.user_vectors.embeddings, model.item_vectors.embeddings
        return np.array(p, np.float32), np.array(q, np.float32)

    def _penalty(self, rows: scipy.sparse.csr_matrix, others: int) -> np.ndarray:
        """Return the penalty of each vector, with the number of vectors of the other side."""
        counts = np.diff(rows.indptr) + self.unobserved_weight * others
        weights: np.ndarray = (self.l2 * counts**self.exponent).astype(np.float32)
        return weights

    def _solve(self, rows: scipy.sparse.csr_matrix, other: np.ndarray, others: int) -> np.ndarray:
        """Return the vectors of one side, given those of the other, 0 for empty rows."""
        base = self.unobserved_weight * (other.T @ other)
        penalty = self._penalty(rows, others)
        padded = np.concatenate([other, np.zeros_like(other[:1])])
        found = np.zeros((rows.shape[0], other.shape[1]), np.float32)

        def solve(block: np.ndarray) -> None:
            first, last = rows.indptr[block], rows.indptr[block + 1]
            position = first[:, None] + np.arange((last - first).max())
            inside = position < last[:, None]
            ids = np.where(inside, rows.indices[np.minimum(position, rows.nnz - 1)], len(other))
            vectors = padded[ids]  # (rows, longest, dim)
            left = np.matmul(vectors.transpose(0, 2, 1), vectors) + base
            left += penalty[block, None, None] * np.eye(len(base), dtype=np.float32)
            found[block] = np.linalg.solve(left, vectors.sum(axis=1)[..., None])[..., 0]

        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(solve, _blocks(np.diff(rows.indptr))))
        return found

    def _loss(self, rows: scipy.sparse.csr_matrix, p: np.ndarray, q: np.ndarray) -> float:
        users, items = rows.nonzero()
        total = self.unobserved_weight * np.sum((p.T @ p) * (q.T @ q), dtype=np.float64)
        for start in range(0, len(users), _VECTORS):
            some = slice(start, start + _VECTORS)
            scores = np.einsum("nd,nd->n", p[users[some]], q[items[some]])
            total += np.sum((1 - scores) ** 2, dtype=np.float64)
        sides = ((rows, p, q), (rows.T.tocsr(), q, p))
        for own, vectors, other in sides:
            weights = self._penalty(own, len(other) - FIRST_ID)
            total += np.sum(weights * np.sum(vectors**2, axis=1), dtype=np.float64)
        return float(total)


def _blocks(lengths: np.ndarray) -> Iterator[np.ndarray]:
    """Return row numbers of rows that are not empty, in blocks of about equal length."""
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] > 0]
    stop = len(order)
    while stop:
        # The longest row comes last, and decides how many are gathered at once.
        start = max(0, stop - max(1, _VECTORS // int(lengths[order[stop - 1]])))
        yield order[start:stop]
        stop = start
