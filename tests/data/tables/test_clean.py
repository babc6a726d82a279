from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec.data.tables import clean
from kerasrec.data.tables.clean import (
    deduplicate,
    drop_missing,
    drop_outliers,
    k_core,
)
from kerasrec.data.tables.interactions import Interactions

PAIRS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=40)


def made(users, items, **more):
    return Interactions.from_table(
        {"user_id": users, "item_id": items, **more},
        label="rating" if "rating" in more else None,
        time="timestamp" if "timestamp" in more else None,
        duplicates="keep",
    )


def test_drop_missing():
    data = {
        "user_id": ["a", "", None, "d"],
        "rating": [1.0, 2.0, 3.0, float("nan")],
        "note": [None, "x", "y", "z"],
    }
    assert drop_missing(data, ["user_id"]).num_rows == 2
    assert drop_missing(data, ["user_id", "rating"]).to_pydict()["user_id"] == ["a"]
    with pytest.raises(ValueError, match="none of the 4 rows"):
        drop_missing(data)
    with pytest.raises(ValueError, match="names among .*received \\['stars'\\]"):
        drop_missing(data, ["stars"])
    with pytest.raises(ValueError, match="received 'rating'"):
        drop_missing(data, "rating")
    with pytest.raises(ValueError, match="one length"):
        drop_missing({"a": [1], "b": [1, 2]})


def test_the_last_of_equal_pairs_is_kept():
    rows = made(
        [1, 1, 2, 1], [5, 5, 5, 5], rating=[1, 2, 3, 4], timestamp=[30, 20, 10, 30]
    )  # fmt: skip
    assert deduplicate(rows).column("rating").tolist() == [3, 4]
    without_time = made([1, 1, 2, 1], [5, 5, 5, 5], rating=[4, 3, 2, 1])
    assert deduplicate(without_time, "last").column("rating").tolist() == [2, 1]


def test_the_mean_of_equal_pairs():
    rows = made([1, 1, 2], [5, 5, 5], rating=[1, 4, 3], timestamp=[20, 10, 0])
    merged = deduplicate(rows, "mean")
    assert merged.column("rating").tolist() == [2.5, 3.0]
    assert merged.column("timestamp").tolist() == [20, 0]
    assert rows.column("rating").tolist() == [1, 4, 3]
    with pytest.raises(ValueError, match="'mean' needs a label"):
        deduplicate(made([1, 1], [5, 5]), "mean")


def test_duplicates_as_an_error():
    rows = made([1, 2], [5, 5])
    assert deduplicate(rows, "error") is rows
    with pytest.raises(ValueError, match="first \\(1, 5\\) in row 2"):
        deduplicate(made([1, 1], [5, 5]), "error")
    with pytest.raises(ValueError, match="policy must be .*received 'first'"):
        deduplicate(rows, "first")


@given(PAIRS)
@settings(max_examples=40, deadline=None)
def test_deduplication_keeps_each_pair_once(pairs):
    users, items = zip(*pairs, strict=True)
    rows = made(users, items, rating=list(range(len(pairs))))
    kept = deduplicate(rows)
    last = {pair: row for row, pair in enumerate(pairs)}
    assert kept.column("rating").tolist() == sorted(last.values())


@given(PAIRS, st.integers(1, 3), st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_k_core_against_one_row_at_a_time(pairs, user, item):
    left = list(pairs)
    while True:
        users, items = Counter(u for u, _ in left), Counter(i for _, i in left)
        bad = next((p for p in left if users[p[0]] < user or items[p[1]] < item), None)
        if bad is None:
            break
        left.remove(bad)
    rows = made(*zip(*pairs, strict=True))
    if not left:
        with pytest.raises(ValueError, match="no rows are left"):
            k_core(rows, user=user, item=item)
        return
    core = k_core(rows, user=user, item=item)
    kept = zip(core.column("user_id").tolist(), core.column("item_id").tolist(), strict=True)
    assert sorted(kept) == sorted(left)


def test_k_core_looks_at_the_rows_of_a_chain_once(monkeypatch):
    """Users i of items i and i + 1: each round takes the two ends away."""
    looked_at = []
    rows_of = clean._Side.rows

    def watch(side, ids):
        found = rows_of(side, ids)
        looked_at.append(len(found))
        return found

    monkeypatch.setattr(clean._Side, "rows", watch)
    users = np.repeat(np.arange(3000), 2)
    chain = made(users, users + np.tile([0, 1], 3000))
    with pytest.raises(ValueError, match="no rows are left of 6000"):
        k_core(chain, user=2, item=2)
    assert len(looked_at) >= 3000
    assert sum(looked_at) <= 2 * len(chain)


@pytest.mark.parametrize("arguments", [{"user": 0}, {"item": -1}, {"user": 1.5}, {"item": True}])
def test_k_core_takes_whole_numbers(arguments):
    with pytest.raises(ValueError, match="integer of at least 1"):
        k_core(made([1], [1]), **arguments)


def test_outliers():
    rows = made([1, 2, 3, 4], [1, 2, 3, 4], rating=[0, 3, 4, 99])
    assert drop_outliers(rows, low=1).column("rating").tolist() == [3, 4, 99]
    assert drop_outliers(rows, low=1, high=5).column("rating").tolist() == [3, 4]
    # mean 26.5, deviation 41.9: 99 is 1.73 deviations away.
    assert drop_outliers(rows, z_score=1.7).column("rating").tolist() == [0, 3, 4]
    assert len(drop_outliers(rows, z_score=1.8)) == 4
    for arguments, message in [
        ({}, "expected one of low, high and z_score"),
        ({"z_score": 0}, "z_score must be a finite number above 0; received 0"),
        ({"low": 5, "high": 6}, "no label of 4 rows is within low=5, high=6"),
    ]:
        with pytest.raises(ValueError, match=message):
            drop_outliers(rows, **arguments)
    with pytest.raises(ValueError, match="with a label column"):
        drop_outliers(made([1], [1]), low=1)
