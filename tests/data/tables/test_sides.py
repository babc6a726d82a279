"""Sides: constant within the user, within the item, or neither, and never by luck."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec.data.tables.side_tables import side_of


def table(seed, rows=120, users=12, items=15):
    rng = np.random.default_rng(seed)
    return rng, rng.integers(0, users, rows), rng.integers(0, items, rows)


def codes(values):
    return np.unique(values, return_inverse=True)[1]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), values=st.integers(2, 9))
def test_what_a_column_is_a_function_of(seed, values):
    rng, users, items = table(seed)
    of_user, of_item = (codes(rng.permutation(np.arange(n) % values)) for n in (12, 15))
    assert side_of(codes(of_user[users]), users, items) == "user"
    assert side_of(codes(of_item[items]), users, items) == "item"
    # One row that differs, of an item that has others: the moment's.
    changed = of_item[items].copy()
    row = np.flatnonzero(np.bincount(items)[items] > 1)[0]
    changed[row] = (changed[row] + 1) % values
    assert side_of(codes(changed), users, items) == "context"


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), rows=st.integers(1, 40), rare=st.floats(0.01, 0.9))
def test_few_or_rare_values_are_no_proof(seed, rows, rare):
    """Most items have one row, or nearly all rows have one value: agreement is luck."""
    rng, users, items = table(seed, rows, users=30, items=30)
    assert side_of(codes(rng.random(rows) < rare), users, items) == "context"


def test_the_user_goes_first_and_a_column_of_one_value_is_nobodys():
    # Two markets with users and items of their own.
    users, items = np.arange(60) % 6, np.arange(60) % 6 + 6 * (np.arange(60) // 30)
    assert side_of(users % 2, users, items) == "user"
    assert side_of(np.zeros(60, int), users, items) == "context"


@pytest.mark.filterwarnings("error")
def test_popular_items_with_many_values():
    items = np.repeat(np.arange(50), 2000)
    assert side_of(items, users=np.arange(len(items)), items=items) == "item"
