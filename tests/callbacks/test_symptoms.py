import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from kerasrec.callbacks.symptoms import blame, collapse, suspicions
from kerasrec.schema import Bag, Categorical, Numeric, NumericSequence, Schema

SCHEMA = Schema(
    user=[Categorical("user", 5), Numeric("age")], item=[Categorical("item", 4), Bag("tags", 3, 2)]
)


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"age": np.array([1, np.inf])}, "'age' has infinity in 1 of 2 rows (first: row 1)"),
        (
            {"age": np.array([1, 2e6])},
            "'age' has extreme values in 1 of 2 rows (first: row 1: 2e+06)",
        ),
        ({"label": np.array([1, np.nan])}, "'label' has NaN in 1 of 2 rows (first: row 1)"),
        (
            {"user": np.array([4, 5, -1])},
            "'user' has ids outside of the 5 that the schema says in 2 of 3 rows (first: row 1: 5)",
        ),
        (
            {"tags": np.array([[0, 2], [3, 0]])},
            "'tags' has ids outside of the 3 that the schema says in 1 of 2 rows (first: row 1: 3)",
        ),
    ],
)  # fmt: skip
def test_blame(columns, sentence):
    assert blame(columns, SCHEMA) == [sentence]


def test_without_a_schema_the_largest_table_is_the_limit():
    assert "outside of the 9 that the largest table has" in blame({"a": np.array([9])}, None, 9)[0]
    assert blame({"a": np.array([9]), "label": np.array([99])}, None, 10) == []
    assert blame({"a": np.array([9])}, None, None) == []


def test_a_number_is_extreme_against_the_others():
    column = np.ones(100) * 0.5
    column[3] = 6e3
    assert "extreme values in 1 of 100 rows (first: row 3: 6000)" in blame({"x": column})[0]
    assert blame({"x": column * 0 + 6e3}) == []


@hypothesis.given(st.lists(st.floats(-100, 100, width=32), max_size=40))
def test_ordinary_numbers_are_not_to_blame(values):
    column = np.array([*values, *values[:1] * 10], "float32")
    usual = np.quantile(np.abs(column), 0.9) if len(column) else 0
    hypothesis.assume(usual == 0 or usual > 0.02)
    assert blame({"x": column}) == []


def test_suspicions_need_nearly_all():
    ids = np.array([1] * 9 + [2])
    columns = {"user": ids, "item": np.ones(10, int), "label": np.arange(10)}
    found = suspicions(columns, SCHEMA, label="label")
    assert len(found) == 1 and "100% of the ids of 'item' are unknown" in found[0]
    assert suspicions({"label": np.zeros(0)}, None, label="label") == []
    assert suspicions({"label": np.ones(9)}, None, label=None) == []


def test_collapse():
    scores = np.array([[1.0, 2, 3, 4], [4, 3, 2, 1], [1, 2, 4, 3]])
    assert collapse(scores, 2) == pytest.approx(2 / 3)
    assert collapse(np.zeros((5, 30)), 10) == 1


def test_the_padding_of_numbers_of_events_is_not_to_blame():
    steps = NumericSequence("steps", of="x", max_length=2)
    schema = Schema(user=[*SCHEMA.user, steps], item=SCHEMA.item)
    columns = {"steps": np.array([[1, np.nan], [np.nan, np.nan]]), "age": np.array([1, np.nan])}
    assert blame(columns, schema) == ["'age' has NaN in 1 of 2 rows (first: row 1)"]
