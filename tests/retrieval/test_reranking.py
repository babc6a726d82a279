"""Rerankers: numbers by hand, empty slots, the greedy choice against a search."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrec.retrieval import (
    Calibrated,
    MaximalMarginalRelevance,
    PopularityBalance,
    Shortlist,
)
from kerasrec.retrieval.reranking import category_shares

EVERY = [MaximalMarginalRelevance(0.4), Calibrated(0.4), PopularityBalance(0.4)]
by_name = pytest.mark.parametrize("reranker", EVERY, ids=lambda value: type(value).__name__)


def shortlist(scores, *, real=None, vectors=None, popularity=None, categories=None, profile=None):
    scores = np.float32([scores])
    n = scores.shape[1]
    return Shortlist(
        tf.constant(scores),
        tf.constant([real or [True] * n]),
        tf.constant(np.float32([vectors or np.eye(n)])),
        tf.constant(np.float32([popularity or [1] * n])),
        tf.constant(np.float32([categories or [[1, 0]] * n])),
        tf.constant(np.float32([profile or [1, 0]])),
    )


def test_mmr_by_hand():
    """r = 1, 0.9, 0.5, 0. Item 1 has the cosine 0.8 to item 0; item 2 has 0; item 3 has -1.

    w = 0.5. First item 0. Then 0.45 - 0.4 = 0.05 against 0.25 - 0 and 0 + 0.5: item 3. Then the
    nearest of 0 and 3 is 0.8 for item 1 and 0 for item 2: item 2.
    """
    vectors = [[1, 0], [0.8, 0.6], [0, 1], [-1, 0]]
    items = shortlist([2, 1.9, 1.5, 1], vectors=vectors)
    assert MaximalMarginalRelevance(0.5)(items, 4).numpy().tolist() == [[0, 3, 2, 1]]
    assert MaximalMarginalRelevance(0.0)(items, 4).numpy().tolist() == [[0, 1, 2, 3]]


def test_calibration_by_hand():
    """The history is 2/3 drama, 1/3 war: of three items one should be war, whatever the scores."""
    categories = [[1, 0], [1, 0], [1, 0], [0, 1], [0, 1]]
    items = shortlist([5, 4.9, 4.8, 2, 1], categories=categories, profile=[2 / 3, 1 / 3])
    assert Calibrated(0.9)(items, 3).numpy().tolist() == [[0, 3, 1]]
    assert Calibrated(0.0)(items, 3).numpy().tolist() == [[0, 1, 2]]
    nothing = items._replace(profile=tf.zeros([1, 2]))
    assert Calibrated(0.9)(nothing, 3).numpy().tolist() == [[0, 1, 2]]


def test_calibration_takes_what_its_formula_takes():
    """Each step against the objective computed in float64 for every item that is left."""
    rng = np.random.default_rng(0)
    n, k, weight, smoothing = 12, 5, 0.6, 0.05
    scores = np.sort(rng.normal(size=n))[::-1]
    categories = rng.dirichlet(np.ones(4) * 0.3, size=n)
    profile = rng.dirichlet(np.ones(4))
    relevance = (scores - scores.min()) / (scores.max() - scores.min())
    taken = []
    for _ in range(k):
        values = {}
        for item in set(range(n)) - set(taken):
            chosen = [*taken, item]
            shares = (1 - smoothing) * categories[chosen].mean(axis=0) + smoothing * profile
            divergence = np.sum(profile * np.log(profile / shares))
            values[item] = (1 - weight) * relevance[chosen].sum() - weight * divergence
        taken.append(max(values, key=values.get))
    items = shortlist(scores.tolist(), categories=categories.tolist(), profile=profile.tolist())
    assert Calibrated(weight, smoothing)(items, k).numpy().tolist() == [taken]


def test_popularity_by_hand():
    """log(1 + c) = 0, 1, 2 times log 10: 1 - share is 1, 0.5, 0."""
    items = shortlist([3, 2, 1], popularity=[99, 9, 0])
    assert PopularityBalance(0.0)(items, 3).numpy().tolist() == [[0, 1, 2]]
    # 0.6, 0.3 + 0.2, 0.4
    assert PopularityBalance(0.4)(items, 3).numpy().tolist() == [[0, 1, 2]]
    # 0.4, 0.2 + 0.3, 0.6
    assert PopularityBalance(0.6)(items, 3).numpy().tolist() == [[2, 1, 0]]


@by_name
def test_empty_slots_stay_empty_and_neighbours_change_nothing(reranker):
    one = shortlist([3, 2, -1e38, -1e38], real=[True, True, False, False])
    two = shortlist([4, 3, 2, 1], vectors=np.ones((4, 4)).tolist(), popularity=[1, 5, 2, 9])
    both = Shortlist(*(tf.concat(pair, axis=0) for pair in zip(one, two, strict=True)))
    together = reranker(both, 3).numpy().tolist()
    assert together == [*reranker(one, 3).numpy().tolist(), *reranker(two, 3).numpy().tolist()]
    assert together[0] == [0, 1, -1] and sorted(set(together[1])) == sorted(together[1])


@by_name
def test_a_graph_says_the_same(reranker):
    rng = np.random.default_rng(1)
    scores = np.sort(rng.normal(size=30))[::-1].tolist()
    vectors = rng.normal(size=(30, 4))
    items = shortlist(
        scores,
        vectors=(vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).tolist(),
        popularity=rng.integers(1, 99, 30).tolist(),
        categories=rng.dirichlet([1, 1], size=30).tolist(),
        profile=[0.3, 0.7],
    )
    eager = reranker(items, 8).numpy()
    graph = tf.function(lambda *parts: reranker(Shortlist(*parts), 8), autograph=False)(*items)
    np.testing.assert_array_equal(graph, eager)
    assert eager.tolist() != [list(range(8))]


@by_name
def test_the_config_is_the_constructor(reranker):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(reranker))
    assert type(again) is type(reranker) and again.get_config() == reranker.get_config()


def test_what_does_not_fit_is_refused():
    for cls, weight in itertools.product(map(type, EVERY), (-0.1, 1.5, "1", True)):
        with pytest.raises(ValueError, match="weight must be a number from 0 to 1"):
            cls(weight)
    with pytest.raises(ValueError, match="smoothing must be a number above 0 and less than 1"):
        Calibrated(0.5, 0)
    items = shortlist([1, 0])._replace(categories=None)
    with pytest.raises(ValueError, match="Export with filter_by="):
        Calibrated()(items, 1)


def test_shares_leave_out_what_is_unknown():
    shares = category_shares(np.array([[1, 2, 0], [1, 0, 0]]), 4)
    assert shares.numpy().tolist() == [[0, 0, 1, 0], [0, 0, 0, 0]]
