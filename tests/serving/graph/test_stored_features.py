"""Features of users and items that the served graph finds by id."""

import numpy as np
import pytest
import tensorflow as tf

from kerasrec.data import HashBuckets
from kerasrec.models import EmbeddingMLP
from kerasrec.retrieval import recommend
from kerasrec.schema import Categorical, Hashed, Schema
from kerasrec.serving import export, verify
from kerasrec.serving.graph.examples import make_examples
from kerasrec.serving.graph.stored_features import where_missing

CONTEXT = {"history": [[2**40, 3], [], []], "device": [10, 99, 30], "hour": [1.0, 2.0, 0.5]}
USERS = ["ann", "né-用户-🙂", "who?"]


def encoded(case, **more):
    """The query of `CONTEXT`, with what is stored about the users 2, 5 and 1."""
    ids = np.array([2, 5, 1])
    return {
        "user": ids,
        "history": np.array([[2, 4, 0], [0, 0, 0], [0, 0, 0]]),
        "device": np.array([3, 1, 2]),
        "hour": np.float32([1, 2, 0.5]),
        **{name: case.users[name][ids] for name in ("age", "tags", "place")},
        **more,
    }


def test_requests_send_ids_and_context_alone(stored_export):
    case, served = stored_export
    query = {"user", "history", "device", "hour"}
    assert set(served.inputs("score")) == query | {"item"}
    assert set(served.inputs("recommend")) == query | {"exclude"}
    assert verify(served.path, model=case.model, vocabularies=case.vocabularies, **case.tables)


def test_lists_are_those_of_python(stored_export):
    case, served = stored_export
    query = encoded(case)
    python = recommend(
        case.model,
        case.vocabularies,
        USERS,
        5,
        queries={name: query[name] for name in CONTEXT},
        **case.tables,
    )
    answer = served.recommend({"user": USERS, **CONTEXT}, k=None)
    assert answer.fallback.tolist() == python.fallback.tolist() == [False, False, True]
    assert answer.item_id.tolist() == python.item_id.tolist()
    np.testing.assert_allclose(answer.score, python.score, rtol=1e-5)
    ids = np.sort(case.candidates)
    items = {"item": ids, **{name: column[ids] for name, column in case.items.items()}}
    pairs = {name: np.stack([column] * 3) for name, column in items.items()}
    scores = np.asarray(case.model({**query, **pairs}))
    for row in range(2):
        best = case.vocabularies["item"].decode(ids[np.argsort(-scores[row], kind="stable")])
        assert answer.item_id[row].tolist() == best.tolist()


def test_a_new_user_is_known_by_a_history(stored_export):
    """Not by the context: an hour tells nothing about who asks."""
    case, served = stored_export
    query = {"user": ["who?"] * 2, "history": [[9], [77]], "device": [10, 10], "hour": [1.0, 1.0]}
    answer = served.recommend(query)
    assert answer.fallback.tolist() == [False, True]
    assert answer.item_id[0].tolist() != answer.item_id[1].tolist()


def test_scores_of_unknown_items_take_the_row_of_the_unknown_id(stored_export):
    case, served = stored_export
    found = served.score({"user": USERS, **CONTEXT, "item": [3, 77, 2**40]})
    ids = np.array([4, 1, 2])
    items = {"item": ids, **{name: column[ids] for name, column in case.items.items()}}
    np.testing.assert_allclose(found, case.model({**encoded(case), **items}), rtol=1e-5)


def test_an_example_may_know_more_than_is_stored(stored_export):
    """What is sent counts, an unheard-of tag as unknown; what is not sent is found by id."""
    case, served = stored_export
    inputs = {
        "user": np.array(USERS, object),
        "age": np.float32([np.nan, 7, 0]),
        "tags": np.array([["", ""], ["z", ""], ["?", "x"]], object),
        "place": np.float32([[5, 6], [np.nan, np.nan], [np.nan, np.nan]]),
        "history": np.array([[2**40, 3], [-1, -1], [-1, -1]]),
        "device": np.array([10, 99, 30]),
        "hour": np.float32([1, 2, 0.5]),
        "item": np.array([77, 77, 3]),
        "genres": np.array([["drama", "a"], ["", ""], ["", ""]], object),
        "vector": np.float32([[np.nan, np.nan], [1, 2], [np.nan, np.nan]]),
    }
    functions = tf.saved_model.load(str(served.path)).signatures
    scores = functions["predict_examples"](examples=tf.constant(make_examples(inputs)))["score"]
    own, items = case.users, case.items
    query = encoded(
        case,
        age=np.float32([own["age"][2], 7, 0]),
        tags=np.array([own["tags"][2], [4, 0], [1, 2]]),
        place=np.float32([[5, 6], own["place"][5], own["place"][1]]),
        item=np.array([1, 1, 4]),
        genres=np.array([[2, 4], items["genres"][1], items["genres"][4]]),
        vector=np.float32([items["vector"][1], [1, 2], items["vector"][4]]),
    )
    np.testing.assert_allclose(scores, case.model(query), rtol=1e-5)


@pytest.mark.parametrize(
    "raw, given, stored, expected",
    [
        (["a", ""], [2, 1], [5, 6], [2, 6]),
        ([[7, -1], [-1, -1]], [[2, 0], [0, 0]], [[5, 6], [5, 6]], [[2, 0], [5, 6]]),
        ([0.0, np.nan], [0.0, np.nan], [3.0, 4.0], [0.0, 4.0]),
        ([[np.nan, 1.0]], [[np.nan, 1.0]], [[3.0, 4.0]], [[np.nan, 1.0]]),
    ],
)
def test_a_row_is_missing_if_nothing_of_it_is_given(raw, given, stored, expected):
    if isinstance(raw[0], list) and isinstance(raw[0][0], int):
        raw = tf.constant(raw, tf.int64)
    found = where_missing(tf.constant(raw), tf.constant(given), tf.constant(stored))
    np.testing.assert_array_equal(found, expected)


def test_hashed_values_are_stored_as_their_ids(tmp_path, exported):
    """And an Example may send the value itself, which `verify` does in every second one."""
    ids = exported("mlp", "string", "int64")[0].vocabularies
    encoder = HashBuckets(32, 2, rows=3)
    schema = Schema(
        user=[Categorical("user", 7), Hashed("device", 34, 2)],
        item=[Categorical("item", 9), Hashed("seller", 34, 2)],
    )
    model = EmbeddingMLP(schema, embedding_dim=4, hidden_units=(8,), stddev=1.0)
    tables = {
        "users": {"device": encoder.encode(["", "", *"abcab"])},
        "items": {"seller": encoder.encode(["", "", *"abcabcx"])},
    }
    encoders = {**ids, "device": encoder, "seller": encoder}
    path = export(model, tmp_path / "served", vocabularies=encoders, k=3, **tables)
    verify(path, model=model, vocabularies=encoders, **tables)
