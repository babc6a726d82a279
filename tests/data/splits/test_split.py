import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec.data.splits.split import (
    global_time_split,
    k_fold,
    leave_last_out,
    per_user_time_split,
    predefined_split,
    random_split,
)
from kerasrec.data.tables.interactions import Interactions
from kerasrec.data.tables.readers import read


def made(users, times=None, items=None):
    """Rows whose item is the number of the row, unless given."""
    data = {"user_id": users, "item_id": items or list(range(len(users)))}
    if times is not None:
        data["timestamp"] = times
    return Interactions.from_table(
        data, label=None, time=None if times is None else "timestamp", duplicates="keep"
    )


def rows_of(split):
    return [part.column("item_id").tolist() for part in (split.train, split.valid, split.test)]


ROWS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6)), min_size=12, max_size=60)


@given(ROWS, st.sampled_from(["random", "fold", "last", "temporal", "time"]))
@settings(max_examples=100, deadline=None)
def test_every_row_goes_to_one_part_and_keeps_its_order(rows, method):
    users, times = zip(*rows, strict=True)
    interactions = made(users, times)
    before = interactions.table.to_pydict()
    try:
        split = {
            "random": lambda: random_split(interactions),
            "fold": lambda: next(k_fold(interactions, valid=0.2)),
            "last": lambda: leave_last_out(interactions),
            "temporal": lambda: per_user_time_split(interactions, valid=0.2, test=0.2),
            "time": lambda: global_time_split(interactions, valid=0.2, test=0.2),
        }[method]()
    except ValueError as error:
        assert "part of the" in str(error) and "is empty" in str(error)
        return
    parts = rows_of(split)
    assert sorted(sum(parts, [])) == list(range(len(rows)))
    assert all(part == sorted(part) for part in parts)
    assert interactions.table.to_pydict() == before
    train, valid, test = ([(users[row], times[row]) for row in part] for part in parts)
    if method in ("last", "temporal"):
        for user in set(users):
            of_user = [[t for u, t in part if u == user] for part in (train, valid, test)]
            assert of_user[0], "every user keeps a training row"
            for early, late in [(0, 1), (1, 2), (0, 2)]:
                if of_user[early] and of_user[late]:
                    assert max(of_user[early]) <= min(of_user[late])
    if method == "time":
        assert max(t for _, t in train) < min(t for _, t in valid)
        assert max(t for _, t in valid) < min(t for _, t in test)


def test_random_split_is_seeded_and_rounds_down():
    rows = made(list(range(100)))
    split = random_split(rows, valid=0.29, test=0.155, seed=3)
    assert [len(part) for part in (split.train, split.valid, split.test)] == [56, 29, 15]
    assert rows_of(random_split(rows, seed=1)) == rows_of(random_split(rows, seed=1))
    assert rows_of(random_split(rows, seed=1)) != rows_of(random_split(rows, seed=2))
    assert len(random_split(rows, valid=0, test=0.2).valid) == 0


def test_folds_are_those_of_surprise():
    rows = made(list(range(11)))
    order = np.arange(11)
    np.random.RandomState(7).shuffle(order)
    # 11 rows in 3 folds: 4, 4 and 3.
    expected = [sorted(order[:4]), sorted(order[4:8]), sorted(order[8:])]
    splits = list(k_fold(rows, folds=3, seed=7))
    assert [rows_of(split)[2] for split in splits] == expected
    assert all(len(split.valid) == 0 for split in splits)
    with_valid = list(k_fold(rows, folds=3, seed=7, valid=0.3))
    assert [rows_of(split)[2] for split in with_valid] == expected
    assert [len(split.valid) for split in with_valid] == [2, 2, 2]
    assert [rows_of(split) for split in k_fold(rows, folds=3, seed=7, valid=0.3)] == [
        rows_of(split) for split in with_valid
    ]


def test_leave_last_out_by_hand():
    #            row:  0  1  2  3  4  5  6  7
    rows = made([1, 1, 2, 1, 2, 1, 3, 3], [40, 10, 20, 40, 10, 30, 1, 1])
    split = leave_last_out(rows)
    # User 1 in order: rows 1, 5, 0, 3 (0 and 3 share a time: file order). 2 and 3: two rows.
    assert rows_of(split) == [[1, 2, 4, 5, 6, 7], [0], [3]]
    assert "2 rows share user and time with the row before" in split.method
    assert "2 users with at most 2 rows stay in train whole" in split.method
    split = leave_last_out(rows, valid=0, test=1)
    assert rows_of(split) == [[0, 1, 4, 5, 6], [], [2, 3, 7]]
    split = leave_last_out(rows, valid=1, test=2)
    assert rows_of(split) == [[1, 2, 4, 6, 7], [5], [0, 3]]


def test_temporal_split_by_hand():
    rows = made([1] * 10 + [2] * 4, [*range(10, 0, -1), 4, 3, 2, 1])
    split = per_user_time_split(rows, valid=0.2, test=0.3)
    # User 1: 3 test and 2 valid rows; user 2: 1 and 0.
    assert rows_of(split) == [[5, 6, 7, 8, 9, 11, 12, 13], [3, 4], [0, 1, 2, 10]]


def test_time_split_keeps_equal_times_together():
    rows = made(list(range(10)), [1, 1, 1, 1, 2, 2, 3, 3, 3, 4])
    split = global_time_split(rows, valid=0.2, test=0.2)
    # Two test rows are asked for; the cut falls into time 3, whose three rows go along.
    assert rows_of(split) == [[0, 1, 2, 3], [4, 5], [6, 7, 8, 9]]
    assert split.method.endswith("valid from time 2, test from 3")
    split = global_time_split(rows, cuts=(2, 4))
    assert rows_of(split) == [[0, 1, 2, 3], [4, 5, 6, 7, 8], [9]]
    assert rows_of(global_time_split(rows, cuts=(4, 4))) == [list(range(9)), [], [9]]
    with pytest.raises(ValueError, match="train part of the 10 rows is empty.*equal times"):
        global_time_split(made(list(range(10)), [5] * 10))


def test_cold_users_and_items_are_stated():
    train, test = made([1, 1, 2], items=[7, 8, 7]), made([1, 3, 3], items=[9, 7, 9])
    split = predefined_split(train, test)
    assert split.cold_users.tolist() == [3] and split.cold_items.tolist() == [9]
    text = split.describe()
    assert "train            3 rows          2 users          2 items" in text
    assert "test: 1 users have no training row (2 of 3 rows)" in text
    assert "test: 1 items have no training row (2 of 3 rows)" in text
    assert split.repeated_pairs == 0 and "repeat" not in text


def test_repeated_pairs_are_stated():
    rows = made([1, 1, 1, 2, 2], [1, 2, 3, 1, 2], items=[5, 6, 5, 5, 6])
    split = leave_last_out(rows, valid=0)
    assert split.repeated_pairs == 1
    assert "test: 1 of 2 rows repeat a (user, item) pair" in split.describe()


def test_given_folds_must_fit_together():
    train = made([1, 2], items=[7, 8])
    split = predefined_split(train, made([1], items=[8]), valid=made([2], items=[7 + 2]))
    assert [len(part) for part in (split.train, split.valid, split.test)] == [2, 1, 1]
    for test, message in [
        (made([1], [1], items=[8]), "test must be Interactions with the columns"),
        (
            made(["1"], items=[8]),
            "\\['int64', 'int64'\\] in train and \\['string', 'int64'\\] in test",
        ),
        (train.take([]), "need rows; received 2 and 0"),
        (made([1, 1], items=[7, 8]), "1 of 2 rows of test are in train as well"),
        (None, "test must be Interactions"),
    ]:
        with pytest.raises(ValueError, match=message):
            predefined_split(train, test)
    with pytest.raises(ValueError, match="1 of 1 rows of valid are in train"):
        predefined_split(train, made([1], items=[8]), valid=made([1], items=[7]))


@pytest.mark.parametrize(
    "make, message",
    [
        (
            lambda rows: random_split(rows, valid=-0.1),
            "valid must be a number from 0 to less than 1; received -0.1",
        ),
        (lambda rows: random_split(rows, valid=0.5, test=0.5), "shares of the rows"),
        (lambda rows: random_split(rows, valid=0, test=0), "shares of the rows"),
        (lambda rows: random_split(rows, test="0.1"), "test must be a number .* received .0.1"),
        (
            lambda rows: random_split(rows, test=float("nan")),
            "test must be a number .* received nan",
        ),
        (lambda rows: random_split(rows, valid=0.01), "valid part of the 6 rows is empty"),
        (lambda rows: k_fold(rows, folds=1), "integer from 2 to 6; received 1. There are 6 rows"),
        (lambda rows: k_fold(rows, folds=7), "received 7"),
        (
            lambda rows: leave_last_out(rows, test=0),
            "test must be an integer of at least 1.*rows of each user",
        ),
        (lambda rows: leave_last_out(rows, valid=0.1), "valid must be an integer"),
        (lambda rows: leave_last_out(rows, valid=3, test=3), "valid part of the 6 rows is empty"),
        (lambda rows: global_time_split(rows, cuts=(3, 1)), "cuts must rise"),
        (lambda rows: global_time_split(rows, cuts=(3,)), "cuts takes two times"),
        (lambda rows: global_time_split(rows, cuts=(1.5, 2)), "must be an integer in the unit"),
        (lambda rows: global_time_split(rows, cuts=(0, 3)), "train part of the 6 rows is empty"),
        (lambda rows: global_time_split(rows, cuts=(90, 99)), "valid part of the 6 rows is empty"),
    ],
)
def test_refused_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make(made([1, 1, 1, 2, 2, 2], [1, 2, 3, 1, 2, 3]))


@pytest.mark.parametrize("method", [leave_last_out, per_user_time_split, global_time_split])
def test_a_time_column_is_needed(method):
    with pytest.raises(ValueError, match="expected a time column.*with_time\\(np.arange"):
        method(made([1, 1, 1]))
    numbered = made([1] * 12).with_time(np.arange(12))
    assert rows_of(method(numbered)) == [list(range(10)), [10], [11]]


def test_a_single_user_or_item_can_be_split():
    assert rows_of(leave_last_out(made([1] * 3, [1, 2, 3], items=[4, 4, 4]))) == [[4], [4], [4]]


def test_ml_100k():
    path = Path(os.environ.get("KERASREC_DATA", ""), "ml-100k")
    if not (path / "u.data.gz").is_file():
        pytest.skip("ml-100k is not in KERASREC_DATA")
    rows = read(path / "u.data.gz")
    order = np.arange(100_000)
    np.random.RandomState(0).shuffle(order)
    for fold, split in enumerate(k_fold(rows)):
        block = np.sort(order[20_000 * fold : 20_000 * (fold + 1)])
        for name in rows.columns:
            np.testing.assert_array_equal(split.test.column(name), rows.column(name)[block])
    split = leave_last_out(rows)
    assert [len(part) for part in (split.train, split.valid, split.test)] == [98_114, 943, 943]
    parts = [read(path / f"u1.{name}.gz") for name in ("base", "test")]
    assert predefined_split(*parts).cold_items.size == 32
    with pytest.raises(ValueError, match="20000 of 20000 rows of test are in train"):
        predefined_split(rows, parts[1])
