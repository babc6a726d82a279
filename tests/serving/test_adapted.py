"""Models that are computed from the rows, from `adapt` to the served graph."""

import numpy as np
import pytest
import tensorflow as tf

from kerasrec import data, models, retrieval, serving

# Each half of the users takes its own half of the items, but for a few of each.
USERS, ITEMS = 40, 20
PAIRS = [
    (f"user {user}", f"film {item}")
    for user in range(USERS)
    for item in range(ITEMS)
    if user % 2 == item % 2 and (user + item // 2) % 5
]
KINDS = {
    "ItemKNN": {"neighbours": 5},
    "UserKNN": {"neighbours": 5},
    "SLIM": {"l1": 0.1, "l2": 1.0, "neighbours": 5},
    "SparseEASE": {"l2": 2.0, "neighbours": 5},
    "GraphFilter": {"rank": 4, "order": 3},
    "ImplicitALS": {"embedding_dim": 4},
}


def adapted(kind, history=None):
    users, items = zip(*PAIRS, strict=True)
    table = {"user_id": users, "item_id": items, "timestamp": np.arange(len(PAIRS))}
    ready = data.prepare(data.Interactions.from_table(table, label=None), history=history)
    model = getattr(models, kind)(ready.schema, **KINDS[kind])
    model.adapt(ready.train)
    return model, ready


def half(films):
    return {int(film.split()[1]) % 2 for film in films}


@pytest.mark.parametrize("kind", KINDS)
def test_similar_items_and_lists_are_those_of_python(kind, tmp_path):
    model, ready = adapted(kind)
    path = serving.export(model, tmp_path / "films", vocabularies=ready.vocabularies, k=4)
    served = serving.load(path)
    asked = ["film 2", "film 7"]
    similar = retrieval.similar_items(model, ready.vocabularies, asked, 4)
    assert [half(row) for row in similar.item_id] == [{0}, {1}]
    assert not set(asked) & set(similar.item_id.ravel())
    answer = served.similar_items(asked)
    np.testing.assert_array_equal(answer.item_id, similar.item_id)
    np.testing.assert_allclose(answer.score, similar.score, rtol=1e-5)
    lists = retrieval.recommend(model, ready.vocabularies, ["user 6", "user 7"], 4)
    raw = tf.saved_model.load(str(path)).signatures["recommend"]
    nothing = tf.constant([[""], [""]])
    found = raw(user_id=tf.constant(["user 6", "user 7"]), exclude=nothing)
    np.testing.assert_array_equal(found["item_id"].numpy().astype(str), lists.item_id)
    np.testing.assert_allclose(found["score"], lists.score, rtol=1e-5)
    # An item that is not in the catalogue has no similar ones.
    assert served.similar_items(["film 99"]).count.tolist() == [0]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_new_user_is_folded_in_and_verified_in_a_process_without_kerasrec(kind, tmp_path):
    model, ready = adapted(kind, history=6)
    path = serving.export(model, tmp_path / "films", vocabularies=ready.vocabularies, k=4)
    names = {check.signature for check in serving.verify(path).signatures}
    assert {"recommend", "similar_items", "score"} <= names
    assert ("explain" in names) == (kind != "UserKNN")
    loaded = tf.saved_model.load(str(path)).signatures["recommend"]
    history = tf.constant([["film 3", "film 9", ""], ["", "film 8", "film 2"]])
    nobody = tf.constant(["nobody", "nobody"])
    served = loaded(user_id=nobody, history=history, exclude=history)
    assert served["fallback"].numpy().ravel().tolist() == [False, False]
    assert [half(film.decode() for film in row) for row in served["item_id"].numpy()] == [{1}, {0}]


@pytest.mark.parametrize("history", [None, 4])
def test_vectors_over_a_graph_know_a_user_by_the_id(history, tmp_path):
    users, items = zip(*PAIRS, strict=True)
    table = {"user_id": users, "item_id": items, "timestamp": np.arange(len(PAIRS))}
    ready = data.prepare(data.Interactions.from_table(table, label=None), history=history)
    model = models.LightGCN(ready.schema, embedding_dim=4)
    model.adapt(ready.train)
    best = retrieval.recommend(model, ready.vocabularies, ["user 6"], 3, seen=ready.seen())
    assert best.fallback.tolist() == [False]
    path = serving.export(model, tmp_path / "films", vocabularies=ready.vocabularies, k=3)
    if history is not None:
        raw = tf.saved_model.load(str(path)).signatures["recommend"]
        nothing = tf.constant([[""]])
        found = raw(user_id=tf.constant(["user 6"]), exclude=nothing, history=nothing)
        assert found["fallback"].numpy().tolist() == [False]


@pytest.mark.parametrize("kind", KINDS)
def test_a_known_user_without_positives_gets_the_popular_items(kind, tmp_path):
    users, items = zip(*PAIRS, ("user 99", "film 3"), strict=True)
    ratings = [*[1] * len(PAIRS), 0]
    # The last film of the vocabulary is the most popular one.
    users, items = (*users, *(f"fan {at}" for at in range(9))), (*items, *["film 19"] * 9)
    table = {"user_id": users, "item_id": items, "rating": [*ratings, *[1] * 9]}
    ready = data.prepare(data.Interactions.from_table(table, time=None))
    model = getattr(models, kind)(ready.schema, **KINDS[kind])
    model.adapt(ready.train)
    best = retrieval.recommend(model, ready.vocabularies, ["user 99", "user 6"], 3)
    assert best.fallback.tolist() == [True, False]
    assert best.item_id[0, 0] == "film 19"
    path = serving.export(model, tmp_path / "films", vocabularies=ready.vocabularies, k=3)
    raw = tf.saved_model.load(str(path)).signatures["recommend"]
    found = raw(user_id=tf.constant(["user 99", "user 6"]), exclude=tf.constant([[""], [""]]))
    np.testing.assert_array_equal(found["item_id"].numpy().astype(str), best.item_id)
    np.testing.assert_array_equal(found["fallback"], best.fallback)


def test_users_without_items_have_a_vector_of_zeros_without_unobserved_pairs():
    _, ready = adapted("ImplicitALS")
    model = models.ImplicitALS(ready.schema, embedding_dim=4, unobserved_weight=0.0)
    model.adapt(ready.train)
    vectors = np.asarray(model.query_embedding({"user_id": np.array([1, 2])}))
    assert np.isfinite(vectors).all() and not vectors[0].any() and vectors[1].any()
