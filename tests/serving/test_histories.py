"""Sequence models in the served graph: raw histories of every length, unknown items and users."""

import numpy as np
import pytest
import tensorflow as tf

from kerasrec import serving
from kerasrec.data import Vocabulary
from kerasrec.models import GRU4Rec, SASRec, StackedLSTMClassifier
from kerasrec.schema import Categorical, IdSequence, NumericSequence, Schema

FILMS = [f"film {n}" for n in range(12)]
SCHEMA = Schema(
    user=[Categorical("user", 4), IdSequence("history", of="item", max_length=4)],
    item=Categorical("item", len(FILMS) + 2),
)


@pytest.fixture(scope="module", params=[SASRec, GRU4Rec], ids=lambda model: model.__name__)
def served(request, tmp_path_factory):
    model = request.param(SCHEMA, embedding_dim=8, stddev=0.5)
    vocabularies = {
        "user": Vocabulary.fit(["ann", "bob"], "user"),
        "item": Vocabulary.fit([*FILMS, FILMS[3]], "item"),
    }
    folder = tmp_path_factory.mktemp("served") / "films"
    version = serving.export(
        model, folder, vocabularies=vocabularies, k=12, signatures=["recommend"]
    )
    return model, vocabularies["item"], version


@pytest.mark.parametrize("length", [0, 1, 3, 4])
@pytest.mark.parametrize("user", ["ann", "someone new"])
def test_recommends_after_a_raw_history_of_any_length(served, length, user):
    model, vocabulary, version = served
    loaded = tf.saved_model.load(str(version))
    history = [*FILMS[5 : 5 + length], *[""] * (4 - length)]
    answer = loaded.signatures["recommend"](
        user=tf.constant([user]),
        history=tf.constant([history]),
        exclude=tf.constant([[""]]),
    )
    found = [raw.decode() for raw in answer["item_id"][0].numpy()]
    assert bool(answer["fallback"][0]) is (length == 0)
    if not length:
        assert found[0] == FILMS[3]  # the most popular one
        return
    encoded = np.zeros((1, 4), np.int32)
    encoded[0, :length] = vocabulary.encode(np.array(history[:length]))
    items = np.asarray(model.item_embedding({"item": np.arange(2, 14)}))
    scores = (np.asarray(model.query_embedding({"history": encoded})) @ items.T)[0]
    order = np.argsort(-scores)
    assert found == vocabulary.decode(order + 2).tolist()
    np.testing.assert_allclose(answer["score"][0], scores[order], rtol=1e-4, atol=1e-5)


def test_a_history_of_unknown_items_alone_falls_back(served):
    _, _, version = served
    loaded = tf.saved_model.load(str(version))
    answer = loaded.signatures["recommend"](
        user=tf.constant(["ann"]),
        history=tf.constant([["?", "??", "", ""]]),
        exclude=tf.constant([[""]]),
    )
    assert bool(answer["fallback"][0]) and np.isfinite(answer["score"]).all()


def test_no_cudnn_op_is_exported(served):
    _, _, version = served
    graph = tf.saved_model.load(str(version)).signatures["recommend"].graph.as_graph_def()
    ops = {node.op for node in graph.node}
    ops |= {node.op for function in graph.library.function for node in function.node_def}
    assert "MatMul" in ops and not [op for op in ops if "cudnn" in op.lower()]


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    numbers = NumericSequence("ratings", of="rating", max_length=4)
    schema = Schema(user=(*SCHEMA.user, numbers), item=SCHEMA.item)
    model = StackedLSTMClassifier(schema, embedding_dim=4, hidden_units=(6, 5), stddev=1.0)
    vocabularies = {
        "user": Vocabulary.fit(["ann", "bob"], "user"),
        "item": Vocabulary.fit([*FILMS, FILMS[3]], "item"),
    }
    folder = tmp_path_factory.mktemp("served") / "films"
    version = serving.export(model, folder, vocabularies=vocabularies, k=12)
    return model, vocabularies["item"], version


@pytest.mark.parametrize("length", [0, 1, 4])
def test_a_classifier_ranks_after_items_and_numbers(classifier, length):
    model, vocabulary, version = classifier
    loaded = tf.saved_model.load(str(version))
    history = [*FILMS[5 : 5 + length], *[""] * (4 - length)]
    ratings = np.array([[3.0, 1.0, -2.0, 0.5]], "float32")
    answer = loaded.signatures["recommend"](
        user=tf.constant(["someone new"]),
        history=tf.constant([history]),
        ratings=tf.constant(ratings),
        exclude=tf.constant([[""]]),
    )
    assert bool(answer["fallback"][0]) is (length == 0)
    if not length:
        return
    encoded = np.zeros((1, 4), np.int32)
    encoded[0, :length] = vocabulary.encode(np.array(history[:length]))
    items = np.arange(2, 14)[None]
    inputs = {"user": np.array([1]), "history": encoded, "ratings": ratings, "item": items}
    scores = np.asarray(model(inputs))[0]
    order = np.argsort(-scores)
    assert [raw.decode() for raw in answer["item_id"][0].numpy()] == vocabulary.decode(
        order + 2
    ).tolist()
    np.testing.assert_allclose(answer["score"][0], scores[order], rtol=1e-4, atol=1e-5)
    functions = [s.graph.as_graph_def() for s in loaded.signatures.values()]
    ops = {node.op for graph in functions for f in graph.library.function for node in f.node_def}
    assert "MatMul" in ops and not [op for op in ops if "cudnn" in op.lower()]


def test_several_logits_are_not_exported(classifier, tmp_path):
    schema = classifier[0].schema
    model = StackedLSTMClassifier(schema, embedding_dim=4, hidden_units=(4,), num_classes=3)
    with pytest.raises(ValueError, match="export: the logits of several classes rank nothing"):
        serving.export(model, tmp_path / "films", vocabularies={}, k=3)
