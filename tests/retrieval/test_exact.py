"""Exact top-k against a numpy sort, over blocks of every size."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec.retrieval import exact
from kerasrec.retrieval.exact import LOWEST_SCORE, blocked_top_k
from kerasrec.retrieval.index import ExactIndex, products
from kerasrec.retrieval.vector_table import VectorTable


def index_of(items, pairs_per_block=2**22, kind="float32"):
    score = products(VectorTable(items, kind))
    return ExactIndex(score, len(items), pairs_per_block=pairs_per_block)


def top_k(queries, items, k, *, exclude=None, pairs_per_block=2**22, kind="float32"):
    index = index_of(items, pairs_per_block, kind)
    return index.search(tf.constant(queries, tf.float32), k, exclude=exclude)


def sorted_by_numpy(scores, k, exclude):
    """The definition: by score, then by place in the catalogue, without the excluded."""
    rows = []
    for row, banned in zip(scores, exclude, strict=True):
        order = np.argsort(-row, kind="stable")
        rows.append([place for place in order if place not in set(banned)][:k])
    return rows


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_equals_a_sort_for_any_blocks_ties_and_exclusions(data):
    batch, candidates = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 9))
    k = data.draw(st.integers(1, candidates))
    width = data.draw(st.integers(0, 6))
    numbers = st.integers(-2, 2)  # small integers: exact arithmetic and many ties
    queries = np.array(data.draw(matrix(numbers, batch, 2)), np.float32).reshape(batch, 2)
    items = np.array(data.draw(matrix(numbers, candidates, 2)), np.float32).reshape(candidates, 2)
    places = st.integers(-2, candidates + 1)
    exclude = np.array(data.draw(matrix(places, batch, width)), np.int64).reshape(batch, width)

    best = top_k(queries, items, k, exclude=exclude, pairs_per_block=data.draw(st.integers(1, 40)))

    for row, expected in enumerate(sorted_by_numpy(queries @ items.T, k, exclude)):
        real = len(expected)
        assert best.count[row] == real
        assert best.positions[row].numpy().tolist() == expected + [-1] * (k - real)
        assert best.scores[row, :real].numpy().tolist() == [
            float(queries[row] @ items[place]) for place in expected
        ]
        assert (best.scores[row, real:].numpy() == LOWEST_SCORE).all()


def matrix(element, rows, columns):
    return st.lists(
        st.lists(element, min_size=columns, max_size=columns), min_size=rows, max_size=rows
    )


def test_a_row_does_not_depend_on_its_neighbours():
    rng = np.random.default_rng(0)
    queries = rng.normal(size=(5, 8)).astype(np.float32)
    items = rng.normal(size=(300, 8)).astype(np.float32)
    exclude = rng.integers(-1, 300, size=(5, 20))
    together = top_k(queries, items, 7, exclude=exclude, pairs_per_block=100)
    for row in range(5):
        alone = top_k(queries[row : row + 1], items, 7, exclude=exclude[row : row + 1])
        assert alone.positions[0].numpy().tolist() == together.positions[row].numpy().tolist()
        np.testing.assert_allclose(alone.scores[0], together.scores[row], rtol=1e-6)


def test_no_more_than_the_given_number_of_pairs_is_scored_at_once():
    sizes = []

    def score_block(start, stop):
        sizes.append(int(stop - start))
        return tf.zeros([3, stop - start])

    blocked_top_k(score_block, num_candidates=50, k=2, exclude=tf.zeros([3, 0]), pairs_per_block=21)
    assert sizes == [7] * 7 + [1]


def test_scores_below_every_real_number_stay_finite():
    best = top_k([[1.0]], [[2.0], [3.0]], 2, exclude=[[0, 1, 0, -1]])
    assert np.isfinite(best.scores).all() and best.count.numpy().tolist() == [0]


def test_works_inside_a_graph_on_a_variable_with_an_unknown_batch():
    index = index_of([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]])

    @tf.function(input_signature=[tf.TensorSpec((None, 2)), tf.TensorSpec((None, None), tf.int32)])
    def graph(queries, exclude):
        return index.search(queries, 2, exclude=exclude)

    best = graph(tf.constant([[1.0, 0.0], [0.0, 1.0]]), tf.constant([[2], [-1]]))
    assert best.positions.numpy().tolist() == [[0, 1], [2, 1]]
    empty = graph(tf.zeros([0, 2]), tf.zeros([0, 3], tf.int32))
    assert empty.positions.shape == (0, 2)


def test_a_query_without_items_left_gets_none():
    best = top_k(np.ones((2, 1)), np.ones((2, 1)), 1, exclude=[[0, 1], [0, -1]])
    assert best.positions.numpy().tolist() == [[-1], [1]]


@pytest.mark.parametrize("k", [0, 4, True, 1.0, -1])
def test_k_must_fit_the_catalogue(k):
    with pytest.raises(ValueError, match="k must be an integer from 1 to 3; received"):
        top_k(np.ones((1, 2)), np.ones((3, 2)), k)


def test_exclude_must_be_a_matrix():
    with pytest.raises(ValueError, match="Pad shorter rows with -1"):
        top_k(np.ones((1, 2)), np.ones((3, 2)), 1, exclude=[1])


@pytest.mark.parametrize("width, k", [(1, 1), (127, 5), (128, 3), (700, 20), (1000, 1)])
def test_chunks_find_what_a_whole_row_finds(width, k):
    rng = np.random.default_rng(width)
    scores = rng.integers(0, 30, size=(4, width)).astype(np.float32)  # many ties
    expected = tf.math.top_k(scores, min(k, width))
    values, columns = exact._best_columns(tf.constant(scores), k, chunked=True)
    np.testing.assert_array_equal(values[:, :width], expected.values)
    np.testing.assert_array_equal(columns[:, :width], expected.indices)


def test_a_large_catalogue_in_blocks_equals_a_sort():
    rng = np.random.default_rng(1)
    queries = rng.integers(-3, 4, (3, 4)).astype(np.float32)
    items = rng.integers(-3, 4, (exact.FEW_CANDIDATES + 900, 4)).astype(np.float32)
    exclude = rng.integers(0, len(items), (3, 200))
    best = top_k(queries, items, 50, exclude=exclude, pairs_per_block=5000)
    expected = sorted_by_numpy(queries @ items.T, 50, exclude)
    assert best.positions.numpy().tolist() == expected


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_rescored_equals_a_sort_by_the_closer_look(data):
    """Equal scores in the order of the catalogue, whatever the order of the longer list."""
    width = data.draw(st.integers(1, 8))
    k = data.draw(st.integers(1, width))
    places = data.draw(st.permutations(range(20)))[:width]
    count = data.draw(st.integers(0, width))
    closer = np.array(data.draw(st.lists(st.integers(-1, 1), min_size=20, max_size=20)), np.float32)
    positions = np.array([places[:count] + [-1] * (width - count)], np.int32)
    best = exact.TopK(tf.zeros([1, width]), tf.constant(positions), tf.constant([count], tf.int32))
    found = exact.rescored(best, k, lambda at: tf.gather(closer, at))
    expected = sorted(places[:count], key=lambda place: (-closer[place], place))[:k]
    assert found.count.numpy().tolist() == [len(expected)]
    assert found.positions.numpy().tolist() == [expected + [-1] * (k - len(expected))]
    assert found.scores[0, : len(expected)].numpy().tolist() == closer[expected].tolist()
    assert (found.scores[0, len(expected) :].numpy() == LOWEST_SCORE).all()


@pytest.mark.parametrize("kind", ["float32", "float16", "int8"])
@pytest.mark.parametrize("num_items", [37, 130, exact.FEW_CANDIDATES + 77])
@pytest.mark.parametrize("pairs_per_block", [100, 2**22])
def test_items_of_equal_vectors_stay_in_the_order_of_the_catalogue(
    num_items, pairs_per_block, kind
):
    """With vectors whose products are rounded, wherever an item stands in a block."""
    rng = np.random.default_rng(0)
    kinds = rng.normal(size=(3, 33)).astype(np.float32)
    which = rng.integers(0, 3, num_items)
    queries = rng.normal(size=(4, 33)).astype(np.float32)
    best = top_k(queries, kinds[which], 30, pairs_per_block=pairs_per_block, kind=kind)
    for row, query in enumerate(queries):
        rank = np.argsort(-(kinds.astype(np.float64) @ query))
        expected = np.concatenate([np.flatnonzero(which == kind) for kind in rank])[:30]
        assert best.positions[row].numpy().tolist() == expected.tolist()
