import numpy as np
import pytest

from kerasrec.models import FinalMLP
from kerasrec.schema import Numeric, Schema
from kerasrec.testing import CHECKS, ModelCase, random_inputs, tiny_schema

USERS, ITEMS = 11 + 2, 17 + 2  # padding and unknown are rows too

CASES = {
    "ids": ModelCase(
        FinalMLP,
        num_params=(
            (USERS + ITEMS) * 8
            + (16 + 1) * 12  # first stream
            + (16 + 1) * 10  # second stream
            + 2 * (6 * 5)  # heads
            + (12 + 10 + 1)
        ),
        kwargs={
            "embedding_dim": 8,
            "hidden_units": (12,),
            "second_hidden_units": (10,),
            "num_heads": 2,
        },
    ),
    "all kinds of features": ModelCase(
        FinalMLP,
        schema=tiny_schema(features=True),
        num_params=(
            (USERS + ITEMS + 6 + 5 + 1 + 2) * 4
            + (28 + 1) * 8  # 7 fields
            + (28 + 1) * 8
            + (16 + 1) * 7 + (7 + 1) * 28  # gate of user, age, device, history
            + (12 + 1) * 7 + (7 + 1) * 28  # gate of item, genres, picture
            + 8 * 8
            + (8 + 8 + 1)
        ),
        kwargs={
            "embedding_dim": 4,
            "hidden_units": (8,),
            "second_hidden_units": (8,),
            "gate_units": (7,),
        },
    ),
    "a table": ModelCase(
        FinalMLP,
        schema=tiny_schema(sides=False),
        num_params=(
            (5 + 9 + 1 + 2 + 3) * 4
            + (20 + 1) * 8  # 5 fields
            + (20 + 1) * 8
            + (20 + 1) * 20  # gate of all fields
            + 4 + (4 + 1) * 20  # gate of a trained vector
            + 8 * 8
            + (8 + 8 + 1)
        ),
        kwargs={
            "embedding_dim": 4,
            "hidden_units": (8,),
            "second_hidden_units": (8,),
            "gate_units": (),
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
    schema = Schema(context=Numeric("x"))
    model = FinalMLP(
        schema, embedding_dim=1, hidden_units=(2,), second_hidden_units=(2,), num_heads=2
    )
    model.fields.vectors["x"].assign([[2.0]])
    model.streams[0].hidden[0].kernel.assign([[1.0, 2.0]])
    model.streams[1].hidden[0].kernel.assign([[3.0, 4.0]])
    model.output_layer.kernel.assign([[1.0], [1.0], [10.0], [10.0]])
    model.output_layer.bias.assign([0.5])
    model.bilinear.assign([[[5.0]], [[7.0]]])
    # h_1 = (6, 12) and h_2 = (18, 24), of which each head reads one number
    linear, fused = 6 + 12 + 10 * (18 + 24), 6 * 5 * 18 + 12 * 7 * 24
    assert float(model({"x": np.array([3.0])})[0]) == linear + 0.5 + fused


def test_gates_open_at_a_sigmoid_of_zero():
    schema = tiny_schema(sides=False)
    sizes = {"embedding_dim": 4, "hidden_units": (8,), "second_hidden_units": (8,)}
    plain, gated = FinalMLP(schema, **sizes), FinalMLP(schema, **sizes, gate_units=())
    weights = {weight.path.partition("/")[2]: weight for weight in plain.weights}
    for weight in gated.weights:
        name = weight.path.partition("/")[2]
        zeros = name.startswith("gate")
        weight.assign(np.zeros(weight.shape) if zeros else weights.get(name, weight))
    inputs = random_inputs(schema, 5)
    np.testing.assert_allclose(gated(inputs), plain(inputs), rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_heads": 3}, r"num_heads=3 divides; received hidden_units=\(128, 64\)"),
        ({"second_hidden_units": ()}, r"needs a layer.*second_hidden_units=\(\)"),
        ({"second_hidden_units": (0,)}, "each of second_hidden_units must be an integer"),
        ({"gate_units": (0,)}, "each of gate_units must be an integer"),
        ({"num_heads": 0}, "num_heads must be an integer of at least 1; received 0"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=f"FinalMLP: .*{message}"):
        FinalMLP(tiny_schema(), **options)
