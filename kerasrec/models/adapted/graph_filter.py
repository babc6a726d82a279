"""GraphFilter: closed-form spectral filters of the graph of users and items."""

from typing import Any

import keras
import numpy as np
import scipy.sparse
import scipy.sparse.linalg
from keras import ops

from kerasrec._checks import check_choice, check_integer, check_number
from kerasrec.models.adapted.interactions import InteractionsRecommender
from kerasrec.schema import Schema
from kerasrec.types import Features, Tensor

FILTERS = ("chebyshev", "linear", "none")


@keras.saving.register_keras_serializable("kerasrec")
class GraphFilter(InteractionsRecommender):
    """Low-pass filter of the items of a user over the graph of all users and items.

        score(u, .) = h(P) x_u + rank_weight D^b V V^T D^-b x_u

    x_u is 1 at the items of the user, D and E hold the degrees of items and users, and P =
    D^-1/2 X^T E^-1 X D^-1/2 has eigenvalues from 0 to 1. Large ones belong to smooth signals, in
    which similar items have similar values. The first term is a filter that keeps these:

        linear:     h(s) = s
        chebyshev:  the polynomial of degree `order` through 1/2 + 1/2 sign(z) |z|^flatness,
                    z = 2 s - 1, at its Chebyshev nodes

    The second is an ideal filter: it keeps the `rank` largest eigenvalues alone, whose eigenvectors
    are V. Linear and ideal filter together are GF-CF (Shen et al., 2021, "How Powerful is Graph
    Convolution for Recommendation?"), with a Chebyshev polynomial it is ChebyCF (Kim et al., 2025,
    "Graph Spectral Filtering with Chebyshev Interpolation for Recommendation"). Nothing is trained:
    `adapt` counts degrees and computes V; products with the rows do the rest for each query, so
    that memory grows with the rows and not with the square of the items. Where the items of a user
    come from, see `AdaptedRecommender`.

    Args:
        schema: names and sizes of the features; only the user id, the item id and a history of it
            are used.
        filter: "chebyshev", "linear", or "none" for the ideal filter alone.
        order: degree of the polynomial of "chebyshev", and number of products with P.
        flatness: exponent of its response; larger values make both bands flat.
        rank: number of eigenvectors of the ideal filter, 0 for none. Of smaller matrices, all
            are used.
        rank_weight: weight of the ideal filter.
        exponent: b, the power of the degrees of items around the ideal filter.

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
    >>> model = GraphFilter(schema, filter="linear", rank=0)
    >>> model.adapt({"user_id": np.array([2, 2, 3, 4]), "item_id": np.array([2, 3, 2, 4])})
    >>> scores = model({"user_id": np.array([3, 3]), "item_id": np.array([3, 4])})
    >>> [round(float(score), 3) for score in scores]
    [0.354, 0.0]
    """

    def __init__(
        self,
        schema: Schema,
        *,
        filter: str = "chebyshev",
        order: int = 8,
        flatness: float = 10.0,
        rank: int = 256,
        rank_weight: float = 0.3,
        exponent: float = 0.5,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(schema, name=name, dtype=dtype)
        check_choice(self, "filter", filter, FILTERS)
        check_integer(self, "order", order, 1)
        check_number(self, "flatness", flatness, zero=False)
        hint = "With filter='none', there is no other part of a score."
        check_integer(self, "rank", rank, 1 if filter == "none" else 0, hint=hint)
        check_number(self, "rank_weight", rank_weight)
        check_number(self, "exponent", exponent)
        self.filter = filter
        self.order = order
        self.flatness = flatness
        self.rank = rank
        self.rank_weight = rank_weight
        self.exponent = exponent
        users, items = self.schema.user_id.num_ids, self.schema.item_id.num_ids
        self.user_factors = self._constants((users, 1), "user_factors")  # 1 / degree
        self.item_factors = self._constants((items, 1), "item_factors")  # 1 / sqrt(degree)
        if rank:
            self.inward = self._constants((items, rank), "inward")  # D^-b V
            self.outward = self._constants((items, rank), "outward")  # rank_weight D^b V
        self.build()

    def _constants(self, shape: tuple[int, ...], name: str) -> Any:
        """Return a weight that is not trained, in float32 under every policy."""
        return self.add_weight(
            shape=shape,
            initializer="zeros",
            trainable=False,
            dtype="float32",
            autocast=False,
            name=name,
        )

    def _solve(self, matrix: scipy.sparse.csr_matrix) -> None:
        users, items = (
            np.asarray(matrix.sum(axis=axis), np.float64).reshape(-1, 1) for axis in (1, 0)
        )
        self.user_factors.assign(_power(users, -1))
        self.item_factors.assign(_power(items, -0.5))
        if self.rank:
            normal = matrix.multiply(_power(users, -0.5)).multiply(_power(items, -0.5).T)
            vectors = np.zeros(self.inward.shape)
            found = singular_vectors(normal.tocsr(), self.rank)
            vectors[:, : found.shape[1]] = found
            self.inward.assign(_power(items, -self.exponent) * vectors)
            self.outward.assign(self.rank_weight * _power(items, self.exponent) * vectors)

    def all_scores(self, profile: Tensor, inputs: Features) -> Tensor:
        """Return the scores of all items, `(item ids, batch)`."""
        scores = ops.zeros_like(profile)
        if self.filter == "linear":
            scores = self._smooth(profile)
        elif self.filter == "chebyshev":
            coefficients = chebyshev_coefficients(self.order, self.flatness)
            # T_k of 2 P - 1, each from the two before it.
            before, last = profile, 2 * self._smooth(profile) - profile
            scores = coefficients[0] * before + coefficients[1] * last
            for coefficient in coefficients[2:]:
                before, last = last, 2 * (2 * self._smooth(last) - last) - before
                scores += coefficient * last
        if self.rank:
            low = ops.matmul(ops.transpose(self.inward), profile)  # (rank, batch)
            scores += ops.matmul(self.outward, low)
        return scores

    def _smooth(self, signal: Tensor) -> Tensor:
        """Return P times a signal `(item ids, batch)`."""
        users = self.user_rows.times(self.item_factors * signal)
        return self.item_factors * self.user_rows.transposed_times(self.user_factors * users)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "filter": self.filter,
            "order": self.order,
            "flatness": self.flatness,
            "rank": self.rank,
            "rank_weight": self.rank_weight,
            "exponent": self.exponent,
        }


def chebyshev_coefficients(order: int, flatness: float) -> list[float]:
    """Return the coefficients of T_0 to T_order of the polynomial through the response.

    Args:
        order: degree of the polynomial.
        flatness: exponent of the response.
    """
    nodes = np.cos(np.pi * np.arange(order + 1) / order)
    nodes[np.abs(nodes) < 1e-12] = 0
    response = 0.5 + 0.5 * np.sign(nodes) * np.abs(nodes) ** flatness
    found: list[float] = np.polynomial.chebyshev.chebfit(nodes, response, order).tolist()
    return found


def singular_vectors(matrix: scipy.sparse.csr_matrix, rank: int) -> np.ndarray:
    """Return the right singular vectors `(columns, rank)` of the largest singular values.

    Args:
        matrix: a sparse matrix.
        rank: number of vectors; of a smaller matrix, all of them are returned.
    """
    if rank >= min(matrix.shape):
        return np.linalg.svd(matrix.toarray(), full_matrices=False)[2].T
    start = np.random.default_rng(0).normal(size=min(matrix.shape))
    _, values, vectors = scipy.sparse.linalg.svds(matrix, rank, v0=start)
    return vectors[np.argsort(-values)].T


def _power(degrees: np.ndarray, exponent: float) -> np.ndarray:
    """Return powers of degrees, 0 of ids without rows."""
    return np.power(degrees, exponent, out=np.zeros_like(degrees), where=degrees > 0)
