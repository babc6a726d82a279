import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec.models import UserKNN
from kerasrec.schema import IdSequence
from kerasrec.testing import CHECKS, ModelCase, tiny_schema

CASE = ModelCase(UserKNN, num_params=11 + 2 + 1, trains=False)  # where rows start
HISTORY = IdSequence("history", of="item_id", max_length=4)
OF_HISTORIES = dataclasses.replace(
    CASE, schema=dataclasses.replace(tiny_schema(), context=(HISTORY,))
)
# User 2 has the items 2, 3 and 4, 3 has 2 and 3, 4 has 5.
ROWS = {"user_id": np.array([2, 2, 2, 3, 3, 4]), "item_id": np.array([2, 3, 4, 2, 3, 5])}


@pytest.mark.parametrize("case", [CASE, OF_HISTORIES], ids=["users", "histories"])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(check, case):
    check(case)


def scores(users, items, history=None, rows=ROWS, **options):
    case = CASE if history is None else OF_HISTORIES
    model = UserKNN(case.schema, **options)
    model.adapt(rows)
    inputs = {"user_id": np.array(users), "item_id": np.array(items)}
    return np.asarray(model(inputs if history is None else {**inputs, "history": history}))


def test_by_hand():
    # Users 2 and 3 have 2 items in common, of 3 and 2. The user's own row does not count.
    found = scores([3, 3, 2, 4], [4, 5, 2, 2])
    assert found.tolist() == pytest.approx([2 / np.sqrt(6), 0, 2 / np.sqrt(6), 0])
    assert scores([3], [4], similarity="jaccard").tolist() == pytest.approx([2 / 3])
    assert scores([3], [4], similarity="jaccard", shrinkage=1).tolist() == pytest.approx([2 / 4])


def test_histories_serve_users_who_were_not_there():
    history = np.array([[0, 3, 3, 1], [0, 0, 0, 0]])
    found = scores([1, 1], [[2, 4], [2, 4]], history)
    # Item 3 is one of 3 and of 2 items.
    three, two = 1 / np.sqrt(3), 1 / np.sqrt(2)
    assert found.ravel().tolist() == pytest.approx([three + two, three, 0, 0])
    assert scores([1], [4], history[:1], neighbours=1).tolist() == [0]  # user 3 is closer


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 12))
def test_equals_plain_numpy(seed, neighbours):
    dense = np.random.default_rng(seed).random((13, 19)) < 0.3
    dense[:, :2] = dense[:2] = False
    dense[5, 7] = True
    user, item = np.nonzero(dense)
    units = dense / np.maximum(np.linalg.norm(dense, axis=1, keepdims=True), 1e-9)
    cosines = (units @ units.T).round(6)
    np.fill_diagonal(cosines, 0)
    limit = -np.sort(-cosines, axis=1)[:, neighbours - 1 : neighbours]
    expected = np.where(cosines >= limit, cosines, 0) @ dense
    every = np.broadcast_to(np.arange(19), (13, 19))
    found = scores(np.arange(13), every, rows={"user_id": user, "item_id": item}, neighbours=12)
    whole = cosines @ dense
    np.testing.assert_allclose(found, whole, atol=1e-4)
    found = scores(
        np.arange(13), every, rows={"user_id": user, "item_id": item}, neighbours=neighbours
    )
    assert (found <= whole + 1e-4).all()
    clear = np.array([len(np.unique(row[row > 0])) == (row > 0).sum() for row in cosines])
    np.testing.assert_allclose(found[clear], expected[clear], atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"similarity": "dot"}, "similarity must be one of 'cosine', 'jaccard'"),
        ({"neighbours": 0}, "neighbours must be an integer of at least 1"),
        ({"shrinkage": -1}, "shrinkage must be a finite number of at least 0"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=f"UserKNN: {message}"):
        UserKNN(tiny_schema(), **options)
