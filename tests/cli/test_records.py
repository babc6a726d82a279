import numpy as np
import pytest

from kerasrec import data
from kerasrec.cli.preparing import Prepared
from kerasrec.cli.records import best_places, record, thirds
from kerasrec.datasets import Dataset
from kerasrec.models import EmbeddingMLP, MatrixFactorization, Popularity


@pytest.fixture(scope="module")
def prepared():
    """Six users with 4 of 12 items each; item n is the more popular the smaller n is."""
    rng = np.random.default_rng(0)
    popularity = 1 / np.arange(1, 13)
    items = [rng.choice(12, 4, replace=False, p=popularity / popularity.sum()) for _ in range(6)]
    rows = data.Interactions.from_table(
        {"user_id": np.repeat(np.arange(6), 4), "item_id": np.concatenate(items),
         "timestamp": np.tile(np.arange(4), 6)},
        label=None,
    )  # fmt: skip
    split = data.leave_last_out(rows)
    vocabularies = data.fit_vocabularies(split.train)
    parts = (data.encode(part, vocabularies) for part in (split.train, split.valid, split.test))
    schema = data.make_schema(split.train, vocabularies)
    return Prepared(Dataset("made", rows), split, vocabularies, schema, *parts)


def popularity(prepared):
    model = Popularity(prepared.schema)
    model.adapt(prepared.train)
    return model


@pytest.mark.parametrize("kind", [MatrixFactorization, EmbeddingMLP, Popularity])
def test_lists_are_those_of_an_argsort(kind, prepared):
    schema = prepared.schema
    model = popularity(prepared) if kind is Popularity else kind(schema, embedding_dim=3)
    items = np.arange(2, schema.item_id.num_ids, dtype=np.int32)
    users = np.arange(2, schema.user_id.num_ids, dtype=np.int32)
    places, lists = best_places(model, {"user_id": users}, prepared, k=3)
    expected, counts = np.zeros(len(items), int), np.zeros(len(items), int)
    for user in users:
        scores = np.array(model({"user_id": np.full(len(items), user), "item_id": items}))
        for part in (prepared.train, prepared.valid):
            known = part["item_id"][part["user_id"] == user] - 2
            scores[known[known >= 0]] = -np.inf
        for place, item in enumerate(np.argsort(-scores, kind="stable")[:3], 1):
            counts[item] += 1
            expected[item] = min(expected[item] or place, place)
    np.testing.assert_array_equal(lists, counts)
    np.testing.assert_array_equal(places, expected)


def test_records_hold_every_query(prepared):
    model = MatrixFactorization(prepared.schema, embedding_dim=3)
    made = record({"popularity": popularity(prepared), "mf": model}, prepared, ratings=None)
    queries = made.queries.to_pandas()
    assert set(queries["model"]) == {"popularity", "mf"}
    at = made.about["list_length"]
    for row in made.metrics:
        mine = queries[queries["model"] == row["model"]]
        assert mine[f"ndcg@{at}"].mean() == pytest.approx(row[f"ndcg@{at}"], abs=1e-6)
        assert (mine["train_rows"] == 2).all()
    items = made.items.to_pandas()
    counts = np.bincount(prepared.train["item_id"])[2:]
    np.testing.assert_array_equal(items[items["model"] == "mf"]["train_rows"], counts)
    segments = made.about["item_segments"]["mf"]
    assert list(segments) == ["head", "mid", "tail"]
    assert made.about["seconds"]["evaluation"] > 0
    assert "tensorflow" in made.about["versions"]


def test_thirds_hold_a_third_of_the_rows():
    counts = np.random.default_rng(0).zipf(1.5, 500).clip(max=100)
    part = thirds(counts)
    shares = np.bincount(part, weights=counts) / counts.sum()
    np.testing.assert_allclose(shares, 1 / 3, atol=100 / counts.sum())
    assert counts[part == 0].min() >= counts[part == 1].max()
    assert thirds(np.zeros(3, int)).tolist() == [0, 0, 0]
