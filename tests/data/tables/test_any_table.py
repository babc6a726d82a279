"""Tables of other libraries, by the Arrow C stream protocol."""

import numpy as np
import pyarrow as pa
import pytest

from kerasrec.data import Interactions, drop_missing, encode, fit_vocabularies

COLUMNS = {
    "user_id": ["ann", "bob", "né", "ann"],
    "item_id": [10, 7, 10, 8],
    "rating": [4.0, 3.5, 5.0, 1.0],
    "timestamp": [3, 1, 2, 4],
}


def with_pandas(columns):
    return pytest.importorskip("pandas", reason="needs pandas").DataFrame(columns)


def with_polars(columns):
    return pytest.importorskip("polars", reason="needs polars").DataFrame(columns)


def with_duckdb(columns):
    duckdb = pytest.importorskip("duckdb", reason="needs duckdb")
    connection = duckdb.connect()
    connection.register("rows", pa.table(columns))
    return connection.sql("SELECT * FROM rows")


MAKERS = {"pyarrow": pa.table, "pandas": with_pandas, "polars": with_polars, "duckdb": with_duckdb}
each = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


@each
def test_a_table_is_read_as_a_dict_of_arrays_is(make):
    arrays = {name: np.array(values) for name, values in COLUMNS.items()}
    expected = Interactions.from_table(arrays)
    found = Interactions.from_table(make(COLUMNS))
    assert (len(found), found.num_users, found.num_items) == (4, 3, 3)
    vocabularies = fit_vocabularies(expected)
    ours, theirs = encode(found, vocabularies), encode(expected, vocabularies)
    assert ours.keys() == theirs.keys()
    for name, values in theirs.items():
        np.testing.assert_array_equal(ours[name], values, err_msg=name)


@each
def test_missing_values_are_refused_and_can_be_dropped(make):
    columns = {**COLUMNS, "user_id": ["ann", None, "né", "ann"]}
    with pytest.raises(ValueError, match="user_id"):
        Interactions.from_table(make(columns))
    found = Interactions.from_table(drop_missing(make(columns)))
    assert found.column("item_id").tolist() == [10, 10, 8]
