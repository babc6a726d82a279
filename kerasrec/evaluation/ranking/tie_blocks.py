"""Rank metrics with fair ties: the exact mean over all orders of equal scores."""

import dataclasses
import functools

import numpy as np
from scipy.special import digamma

# Positions of tie blocks held at once, and negated log of a probability below rounding.
_POSITIONS = 1 << 14
_NEGLIGIBLE = 42.0


@dataclasses.dataclass(frozen=True, eq=False)
class TieBlocks:
    """Tie blocks of all queries, from which every rank metric follows.

    A tie block is the set of candidates of a query that share a score: g candidates score higher, a
    of these are positives, t candidates are in the block, and m of them are positives. In a random
    order of the block each positive is uniform on the positions g + 1 .. g + t. A position g + x
    that holds a positive has a and on average (x - 1)(m - 1) / (t - 1) positives before it. A query
    has P positives and N other candidates in all.

    Args:
        query: `(blocks,)` index of the query of each block, ascending; best block first in each.
        greater: `(blocks,)` g.
        tied: `(blocks,)` t.
        positives: `(blocks,)` m. Blocks without positives are left out.
        num_positives: `(queries,)` P. Positives that are not candidates count as missed.
        negatives: `(queries,)` N.

    Example:

    >>> one = lambda value: np.array([value])
    >>> blocks = TieBlocks(  # one positive among ten equal scores
    ...     one(0), one(0), one(10), one(1), num_positives=one(1), negatives=one(9))
    >>> hit_rate(blocks, 3).item(), recall(blocks, 3).item(), pair_accuracy(blocks).item()
    (0.3, 0.3, 0.5)
    """

    query: np.ndarray
    greater: np.ndarray
    tied: np.ndarray
    positives: np.ndarray
    num_positives: np.ndarray
    negatives: np.ndarray

    @functools.cached_property
    def first(self) -> np.ndarray:
        """Return the index of the best block of each query that has any."""
        return np.flatnonzero(np.diff(self.query, prepend=-1))

    @functools.cached_property
    def before(self) -> np.ndarray:
        """Return a of each block."""
        total = np.cumsum(self.positives) - self.positives  # of any query
        return total - np.repeat(total[self.first], np.diff(self.first, append=len(self.query)))

    def inside(self, k: int) -> np.ndarray:
        """Return how many positions of each block lie in the first k."""
        return np.clip(k - self.greater, 0, self.tied)

    def per_query(self, values: np.ndarray) -> np.ndarray:
        """Sum values of blocks over each query, `(queries,)`."""
        return np.bincount(self.query, values, len(self.num_positives))

    def of_first(self, values: np.ndarray) -> np.ndarray:
        """Return values of the best blocks by query, zero for queries without blocks."""
        found = np.zeros(len(self.num_positives))
        found[self.query[self.first]] = values
        return found


def hit_rate(blocks: TieBlocks, k: int) -> np.ndarray:
    """Compute the probability of a positive among the first k.

        1 - P(X > k),  P(X > g + x) = C(t - m, x) / C(t, x)

    X is the position of the first positive, which is in the best block. Its position inside the
    block is hypergeometric.
    """
    first = blocks.first
    inside = blocks.inside(k)
    return blocks.of_first(_any_within(inside[first], blocks.tied[first], blocks.positives[first]))


def recall(blocks: TieBlocks, k: int) -> np.ndarray:
    """Compute the expected share of the positives among the first k.

    sum over blocks of m * |{g+1..g+t} and {1..k}| / t / P
    """
    return _hits(blocks, k) / blocks.num_positives


def precision(blocks: TieBlocks, k: int) -> np.ndarray:
    """Compute the expected share of positives in the first k: recall@k * P / k."""
    return _hits(blocks, k) / k


def ndcg(blocks: TieBlocks, k: int) -> np.ndarray:
    """Compute the expected discounted gain in the first k, over the best possible one.

    dcg@k = sum over blocks of m / t * sum of 1 / log2(1 + r) for r in g+1 .. min(g+t, k)
    """
    # (k + 1,): gain of the first r positions, and best gain of r positives
    gain = np.concatenate([[0.0], np.cumsum(1.0 / np.log2(np.arange(2, k + 2)))])
    greater, tied = blocks.greater, blocks.tied
    gained = gain[np.minimum(greater + tied, k)] - gain[np.minimum(greater, k)]
    best = gain[np.minimum(blocks.num_positives, k)]
    return blocks.per_query(blocks.positives * (gained / tied)) / best


def average_precision(blocks: TieBlocks, k: int | None = None) -> np.ndarray:
    """Compute the expected precision at the positives of the first k, summed, over all positives.

        sum over blocks of m / t * sum over x of (a + 1 + (x-1)(m-1)/(t-1)) / (g + x) / P

    Only positions up to k count, or all of them without a k. This is TREC's average precision,
    divided by P and not by min(P, k).
    """
    inside = blocks.tied if k is None else blocks.inside(k)
    density = blocks.positives / blocks.tied
    return blocks.per_query(density * _precisions(blocks, inside)) / blocks.num_positives


def reciprocal_rank(blocks: TieBlocks) -> np.ndarray:
    """Compute the expected 1 / rank of the first positive.

    sum over x of P(X = g + x) / (g + x), see `hit_rate`
    """
    first = blocks.first
    best = (values[first] for values in (blocks.greater, blocks.tied, blocks.positives))
    return blocks.of_first(_reciprocal_rank(*best))


def pair_accuracy(blocks: TieBlocks) -> np.ndarray:
    """Compute the expected share of the (positive, negative) pairs in the right order.

        sum over blocks of m * (N - (g - a) - (t - m) / 2) / (P N)

    A query without negatives has 1/2.
    """
    # Expected negatives above a positive.
    above = (blocks.greater - blocks.before) + (blocks.tied - blocks.positives) / 2
    ordered = blocks.per_query(blocks.positives * (blocks.negatives[blocks.query] - above))
    pairs = blocks.num_positives * blocks.negatives
    return np.where(pairs > 0, ordered / np.maximum(pairs, 1), 0.5)


def _hits(blocks: TieBlocks, k: int) -> np.ndarray:
    """Compute the expected number of positives among the first k."""
    return blocks.per_query(blocks.positives * (blocks.inside(k) / blocks.tied))


def _reciprocals(greater: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Compute 1/(g+1) + ... + 1/(g+count) as a difference of harmonic numbers."""
    found = np.where(count == 0, 0.0, 1.0 / (greater + 1))
    several = count > 1  # few, if ties are rare
    g, n = greater[several], count[several]
    found[several] = digamma(g + n + 1.0) - digamma(g + 1.0)
    return found


def _precisions(blocks: TieBlocks, inside: np.ndarray) -> np.ndarray:
    """Sum the expected precision at hits on the first `inside` positions of each block."""
    reciprocals = _reciprocals(blocks.greater, inside)
    slope = (blocks.positives - 1) / np.maximum(blocks.tied - 1, 1)
    # The sum of (x - 1) / (g + x) is that of 1 - (g + 1) / (g + x).
    rest = inside - (blocks.greater + 1) * reciprocals
    return (blocks.before + 1) * reciprocals + slope * rest


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
