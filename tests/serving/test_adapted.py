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
