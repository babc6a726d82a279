import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec.evaluation import Recommendations, beyond_accuracy
from kerasrec.evaluation.beyond import (
    coverage,
    diversity,
    entropy,
    gini,
    long_tail_share,
    novelty,
    popularity_lift,
    serendipity,
)
from kerasrec.schema import Categorical, Schema

# Items 2 to 6; 7 does not belong to the catalogue.
SCHEMA = Schema(Categorical("user", 6), Categorical("item", 8))
CATALOGUE = np.arange(2, 7)
LISTS = Recommendations(np.array([2, 3, 4]), np.array([[2, 3], [2, 4], [2, 0]]), CATALOGUE)
# Rows of the items: 8, 4, 2, 2, 0; users 2 (items 2, 3), 3 (item 4).
COUNTS = np.array([0, 0, 8, 4, 2, 2, 0, 0])


def columns(pairs):
    pairs = np.array(pairs, np.int32).reshape(-1, 2)
    return {"user": pairs[:, 0], "item": pairs[:, 1]}


def test_catalogue_figures_by_hand():
    # Listed 3, 1, 1, 0, 0 times, ascending 0 0 1 1 3: (0 0 0 2*1 4*3) / (4 * 5)
    assert coverage(LISTS) == 3 / 5
    assert gini(LISTS) == pytest.approx((0 * 1 + 2 * 1 + 4 * 3) / (4 * 5))
    p = np.array([3, 1, 1]) / 5
    assert entropy(LISTS) == pytest.approx(-(p * np.log2(p)).sum())


def test_extremes():
    equal = Recommendations(np.arange(2, 7), CATALOGUE[:, None], CATALOGUE)
    assert (coverage(equal), gini(equal)) == (1.0, 0.0)
    assert entropy(equal) == pytest.approx(np.log2(5))
    alone = Recommendations(np.arange(2, 7), np.full((5, 1), 3), CATALOGUE)
    assert (coverage(alone), gini(alone), entropy(alone)) == (1 / 5, 1.0, 0.0)
    one = Recommendations(np.array([2]), np.array([[3]]), np.array([3]))
    assert coverage(one) == 1.0
    assert np.isnan(gini(one))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(2, 6), min_size=1, max_size=12))
def test_gini_is_the_mean_difference(items):
    counts = np.bincount(items, minlength=7)[2:]
    lists = Recommendations(np.full(len(items), 2), np.array(items)[:, None], CATALOGUE)
    # Half the mean difference of two items, over the mean, times n / (n - 1).
    difference = np.mean([abs(a - b) for a, b in itertools.product(counts, counts)])
    assert gini(lists) == pytest.approx(difference / (2 * counts.mean()) * 5 / 4)


def test_novelty_by_hand():
    # 16 users: information 1, 2, 3 bits for items 2, 3, 4, and 4 bits for one without a row.
    np.testing.assert_allclose(novelty(LISTS, COUNTS, 16), [1.5, 2.0, 1.0])
    assert novelty(Recommendations(np.array([2]), np.array([[6]]), CATALOGUE), COUNTS, 16)[0] == 4.0


def test_popularity_lift_by_hand():
    train = columns([(2, 2), (2, 3), (3, 4)])
    # Lists have mean rows 6, 5, 8; histories 6, 2 and none. The third user counts in neither mean.
    found = popularity_lift(LISTS, COUNTS, SCHEMA, train)
    assert found == pytest.approx((6 + 5) / (6 + 2) - 1)
    assert np.isnan(popularity_lift(LISTS, COUNTS, SCHEMA, columns([(5, 2)])))


def test_popularity_lift_is_a_ratio_of_means():
    """One user with a rare history must not turn the sign: the mean of the ratios is 2.05."""
    counts = np.array([0, 0, 100, 10, 1, 50])
    train = columns([(2, 2), (3, 4)])
    lists = Recommendations(np.array([2, 3]), np.array([[3], [4]]), CATALOGUE)
    found = popularity_lift(lists, counts, SCHEMA, train)
    assert found == pytest.approx((10 + 1) / (100 + 1) - 1)
    lists = Recommendations(np.array([2, 3]), np.array([[3], [3]]), CATALOGUE)
    ratios = np.mean([10 / 100 - 1, 10 / 1 - 1])
    assert ratios > 0 > popularity_lift(lists, counts, SCHEMA, train)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 999))
def test_popularity_lift_equals_the_group_averages(seed):
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 50, 8)
    train = columns(np.unique(rng.integers((2, 2), (6, 8), (9, 2)), axis=0).tolist())
    users = rng.permutation(np.arange(2, 6))
    lists = Recommendations(users, rng.integers(0, 7, (4, 3)), CATALOGUE)
    listed, chosen = [], []
    for user, row in zip(users, lists.items, strict=True):
        history = [counts[i] for u, i in zip(*train.values(), strict=True) if u == user]
        items = [counts[i] for i in row if i]
        if history and items:
            listed.append(np.mean(items))
            chosen.append(np.mean(history))
    expected = np.mean(listed) / np.mean(chosen) - 1 if listed else np.nan
    np.testing.assert_allclose(popularity_lift(lists, counts, SCHEMA, train), expected)


def test_long_tail_by_hand():
    # 16 rows: item 2 has a third; 3 starts before two thirds; 4 and 5 are the tail.
    np.testing.assert_allclose(long_tail_share(LISTS, COUNTS), [0.0, 0.5, 0.0])


def test_diversity_by_hand():
    vectors = np.zeros((8, 2))
    vectors[2], vectors[3], vectors[4] = (3, 0), (1, 1), (-2, 0)
    vectors[5] = (0, 0)
    lists = Recommendations(
        np.full(5, 2), np.array([[2, 3, 4], [2, 2, 0], [2, 5, 0], [4, 0, 0], [0, 0, 0]]), CATALOGUE
    )
    h = np.sqrt(0.5)
    expected = [1 - (h - 1 - h) / 3, 0.0, 1.0, np.nan, np.nan]
    np.testing.assert_allclose(diversity(lists, vectors), expected, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 999), st.integers(2, 6))
def test_diversity_equals_pair_by_pair(seed, k):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(30, 4))
    items = np.stack([rng.permutation(np.arange(2, 30))[:k] for _ in range(3)])
    unit = vectors / np.linalg.norm(vectors, axis=1)[:, None]
    slow = [
        np.mean([1 - unit[a] @ unit[b] for a, b in itertools.combinations(row, 2)]) for row in items
    ]
    lists = Recommendations(np.arange(2, 5), items, np.arange(2, 30))
    np.testing.assert_allclose(diversity(lists, vectors), slow)


def test_serendipity_by_hand():
    train = columns([(2, 2), (3, 2), (4, 2), (2, 3), (3, 3), (4, 4)])
    test = columns([(2, 4), (2, 5), (3, 5), (4, 3)])
    lists = Recommendations(np.array([2, 3, 4]), np.array([[5, 4], [5, 6], [3, 0]]), CATALOGUE)
    # User 2 has seen 2 and 3: popular are 4, and one of 5 and 6 by lot. Longer catalogues than
    # needed are avoided by k = 2 of the three left: 4 is obvious for certain.
    found = serendipity(lists, SCHEMA, train=train, test=test)
    assert found[0] in (0.0, 0.5)
    assert found[1] in (0.0, 0.5)
    assert found[2] == 0.0  # right, but obvious: 3 is the most popular that user 4 has not seen
    popular = columns([(user, item) for user in (2, 3, 4) for item in (2, 3)] + [(5, 6), (5, 6)])
    lists = Recommendations(np.array([4]), np.array([[5, 4]]), CATALOGUE)
    more = {name: np.append(popular[name], [5, 5][i]) for i, name in enumerate(("user", "item"))}
    # Of 4, 5 (one row) and 6 (two rows), the popular two are 6 and 5: only 4 is unexpected.
    found = serendipity(lists, SCHEMA, train=more, test=columns([(4, 4), (4, 5)]))
    assert found.tolist() == [0.5]


def test_all_figures_together():
    train = columns([(2, 2), (3, 2), (2, 3), (3, 4)])
    test = columns([(2, 5), (3, 5)])
    lists = Recommendations(np.array([2, 3]), np.array([[4, 5], [3, 5]]), CATALOGUE)
    figures, values = beyond_accuracy(lists, SCHEMA, train=train, test=test, vectors=np.eye(8))
    assert list(figures) == [
        "coverage@2", "gini@2", "entropy@2", "popularity_lift@2", "novelty@2", "long_tail@2",
        "diversity@2", "serendipity@2",
    ]  # fmt: skip
    for name, found in values.items():
        assert figures[name] == found.mean()
    assert figures["novelty@2"] == 1.0
    twice = {name: np.tile(found, 2) for name, found in train.items()}
    again, _ = beyond_accuracy(lists, SCHEMA, train=twice, test=test, vectors=np.eye(8))
    assert again == figures
    assert figures["diversity@2"] == 1.0
    assert set(beyond_accuracy(lists, SCHEMA, train=train)[1]) == {
        "novelty@2", "long_tail@2",
    }  # fmt: skip


def test_messages():
    with pytest.raises(ValueError, match="train has no row with a known user and item"):
        beyond_accuracy(LISTS, SCHEMA, train=None)
    with pytest.raises(ValueError, match=r"for every id up to 4; received \(3, 2\)"):
        diversity(LISTS, np.ones((3, 2)))
    with pytest.raises(ValueError, match="received NaN or infinity"):
        diversity(LISTS, np.full((8, 2), np.nan))


def test_popularity_is_of_positives():
    """Rows of other labels make no item popular, and are no choices of a user."""
    schema = Schema(Categorical("user", 5), Categorical("item", 8), positive=">=4")
    rng = np.random.default_rng(0)
    rows = {"user": rng.integers(2, 5, 60), "item": rng.integers(2, 8, 60)}
    rows["label"] = rng.integers(1, 6, 60)
    chosen = {name: values[rows["label"] >= 4] for name, values in rows.items()}
    lists = Recommendations(
        np.array([2, 3, 4]),
        rng.permuted(np.tile(np.arange(2, 8), (3, 1)), axis=1)[:, :2],
        np.arange(2, 8),
    )
    figures, values = beyond_accuracy(lists, schema, train=rows)
    expected, of_each = beyond_accuracy(lists, schema, train=chosen)
    assert figures == expected
    for name in values:
        np.testing.assert_array_equal(values[name], of_each[name])
    with pytest.raises(ValueError, match="a 'label' >=4"):
        beyond_accuracy(lists, schema, train={**rows, "label": np.ones(60)})
