import numpy as np
import pytest

from kerasrec.evaluation import rank, sample_candidates
from kerasrec.evaluation.ranking import candidates
from kerasrec.schema import Categorical, Schema

SCHEMA = Schema(Categorical("user", 42), Categorical("item", 22))
SEEN = {"user": np.repeat(np.arange(2, 42), 3), "item": np.tile([2, 3, 4, 2, 3, 5], 20)}
TEST = {"user": np.arange(2, 42), "item": np.full(40, 7)}


@pytest.mark.parametrize("by", ["uniform", "popularity"])
def test_unseen_distinct_and_never_the_positive(by):
    seen = {name: np.concatenate([values, TEST[name]]) for name, values in SEEN.items()}
    seen["item"][-40:] = np.arange(40) % 20 + 2  # every item has rows
    drawn = sample_candidates(TEST, SCHEMA, seen=seen, negatives=9, by=by)
    for user, row in zip(TEST["user"], drawn.ids, strict=True):
        assert len(set(row)) == 9
        assert row.min() >= 2
        assert not set(row) & {7, *seen["item"][seen["user"] == user]}


def test_the_same_seed_draws_the_same():
    first, again, other = (
        sample_candidates(TEST, SCHEMA, seen=SEEN, negatives=5, seed=seed).ids for seed in (0, 0, 1)
    )
    assert (first == again).all()
    assert (first != other).any()


def test_popular_items_are_drawn_in_proportion():
    # Nobody has seen 8 and 9 but user 41: 3 rows and 1 row.
    seen = {"user": np.full(4, 41), "item": np.array([8, 8, 8, 9])}
    test = {"user": np.full(4000, 2), "item": np.full(4000, 7)}
    drawn = sample_candidates(test, SCHEMA, seen=seen, negatives=1, by="popularity").ids
    assert set(drawn.ravel()) == {8, 9}
    assert abs((drawn == 8).mean() - 3 / 4) < 0.03


@pytest.mark.parametrize(
    ("enough", "rounds"), [(0, 16), (0, 1), (10**9, 16)], ids=["one by one", "both", "by keys"]
)
def test_every_way_draws_without_replacement(monkeypatch, enough, rounds):
    """Of items of weight 8, 4, 2, 1 and 1, how often each is among the first two drawn."""
    monkeypatch.setattr(candidates, "_ENOUGH", enough)
    monkeypatch.setattr(candidates, "_ROUNDS", rounds)
    monkeypatch.setattr(candidates._Draw, "width", staticmethod(lambda negatives: negatives))
    weight = np.array([8, 4, 2, 1, 1])
    seen = {"user": np.full(16, 41), "item": np.repeat(np.arange(8, 13), weight)}
    test = {"user": np.full(6000, 2), "item": np.full(6000, 7)}
    drawn = sample_candidates(test, SCHEMA, seen=seen, negatives=2, by="popularity").ids
    assert (drawn[:, 0] != drawn[:, 1]).all()
    p = weight / weight.sum()
    second = [sum(p[j] * p[i] / (1 - p[j]) for j in range(5) if j != i) for i in range(5)]
    found = np.bincount(drawn.ravel(), minlength=13)[8:] / len(drawn)
    np.testing.assert_allclose(found, p + second, atol=0.025)


@pytest.mark.parametrize("by", ["uniform", "popularity"])
def test_the_catalogue_is_not_drawn_for_every_row(monkeypatch, by):
    calls = []
    monkeypatch.setattr(
        candidates._Draw, "_by_keys", lambda self, users, ids, rows: calls.extend(rows.tolist())
    )
    schema = Schema(Categorical("user", 502), Categorical("item", 20_002))
    rng = np.random.default_rng(0)
    seen = {"user": rng.integers(2, 502, 40_000), "item": rng.integers(2, 20_002, 40_000)}
    test = {"user": np.arange(2, 502), "item": rng.integers(2, 20_002, 500)}
    drawn = sample_candidates(test, schema, seen=seen, negatives=100, by=by).ids
    assert not calls
    assert all(len(set(row)) == 100 for row in drawn.tolist())
    assert not ranking_pairs(seen, test) & {
        (user, item) for user, row in zip(test["user"], drawn, strict=True) for item in row
    }


def ranking_pairs(*columns):
    return {pair for c in columns for pair in zip(c["user"], c["item"], strict=True)}


def test_users_with_few_unseen_items_get_padding():
    seen = {"user": np.full(17, 2), "item": np.arange(2, 19)}
    drawn = sample_candidates({"user": [2], "item": np.array([19])}, SCHEMA, seen=seen, negatives=5)
    assert sorted(drawn.ids[0].tolist()) == [0, 0, 0, 20, 21]


def test_the_protocol_is_named(table_model):
    model = table_model(np.tile(np.arange(22.0), (42, 1)))
    drawn = sample_candidates(TEST, model.schema, seen=SEEN, negatives=9, by="popularity", seed=3)
    result = rank(model, TEST, seen=SEEN, k=1, candidates=drawn).summary()
    assert result["protocol"] == "sampled, 9 popularity (seed 3) candidates"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"by": "rank"}, "one of 'uniform', 'popularity'; received 'rank'"),
        ({"negatives": 0}, "from 1 to 20; received 0. There are 20 items"),
        ({"negatives": 21}, "received 21"),
        ({"seen": None, "by": "popularity"}, "got none"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        sample_candidates(TEST, SCHEMA, **{"seen": SEEN, "negatives": 5, **arguments})


def test_popularity_is_of_positives():
    """An item that was only shown is never drawn, and shown items are not drawn more often."""
    schema = Schema(Categorical("user", 402), Categorical("item", 6), label="click")
    shown = {"user": np.full(9, 1), "item": np.array([2, 2, 2, 2, 3, 3, 4, 4, 5])}
    seen = {**shown, "click": np.array([0, 0, 0, 0, 1, 0, 1, 1, 1])}
    test = {"user": np.arange(2, 402), "item": np.full(400, 5)}
    drawn = sample_candidates(test, schema, seen=seen, negatives=1, by="popularity").ids[:, 0]
    shares = np.bincount(drawn, minlength=6) / 400
    np.testing.assert_allclose(shares, [0, 0, 0, 1 / 3, 2 / 3, 0], atol=0.08)
    with pytest.raises(ValueError, match="none with a 'click' >0"):
        sample_candidates(
            test, schema, seen={**shown, "click": np.zeros(9)}, negatives=1, by="popularity"
        )
