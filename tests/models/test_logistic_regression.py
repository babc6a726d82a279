import numpy as np
import pytest

from kerasrec.models import LogisticRegression
from kerasrec.schema import Bag, Categorical, Numeric, Schema
from kerasrec.testing import CHECKS, ModelCase, tiny_schema

USERS, ITEMS = 11 + 2, 17 + 2  # padding and unknown are rows too

CASES = {
    "ids": ModelCase(
        LogisticRegression, num_params=USERS + ITEMS + 1, kwargs={"l2": 1e-4}, adds_up=True
    ),
    "all kinds of features": ModelCase(
        LogisticRegression,
        schema=tiny_schema(features=True),
        num_params=USERS + ITEMS + 6 + 5 + 1 + 2 + 1,  # ids, age, picture, b
        adds_up=True,
    ),
    "a table": ModelCase(
        LogisticRegression,
        schema=tiny_schema(sides=False),
        num_params=5 + 9 + 1 + 2 + 3 + 1,  # device, genres, age, picture, steps, b
        adds_up=True,
    ),
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
# The other two cases cover ids as well.
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(c, marks=pytest.mark.nightly if n == "ids" else (), id=n)
        for n, c in CASES.items()
    ],
)
def test_contract(case, check):
    check(case)


def test_score_is_the_equation():
    schema = Schema(
        context=[
            Categorical("country", 5),
            Numeric("age", mean=40.0, deviation=10.0),
            Bag("tags", 4, max_length=3),
        ]
    )
    model = LogisticRegression(schema)
    model.fields.tables["country"].embeddings.assign([[9.0], [0.5], [1.0], [2.0], [4.0]])
    model.fields.tables["tags"].embeddings.assign([[9.0], [0.0], [6.0], [-2.0]])
    model.fields.vectors["age"].assign([[3.0]])
    model.bias.assign([-1.0])
    inputs = {
        "country": np.array([4, 1]),  # 1 is unknown, which has a weight
        "age": np.array([20.0, np.nan]),
        "tags": np.array([[2, 0, 3], [0, 0, 0]]),
    }
    expected = [-1 + 4 + 3 * (20 - 40) / 10 + (6 - 2) / 2, -1 + 0.5]
    np.testing.assert_allclose(model(inputs), expected, rtol=1e-6)


def test_it_starts_at_even_odds():
    model = LogisticRegression(Schema(context=Numeric("age")))
    np.testing.assert_array_equal(model({"age": np.array([7.0, -3.0])}), [0.0, 0.0])


def test_bad_arguments():
    message = r"LogisticRegression: l2 must be a finite number of at least 0; received -0.1\."
    with pytest.raises(ValueError, match=message):
        LogisticRegression(tiny_schema(), l2=-0.1)
