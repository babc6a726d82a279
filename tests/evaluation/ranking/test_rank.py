import gzip
import json
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec.data import add_history
from kerasrec.data.encoding.columns import History
from kerasrec.evaluation import rank
from kerasrec.schema import Bag, Categorical, IdSequence, Numeric, Schema


def columns(pairs):
    pairs = np.array(pairs, np.int32).reshape(-1, 2)
    return {"user": pairs[:, 0], "item": pairs[:, 1]}


def slow_ranking(table, test, seen, k):
    """The definitions, one user at a time, for scores without ties and known ids."""
    hr, recall, ndcg, mrr = [], [], [], []
    for user in sorted({u for u, _ in test}):
        positives = {i for u, i in test if u == user}
        removed = {i for u, i in seen if u == user} - positives
        listed = [i for i in range(2, table.shape[1]) if i not in removed]
        listed.sort(key=lambda i: -table[user, i])
        ranks = [rank for rank, i in enumerate(listed, 1) if i in positives]
        hr.append(min(ranks) <= k)
        recall.append(sum(rank <= k for rank in ranks) / len(positives))
        best = sum(1 / np.log2(1 + rank) for rank in range(1, min(k, len(positives)) + 1))
        ndcg.append(sum(1 / np.log2(1 + rank) for rank in ranks if rank <= k) / best)
        mrr.append(1 / min(ranks))
    return [np.mean(values) for values in (hr, recall, ndcg, mrr)]


def figures(result, k):
    return [result[f"hr@{k}"], result[f"recall@{k}"], result[f"ndcg@{k}"], result["mrr"]]


PAIRS = st.lists(st.tuples(st.integers(2, 5), st.integers(2, 9)), min_size=1, max_size=14)


@settings(max_examples=60, deadline=None)
@given(test=PAIRS, seen=PAIRS, seed=st.integers(0, 1000))
def test_equals_the_definitions(table_model, test, seen, seed):
    rng = np.random.default_rng(seed)
    table = rng.permutation(60).reshape(6, 10).astype(np.float32)
    result = rank(table_model(table), columns(test), seen=columns(seen), k=(1, 3, 8)).summary()
    for k in (1, 3, 8):
        np.testing.assert_allclose(figures(result, k), slow_ranking(table, test, seen, k))
    assert result["repeated_rows"] == sum(pair in set(seen) for pair in test)


@settings(max_examples=12, deadline=None)
@given(test=PAIRS, seen=PAIRS, seed=st.integers(0, 1000))
def test_ties_are_the_mean_over_random_orders(table_model, test, seen, seed):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 3, (6, 10)).astype(np.float32)
    result = rank(table_model(coarse), columns(test), seen=columns(seen), k=3).summary()
    orders = [
        slow_ranking(coarse + rng.random((6, 10)) / 2, test, seen, 3)  # breaks ties, no more
        for _ in range(300)
    ]
    spread = np.std(orders, axis=0) / np.sqrt(len(orders))
    assert (abs(np.mean(orders, axis=0) - figures(result, 3)) <= 5 * spread + 1e-9).all()


def test_equals_keras_rs(table_ranker):
    import keras_rs

    rng = np.random.default_rng(0)
    table = rng.permutation(20 * 32).reshape(20, 32).astype(np.float32)
    relevant = rng.random((20, 32)) < 0.15
    relevant[:, :2] = False
    relevant[2:, 2] = True
    test = columns(np.argwhere(relevant)[np.argwhere(relevant)[:, 0] >= 2])
    result = rank(table_ranker(table), test, seen=None, k=5).summary()
    labels, scores = relevant[2:, 2:].astype(np.float32), table[2:, 2:]
    for name, metric in {
        "ndcg@5": keras_rs.metrics.NDCG(k=5),
        "recall@5": keras_rs.metrics.RecallAtK(k=5),
        "precision@5": keras_rs.metrics.PrecisionAtK(k=5),
        "map": keras_rs.metrics.MeanAveragePrecision(),
        "mrr": keras_rs.metrics.MeanReciprocalRank(),
    }.items():
        metric.update_state(labels, scores)
        np.testing.assert_allclose(result[name], float(metric.result()), rtol=1e-5)


def test_constant_scores_get_what_chance_gets(table_model):
    test = columns([(user, user) for user in range(2, 7)])
    seen = columns([(user, item) for user in range(2, 7) for item in (10, 11, 12)])
    result = rank(table_model(np.zeros((7, 42))), test, seen=seen, k=(1, 37)).summary()
    np.testing.assert_allclose(figures(result, 1)[:3], [1 / 37] * 3)
    np.testing.assert_allclose(figures(result, 37)[:2], [1, 1])
    np.testing.assert_allclose(result["mrr"], np.mean(1 / np.arange(1, 38)))


def test_blocks_do_not_change_the_figures(table_model):
    rng = np.random.default_rng(1)
    table = rng.integers(0, 500, (300, 2000)).astype(np.float32)
    test = columns(rng.integers(2, (300, 2000), (900, 2)))
    seen = columns(rng.integers(2, (300, 2000), (9000, 2)))
    model = table_model(table)
    small = rank(model, test, seen=seen, k=(5, 50), max_memory_mb=1).summary()
    assert model.largest_call <= (1 << 20) // 4096
    assert small == rank(model, test, seen=seen, k=(5, 50), max_memory_mb=512).summary()


def test_several_seen_columns(table_model):
    table = np.tile(np.arange(8.0), (4, 1))
    test = columns([(2, 3), (3, 3)])
    train, valid = columns([(2, 7), (3, 7)]), columns([(2, 6), (3, 5)])
    result = rank(table_model(table), test, seen=[train, valid], k=6).summary()
    np.testing.assert_allclose(result["mrr"], 1 / 3)  # 5, 4, 3 and 6, 4, 3
    nothing = {name: values[:0] for name, values in train.items()}
    assert rank(table_model(table), test, seen=[nothing], k=1).summary()["mrr"] == 1 / 5


@pytest.mark.parametrize("labels", [[1, 0, 0, 0], [True, False, False, False], [5, 3.5, 0, -1]])
def test_items_that_were_ignored_are_no_hits(table_model, labels):
    """40 users, one choice and three ignored items each: who ranks these first is wrong."""
    rng = np.random.default_rng(0)
    items = np.stack([rng.permutation(np.arange(2, 32))[:4] for _ in range(40)])
    test = columns(np.stack([np.repeat(np.arange(2, 42), 4), items.ravel()], 1))
    test["click"] = np.tile(np.array(labels), 40)
    schema = Schema(
        Categorical("user", 42), Categorical("item", 32), label="click",
        positive=">=4" if labels[0] == 5 else ">0",
    )  # fmt: skip
    right, wrong = rng.random((2, 42, 32)) / 10
    wrong[test["user"], test["item"]] += np.where(test["click"] == labels[0], 1, 2)
    right[test["user"], test["item"]] += np.where(test["click"] == labels[0], 2, 1)
    found = [rank(table_model(t, schema), test, seen=None, k=3).summary() for t in (right, wrong)]
    assert [result["ndcg@3"] for result in found] == [1.0, 0.0]
    assert found[0]["negative_rows"] == 120 and found[0]["queries"] == 40


@settings(max_examples=40, deadline=None)
@given(
    test=PAIRS, seen=PAIRS, seed=st.integers(0, 1000), threshold=st.integers(0, 5),
    sampled=st.booleans(),
)  # fmt: skip
def test_other_labels_change_nothing_but_what_is_asked(
    table_model, test, seen, seed, threshold, sampled
):
    rng = np.random.default_rng(seed)
    table = rng.permutation(60).reshape(6, 10).astype(np.float32)
    schema = Schema(Categorical("user", 6), Categorical("item", 10), positive=f">={threshold}")
    labels = rng.integers(0, 6, len(test))
    given = columns(test) | {"label": labels}
    candidates = rng.integers(2, 10, (len(test), 3)) if sampled else None
    chosen = labels >= threshold
    model = table_model(table, schema)
    options = {"seen": columns(seen), "k": (1, 3)}
    if not chosen.any():
        with pytest.raises(
            ValueError, match=f"none of {len(test)} rows has a 'label' >={threshold}"
        ):
            rank(model, given, candidates=candidates, **options).summary()
        return
    found = rank(model, given, candidates=candidates, **options).summary()
    alone = {name: values[chosen] for name, values in columns(test).items()}
    some = None if candidates is None else candidates[chosen]
    expected = rank(model, alone, candidates=some, **options).summary()
    counts = ("test_rows", "negative_rows", "repeated_rows")
    assert {n: v for n, v in found.items() if n not in counts} == {
        n: v for n, v in expected.items() if n not in counts
    }
    assert found["negative_rows"] == (~chosen).sum()


def test_repeated_pairs_count_unless_dropped(table_model):
    table = np.tile(np.arange(8.0), (4, 1))
    test, seen = columns([(2, 7), (3, 3)]), columns([(2, 7), (2, 6), (3, 7)])
    kept = rank(table_model(table), test, seen=seen, k=1).summary()
    assert (kept["hr@1"], kept["repeated_rows"], kept["queries"]) == (0.5, 1, 2)
    dropped = rank(table_model(table), test, seen=seen, k=1, drop_repeats=True).summary()
    assert (dropped["hr@1"], dropped["repeated_rows"], dropped["queries"]) == (0.0, 1, 1)
    with pytest.raises(ValueError, match="1 repeat a seen pair"):
        rank(table_model(table), columns([(2, 7)]), seen=seen, k=1, drop_repeats=True).summary()


def test_unknown_users_are_left_out_and_counted(table_model):
    table = np.tile(np.arange(8.0), (4, 1))
    result = rank(table_model(table), columns([(1, 2), (1, 3), (2, 7)]), seen=None, k=1).summary()
    assert (result["hr@1"], result["users"], result["test_rows"]) == (1.0, 1, 3)
    assert result["unknown_user_rows"] == 2
    with pytest.raises(ValueError, match="2 have an unknown user"):
        rank(table_model(table), columns([(1, 2), (1, 3)]), seen=None, k=1).summary()


def test_unknown_items_count_as_missed(table_model):
    table = np.tile(np.arange(8.0), (4, 1))
    # User 2: one hit and two different items that training never saw. User 3: only such an item.
    test = columns([(2, 7), (2, 1), (2, 1), (3, 1)])
    result = rank(table_model(table), test, seen=None, k=3).summary()
    assert result["unknown_item_rows"] == 3
    np.testing.assert_allclose(result["hr@3"], 1 / 2)
    np.testing.assert_allclose(result["recall@3"], (1 / 3 + 0) / 2)
    np.testing.assert_allclose(result["mrr"], 1 / 2)
    best = 1 + 1 / np.log2(3) + 1 / 2
    np.testing.assert_allclose(result["ndcg@3"], 1 / best / 2)


def test_padding_and_unknown_are_never_candidates(table_model):
    table = np.zeros((4, 8))
    table[:, :2] = 100.0  # would win
    table[:, 5] = 1.0
    assert rank(table_model(table), columns([(2, 5)]), seen=None, k=1).summary()["hr@1"] == 1.0


def test_repeated_test_rows_count_once(table_model):
    table = np.tile(np.arange(8.0), (4, 1))
    result = rank(table_model(table), columns([(2, 7), (2, 7), (2, 2)]), seen=None, k=1).summary()
    assert result["recall@1"] == 0.5


class Context:
    """Item 2 by day, item 3 by night, whoever asks."""

    schema = Schema(
        user=Categorical("user", 5),
        context=[Numeric("night")],
        item=[Categorical("item", 6), Bag("genres", 4, max_length=2)],
    )

    def __init__(self):
        self.shapes = set()

    def __call__(self, inputs, training=False):
        night, items = inputs["night"].reshape(-1, 1), inputs["item"]
        self.shapes.add((items.shape, inputs["genres"].shape))
        bonus = 0.1 * inputs["genres"].sum(axis=-1)
        return (np.where(night > 0.5, items == 3, items == 2) + bonus).astype(np.float32)


def test_a_row_is_a_query_with_its_own_context():
    test = {**columns([(2, 2), (2, 3), (2, 3)]), "night": np.array([[0.0], [1.0], [0.0]])}
    items = {"genres": np.zeros((6, 2), np.int32)}
    model = Context()
    result = rank(model, test, seen=None, k=1, items=items, per="row").summary()
    assert (result["users"], result["queries"], result["candidates"]) == (1, 3, 4)
    assert (result["hr@1"], result["recall@1"]) == (2 / 3, 2 / 3)
    assert model.shapes == {((3, 4), (3, 4, 2))}
    items["genres"][5, 0] = 20  # item 5 now wins
    assert rank(model, test, seen=None, k=1, items=items, per="row").summary()["hr@1"] == 0.0


def test_a_user_is_a_query_with_the_context_of_the_first_row():
    test = {**columns([(2, 2), (2, 3), (3, 2), (3, 3)]), "night": np.array([[0.0], [1.0]] * 2)}
    items = {"genres": np.zeros((6, 2), np.int32)}
    result = rank(Context(), test, seen=None, k=1, items=items).summary()
    assert (result["per"], result["users"], result["queries"]) == ("user", 2, 2)
    assert (result["hr@1"], result["recall@1"]) == (1.0, 1 / 2)
    test["night"] = test["night"][::-1]
    assert rank(Context(), test, seen=None, k=1, items=items).summary()["recall@1"] == 1 / 2


def test_a_unit_that_there_is_not(table_model):
    with pytest.raises(
        ValueError, match="per must be one of 'user', 'row'; received 'query'.*one list"
    ):
        rank(
            table_model(np.zeros((4, 8))), columns([(2, 3)]), seen=None, k=1, per="query"
        ).summary()


HISTORIES = Schema(
    user=[Categorical("user", 6), IdSequence("history", of="item", max_length=3)],
    item=Categorical("item", 12),
)


class WithHistory:
    """The scores of a table. Reads the history of each query, and remembers which it was given."""

    schema = HISTORIES

    def __init__(self, table):
        self.table, self.read = table, {}

    def __call__(self, inputs, training=False):
        for user, history in zip(inputs["user"], inputs["history"], strict=True):
            self.read.setdefault(int(user), []).append([int(i) for i in history if i])
        return self.table[inputs["user"][:, None], inputs["item"]]


def test_histories_are_cut_out_block_by_block():
    test = {**columns([(2, 5), (3, 6), (3, 7)]), "timestamp": np.arange(3)}
    later = add_history(test, HISTORIES, past={**columns([(2, 2)]), "timestamp": np.array([-1])})
    ranked = rank(WithHistory(np.zeros((6, 12))), later, seen=None, k=1)
    assert isinstance(ranked.queries["history"], History)
    assert np.asarray(ranked.queries["history"]).tolist() == [[2, 0, 0], [0, 0, 0]]


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(2, 5), st.integers(2, 11)), min_size=1, max_size=12),
    seed=st.integers(0, 1000),
    per=st.sampled_from(["user", "row"]),
    dense=st.booleans(),
)
def test_models_with_other_features_are_measured_by_the_same_queries(rows, seed, per, dense):
    rng = np.random.default_rng(seed)
    table = rng.integers(0, 4, (6, 12)).astype(np.float32)
    test = {**columns(rows), "timestamp": rng.permutation(len(rows))}  # the file is in no order
    train = {**columns([(user, 2) for user in range(2, 6)]), "timestamp": np.full(4, -1)}
    later = add_history(test, HISTORIES, past=train)
    if dense:
        later = {name: np.asarray(column) for name, column in later.items()}

    class Plain:
        schema = Schema(Categorical("user", 6), Categorical("item", 12))

        def __call__(self, inputs, training=False):
            return table[inputs["user"][:, None], inputs["item"]]

    model = WithHistory(table)
    with_history = rank(model, later, seen=train, k=(1, 3), per=per)
    plain = rank(Plain(), test, seen=train, k=(1, 3), per=per)
    assert with_history.users.tolist() == plain.users.tolist()
    for name, values in plain.values.items():
        np.testing.assert_array_equal(with_history.values[name], values)
    if per == "user":
        # The history before the first test row: no answer is in it.
        assert all(read == [[2]] for read in model.read.values())


def test_a_list_of_candidates_narrows_the_catalogue(table_model):
    table = np.tile(np.arange(8.0), (4, 1))
    test = columns([(2, 5), (3, 7)])
    result = rank(table_model(table), test, seen=None, k=1, candidates=[3, 5, 4]).summary()
    assert (result["hr@1"], result["candidates"], result["unknown_item_rows"]) == (0.5, 3, 1)


def test_given_candidates(table_model):
    table = np.tile(np.arange(12.0), (5, 1))
    test = columns([(2, 5), (2, 9), (3, 4), (1, 3), (4, 1)])
    candidates = np.array(
        [
            [11, 3, 5, 0],  # holds the positive again, and padding: ranks 11, 5, 3
            [11, 11, 10, 2],  # a repeated id counts once: 11, 10, 9, 2
            [3, 2, 11, 1],  # 11 was seen: 4, 3, 2
            [3, 4, 5, 6],  # unknown user
            [3, 4, 5, 6],  # unknown item: missed
        ]
    )
    result = rank(
        table_model(table), test, seen=columns([(3, 11)]), k=(1, 2), candidates=candidates
    ).summary()
    assert result["protocol"] == "sampled, 4 given candidates"
    assert (result["queries"], result["users"], result["candidates"]) == (4, 3, 5)
    np.testing.assert_allclose(result["mrr"], (1 / 2 + 1 / 3 + 1 + 0) / 4)
    np.testing.assert_allclose(result["hr@2"], 2 / 4)
    np.testing.assert_allclose(result["ndcg@2"], (1 / np.log2(3) + 1) / 4)


def test_all_items_as_candidates_equal_the_full_ranking(table_model):
    rng = np.random.default_rng(3)
    model = table_model(rng.integers(0, 9, (50, 40)))
    test = columns([(user, rng.integers(2, 40)) for user in range(2, 50)])
    seen = columns(rng.integers(2, (50, 40), (300, 2)))
    every = np.tile(np.arange(2, 40), (48, 1))
    full = rank(model, test, seen=seen, k=(1, 5)).summary()
    sampled = rank(model, test, seen=seen, k=(1, 5), candidates=every, max_memory_mb=1).summary()
    for name in ("hr@1", "hr@5", "recall@5", "ndcg@5", "mrr"):
        np.testing.assert_allclose(sampled[name], full[name])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 7}, "k=7 exceeds the 6 candidates.*Use k of at most 6"),
        ({"k": 0}, "k must be an integer of at least 1; received 0.*(5, 10)"),
        ({"k": (1.5,)}, "k must be an integer of at least 1; received 1.5"),
        ({"k": ()}, "k expects integers such as 10 .* received none"),
        ({"test": {"user": np.array([], int), "item": np.array([], int)}}, "at least one row"),
        ({"test": {"user": np.array([2])}}, "expected a column 'item'; received .'user'."),
        ({"test": {"user": np.array([2]), "item": np.array([2, 3])}}, "columns of one length"),
        ({"test": {"user": np.array([2]), "item": np.array([8])}}, "from 0 to 7; received 8 to 8"),
        ({"test": {"user": np.array(["ann"]), "item": np.array([2])}}, "int32 ids; received <U3"),
        ({"seen": {"user": np.array([2]), "item": np.array([-1])}}, "seen: column 'item'"),
        ({"seen": np.array([2])}, "seen expects encoded columns.*received ndarray"),
        ({"candidates": np.array([1, 2, 2])}, "1 of padding or unknown items and 1 repeated"),
        ({"candidates": np.array([])}, "at least one item id; received none"),
        (
            {"candidates": np.array([[2], [3]])},
            r"shape \(test rows, c\) = \(1, c\); received \(2, 1\)",
        ),
        ({"max_memory_mb": 0}, "at least 1; received 0"),
    ],
)
def test_bad_input(table_model, change, message):
    arguments = {"test": columns([(2, 5)]), "seen": None, "k": 1, **change}
    test = arguments.pop("test")
    with pytest.raises(ValueError, match=message):
        rank(table_model(np.zeros((4, 8))), test, **arguments).summary()


def test_not_a_model():
    with pytest.raises(ValueError, match="expects a model with a `schema`.*of type dict"):
        rank({}, columns([(2, 5)]), seen=None).summary()


def test_item_features_are_asked_for():
    test = {**columns([(2, 2)]), "night": np.zeros((1, 1))}
    with pytest.raises(
        ValueError, match=r"reads the item features \['genres'\]; received no `items`"
    ):
        rank(Context(), test, seen=None).summary()
    with pytest.raises(ValueError, match="rank: items: expected a column 'genres'"):
        rank(Context(), test, seen=None, items={"item": np.arange(6)}).summary()
    listed = {"genres": np.zeros((4, 2), np.int32)}
    with pytest.raises(ValueError, match="one row per encoded id.*: 6; received 4.*as candidates"):
        rank(Context(), test, seen=None, items=listed).summary()


def test_candidates_of_models_with_item_features():
    test = {**columns([(2, 2), (3, 3)]), "night": np.zeros((2, 1))}
    items = {"item": np.arange(6), "genres": np.zeros((6, 2), np.int32)}
    found = rank(Context(), test, seen=None, k=1, items=items, candidates=[4, 3, 2])
    assert found.summary()["candidates"] == 3 and found.values["hr@1"].tolist() == [1.0, 0.0]


@pytest.mark.parametrize("candidates", [None, np.array([[2, 3, 4]])])
def test_nan_scores(table_model, candidates):
    table = np.zeros((4, 8))
    table[:, 4] = np.nan
    name = re.escape(table_model.__name__)
    with pytest.raises(ValueError, match=f"{name} gave NaN for .*% of a block"):
        rank(table_model(table), columns([(2, 5)]), seen=None, k=1, candidates=candidates).summary()


def test_wrong_shape_of_scores(table_ranker):
    model = table_ranker(np.zeros((4, 8)))
    flat = type("Flat", (), {"schema": model.schema, "__call__": lambda *_, **__: np.zeros(6)})()
    with pytest.raises(ValueError, match=r"Flat gave scores of shape \(6,\); expected \(1, 6\)"):
        rank(flat, columns([(2, 5)]), seen=None, k=1).summary()


def test_infinite_scores_are_ranked(table_ranker):
    """Of a retriever, infinity times zero would be no score."""
    table = np.full((4, 8), -np.inf)
    result = rank(
        table_ranker(table), columns([(2, 5)]), seen=columns([(2, 3), (2, 4)]), k=1
    ).summary()
    assert result["hr@1"] == 1 / 4


def test_columns_are_not_changed(table_model):
    test, seen = columns([(2, 5), (3, 1)]), columns([(2, 3)])
    candidates = np.array([[2, 3], [5, 6]])
    before = [test["item"].copy(), seen["item"].copy(), candidates.copy()]
    rank(table_model(np.zeros((4, 8))), test, seen=seen, k=1, candidates=candidates).summary()
    for old, new in zip(before, [test["item"], seen["item"], candidates], strict=True):
        np.testing.assert_array_equal(old, new)


def ncf():
    """Test pairs, given negatives and training pairs, with ids from 2."""
    root = pathlib.Path(os.environ.get("KERASREC_DATA", "")) / "ncf-ml-1m"
    if not (root / "ml-1m.test.negative.gz").exists():
        pytest.skip("needs the folder ncf-ml-1m in $KERASREC_DATA")
    read = {"delimiter": "\t", "dtype": np.int64}
    train = np.loadtxt(root / "ml-1m.train.pairs.tsv.gz", **read) + 2
    test = np.loadtxt(root / "ml-1m.test.rating.gz", usecols=(0, 1), **read) + 2
    with gzip.open(root / "ml-1m.test.negative.gz", "rt") as file:
        negatives = [[int(i) + 2 for i in line.split("\t")[1:]] for line in file]
    return columns(train), columns(test), np.array(negatives)


def test_popularity_on_ncf_is_as_published(table_ranker):
    train, test, negatives = ncf()
    schema = Schema(Categorical("user", 6042), Categorical("item", 3708))
    counts = np.bincount(train["item"], minlength=3708)
    model = table_ranker(np.broadcast_to(counts, (6042, 3708)), schema)
    result = rank(model, test, seen=train, k=10, candidates=negatives).summary()
    # Rendle et al. (2020), on these very negatives.
    assert result["hr@10"] == pytest.approx(0.4535, abs=5e-5)
    assert result["ndcg@10"] == pytest.approx(0.2543, abs=5e-5)


def test_equal_vectors_tie_wherever_they_stand():
    # BLAS computes columns at the edge of a product by another kernel: last bits differ there.
    rng = np.random.default_rng(0)
    for num_items in (9, 33, 50, 65):
        users = rng.normal(size=(6, 8)).astype(np.float32)
        vectors = np.tile(rng.normal(size=8).astype(np.float32), (num_items, 1))

        class Same:
            schema = Schema(Categorical("user", 6), Categorical("item", num_items + 2))

            def __call__(self, inputs, training=False):
                raise NotImplementedError

            def query_embedding(self, inputs, users=users):
                return users[inputs["user"]]

            def item_embedding(self, inputs, vectors=vectors):
                return vectors[inputs["item"] - 2]

        test = columns([(user, item) for user, item in zip(range(2, 6), range(2, 6), strict=True)])
        result = rank(Same(), test, seen=None, k=1).summary()
        np.testing.assert_allclose(result["hr@1"], 1 / num_items)
        np.testing.assert_allclose(result["auc"], 1 / 2)


def test_values_of_every_query(table_model):
    table = np.tile(np.arange(8.0), (5, 1))
    test, seen = columns([(2, 5), (2, 7), (3, 3), (4, 1)]), columns([(3, 7)])
    ranked = rank(table_model(table), test, seen=seen, k=2)
    assert ranked.users.tolist() == [2, 3, 4]
    assert ranked.positives.listed.tolist() == [True, True, True, False]
    assert ranked.negatives.tolist() == [4, 4, 6]
    expected = {
        "hr@2": [1, 0, 0],
        "recall@2": [1 / 2, 0, 0],
        "precision@2": [1 / 2, 0, 0],
        "mrr": [1, 1 / 4, 0],
        "map": [(1 + 2 / 3) / 2, 1 / 4, 0],
        "auc": [(1 + 3 / 4) / 2, 1 / 4, 0],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(ranked.values[name], values, err_msg=name)
    means = {name: values.mean() for name, values in ranked.values.items()}
    assert means.items() <= ranked.summary().items()
    assert ranked["queries"] == 3 and ranked["mrr"] == means["mrr"]


def test_a_query_whose_candidates_are_all_positives_has_an_auc_of_one_half(table_model):
    test = columns([(2, item) for item in range(2, 6)])
    assert rank(table_model(np.zeros((3, 6))), test, seen=None, k=1).summary()["auc"] == 0.5


def test_many_threads_and_blocks_agree(monkeypatch):
    from kerasrec.evaluation.ranking import positions

    rng = np.random.default_rng(2)
    users, vectors = rng.integers(-3, 4, (2, 900, 5)).astype(np.float32)

    class Retrieves:
        schema = Schema(Categorical("user", 900), Categorical("item", 900))

        def __call__(self, inputs, training=False):
            raise NotImplementedError

        def query_embedding(self, inputs):
            return users[inputs["user"]]

        def item_embedding(self, inputs):
            return vectors[inputs["item"]]

    test, seen = (columns(rng.integers(2, 900, (3000, 2))) for _ in range(2))
    first = rank(Retrieves(), test, seen=seen, k=(1, 10)).summary()
    # Few queries a thread: the threads share the columns of a block.
    for cores, per_block, per_call, few in (
        (1, 128, 16384, 64), (4, 7, 100, 0), (3, 1, 33, 0), (2, 9, 100, 10**9), (7, 256, 90, 10**9),
    ):  # fmt: skip
        monkeypatch.setattr(positions, "cores", lambda cores=cores: cores)
        monkeypatch.setattr(positions, "_FEW_QUERIES", few)
        monkeypatch.setattr(positions, "_QUERIES_PER_BLOCK", per_block)
        monkeypatch.setattr(positions, "_QUERIES_PER_CALL", per_call)
        assert rank(Retrieves(), test, seen=seen, k=(1, 10)).summary() == first


RANX = """
import json, sys, ranx
qrels, run, names = json.load(sys.stdin)
found = ranx.evaluate(ranx.Qrels(qrels), ranx.Run(run), names)
print(json.dumps({name: float(value) for name, value in found.items()}))
"""


def ranx_figures(table, test, seen, names):
    pytest.importorskip("ranx", reason="ranx is an independent count of the same metrics")
    removed = {(int(u), int(i)) for u, i in zip(seen["user"], seen["item"], strict=True)}
    pairs = {(int(u), int(i)) for u, i in zip(test["user"], test["item"], strict=True)}
    qrels, run = {}, {}
    for user, item in sorted(pairs):
        qrels.setdefault(str(user), {})[str(item)] = 1
    for user in qrels:
        run[user] = {
            str(item): float(table[int(user), item])
            for item in range(2, table.shape[1])
            if (int(user), item) in pairs or (int(user), item) not in removed
        }
    # As plain Python: numba would compile for minutes.
    done = subprocess.run(
        [sys.executable, "-c", RANX], input=json.dumps([qrels, run, names]), text=True,
        capture_output=True, check=True, env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
    )  # fmt: skip
    return json.loads(done.stdout)


def test_equals_ranx(table_ranker):
    rng = np.random.default_rng(5)
    table = rng.permutation(40 * 60).reshape(40, 60).astype(np.float32)
    test, seen = (columns(rng.integers(2, (40, 60), (n, 2))) for n in (200, 300))
    ours = rank(table_ranker(table), test, seen=seen, k=(1, 7, 20)).summary()
    names = {"hit_rate": "hr", "recall": "recall", "precision": "precision", "map": "map"}
    names["ndcg"] = "ndcg"
    at = {f"{theirs}@{k}": f"{our}@{k}" for theirs, our in names.items() for k in (1, 7, 20)}
    at |= {"mrr": "mrr", "map": "map"}
    theirs = ranx_figures(table, test, seen, list(at))
    for their, our in at.items():
        np.testing.assert_allclose(ours[our], theirs[their], rtol=1e-9, err_msg=our)


def test_auc_equals_scikit_learn(table_model):
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is the oracle")
    rng = np.random.default_rng(6)
    table = rng.integers(0, 9, (20, 30)).astype(np.float32)  # with ties
    test = columns(rng.integers(2, (20, 30), (60, 2)))
    ranked = rank(table_model(table), test, seen=None, k=1)
    for user, auc in zip(ranked.users, ranked.values["auc"], strict=True):
        labels = np.isin(np.arange(2, 30), test["item"][test["user"] == user])
        np.testing.assert_allclose(auc, metrics.roc_auc_score(labels, table[user, 2:]))


def test_one_user_without_history(table_model):
    table = np.tile(np.arange(8.0), (4, 1))
    result = rank(table_model(table), columns([(3, 5)]), seen=columns([(2, 7)]), k=(1, 3)).summary()
    assert (result["users"], result["hr@1"], result["hr@3"]) == (1, 0.0, 1.0)
    np.testing.assert_allclose([result["mrr"], result["auc"]], [1 / 3, 3 / 5])


def test_item_vectors_of_one_width(table_retriever, monkeypatch):
    from kerasrec.evaluation.ranking import scoring

    model = table_retriever(np.zeros((4, 8)))
    model.item_embedding = lambda inputs: np.zeros((len(inputs["item"]), 1 + inputs["item"][0]))
    monkeypatch.setattr(scoring, "_ITEMS_PER_CALL", 4)
    with pytest.raises(ValueError, match=r"item_embedding gave \(2, 7\) for 2 items"):
        rank(model, columns([(3, 5)]), seen=None, k=1).summary()


class Histories:
    """A query's vector is the count of each item in its history."""

    schema = Schema(
        user=[Categorical("user", 1_002), IdSequence("history", of="item", max_length=200)],
        item=Categorical("item", 12),
    )

    def __init__(self):
        self.calls = []

    def query_embedding(self, inputs):
        self.calls.append(inputs["history"].shape)
        return np.stack([np.bincount(row, minlength=12)[2:] for row in inputs["history"]])

    def item_embedding(self, inputs):
        return np.eye(10, dtype=np.float32)[inputs["item"] - 2]

    def __call__(self, inputs, training=False):
        raise AssertionError("a retriever is asked for its vectors")


def test_long_histories_are_embedded_some_at_a_time():
    """A layer makes hundreds of numbers of each place of a history."""
    rng = np.random.default_rng(0)
    history = rng.integers(2, 12, (1_000, 200)).astype(np.int32)
    favourite = np.array([np.bincount(row).argmax() for row in history], np.int32)
    test = {"user": np.arange(2, 1_002, dtype=np.int32), "item": favourite, "history": history}
    model = Histories()
    found = rank(model, test, seen=None, k=10).summary()
    assert found["queries"] == 1_000 and found["hr@10"] == 1.0
    assert sum(rows for rows, _ in model.calls) == 1 + 1_000  # one more tells the width
    assert max(rows * (width + 1) for rows, width in model.calls) <= 65_536
    assert len(model.calls) == 1 + 4
