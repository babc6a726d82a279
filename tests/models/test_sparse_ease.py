import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec.models import EASE, SparseEASE
from kerasrec.models.adapted import neighbour_weights
from kerasrec.schema import Categorical, IdSequence, Schema
from kerasrec.testing import CHECKS, ModelCase, tiny_schema

# Ids and weights of the neighbours, and where the rows of the users start.
CASE = ModelCase(SparseEASE, num_params=2 * (17 + 2) ** 2 + (11 + 2 + 1), trains=False)
HISTORY = IdSequence("history", of="item_id", max_length=4)
OF_HISTORIES = ModelCase(
    SparseEASE,
    num_params=2 * (17 + 2) ** 2,
    schema=dataclasses.replace(tiny_schema(), context=(HISTORY,)),
    trains=False,
)
# Users 2 and 3 have the items 2 and 3, user 4 item 2 alone.
ROWS = {"user_id": np.array([2, 2, 3, 3, 4]), "item_id": np.array([2, 3, 2, 3, 2])}


@pytest.mark.parametrize("case", [CASE, OF_HISTORIES], ids=["users", "histories"])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(check, case):
    check(case)


def weights(rows, kind=SparseEASE, **options):
    model = kind(tiny_schema(), **options)
    model.adapt(rows)
    if kind is EASE:
        return np.asarray(model.item_weights)
    return np.asarray(model.item_weights.times(np.eye(19, dtype="float32")))


def random_rows(seed, everything=False):
    dense = np.random.default_rng(seed).random((13, 19)) < 0.3
    dense[:, :2] = dense[:2] = False
    dense[5, 2:] |= everything  # a user with all items, so that all have a user in common
    dense[5, 7] = True
    user, item = np.nonzero(dense)
    return dense, {"user_id": user, "item_id": item}


def test_by_hand():
    # Item 3 from item 2, which has 3 users, 2 of them in common: 2 / (3 + 1).
    found = weights(ROWS, l2=1.0, neighbours=1)
    assert found[3, 2] == pytest.approx(2 / 4)
    assert found[2, 3] == pytest.approx(2 / 3)
    assert np.count_nonzero(found) == 2


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 1000), st.floats(0.5, 50))
def test_with_all_items_as_neighbours_it_is_ease(seed, l2):
    _, rows = random_rows(seed, everything=True)
    ours = weights(rows, l2=l2, neighbours=18)
    np.testing.assert_allclose(ours, weights(rows, EASE, l2=l2), atol=1e-4)


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 10))
def test_equals_ridge_regression_on_the_neighbours(seed, neighbours):
    dense, rows = random_rows(seed)
    found = weights(rows, l2=2.0, neighbours=neighbours)
    for item in range(2, 19):
        others = np.flatnonzero(found[item])
        assert len(others) <= neighbours and item not in others
        known = dense[:, others].astype(float)
        equations = known.T @ known + 2 * np.eye(len(others))
        expected = np.linalg.solve(equations, known.T @ dense[:, item])
        np.testing.assert_allclose(found[item, others], expected, atol=1e-4)


def test_many_items_are_solved_from_sparse_numbers(monkeypatch):
    _, rows = random_rows(3)
    expected = weights(rows, neighbours=5)
    monkeypatch.setattr(neighbour_weights, "_DENSE_ITEMS", 1)
    monkeypatch.setattr(neighbour_weights, "BLOCK", 4)
    np.testing.assert_allclose(weights(rows, neighbours=5), expected, atol=1e-6)


def test_a_million_items_need_no_square():
    schema = Schema(Categorical("user", 10), Categorical("item", 1_000_000))
    model = SparseEASE(schema, neighbours=3)
    model.adapt({"user": np.array([2, 2, 3]), "item": np.array([999_999, 5, 5])})
    scores = np.asarray(model({"user": np.array([3, 3]), "item": np.array([999_999, 6])}))
    assert scores[0] > 0 == scores[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"l2": 0}, "l2 must be a finite number above 0"),
        ({"neighbours": 0}, "neighbours must be an integer of at least 1"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=f"SparseEASE: {message}"):
        SparseEASE(tiny_schema(), **options)


def test_too_many_neighbours():
    schema = Schema(Categorical("user", 10), Categorical("item", 100_000_000))
    with pytest.raises(
        ValueError, match=r"99,999,998 items with 200 neighbours each need .*Choose"
    ):
        SparseEASE(schema)
