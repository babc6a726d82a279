import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec.data import Examples, windows


def test_the_order_is_that_of_times_within_a_group():
    rows = Examples.from_table(
        {"x": [1, 2, 3, 4, 5], "t": [9, 1, 5, 5, 0], "u": ["a", "a", "b", "a", "b"],
         "label": [0, 1, 0, 1, 0]},
        time="t", group="u",
    )  # fmt: skip
    # a: 2 (time 1), 4 (5), 1 (9); b: 5 (0), 3 (5). Rows stay where they are.
    made = windows(rows, 3)
    assert made.table["x"].to_pylist() == [[2, 4, 1], [2], [5, 3], [2, 4], [5]]
    assert made.labels.tolist() == rows.labels.tolist()


@settings(max_examples=25)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.integers(1, 8))
def test_a_window_is_the_newest_rows_of_the_group(groups, length):
    table = {"x": np.arange(len(groups)), "u": groups, "label": np.zeros(len(groups))}
    made = windows(Examples.from_table(table, group="u"), length).table["x"].to_pylist()
    for row, window in enumerate(made):
        own = [other for other in range(row + 1) if groups[other] == groups[row]]
        assert window == own[-length:]


def test_missing_numbers_stay_missing_inside_a_window():
    rows = Examples.from_table({"x": [1.5, None, 2.5], "label": [0, 1, 0]})
    found = windows(rows, 2).table["x"].to_pylist()
    assert found[0] == [1.5]
    assert np.isnan(found[1][1]) and np.isnan(found[2][0]) and found[2][1] == 2.5


def test_bad_input():
    rows = Examples.from_table({"x": ["a", "b", "a"], "label": [0, 1, 0]})
    with pytest.raises(ValueError, match="a window holds numbers; the column 'x' has 2 values"):
        windows(rows, 2)
    with pytest.raises(ValueError, match="length"):
        windows(Examples.from_table({"x": [1], "label": [0]}), 0)
