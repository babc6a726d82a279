import pytest

from kerasrec.datasets import load


def test_100k(data):
    dataset = load("movietweetings-100k")
    rows = dataset.interactions
    assert (len(rows), rows.num_users, rows.num_items) == (100_000, 16_554, 10_506)
    assert (rows.column("rating").min(), rows.column("rating").max()) == (0.0, 10.0)
    # IMDb numbers keep their leading zeros.
    assert dataset.items["item_id"][0].as_py() == "0002844"
    assert set(rows.table["item_id"].to_pylist()) <= set(dataset.items["item_id"].to_pylist())
    assert "MIT" in dataset.terms


def test_says_where_to_put_it(cache):
    with pytest.raises(ValueError, match="Put ratings.dat and movies.dat.*movietweetings-100k"):
        load("movietweetings-100k")
