"""Autoencoders from training to the served graph: users by id, new users by history alone."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrec import data, models, retrieval, serving
from kerasrec.training import AutoencoderTrainer

# Each half of the users takes its own half of the items, but for a few of each.
USERS, ITEMS = 40, 20
PAIRS = [
    (f"user {user}", f"film {item}")
    for user in range(USERS)
    for item in range(ITEMS)
    if user % 2 == item % 2 and (user + item // 2) % 5
]


def trained(history=None):
    users, items = zip(*PAIRS, strict=True)
    times = np.arange(len(PAIRS))
    table = {"user_id": users, "item_id": items, "timestamp": times}
    ready = data.prepare(data.Interactions.from_table(table, label=None), history=history)
    keras.utils.set_random_seed(0)
    model = models.MultVAE(ready.schema, embedding_dim=4, hidden_units=(16,))
    trainer = AutoencoderTrainer(model, anneal_steps=100)
    trainer.compile(keras.optimizers.Adam(0.01))
    trainer.fit(trainer.batches(ready.train, batch_size=10), epochs=30, verbose=0)
    return model, ready


def half(films):
    return {int(film.split()[1]) % 2 for film in films}


@pytest.fixture(scope="module")
def by_user(tmp_path_factory):
    model, ready = trained()
    folder = tmp_path_factory.mktemp("served") / "films"
    signatures = ["recommend", "similar_items", "score"]
    version = serving.export(
        model, folder, vocabularies=ready.vocabularies, k=4, signatures=signatures
    )
    return model, ready, version


def test_a_user_of_training_is_asked_by_id_alone(by_user):
    model, ready, version = by_user
    found = retrieval.recommend(model, ready.vocabularies, user_ids=["user 6", "user 7"], k=4)
    assert [half(row) for row in found.item_id] == [{0}, {1}]
    loaded = tf.saved_model.load(str(version)).signatures["recommend"]
    served = loaded(user_id=tf.constant(["user 7", "nobody"]), exclude=tf.constant([[""], [""]]))
    assert half(film.decode() for film in served["item_id"][0].numpy()) == {1}
    assert served["fallback"].numpy().ravel().tolist() == [False, True]


def test_similar_items_are_those_of_the_same_users(by_user):
    model, ready, _ = by_user
    found = retrieval.similar_items(model, ready.vocabularies, item_ids=["film 2"], k=3)
    assert half(found.item_id[0]) == {0}


def test_verifies_in_a_process_without_kerasrec(by_user):
    """With the rows of the users in the graph. Histories are verified with the whole zoo."""
    report = serving.verify(by_user[2])
    assert {check.signature for check in report.signatures} == {
        "recommend",
        "similar_items",
        "score",
        "serving_default",
    }


def test_a_new_user_is_folded_in_from_a_history(tmp_path):
    model, ready = trained(history=6)
    options = {"vocabularies": ready.vocabularies, "k": 4, "signatures": ["recommend"]}
    version = serving.export(model, tmp_path / "films", **options)
    loaded = tf.saved_model.load(str(version)).signatures["recommend"]
    history = tf.constant([["film 3", "film 9", ""], ["", "film 8", "film 2"]])
    served = loaded(
        user_id=tf.constant(["nobody", "nobody"]),
        history=history,
        exclude=history,
    )
    assert served["fallback"].numpy().ravel().tolist() == [False, False]
    assert [half(film.decode() for film in row) for row in served["item_id"].numpy()] == [{1}, {0}]
