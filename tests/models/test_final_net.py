import numpy as np
import pytest

from kerasrec.models import FinalNet
from kerasrec.schema import Numeric, Schema
from kerasrec.testing import CHECKS, ModelCase, random_inputs, tiny_schema

USERS, ITEMS = 11 + 2, 17 + 2  # padding and unknown are rows too

CASES = {
    "ids": ModelCase(
        FinalNet,
        num_params=(
            (USERS + ITEMS) * 8
            + (16 + 1) * 2 * 12 + (12 + 1)  # first block
            + (16 + 1) * 2 * 10 + (10 + 1)  # second block
        ),
        kwargs={"embedding_dim": 8, "hidden_units": (12,), "second_hidden_units": (10,)},
    ),
    "all kinds of features": ModelCase(
        FinalNet,
        schema=tiny_schema(features=True),
        num_params=(
            (USERS + ITEMS + 6 + 5 + 1 + 2) * 4
            + (7 + 1) * 7  # gates of 7 fields
            + (2 * 28 + 1) * 2 * 8 + (8 + 1)
        ),
        kwargs={"embedding_dim": 4, "hidden_units": (8,), "field_gate": True},
    ),
    "a table": ModelCase(
        FinalNet,
        schema=tiny_schema(sides=False),
        num_params=(
            (5 + 9 + 1 + 2 + 3) * 4
            + (20 + 1) * 2 * 8 + (8 + 1) * 2 * 4 + (4 + 1)
        ),
        kwargs={"embedding_dim": 4, "hidden_units": (8, 4), "embedding_l2": 1e-4},
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


def by_hand(**options):
    """A model of one number x, with v = 2, and the logits 3 (a + a c) + 1 and 5 (a + a c)."""
    model = FinalNet(
        Schema(context=Numeric("x")),
        embedding_dim=1,
        hidden_units=(1,),
        second_hidden_units=(1,),
        **options,
    )
    model.fields.vectors["x"].assign([[2.0]])
    for block, kernel in zip(model.blocks, ([[0.5, 0.25]], [[-0.5, 1.0]]), strict=True):
        block.hidden[0].kernel.assign(kernel)
    for output, kernel, bias in zip(model.outputs_of_blocks, (3.0, 5.0), (1.0, -1.0), strict=True):
        output.kernel.assign([[kernel]])
        output.bias.assign([bias])
    return model


def test_score_is_the_equation():
    # x v = 6: a = 3 and c = 1.5 in the first block, a = -3 and c = 6 in the second.
    first, second = 3 * (3 + 3 * 1.5) + 1, 5 * max(-3 - 3 * 6, 0) - 1
    assert float(by_hand()({"x": np.array([3.0])})[0]) == (first + second) / 2


def test_blocks_learn_from_their_mean_in_training_alone():
    model = by_hand(distillation=0.5)
    inputs = {"x": np.array([0.1])}
    logit = float(model(inputs)[0])
    assert not model.losses
    model(inputs, training=True)
    a = 0.1
    first, second = 3 * (a + a * 0.05) + 1, -1.0
    assert logit == pytest.approx((first + second) / 2)
    goal = 1 / (1 + np.exp(-logit))
    crossentropy = sum(
        -goal * np.log(1 / (1 + np.exp(-one))) - (1 - goal) * np.log(1 / (1 + np.exp(one)))
        for one in (first, second)
    )
    assert float(model.losses[0]) == pytest.approx(0.5 * crossentropy, rel=1e-5)
    for other in (by_hand(distillation=0.0), FinalNet(Schema(context=Numeric("x")))):
        other(inputs, training=True)
        assert not other.losses


def test_gates_start_open():
    schema = tiny_schema(features=True)
    model = FinalNet(schema, embedding_dim=4, hidden_units=(8,), field_gate=True)
    inputs = random_inputs(schema, 5, candidates=3)
    fields = np.asarray(model.fields(inputs)).reshape(5, 3, 28)
    hidden = model.blocks[0](np.concatenate([fields, fields], axis=-1))
    expected = model.outputs_of_blocks[0](hidden)[..., 0]
    np.testing.assert_allclose(model(inputs), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("argument", "value"),
    [("second_hidden_units", (0,)), ("distillation", -1.0), ("field_gate", "yes")],
)
def test_bad_arguments(argument, value):
    number = value[-1] if argument == "second_hidden_units" else value
    with pytest.raises(ValueError, match=f"FinalNet: .*{argument} must be.*{number!r}"):
        FinalNet(tiny_schema(), **{argument: value})
