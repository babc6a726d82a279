import keras_rs
import numpy as np
import pytest

from kerasrec.models import DLRM
from kerasrec.schema import Categorical, Numeric, Schema
from kerasrec.testing import CHECKS, ModelCase, random_inputs, tiny_schema

USERS, ITEMS = 11 + 2, 17 + 2  # padding and unknown are rows too

CASES = {
    "ids": ModelCase(
        DLRM,
        num_params=(USERS + ITEMS) * 8 + (1 + 1) * 12 + (12 + 1),  # one dot product
        kwargs={"embedding_dim": 8, "hidden_units": (12,)},
    ),
    "all kinds of features": ModelCase(
        DLRM,
        schema=tiny_schema(features=True),
        num_params=(
            (USERS + ITEMS + 6 + 5) * 4
            + (1 + 2 + 1) * 7 + (7 + 1) * 4  # age and picture -> 7 -> n
            + (4 + 6 * 5 // 2 + 1) * 8  # n, and the pairs of n and 5 features
            + (8 + 1)
        ),
        kwargs={"embedding_dim": 4, "bottom_units": (7,), "hidden_units": (8,)},
    ),
    "a table": ModelCase(
        DLRM,
        schema=tiny_schema(sides=False),
        num_params=(5 + 9) * 4 + (1 + 2 + 3 + 1) * 4 + (4 + 3 + 1) * 16 + (16 + 1),
        kwargs={
            "embedding_dim": 4,
            "bottom_units": (),
            "hidden_units": (16,),
            "embedding_l2": 1e-4,
        },
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
    schema = Schema(context=[Categorical("a", 3), Numeric("x"), Categorical("b", 3)])
    model = DLRM(schema, embedding_dim=2, bottom_units=(), hidden_units=())
    model.fields.tables["a"].embeddings.assign([[9, 9], [9, 9], [1, 2]])
    model.fields.tables["b"].embeddings.assign([[9, 9], [9, 9], [3, -1]])
    model.bottom.hidden[0].kernel.assign([[4, 6]])
    model.bottom.hidden[0].bias.assign([1, -100])
    model.output_layer.kernel.assign([[1], [10], [100], [1000], [10000]])
    # n = relu(2 + 1, 3 - 100) = (3, 0); then n, n a, n b, a b
    expected = 1 * 3 + 10 * 0 + 100 * (3 * 1) + 1000 * (3 * 3) + 10000 * (1 * 3 - 2 * 1)
    inputs = {"a": np.array([2]), "b": np.array([2]), "x": np.array([0.5])}
    assert float(model(inputs)[0]) == expected


@pytest.mark.parametrize("feature", [Categorical("a", 5), Numeric("x")])
def test_one_feature_alone_enters_as_its_vector(feature):
    schema = Schema(context=feature)
    model = DLRM(schema, embedding_dim=4, hidden_units=(8,))
    assert model.mlp.hidden[0].kernel.shape == (4, 8)
    assert model(random_inputs(schema, 3)).shape == (3,)


def test_products_are_those_of_keras_rs():
    schema = tiny_schema(features=True)
    model = DLRM(schema, embedding_dim=4, bottom_units=(), hidden_units=())
    inputs = random_inputs(schema, 5)
    numbers = model.numbers(inputs, names=["age", "picture"])
    n = model.bottom(numbers)
    vectors = [n, *np.moveaxis(np.asarray(model.fields(inputs)), 1, 0)]
    products = np.asarray(keras_rs.layers.DotInteraction()(vectors))
    # The stock layer goes through the lower triangle, row by row.
    lower = list(zip(*np.tril_indices(6, -1), strict=True))
    upper = [lower.index((g, f)) for f, g in zip(*np.triu_indices(6, 1), strict=True)]
    x = np.concatenate([n, products[:, upper]], axis=-1)
    np.testing.assert_allclose(model(inputs), model.output_layer(x)[:, 0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("argument", "value"), [("bottom_units", (0,)), ("hidden_units", (0,)), ("embedding_l2", -1.0)]
)
def test_bad_arguments(argument, value):
    number = value if argument == "embedding_l2" else value[-1]
    with pytest.raises(ValueError, match=f"DLRM: .*{argument} must be.*{number!r}"):
        DLRM(tiny_schema(), **{argument: value})
