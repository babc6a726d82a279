import numpy as np
import pyarrow as pa
import pytest

from kerasrec import data, evaluation
from kerasrec.datasets import Dataset
from kerasrec.models import EmbeddingMLP, MatrixFactorization, Popularity
from kerasrec.runs.records import findings, lists_of, record, samples_of, titles_of


@pytest.fixture(scope="module")
def rows():
    """Six users with 4 of 12 items each; item n is the more popular the smaller n is."""
    rng = np.random.default_rng(0)
    popularity = 1 / np.arange(1, 13)
    items = [rng.choice(12, 4, replace=False, p=popularity / popularity.sum()) for _ in range(6)]
    return data.Interactions.from_table(
        {"user_id": np.repeat(np.arange(6), 4), "item_id": np.concatenate(items),
         "timestamp": np.add.outer(np.arange(6), np.arange(4)).ravel()},
        label=None,
    )  # fmt: skip


@pytest.fixture(scope="module")
def ready(rows):
    return data.prepare(data.leave_last_out(rows))


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
    made = data.prepare(data.leave_last_out(rows, valid=1, test=3), positive=">=2")
    model = popularity(made)
    ranked = evaluation.rank(model, made.test, seen=[made.train, made.valid], k=3)
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
    made = data.prepare(split, vocabularies=vocabularies, min_count=min_count)
    found = [text for text in findings(made) if "unknown users" in text]
    rare = lengths[lengths < min_count].sum() / lengths.sum()
    expected = [f"{rare:.0%} of test rows are of unknown users (--min_count 7): not ranked."]
    assert found == (expected if rare > 0.1 else [])


def popularity(ready):
    model = Popularity(ready.schema)
    model.adapt(ready.train)
    return model


@pytest.mark.parametrize("kind", [MatrixFactorization, EmbeddingMLP, Popularity])
def test_lists_are_those_of_an_argsort(kind, ready):
    schema = ready.schema
    model = popularity(ready) if kind is Popularity else kind(schema, embedding_dim=3)
    seen = [ready.train, ready.valid]
    ranked = evaluation.rank(model, ready.test, seen=seen, k=3)
    found = lists_of(model, ranked, ready, 3)
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
    counts = np.sort(np.bincount(ready.train["item_id"])[2:])[::-1]
    np.testing.assert_allclose(found["train_rows"][-2:], [1 - counts[-1] / 12, 1])
    assert found["items"][0] == found["listed"][0] == 0.0
    assert found["items"][-1] == found["listed"][-1] == 1.0


def test_sample_lists_are_of_the_same_users_and_hold_no_seen_item(ready, rows):
    model, counts = MatrixFactorization(ready.schema, embedding_dim=3), popularity(ready)
    found = record({"popularity": counts, "mf": model}, ready, Dataset("made", rows), losses={})
    made = found.about["samples"]
    assert [one["user"] for one in made["mf"]] == [one["user"] for one in made["popularity"]]
    assert len(made["mf"]) == 3
    for one in made["mf"]:
        assert one["items"] and not set(one["items"]) & set(one["history"])


def test_titles_are_those_of_the_items(ready, rows):
    items = pa.table({"item_id": np.arange(12), "title": [f"Film {n}" for n in range(12)]})
    titles = titles_of(Dataset("made", rows, items=items))
    model = popularity(ready)
    ranked = evaluation.rank(model, ready.test, seen=[ready.train, ready.valid], k=3)
    for plain, one in zip(
        samples_of(model, ranked, ready, 3),
        samples_of(model, ranked, ready, 3, titles),
        strict=True,
    ):
        for part in ("items", "history", "test"):
            assert one[part] == [f"Film {item}" for item in plain[part]]


def test_records_hold_every_query(ready, rows):
    model = MatrixFactorization(ready.schema, embedding_dim=3)
    both = {"popularity": popularity(ready), "mf": model}
    made = record(both, ready, Dataset("made", rows), losses={})
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
