import keras
import numpy as np
import pytest

from kerasrec.models import SASRec
from kerasrec.testing import CHECKS, ModelCase, tiny_schema
from kerasrec.testing.contract import check_states

ITEMS, PLACES = 17 + 2, 4  # padding and unknown are rows too


def size(dim, layers, hidden, projections=4, biases=0):
    """Table and places; per block two norms, q k v o and b, two dense layers; the last norm."""
    attention = projections * (dim * dim + dim) + biases
    forward = dim * hidden + hidden + hidden * dim + dim
    return ITEMS * dim + PLACES * dim + layers * (2 * 2 * dim + attention + forward) + 2 * dim


CASES = {
    "two blocks": ModelCase(
        SASRec,
        schema=tiny_schema(features=True),
        num_params=size(8, 2, 8, biases=PLACES),
        kwargs={"embedding_dim": 8, "dropout": 0.0, "stddev": 0.2},
    ),
    "two heads": ModelCase(
        SASRec,
        schema=tiny_schema(features=True),
        num_params=size(8, 1, 16),
        kwargs={
            "embedding_dim": 8,
            "num_layers": 1,
            "num_heads": 2,
            "hidden_units": 16,
            "distance_bias": False,
            "dropout": 0.0,
            "stddev": 0.2,
        },
    ),
    "paper": ModelCase(
        SASRec,
        schema=tiny_schema(features=True),
        num_params=size(8, 2, 8, projections=3),
        kwargs={"embedding_dim": 8, "dropout": 0.0, "stddev": 0.2, "paper": True},
    ),
}
# The paper's places count from the newest item, so that states change with what follows.
PAPERS = [check for check in CHECKS if check is not check_states]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(CASES["two blocks"], id="two blocks"),
        pytest.param(CASES["two heads"], id="two heads", marks=pytest.mark.slow),
    ],
)
def test_contract(case, check):
    check(case)


@pytest.mark.slow
@pytest.mark.parametrize("check", PAPERS, ids=lambda check: check.__name__)
def test_contract_of_the_papers_model(check):
    check(CASES["paper"])


def normed(x):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-8)


def program_of_the_paper(model, history):
    """The forward pass of github.com/kang205/SASRec in numpy: padded in front, one head."""
    dim = model.embedding_dim
    padded = np.zeros(PLACES, int)
    padded[PLACES - len(history) :] = history
    mask = (padded > 0)[:, None].astype(float)
    w = {weight.path.split("/", 1)[-1]: weight.numpy().astype(float) for weight in model.weights}
    x = w["item_vectors/embeddings"][padded] * mask * dim**0.5 + w["places/embeddings"]
    x = x * mask
    for block in range(model.num_layers):
        queries = normed(x)
        kernel = np.split(w[f"attention_{block}/inward/kernel"], 3, axis=1)
        bias = np.split(w[f"attention_{block}/inward/bias"], 3)
        q, k, v = (s @ a + b for s, a, b in zip((queries, x, x), kernel, bias, strict=True))
        scores = q @ k.T / dim**0.5
        seen = np.tril(np.ones((PLACES, PLACES), bool)) & (padded > 0)[None, :]
        scores = np.exp(np.where(seen, scores, -(2.0**32)))
        shares = scores / np.maximum(scores.sum(-1, keepdims=True), 1e-300)
        x = normed(shares @ v + queries)
        inner = np.maximum(x @ w[f"inner_{block}/kernel"] + w[f"inner_{block}/bias"], 0)
        x = (inner @ w[f"outer_{block}/kernel"] + w[f"outer_{block}/bias"] + x) * mask
    return normed(x)[PLACES - len(history) :]


@pytest.mark.parametrize("history", [[5], [9, 7], [4, 4, 18, 2]])
def test_the_papers_model_is_that_of_the_papers_program(history):
    model = CASES["paper"].new()
    rng = np.random.default_rng(1)
    for weight in model.weights:
        if not weight.path.endswith(("gamma", "beta")):
            weight.assign(rng.normal(0, 0.5, weight.shape))
    padded = np.pad(history, (0, PLACES - len(history)))[None].astype("int32")
    states = model.states(padded)[0, : len(history)]
    np.testing.assert_allclose(states, program_of_the_paper(model, history), atol=2e-4)
    # In a packed row, beside another sequence and before padding, the same.
    row = np.array([[3, 8, *history, 0]], "int32")
    position = np.array([[0, 1, *range(len(history)), 0]], "int32")
    packed = model.states(row, position)[0, 2 : 2 + len(history)]
    np.testing.assert_allclose(packed, states, atol=1e-5)


def test_later_items_do_not_change_the_papers_states():
    model = CASES["paper"].new()
    one, other = np.array([[5, 6, 7, 8]]), np.array([[5, 6, 9, 3]])
    np.testing.assert_allclose(model.states(one)[:, :2], model.states(other)[:, :2], atol=1e-6)
    cut = np.array([[5, 6, 0, 0]])
    np.testing.assert_allclose(model.states(cut)[:, :2], model.states(cut[:, :2]), atol=1e-6)


def test_the_distance_bias_is_on_but_in_the_papers_model():
    for arguments, on in [
        ({}, True),
        ({"distance_bias": False}, False),
        ({"paper": True}, False),
        ({"paper": True, "distance_bias": True}, True),
    ]:
        model = SASRec(tiny_schema(features=True), embedding_dim=4, num_layers=1, **arguments)
        assert any(w.name == "distance_bias" for w in model.weights) == on, arguments


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
    with pytest.raises(ValueError, match=r"SASRec: .*\['user_id'\].*IdSequence\('history'"):
        SASRec(tiny_schema())
