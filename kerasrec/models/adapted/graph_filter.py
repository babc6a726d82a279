"""GraphFilter: closed-form spectral filters of the graph of users and items."""

from typing import Any

import keras
import numpy as np
import scipy.sparse
from keras import ops

from kerasrec._checks import check_choice, check_integer, check_number
from kerasrec.models.adapted.interactions import InteractionsRecommender
from kerasrec.models.adapted.spectral import chebyshev_coefficients, powers, singular_vectors
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
    that memory grows with the rows and not with the square of the items. Scores are sums over the
    items of the user, so that `contributions` explains them. Where the items come from, see
    `AdaptedRecommender`.

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
        self.user_factors.assign(powers(users, -1))
        self.item_factors.assign(powers(items, -0.5))
        if self.rank:
            normal = matrix.multiply(powers(users, -0.5)).multiply(powers(items, -0.5).T)
            vectors = np.zeros(self.inward.shape)
            found = singular_vectors(normal.tocsr(), self.rank)
            vectors[:, : found.shape[1]] = found
            self.inward.assign(powers(items, -self.exponent) * vectors)
            self.outward.assign(self.rank_weight * powers(items, self.exponent) * vectors)

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

    def contributions(self, inputs: Features) -> tuple[Tensor, Tensor]:
        """Return what each item of the query adds to a score, which explains the score.

        The scores of a filter are sums over the items of the user, each filtered alone. Memory is 4
        bytes for each item of a query and each item of the catalogue.

        Args:
            inputs: as for a call.

        Returns:
            int32 ids `(batch, width)` of the items of each query, padded with 0, and float32
            contributions `(batch, width)` or `(batch, candidates, width)`, which add up to the
            score.
        """
        history = self.items_of(inputs)
        alone = ops.reshape(history, (-1,))
        scores = self.scores_of_items(alone) * ops.cast(alone != 0, "float32")[:, None]
        scores = ops.reshape(scores, (*ops.shape(history), self.schema.item_id.num_ids))
        items = ops.convert_to_tensor(inputs[self.schema.item_id.name])
        if len(items.shape) == 1:
            return history, ops.take_along_axis(scores, items[:, None, None], axis=2)[..., 0]
        of_each = ops.take_along_axis(scores, items[:, None, :], axis=2)
        return history, ops.transpose(of_each, (0, 2, 1))

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
