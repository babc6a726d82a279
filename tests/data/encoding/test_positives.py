"""Positives: the rows above the threshold of the schema, in their order, histories too."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kerasrec.data import add_history, positives
from kerasrec.schema import Categorical, IdSequence, Schema


def schema_of(positive):
    return Schema(Categorical("user", 9), Categorical("item", 99), positive=positive)


@given(st.lists(st.integers(0, 10), min_size=1), st.integers(0, 10))
def test_rows_of_the_labels_that_are_asked_for(labels, threshold):
    item = np.arange(2, 2 + len(labels), dtype=np.int32)
    columns = {"user": np.full(len(item), 2), "item": item, "label": np.array(labels)}
    expected = [i for i, label in zip(item, labels, strict=True) if label >= threshold]
    if not expected:
        with pytest.raises(ValueError, match=f"none of {len(labels)} rows has a 'label' >="):
            positives(columns, schema_of(f">={threshold}"))
        return
    found = positives(columns, schema_of(f">={threshold}"))
    assert found["item"].tolist() == expected
    assert found["label"].tolist() == [1.0] * len(expected)


def test_without_a_label_every_row_is_one():
    columns = {"user": np.array([2, 3]), "item": np.array([4, 5])}
    assert positives(columns, schema_of(">=4"))["label"].tolist() == [1.0, 1.0]


def test_histories_keep_what_was_seen():
    user = (Categorical("user", 9), IdSequence("history", of="item", max_length=3))
    schema = Schema(user, Categorical("item", 99))
    columns = {
        "user": np.full(3, 2, np.int32),
        "item": np.array([4, 5, 6], np.int32),
        "label": np.array([1, 0, 1]),
    }
    found = positives(add_history(columns, schema, time=None), schema)
    assert found["history"][np.arange(2)].tolist() == [[0, 0, 0], [4, 5, 0]]


def test_labels_that_are_no_numbers():
    columns = {"user": np.array([2]), "item": np.array([4]), "label": np.array([np.nan])}
    with pytest.raises(ValueError, match="'label' holds 1 values that are NaN"):
        positives(columns, schema_of(">0"))
