import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kerasrec.data.id_table import MULTIPLIER, IdTable

INTEGERS = st.integers(-(2**63), 2**63 - 1)


@given(ids=st.lists(INTEGERS, min_size=1, max_size=200, unique=True), others=st.lists(INTEGERS))
def test_finds_every_id_and_nothing_else(ids, others):
    table = IdTable(np.array(ids, np.int64))
    asked = [*ids, *others]
    places = {number: place for place, number in enumerate(ids)}
    found = table.find(np.array(asked, np.int64))
    assert found.dtype == np.int32
    assert found.tolist() == [places.get(number, -1) for number in asked]


def test_ids_that_want_the_same_slot():
    """Their products with the multiplier differ in the lowest bits alone."""
    inverse = pow(int(MULTIPLIER), -1, 2**64)
    ids = np.array([k * inverse % 2**64 for k in range(1000)], np.uint64).view(np.int64)
    table = IdTable(ids[:600])
    assert table.find(ids).tolist() == [*range(600), *[-1] * 400]


def test_needs_an_id():
    with pytest.raises(ValueError, match="at least one id; received none"):
        IdTable(np.empty(0, np.int64))
