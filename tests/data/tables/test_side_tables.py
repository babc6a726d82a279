import datetime

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kerasrec.data import Interactions, audit, read
from kerasrec.data.tables.side_tables import as_kind, kind_of_column

ROWS = {"user_id": [7, 7, 9], "item_id": ["a", "b", "a"]}
NEITHER = {"label": None, "time": None}
ITEMS = {"item_id": ["b", "a"], "price": [2.5, 1.0]}


def rows(**options):
    return Interactions.from_table(ROWS, **NEITHER, **options)


@pytest.mark.parametrize(
    "as_table",
    [dict, pa.table, pd.DataFrame, pl.DataFrame],
    ids=["dict", "arrow", "pandas", "polars"],
)
def test_tables_of_any_kind_are_joined_by_id(as_table):
    made = rows(items=as_table(ITEMS), users=as_table({"user_id": [9, 7], "age": [20, 30]}))
    assert made.items.to_pydict() == ITEMS and made.users["user_id"].type == pa.int64()
    assert made.take([0]).items is made.items
    assert made.with_tables(items={**ITEMS, "price": [3, 4]}).items["price"].to_pylist() == [3, 4]
    assert rows().users is None and rows().items is None


@pytest.mark.parametrize("name", ["item_id", "movieId", "asin"])
def test_files_are_read_with_ids_typed_as_in_the_interactions(tmp_path, name):
    ratings, items = tmp_path / "ratings.csv", tmp_path / "items.csv"
    ratings.write_text("user_id,item_id,rating\nann,007,4\nbob,8,3\nann,8,1\n")
    items.write_text(f"{name},genres,price,seats\n007,War|Drama,1.5,4\n8,Drama,2,\n9,,3,5\n")
    made = read(ratings, time=None, items=items)
    assert made.items.to_pylist() == [
        {"item_id": "007", "genres": "War|Drama", "price": 1.5, "seats": 4},
        {"item_id": "8", "genres": "Drama", "price": 2.0, "seats": None},
        {"item_id": "9", "genres": None, "price": 3.0, "seats": 5},
    ]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"price": [1.0]}, r"items: expected a column 'item_id'.*received \['price'\].*Rename"),
        ({"item_id": ["a", "b"]}, "a column besides 'item_id'.*2 rows. Leave items= out"),
        ({"item_id": [], "price": []}, "0 rows"),
        (
            {"item_id": ["a"], "price": [1.0]},
            r"1 of the 2 items of the interactions have no row there, such as \['b'\].*'unknown'",
        ),
        ({"item_id": ["a", "b", "a"], "p": [1, 2, 3]}, "1 of 2 have several, such as 'a'.*'|'"),
        ({"item_id": [1, 2], "p": [1, 2]}, "holds integers, such as 1; .*hold text, such as 'a'"),
        ({"item_id": ["a", "b", None], "p": [1, 2, 3]}, "1 of 3 ids are missing"),
        (7, "received int"),
    ],
)
def test_tables_that_are_refused(table, message):
    with pytest.raises(ValueError, match=message):
        rows(items=table)


def test_users_without_a_row_may_be_unknown():
    with pytest.raises(ValueError, match=r"users: column 'user_id': 1 of the 2 users.*\[9\]"):
        rows(users={"user_id": [7], "age": [30]})
    made = rows(users={"user_id": [7], "age": [30]}, missing_sides="unknown")
    assert made.users.num_rows == 1
    with pytest.raises(ValueError, match="missing_sides must be one of 'error', 'unknown'"):
        rows(missing_sides="drop")


DAY = datetime.date(1970, 1, 3)


@pytest.mark.parametrize(
    ("name", "values", "kind", "because", "plain"),
    [
        ("age", [20.5, 30.0, None], "numeric", "2 numbers from 20.5 to 30", [20.5, 30.0, None]),
        ("year", list(range(50)), "numeric", "50 numbers from 0 to 49", None),
        ("debt", [-1, 2, -1, 2], "numeric", "2 numbers from -1 to 2", [-1.0, 2.0, -1.0, 2.0]),
        ("seats", [1, 2, 1, 2], "categorical", "2 values", [1, 2, 1, 2]),
        ("seats", [1, 2, 3, 4], "numeric", "4 numbers from 1 to 4", None),
        ("seats", [1.0, 2.0, None, 1.0, 2.0], "categorical", "2 values", [1, 2, None, 1, 2]),
        ("brand_id", list(range(50)), "categorical", "50 values", None),
        ("new", [True, False, None], "categorical", "2 values", [1, 0, None]),
        ("day", [DAY, None, DAY + datetime.timedelta(1)], "numeric", "2 numbers", [2.0, None, 3.0]),
        ("sex", ["F", "M", "F", "M", ""], "categorical", "2 values", ["F", "M", "F", "M", None]),
        ("tags", ["x|y", "z", None], None, "almost all", [["x", "y"], ["z"], None]),
        ("city", ["x", "y", "x"], "categorical", "2 values", ["x", "y", "x"]),
        ("city", [f"{n}" for n in range(34)] * 2, "categorical", "34 values", None),
        ("zip", [f"{n:05}" for n in range(40)] + ["00000"], None, "almost all", None),
        ("tags", ["x|y", "y", "x"], "bag", "2 values, up to 2", [["x", "y"], ["y"], ["x"]]),
        ("tags", [["x", "y"], [], ["x", "y"]], "bag", "2 values", [["x", "y"], [], ["x", "y"]]),
        ("tags", [[1, 2], [2], [1, None]], "bag", "2 values", [[1, 2], [2], [1, None]]),
        ("vector", [[0.5, 1], None, [2, 0]], "vector", "vectors of 2", [[0.5, 1], None, [2, 0]]),
        ("vector", ["0.5| 1", "2|0.0"], "vector", "vectors of 2", [[0.5, 1.0], [2.0, 0.0]]),
        ("vector", [[0.5, 1.0], [2.0]], None, "lists of 1 to 2 numbers", None),
        ("title", ["Heat", "Alien", "Up"], None, "almost all values differ", None),
        ("same", ["x", "x", None], None, "all values are 'x'", None),
        ("none", [None, None], None, "no row has a value", None),
        ("none", ["", " "], None, "no row has a value", None),
        ("nested", [{"a": 1}, {"a": 2}], None, "values of type struct", None),
    ],
)
def test_kinds_of_columns(name, values, kind, because, plain):
    found = kind_of_column(name, pa.array(values))
    assert found.kind == kind and found.because.startswith(because)
    if plain is not None:
        assert found.values.to_pylist() == plain


def test_vectors_of_a_fixed_size_and_infinite_numbers():
    fixed = pa.array([[1.0, 2.0], [3.0, 4.5]], pa.list_(pa.float32(), 2))
    assert kind_of_column("vector", fixed).kind == "vector"
    with pytest.raises(ValueError, match="column 'price': expected finite numbers.*1.5 to inf"):
        kind_of_column("price", pa.array([1.5, np.inf]))


@given(st.lists(st.floats(-1e9, 1e9) | st.none(), min_size=1), st.permutations(range(5)))
def test_numbers_stay_what_they_are_whatever_kind_is_inferred(values, _):
    found = kind_of_column("x", pa.array(values, pa.float64()))
    assert found.values.cast(pa.float64()).to_pylist() == values


def test_a_kind_can_be_asked_for():
    codes = pa.array([3, 4, None])
    assert as_kind("x", codes, "categorical").values.to_pylist() == [3, 4, None]
    assert as_kind("x", codes, "numeric").values.to_pylist() == [3.0, 4.0, None]
    text = pa.array(["a|b", "c"])
    assert as_kind("x", text, "bag").values.to_pylist() == [["a", "b"], ["c"]]
    assert as_kind("x", text, "categorical").values.to_pylist() == ["a|b", "c"]
    for column, kind in (
        (pa.array([0.5, 1.0]), "categorical"),
        (pa.array(["a"]), "numeric"),
        (text, "vector"),
        (pa.array([[0.5], [1.0, 2.0]]), "vector"),
    ):
        with pytest.raises(ValueError, match=f"column 'x' cannot be read as {kind}"):
            as_kind("x", column, kind)


def test_audit_tells_the_kinds_and_the_problems_of_the_tables(tmp_path):
    users = {"user_id": [7, 9], "age": [20.5, 30.0]}
    report = audit(rows(users=users, items=ITEMS))
    kinds = (
        "user 'age' is numeric: 2 numbers from 20.5 to 30",
        "item 'price' is numeric: 2 numbers from 1 to 2.5",
    )
    assert report.sides == kinds and f"side tables\n  - {kinds[0]}\n" in str(report)
    file = tmp_path / "rows.csv"
    file.write_text("user_id,item_id\n7,a\n7,b\n9,a\n")
    report = audit(file, **NEITHER, users=users, items={"item_id": ["a"], "price": [1.5]})
    assert report.sides == (kinds[0], "item 'price' is left out: all values are 1.5")
    assert "1 of the 2 items of the interactions have no row" in report.problems[-1]
    report = audit(ROWS, **NEITHER, items={"price": [1.5]})
    assert report.sides == () and "expected a column 'item_id'" in report.problems[-1]
    assert "side tables" not in str(audit(ROWS, **NEITHER))


def test_files_have_the_encoding_of_the_rows_or_utf_8(tmp_path):
    rows, items = tmp_path / "rows.csv", tmp_path / "items.csv"
    rows.write_bytes("user_id;item_id;rating\nann;é;1,5\nbob;b;2,5\n".encode("latin-1"))
    form = {"encoding": "latin-1", "decimal": ",", "separator": ";", "time": None}
    for encoding in ("latin-1", "utf-8"):
        items.write_bytes("item_id;price\né;1,5\nb;2,25\n".encode(encoding))
        table = read(rows, items=items, **form).items
        assert table.to_pydict() == {"item_id": ["é", "b"], "price": [1.5, 2.25]}


def test_a_declared_comma_leaves_text_with_points_alone(tmp_path):
    rows, items = tmp_path / "rows.csv", tmp_path / "items.csv"
    rows.write_text("user_id;item_id;rating\nann;a;1,5\nbob;b;2,5\n")
    items.write_text("item_id;title;seen;price\na;Dr. No;1.5.2020;1,5\nb;Up;2.5.2020;2,5\n")
    form = {"decimal": ",", "separator": ";", "time": None}
    table = read(rows, items=items, **form).items.to_pydict()
    assert table["title"] == ["Dr. No", "Up"] and table["price"] == [1.5, 2.5]
    # Numbers of another mark are not guessed.
    items.write_text("item_id;price\na;1.5\nb;2.5\n")
    with pytest.raises(ValueError, match="decimal"):
        read(rows, items=items, **form)
