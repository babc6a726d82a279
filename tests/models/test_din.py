import dataclasses

import numpy as np
import pytest

from kerasrec.evaluation.ranking.item_parts import ItemParts
from kerasrec.models import DIN
from kerasrec.schema import Categorical, IdSequence, Schema
from kerasrec.testing import CHECKS, ModelCase, random_inputs, tiny_schema
from kerasrec.testing.assertions import shake

USERS, ITEMS = 11 + 2, 17 + 2  # padding and unknown are rows too
HISTORY = IdSequence("history", of="item_id", max_length=4)
PLAIN = dataclasses.replace(tiny_schema(), context=[HISTORY])
FULL = tiny_schema(features=True)

CASES = {
    "attention": ModelCase(
        DIN,
        schema=PLAIN,
        num_params=(
            (USERS + ITEMS) * 8
            + (32 + 1) * 6 + (6 + 1) * 5 + (5 + 1)  # weights
            + (3 * 8 + 1) * 12  # user, item and interest -> hidden
            + (12 + 1)
        ),
        kwargs={"embedding_dim": 8, "hidden_units": (12,), "attention_units": (6, 5)},
    ),
    "all kinds of features, softmax": ModelCase(
        DIN,
        schema=FULL,
        num_params=(
            (USERS + ITEMS + 6 + 5) * 8
            + (32 + 1) * 7 + 7  # weights, which a bias would not change
            + (8 + 1 + 8 + 8 + 8 + 2 + 8 + 1) * 16  # user age device item genres picture interest
            + (16 + 1)
        ),
        kwargs={
            "embedding_dim": 8,
            "hidden_units": (16,),
            "attention_units": (7,),
            "interest": "softmax",
            "embedding_l2": 1e-4,
        },
    ),
    "transformer": ModelCase(
        DIN,
        schema=PLAIN,
        num_params=(
            (USERS + ITEMS) * 8
            + 5 * 8  # positions
            + 3 * 8 * 8 + 3 * (8 * 8 + 8)  # q, k, v; outward, W_1, W_2
            + 2 * 16  # norms
            + (3 * 8 + 1) * 12
            + (12 + 1)
        ),
        kwargs={
            "embedding_dim": 8,
            "hidden_units": (12,),
            "interest": "transformer",
            "num_heads": 2,
        },
    ),
    "features of the history": ModelCase(
        DIN,
        schema=FULL,
        num_params=(
            (USERS + ITEMS + 6 + 5) * 8
            + ITEMS * (3 + 2)  # genres and picture of all items
            + (4 * 18 + 1) * 7 + (7 + 1)
            + (8 + 1 + 8 + 8 + 8 + 2 + 18) * 16  # user age device item genres picture interest
            + 16 + (16 + 1)
        ),
        kwargs={
            "embedding_dim": 8,
            "hidden_units": (16,),
            "attention_units": (7,),
            "history_features": ("genres", "picture"),
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=name, marks=() if name == "attention" else pytest.mark.slow)
        for name, case in CASES.items()
    ],
)
def test_contract(case, check):
    check(case)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("softmax", [False, True])
def test_score_is_the_equation(softmax):
    model = DIN(
        PLAIN,
        embedding_dim=2,
        hidden_units=(3,),
        attention_units=(4,),
        interest="softmax" if softmax else "attention",
    )
    rng = np.random.default_rng(0)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(size=weight.shape))
    table = model.features.tables["item_id"].embeddings.numpy()
    user = model.features.tables["user_id"].embeddings.numpy()[3]
    kernel, bias = model.reader.kernel.numpy(), model.reader.bias.numpy()
    out = model.reader.output_layer
    candidate, history = table[9], table[[4, 7, 5]]
    weights = []
    for e in history:
        x = np.concatenate([e, candidate, e - candidate, e * candidate])
        weights.append((sigmoid(x @ kernel + bias) @ out.kernel.numpy())[0])
    weights = np.array(weights) if softmax else np.array(weights) + out.bias.numpy()
    if softmax:
        weights = np.exp(weights) / np.exp(weights).sum()
    hidden, last = model.mlp.hidden[0], model.output_layer
    x = np.concatenate([user, candidate, weights @ history])
    x = np.maximum(x @ hidden.kernel.numpy() + hidden.bias.numpy(), 0)
    expected = (x @ last.kernel.numpy() + last.bias.numpy())[0]
    inputs = {"user_id": np.array([3]), "history": np.array([[4, 7, 5, 0]])}
    found = model({**inputs, "item_id": np.array([[2, 9]])})[0, 1]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    np.testing.assert_allclose(model({**inputs, "item_id": np.array([9])})[0], found, rtol=1e-4)


def test_the_history_is_read_with_features_of_its_items():
    model = DIN(
        FULL, embedding_dim=2, hidden_units=(3,), attention_units=(4,), history_features=("genres",)
    )
    shake(model)
    inputs = random_inputs(FULL, 2) | {"history": np.array([[4, 0, 0, 0], [0, 0, 0, 0]])}
    genres = np.random.default_rng(0).integers(1, 6, (ITEMS, 3))
    before = np.asarray(model(inputs))
    model.set_items({"genres": genres})
    known = np.asarray(model(inputs))
    # Only the query with a history is scored otherwise.
    assert known[0] != pytest.approx(before[0], abs=1e-6)
    assert known[1] == pytest.approx(before[1], abs=1e-6)
    genres[5] = 1  # an item of no history
    model.set_items({"genres": genres})
    np.testing.assert_allclose(model(inputs), known, rtol=1e-5)
    copy = DIN.from_config(model.get_config())
    copy.set_weights(model.get_weights())
    np.testing.assert_allclose(copy(inputs), known, rtol=1e-5)


def test_the_equation_with_features_is_that_of_longer_rows():
    model = DIN(PLAIN, embedding_dim=4, hidden_units=(3,), attention_units=(4,))
    assert model.row_width == 4
    model = DIN(FULL, embedding_dim=4, history_features=("picture", "genres"))
    assert model.row_width == 4 + 2 + 4
    assert model.of_item == ["item_id", "picture", "genres"]


def test_only_the_transformer_reads_the_order_of_the_history():
    there = {"user_id": np.array([3]), "item_id": np.array([[2, 9]])}
    for interest in ("attention", "softmax", "transformer"):
        model = DIN(PLAIN, embedding_dim=4, interest=interest)
        shake(model)
        if interest == "transformer":
            model.reader.places.assign(np.random.default_rng(0).normal(size=(5, 4)))
        one, other = (
            np.asarray(model({**there, "history": np.array([ids])}))
            for ids in ([4, 7, 5, 0], [5, 4, 7, 0])
        )
        assert np.allclose(one, other, rtol=1e-4, atol=1e-5) == (interest != "transformer")


@pytest.mark.parametrize("interest", ["attention", "softmax", "transformer"])
def test_a_ranking_reads_each_query_and_each_item_once(interest):
    model = DIN(FULL, embedding_dim=4, hidden_units=(6,), interest=interest)
    shake(model)
    inputs = random_inputs(FULL, 5, candidates=7)
    items = random_inputs(FULL, 7, seed=1)
    items = {feature.name: items[feature.name] for feature in FULL.item}
    parts = ItemParts.of(model, items, queries=5)
    found = parts.scores(parts.queries(inputs))
    wide = {name: np.broadcast_to(v, (5, *v.shape)) for name, v in items.items()}
    np.testing.assert_allclose(found, model({**inputs, **wide}), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"interest": "lstm"}, "interest must be one of 'attention'.*'lstm'"),
        ({"attention_units": ()}, "each of hidden_units must be.*0"),
        ({"interest": "transformer", "num_heads": 3}, "num_heads=3 and embedding_dim=16"),
        ({"dropout": 1.0}, "dropout must be.*1.0"),
        ({"history_features": ("genres",)}, r"ItemFeatures: .*received \['genres'\]"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        DIN(PLAIN, **arguments)


def test_a_schema_without_a_history_is_refused():
    with pytest.raises(ValueError, match=r"DIN: expected a schema with a sequence of 'item_id'"):
        DIN(tiny_schema())
    with pytest.raises(ValueError, match="DIN needs a schema with user features"):
        DIN(Schema(context=Categorical("country", 5)))
