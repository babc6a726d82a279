import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec.layers.fields.crossed_ids import SPREAD, CrossedIds


def test_each_combination_has_a_row_where_the_table_is_large_enough():
    layer = CrossedIds((4, 3, 5), rows=60)
    layer.build()
    layer.table.embeddings.assign(np.arange(60)[:, None])
    row = layer([np.array([3]), np.array([2]), np.array([4])])
    number = (3 * 3 + 2) * 5 + 4
    np.testing.assert_array_equal(row, [[number]])


def test_a_hashed_combination_is_the_highest_bits_of_a_product():
    layer = CrossedIds((10, 10), rows=20)  # 16 rows, and the two of padding and unknown
    layer.build()
    assert layer.table.input_dim == 16 + 2
    layer.table.embeddings.assign(np.arange(18)[:, None])
    number = 7 * 10 + 4
    row = (number * SPREAD % 2**64 >> 60) + 2
    assert float(layer([np.array([7]), np.array([4])])[0, 0]) == row


@pytest.mark.parametrize("pair", [(0, 3), (1, 3), (3, 0), (3, 1), (1, 1)])
@pytest.mark.parametrize("rows", [16, 2**10])
def test_unknown_and_padding_have_zeros(pair, rows):
    layer = CrossedIds((9, 9), rows=rows)
    layer.build()
    layer.table.embeddings.assign(np.ones(layer.table.embeddings.shape))
    ids = [np.array([one, 5]) for one in pair]
    np.testing.assert_array_equal(layer(ids), [[0], [1]])


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.integers(3, 2**31 - 1), min_size=2, max_size=4), st.integers(2, 2**12), st.data()
)
def test_any_sizes_find_a_row(sizes, rows, data):
    layer = CrossedIds(sizes, rows=rows)
    layer.build()
    layer.table.embeddings.assign(1.0 + np.arange(layer.table.input_dim)[:, None])
    ids = [np.array([data.draw(st.integers(2, size - 1))] * 2) for size in sizes]
    found = np.asarray(layer(ids))
    assert found[0] == found[1]
    assert 1 <= found[0, 0] <= layer.table.input_dim


def test_hashed_pairs_spread_evenly():
    layer = CrossedIds((1002, 1002), rows=2**10)
    layer.build()
    layer.table.embeddings.assign(np.arange(2**10 + 2)[:, None])
    user, item = (ids.ravel() for ids in np.meshgrid(np.arange(2, 1002), np.arange(2, 1002)))
    counts = np.bincount(np.asarray(layer([user, item]))[:, 0].astype(int) - 2, minlength=2**10)
    mean = 1e6 / 2**10
    assert len(counts) == 2**10
    assert abs(counts - mean).max() < 6 * mean**0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sizes": [5]}, "two inputs or more"),
        ({"sizes": [5, 1]}, "each of sizes must be an integer of at least 2; received 1"),
        ({"sizes": [5, 5], "rows": 1}, "rows must be an integer of at least 2; received 1"),
        ({"sizes": [5, 5], "l2": -1.0}, "l2 must be"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        CrossedIds(**arguments)
