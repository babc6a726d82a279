"""Rank metrics with fair ties: the exact mean over all orders of equal scores."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy.special import digamma

# Positions of tie blocks held at once, and negated log of a probability below rounding.
_POSITIONS = 1 << 14
_NEGLIGIBLE = 42.0


@dataclasses.dataclass(frozen=True, eq=False)
class RankMetrics:
    """Rank metrics per query: `(queries, cutoffs)` if they have a cutoff, else `(queries,)`.

    Args:
        hr: share of tie orders with a positive among the first k.
        recall: expected share of the positives among the first k.
        precision: expected share of positives in the first k.
        ndcg: expected discounted gain over the best possible one.
        map_at: expected average precision, cut off at k.
        mrr: expected 1 / rank of the first positive.
        map: expected average precision.
        auc: expected share of the (positive, negative) pairs in the right order.
    """

    hr: np.ndarray
    recall: np.ndarray
    precision: np.ndarray
    ndcg: np.ndarray
    map_at: np.ndarray
    mrr: np.ndarray
    map: np.ndarray
    auc: np.ndarray


def expected_rank_metrics(
    query: np.ndarray,
    greater: np.ndarray,
    tied: np.ndarray,
    positives: np.ndarray,
    *,
    num_positives: np.ndarray,
    negatives: np.ndarray,
    cutoffs: Sequence[int],
) -> RankMetrics:
    """Compute rank metrics from tie blocks, as the mean over all orders of tied candidates.

    A tie block is the set of candidates of a query that share a score: g candidates score higher, a
    of these are positives, t candidates are in the block, and m of them are positives. In a random
    order of the block each positive is uniform on the positions g + 1 .. g + t. This determines the
    metrics that are sums over positives:

        recall@k = sum over blocks of m * |{g+1..g+t} and {1..k}| / t / P
        precision@k = recall@k * P / k
        dcg@k = sum over blocks of m / t * sum of 1 / log2(1 + r) for r in g+1 .. min(g+t, k)
        auc = sum over blocks of m * (N - (g - a) - (t - m) / 2) / (P N)

    with P positives and N other candidates of the query in all. A position g + x that holds a
    positive has a and on average (x - 1)(m - 1) / (t - 1) positives before it:

        ap@k = sum over blocks of m / t * sum over x of (a + 1 + (x-1)(m-1)/(t-1)) / (g + x) / P

    over positions up to k (TREC's average precision: divided by P, not by min(P, k)). Hit rate and
    reciprocal rank depend on the *first* positive X, in the best block that holds any, whose
    position inside it is hypergeometric:

        P(X > g + x) = C(t - m, x) / C(t, x)
        hr@k = 1 - P(X > k),  mrr = sum over x of P(X = g + x) / (g + x)

    Args:
        query: `(blocks,)` index of the query of each block, ascending; best block first in each.
        greater: `(blocks,)` g.
        tied: `(blocks,)` t.
        positives: `(blocks,)` m. Blocks without positives are left out.
        num_positives: `(queries,)` P. Positives that are not candidates count as missed.
        negatives: `(queries,)` N. A query without negatives has an AUC of 1/2.
        cutoffs: the values of k.

    Returns:
        `RankMetrics`, zero for queries without blocks.

    Example:

    >>> import numpy as np
    >>> one = lambda value: np.array([value])
    >>> metrics = expected_rank_metrics(  # one positive among ten equal scores
    ...     one(0), one(0), one(10), one(1), num_positives=one(1), negatives=one(9), cutoffs=[3])
    >>> metrics.hr[0, 0].item(), metrics.recall[0, 0].item(), metrics.auc[0].item()
    (0.3, 0.3, 0.5)
    """
    num_queries, deepest = len(num_positives), max(cutoffs)
    shape = num_queries, len(cutoffs)

    def per_query(values: np.ndarray) -> np.ndarray:
        return np.bincount(query, values, num_queries)

    # (deepest + 1,): gain of the first r positions, and best gain of r positives
    gain = np.concatenate([[0.0], np.cumsum(1.0 / np.log2(np.arange(2, deepest + 2)))])
    first = np.flatnonzero(np.diff(query, prepend=-1))
    before = np.cumsum(positives) - positives  # positives in earlier blocks, of any query
    before = before - np.repeat(before[first], np.diff(first, append=len(query)))
    density = positives / tied
    hr, recall, precision, ndcg, map_at = (np.zeros(shape) for _ in range(5))
    for column, k in enumerate(cutoffs):
        inside = np.clip(k - greater, 0, tied)  # positions of the block that lie in the first k
        found = per_query(positives * (inside / tied))
        recall[:, column] = found / num_positives
        precision[:, column] = found / k
        gained = gain[np.minimum(greater + tied, k)] - gain[np.minimum(greater, k)]
        best = gain[np.minimum(num_positives, k)]
        ndcg[:, column] = per_query(positives * (gained / tied)) / best
        summed = density * _precisions(greater, tied, positives, before, inside)
        map_at[:, column] = per_query(summed) / num_positives
        hr[query[first], column] = _any_within(inside[first], tied[first], positives[first])
    mrr = np.zeros(num_queries)
    mrr[query[first]] = _reciprocal_rank(greater[first], tied[first], positives[first])
    total = per_query(density * _precisions(greater, tied, positives, before, tied))
    above = (greater - before) + (tied - positives) / 2  # expected negatives above a positive
    ordered = positives * (negatives[query] - above)
    pairs = num_positives * negatives
    auc = np.where(pairs > 0, per_query(ordered) / np.maximum(pairs, 1), 0.5)
    return RankMetrics(hr, recall, precision, ndcg, map_at, mrr, total / num_positives, auc)


def _reciprocals(greater: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Compute 1/(g+1) + ... + 1/(g+count) as a difference of harmonic numbers."""
    found = np.where(count == 0, 0.0, 1.0 / (greater + 1))
    several = count > 1  # few, if ties are rare
    g, n = greater[several], count[several]
    found[several] = digamma(g + n + 1.0) - digamma(g + 1.0)
    return found


def _precisions(
    greater: np.ndarray,
    tied: np.ndarray,
    positives: np.ndarray,
    before: np.ndarray,
    inside: np.ndarray,
) -> np.ndarray:
    """Sum the expected precision at hits on the first `inside` positions of a block."""
    reciprocals = _reciprocals(greater, inside)
    slope = (positives - 1) / np.maximum(tied - 1, 1)
    # The sum of (x - 1) / (g + x) is that of 1 - (g + 1) / (g + x).
    return (before + 1) * reciprocals + slope * (inside - (greater + 1) * reciprocals)


def _any_within(inside: np.ndarray, tied: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """Compute the probability that a positive is among the first `inside` of `tied` positions."""
    chance = inside / tied  # exact for one positive, for none of the block and for all of it
    some = np.flatnonzero((positives > 1) & (inside > 0) & (inside < tied))
    if len(some):
        x, t, m = inside[some], tied[some], positives[some]
        # C(t - m, x) / C(t, x) is symmetric in m and x: the shorter product.
        fewer, more = np.minimum(x, m), np.maximum(x, m)
        none = np.ones(len(some))
        for j in range(fewer.max()):
            none *= np.where(j < fewer, np.maximum(t - more - j, 0) / np.maximum(t - j, 1), 1.0)
        chance[some] = 1.0 - none
    return chance


def _reciprocal_rank(greater: np.ndarray, tied: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """Compute the expected 1 / rank of the first positive of a block."""
    mean = _reciprocals(greater, tied) / tied  # one positive
    several = np.flatnonzero((positives > 1) & (tied > 1))
    blocks, same = np.unique(
        np.stack([greater, tied, positives])[:, several], axis=1, return_inverse=True
    )
    # P(X > g + x) is at most exp(-m x / t), which is below rounding beyond these positions.
    deep = np.minimum(blocks[1], np.ceil(_NEGLIGIBLE * blocks[1] / np.maximum(blocks[2], 1)))
    means = np.empty(blocks.shape[1])
    order, start = np.argsort(deep, kind="stable"), 0
    while start < len(order):  # blocks of about equally many positions, one row each
        fits = deep[order[start:]] * np.arange(1, len(order) - start + 1) <= _POSITIONS
        some = order[start : start + max(1, int(fits.sum()))]
        g, t, m = blocks[:, some, None]
        x = np.arange(int(deep[some].max()))
        ratios = np.maximum(t - m - x, 0) / np.maximum(t - x, 1)
        after = np.ones((len(some), len(x) + 1))  # P(X > g + x)
        np.cumprod(ratios, axis=1, out=after[:, 1:])
        means[some] = -(np.diff(after, axis=1) / (g + 1 + x)).sum(axis=1)
        start += len(some)
    mean[several] = means[same.ravel()]
    return mean
