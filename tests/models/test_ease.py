import dataclasses

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec.models import EASE
from kerasrec.schema import Categorical, IdSequence, Schema
from kerasrec.testing import CHECKS, ModelCase, tiny_schema

# Weights between items, and where the rows of the users start.
CASE = ModelCase(EASE, num_params=(17 + 2) ** 2 + (11 + 2 + 1), trains=False)
HISTORY = IdSequence("history", of="item_id", max_length=4)
OF_HISTORIES = ModelCase(
    EASE,
    num_params=(17 + 2) ** 2,
    schema=dataclasses.replace(tiny_schema(), context=(HISTORY,)),
    trains=False,
)
# Users 2 and 3 have the items 2 and 3, user 4 item 2 alone: X^T X + I = [[4, 2], [2, 3]].
ROWS = {"user_id": np.array([2, 2, 3, 3, 4]), "item_id": np.array([2, 3, 2, 3, 2])}


@pytest.mark.parametrize("case", [CASE, OF_HISTORIES], ids=["users", "histories"])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(check, case):
    check(case)


def adapted(schema=None, rows=ROWS, **options):
    model = EASE(schema or tiny_schema(), **{"l2": 1.0, **options})
    model.adapt(rows)
    return model


def scores(model, users, items):
    return np.asarray(model({"user_id": np.array(users), "item_id": np.array(items)})).tolist()


def test_by_hand():
    # The inverse is [[3, -2], [-2, 4]] / 8: item 2 speaks for item 3 by 2/4, 3 for 2 by 2/3.
    model = adapted()
    assert scores(model, [4, 4], [3, 2]) == pytest.approx([0.5, 0.0])
    assert scores(model, [2, 2], [3, 2]) == pytest.approx([0.5, 2 / 3])
    assert scores(model, [1, 7], [3, 3]) == [0, 0]  # nobody knows anything about them


def test_histories_serve_users_who_were_not_there():
    model = adapted(OF_HISTORIES.schema)
    history = np.array([[0, 2, 2, 1], [3, 0, 0, 0], [0, 0, 0, 0]])
    inputs = {"user_id": np.ones(3, int), "item_id": np.array([3, 2, 2]), "history": history}
    assert np.asarray(model(inputs)).tolist() == pytest.approx([0.5, 2 / 3, 0])


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 1000), st.floats(0.5, 50))
def test_equals_the_normal_equations(seed, l2):
    rng = np.random.default_rng(seed)
    dense = rng.random((13, 19)) < 0.3
    dense[:, :2] = dense[:2] = False
    dense[5, 7] = True
    user, item = np.nonzero(dense)
    model = adapted(rows={"user_id": user, "item_id": item}, l2=l2)
    for target in range(2, 19):  # ridge regression of each item on all the others
        others = np.arange(19) != target
        known = dense[:, others].astype(float)
        equations = known.T @ known + l2 * np.eye(18)
        expected = np.linalg.solve(equations, known.T @ dense[:, target])
        weights = np.asarray(model.item_weights[target])
        np.testing.assert_allclose(weights[others], expected, atol=1e-4)
        assert weights[target] == 0


def test_repeated_rows_negatives_and_unknown_ids_do_not_count():
    more = {
        "user_id": np.append(ROWS["user_id"], [2, 4, 1, 3]),
        "item_id": np.append(ROWS["item_id"], [2, 3, 3, 1]),
        "label": np.append(np.ones(5), [5, 0, 1, 1]),
    }
    ours, theirs = adapted(rows=more), adapted()
    assert np.array_equal(ours.item_weights, theirs.item_weights)
    assert scores(ours, [4, 2], [3, 3]) == scores(theirs, [4, 2], [3, 3])


def test_a_second_adapt_forgets_the_first(tmp_path):
    model = adapted()
    inputs = {"user_id": np.array([4]), "item_id": np.array([3])}
    assert model.predict(inputs, verbose=0).tolist() == pytest.approx([0.5])
    model.adapt({"user_id": np.array([2, 2, 2]), "item_id": np.array([5, 6, 7])})
    assert model.predict(inputs, verbose=0).tolist() == [0]
    assert scores(model, [2], [5]) == scores(
        adapted(rows={"user_id": np.array([2, 2, 2]), "item_id": np.array([5, 6, 7])}), [2], [5]
    )
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert scores(again, [2], [5]) == scores(model, [2], [5]) != [0]


def test_a_larger_penalty_gives_smaller_weights():
    assert scores(adapted(l2=10.0), [4], [3]) < scores(adapted(l2=1.0), [4], [3])


@pytest.mark.parametrize("l2", [0, -1.0, float("nan"), "many", True])
def test_bad_penalty(l2):
    with pytest.raises(ValueError, match="EASE: l2 must be a finite number above 0"):
        EASE(tiny_schema(), l2=l2)


def test_too_many_items():
    schema = Schema(Categorical("user", 10), Categorical("item", 1_000_000))
    with pytest.raises(
        ValueError, match=r"999,998 items need 4,000,000,000,000 bytes \(3,725.3 GiB"
    ):
        EASE(schema)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"item_id": np.array([2])}, "missing column 'user_id'"),
        ({"user_id": np.array([2])}, "missing column 'item_id'"),
        ({"user_id": np.array([2, 3]), "item_id": np.array([2])}, "columns of one length"),
        ({"user_id": np.array([13]), "item_id": np.array([2])}, "integer ids from 0 to 12"),
        ({"user_id": np.array([2]), "item_id": np.array([0.5])}, "integer ids from 0 to 18"),
        ({"user_id": np.array([1, 2]), "item_id": np.array([2, 1])}, "received none"),
        ({"user_id": np.zeros(0, int), "item_id": np.zeros(0, int)}, "received none"),
        (
            {"user_id": np.array([2]), "item_id": np.array([2]), "label": np.zeros(1)},
            "none of 1 rows has a 'label' >0",
        ),
    ],
)
def test_bad_rows(rows, message):
    with pytest.raises(ValueError, match=message):
        adapted(rows=rows)
