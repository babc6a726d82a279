import datetime

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from kerasrec.data import Examples

TABLE = {
    "age": [20.5, None, 31.0],
    "city": ["Rome", "Oslo", None],
    "day": [datetime.date(2026, 1, 2)] * 3,
    "click": [True, False, True],
}


@pytest.mark.parametrize("make", [dict, pd.DataFrame, pl.DataFrame, pa.table], ids=lambda m: m)
def test_any_table_gives_the_same_rows(make):
    rows = Examples.from_table(make(TABLE), label="click")
    assert rows.features == ("age", "city", "day")
    np.testing.assert_array_equal(rows.labels, np.float32([1, 0, 1]))
    assert rows.table["age"].to_pylist() == [20.5, None, 31.0]
    assert rows.table["city"].to_pylist() == ["Rome", "Oslo", None]


def test_time_and_group_are_no_features():
    table = {"x": [1, 2], "when": [5, 3], "house": ["a", "b"], "label": [0, 1]}
    rows = Examples.from_table(table, time="when", group="house")
    assert rows.features == ("x",)
    assert rows.times.tolist() == [5, 3]
    assert rows.table["house"].to_pylist() == ["a", "b"]
    assert Examples.from_table(table, features=["x", "house"], group="house").features == (
        "x",
        "house",
    )


def test_take_by_positions_and_by_mask():
    rows = Examples.from_table({"x": [1, 2, 3], "label": [0, 1, 0]})
    assert rows.take([2, 0]).table["x"].to_pylist() == [3, 1]
    assert rows.take(np.array([False, True, False])).labels.tolist() == [1.0]
    assert len(rows.take([])) == 0


def test_rows_without_a_label_are_dropped_on_request():
    table = {"x": [1, 2, 3], "label": [0.0, None, 1.0]}
    with pytest.raises(ValueError, match=r"the columns lack \{'label': 1\}.*missing='drop'"):
        Examples.from_table(table)
    assert Examples.from_table(table, missing="drop").table["x"].to_pylist() == [1, 3]


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        ({"x": [], "label": []}, {}, "at least one row"),
        ({"x": [1], "label": ["yes"]}, {}, "expected numbers; received text such as 'yes'"),
        ({"x": [1], "label": [float("inf")]}, {}, "finite numbers; received inf in row 1"),
        ({"x": [1], "target": [1]}, {}, "expected a column 'label'"),
        ({"x": [1], "lable": [1]}, {}, "Did you mean 'lable'"),
        ({"label": [1]}, {}, "at least one feature column beside the label"),
        ({"x": [1], "label": [1]}, {"features": "x"}, "received the string 'x'"),
        ({"x": [1], "label": [1]}, {"features": {"x": "hashed"}}, "received kinds too, .*'hashed'"),
        ({"x": [1], "label": [1]}, {"features": ["y"]}, r"'y' \(features\)"),
        ({"x": [1, 2], "g": ["a", None], "label": [1, 0]}, {"group": "g"}, "columns lack {'g': 1}"),
        ({"x": [1], "label": [1]}, {"features": ["x", "x"]}, "every column has one role"),
        ({"x": [1], "label": [1]}, {"features": ["label"]}, "every column has one role"),
        ({"x": [1], "label": [1]}, {"time": "label"}, "every column has one role"),
        ({"x": [1, 2], "label": [1]}, {}, "must have one length"),
        ({"x": [1], "label": [None]}, {"missing": "drop"}, "no row has a value"),
        ({"x": [1], "label": [1]}, {"missing": "keep"}, "missing"),
        ([1, 2], {}, "expected a dict of columns"),
    ],
)
def test_bad_input(table, options, message):
    with pytest.raises(ValueError, match=message):
        Examples.from_table(table, **options)
