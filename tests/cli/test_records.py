import dataclasses

import numpy as np
import pyarrow as pa
import pytest

from kerasrec import data, evaluation
from kerasrec.cli.preparing import Prepared, encoded
from kerasrec.cli.records import findings, lists_of, record, samples_of
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
         "timestamp": np.add.outer(np.arange(6), np.arange(4)).ravel()},
        label=None,
    )  # fmt: skip
    split = data.leave_last_out(rows)
    vocabularies = data.fit_vocabularies(split.train)
    parts = (data.encode(part, vocabularies) for part in (split.train, split.valid, split.test))
    schema = data.make_schema(split.train, vocabularies)
    return Prepared(Dataset("made", rows), split, vocabularies, schema, *parts)


@pytest.mark.parametrize("seed", range(3))
def test_samples_show_positives_and_the_newest_rows_of_any_order_of_the_file(seed):
    rng = np.random.default_rng(seed)
    users, items = (part.ravel() for part in np.mgrid[:5, :9])
    times = rng.permuted(np.tile(np.arange(9), (5, 1)), axis=1).ravel()
    order = rng.permutation(45)
    rows = data.Interactions.from_table(
        {"user_id": users[order], "item_id": items[order], "timestamp": times[order],
         "rating": (times[order] + users[order]) % 3}
    )  # fmt: skip
    split = data.leave_last_out(rows, valid=1, test=3)
    vocabularies = data.fit_vocabularies(split.train)
    parts = (data.encode(part, vocabularies) for part in (split.train, split.valid, split.test))
    schema = data.make_schema(split.train, vocabularies, positive=">=2")
    made = Prepared(Dataset("made", rows), split, vocabularies, schema, *parts)
    model = popularity(made)
    ranked = evaluation.rank_queries(model, made.test, seen=[made.train, made.valid], k=3)
    for sample in samples_of(model, ranked, made, 3):
        user = int(sample["user"])
        item_at = dict(zip(times[users == user], items[users == user], strict=True))
        assert sample["history"] == [str(item_at[time]) for time in range(1, 6)]
        liked = {str(item_at[time]) for time in (6, 7, 8) if (time + user) % 3 == 2}
        assert set(sample["test"]) == liked


@pytest.mark.parametrize("min_count", [1, 4, 7])
def test_many_test_rows_of_unknown_users_are_said(min_count):
    lengths = np.array([3, 4, 5, 6, 7, 8, 9, 10])
    users = np.repeat(np.arange(8), lengths)
    rows = data.Interactions.from_table(
        {"user_id": users, "item_id": np.arange(len(users)), "timestamp": np.arange(len(users))},
        label=None,
    )
    all_ids = data.fit_vocabularies(rows)
    vocabularies = {**all_ids, "user_id": all_ids["user_id"].frequent(min_count)}
    split = data.Split(rows, rows.take([]), rows, "the same rows")
    made = encoded(Dataset("made", rows), split, vocabularies, min_count=min_count)
    found = [text for text in findings(made) if "unknown users" in text]
    rare = lengths[lengths < min_count].sum() / lengths.sum()
    expected = [f"{rare:.0%} of test rows are of unknown users (--min_count 7): not ranked."]
    assert found == (expected if rare > 0.1 else [])


def popularity(prepared):
    model = Popularity(prepared.schema)
    model.adapt(prepared.train)
    return model


@pytest.mark.parametrize("kind", [MatrixFactorization, EmbeddingMLP, Popularity])
def test_lists_are_those_of_an_argsort(kind, prepared):
    schema = prepared.schema
    model = popularity(prepared) if kind is Popularity else kind(schema, embedding_dim=3)
    seen = [prepared.train, prepared.valid]
    ranked = evaluation.rank_queries(model, prepared.test, seen=seen, k=3)
    found = lists_of(model, ranked, prepared, 3)
    items = np.arange(2, schema.item_id.num_ids, dtype=np.int32)
    if kind is not Popularity:  # whose ties have no order
        lists = []
        for user in ranked.users:
            scores = np.array(model({"user_id": np.full(len(items), user), "item_id": items}))
            for part in seen:
                known = part["item_id"][part["user_id"] == user] - 2
                scores[known[known >= 0]] = -np.inf
            lists.append(np.argsort(-scores, kind="stable")[:3])
        for k in (1, 2, 3):
            listed = {item for some in lists for item in some[:k]}
            assert found["coverage"][k - 1] == pytest.approx(len(listed) / len(items))
    assert found["figures"]["coverage@3"] == found["coverage"][-1]
    assert found["coverage"] == sorted(found["coverage"])
    counts = np.sort(np.bincount(prepared.train["item_id"])[2:])[::-1]
    np.testing.assert_allclose(found["train_rows"][-2:], [1 - counts[-1] / 12, 1])
    assert found["items"][0] == found["listed"][0] == 0.0
    assert found["items"][-1] == found["listed"][-1] == 1.0


def test_sample_lists_are_of_the_same_users_and_hold_no_seen_item(prepared):
    model, counts = MatrixFactorization(prepared.schema, embedding_dim=3), popularity(prepared)
    made = record({"popularity": counts, "mf": model}, prepared, losses={}).about["samples"]
    assert [one["user"] for one in made["mf"]] == [one["user"] for one in made["popularity"]]
    assert len(made["mf"]) == 3
    for one in made["mf"]:
        assert one["items"] and not set(one["items"]) & set(one["history"])


def test_titles_are_those_of_the_items(prepared):
    items = pa.table({"item_id": np.arange(12), "title": [f"Film {n}" for n in range(12)]})
    titled = dataclasses.replace(
        prepared, dataset=dataclasses.replace(prepared.dataset, items=items)
    )
    model = popularity(prepared)
    ranked = evaluation.rank_queries(
        model, prepared.test, seen=[prepared.train, prepared.valid], k=3
    )
    for plain, one in zip(
        samples_of(model, ranked, prepared, 3), samples_of(model, ranked, titled, 3), strict=True
    ):
        for part in ("items", "history", "test"):
            assert one[part] == [f"Film {item}" for item in plain[part]]


def test_records_hold_every_query(prepared):
    model = MatrixFactorization(prepared.schema, embedding_dim=3)
    made = record({"popularity": popularity(prepared), "mf": model}, prepared, losses={})
    queries = made.queries.to_pandas()
    assert set(queries["model"]) == {"popularity", "mf"}
    at = made.about["list_length"]
    for row in made.metrics:
        mine = queries[queries["model"] == row["model"]]
        assert mine[f"ndcg@{at}"].mean() == pytest.approx(row[f"ndcg@{at}"], abs=1e-6)
        rows = made.about["segments"][row["model"]]["activity"]
        assert sum(part["queries"] for part in rows) == row["queries"]
        mean = sum(part["queries"] * part[f"ndcg@{at}"] for part in rows) / row["queries"]
        assert mean == pytest.approx(row[f"ndcg@{at}"])
    assert [part["segment"] for part in made.about["segments"]["mf"]["popularity"]][0] == "head"
    assert "training rows follow the first test row" in " ".join(made.about["findings"])
    assert made.about["seconds"]["evaluation"] > 0
    assert "tensorflow" in made.about["versions"]
