import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kerasrec.data import Examples, prepare_examples, read_examples
from kerasrec.data.examples.joining import with_tables
from kerasrec.schema import Categorical, Numeric

ROWS = {
    "item_id": ["a", "b", None, "z", "a"],
    "price": [1.5, 2.5, 3.5, 4.5, 5.5],
    "label": [0, 1, 1, 0, 1],
}
ITEMS = {
    "item_id": ["b", "a", "never sold"],
    "vector": [[0.5, 1.5], [2.5, 3.5], [9.5, 9.5]],
    "brand": ["x", "y", "x"],
    "price": [10.5, 20.5, 0.5],
}


def test_columns_are_joined_by_a_key():
    rows = Examples.from_table(ROWS, tables={"item_id": ITEMS})
    assert rows.features == ("item_id", "price", "vector", "brand", "item_id_price")
    found = rows.table
    assert found["price"].to_pylist() == ROWS["price"]
    assert found["item_id_price"].to_pylist() == [20.5, 10.5, None, None, 20.5]
    assert found["vector"].to_pylist() == [[2.5, 3.5], [0.5, 1.5], None, None, [2.5, 3.5]]
    assert found["brand"].to_pylist() == ["y", "x", None, None, "y"]


def test_a_joined_vector_is_numbers_and_unknown_keys_lack_it():
    rows = Examples.from_table(ROWS, features=["vector", "brand"], tables={"item_id": ITEMS})
    ready = prepare_examples(rows)
    vector, brand = ready.schema.features
    assert isinstance(vector, Numeric) and (vector.size, vector.missing) == (2, True)
    assert vector.mean == pytest.approx(np.mean([2.5, 3.5, 0.5, 1.5, 2.5, 3.5]))
    assert isinstance(brand, Categorical)
    nan = [np.nan, np.nan]
    expected = np.float32([[2.5, 3.5], [0.5, 1.5], nan, nan, [2.5, 3.5]])
    np.testing.assert_array_equal(ready.train["vector"], expected)
    assert "'vector' is vector: vectors of 2 numbers, missing in 2 rows" in ready.notes
    fixed = pa.table({**ITEMS, "vector": pa.array(ITEMS["vector"], pa.list_(pa.float32(), 2))})
    again = Examples.from_table(ROWS, features=["vector", "brand"], tables={"item_id": fixed})
    assert prepare_examples(again).schema == ready.schema


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_files_are_joined_with_keys_typed_as_in_the_rows(form, tmp_path):
    text = "shop,item_id,label\n007,5,1\n7,6,0\n"
    (tmp_path / "rows.csv").write_text(text)
    shops = {"shop": ["7", "007"], "city": ["Rome", "Oslo"]}
    items = {"item_id": [6, 5], "vector": [[1.5, 2.5], [3.5, 4.5]]}
    files = {"shop": tmp_path / "shops.csv", "item_id": tmp_path / f"items.{form}"}
    pd.DataFrame(shops).to_csv(files["shop"], index=False)
    if form == "parquet":
        pq.write_table(pa.table(items), files["item_id"])
    else:
        files["item_id"].write_text("item_id,vector\n6,1.5|2.5\n5,3.5|4.5\n")
    rows = read_examples(tmp_path / "rows.csv", tables=files)
    assert rows.features == ("shop", "item_id", "city", "vector")
    assert rows.table["city"].to_pylist() == ["Oslo", "Rome"]
    other = read_examples(tmp_path / "rows.csv", like=rows, tables=files)
    assert other.table.equals(rows.table)
    # A key that is no feature is read for the join alone.
    some = read_examples(tmp_path / "rows.csv", features=["vector"], tables=files)
    assert some.table.column_names == ["label", "vector"]
    ready = prepare_examples(some, features={"vector": "vector"})
    assert ready.train["vector"].tolist() == [[3.5, 4.5], [1.5, 2.5]]


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ("items.csv", "tables needs a dict of tables or paths"),
        ({"item": ITEMS}, r"joined by a column 'item' of the rows.*Did you mean 'item_id'"),
        ({"price": {"price": [1], "x": [2]}}, "ids must be integers or strings"),
        ({"item_id": {"id": ["a"], "x": [1]}}, "expected a column 'item_id', as in the rows"),
        ({"item_id": {"item_id": ["a"]}}, "and another one"),
        ({"item_id": {"item_id": ["a", "a"], "x": [1, 2]}}, "1 of 1 have several, such as 'a'"),
        ({"item_id": {"item_id": ["a", None], "x": [1, 2]}}, "every row needs its key; 1 of 2"),
        ({"item_id": {"item_id": [1, 2], "x": [1, 2]}}, "holds int64, such as 1; that of the rows"),
        ({"item_id": {"item_id": ["q"], "x": [1]}}, r"no row has a key.*\['a', 'b', 'z'\]"),
        (
            {"item_id": {"item_id": ["a"], "item_id_price": [1], "price": [1]}},
            "columns need different names",
        ),
        ({"item_id": "nowhere.parquet"}, "nowhere.parquet"),
    ],
)
def test_bad_input(tables, message):
    with pytest.raises(ValueError, match=message):
        with_tables(ROWS, tables)
