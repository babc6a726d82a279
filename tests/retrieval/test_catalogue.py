"""ExactTopK: raw ids, filters, refreshing, saving."""

import threading

import numpy as np
import pytest
import tensorflow as tf

from kerasrec.retrieval import ExactTopK
from kerasrec.retrieval.exact import LOWEST_SCORE

VECTORS = np.float32([[1, 0], [0, 2], [3, 0], [2, 0]])
NAMES = ["né", "b", "c", "d"]
GENRES = [["drama"], [], ["drama", "war"], ["war"]]


def ids(found):
    return [[raw.decode() if isinstance(raw, bytes) else raw for raw in row] for row in
            found.item_id.numpy().tolist()]  # fmt: skip


@pytest.mark.parametrize("names, padding", [(NAMES, ""), ([2**40, 0, 7, 3], -1)])
def test_raw_ids_in_and_out(names, padding):
    index = ExactTopK(np.array(names), VECTORS, k=3)
    queries = [[1.0, 0.0], [0.0, 1.0]]
    assert ids(index(queries)) == [
        [names[2], names[3], names[0]],
        names[1:2] + names[:1] + names[2:3],
    ]
    nonsense = "?" if padding == "" else 99
    found = index(queries, exclude=[[names[2], padding], [nonsense, names[1]]])
    assert not found.fallback.numpy().any()
    assert [[raw for raw, _ in row] for row in found.rows()] == ids(found)
    assert ids(found) == [[names[3], names[0], names[1]], [names[0], names[2], names[3]]]


def test_a_filter_that_leaves_fewer_items_says_so():
    index = ExactTopK(NAMES, VECTORS, k=3, categories=GENRES)
    queries = np.ones((5, 2))
    allow = [["war", ""], ["drama", "war"], ["", ""], ["?", ""], ["drama", "drama"]]
    found = index(queries, allow=allow, exclude=[["c"]] + [[""]] * 4)
    assert ids(found) == [
        ["d", "", ""],
        ["c", "d", "né"],
        ["c", "b", "d"],
        [""] * 3,
        ["c", "né", ""],
    ]
    assert found.count.numpy().tolist() == [1, 3, 3, 0, 2]
    assert found.score.numpy()[0].tolist() == [2, LOWEST_SCORE, LOWEST_SCORE]
    assert index(np.ones((1, 2)), allow=np.zeros((1, 0), object)).count.numpy().tolist() == [3]


def test_refreshing_changes_the_size_and_the_kind_of_ids_and_an_error_changes_nothing():
    index = ExactTopK(NAMES, VECTORS, k=3, categories=GENRES)
    with pytest.raises(ValueError, match="received 1 ids and vectors of shape"):
        index.refresh(["x"], VECTORS)
    assert ids(index([[1.0, 0.0]]))[0][0] == "c"
    index.refresh([5], [[1.0, 1.0]])
    assert ids(index([[1.0, 0.0]], exclude=[[6]])) == [[5, -1, -1]]
    assert index([[1.0, 0.0]]).count.numpy().tolist() == [1]
    with pytest.raises(ValueError, match="the catalogue has none. Pass categories="):
        index([[1.0, 0.0]], allow=[["war"]])


def test_no_call_sees_half_a_catalogue():
    """Score and id belong together: item n has the vector [n]."""
    index = ExactTopK([3], [[3.0]], k=2)
    wrong, done = [], threading.Event()

    def ask():
        while not done.is_set():
            found = index([[1.0]])
            count = int(found.count[0])
            if found.item_id[0, :count].numpy().tolist() != found.score[0, :count].numpy().tolist():
                wrong.append(found)

    thread = threading.Thread(target=ask)
    thread.start()
    for turn in range(30):
        items = list(range(5, 6 + turn % 3))
        index.refresh(items, np.float32(items)[:, None])
    done.set()
    thread.join()
    assert not wrong


@pytest.mark.parametrize("quantize", ["float32", "int8"])
def test_the_catalogue_is_saved_with_it(tmp_path, quantize):
    rng = np.random.default_rng(0)
    names = [f"item {n}" for n in range(200)]
    index = ExactTopK(names, rng.normal(size=(200, 9)), k=5, categories=[["x"], ["y"]] * 100,
                      quantize=quantize)  # fmt: skip
    module = tf.Module()
    module.index = index
    ids_of = tf.TensorSpec((None, None), tf.string)
    module.find = tf.function(
        lambda queries, exclude, allow: index(queries, exclude=exclude, allow=allow)._asdict(),
        input_signature=[tf.TensorSpec((None, 9)), ids_of, ids_of],
    )
    queries = tf.constant(rng.normal(size=(3, 9)), tf.float32)
    limits = {"exclude": [[names[0]]] * 3, "allow": [["x"], ["y"], [""]]}
    expected = index(queries, **limits)
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    found = loaded.find(queries, *(tf.constant(value) for value in limits.values()))
    np.testing.assert_array_equal(found["item_id"], expected.item_id)
    np.testing.assert_allclose(found["score"], expected.score, rtol=1e-6)
    assert b"item 17" not in (tmp_path / "saved_model.pb").read_bytes()


@pytest.mark.parametrize(
    "names, vectors, more, message",
    [
        (["a", "a"], np.ones((2, 1)), {}, "of 2 ids 1 are different"),
        (["a", 1], np.ones((2, 1)), {}, "non-empty strings, or integers from 0; received"),
        ([""], np.ones((1, 1)), {}, "non-empty strings"),
        ([-1], np.ones((1, 1)), {}, "integers from 0"),
        ([], np.ones((0, 1)), {}, "received 0 ids"),
        ([1], np.ones(1), {}, r"vectors of shape \(1,\)"),
        ([1], np.ones((1, 1)), {"categories": []}, "expected categories of 1 items; received 0"),
        ([1], np.ones((1, 1)), {"k": 0}, "k must be an integer from 1"),
        ([1], np.ones((1, 1)), {"quantize": "int4"}, "one of .*received 'int4'"),
    ],
)
def test_what_does_not_fit_is_refused(names, vectors, more, message):
    with pytest.raises(ValueError, match=message):
        ExactTopK(names, vectors, **more)


def test_shapes_of_queries_and_exclusions_are_checked():
    index = ExactTopK(NAMES, VECTORS)
    with pytest.raises(ValueError, match=r"expected queries \(batch, 2\); received the shape"):
        index([[1.0, 2.0, 3.0]])
    with pytest.raises(ValueError, match="expected a matrix .*Pad shorter rows"):
        index([[1.0, 2.0]], exclude=["a"])
