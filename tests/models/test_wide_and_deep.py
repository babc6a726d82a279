import numpy as np
import pytest

from kerasrec.models import WideAndDeep
from kerasrec.schema import Categorical, Numeric, Schema
from kerasrec.testing import CHECKS, ModelCase, tiny_schema

USERS, ITEMS = 11 + 2, 17 + 2  # padding and unknown are rows too

CASES = {
    "ids": ModelCase(
        WideAndDeep,
        num_params=(USERS + ITEMS) * (8 + 1) + (16 + 1) * 12 + (12 + 1),  # v and w of each id
        kwargs={"embedding_dim": 8, "hidden_units": (12,), "embedding_l2": 1e-4},
    ),
    "all kinds of features": ModelCase(
        WideAndDeep,
        schema=tiny_schema(features=True),
        num_params=(
            (USERS + ITEMS + 6 + 5 + 1 + 2) * (4 + 1)
            + (28 + 1) * 8  # 7 fields
            + (8 + 1)
        ),
        kwargs={"embedding_dim": 4, "hidden_units": (8,)},
    ),
    "a table": ModelCase(
        WideAndDeep,
        schema=tiny_schema(sides=False),
        num_params=(5 + 9 + 1 + 2 + 3) * (4 + 1) + (20 + 1) * 8 + (8 + 1),
        kwargs={"embedding_dim": 4, "hidden_units": (8,)},
    ),
    "a cross of both sides": ModelCase(
        WideAndDeep,
        num_params=(USERS + ITEMS) * (4 + 1) + (8 + 1) * 8 + (8 + 1) + (64 + 2),
        kwargs={
            "embedding_dim": 4,
            "hidden_units": (8,),
            "crosses": [("user_id", "item_id")],
            "cross_rows": 100,
        },
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
    model = WideAndDeep(schema, embedding_dim=2, hidden_units=(1,))
    model.fields.tables["a"].embeddings.assign([[9, 9, 9], [9, 9, 9], [1, 2, 10]])  # v, v, w
    model.fields.vectors["x"].assign([[2, 1, 30]])
    model.mlp.hidden[0].kernel.assign([[1], [2], [3], [4]])
    model.output_layer.kernel.assign([[7]])
    model.output_layer.bias.assign([100])
    linear = 10 + 0.5 * 30
    deep = 7 * (1 * 1 + 2 * 2 + 3 * 0.5 * 2 + 4 * 0.5 * 1)
    score = float(model({"a": np.array([2]), "x": np.array([0.5])})[0])
    assert score == 100 + linear + deep


def test_a_cross_adds_the_weight_of_the_pair():
    schema = Schema(context=[Categorical("a", 4), Categorical("b", 5)])
    model = WideAndDeep(schema, crosses=[["a", "b"]])
    inputs = {"a": np.array([2, 3, 3, 1, 3, 0]), "b": np.array([4, 4, 2, 4, 1, 3])}
    before = model.predict(inputs, verbose=0)
    model.crossed[0].table.embeddings.assign(np.arange(20)[:, None])
    gains = model.predict(inputs, verbose=0) - before
    # 5 a + b; nothing for an unknown or missing id.
    np.testing.assert_allclose(gains, [14, 19, 17, 0, 0, 0], rtol=1e-5, atol=1e-5)


def test_a_cross_with_candidates_is_that_of_each_pair():
    schema = Schema(Categorical("user", 5), Categorical("item", 6), Categorical("hour", 4))
    model = WideAndDeep(schema, crosses=[["user", "item"], ["user", "hour", "item"]])
    rng = np.random.default_rng(0)
    for layer in model.crossed:
        layer.table.embeddings.assign(rng.normal(size=layer.table.embeddings.shape))
    user, hour, item = (rng.integers(0, n, (3, 4) if n == 6 else 3) for n in (5, 4, 6))
    scores = np.asarray(model({"user": user, "hour": hour, "item": item}))
    pairs = {"user": user.repeat(4), "hour": hour.repeat(4), "item": item.ravel()}
    np.testing.assert_allclose(scores.ravel(), model(pairs), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "crosses", ["ab", ["ab"], [["user_id"]], [["user_id", "price"]], [["user_id", "user_id"]], [[]]]
)
def test_bad_crosses(crosses):
    with pytest.raises(ValueError, match=r"WideAndDeep: .*crosses must .*two or more"):
        WideAndDeep(tiny_schema(), crosses=crosses)


@pytest.mark.parametrize(
    ("argument", "value"),
    [("cross_rows", 1), ("embedding_dim", 0), ("hidden_units", (0,)), ("dropout", 1.0)],
)
def test_bad_arguments(argument, value):
    number = value[-1] if argument == "hidden_units" else value
    with pytest.raises(ValueError, match=f"WideAndDeep: .*{argument} must be.*{number!r}"):
        WideAndDeep(tiny_schema(), **{argument: value})
