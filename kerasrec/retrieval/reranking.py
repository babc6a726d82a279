"""Re-ranking for diversity, calibration and popularity balance."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, Self

import keras
import tensorflow as tf

from kerasrec._checks import check_share
from kerasrec.retrieval.exact import LOWEST_SCORE
from kerasrec.schema import FIRST_ID
from kerasrec.types import Tensor


class Shortlist(NamedTuple):
    """Candidate items of a re-ranking, best first.

    Attributes:
        scores: float32 `(batch, n)`.
        real: bool `(batch, n)`, False in empty slots.
        vectors: float32 `(batch, n, dim)` of length 1; dot products are similarities.
        popularity: float32 `(batch, n)`, number of training rows of the item.
        categories: float32 `(batch, n, categories)`, shares that sum to 1, or to 0 for an item
            without categories; None if the catalogue has no categories.
        profile: float32 `(batch, categories)`, mean shares of the query's history; 0 without a
            history.
    """

    scores: Tensor
    real: Tensor
    vectors: Tensor
    popularity: Tensor
    categories: Tensor | None = None
    profile: Tensor | None = None


class Reranker(Protocol):
    """Base class of rerankers, which choose and order k items of a shortlist."""

    needs_categories: bool

    def __call__(self, items: Shortlist, k: int) -> Tensor:
        """Return columns of the shortlist `(batch, k)`, int32; -1 in empty slots."""
        ...


class _Weighted:
    """Base class of rerankers with a weight w."""

    needs_categories = False

    def __init__(self, weight: float) -> None:
        check_share(self, "weight", weight)
        self.weight = weight

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"weight": self.weight}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Create a reranker from the result of `get_config`."""
        return cls(**config)


@keras.saving.register_keras_serializable("kerasrec")
class MaximalMarginalRelevance(_Weighted):
    """Greedy selection of items with high scores that are unlike those already selected.

        argmax_i  (1 - w) r(i) - w max_{j taken} cos(i, j)

    r is the score, scaled to [0, 1] within the list (Carbonell and Goldstein, 1998, "The Use of
    MMR, Diversity-Based Reranking for Reordering Documents and Producing Summaries"; their lambda
    is 1 - w).

    Args:
        weight: w, between 0 (order by score) and 1.

    Raises:
        ValueError: if the weight is not between 0 and 1.

    Example:

    >>> items = Shortlist(
    ...     scores=tf.constant([[3.0, 2.9, 1.0]]),
    ...     real=tf.constant([[True, True, True]]),
    ...     vectors=tf.constant([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]]),
    ...     popularity=tf.zeros([1, 3]),
    ... )
    >>> MaximalMarginalRelevance(0.5)(items, 2).numpy().tolist()
    [[0, 2]]
    """

    def __init__(self, weight: float = 0.3) -> None:
        super().__init__(weight)

    def __call__(self, items: Shortlist, k: int) -> Tensor:
        """Return columns of the shortlist, see `Reranker`."""
        relevance = _relevance(items)

        def gain(step: Tensor, nearest: Tensor) -> Tensor:
            # No similarity while nothing is selected.
            likeness = tf.where(step > 0, nearest, 0.0)
            return (1 - self.weight) * relevance - self.weight * likeness

        def update(nearest: Tensor, taken: Tensor) -> Tensor:
            vector = tf.gather(items.vectors, taken, batch_dims=1)  # (batch, dim)
            return tf.maximum(nearest, tf.einsum("bnd,bd->bn", items.vectors, vector))

        return _greedy(items, k, gain, update, tf.fill(tf.shape(relevance), LOWEST_SCORE))


@keras.saving.register_keras_serializable("kerasrec")
class Calibrated(_Weighted):
    """Greedy selection of items in the category proportions of the history.

        argmax_S  (1 - w) sum_{i in S} r(i) - w KL(p || q'),    q' = (1 - a) q(S) + a p,

    The objective is maximised greedily. p are the mean category shares of the history, q those of
    the list, and r is the score, scaled to [0, 1] within the shortlist (Steck, 2018, "Calibrated
    Recommendations"). An item is shared equally among its categories. A query whose history has no
    items with categories keeps the order by score.

    Args:
        weight: w, between 0 (order by score) and 1.
        smoothing: a, which keeps the divergence finite.

    Raises:
        ValueError: if the weight is not between 0 and 1, or the smoothing not strictly between
            them.

    Example:

    >>> items = Shortlist(
    ...     scores=tf.constant([[3.0, 2.9, 1.0]]),
    ...     real=tf.constant([[True, True, True]]),
    ...     vectors=tf.zeros([1, 3, 1]),
    ...     popularity=tf.zeros([1, 3]),
    ...     categories=tf.constant([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]]),
    ...     profile=tf.constant([[0.5, 0.5]]),
    ... )
    >>> Calibrated(0.5)(items, 2).numpy().tolist()
    [[0, 2]]
    """

    needs_categories = True

    def __init__(self, weight: float = 0.5, smoothing: float = 0.01) -> None:
        super().__init__(weight)
        check_share(self, "smoothing", smoothing, zero=False, one=False, numpy=True)
        self.smoothing = smoothing

    def __call__(self, items: Shortlist, k: int) -> Tensor:
        """Return columns of the shortlist, see `Reranker`."""
        if items.categories is None or items.profile is None:
            raise ValueError(
                "Calibrated: the items need categories, and the queries a history; received none. "
                "Export with filter_by= and a model that reads a sequence of items."
            )
        relevance = _relevance(items)
        wanted = items.profile[:, None, :]  # (batch, 1, categories)

        def gain(step: Tensor, sums: Tensor) -> Tensor:
            shares = sums[:, None, :] + items.categories
            shares /= tf.cast(step + 1, tf.float32)
            shares = (1 - self.smoothing) * shares + self.smoothing * wanted
            divergence = tf.reduce_sum(
                wanted * tf.math.log(tf.math.divide_no_nan(wanted, shares) + _TINY), axis=-1
            )
            return (1 - self.weight) * relevance - self.weight * divergence

        def update(sums: Tensor, taken: Tensor) -> Tensor:
            return sums + tf.gather(items.categories, taken, batch_dims=1)

        return _greedy(items, k, gain, update, tf.zeros_like(items.profile))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "smoothing": self.smoothing}


@keras.saving.register_keras_serializable("kerasrec")
class PopularityBalance(_Weighted):
    """Re-ranking that promotes items with few training rows.

        (1 - w) r(i) + w (1 - log(1 + c_i) / log(1 + max_j c_j))

    r is the score, scaled to [0, 1] within the list, and c the number of training rows of an item.
    The aim is that of Abdollahpouri et al. (2019, "Managing Popularity Bias in Recommender Systems
    with Personalized Re-ranking"), with a continuous scale in place of their two groups, head and
    tail.

    Args:
        weight: w, between 0 (order by score) and 1 (rarest first).

    Raises:
        ValueError: if the weight is not between 0 and 1.

    Example:

    >>> items = Shortlist(
    ...     scores=tf.constant([[3.0, 2.9, 1.0]]),
    ...     real=tf.constant([[True, True, True]]),
    ...     vectors=tf.zeros([1, 3, 1]),
    ...     popularity=tf.constant([[99.0, 9.0, 99.0]]),
    ... )
    >>> PopularityBalance(0.2)(items, 2).numpy().tolist()
    [[1, 0]]
    """

    def __init__(self, weight: float = 0.2) -> None:
        super().__init__(weight)

    def __call__(self, items: Shortlist, k: int) -> Tensor:
        """Return columns of the shortlist, see `Reranker`."""
        rows = tf.math.log(1 + tf.where(items.real, items.popularity, 0.0))
        share = tf.math.divide_no_nan(rows, tf.reduce_max(rows, axis=1, keepdims=True))
        gains = (1 - self.weight) * _relevance(items) + self.weight * (1 - share)
        _, order = tf.math.top_k(tf.where(items.real, gains, LOWEST_SCORE), k)
        return _without_empty(order, items)


_TINY = 1e-30


def category_shares(ids: Tensor, num_ids: int) -> Tensor:
    """Return the category shares of each item.

    Args:
        ids: encoded categories `(..., width)`; padding and unknown ids are ignored.
        num_ids: number of ids.

    Returns:
        float32 `(..., num_ids)`, summing to 1, or to 0 without categories.

    Example:

    >>> category_shares([[2, 3], [3, 0], [0, 0]], 4).numpy().tolist()
    [[0.0, 0.0, 0.5, 0.5], [0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0]]
    """
    ids = tf.convert_to_tensor(ids)
    hot = tf.reduce_sum(tf.one_hot(tf.where(ids >= FIRST_ID, ids, -1), num_ids), axis=-2)
    return tf.math.divide_no_nan(hot, tf.reduce_sum(hot, axis=-1, keepdims=True))


def _relevance(items: Shortlist) -> Tensor:
    """Return scores scaled to [0, 1] among the real items of each list."""
    lowest = tf.reduce_min(tf.where(items.real, items.scores, float("inf")), axis=1, keepdims=True)
    highest = tf.reduce_max(tf.where(items.real, items.scores, LOWEST_SCORE), axis=1, keepdims=True)
    scaled = tf.math.divide_no_nan(items.scores - lowest, highest - lowest)
    return tf.where(items.real, scaled, 0.0)


def _greedy(
    items: Shortlist,
    k: int,
    gain: Callable[[Tensor, Tensor], Tensor],
    update: Callable[[Tensor, Tensor], Tensor],
    state: Tensor,
) -> Tensor:
    """Select the item with the largest gain k times. Ties go to the best score."""

    def take(step: Tensor, free: Tensor, state: Tensor, order: Any) -> tuple[Any, ...]:
        gains = tf.where(free, gain(step, state), LOWEST_SCORE)
        taken = tf.argmax(gains, axis=1, output_type=tf.int32)
        free &= tf.range(tf.shape(free)[1])[None, :] != taken[:, None]
        return step + 1, free, update(state, taken), order.write(step, taken)

    *_, order = tf.while_loop(
        lambda step, *_: step < k,
        take,
        (0, items.real, state, tf.TensorArray(tf.int32, size=k)),
        parallel_iterations=1,
    )
    return _without_empty(tf.transpose(tf.ensure_shape(order.stack(), (k, None))), items)


def _without_empty(order: Tensor, items: Shortlist) -> Tensor:
    """Set slots without an item to -1."""
    count = tf.reduce_sum(tf.cast(items.real, tf.int32), axis=1, keepdims=True)
    return tf.where(tf.range(tf.shape(order)[1]) < count, order, -1)
