import dataclasses

import numpy as np
import pytest

from kerasrec.models import MultDAE
from kerasrec.schema import IdSequence
from kerasrec.testing import CHECKS, ModelCase, tiny_schema

KWARGS = {"embedding_dim": 5, "hidden_units": (6,), "dropout": 0.0, "l2": 0.0}
WEIGHTS = (17 + 2) * 6 + 6 + 6 * 5 + 5 + 5 * 6 + 6 + (17 + 2) * (6 + 1)
ROWS = (11 + 2 + 1) + 3 * 11  # where rows start, and the three items of each user
CASE = ModelCase(MultDAE, num_params=WEIGHTS + ROWS, kwargs=KWARGS)
HISTORY = IdSequence("history", of="item_id", max_length=4)
OF_HISTORIES = ModelCase(
    MultDAE,
    num_params=(17 + 2) * 5 + 5 + (17 + 2) * (5 + 1),  # z is the only hidden layer
    schema=dataclasses.replace(tiny_schema(), context=(HISTORY,)),
    kwargs={"embedding_dim": 5, "dropout": 0.0},
)


@pytest.mark.parametrize("case", [CASE, OF_HISTORIES], ids=["users", "histories"])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(check, case):
    check(case)


def test_score_is_the_equation():
    model = MultDAE(OF_HISTORIES.schema, embedding_dim=5)
    history = np.array([[9, 3, 9, 1], [0, 0, 0, 0]])
    every = np.broadcast_to(np.arange(19), (2, 19))
    asked = {"user_id": np.array([1, 1]), "item_id": every, "history": history}
    profiles = np.zeros((2, 19))
    profiles[0, [3, 9]] = 1 / np.sqrt(2)
    z = np.tanh(profiles @ np.asarray(model.profile_vectors) + np.asarray(model.profile_bias))
    bias = np.asarray(model.item_bias.embeddings).ravel()
    expected = z @ np.asarray(model.item_vectors.embeddings).T + bias
    np.testing.assert_allclose(np.asarray(model(asked)), expected, atol=1e-5)
    logits, penalty = model.reconstruct(np.array([[3, 0, 9]]), training=False)
    np.testing.assert_allclose(np.asarray(logits)[0, 2:], expected[0, 2:], atol=1e-5)
    assert np.asarray(penalty).tolist() == [0]


def test_training_hides_items():
    model = MultDAE(tiny_schema(), embedding_dim=5)
    items = np.arange(2, 18)[None]
    one, two = (np.asarray(model.reconstruct(items, training=True)[0]) for _ in range(2))
    assert np.abs(one - two)[:, 2:].max() > 1e-3


def test_l2_is_the_sum_of_squares_of_the_tables():
    model = MultDAE(tiny_schema(), embedding_dim=5, l2=0.1)
    model({"user_id": np.array([2]), "item_id": np.array([2])})  # losses are those of the last call
    tables = (model.profile_vectors, model.item_vectors.embeddings)
    expected = 0.1 * sum(float(np.square(np.asarray(table)).sum()) for table in tables)
    assert sum(map(float, model.losses)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"embedding_dim": 0}, "embedding_dim must be an integer of at least 1"),
        ({"hidden_units": (2.5,)}, "each of hidden_units must be an integer of at least 1"),
        ({"dropout": -0.1}, "dropout must be a number from 0 to less than 1"),
        ({"l2": -1}, "l2 must be a finite number of at least 0"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=f"MultDAE: {message}"):
        MultDAE(tiny_schema(), **options)
