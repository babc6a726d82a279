import numpy as np
import pytest

from kerasrec.models import AutoInt
from kerasrec.schema import Categorical, Numeric, Schema
from kerasrec.testing import CHECKS, ModelCase, tiny_schema

USERS, ITEMS = 11 + 2, 17 + 2  # padding and unknown are rows too

CASES = {
    "ids": ModelCase(
        AutoInt,
        num_params=(
            (USERS + ITEMS) * 8
            + 2 * (4 * 8 * 8)  # Q, K, V, R
            + (16 + 1) * 12
            + (16 + 12 + 1)
        ),
        kwargs={"embedding_dim": 8, "num_layers": 2, "num_heads": 2, "hidden_units": (12,)},
    ),
    "all kinds of features": ModelCase(
        AutoInt,
        schema=tiny_schema(features=True),
        num_params=(USERS + ITEMS + 6 + 5 + 1 + 2) * 4 + 4 * 4 * 4 + (28 + 1) * 8 + (28 + 8 + 1),
        kwargs={
            "embedding_dim": 4,
            "num_layers": 1,
            "num_heads": 1,
            "hidden_units": (8,),
            "embedding_l2": 1e-4,
        },
    ),
    "a table": ModelCase(
        AutoInt,
        schema=tiny_schema(sides=False),
        num_params=(5 + 9 + 1 + 2 + 3) * 4 + 4 * 4 * 4 + (20 + 1),
        kwargs={"embedding_dim": 4, "num_layers": 1, "hidden_units": ()},
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
    schema = Schema(context=[Numeric("a"), Numeric("b")])
    model = AutoInt(schema, embedding_dim=1, num_layers=1, num_heads=1, hidden_units=())
    for name in ("a", "b"):
        model.fields.vectors[name].assign([[1]])
    model.projections[0].kernel.assign([[2, 3, 5, 7]])  # Q, K, V, R
    model.output_layer.kernel.assign([[1], [10]])
    model.output_layer.bias.assign([0.5])
    a, b = 0.3, 0.1
    of_a, of_b = (
        np.exp(6 * one * a) / (np.exp(6 * one * a) + np.exp(6 * one * b)) for one in (a, b)
    )
    attended = [5 * (share * a + (1 - share) * b) + 7 * x for share, x in ((of_a, a), (of_b, b))]
    expected = max(attended[0], 0) + 10 * max(attended[1], 0) + 0.5
    assert attended[1] > 0 and float(
        model({"a": np.array([a]), "b": np.array([b])})[0]
    ) == pytest.approx(expected)


def test_a_field_alone_attends_to_itself():
    model = AutoInt(Schema(context=Categorical("a", 5)), embedding_dim=4)
    assert model({"a": np.array([2, 3])}).shape == (2,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_layers": 0}, "num_layers must be an integer of at least 1; received 0"),
        ({"num_heads": 3}, "received num_heads=3 and embedding_dim=16. Change one of them"),
        ({"num_heads": 0}, "num_heads must be an integer of at least 1; received 0"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=f"AutoInt: .*{message}"):
        AutoInt(tiny_schema(), **options)
