import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec.models import ItemKNN
from kerasrec.schema import IdSequence
from kerasrec.testing import CHECKS, ModelCase, tiny_schema

CASE = ModelCase(ItemKNN, num_params=2 * (17 + 2) ** 2 + (11 + 2 + 1), trains=False)
HISTORY = IdSequence("history", of="item_id", max_length=4)
OF_HISTORIES = ModelCase(
    ItemKNN,
    num_params=2 * (17 + 2) ** 2,
    schema=dataclasses.replace(tiny_schema(), context=(HISTORY,)),
    trains=False,
)
# Users: 2 has the items 2, 3 and 4, 3 has 2 and 3, 4 has 2, 5 has 2 and 5.
ROWS = {
    "user_id": np.array([2, 2, 2, 3, 3, 4, 5, 5]),
    "item_id": np.array([2, 3, 4, 2, 3, 2, 2, 5]),
}


@pytest.mark.parametrize("case", [CASE, OF_HISTORIES], ids=["users", "histories"])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(check, case):
    check(case)


def weights(rows=ROWS, **options):
    model = ItemKNN(tiny_schema(), **options)
    model.adapt(rows)
    return np.asarray(model.item_weights.times(np.eye(19, dtype="float32")))


def test_cosines_by_hand():
    found = weights()
    # Items 2 and 3 have 4 and 2 users, 2 of them in common; 3 and 4 one of 2 and 1.
    assert found[2, 3] == found[3, 2] == pytest.approx(2 / np.sqrt(8))
    assert found[3, 4] == pytest.approx(1 / np.sqrt(2))
    assert found[3, 5] == found[2, 2] == found[6, 2] == 0


def test_jaccard_and_shrinkage_by_hand():
    assert weights(similarity="jaccard")[2, 3] == pytest.approx(2 / 4)
    assert weights(similarity="jaccard", shrinkage=4)[2, 3] == pytest.approx(2 / 8)
    assert weights(shrinkage=1)[3, 4] == pytest.approx(1 / (np.sqrt(2) + 1))


def test_only_neighbours_count():
    found = weights(neighbours=1)
    assert np.flatnonzero(found[3]).tolist() == [2]  # 0.707 as item 4, which comes later
    assert np.flatnonzero(found[2]).tolist() == [3]
    assert (np.count_nonzero(found, axis=1) <= 1).all()


def test_scores_add_up_the_similarities():
    model = ItemKNN(tiny_schema())
    model.adapt(ROWS)
    inputs = {"user_id": np.array([3, 4]), "item_id": np.array([[4, 5], [3, 5]])}
    found = np.asarray(model(inputs))
    assert found[0].tolist() == pytest.approx([1 / 2 + 1 / np.sqrt(2), 1 / 2])
    history, parts = model.contributions(inputs)
    assert np.asarray(history).tolist() == [[2, 3, 0], [2, 0, 0]]
    assert np.asarray(parts)[0, 0].tolist() == pytest.approx([1 / 2, 1 / np.sqrt(2), 0])
    np.testing.assert_allclose(np.sum(parts, axis=-1), found, rtol=1e-6)


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 20))
def test_equals_plain_numpy(seed, neighbours):
    dense = np.random.default_rng(seed).random((13, 19)) < 0.3
    dense[:, :2] = dense[:2] = False
    dense[5, 7] = True
    user, item = np.nonzero(dense)
    found = weights({"user_id": user, "item_id": item}, neighbours=neighbours)
    units = dense / np.maximum(np.linalg.norm(dense, axis=0), 1e-9)
    cosines = units.T @ units
    np.fill_diagonal(cosines, 0)
    for row, expected in zip(found, cosines, strict=True):
        kept = np.sort(expected)[::-1][:neighbours]
        np.testing.assert_allclose(np.sort(row)[::-1][:neighbours], kept, atol=1e-6)
        np.testing.assert_allclose(row[row > 0], expected[row > 0], atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"similarity": "dot"}, "similarity must be one of 'cosine', 'jaccard'"),
        ({"neighbours": 0}, "neighbours must be an integer of at least 1"),
        ({"shrinkage": -1}, "shrinkage must be a finite number of at least 0"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=f"ItemKNN: {message}"):
        ItemKNN(tiny_schema(), **options)
