import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec.evaluation.ranking import best, recommend
from kerasrec.evaluation.ranking.best import best_columns


def plain(scores, k, rng):
    """The same lists by sorting out every row as a whole, and the draws in the same order."""
    keys = -scores
    if k < scores.shape[1]:
        columns = np.argpartition(keys, k - 1, axis=1)[:, :k]
        last = np.take_along_axis(keys, columns, axis=1).max(axis=1)
        for row in np.flatnonzero((keys == last[:, None]).sum(axis=1) > 1):
            tied = np.flatnonzero(keys[row] == last[row])
            higher = np.flatnonzero(keys[row] < last[row])
            drawn = rng.choice(tied, k - len(higher), replace=False)
            columns[row] = np.append(higher, drawn)
    else:
        columns = np.broadcast_to(np.arange(k), scores.shape)
    chosen = np.take_along_axis(keys, columns, axis=1)
    order = np.lexsort((rng.random(chosen.shape), chosen), axis=1)
    real = ~np.isnan(np.take_along_axis(chosen, order, axis=1))
    return np.take_along_axis(columns, order, axis=1), real


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    width=st.sampled_from([1, 2, 9, 63, 64, 65, 129, 320, 777]),
    k=st.integers(1, 12),
    levels=st.sampled_from([1, 3, 50, 1000, 10**6]),
    gone=st.sampled_from([0.0, 0.3, 0.97, 1.0]),
    cut=st.integers(1, 20),
)
def test_the_lists_are_those_of_rows_chosen_from_as_a_whole(seed, width, k, levels, gone, cut):
    """Ties, removed scores, infinities and zeros of both signs; equal to the last draw."""
    rng = np.random.default_rng(seed)
    scores = rng.integers(-levels, levels + 1, (20, width)).astype(np.float32)
    special = np.array([np.inf, -np.inf, 0.0, -0.0], np.float32)
    rare = rng.random(scores.shape) < 0.02
    scores[rare] = rng.choice(special, rare.sum())
    scores[rng.random(scores.shape) < gone] = np.nan
    scores[: rng.integers(0, 20)] = rng.normal(size=width).astype(np.float32)
    k = min(k, width)
    columns, real = plain(scores.copy(), k, np.random.default_rng(7))
    before = scores.copy()
    blocks = [best_columns(scores[at : at + cut], k) for at in range(0, 20, cut)]
    found, there = recommend._in_order(blocks, np.random.default_rng(7))
    np.testing.assert_array_equal(scores, before)
    np.testing.assert_array_equal(there, real)
    np.testing.assert_array_equal(found[real], columns[real])


@pytest.mark.parametrize("k", [1, 10, 40])
def test_rows_of_distinct_scores_are_not_chosen_from_as_a_whole(monkeypatch, k):
    scores = np.random.default_rng(0).permutation(50 * 4000).reshape(50, 4000).astype(np.float32)
    scores[:, ::3] = np.nan  # seen
    scores[7, 3:6] = scores[7].max(initial=0, where=~np.isnan(scores[7])) + 1  # three lead
    whole = []
    monkeypatch.setattr(best, "_as_a_whole", lambda scores, rows, found: whole.extend(rows))
    best_columns(scores, k)
    assert set(whole) - {7} == set()


def test_few_scores_are_sorted(monkeypatch):
    """What is sorted grows with k and not with the catalogue."""
    sorted_scores = []
    lexsort = np.lexsort
    monkeypatch.setattr(
        best.np, "lexsort", lambda keys: sorted_scores.append(len(keys[0])) or lexsort(keys)
    )
    for width in (2_000, 20_000):
        best_columns(np.random.default_rng(0).random((30, width), np.float32), 10)
    assert len(sorted_scores) == 2 and max(sorted_scores) < 30 * 15
