import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec.evaluation.metrics import RANKING, compute
from kerasrec.evaluation.ranking import tie_blocks
from kerasrec.evaluation.ranking.tie_blocks import TieBlocks


def blocks_of(scores, positives):
    """Tie blocks of one query, found the slow way: (greater, tied, positives), best first."""
    found = []
    for score in sorted({s for s, p in zip(scores, positives, strict=True) if p}, reverse=True):
        found.append(
            (
                sum(s > score for s in scores),
                sum(s == score for s in scores),
                sum(p and s == score for s, p in zip(scores, positives, strict=True)),
            )
        )
    return found


def metrics_of_order(ranked, total, k):
    """Figures of one list of booleans (positive or not), by their definitions."""
    hits = [rank for rank, positive in enumerate(ranked, 1) if positive]
    dcg = sum(1 / np.log2(1 + rank) for rank in hits if rank <= k)
    best = sum(1 / np.log2(1 + rank) for rank in range(1, min(total, k) + 1))
    precisions = [(i / rank, rank) for i, rank in enumerate(hits, 1)]
    negatives = len(ranked) - len(hits)
    below = sum(negatives - (rank - i) for i, rank in enumerate(hits, 1))
    return [
        float(any(rank <= k for rank in hits)),
        sum(rank <= k for rank in hits) / total,
        sum(rank <= k for rank in hits) / k,
        dcg / best,
        sum(p for p, rank in precisions if rank <= k) / total,
        1 / hits[0] if hits else 0.0,
        sum(p for p, _ in precisions) / total,
        below / (negatives * total) if negatives else 0.5,
    ]


def mean_over_orders(scores, positives, total, k):
    """Mean over all permutations: each is a way to break every tie, and all are equally often."""
    every = []
    for order in itertools.permutations(range(len(scores))):
        ranked = sorted(order, key=lambda i: -scores[i])  # stable: ties keep the permutation
        every.append(metrics_of_order([positives[i] for i in ranked], total, k))
    return np.mean(every, axis=0)


def computed(scores, positives, total, cutoffs):
    blocks = np.array(blocks_of(scores, positives)).reshape(-1, 3)
    return metrics_of(
        np.zeros(len(blocks), np.int64),
        *blocks.T.astype(np.int64),
        num_positives=np.array([total]),
        negatives=np.array([len(scores) - sum(positives)]),
        cutoffs=cutoffs,
    )


def metrics_of(*blocks, num_positives, negatives, cutoffs):
    return compute(RANKING, TieBlocks(*blocks, num_positives, negatives), cutoffs)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=6),
    st.integers(0, 2),
)
def test_equals_the_mean_over_all_orders_of_ties(pairs, missing):
    scores, positives = zip(*pairs, strict=True)
    total = sum(positives) + missing
    if total == 0:
        return
    cutoffs = range(1, len(scores) + 1)
    metrics = computed(scores, positives, total, cutoffs)
    for k in cutoffs:
        expected = mean_over_orders(scores, positives, total, k)
        received = [metrics[name.replace("@k", f"@{k}")][0] for name in RANKING]
        np.testing.assert_allclose(received, expected, atol=1e-12)


def test_several_positives_in_one_block_by_hand():
    # 2 positives among 4 equal scores, behind one higher. First positive at 2, 3, 4 (then 2 of the
    # 6 placements of two positives start there...): P = 3/6, 2/6, 1/6.
    metrics = computed([9, 5, 5, 5, 5], [False, True, True, False, False], 2, [2, 3])
    np.testing.assert_allclose([metrics["hr@2"][0], metrics["hr@3"][0]], [3 / 6, 5 / 6])
    np.testing.assert_allclose(metrics["mrr"], [3 / 6 / 2 + 2 / 6 / 3 + 1 / 6 / 4])
    np.testing.assert_allclose([metrics["recall@2"][0], metrics["recall@3"][0]], [1 / 4, 2 / 4])
    precision = [metrics["precision@2"][0], metrics["precision@3"][0]]
    np.testing.assert_allclose(precision, [2 / 4 / 2, 2 * 2 / 4 / 3])
    # Six placements of the two: (2,3) (2,4) (2,5) (3,4) (3,5) (4,5).
    second = [2 / 3, 2 / 4, 2 / 5, 2 / 4, 2 / 5, 2 / 5]
    first = [1 / 2] * 3 + [1 / 3] * 2 + [1 / 4]
    np.testing.assert_allclose(metrics["map"], (np.mean(first) + np.mean(second)) / 2)
    at = [metrics["map@2"][0], metrics["map@3"][0]]
    np.testing.assert_allclose(at, [3 / 6 / 2 / 2, (3 / 2 + 2 / 3 + 2 / 3) / 6 / 2])
    np.testing.assert_allclose(metrics["auc"], (0 + 1 / 2 + 1 / 2) / 3)  # negatives: 9, 5, 5


@pytest.mark.parametrize("k", [1, 10, 100])
def test_constant_scores_get_what_chance_gets(k):
    metrics = computed([0.0] * 100, [True] + [False] * 99, 1, [k])
    assert metrics[f"hr@{k}"][0] == metrics[f"recall@{k}"][0] == k / 100
    np.testing.assert_allclose(metrics["mrr"], np.mean(1 / np.arange(1, 101)))


def test_first_rank_is_exactly_one():
    metrics = computed([3, 2, 1], [True, False, False], 1, [1])
    assert (metrics["hr@1"][0], metrics["ndcg@1"][0], metrics["mrr"][0]) == (1.0, 1.0, 1.0)


def test_large_blocks_stay_exact():
    # C(t - m, s) overflows floats here; the chance that none of m is in the first half is 2^-m.
    tied, positives = 2_000_000, 5
    one = np.array
    metrics = metrics_of(
        one([0]), one([0]), one([tied]), one([positives]),
        num_positives=one([positives]), negatives=one([tied - positives]), cutoffs=[tied // 2],
    )  # fmt: skip
    np.testing.assert_allclose(metrics[f"hr@{tied // 2}"], 1 - 0.5**positives, rtol=1e-5)


def test_queries_without_blocks_get_zero():
    metrics = metrics_of(
        np.array([1]), np.array([0]), np.array([1]), np.array([1]),
        num_positives=np.array([3, 1]), negatives=np.array([5, 5]), cutoffs=[1, 2],
    )  # fmt: skip
    np.testing.assert_array_equal(metrics["hr@1"], [0, 1])
    np.testing.assert_array_equal(metrics["hr@2"], [0, 1])
    np.testing.assert_array_equal(metrics["mrr"], [0, 1])


def test_many_queries_of_equal_scores_take_one_computation_each_kind():
    # 20,000 queries with two positives in a tie of 30,000: a loop over queries would take minutes.
    size = 20_000
    metrics = metrics_of(
        np.arange(size), np.zeros(size, int), np.full(size, 30_000), np.full(size, 2),
        num_positives=np.full(size, 2), negatives=np.full(size, 29_998), cutoffs=[15_000],
    )  # fmt: skip
    np.testing.assert_allclose(metrics["hr@15000"], 1 - 14_999 / 29_999 / 2, rtol=1e-9)
    np.testing.assert_allclose(metrics["auc"], 1 / 2)


def test_map_at_k_divides_by_all_positives():
    """Ranks 1, 3 and 5 of three positives, k = 2: 1/3, where dividing by min(R, k) gives 1/2."""
    found = metrics_of(
        np.zeros(3, int), np.array([0, 2, 4]), np.ones(3, int), np.ones(3, int),
        num_positives=np.array([3]), negatives=np.array([4]), cutoffs=[2, 3],
    )  # fmt: skip
    np.testing.assert_allclose(found["map@2"], [1 / 3])
    np.testing.assert_allclose(found["map@3"], [(1 + 2 / 3) / 3])


def test_first_positives_of_many_kinds_of_blocks_are_counted_together(monkeypatch):
    """Each against its own sum, whatever share of them is held at once."""
    rng = np.random.default_rng(0)
    greater, tied = rng.integers(0, 9000, 400), rng.integers(2, 3000, 400)
    positives = rng.integers(2, tied + 1)
    expected = []
    for g, t, m in zip(greater, tied, positives, strict=True):
        x = np.arange(t)
        after = np.concatenate([[1.0], np.cumprod(np.maximum(t - m - x, 0) / (t - x))])
        expected.append(-np.diff(after) @ (1.0 / np.arange(g + 1, g + t + 1)))
    for positions in (1, 5000, 1 << 20):
        monkeypatch.setattr(tie_blocks, "_POSITIONS", positions)
        found = tie_blocks._reciprocal_rank(greater, tied, positives)
        np.testing.assert_allclose(found, expected, rtol=1e-12)
