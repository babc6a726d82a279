import keras_rs
import numpy as np
import pytest

from kerasrec.models import DCNv2
from kerasrec.schema import Categorical, Numeric, Schema
from kerasrec.testing import CHECKS, ModelCase, random_inputs, tiny_schema

USERS, ITEMS = 11 + 2, 17 + 2  # padding and unknown are rows too

CASES = {
    "ids": ModelCase(
        DCNv2,
        num_params=(
            (USERS + ITEMS) * 4
            + 2 * (8 * 8 + 8)  # crosses
            + (8 + 1) * 12  # hidden layer
            + (8 + 12 + 1)
        ),
        kwargs={"embedding_dim": 4, "num_layers": 2, "hidden_units": (12,)},
    ),
    "all kinds of features": ModelCase(
        DCNv2,
        schema=tiny_schema(features=True),
        num_params=(
            (USERS + ITEMS + 6 + 5) * 4
            + (23 * 3 + 3 * 23 + 23)  # 5 features of ids, and 3 numbers
            + (23 + 1) * 8
            + (23 + 8 + 1)
        ),
        kwargs={"embedding_dim": 4, "num_layers": 1, "rank": 3, "hidden_units": (8,)},
    ),
    "experts": ModelCase(
        DCNv2,
        schema=tiny_schema(sides=False),
        num_params=(
            (5 + 9) * 4
            + 2 * (14 * 6 + 3 * 2 * 2 + 14 * 3 + (6 * 14 + 14))  # V, C, gates, U and b
            + (14 + 1) * 8
            + (14 + 8 + 1)
        ),
        kwargs={
            "embedding_dim": 4,
            "num_layers": 2,
            "rank": 2,
            "experts": 3,
            "hidden_units": (8,),
        },
    ),
    "a table": ModelCase(
        DCNv2,
        schema=tiny_schema(sides=False),
        num_params=(5 + 9) * 4 + 2 * (14 * 14 + 14) + (14 + 1),
        kwargs={
            "embedding_dim": 4,
            "num_layers": 2,
            "hidden_units": (),
            "embedding_l2": 1e-4,
        },
    ),
}

MARKS = {"ids": pytest.mark.nightly, "experts": pytest.mark.slow}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
# The other cases cover ids as well.
@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=MARKS.get(name, ()), id=name) for name, case in CASES.items()],
)
def test_contract(case, check):
    check(case)


def test_score_is_the_equation():
    schema = Schema(context=[Numeric("a"), Numeric("b")])
    model = DCNv2(schema, num_layers=2, hidden_units=(1,))
    first, second = model.crosses
    first.kernel.assign([[1.0, 0.0], [1.0, -1.0]])
    first.bias.assign([0.0, 1.0])
    second.kernel.assign([[0.0, 2.0], [1.0, 0.0]])
    model.mlp.hidden[0].kernel.assign([[1.0], [1.0]])
    model.output_layer.kernel.assign([[1.0], [10.0], [100.0]])
    model.output_layer.bias.assign([0.5])
    a, b = 2.0, 3.0
    c, d = a * (a + b) + a, b * (-b + 1) + b
    c, d = a * d + c, b * 2 * c + d
    assert float(model({"a": np.array([a]), "b": np.array([b])})[0]) == (
        c + 10 * d + 100 * (a + b) + 0.5
    )


def test_experts_are_the_equation_of_the_paper():
    schema = tiny_schema(sides=False)
    model = DCNv2(schema, embedding_dim=2, num_layers=2, rank=3, experts=2, hidden_units=())
    rng = np.random.default_rng(0)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(scale=0.7, size=weight.shape))
    inputs = random_inputs(schema, 5)
    names = [feature.name for feature in schema.features]
    first = crossed = model.features(inputs, names=names).numpy().astype("float64")
    layers = zip(model.narrow_maps, model.inner_maps, model.gates, model.crosses, strict=True)
    for narrow, inner, gate, cross in layers:
        v, c, g = narrow.kernel.numpy(), inner.numpy(), np.exp(crossed @ gate.kernel.numpy())
        u, b = cross.kernel.numpy(), cross.bias.numpy()
        total = crossed
        for e, own in enumerate((slice(0, 3), slice(3, 6))):
            x = np.tanh(np.tanh(crossed @ v[:, own]) @ c[e]) @ u[own]
            total = total + g[:, e : e + 1] / g.sum(axis=1, keepdims=True) * (first * (x + b))
        crossed = total
    output = model.output_layer
    expected = (crossed @ output.kernel.numpy() + output.bias.numpy())[:, 0]
    np.testing.assert_allclose(model(inputs), expected, rtol=1e-4, atol=1e-5)


def test_experts_without_a_rank_are_refused():
    with pytest.raises(ValueError, match="received experts=4 and rank=None. Pass rank="):
        DCNv2(tiny_schema(), experts=4)


@pytest.mark.parametrize("rank", [None, 2])
def test_crosses_are_those_of_keras_rs(rank):
    schema = tiny_schema(features=True)
    model = DCNv2(schema, embedding_dim=4, num_layers=1, rank=rank, hidden_units=())
    stock = keras_rs.layers.FeatureCross(rank)
    x = np.random.default_rng(0).normal(size=(5, 23)).astype("float32")
    stock(x)
    stock.set_weights([w.numpy() for w in (*model.narrow_maps, *model.crosses) for w in w.weights])
    inputs = random_inputs(schema, 5)
    names = [feature.name for feature in schema.features]
    x = model.features(inputs, names=names)
    expected = model.output_layer(stock(x))[:, 0]
    np.testing.assert_allclose(model(inputs), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("argument", "value"),
    [("num_layers", 0), ("rank", 0), ("experts", 0), ("hidden_units", (8, 0)), ("dropout", -0.1)],
)
def test_bad_arguments(argument, value):
    number = value[-1] if argument == "hidden_units" else value
    with pytest.raises(ValueError, match=f"DCNv2: .*{argument} must be.*{number!r}"):
        DCNv2(Schema(context=Categorical("country", 5)), **{argument: value})
