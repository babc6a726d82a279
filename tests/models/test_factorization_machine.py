import numpy as np
import pytest

from kerasrec.models import FactorizationMachine
from kerasrec.schema import Categorical, Numeric, Schema
from kerasrec.testing import CHECKS, ModelCase, random_inputs, tiny_schema

USERS, ITEMS = 11 + 2, 17 + 2  # padding and unknown are rows too

CASES = {
    "ids": ModelCase(
        FactorizationMachine,
        num_params=(USERS + ITEMS) * (8 + 1) + 1,  # v and w of each id, b
        kwargs={"embedding_dim": 8, "embedding_l2": 1e-4},
    ),
    "all kinds of features": ModelCase(
        FactorizationMachine,
        schema=tiny_schema(features=True),
        num_params=(USERS + ITEMS + 6 + 5 + 1 + 2) * (4 + 1) + 1,
        kwargs={"embedding_dim": 4},
    ),
    "a table": ModelCase(
        FactorizationMachine,
        schema=tiny_schema(sides=False),
        num_params=(5 + 9 + 1 + 2 + 3) * (4 + 1) + 1,
        kwargs={"embedding_dim": 4},
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
    model = FactorizationMachine(schema, embedding_dim=2)
    model.fields.tables["a"].embeddings.assign([[9, 9, 9], [9, 9, 9], [1, 2, 10]])  # v, v, w
    model.fields.tables["b"].embeddings.assign([[9, 9, 9], [9, 9, 9], [3, -1, 20]])
    model.fields.vectors["x"].assign([[2, 1, 30]])
    model.bias.assign([100.0])
    inputs = {"a": np.array([2]), "b": np.array([2]), "x": np.array([0.5])}
    linear = 10 + 20 + 0.5 * 30
    pairs = (1 * 3 - 2 * 1) + 0.5 * (1 * 2 + 2 * 1) + 0.5 * (3 * 2 - 1 * 1)
    assert float(model(inputs)[0]) == 100 + linear + pairs


def test_the_linear_cost_is_that_of_the_sum_over_pairs():
    schema = tiny_schema(features=True)
    model = FactorizationMachine(schema, embedding_dim=4)
    inputs = random_inputs(schema, 5, candidates=3)
    fields = np.asarray(model.fields(inputs))
    v, w = fields[..., :-1], fields[..., -1]
    pairs = sum(
        (v[..., f, :] * v[..., g, :]).sum(axis=-1) for g in range(v.shape[-2]) for f in range(g)
    )
    np.testing.assert_allclose(model(inputs), w.sum(axis=-1) + pairs, atol=1e-6)


@pytest.mark.parametrize(("argument", "value"), [("embedding_dim", 0), ("embedding_l2", -0.1)])
def test_bad_arguments(argument, value):
    with pytest.raises(ValueError, match=f"FactorizationMachine: {argument} must be.*{value!r}"):
        FactorizationMachine(tiny_schema(), **{argument: value})
