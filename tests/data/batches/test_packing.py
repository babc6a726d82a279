"""Packing: nothing is lost or overlaps, and there is little padding."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kerasrec.data.batches.packing import pack


@given(st.lists(st.integers(1, 12), min_size=1, max_size=60), st.booleans())
def test_every_sequence_has_its_places_for_itself(lengths, alone):
    lengths = np.array(lengths)
    packing = pack(lengths, 12, alone=alone)
    assert sorted(packing.lengths) == sorted(lengths)
    taken = np.zeros((packing.num_rows, 12), int)
    for row, offset, length in zip(packing.row, packing.offset, packing.lengths, strict=True):
        assert offset + length <= 12
        taken[row, offset : offset + length] += 1
    assert taken.max() == 1 and taken.sum() == lengths.sum()
    assert (taken.sum(axis=1) > 0).all()
    assert (np.diff(taken, axis=1) <= 0).all()  # no gap before the end of a row
    if alone:
        assert packing.num_rows == len(lengths)
    for rng in (None, np.random.default_rng(0)):
        sequence = packing.assign(lengths, rng)
        assert sorted(sequence) == list(range(len(lengths)))
        assert np.array_equal(lengths[sequence], packing.lengths)


def test_two_rows_are_enough_where_first_come_first_served_takes_three():
    assert pack(np.array([3, 6, 7, 4]), 10).num_rows == 2


def test_the_fullest_row_with_room_is_taken():
    """6 and 4, 5 with 3 and 2. The emptiest row with room would take 4 to 5, and need a third."""
    packing = pack(np.array([3, 5, 6, 2, 4]), 10)
    assert packing.lengths.tolist() == [6, 5, 4, 3, 2]
    assert packing.row.tolist() == [0, 1, 0, 1, 1]
    assert packing.offset.tolist() == [0, 0, 6, 5, 8]


@given(st.lists(st.integers(1, 20), min_size=1, max_size=30, unique=True))
def test_different_lengths_take_the_fullest_row_one_by_one(lengths):
    rows = []
    expected = []
    for length in sorted(lengths, reverse=True):
        fitting = [row for row in range(len(rows)) if rows[row] + length <= 20]
        if not fitting:
            rows.append(0)
            fitting = [len(rows) - 1]
        fullest = max(rows[row] for row in fitting)
        expected.append(fullest)
        rows[next(row for row in fitting if rows[row] == fullest)] += length
    packing = pack(np.array(lengths), 20)
    assert packing.offset.tolist() == expected
    assert packing.num_rows == len(rows)


def test_long_tailed_lengths_leave_under_one_percent_of_padding():
    lengths = np.minimum(np.random.default_rng(0).geometric(0.02, 5000), 200)
    packing = pack(lengths, 200)
    assert 1 - lengths.sum() / (packing.num_rows * 200) < 0.01


@pytest.mark.parametrize("lengths", [[], [0, 3], [3, 13]])
def test_lengths_outside_of_a_row(lengths):
    with pytest.raises(ValueError, match=r"from 1 to width=12; received (none|0 to 3|3 to 13)"):
        pack(np.array(lengths), 12)
