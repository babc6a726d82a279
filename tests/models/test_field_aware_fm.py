import numpy as np
import pytest

from kerasrec.models import FactorizationMachine, FieldAwareFM
from kerasrec.schema import Categorical, Numeric, Schema
from kerasrec.testing import CHECKS, ModelCase, random_inputs, tiny_schema

USERS, ITEMS = 11 + 2, 17 + 2  # padding and unknown are rows too

CASES = {
    "ids": ModelCase(
        FieldAwareFM,
        num_params=(USERS + ITEMS) * (2 * 4 + 1) + 1,  # vectors for two fields, w, b
        kwargs={"embedding_dim": 4, "embedding_l2": 1e-4},
    ),
    "all kinds of features": ModelCase(
        FieldAwareFM,
        schema=tiny_schema(features=True),
        num_params=(USERS + ITEMS + 6 + 5 + 1 + 2) * (7 * 2 + 1) + 1,
        kwargs={"embedding_dim": 2},
    ),
    "a table": ModelCase(
        FieldAwareFM,
        schema=tiny_schema(sides=False),
        num_params=(5 + 9 + 1 + 2 + 3) * (5 * 2 + 1) + 1,
        kwargs={"embedding_dim": 2},
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
    schema = Schema(context=[Categorical("a", 3), Categorical("b", 3), Numeric("x")])
    model = FieldAwareFM(schema, embedding_dim=1)
    # Vectors for a, b and x, and w. Those of a feature for itself are not read.
    model.fields.tables["a"].embeddings.assign([[9] * 4, [9] * 4, [99, 1, 2, 10]])
    model.fields.tables["b"].embeddings.assign([[9] * 4, [9] * 4, [3, 99, 4, 20]])
    model.fields.vectors["x"].assign([[5, 6, 99, 30]])
    model.bias.assign([100.0])
    inputs = {"a": np.array([2]), "b": np.array([2]), "x": np.array([0.5])}
    pairs = 1 * 3 + 2 * 0.5 * 5 + 4 * 0.5 * 6
    assert float(model(inputs)[0]) == 100 + 10 + 20 + 0.5 * 30 + pairs


def test_with_the_same_vectors_for_all_it_is_a_factorization_machine():
    schema = tiny_schema(features=True)
    plain = FactorizationMachine(schema, embedding_dim=2)
    aware = FieldAwareFM(schema, embedding_dim=2)
    for weight, other in zip(aware.weights[1:], plain.weights[1:], strict=True):
        rows = other.numpy()
        weight.assign(np.concatenate([np.tile(rows[:, :2], 7), rows[:, 2:]], axis=1))
    inputs = random_inputs(schema, 5, candidates=3)
    np.testing.assert_allclose(aware(inputs), plain(inputs), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(("argument", "value"), [("embedding_dim", 0), ("embedding_l2", -0.1)])
def test_bad_arguments(argument, value):
    with pytest.raises(ValueError, match=f"FieldAwareFM: {argument} must be.*{value!r}"):
        FieldAwareFM(tiny_schema(), **{argument: value})
