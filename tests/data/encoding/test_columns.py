"""Checks of encoded columns: what passes unchanged, what is converted, what is refused."""

import numpy as np
import pytest

from kerasrec.data.encoding import columns as check
from kerasrec.schema import Bag, Categorical, IdSequence, Numeric, Schema

USER, ITEM = Categorical("user", 9), Categorical("item", 5)


def test_int32_and_float32_pass_without_a_copy():
    columns = {"user": np.array([2, 3], np.int32), "x": np.array([1, 2], np.float32)}
    assert check.user_or_item(columns, USER, "test") is columns["user"]
    assert check.numbers(columns, "x", "test") is columns["x"]


def test_other_integers_and_numbers_are_converted():
    columns = {"user": np.array([2, 8], np.uint64), "x": np.array([True, False])}
    assert check.user_or_item(columns, USER, "test").dtype == np.int32
    assert check.numbers(columns, "x", "test").tolist() == [1.0, 0.0]


@pytest.mark.parametrize("ids", [[2, 9], [0, 2], [-1, 2], [2**40, 2]])
def test_ids_outside_the_schema_are_refused(ids):
    with pytest.raises(ValueError, match="test: column 'user' must hold ids from 1 to 8"):
        check.user_or_item({"user": np.array(ids)}, USER, "test")


def test_padding_is_allowed_where_it_belongs():
    bag, sequence = Bag("tags", 4, max_length=2), IdSequence("past", of="item", max_length=2)
    schema = Schema(user=[USER, sequence], item=[ITEM, bag, Numeric("vector", size=2)])
    columns = {
        "user": np.array([1]),
        "past": np.array([[4, 0]]),
        "item": np.array([4]),
        "tags": np.array([[0, 0]]),
        "vector": np.array([[0.5, 1.5]]),
    }
    checked = check.features(columns, schema.features, schema, "test")
    assert list(checked) == [feature.name for feature in schema.features]
    columns["past"] = np.array([[5, 0]])
    with pytest.raises(ValueError, match="column 'past' must hold ids from 0 to 4"):
        check.features(columns, schema.features, schema, "test")
    columns["past"] = np.array([4])
    with pytest.raises(ValueError, match=r"must have the shape \(rows, 2\); received \(1,\)"):
        check.features(columns, schema.features, schema, "test")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([np.nan, 1, np.inf], "holds 2 values that are NaN or infinite"),
        ([1e39], "must fit in float32; received values up to 1e\\+39"),
        (["1"], "must hold numbers"),
        ([[1.0]], r"must have the shape \(rows\); received \(1, 1\)"),
    ],
)
def test_numbers_that_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        check.numbers({"x": np.array(values)}, "x", "test")


def test_weights_are_not_negative():
    with pytest.raises(ValueError, match="weights must be at least 0; column 'w' goes down to -2"):
        check.weights({"w": np.array([1, -2])}, "w", "test")


def test_rows_are_counted_by_name():
    columns = {"a": np.zeros(3), "b": np.zeros((3, 2)), "c": np.zeros(2)}
    assert check.check_rows(columns, ["a", "b"], "test") == 3
    with pytest.raises(ValueError, match="received {'a': 3, 'c': 2}"):
        check.check_rows(columns, ["a", "c"], "test")
    with pytest.raises(ValueError, match="received no rows"):
        check.check_rows({"a": np.zeros(0)}, ["a"], "test")
