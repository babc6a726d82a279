import dataclasses

import keras
import numpy as np
import pytest

from kerasrec.models import ImplicitALS, MatrixFactorization
from kerasrec.schema import IdSequence
from kerasrec.testing import CHECKS, ModelCase, tiny_schema
from kerasrec.training import AlternatingLeastSquares

# Vectors of the items, and where the rows of the users start.
OPTIONS = {"embedding_dim": 3, "iterations": 4}
CASE = ModelCase(ImplicitALS, num_params=(17 + 2) * 3 + (11 + 2 + 1), kwargs=OPTIONS, trains=False)
HISTORY = IdSequence("history", of="item_id", max_length=19)
OF_HISTORIES = ModelCase(
    ImplicitALS,
    num_params=(17 + 2) * 3,
    kwargs=OPTIONS,
    schema=dataclasses.replace(tiny_schema(), context=(HISTORY,)),
    trains=False,
)


@pytest.mark.parametrize("case", [CASE, OF_HISTORIES], ids=["users", "histories"])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(check, case):
    check(case)


def random_rows(seed=0):
    dense = np.random.default_rng(seed).random((13, 19)) < 0.3
    dense[:, :2] = dense[:2] = False
    dense[5, 7] = True
    user, item = np.nonzero(dense)
    return {"user_id": user, "item_id": item}


def adapted(schema, rows, **options):
    keras.utils.set_random_seed(0)
    model = ImplicitALS(schema, **{**OPTIONS, **options})
    model.adapt(rows)
    return model


@pytest.mark.parametrize("exponent", [0.0, 1.0])
def test_users_get_the_vectors_of_alternating_least_squares(exponent):
    rows = random_rows()
    model = adapted(tiny_schema(), rows, exponent=exponent)
    keras.utils.set_random_seed(0)
    factors = MatrixFactorization(tiny_schema(), embedding_dim=3, use_bias=False)
    AlternatingLeastSquares(factors, exponent=exponent).fit(rows, epochs=4)
    users = np.unique(rows["user_id"])
    found = model.query_embedding({"user_id": users})
    expected = np.asarray(factors.user_vectors.embeddings)[users]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_by_hand():
    # One item of one user in one dimension: p = q / (q^2 + 0.5 * 17 items' squares + l).
    model = ImplicitALS(tiny_schema(), embedding_dim=1, l2=0.1, unobserved_weight=0.5)
    rows = {"user_id": np.array([2]), "item_id": np.array([3])}
    model.adapt(rows)
    q = float(model.item_vectors[3, 0])
    expected = q / (q**2 + 0.5 * q**2 + 0.1 * (1 + 0.5 * 17))
    found = model.query_embedding({"user_id": np.array([2, 4])})
    assert np.asarray(found)[:, 0].tolist() == pytest.approx([expected, 0])


def test_a_user_who_was_not_there_is_folded_in():
    rows = random_rows()
    by_id = adapted(tiny_schema(), rows)
    by_history = adapted(OF_HISTORIES.schema, rows)
    user = rows["user_id"][0]
    items = rows["item_id"][rows["user_id"] == user]
    history = np.zeros((1, 19), int)
    history[0, : len(items)] = items[::-1]
    every = np.arange(2, 19)[None]
    known = by_id({"user_id": np.array([user]), "item_id": every})
    new = by_history({"user_id": np.array([1]), "item_id": every, "history": history})
    np.testing.assert_allclose(new, known, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"embedding_dim": 0}, "embedding_dim must be an integer of at least 1"),
        ({"iterations": 0}, "iterations must be an integer of at least 1"),
        ({"l2": 0}, "l2 must be a finite number above 0"),
        ({"unobserved_weight": -1.0}, "unobserved_weight must be a finite number of at least 0"),
        ({"exponent": float("nan")}, "exponent must be a finite number of at least 0"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=f"ImplicitALS: {message}"):
        ImplicitALS(tiny_schema(), **options)
