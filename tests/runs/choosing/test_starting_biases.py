"""Biases that training starts from, by hand."""

import numpy as np
import pytest

from kerasrec import data, models
from kerasrec.runs import recipe
from kerasrec.runs.choosing.starting_biases import damped_biases

ROWS = {
    "user_id": [1, 1, 2],
    "item_id": [7, 8, 7],
    "rating": [5.0, 2.0, 2.0],
    "timestamp": [1, 2, 3],
}


def prepared(table):
    return data.prepare(data.Interactions.from_table(table))


def test_three_ratings():
    ready = prepared(ROWS)
    mean, of_user, of_item = damped_biases(ready)
    assert mean == 3.0  # (5 + 2 + 2) / 3
    item = {7: (2 - 1) / 7, 8: -1 / 6}  # sums of r - 3, divided by 5 + n
    one = (2 - item[7]) + (-1 - item[8])
    user = {1: one / 7, 2: (-1 - item[7]) / 6}
    for found, known, name in ((of_item, item, "item_id"), (of_user, user, "user_id")):
        ids = ready.vocabularies[name].encode(list(known))
        assert found.dtype == np.float32 and found[:2].tolist() == [0.0, 0.0]
        np.testing.assert_allclose(found[ids], list(known.values()), rtol=1e-6)


def test_many_rows_outweigh_the_damping_and_few_do_not():
    users = list(range(500))
    table = {
        "user_id": [*users, *users[:2]],
        "item_id": [7] * 500 + [8] * 2,
        "rating": [4.0] * 500 + [1.0] * 2,
        "timestamp": list(range(502)),
    }
    ready = prepared(table)
    mean, _, of_item = damped_biases(ready)
    popular, rare = ready.vocabularies["item_id"].encode([7, 8])
    assert mean + of_item[popular] == pytest.approx(4.0, abs=1e-3)
    assert mean + of_item[rare] == pytest.approx(mean - 2 * (mean - 1) / 7)


def test_ratings_start_from_them_and_rankings_do_not():
    ready = prepared(ROWS)
    mean, of_user, of_item = damped_biases(ready)
    expected = mean + of_user[ready.train["user_id"]] + of_item[ready.train["item_id"]]
    for loss in ("mse", "softmax"):
        model = models.MatrixFactorization(ready.schema, embedding_dim=2, stddev=1e-6)
        recipe(model, ready, loss=loss, jit_compile=False)
        scores = np.asarray(model(ready.train))
        wanted = expected if loss == "mse" else 0.0
        np.testing.assert_allclose(scores, np.broadcast_to(wanted, scores.shape), atol=1e-5)


def test_a_model_without_biases_starts_as_it_is():
    ready = prepared(ROWS)
    model = models.MatrixFactorization(ready.schema, embedding_dim=2, use_bias=False)
    before = model.get_weights()
    recipe(model, ready, loss="mse", jit_compile=False)
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
