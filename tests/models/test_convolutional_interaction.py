import numpy as np
import pytest

from kerasrec.models import ConvolutionalInteraction
from kerasrec.schema import Categorical, Numeric, Schema
from kerasrec.testing import CHECKS, ModelCase, tiny_schema

USERS, ITEMS = 11 + 2, 17 + 2  # padding and unknown are rows too

CASES = {
    "ids": ModelCase(
        ConvolutionalInteraction,
        num_params=(
            (USERS + ITEMS) * (4 + 1)
            + (2 * 2 * 1 + 1) * 12 + (2 * 2 * 12 + 1) * 12  # 4 -> 2 -> 1, of one pair
            + (12 + 1) * 8 + (8 + 1)
        ),
        kwargs={"embedding_dim": 4, "filters": 12, "hidden_units": (8,)},
    ),
    "all kinds of features": ModelCase(
        ConvolutionalInteraction,
        schema=tiny_schema(features=True),
        num_params=(
            (USERS + ITEMS + 6 + 5 + 1 + 2) * (3 + 1)
            + (3 * 3 * 21 + 1) * 8  # 3 -> 1, of 21 pairs
            + (8 + 1)
        ),
        kwargs={
            "embedding_dim": 3,
            "filters": 8,
            "kernel_size": 3,
            "hidden_units": (),
            "embedding_l2": 1e-4,
        },
    ),
    "a table": ModelCase(
        ConvolutionalInteraction,
        schema=tiny_schema(sides=False),
        num_params=(
            (5 + 9 + 1 + 2 + 3) * (4 + 1)
            + (2 * 2 * 10 + 1) * 8 + (2 * 2 * 8 + 1) * 8
            + (8 + 1) * 8 + (8 + 1)
        ),
        kwargs={"embedding_dim": 4, "filters": 8, "hidden_units": (8,)},
    ),
}  # fmt: skip


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
    model = ConvolutionalInteraction(schema, embedding_dim=2, filters=1, hidden_units=())
    model.fields.tables["a"].embeddings.assign([[9, 9, 9], [9, 9, 9], [1, 2, 10]])  # v, v, w
    model.fields.vectors["x"].assign([[2, 4, 30]])
    model.convolutions[0].kernel.assign(np.reshape([1.0, 10.0, 100.0, 1000.0], (2, 2, 1, 1)))
    model.convolutions[0].bias.assign([-5.0])
    model.output_layer.kernel.assign([[3.0]])
    model.output_layer.bias.assign([0.25])
    x = 0.5
    outer = 1 * 2 * x * 1 + 1 * 4 * x * 10 + 2 * 2 * x * 100 + 2 * 4 * x * 1000
    score = float(model({"a": np.array([2]), "x": np.array([x])})[0])
    assert score == 10 + 30 * x + 3 * (outer - 5) + 0.25


def test_one_feature_has_no_pairs():
    with pytest.raises(ValueError, match=r"two features or more.*\['x'\].*use FeatureMLP"):
        ConvolutionalInteraction(Schema(context=Numeric("x")))


@pytest.mark.parametrize(("argument", "value"), [("filters", 0), ("kernel_size", 1)])
def test_bad_arguments(argument, value):
    message = f"ConvolutionalInteraction: {argument} must be.*{value!r}"
    with pytest.raises(ValueError, match=message):
        ConvolutionalInteraction(tiny_schema(), **{argument: value})
