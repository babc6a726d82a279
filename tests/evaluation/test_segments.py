import numpy as np
import pytest

from kerasrec.evaluation import (
    format_table,
    item_popularity,
    rank,
    row_counts,
    segment_rows,
    user_activity,
)


def columns(pairs):
    pairs = np.array(pairs, np.int32).reshape(-1, 2)
    return {"user": pairs[:, 0], "item": pairs[:, 1]}


TABLE = np.tile(np.arange(10.0), (6, 1))  # the highest id wins
TEST = columns([(2, 9), (2, 3), (3, 8), (4, 7)])


def test_activity_keeps_equal_users_together():
    assert user_activity(np.full(5, 3)).tolist() == ["cold"] * 5
    assert user_activity(np.array([1, 1, 1, 2])).tolist() == ["cold"] * 3 + ["hot"]
    assert user_activity(np.arange(9)).tolist() == ["cold"] * 3 + ["warm"] * 3 + ["hot"] * 3
    assert user_activity(np.arange(4), bounds=(0, 0)).tolist() == ["cold"] + ["hot"] * 3


def test_popularity_keeps_equal_items_together():
    counts = np.array([0, 0, *[1] * 6])
    assert item_popularity(counts).tolist() == ["tail"] * 2 + ["head"] * 6
    assert item_popularity(np.array([0, 9, 0])).tolist() == ["tail", "head", "tail"]


def test_segments_of_users_by_hand(table_model):
    ranked = rank(table_model(TABLE), TEST, seen=None, k=1)
    rows = segment_rows(ranked, queries=np.array(["a", "b", "b"]))
    assert [(row["segment"], row["queries"]) for row in rows] == [("a", 1), ("b", 2)]
    assert [row["hr@1"] for row in rows] == [1.0, 0.0]
    np.testing.assert_allclose([row["mrr"] for row in rows], [1.0, (1 / 2 + 1 / 3) / 2])
    assert "segment" in format_table(rows)


def test_segments_of_items_by_hand(table_model):
    ranked = rank(table_model(TABLE), TEST, seen=None, k=1)
    part = np.repeat(["low", "high"], [8, 2])
    high, low = segment_rows(ranked, items=part)
    # High: 9 of user 2 is first, 8 of user 3 second. Low: 3 of user 2 comes after 8, 7, 6, 5, 4,
    # since 9 left the list; 7 of user 4 is third.
    assert (high["segment"], high["queries"], low["queries"]) == ("high", 2, 2)
    np.testing.assert_allclose([high["mrr"], low["mrr"]], [(1 + 1 / 2) / 2, (1 / 6 + 1 / 3) / 2])


def test_named_segments_come_in_their_order(table_model):
    train = columns([(2, 4), *[(3, i) for i in (4, 5, 6)], *[(4, i) for i in (2, 3, 4, 5, 6)]])
    model = table_model(TABLE)
    ranked = rank(model, TEST, seen=train, k=1)
    counts = row_counts(train, model.schema.user_id)[ranked.users]
    rows = segment_rows(ranked, queries=user_activity(counts))
    assert [row["segment"] for row in rows] == ["cold", "warm", "hot"]
    rows = segment_rows(ranked, items=item_popularity(row_counts(train, model.schema.item_id)))
    assert [row["segment"] for row in rows] == ["head", "mid", "tail"]
    assert [row["queries"] for row in rows] == [0, 0, 3]
    assert np.isnan(rows[0]["mrr"])


def test_more_values_leave_out_nan(table_model):
    ranked = rank(table_model(TABLE), TEST, seen=None, k=1)
    more = {"novelty@1": np.array([np.nan, 1.0, 3.0])}
    rows = segment_rows(ranked, queries=np.array([1, 2, 2]), values=more)
    assert np.isnan(rows[0]["novelty@1"])
    assert (rows[1]["segment"], rows[1]["novelty@1"]) == ("2", 2.0)


def test_all_queries_in_one_segment_are_the_whole(table_model):
    ranked = rank(table_model(TABLE), TEST, seen=None, k=(1, 3))
    (row,) = segment_rows(ranked, queries=np.zeros(3, int))
    (also,) = segment_rows(ranked, items=np.zeros(10, int))
    for name, value in ranked.summary().items():
        if isinstance(value, float):
            assert row[name] == also[name] == value


def test_messages(table_model):
    ranked = rank(table_model(TABLE), TEST, seen=None, k=1)
    with pytest.raises(ValueError, match=r"each of the 3 queries.*queries=None and items=None"):
        segment_rows(ranked)
    with pytest.raises(ValueError, match=r"queries=an array \(2,\)"):
        segment_rows(ranked, queries=np.zeros(2))
    with pytest.raises(ValueError, match=r"items=an array \(9,\)"):
        segment_rows(ranked, items=np.zeros(9))
    with pytest.raises(ValueError, match="received \\['x'\\] with other lengths"):
        segment_rows(ranked, queries=np.zeros(3), values={"x": np.zeros(2)})
    with pytest.raises(ValueError, match="with labels of items"):
        segment_rows(ranked, items=np.zeros(10), values={"x": np.zeros(3)})
    with pytest.raises(ValueError, match="bounds rise"):
        user_activity(np.arange(4), bounds=(3, 2))
    with pytest.raises(ValueError, match="at least one user"):
        user_activity(np.array([]))
    with pytest.raises(ValueError, match="at least one item"):
        item_popularity(np.zeros(4))
