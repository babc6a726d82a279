"""Rank metrics whose ties are broken fairly: the exact mean over all orders of equal scores."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy.special import digamma


@dataclasses.dataclass(frozen=True, eq=False)
class RankMetrics:
    """One value per query.

    Args:
        hr: share of tie orders with a positive among the first k, `(queries, cutoffs)`.
        recall: expected share of the positives among the first k, `(queries, cutoffs)`.
        ndcg: expected discounted gain over the best possible one, `(queries, cutoffs)`.
        mrr: expected 1 / rank of the first positive, `(queries,)`.
    """

    hr: np.ndarray
    recall: np.ndarray
    ndcg: np.ndarray
    mrr: np.ndarray


def expected_rank_metrics(
    query: np.ndarray,
    greater: np.ndarray,
    tied: np.ndarray,
    positives: np.ndarray,
    *,
    num_positives: np.ndarray,
    cutoffs: Sequence[int],
) -> RankMetrics:
    """Rank metrics from tie blocks, as the mean over all orders of the tied candidates.

    A tie block is the set of candidates of a query that share a score: g candidates score higher,
    t candidates (itself included) are tied, m of them are positives. In a random order of the
    block each positive is uniform on the positions g + 1 .. g + t, which settles the metrics that
    are sums over positives:

        recall@k = sum over blocks of m * |{g+1..g+t} and {1..k}| / t / P
        dcg@k    = sum over blocks of m / t * sum of 1 / log2(1 + r) for r in g+1 .. min(g+t, k)

    with P positives of the query in all. Hit rate and reciprocal rank depend on the *first*
    positive X, in the best block that holds any, whose position inside it is hypergeometric:

        P(X > g + x) = C(t - m, x) / C(t, x)
        hr@k = 1 - P(X > k),  mrr = sum over x of P(X = g + x) / (g + x)

    Args:
        query: `(blocks,)` index of the query of each block, ascending; best block first in each.
        greater: `(blocks,)` g.
        tied: `(blocks,)` t.
        positives: `(blocks,)` m. Blocks without positives are left out, as are blocks that start
            beyond the largest cutoff and are not the first of their query: they add nothing.
        num_positives: `(queries,)` P; positives that are no candidates count as missed.
        cutoffs: the values of k.

    Returns:
        `RankMetrics`, zero for queries without blocks.

    Example:

    >>> import numpy as np
    >>> one = lambda value: np.array([value])
    >>> metrics = expected_rank_metrics(  # one positive among ten equal scores
    ...     one(0), one(0), one(10), one(1), num_positives=one(1), cutoffs=[3])
    >>> metrics.hr[0, 0].item(), metrics.recall[0, 0].item()
    (0.3, 0.3)
    """
    num_queries = len(num_positives)
    deepest = max(cutoffs)
    # (deepest + 1,): gain of the first r positions, and best gain of r positives
    gain = np.concatenate([[0.0], np.cumsum(1.0 / np.log2(np.arange(2, deepest + 2)))])
    first = np.flatnonzero(np.diff(query, prepend=-1))
    hr, recall, ndcg = (np.zeros((num_queries, len(cutoffs))) for _ in range(3))
    for column, k in enumerate(cutoffs):
        inside = np.clip(k - greater, 0, tied)  # positions of the block that lie in the first k
        recall[:, column] = np.bincount(query, positives * (inside / tied), num_queries)
        gained = gain[np.minimum(greater + tied, k)] - gain[np.minimum(greater, k)]
        ndcg[:, column] = np.bincount(query, positives * (gained / tied), num_queries)
        ndcg[:, column] /= gain[np.minimum(num_positives, k)]
        hr[query[first], column] = _any_within(inside[first], tied[first], positives[first])
    recall /= num_positives[:, None]
    mrr = np.zeros(num_queries)
    mrr[query[first]] = _reciprocal_rank(greater[first], tied[first], positives[first])
    return RankMetrics(hr=hr, recall=recall, ndcg=ndcg, mrr=mrr)


def _first_after(tied: int, positives: int) -> np.ndarray:
    """`(tied + 1,)` with C(t - m, x) / C(t, x), x = 0 .. t, as a running product of ratios."""
    x = np.arange(tied)
    return np.concatenate([[1.0], np.cumprod(np.maximum(tied - positives - x, 0) / (tied - x))])


def _any_within(inside: np.ndarray, tied: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """Probability that one of the positives is among the first `inside` of `tied` positions."""
    chance = inside / tied  # exact for one positive, for none of the block and for all of it
    for i in np.flatnonzero((positives > 1) & (inside > 0) & (inside < tied)):
        chance[i] = 1.0 - _first_after(tied[i], positives[i])[inside[i]]
    return chance


def _reciprocal_rank(greater: np.ndarray, tied: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """Expected 1 / rank of the first positive of a block."""
    # One positive: (1/(g+1) + ... + 1/(g+t)) / t, a difference of harmonic numbers.
    mean = np.where(
        tied == 1,
        1.0 / (greater + 1),
        (digamma(greater + tied + 1.0) - digamma(greater + 1.0)) / tied,
    )
    for i in np.flatnonzero(positives > 1):
        after = _first_after(tied[i], positives[i])
        mean[i] = -np.diff(after) @ (1.0 / np.arange(greater[i] + 1, greater[i] + tied[i] + 1))
    return mean
