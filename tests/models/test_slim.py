import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec.models import SLIM
from kerasrec.schema import IdSequence
from kerasrec.testing import CHECKS, ModelCase, tiny_schema

CASE = ModelCase(SLIM, num_params=2 * (17 + 2) ** 2 + (11 + 2 + 1), trains=False)
HISTORY = IdSequence("history", of="item_id", max_length=4)
OF_HISTORIES = ModelCase(
    SLIM,
    num_params=2 * (17 + 2) ** 2,
    schema=dataclasses.replace(tiny_schema(), context=(HISTORY,)),
    trains=False,
)
ROWS = {"user_id": np.array([2, 2, 3, 4]), "item_id": np.array([2, 3, 2, 4])}


@pytest.mark.parametrize("case", [CASE, OF_HISTORIES], ids=["users", "histories"])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(check, case):
    check(case)


def weights(rows=ROWS, **options):
    model = SLIM(tiny_schema(), **options)
    model.adapt(rows)
    return np.asarray(model.item_weights.times(np.eye(19, dtype="float32")))


def test_by_hand():
    # For item 3: 1/2 (2 w^2) - w + w^2 / 2 + w / 2 is least at (1 - 1/2) / (2 + 1).
    found = weights(l1=0.5, l2=1.0)
    assert found[3, 2] == pytest.approx(0.5 / 3)
    assert found[2, 3] == pytest.approx(0.5 / 2)
    assert np.count_nonzero(found) == 2
    assert np.count_nonzero(weights(l1=1.0, l2=1.0)) == 0  # one user in common is not enough


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 1000), st.floats(0, 2), st.floats(0.5, 5))
def test_no_weight_can_be_improved(seed, l1, l2):
    dense = np.random.default_rng(seed).random((13, 19)) < 0.4
    dense[:, :2] = dense[:2] = False
    dense[5, 7] = True
    user, item = np.nonzero(dense)
    found = weights({"user_id": user, "item_id": item}, l1=l1, l2=l2)
    gram = (dense.T.astype(float) @ dense).astype(float)
    gradient = found @ gram - gram + l2 * found + l1
    others = ~np.eye(19, dtype=bool)
    assert (found >= 0).all() and not found[~others].any()
    np.testing.assert_allclose(gradient[others & (found > 0)], 0, atol=0.02)
    assert (gradient[others & (found == 0)] >= -0.02).all()


def test_neighbours_limit_the_weights():
    dense = np.random.default_rng(0).random((13, 19)) < 0.5
    dense[:, :2] = dense[:2] = False
    user, item = np.nonzero(dense)
    found = weights({"user_id": user, "item_id": item}, l1=0.0, l2=1.0, neighbours=3)
    assert np.count_nonzero(found, axis=1).max() == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"l1": -1.0}, "l1 must be a finite number of at least 0"),
        ({"l2": 0}, "l2 must be a finite number above 0"),
        ({"neighbours": 1.5}, "neighbours must be an integer of at least 1"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=f"SLIM: {message}"):
        SLIM(tiny_schema(), **options)
