"""Towers of TensorFlow Recommenders become ours, and our vectors fill its indexes."""

import json
import os
import pathlib
import subprocess
import sys
import urllib.request

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrec import data, serving
from kerasrec.interop import fill_tfrs_index, from_tfrs, import_tfrs
from kerasrec.models import EmbeddingMLP, MatrixFactorization
from kerasrec.schema import Categorical, Numeric, Schema
from kerasrec.serving.server import background

ROOT = pathlib.Path(__file__).parents[2]
USERS, ITEMS = data.Vocabulary.fit(["ann", "bob"]), data.Vocabulary.fit([7, 8, 9])
VOCABULARIES = {"user": USERS, "item": ITEMS}
SCHEMA = Schema(Categorical("user", 4), Categorical("item", 5), label="rating", positive=">=4")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """What trained.py has left: an export, a `.keras` file, vocabularies, and what TFRS answers."""
    folder = tmp_path_factory.mktemp("trained")
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(pathlib.Path(__file__).with_name("trained.py")), str(folder)],
        env={**os.environ, "TF_USE_LEGACY_KERAS": "1", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, json.loads((folder / "facts.json").read_text())


def group(name):
    return int(name.split()[1]) % 2


@pytest.mark.slow
class TestTrainedByTFRS:
    def test_it_is_ranked_as_tfrs_ranks_it(self, trained):
        _, facts = trained
        assert facts["ours"] == pytest.approx(facts["theirs"], abs=1e-6) and facts["ours"] > 0.2
        assert facts["found"]["auc"] > 0.8

    def test_it_is_exported_with_all_signatures_and_verified(self, trained):
        folder, facts = trained
        assert "every difference is within 1e-05" in facts["verified"]
        assert facts["signatures"] == sorted(
            ["serving_default", "score", "recommend", "similar_items", "user_embedding"]
            + ["item_embedding", "predict_examples", "regress"]
        )
        # In a process whose Keras is Keras 3 alone, computed anew by the model as it was saved.
        vocabularies = data.load_vocabularies(folder)
        model = keras.models.load_model(folder / "taken.keras")
        assert type(model) is MatrixFactorization
        serving.verify(folder / "served", model=model, vocabularies=vocabularies)

    def test_saved_towers_are_enough(self, trained):
        """In this process, which imports neither TFRS nor Keras 2."""
        folder, _ = trained
        model = keras.models.load_model(folder / "taken.keras")
        towers = (tf.saved_model.load(str(folder / f"{n}_tower")) for n in ("query", "candidate"))
        vocabularies = data.load_vocabularies(folder)
        again = from_tfrs(*towers, schema=model.schema, vocabularies=vocabularies)
        for ours, saved in zip(model.weights, again.weights, strict=True):
            np.testing.assert_array_equal(ours, saved)

    def test_it_is_served_as_an_index_of_tfrs_answers(self, trained):
        folder, facts = trained
        known = facts["asked"][:-1]
        with background(folder / "served", ready_seconds=600.0) as server:
            asked = {"user_id": known, "exclude": [[]] * len(known)}
            body = json.dumps({"signature_name": "recommend", "inputs": asked}).encode()
            with urllib.request.urlopen(server.url, body) as response:
                answer = json.load(response)["outputs"]
        np.testing.assert_allclose(answer["score"], facts["scores"][:-1], atol=1e-5)
        assert answer["item_id"] == facts["items"][:-1]
        assert not any(answer["fallback"])

    def test_what_users_have_not_seen_is_of_their_group(self, trained):
        folder, facts = trained
        served = serving.load(folder / "served")
        seen = json.loads((folder / "seen.json").read_text())
        lists = served.recommend({"user_id": list(seen)}, exclude=list(seen.values())).rows()
        hits = [
            group(user) == group(item)
            for user, found in zip(seen, lists, strict=True)
            for item, _ in found[:3]
        ]
        assert np.mean(hits) > 0.9

    def test_a_user_that_the_tower_has_never_seen_is_scored_as_by_tfrs(self, trained):
        folder, facts = trained
        served = tf.saved_model.load(str(folder / "served/1"))
        item = facts["items"][-1][0]
        found = served.signatures["score"](
            user_id=tf.constant(["nobody"]), item_id=tf.constant([item])
        )
        assert found["score"].numpy()[0] == pytest.approx(facts["scores"][-1][0], abs=1e-5)

    @pytest.mark.parametrize("kind", ["BruteForce", "Streaming"])
    def test_our_vectors_fill_an_index_of_tfrs(self, trained, kind):
        _, facts = trained
        scores, items = facts["filled"][kind]
        np.testing.assert_allclose(scores, facts["scores"], atol=1e-5)
        assert items == facts["items"]


def of_ids(dim=2):
    """A tower of integers, or of texts by their lengths; ids below 0 are refused."""

    def tower(ids):
        numbers = tf.strings.length(ids) if ids.dtype == tf.string else ids
        tf.debugging.assert_non_negative(numbers)
        return tf.cast(numbers[:, None] * tf.range(1, dim + 1, dtype=numbers.dtype), tf.float32)

    return tower


def taken(query=None, candidate=None, **kwargs):
    return from_tfrs(
        query or of_ids(),
        candidate or of_ids(),
        **{"schema": SCHEMA, "vocabularies": VOCABULARIES, **kwargs},
    )


def test_vectors_stand_at_the_encoded_ids():
    model = taken()
    assert model.item_vectors.embeddings.numpy().tolist() == [
        [0, 0], [0, 0], [7, 14], [8, 16], [9, 18]
    ]  # fmt: skip
    # A text is unknown where it is one line break; the tower of lengths takes that for 1.
    assert model.user_vectors.embeddings.numpy().tolist() == [[0, 0], [1, 2], [3, 6], [3, 6]]


def test_the_schema_keeps_the_ids_and_what_is_a_positive():
    rich = Schema((Categorical("user", 4), Numeric("age")), Categorical("item", 5), positive=">=4")
    model = taken(schema=rich)
    assert [feature.name for feature in model.schema.features] == ["user", "item"]
    assert model.schema.positive == ">=4"
    assert model.schema.item_id.fingerprint == ITEMS.fingerprint


def test_many_ids_are_read_in_batches():
    many = data.Vocabulary.fit(np.arange(10_000))
    model = taken(vocabularies={"user": USERS, "item": many})
    assert model.item_vectors.embeddings.numpy()[-1].tolist() == [9_999, 19_998]


def test_towers_of_features_take_a_dict_in_the_order_of_the_vocabulary():
    def tower(features):
        price = tf.cast(features["price"], tf.float32)
        return tf.stack([tf.cast(features["item"], tf.float32), price], axis=1)

    features = {"price": [0.5, 9.0, 1.5, 2.5], "item": [9, 1, 7, 8]}  # 1 is not in the vocabulary
    model = taken(candidate=tower, item_features=features)
    assert model.item_vectors.embeddings.numpy().tolist() == [
        [0, 0], [0, 0], [7, 1.5], [8, 2.5], [9, 0.5]
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"vocabularies": {"user": USERS}}, r"expected the vocabularies \['user', 'item'\]"),
        ({"query": of_ids(3)}, "received 3 of the query tower and 2 of the candidate tower"),
        ({"candidate": lambda ids: tf.cast(ids, tf.float32)}, r"received \(3,\) for 3 ids"),
        ({"query": lambda ids: tf.fill([len(ids), 2], np.nan)}, "NaN or infinity for 2 of 2 ids"),
        (
            {"query": lambda ids: tf.cast(ids["age"], tf.float32)},
            "query tower raised an error for raw ids of type string, such as b'ann': (.|\n)*"
            "pass them as user_features=",
        ),
        (
            {"candidate": lambda ids: tf.strings.lower(ids)},
            "candidate tower raised an error for raw ids of type int64, such as 7(.|\n)*id_type=",
        ),
        (
            {"item_features": {"item": [7, 8]}},
            "all 3 ids of the vocabulary; 1 have none, such as 9",
        ),
        ({"item_features": {"price": [7, 8]}}, "with the raw ids in 'item'; received the lengths"),
        (
            {"item_features": {"item": [7, 8, 9], "price": [1, 2]}},
            "received the lengths {'item': 3, 'price': 2}",
        ),
    ],
)
def test_what_does_not_fit_is_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        taken(**kwargs)


class TestWithoutTFRS:
    """Where `tf.keras` is Keras 3, as in the process of these tests, or TFRS is not installed."""

    def test_the_import_says_which_variable_is_needed(self):
        with pytest.raises(ImportError, match="TF_USE_LEGACY_KERAS=1(.|\n)*before TensorFlow"):
            import_tfrs()

    def test_it_is_not_installed(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "tensorflow_recommenders", None)
        with pytest.raises(ImportError, match="cannot be imported"):
            import_tfrs()


class FakeIndex:
    """In place of an index of TFRS, which needs a process of its own."""

    def index_from_dataset(self, rows):
        """Keep the rows."""
        self.rows = [(ids.numpy().tolist(), vectors.numpy()) for ids, vectors in rows]
        return self


@pytest.fixture
def fake(monkeypatch):
    """An index, with a module in place of TFRS."""

    class Fake:
        class layers:  # noqa: N801
            class factorized_top_k:  # noqa: N801
                TopK = FakeIndex

    monkeypatch.setitem(sys.modules, "tensorflow_recommenders", Fake)
    return FakeIndex()


def test_an_index_takes_raw_ids_and_vectors(fake):
    model = MatrixFactorization(SCHEMA, embedding_dim=4, stddev=1.0)
    assert fill_tfrs_index(fake, model, VOCABULARIES) is fake
    ((ids, vectors),) = fake.rows
    assert ids == [7, 8, 9] and vectors.shape == (3, 6)  # with the columns of the biases
    np.testing.assert_allclose(vectors, model.item_embedding({"item": np.array([2, 3, 4])}))


def test_an_index_refuses_what_does_not_fit(fake):
    model = MatrixFactorization(SCHEMA, embedding_dim=4)
    with pytest.raises(ValueError, match="expected an index(.|\n)*received list and Matrix"):
        fill_tfrs_index([], model, VOCABULARIES)
    with pytest.raises(ValueError, match="expected an index(.|\n)*received FakeIndex and Embedd"):
        fill_tfrs_index(fake, EmbeddingMLP(SCHEMA, embedding_dim=4), VOCABULARIES)
    with pytest.raises(ValueError, match=r"expected the vocabularies \['item'\]"):
        fill_tfrs_index(fake, model, {})
    other = data.Vocabulary.fit([9, 8, 7])
    named = taken()
    with pytest.raises(ValueError, match="fill_tfrs_index: received: other vocabularies"):
        fill_tfrs_index(fake, named, {"item": other})
