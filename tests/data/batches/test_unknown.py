"""Ids shown as unknown: the share that was asked for, others in each pass, none by default."""

import keras
import numpy as np
import pytest

from kerasrec.data import (
    Interactions,
    add_history,
    encode,
    fit_vocabularies,
    histories,
    make_schema,
    pointwise,
    shared_negatives,
    with_negatives,
)
from kerasrec.models import EmbeddingMLP
from kerasrec.schema import Bag, Categorical, IdSequence, Numeric, Schema

SCHEMA = Schema(
    user=[Categorical("user", 90), Numeric("age"), Bag("tags", 9, 2)],
    item=[Categorical("item", 80)],
)


def columns(rows=4000, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "user": rng.integers(2, 90, rows).astype(np.int32),
        "age": rng.random(rows).astype(np.float32),
        "tags": np.tile(np.array([[5, 0]], np.int32), (rows, 1)),
        "item": rng.integers(2, 80, rows).astype(np.int32),
        "label": np.ones(rows, np.float32),
    }


def a_pass(dataset):
    """Features of one pass."""
    found = [features for features, *_ in dataset.as_numpy_iterator()]
    return {name: np.concatenate([part[name] for part in found]) for name in found[0]}


@pytest.mark.parametrize("make", [pointwise, with_negatives, shared_negatives])
def test_the_share_of_every_kind_of_id(make):
    options = {} if make is pointwise else {"negatives": 3, "allow_seen": True}
    dataset = make(columns(), SCHEMA, batch_size=200, unknown_share=0.1, **options)
    shown = a_pass(dataset)
    for name in ("user", "item"):
        assert (shown[name] == 1).mean() == pytest.approx(0.1, abs=0.02)
        assert shown[name].dtype == np.int32
    assert (shown["tags"][:, 0] == 1).mean() == pytest.approx(0.1, abs=0.02)
    assert not shown["tags"][:, 1].any()  # padding stays
    assert set(shown["age"]) == set(columns()["age"])
    if make is not pointwise:  # the unknown item is as often a positive as its share says
        assert (shown["item"][:, 0] == 1).mean() == pytest.approx(0.1, abs=0.02)
    again = a_pass(dataset)
    assert (again["user"] == 1).any() and (again["user"] != shown["user"]).any()
    whole = a_pass(make(columns(), SCHEMA, batch_size=200, **options))
    assert not any((whole[name] == 1).any() for name in ("user", "item", "tags"))


def test_items_of_a_history():
    history = IdSequence("history", of="item", max_length=5)
    schema = Schema(user=[Categorical("user", 90), history], item=[Categorical("item", 80)])
    rows = columns()
    shown = a_pass(
        histories(rows, schema, batch_size=99, time=None, shuffle=False, unknown_share=0.2)
    )["history"]
    true = add_history(rows, schema, time=None)["history"][np.arange(len(shown))]
    assert ((shown == true) | (shown == 1)).all() and (shown[true == 0] == 0).all()
    assert (shown[true > 0] == 1).mean() == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize("share", [-0.1, 1, 1.5, True, "0.1", None])
def test_no_share(share):
    with pytest.raises(ValueError, match="unknown_share must be a number from 0 to less than 1"):
        pointwise(columns(9), SCHEMA, batch_size=2, unknown_share=share)


def ratings(seed=0):
    """240 users with levels of their own, 6 ratings each of items with levels of their own."""
    rng = np.random.default_rng(seed)
    user, item = np.repeat(np.arange(240), 6), rng.integers(0, 40, 1440)
    level, liked = rng.normal(0, 1.0, 240), rng.normal(0, 0.5, 40)
    rating = 3 + level[user] + liked[item] + rng.normal(0, 0.2, 1440)
    table = {"user_id": user, "item_id": item, "rating": rating.astype(np.float32)}
    return Interactions.from_table(table, time=None, duplicates="keep")


@pytest.mark.parametrize("remedy", ["unknown_share", "min_count"])
def test_unknown_users_are_rated_no_worse_than_by_the_mean(remedy):
    keras.utils.set_random_seed(0)
    rows = ratings()
    user = rows.column("user_id")
    if remedy == "min_count":  # every fourth user keeps one training row, and is unknown by it
        kept = (user % 4 > 0) | (np.arange(len(user)) % 6 == 0)
    else:
        kept = user % 4 > 0
    train, test = rows.take(kept), rows.take(~kept)
    vocabularies = fit_vocabularies(train, min_count=2 if remedy == "min_count" else 1)
    schema = make_schema(train, vocabularies)
    learned, asked = encode(train, vocabularies), encode(test, vocabularies)
    assert (asked["user_id"] == 1).all()
    mean = float(learned["rating"].mean())
    model = EmbeddingMLP(schema, embedding_dim=16, hidden_units=(32,), initial_bias=mean)
    model.compile(keras.optimizers.Adam(0.01), "mse")
    share = 0.05 if remedy == "unknown_share" else 0.0
    batches = pointwise(learned, schema, batch_size=64, unknown_share=share)
    model.fit(batches, epochs=25, shuffle=False, verbose=0)
    error = asked["rating"] - model.predict(asked, verbose=0, batch_size=512)
    spread = asked["rating"] - mean
    assert np.sqrt(np.mean(error**2)) < np.sqrt(np.mean(spread**2))
