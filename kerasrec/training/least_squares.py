"""Alternating least squares: fits matrix factorisation to implicit feedback in closed form."""

import concurrent.futures
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse
from threadpoolctl import threadpool_limits

from kerasrec._checks import check_integer, check_number
from kerasrec.data.encoding.positive_ids import known_positives, ones_of
from kerasrec.schema import FIRST_ID
from kerasrec.types import Columns

# Vectors of the other side that a thread gathers at once, each of the length of an embedding.
_VECTORS = 2**13
# Steps of conjugate gradients for each vector and epoch.
_STEPS = 3


class AlternatingLeastSquares:
    """Solver that fits the vectors of `MatrixFactorization` to positives, without gradients.

    It minimises (Hu et al., 2008, "Collaborative Filtering for Implicit Feedback Datasets"; Rendle
    et al., 2022, "Revisiting the Performance of iALS on Item Recommendation Benchmarks")

        sum over positives (u, i) of (1 - <p_u, q_i>)^2
        + unobserved_weight * sum over all (u, i) of <p_u, q_i>^2
        + l2 * (sum_u n_u^exponent ||p_u||^2 + sum_i n_i^exponent ||q_i||^2)

    where n_u is the number of positives of u plus `unobserved_weight` times the number of items,
    and n_i likewise. Given the vectors of one side, each vector of the other solves a linear
    system, and `fit` alternates between both. As in Takács et al. (2011, "Applications of the
    Conjugate Gradient Method for Implicit Feedback Collaborative Filtering"), a few steps of
    conjugate gradients improve a vector in each epoch; only the vectors of users at the end are
    exact solutions. Blocks of vectors are solved in parallel. `fit`
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
        l2: float = 0.006,
        unobserved_weight: float = 0.2,
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
        users, items = schema.user_id.num_ids - FIRST_ID, schema.item_id.num_ids - FIRST_ID
        losses = []
        for epoch in range(epochs):
            q, _ = self._solve(by_item, p, users, start=q)
            # At last exactly, so that users have the vectors that `fold_in` finds.
            last = epoch == epochs - 1
            p, errors = self._solve(by_user, q, items, start=None if last else p)
            shared = np.sum((p.T @ p) * (q.T @ q), dtype=np.float64)
            penalties = (
                np.sum(self._penalty(rows, others) * np.sum(side**2, axis=1), dtype=np.float64)
                for rows, side, others in ((by_user, p, items), (by_item, q, users))
            )
            losses.append(float(errors + self.unobserved_weight * shared + sum(penalties)))
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
        return self._solve(rows, self._vectors()[1], num_items - FIRST_ID)[0]

    def _vectors(self) -> tuple[np.ndarray, np.ndarray]:
        model = self.model
        p, q = model.user_vectors.embeddings, model.item_vectors.embeddings
        return np.array(p, np.float32), np.array(q, np.float32)

    def _penalty(self, rows: scipy.sparse.csr_matrix, others: int) -> np.ndarray:
        """Return the penalty of each vector, with the number of vectors of the other side."""
        counts = np.diff(rows.indptr) + self.unobserved_weight * others
        weights: np.ndarray = (self.l2 * counts**self.exponent).astype(np.float32)
        return weights

    def _solve(
        self,
        rows: scipy.sparse.csr_matrix,
        other: np.ndarray,
        others: int,
        *,
        start: np.ndarray | None = None,
    ) -> tuple[np.ndarray, float]:
        """Return the vectors of one side, given those of the other, 0 for empty rows.

        The second value is the sum of the squared errors of the positives.

        Args:
            rows: ones `(vectors, others)`.
            other: vectors of the other side.
            others: number of them that are ids of the training rows.
            start: vectors to begin with, which some steps of conjugate gradients improve. They
                never raise the objective, and take a fraction of the time of a solution. None for
                the solution.
        """
        base = self.unobserved_weight * (other.T @ other)
        penalty = self._penalty(rows, others)
        padded = np.concatenate([other, np.zeros_like(other[:1])])
        found = np.zeros((rows.shape[0], other.shape[1]), np.float32)

        def solve(block: np.ndarray) -> float:
            first, last = rows.indptr[block], rows.indptr[block + 1]
            position = first[:, None] + np.arange((last - first).max())
            inside = position < last[:, None]
            ids = np.where(inside, rows.indices[np.minimum(position, rows.nnz - 1)], len(other))
            vectors = padded[ids]  # (rows, longest, dim)
            right = vectors.sum(axis=1)
            if start is None:
                left = np.matmul(vectors.transpose(0, 2, 1), vectors) + base
                left += penalty[block, None, None] * np.eye(len(base), dtype=np.float32)
                solution = np.linalg.solve(left, right[..., None])[..., 0]
            else:
                solution = _improved(vectors, base, penalty[block], right, start[block])
            found[block] = solution
            scores = np.matmul(vectors, solution[..., None])
            # The score of padding is 0.
            return float(inside.sum() - 2 * np.sum(scores) + np.sum(scores**2))

        threads = concurrent.futures.ThreadPoolExecutor(os.cpu_count())
        with threadpool_limits(1, user_api="blas"), threads as pool:
            errors = sum(pool.map(solve, _blocks(np.diff(rows.indptr))))
        return found, errors


def _improved(
    vectors: np.ndarray, base: np.ndarray, penalty: np.ndarray, right: np.ndarray, x: np.ndarray
) -> np.ndarray:
    """Return x after some steps of conjugate gradients for (V^T V + base + penalty I) x = right."""

    def product(direction: np.ndarray) -> np.ndarray:
        scores = np.matmul(vectors, direction[..., None])
        own: np.ndarray = np.matmul(vectors.transpose(0, 2, 1), scores)[..., 0]
        return own + direction @ base + penalty[:, None] * direction

    rest = right - product(x)
    direction, squared = rest, np.sum(rest**2, axis=1, keepdims=True)
    for _ in range(_STEPS):
        ahead = product(direction)
        along = np.sum(direction * ahead, axis=1, keepdims=True)
        step = np.divide(squared, along, out=np.zeros_like(squared), where=along > 0)
        x = x + step * direction
        rest = rest - step * ahead
        before, squared = squared, np.sum(rest**2, axis=1, keepdims=True)
        ratio = np.divide(squared, before, out=np.zeros_like(squared), where=before > 0)
        direction = rest + ratio * direction
    return x


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
