import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrec.data import Vocabulary
from kerasrec.models import LightGCN
from kerasrec.schema import IdSequence
from kerasrec.serving import export, load, verify
from kerasrec.testing import CHECKS, ModelCase, tiny_schema
from kerasrec.types import known_by

USERS, ITEMS = 11 + 2, 17 + 2  # padding and unknown are rows too
STARTS = USERS + 1  # of the graph, which has no edges before `adapt`

HISTORY = IdSequence("history", of="item_id", max_length=4)
OF_HISTORIES = dataclasses.replace(tiny_schema(), context=(HISTORY,))

CASES = {
    "dot product": ModelCase(
        LightGCN,
        num_params=2 * (USERS + ITEMS) * 4 + STARTS,  # trained and smoothed vectors
        kwargs={"embedding_dim": 4, "num_layers": 1, "stddev": 0.3, "l2": 0.001},
    ),
    "cosine, histories": ModelCase(
        LightGCN,
        schema=OF_HISTORIES,
        num_params=(2 * (USERS + ITEMS) + ITEMS) * 6 + STARTS,
        kwargs={"embedding_dim": 6, "num_layers": 2, "temperature": 0.2},
    ),
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_contract(case, check):
    check(case)


def drawn(seed=0):
    dense = np.random.default_rng(seed).random((USERS, ITEMS)) < 0.3
    dense[:, :2] = dense[:2] = False
    return dense


def adapted(dense, schema=None, **options):
    keras.utils.set_random_seed(0)
    model = LightGCN(tiny_schema() if schema is None else schema, **options)
    user, item = np.nonzero(dense)
    model.adapt({"user_id": user, "item_id": item})
    return model


def normalised(dense):
    degrees = dense.sum(axis=1, keepdims=True) * dense.sum(axis=0)
    link = dense / np.sqrt(np.maximum(degrees, 1))
    return np.block([[np.zeros((len(link), len(link))), link], [link.T, np.zeros((ITEMS, ITEMS))]])


def base(model):
    tables = (model.user_base.embeddings, model.item_base.embeddings)
    return np.concatenate([np.asarray(table.value) for table in tables])


def smoothed(model, dense):
    matrix, vectors = normalised(dense), base(model)
    powers = (np.linalg.matrix_power(matrix, k) for k in range(model.num_layers + 1))
    return sum(power @ vectors for power in powers) / (model.num_layers + 1)


def test_one_layer_by_hand():
    dense = np.zeros((USERS, ITEMS), bool)
    dense[2, [2, 3]] = dense[3, 2] = True
    model = adapted(dense, embedding_dim=1, num_layers=1)
    model.user_base.embeddings.assign(np.full((USERS, 1), 3.0))
    model.item_base.embeddings.assign(np.full((ITEMS, 1), 5.0))
    model.refresh()
    # User 2 of items 2 (2 users) and 3 (1 user); item 2 of users 2 (2 items) and 3 (1 item).
    user = (3 + 5 / np.sqrt(2 * 2) + 5 / np.sqrt(2 * 1)) / 2
    item = (5 + 3 / np.sqrt(2 * 2) + 3 / np.sqrt(2 * 1)) / 2
    inputs = {"user_id": np.array([2, 4]), "item_id": np.array([2, 2])}
    assert np.asarray(model(inputs)).tolist() == pytest.approx([user * item, 1.5 * item])


@pytest.mark.parametrize("temperature", [None, 0.2])
def test_scores_are_those_of_the_powers_of_the_matrix(temperature):
    dense = drawn()
    model = adapted(dense, embedding_dim=4, temperature=temperature)
    vectors = smoothed(model, dense)
    if temperature is not None:
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    expected = vectors[:USERS] @ vectors[USERS:].T / (temperature or 1)
    every = np.broadcast_to(np.arange(ITEMS), (USERS, ITEMS))
    inputs = {"user_id": np.arange(USERS), "item_id": every}
    for training in (False, True):  # tables, and smoothed anew
        found = np.asarray(model(inputs, training=training))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_an_unknown_user_is_folded_in_as_one_of_the_graph_without_a_vector():
    dense = drawn(1)
    dense[12] = False
    dense[12, [3, 7]] = True
    there = adapted(dense, OF_HISTORIES, embedding_dim=4)
    vectors = np.array(there.user_base.embeddings.value)
    vectors[12] = 0
    there.user_base.embeddings.assign(vectors)
    there.refresh()
    without = dense.copy()
    without[12] = False
    new = adapted(without, OF_HISTORIES, embedding_dim=4)
    new.user_base.embeddings.assign(vectors)
    new.refresh()
    history = np.array([[0, 3, 7, 3], [0, 0, 0, 0], [3, 7, 0, 0]])
    inputs = {"user_id": np.array([1, 1, 5]), "history": history}
    one, nothing, known = np.asarray(new.query_embedding(inputs))
    items = np.asarray(new.item_base.embeddings.value)
    # By hand with one layer fewer than the graph, since the degrees of the items differ by 1.
    matrix = normalised(without)
    layers = [np.concatenate([vectors, items])]
    for _ in range(3):
        layers.append(matrix @ layers[-1])
    degrees = np.maximum(without.sum(axis=0), 1)
    expected = sum(
        layer[USERS + item] / np.sqrt(2 * degrees[item]) for layer in layers[:3] for item in (3, 7)
    )
    np.testing.assert_allclose(one, expected / 4, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(nothing, vectors[1] / 4, rtol=1e-5)  # alone in the graph
    np.testing.assert_allclose(known, np.asarray(new.user_vectors(np.array([5])))[0])
    # With the graph of all users the direction is nearly that of the user.
    own = np.asarray(there.user_vectors(np.array([12])))[0]
    cosine = one @ own / np.linalg.norm(one) / np.linalg.norm(own)
    assert cosine > 0.9


def test_a_query_is_known_by_the_id_or_the_history():
    assert known_by(LightGCN(OF_HISTORIES)) == ("user_id", "history")
    assert known_by(LightGCN(tiny_schema())) == ("user_id",)


def test_stock_fit_refreshes_the_tables_before_validation():
    dense = drawn()
    model = adapted(dense, embedding_dim=4)
    user, item = (ids.astype("int32") for ids in np.nonzero(dense))
    columns = {"user_id": user, "item_id": item}
    model.compile("adam", "mse")
    history = model.fit(
        columns, np.ones(len(user)), validation_data=(columns, np.ones(len(user))), verbose=0
    ).history
    scores = np.asarray(model(columns))
    assert history["val_loss"][0] == pytest.approx(np.mean((1 - scores) ** 2), rel=1e-4)
    vectors = smoothed(model, dense)
    expected = (vectors[user] * vectors[USERS + item]).sum(axis=1)
    np.testing.assert_allclose(scores, expected, rtol=1e-3, atol=1e-6)


def test_another_graph_is_trained_on_after_fit():
    model = adapted(drawn(), embedding_dim=4)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    columns = {"user_id": np.arange(2, 6), "item_id": np.arange(2, 6)}
    model.fit(columns, np.ones(4), verbose=0)
    user, item = np.nonzero(drawn(3))
    model.adapt({"user_id": user, "item_id": item})
    loss = model.fit(columns, np.ones(4), verbose=0).history["loss"][0]
    assert loss == pytest.approx(np.mean((1 - np.asarray(model(columns))) ** 2), rel=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"embedding_dim": 0}, "embedding_dim must be an integer of at least 1"),
        ({"num_layers": 0}, "num_layers must be an integer of at least 1"),
        ({"stddev": 0.0}, "stddev must be a finite number above 0"),
        ({"temperature": 0.0}, "temperature must be a finite number above 0"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=f"LightGCN: {message}"):
        LightGCN(tiny_schema(), **options)
    with pytest.raises(ValueError, match="l2 must be a finite number of at least 0"):
        LightGCN(tiny_schema(), l2=-1.0)


def test_rows_without_positives():
    with pytest.raises(ValueError, match=r"LightGCN.adapt: .*nothing to count"):
        LightGCN(tiny_schema()).adapt(
            {"user_id": np.array([2]), "item_id": np.array([2]), "label": np.array([0.0])}
        )
    with pytest.raises(ValueError, match=r"LightGCN.adapt: expected positive rows of known"):
        LightGCN(tiny_schema()).adapt({"user_id": np.array([1]), "item_id": np.array([2])})


def test_an_export_serves_new_users_from_their_history_without_the_graph(tmp_path):
    model = adapted(drawn(), OF_HISTORIES, embedding_dim=4)
    ids = {"user_id": Vocabulary.fit(range(11)), "item_id": Vocabulary.fit(range(17))}
    path = export(model, tmp_path, vocabularies=ids, k=3)
    assert verify(path).signatures
    shapes = [
        tuple(shape) for _, shape in tf.train.list_variables(str(path / "variables" / "variables"))
    ]
    # Smoothed vectors of users and items, and of items in histories; no edges, no trained vectors.
    assert shapes.count((USERS, 4)) == 1 and shapes.count((ITEMS, 4)) == 2
    assert (model.user_rows.size,) not in shapes
    served = load(path)
    asked = {"user_id": [99, 99, 4], "history": [[3, 8], [-1, -1], [-1, -1]]}
    found = served.recommend(asked)
    assert found.fallback.tolist() == [False, True, False]
    encoded = {"user_id": np.array([1, 6]), "history": np.array([[5, 10], [0, 0]])}
    items = np.asarray(model.item_embedding({"item_id": np.arange(2, ITEMS)}))
    scores = np.asarray(model.query_embedding(encoded)) @ items.T
    np.testing.assert_array_equal(found.item_id[[0, 2]], np.argsort(-scores)[:, :3])
