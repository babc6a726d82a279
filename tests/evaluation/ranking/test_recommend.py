import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec.evaluation import rank, recommend, row_counts
from kerasrec.schema import Categorical, Schema


def columns(pairs):
    pairs = np.array(pairs, np.int32).reshape(-1, 2)
    return {"user": pairs[:, 0], "item": pairs[:, 1]}


PAIRS = st.lists(st.tuples(st.integers(2, 5), st.integers(2, 9)), max_size=20)


@settings(max_examples=60, deadline=None)
@given(seen=PAIRS, seed=st.integers(0, 999), k=st.integers(1, 8), levels=st.integers(1, 40))
def test_lists_are_the_sorted_scores(table_model, seen, seed, k, levels):
    rng = np.random.default_rng(seed)
    table = rng.integers(0, levels, (6, 10)).astype(np.float32)
    users = np.array([2, 5, 3])
    found = recommend(table_model(table), {"user": users}, seen=columns(seen), k=k)
    assert found.k == k
    for user, listed in zip(users, found.items, strict=True):
        allowed = [i for i in range(2, 10) if (user, i) not in seen]
        real = listed[listed > 0]
        assert len(real) == min(k, len(allowed))
        assert (listed[len(real) :] == 0).all()
        assert len(set(real)) == len(real)
        assert set(real) <= set(allowed)
        best = sorted((table[user, i] for i in allowed), reverse=True)[: len(real)]
        assert [table[user, i] for i in real] == best


def test_equal_scores_come_in_random_order(table_model):
    users = np.full(3000, 2)
    found = recommend(table_model(np.zeros((3, 7))), {"user": users}, seen=columns([(2, 6)]), k=2)
    places = np.stack([np.bincount(found.items[:, place], minlength=7)[2:] for place in (0, 1)])
    np.testing.assert_array_equal(places[:, 4], [0, 0])  # seen
    assert (abs(places[:, :4] / 3000 - 1 / 4) < 0.04).all()


@pytest.mark.parametrize("k", [3, 4, 5])
def test_ties_within_a_list_are_in_random_order_too(table_model, k):
    """Two lead with 9, three follow with 1: whichever k cuts, and where nothing is cut."""
    table = np.tile(np.array([0, 0, 1, 9, 1, 9, 1], np.float32), (3, 1))
    queries = {"user": np.full(2000, 2)}
    found = recommend(table_model(table), queries, seen=None, k=k)
    shares = np.stack([np.bincount(found.items[:, at], minlength=7) / 2000 for at in range(k)])
    np.testing.assert_allclose(shares[:2, [3, 5]], np.full((2, 2), 1 / 2), atol=0.05)
    np.testing.assert_allclose(shares[2:, [2, 4, 6]], np.full((k - 2, 3), 1 / 3), atol=0.05)
    # Whoever comes second says nothing of who comes third.
    both = np.mean((found.items[:, 1] == 3) & (found.items[:, 2] == 2))
    assert abs(both - 1 / 6) < 0.04
    again = recommend(table_model(table), queries, seen=None, k=k)
    np.testing.assert_array_equal(again.items, found.items)
    other = recommend(table_model(table), queries, seen=None, k=k, seed=1)
    assert (other.items != found.items).any()


@pytest.mark.parametrize("num_items", [9, 33, 50, 65])
def test_items_of_equal_vectors_take_turns(num_items):
    """A product gives other last bits at its edge; equal vectors tie wherever they stand."""
    rng = np.random.default_rng(0)
    users = rng.normal(size=(6, 8)).astype(np.float32)
    kinds = rng.normal(size=(2, 8)).astype(np.float32)
    # Two kinds of items, in turns.
    vectors = kinds[np.arange(num_items) % 2]

    class Twins:
        schema = Schema(Categorical("user", 6), Categorical("item", num_items + 2))

        def __call__(self, inputs, training=False):
            raise NotImplementedError

        def query_embedding(self, inputs):
            return users[inputs["user"]]

        def item_embedding(self, inputs):
            return vectors[inputs["item"] - 2]

    queries = {"user": np.repeat(np.arange(2, 6), 400)}
    found = recommend(Twins(), queries, seen=None, k=num_items)
    for user in range(2, 6):
        better = int(np.argmax(kinds @ users[user]))
        listed = found.items[found.users == user] - 2
        half = (num_items + 1 - better) // 2
        assert (listed[:, :half] % 2 == better).all() and (listed[:, half:] % 2 != better).all()
        # Each of the better ones leads as often; the standard error is below 0.022.
        shares = np.bincount(listed[:, 0], minlength=num_items)[better::2] / 400
        np.testing.assert_allclose(shares, 1 / half, atol=0.09)


def test_the_higher_ones_stay_when_lower_ones_tie(table_model):
    table = np.tile(np.array([0, 0, 5, 1, 1, 1, 9], np.float32), (3, 1))
    found = recommend(table_model(table), {"user": np.full(50, 2)}, seen=None, k=3)
    assert (found.items[:, :2] == [6, 2]).all()
    assert set(found.items[:, 2]) == {3, 4, 5}


def test_blocks_do_not_change_untied_lists(table_model):
    table = np.random.default_rng(0).permutation(40 * 3000).reshape(40, 3000)
    queries = {"user": np.arange(2, 40)}
    model = table_model(table.astype(np.float32))
    found = [recommend(model, queries, seen=None, max_memory_mb=mb).items for mb in (1, 999)]
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("levels", [2, 50])
def test_threads_do_not_change_lists(table_model, levels, monkeypatch):
    """Chance is drawn by one thread, in the order of the queries."""
    table = np.random.default_rng(0).integers(0, levels, (202, 900)).astype(np.float32)
    queries = {"user": np.arange(2, 202)}
    found = []
    for cores in (1, 2, 7, 64):
        monkeypatch.setattr(f"{recommend.__module__}.cores", lambda cores=cores: cores)
        found.append(recommend(table_model(table), queries, seen=None, max_memory_mb=2).items)
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


def test_a_smaller_catalogue_and_minus_infinity(table_model):
    table = np.tile(np.array([0, 0, 5, 4, -np.inf, 1, 9], np.float32), (3, 1))
    if table_model.__name__ == "TableRetriever":
        table[:, 4] = -1e30  # infinity times 0 is NaN
    some = np.array([4, 2, 3])
    found = recommend(table_model(table), {"user": np.array([2])}, seen=None, k=3, candidates=some)
    assert found.items.tolist() == [[2, 3, 4]]
    assert found.catalogue.tolist() == [4, 2, 3]


def test_row_counts():
    item = Categorical("item", 6)
    rows = [{"item": np.array([2, 2, 5])}, {"item": np.array([0, 1, 5])}]
    assert row_counts(rows, item).tolist() == [0, 0, 2, 0, 0, 2]
    assert row_counts(None, item).tolist() == [0] * 6
    graded = [{**part, "label": np.array([3, 4, 5])} for part in rows]
    schema = Schema(Categorical("user", 4), item, positive=">=4")
    assert row_counts(graded, item).tolist() == [0, 0, 2, 0, 0, 2]
    assert row_counts(graded, item, positives=schema).tolist() == [0, 0, 1, 0, 0, 2]
    assert row_counts(rows, item, positives=schema).tolist() == [0, 0, 2, 0, 0, 2]  # no labels


def test_messages(table_ranker):
    model = table_ranker(np.zeros((4, 8)))
    query = {"user": np.array([2])}
    with pytest.raises(ValueError, match="from 1 to 6; received 7. There are 6 items"):
        recommend(model, query, seen=None, k=7)
    with pytest.raises(ValueError, match="received 0"):
        recommend(model, query, seen=None, k=0)
    with pytest.raises(ValueError, match="expected at least one row"):
        recommend(model, {"user": np.array([], int)}, seen=None, k=1)
    with pytest.raises(ValueError, match="gave NaN for 100.00%"):
        recommend(table_ranker(np.full((4, 8), np.nan)), query, seen=None, k=1)


def test_lists_hit_as_often_as_the_ranking_says(table_model):
    rng = np.random.default_rng(2)
    model = table_model(rng.permutation(30 * 60).reshape(30, 60).astype(np.float32))
    test, seen = (columns(rng.integers(2, (30, 60), (90, 2))) for _ in range(2))
    pairs = set(zip(seen["user"].tolist(), seen["item"].tolist(), strict=True))
    new = [(u, i) not in pairs for u, i in zip(test["user"], test["item"], strict=True)]
    test = {name: found[new] for name, found in test.items()}
    ranked = rank(model, test, seen=seen, k=7)
    found = recommend(model, ranked.queries, seen=seen, k=7)
    positives = set(zip(test["user"].tolist(), test["item"].tolist(), strict=True))
    hits = [
        sum((user, item) in positives for item in row.tolist())
        for user, row in zip(found.users.tolist(), found.items, strict=True)
    ]
    np.testing.assert_allclose(np.array(hits) / 7, ranked.values["precision@7"])
