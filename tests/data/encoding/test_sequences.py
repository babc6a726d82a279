"""Histories: order, padding, ties, and that nothing later than a row is ever in its history."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec.data.encoding.sequences import History, add_history, time_gaps
from kerasrec.schema import Categorical, IdSequence, NumericSequence, Schema


def schema_of(length: int, *, num_users: int = 9, num_items: int = 30) -> Schema:
    return Schema(
        user=[Categorical("user", num_users), IdSequence("history", of="item", max_length=length)],
        item=[Categorical("item", num_items)],
    )


def rows(*values: tuple[int, int, int]) -> dict[str, np.ndarray]:
    user, item, time = np.array(values).T
    return {"user": user.astype(np.int32), "item": item.astype(np.int32), "timestamp": time}


def table(columns: dict) -> list[list[int]]:
    history = columns["history"]
    return history[np.arange(len(history))].tolist()


def test_newest_last_padded_right_cut_to_the_newest():
    columns = rows((2, 10, 1), (2, 11, 2), (2, 12, 3), (2, 13, 4), (3, 20, 1))
    with_history = add_history(columns, schema_of(2))
    assert table(with_history) == [[0, 0], [10, 0], [10, 11], [11, 12], [0, 0]]
    history = with_history["history"]
    assert history.shape == (5, 2) and history.dtype == np.int32 and len(history) == 5
    assert history[np.array([1])].dtype == np.int32
    assert history.lengths.tolist() == [0, 1, 2, 3, 0]
    assert with_history["item"] is columns["item"] and "history" not in columns


def test_ties_keep_the_order_of_the_file():
    columns = rows((2, 10, 5), (3, 20, 5), (2, 11, 5), (2, 12, 5), (2, 13, 4))
    assert table(add_history(columns, schema_of(4))) == [
        [13, 0, 0, 0],
        [0, 0, 0, 0],
        [13, 10, 0, 0],
        [13, 10, 11, 0],
        [0, 0, 0, 0],
    ]


def test_the_time_is_that_of_the_schema():
    columns = rows((3, 20, 9), (3, 21, 1))
    columns["day"] = columns.pop("timestamp")
    schema = dataclasses.replace(schema_of(2), time="day")
    assert table(add_history(columns, schema)) == [[21, 0], [0, 0]]
    assert time_gaps(columns, schema).tolist() == [8, 0]
    columns["row"] = np.array([1, 2])
    assert table(add_history(columns, schema, time="row")) == [[0, 0], [20, 0]]
    with pytest.raises(ValueError, match="expected a column 'timestamp'"):
        add_history(columns, schema_of(2))


def test_without_time_the_file_is_the_order():
    columns = rows((3, 20, 9), (2, 10, 9), (3, 21, 1))
    assert table(add_history(columns, schema_of(2), time=None)) == [[0, 0], [0, 0], [20, 0]]
    dates = {**columns, "timestamp": columns["timestamp"].astype("datetime64[s]")}
    assert table(add_history(dates, schema_of(2))) == [[21, 0], [0, 0], [0, 0]]


def test_past_rows_are_history_only_and_never_later_ones():
    train = rows((2, 10, 1), (2, 11, 5), (4, 12, 1))
    test = rows((2, 20, 3), (2, 21, 5), (3, 22, 1))
    with_history = add_history(test, schema_of(3), past=train)
    assert table(with_history) == [[10, 0, 0], [10, 20, 11], [0, 0, 0]]
    assert with_history["item"].tolist() == [20, 21, 22]


def test_rows_with_too_little_history_are_left_out():
    columns = rows((2, 10, 1), (3, 20, 1), (2, 11, 2), (2, 12, 3))
    kept = add_history(columns, schema_of(2), min_history=1)
    assert kept["item"].tolist() == [11, 12] and table(kept) == [[10, 0], [10, 11]]
    assert len(columns["item"]) == 4
    with pytest.raises(ValueError, match="no row has 3 earlier items; the longest history has 2"):
        add_history(columns, schema_of(2), min_history=3)


def test_several_sequences_share_the_rows():
    schema = Schema(
        user=[Categorical("user", 9), IdSequence("short", of="item", max_length=1)],
        item=[Categorical("item", 30)],
        context=[IdSequence("long", of="item", max_length=3)],
    )
    columns = add_history(rows((2, 10, 1), (2, 11, 2), (2, 12, 3)), schema)
    every = np.arange(3)
    assert columns["short"][every].tolist() == [[0], [10], [11]]
    assert columns["long"][every].tolist() == [[0, 0, 0], [10, 0, 0], [10, 11, 0]]
    assert columns["short"].items is columns["long"].items


@settings(max_examples=40, deadline=None)
@given(
    values=st.lists(
        st.tuples(st.integers(1, 4), st.integers(1, 29), st.integers(-3, 3)),
        min_size=1,
        max_size=30,
    ),
    length=st.integers(1, 5),
    split=st.integers(0, 10),
)
def test_equals_a_plain_loop(values, length, split):
    past, values = values[:split], values[split:] or [(2, 2, 0)]
    columns = add_history(rows(*values), schema_of(length), past=rows(*past) if past else None)
    together = [*past, *values]
    for row, found in enumerate(table(columns), start=len(past)):
        user, _, time = together[row]
        earlier = [
            (t, place, item)
            for place, (u, item, t) in enumerate(together)
            if u == user and (t, place) < (time, row)
        ]
        expected = [item for _, _, item in sorted(earlier)][-length:]
        assert found == expected + [0] * (length - len(expected))


def test_memory_is_that_of_the_rows():
    """200,000 rows x 1,000 ids would be 800 MB."""
    num = 200_000
    rng = np.random.default_rng(0)
    columns = {
        "user": rng.integers(2, 9, num, dtype=np.int32),
        "item": rng.integers(2, 30, num, dtype=np.int32),
        "timestamp": np.arange(num),
    }
    history = add_history(columns, schema_of(1000))["history"]
    assert isinstance(history, History)
    assert history.items.nbytes + history.begin.nbytes + history.end.nbytes <= 20 * num
    assert history[np.array([num - 1])].shape == (1, 1000)


def test_a_history_is_read_row_by_row_too():
    history = add_history(rows((2, 10, 1), (2, 11, 2), (2, 12, 3)), schema_of(2))["history"]
    assert [one.tolist() for one in history] == [[0, 0], [10, 0], [10, 11]]
    assert history[-1].tolist() == [10, 11]
    assert history[1:].tolist() == [[10, 0], [10, 11]]
    with pytest.raises(IndexError):
        history[3]


GOOD = rows((2, 10, 1), (2, 11, 2))


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({**GOOD, "timestamp": np.array([1.0, np.nan])}, {}, "has 1 missing or infinite values"),
        ({**GOOD, "timestamp": np.array(["a", "b"])}, {}, "one number a row, or one date"),
        (GOOD, {"time": "when"}, "expected a column 'when'; received the columns"),
        ({**GOOD, "item": GOOD["item"][:1]}, {}, "same number of rows"),
        ({**GOOD, "item": np.array([1, 30])}, {}, "ids from 1 to 29; received ids from 1 to 30"),
        ({k: v[:0] for k, v in GOOD.items()}, {}, "received no rows"),
        (GOOD, {"min_history": -1}, "min_history must be an integer of at least 0; received -1"),
        (GOOD, {"past": {"user": GOOD["user"]}}, "expected a column 'item'"),
        (
            GOOD,
            {"past": {**GOOD, "timestamp": GOOD["timestamp"].astype("datetime64[s]")}},
            r"received datetime64\[s\] of shape \(2,\) and int64",
        ),
    ],
)
def test_bad_input(columns, options, message):
    with pytest.raises(ValueError, match=message):
        add_history(columns, schema_of(2), **options)


def test_a_schema_without_a_sequence_says_what_to_add():
    schema = Schema(user=[Categorical("user", 9)], item=[Categorical("item", 30)])
    with pytest.raises(ValueError, match=r"Add IdSequence\('history', of='item', max_length=50\)"):
        add_history(GOOD, schema)


def numeric_schema(length: int, *, items: bool = True) -> Schema:
    history = [IdSequence("history", of="item", max_length=length)] if items else []
    ratings = NumericSequence("ratings", of="rating", max_length=length)
    pictures = NumericSequence("pictures", 2, of="picture", max_length=length)
    return Schema(
        user=[Categorical("user", 9), *history, ratings], item=[Categorical("item", 30)],
        context=[pictures],
    )  # fmt: skip


@pytest.mark.parametrize("items", [True, False])
def test_numbers_stand_beside_the_items_of_a_history(items):
    columns = rows((2, 10, 3), (2, 11, 1), (3, 20, 1), (2, 12, 2), (2, 13, 4))
    columns["rating"] = np.array([1, 2, 3, 4, 5], np.int64)
    columns["picture"] = np.stack([columns["item"], -columns["item"]], axis=1).astype(np.float32)
    every = np.arange(5)
    found = add_history(columns, numeric_schema(2, items=items))
    # User 2: 11 (rated 2), 12 (4), 10 (1), 13 (5).
    none = np.nan  # 0 may be a rating
    np.testing.assert_array_equal(
        found["ratings"][every], [[2, 4], [none, none], [none, none], [2, none], [4, 1]]
    )
    assert found["pictures"][every][4].tolist() == [[12, -12], [10, -10]]
    np.testing.assert_array_equal(found["pictures"][every][3], [[11, -11], [none, none]])
    assert found["ratings"].dtype == np.float32 and found["pictures"].shape == (5, 2, 2)
    assert ("history" in found) is items
    test = {name: values[[2]] for name, values in columns.items()}
    test["user"] = np.array([2], np.int32)
    later = add_history(test, numeric_schema(3), past=columns)
    np.testing.assert_array_equal(later["ratings"][np.array([0])], [[2, none, none]])
    with pytest.raises(ValueError, match="expected a column 'rating'"):
        add_history(rows((2, 10, 1)), numeric_schema(2))


@settings(max_examples=30, deadline=None)
@given(
    values=st.lists(
        st.tuples(st.integers(2, 4), st.integers(2, 29), st.integers(-3, 3)),
        min_size=1,
        max_size=20,
    ),
    length=st.integers(1, 4),
)
def test_numbers_are_those_of_the_events_of_the_history(values, length):
    columns = rows(*values)
    columns["rating"] = columns["item"] * 0.5
    columns["picture"] = np.stack([columns["item"], columns["item"] + 1], axis=1)
    found = {n: np.asarray(v) for n, v in add_history(columns, numeric_schema(length)).items()}
    items = np.where(found["history"] == 0, np.nan, found["history"])
    np.testing.assert_array_equal(found["ratings"], items * 0.5)
    np.testing.assert_array_equal(found["pictures"][..., 0], items)


@settings(max_examples=30, deadline=None)
@given(
    values=st.lists(st.tuples(st.integers(2, 4), st.integers(0, 50)), min_size=1, max_size=20),
    split=st.integers(0, 10),
)
def test_gaps_equal_a_plain_loop(values, split):
    columns = rows(*((user, 5, time) for user, time in values))
    past = {name: column[:split] for name, column in columns.items()}
    later = {name: column[split:] for name, column in columns.items()}
    if not len(later["user"]):
        past, later = None, columns
    found = time_gaps(later, numeric_schema(2), past=past if past and split else None, unit=2)
    expected = []
    for row, (user, time) in enumerate(values):
        before = [
            t for place, (u, t) in enumerate(values) if u == user and (t, place) < (time, row)
        ]
        expected.append((time - max(before)) / 2 if before else 0)
    assert found.tolist() == expected[len(values) - len(found) :]
    assert found.dtype == np.float32


def test_the_unit_of_gaps_is_positive():
    with pytest.raises(ValueError, match="unit must be above 0; received 0"):
        time_gaps(GOOD, schema_of(2), unit=0)
