import keras
import numpy as np
import pytest

from kerasrec.models import SASRec
from kerasrec.testing import CHECKS, ModelCase, tiny_schema

ITEMS, PLACES = 17 + 2, 4  # padding and unknown are rows too


def size(dim, layers, hidden, heads=1):
    """Table and places; per block two norms, q k v o and b, two dense layers; the last norm."""
    attention = 3 * (dim * dim + dim) + dim * dim + dim + heads * PLACES
    forward = dim * hidden + hidden + hidden * dim + dim
    return ITEMS * dim + PLACES * dim + layers * (2 * 2 * dim + attention + forward) + 2 * dim


CASES = {
    "two blocks": ModelCase(
        SASRec,
        schema=tiny_schema(features=True),
        num_params=size(8, 2, 8),
        kwargs={"embedding_dim": 8, "dropout": 0.0, "stddev": 0.2},
    ),
    "two heads": ModelCase(
        SASRec,
        schema=tiny_schema(features=True),
        num_params=size(8, 1, 16, 2),
        kwargs={
            "embedding_dim": 8,
            "num_layers": 1,
            "num_heads": 2,
            "hidden_units": 16,
            "activation": "gelu",
            "dropout": 0.0,
            "stddev": 0.2,
        },
    ),
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=name, marks=pytest.mark.slow if name == "two heads" else ())
        for name, case in CASES.items()
    ],
)
def test_contract(case, check):
    check(case)


def test_with_closed_blocks_the_score_is_that_of_the_newest_item():
    model = SASRec(tiny_schema(features=True), embedding_dim=4, num_layers=1, dropout=0.0)
    for layer in (model.blocks[0][1].outward, model.blocks[0][4]):
        layer.kernel.assign(np.zeros(layer.kernel.shape))
    model.places.embeddings.assign(np.zeros((PLACES, 4)))
    table = np.random.default_rng(0).normal(size=(ITEMS, 4))
    model.item_vectors.embeddings.assign(table)
    newest = table[7] - table[7].mean()
    wanted = newest / np.sqrt(newest.var()) @ table[5]
    states = model.states(np.array([[9, 7, 0]]))
    found = float(keras.ops.sum(states[0, 1] * table[5].astype("float32")))
    assert found == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("argument", ["embedding_dim", "num_layers", "num_heads", "hidden_units"])
def test_bad_sizes(argument):
    with pytest.raises(ValueError, match=f"{argument} must be an integer .* received 0"):
        SASRec(tiny_schema(features=True), **{argument: 0})


def test_heads_divide_the_width():
    with pytest.raises(ValueError, match="multiple of num_heads=4; received 6"):
        SASRec(tiny_schema(features=True), embedding_dim=6, num_heads=4)


def test_a_schema_without_history():
    with pytest.raises(ValueError, match=r"SASRec: .*\['user_id'\].*Sequence\('history'"):
        SASRec(tiny_schema())
