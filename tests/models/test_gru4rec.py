import pytest

from kerasrec.models import GRU4Rec
from kerasrec.testing import CHECKS, ModelCase, tiny_schema

ITEMS = 17 + 2  # padding and unknown are rows too


CASES = {
    "gru": ModelCase(
        GRU4Rec,
        schema=tiny_schema(features=True),
        # table; W, U and two biases of three gates; the output layer
        num_params=ITEMS * 7 + 3 * (7 * 8 + 8 * 8 + 2 * 8) + 8 * 7 + 7,
        kwargs={"embedding_dim": 7, "hidden_units": (8,), "dropout": 0.0, "stddev": 0.2},
    ),
    "two lstms": ModelCase(
        GRU4Rec,
        schema=tiny_schema(features=True),
        # table; W, U and bias of four gates, twice; the output layer
        num_params=ITEMS * 7 + 4 * (7 * 8 + 8 * 8 + 8) + 4 * (8 * 5 + 5 * 5 + 5) + 5 * 7 + 7,
        kwargs={
            "embedding_dim": 7,
            "hidden_units": (8, 5),
            "cell": "lstm",
            "dropout": 0.0,
            "stddev": 0.2,
        },
    ),
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=name, marks=pytest.mark.slow if name == "two lstms" else ())
        for name, case in CASES.items()
    ],
)
def test_contract(case, check):
    check(case)


def test_bad_arguments():
    schema = tiny_schema(features=True)
    with pytest.raises(ValueError, match="embedding_dim .* received 0"):
        GRU4Rec(schema, embedding_dim=0)
    with pytest.raises(ValueError, match="hidden_units .* received 2.5"):
        GRU4Rec(schema, hidden_units=(4, 2.5))
    with pytest.raises(ValueError, match=r"one of 'gru', 'lstm'; received 'rnn'"):
        GRU4Rec(schema, cell="rnn")
    with pytest.raises(ValueError, match=r"GRU4Rec: .*IdSequence\('history'"):
        GRU4Rec(tiny_schema())
