"""The exact index against a numpy sort: products, cosines, pairs, unknown queries, filters."""

import numpy as np
import pytest
import tensorflow as tf

from kerasrec.retrieval.index import ExactIndex, pair_scores, products
from kerasrec.retrieval.vector_table import VectorTable

RNG = np.random.default_rng(0)
ITEMS = RNG.normal(size=(50, 9)).astype(np.float32)
QUERIES = RNG.normal(size=(4, 9)).astype(np.float32)
POPULARITY = RNG.permutation(50).astype(np.float32)
CATEGORIES = np.array([[2 + i % 3, 0] for i in range(50)], np.int32)
EXCLUDE = np.array([[0, 7, -1], [3, 3, 3], [-1, -1, -1], [49, 48, 47]])


def expected(scores, k, allowed):
    rows = (np.flatnonzero(here) for here in allowed)
    return [
        place[np.argsort(-row[place], kind="stable")][:k].tolist()
        for row, place in zip(scores, rows, strict=True)
    ]


@pytest.mark.parametrize("pairs", [40, 2**22])
@pytest.mark.parametrize("in_graph", [False, True])
def test_search_equals_a_sort(pairs, in_graph):
    index = ExactIndex(
        products(VectorTable(ITEMS)),
        50,
        popularity=tf.constant(POPULARITY),
        categories=tf.constant(CATEGORIES),
        num_categories=5,
        pairs_per_block=pairs,
    )
    search = tf.function(index.search) if in_graph else index.search
    unknown = np.array([False, True, False, True])
    allow = np.array([[2, 3], [0, 0], [4, 0], [1, 0]])  # two, any, one, an unknown category
    limits = {"exclude": EXCLUDE, "allow": tf.constant(allow), "unknown": tf.constant(unknown)}
    found = search(tf.constant(QUERIES), 20, **limits)
    allowed = np.ones((4, 50), bool)
    for row in range(4):
        allowed[row, EXCLUDE[row][EXCLUDE[row] >= 0]] = False
        if allow[row].any():
            allowed[row] &= np.isin(CATEGORIES[:, 0], allow[row])
    scores = np.where(unknown[:, None], POPULARITY, QUERIES @ ITEMS.T)
    best = expected(scores, 20, allowed)
    assert found.count.numpy().tolist() == [len(row) for row in best]
    assert [row[row >= 0].tolist() for row in found.positions.numpy()] == best


@pytest.mark.parametrize("kind", ["float32", "int8"])
def test_factors_and_unknown_queries_of_a_coarse_table(kind):
    table, factors = VectorTable(ITEMS, kind), RNG.uniform(0.5, 2, 50).astype(np.float32)
    popularity = tf.constant(POPULARITY)
    index = ExactIndex(products(table, tf.constant(factors)), 50, popularity=popularity)
    unknown = tf.constant([False, False, True, False])
    scores = QUERIES @ table.numpy().T * factors
    scores[2] = POPULARITY
    found = index.search(tf.constant(QUERIES), 3, unknown=unknown)
    assert found.positions.numpy().tolist() == expected(scores, 3, np.ones((4, 50), bool))
    np.testing.assert_allclose(found.scores, -np.sort(-scores)[:, :3], rtol=1e-5)


def test_a_model_of_pairs_is_called_with_candidates():
    shapes = []

    def call(inputs):
        shapes.append((inputs["user"].shape, inputs["item"].shape))
        return tf.cast(inputs["item"] * inputs["user"][:, None], tf.float32)

    def items(start, stop):
        return {"item": np.arange(10)[start:stop]}

    index = ExactIndex(pair_scores(call, items), 10, pairs_per_block=8)
    found = index.search({"user": np.array([1, -1])}, 2)
    assert found.positions.numpy().tolist() == [[9, 8], [0, 1]]
    assert shapes == [((2,), (2, 4))] * 2 + [((2,), (2, 2))]
