import datetime
import decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec.data.tables.arrow import TEXT_IDS
from kerasrec.data.tables.interactions import Interactions

COLUMNS = {"user_id": [1, 2], "item_id": [5, 6], "rating": [1.0, 2.0], "timestamp": [10, 20]}


def made(**changes):
    return Interactions.from_table({**COLUMNS, **changes})


def test_roles_become_the_columns_and_their_types():
    rows = Interactions.from_table(
        {**COLUMNS, "hour": [3, 4], "device": ["tv", "pc"], "price": [0.5, 1.5], "other": [0, 0]},
        context=["hour", "device", "price"],
    )
    assert rows.columns == ["user_id", "item_id", "rating", "timestamp", "hour", "device", "price"]
    types = [
        pa.int64(),
        pa.int64(),
        pa.float32(),
        pa.int64(),
        pa.int64(),
        TEXT_IDS,
        pa.float32(),
    ]
    assert rows.table.schema.types == types
    assert (len(rows), rows.num_users, rows.num_items) == (2, 2, 2)
    assert rows.column("price").tolist() == [0.5, 1.5]
    assert "2 rows, 2 users, 2 items" in repr(rows)


@pytest.mark.parametrize(
    "data",
    [
        pd.DataFrame(COLUMNS, index=[7, 7]),
        pa.table(COLUMNS),
        pa.record_batch(COLUMNS),
        pa.table(COLUMNS).to_reader(),
        {name: np.array(values) for name, values in COLUMNS.items()},
        {name: pd.Series(values) for name, values in COLUMNS.items()},
    ],
    ids=lambda data: type(data).__name__,
)
def test_tables_of_any_origin(data):
    rows = Interactions.from_table(data)
    assert rows.table.to_pydict() == COLUMNS


def test_pandas_strings_categories_and_nullable_numbers():
    frame = pd.DataFrame(
        {
            "user_id": ["ann", "bob"],
            "item_id": pd.Categorical(["x", "y"]),
            "rating": pd.array([1, 2], dtype="Int64"),
            "timestamp": pd.to_datetime(["2020-01-01", "2020-01-02"]),
        }
    )
    before = frame.copy()
    rows = Interactions.from_table(frame)
    assert rows.column("user_id").tolist() == ["ann", "bob"]
    assert rows.column("item_id").tolist() == ["x", "y"]
    assert rows.column("timestamp").tolist() == [1577836800000000, 1577923200000000]
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize(
    "times, expected",
    [
        ([1.0, 2.0], [1, 2]),
        ([-5, 3], [-5, 3]),
        (np.array(["1970-01-01T00:00:01", "1970-01-02"], "datetime64[ns]"), [10**6, 86400 * 10**6]),
        (np.array(["1970-01-01T00:00:01", "1970-01-02"], "datetime64[s]"), [10**6, 86400 * 10**6]),
        ([datetime.date(1970, 1, 1), datetime.date(1970, 1, 2)], [0, 86400 * 10**6]),
        (pd.to_datetime(["1970-01-01", "1970-01-02"]).tz_localize("Etc/GMT-1"),
         [-3600 * 10**6, 82800 * 10**6]),
    ],
)  # fmt: skip
def test_times(times, expected):
    assert made(timestamp=times).column("timestamp").tolist() == expected


@pytest.mark.parametrize(
    "labels",
    [[True, False], [decimal.Decimal(1), decimal.Decimal(0)], np.array([1, 0], np.float16), [1, 0]],
)
def test_labels(labels):
    column = made(rating=labels).column("rating")
    assert column.dtype == np.float32 and column.tolist() == [1, 0]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"user_id": [-1, 2]}, "'user_id' \\(user\\): integer ids must lie in 0 .. 2\\*\\*63 - 1"),
        ({"item_id": np.array([2**63, 1], np.uint64)}, "'item_id' \\(item\\).*9223372036854775808"),
        ({"user_id": [1.5, 2.0]}, "integers or strings; received the type double with 1.5"),
        ({"user_id": ["a", 1]}, "one column of values of one type"),
        ({"user_id": np.array(["a", 1], object)}, "one column of values of one type"),
        ({"user_id": ["a", "b\n"]}, "one line of text"),
        ({"user_id": ["a", None]}, "no missing values.*'user_id': 1.*missing='drop'"),
        ({"user_id": ["a", ""]}, "no missing values.*'user_id': 1"),
        ({"rating": [1.0, float("nan")]}, "no missing values.*'rating': 1"),
        (
            {"timestamp": np.array(["2020", "NaT"], "datetime64[s]")},
            "no missing values.*'timestamp'",
        ),
        ({"rating": [1.0, float("inf")]}, "finite float32 numbers; received inf in row 2"),
        ({"rating": [1e300, 1.0]}, "finite float32 numbers"),
        ({"rating": ["1", "two"]}, "expected numbers; received text such as '1'"),
        ({"rating": [[1], [2]]}, "expected numbers; received the type list"),
        ({"timestamp": [1e300, 2.0]}, "times must be numbers below"),
        ({"timestamp": [float("inf"), 2.0]}, "times must be numbers below"),
        ({"timestamp": ["2020-01-01", "2020-01-02"]}, "timestamps or dates; received string"),
        ({"timestamp": np.array([2**62, 0], "datetime64[s]")}, "290,000 years"),
        ({"item_id": [5]}, "one length"),
        ({name: [] for name in COLUMNS}, "at least one row"),
    ],
)
def test_refused_values(changes, message):
    with pytest.raises(ValueError, match=message):
        made(**changes)


def test_duplicate_pairs_are_refused_or_kept():
    data = {"user_id": [1, 2, 1], "item_id": ["a", "a", "a"]}
    with pytest.raises(ValueError, match=r"1 of 3 rows repeat .* \(1, 'a'\) in row 3.*deduplicate"):
        Interactions.from_table(data, label=None, time=None)
    assert len(Interactions.from_table(data, label=None, time=None, duplicates="keep")) == 3


def test_missing_rows_are_dropped_on_request():
    rows = Interactions.from_table(
        {"user_id": ["a", "", None, "d"], "item_id": [1, 2, 3, 4], "rating": [1, 2, 3, np.nan]},
        time=None,
        missing="drop",
    )
    assert rows.column("user_id").tolist() == ["a"]
    with pytest.raises(ValueError, match="each of the 1 rows has a missing value"):
        Interactions.from_table(
            {"user_id": [None], "item_id": [1]}, label=None, time=None, missing="drop"
        )


@pytest.mark.parametrize(
    "roles, message",
    [
        ({"item": "movie"}, "one column 'movie' \\(item\\); received none among.*Pass item="),
        ({"label": "stars"}, "'stars' \\(label\\).*label=None if there is none"),
        ({"time": "when"}, "'when' \\(time\\).*time=None if there is none"),
        ({"context": ["hour"]}, "'hour' \\(context\\)"),
        ({"context": "hour"}, "sequence of column names; received the string 'hour'"),
        ({"label": "user_id"}, "column of its own; received \\['user_id'\\]"),
        ({"user": 3}, "takes a column name; received 3"),
        ({"user": None}, "takes a column name; received None"),
        ({"missing": "skip"}, "missing must be one of"),
        ({"duplicates": "last"}, "duplicates must be one of"),
    ],
)
def test_refused_roles(roles, message):
    with pytest.raises(ValueError, match=message):
        Interactions.from_table(COLUMNS, **roles)


@pytest.mark.parametrize("data", [None, [1, 2], "ratings.csv", 3])
def test_what_is_no_table(data):
    with pytest.raises(
        ValueError, match="expected a dict of columns or a table.*kerasrec.data.read"
    ):
        Interactions.from_table(data)


def test_tables_that_arrow_cannot_take():
    with pytest.raises(ValueError, match="cannot become an Arrow table.*column z"):
        Interactions.from_table(pd.DataFrame({**COLUMNS, "z": [1, "a"]}))
    twice = pa.table([[1], [1]], names=["user_id", "user_id"])
    with pytest.raises(ValueError, match="different names; received \\['user_id'\\]"):
        Interactions.from_table(twice)


def test_context_types():
    def context(values):
        data = {"user_id": [1, 2], "item_id": [1, 2], "c": values}
        return Interactions.from_table(data, label=None, time=None, context=("c",)).column("c")

    assert context([True, False]).tolist() == [1, 0]
    assert context([0.5, 1.5]).dtype == np.float32
    with pytest.raises(ValueError, match="'c' \\(context\\).*received -1"):
        context([-1, 1])
    with pytest.raises(ValueError, match="'c' \\(context\\).*timestamp"):
        context([datetime.datetime(2020, 1, 1)] * 2)


def test_the_constructor_checks_too():
    with pytest.raises(ValueError, match="must be a pyarrow.Table; received dict"):
        Interactions({"user_id": [1]})
    with pytest.raises(
        ValueError, match="'rating' \\(label\\) must be of type float; received double"
    ):
        Interactions(pa.table(COLUMNS))
    table = made().table
    broken = table.set_column(2, "rating", pa.array([1.0, None], pa.float32()))
    with pytest.raises(ValueError, match="1 of 2 values are missing"):
        Interactions(broken)


def test_take_by_positions_or_mask():
    rows = made()
    assert rows.take([1, 0, 1]).column("item_id").tolist() == [6, 5, 6]
    assert rows.take(np.array([False, True])).column("item_id").tolist() == [6]
    assert len(rows.take([])) == 0 and rows.take([]).num_users == 0
    for indices in ([2], [-1], [0.5], [[0]], np.array([True])):
        with pytest.raises(ValueError, match="Interactions.take"):
            rows.take(indices)


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(0, 3)), min_size=1, max_size=20
    )
)
@settings(max_examples=40, deadline=None)
def test_codes_and_pairs_agree_exactly_where_the_values_do(values):
    users, items = zip(*values, strict=True)
    rows = Interactions.from_table(
        {"user_id": users, "item_id": items}, label=None, time=None, duplicates="keep"
    )
    codes, pairs = rows.codes("user_id"), rows.pairs()
    assert codes[0] == 0 and codes.max() == rows.num_users - 1
    for i in range(len(values)):
        for j in range(len(values)):
            assert (codes[i] == codes[j]) == (users[i] == users[j])
            assert (pairs[i] == pairs[j]) == (values[i] == values[j])


def test_other_values_make_other_interactions():
    rows = made()
    scaled = rows.with_column("rating", [0.25, 0.5])
    assert scaled.column("rating").tolist() == [0.25, 0.5]
    assert rows.column("rating").tolist() == [1.0, 2.0]
    assert rows.with_time(np.arange(2), "row").columns == ["user_id", "item_id", "rating", "row"]
    for name, values, message in [
        ("stars", [1, 2], "no column 'stars'"),
        ("rating", [1], "needs 2 values"),
        ("rating", [1, None], "missing"),
        ("rating", ["a", "b"], "expected numbers"),
    ]:
        with pytest.raises(ValueError, match=message):
            rows.with_column(name, values)
    for look in (rows.column, rows.codes):
        with pytest.raises(ValueError, match="no column 'stars'"):
            look("stars")
    with pytest.raises(ValueError, match="column of its own"):
        rows.with_time([1, 2], "rating")
