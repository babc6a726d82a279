import numpy as np
import pytest

from kerasrec.models import DeepFM
from kerasrec.schema import Categorical, Numeric, Schema
from kerasrec.testing import CHECKS, ModelCase, tiny_schema

USERS, ITEMS = 11 + 2, 17 + 2  # padding and unknown are rows too

CASES = {
    "ids": ModelCase(
        DeepFM,
        num_params=(USERS + ITEMS) * (8 + 1) + (16 + 1) * 12 + (12 + 1),  # v and w of each id
        kwargs={"embedding_dim": 8, "hidden_units": (12,), "embedding_l2": 1e-4},
    ),
    "all kinds of features": ModelCase(
        DeepFM,
        schema=tiny_schema(features=True),
        num_params=(
            (USERS + ITEMS + 6 + 5 + 1 + 2) * (4 + 1)
            + (28 + 1) * 8  # 7 fields
            + (8 + 1)
        ),
        kwargs={"embedding_dim": 4, "hidden_units": (8,)},
    ),
    "a table": ModelCase(
        DeepFM,
        schema=tiny_schema(sides=False),
        num_params=(5 + 9 + 1 + 2 + 3) * (4 + 1) + (20 + 1) * 8 + (8 + 1),
        kwargs={"embedding_dim": 4, "hidden_units": (8,)},
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
    schema = Schema(context=[Categorical("a", 3), Numeric("x")])
    model = DeepFM(schema, embedding_dim=2, hidden_units=(1,))
    model.fields.tables["a"].embeddings.assign([[9, 9, 9], [9, 9, 9], [1, 2, 10]])  # v, v, w
    model.fields.vectors["x"].assign([[2, 1, 30]])
    model.mlp.hidden[0].kernel.assign([[1], [2], [3], [4]])
    model.output_layer.kernel.assign([[7]])
    model.output_layer.bias.assign([100])
    linear = 10 + 0.5 * 30
    pair = 0.5 * (1 * 2 + 2 * 1)
    deep = 7 * (1 * 1 + 2 * 2 + 3 * 0.5 * 2 + 4 * 0.5 * 1)
    score = float(model({"a": np.array([2]), "x": np.array([0.5])})[0])
    assert score == 100 + linear + pair + deep


@pytest.mark.parametrize(
    ("argument", "value"), [("embedding_dim", 0), ("hidden_units", (0,)), ("dropout", 1.0)]
)
def test_bad_arguments(argument, value):
    number = value[-1] if argument == "hidden_units" else value
    with pytest.raises(ValueError, match=f"DeepFM: .*{argument} must be.*{number!r}"):
        DeepFM(tiny_schema(), **{argument: value})
