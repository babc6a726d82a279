import datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec.data import Examples, ExampleSplit, prepare_examples
from kerasrec.data.examples.dates import date_hours, date_seconds, fit_dates
from kerasrec.schema import Date

DAY = 86_400


@settings(max_examples=15, deadline=None)
@given(st.lists(st.datetimes() | st.none(), min_size=1, max_size=6))
def test_timestamps_and_their_text_are_the_same_seconds(moments):
    epoch = datetime.datetime(1970, 1, 1)
    second = datetime.timedelta(seconds=1)
    expected = [None if m is None else (m - epoch) // second for m in moments]
    column = pa.array(moments, pa.timestamp("us"))
    assert date_seconds("when", column).to_pylist() == expected
    for separator in " T":
        texts = [None if m is None else m.isoformat(separator) for m in moments]
        assert date_seconds("when", pa.array(texts, pa.string())).to_pylist() == expected
    hours = date_hours(pa.array(expected, pa.int64()))
    for hour, seconds in zip(hours, expected, strict=True):
        assert np.isnan(hour) if seconds is None else hour == np.float32(seconds // 3600)


@pytest.mark.parametrize(
    ("column", "seconds"),
    [
        (pa.array(["2024-05-31"]), 1717113600),
        (pa.array(["2024-05-31T02:00:00+02:00"]), 1717113600),
        (pa.array(["2024-05-31T00:00:00Z"]), 1717113600),
        (pa.array(["2024-05-31 00:00"]), 1717113600),
        (pa.array([datetime.date(2024, 5, 31)]), 1717113600),
        (pa.array([datetime.datetime(1969, 12, 31, 23, 59, 59, 900_000)]), -1),
        (pa.array([1717113600 * 10**9], pa.timestamp("ns", "Asia/Tokyo")), 1717113600),
        (pa.chunked_array([["2024-05-31"], ["2024-05-31"]]), 1717113600),
        (pa.array(["", " "]), None),
    ],
)
def test_forms_of_dates(column, seconds):
    assert date_seconds("when", column).to_pylist() == [seconds] * len(column)


@pytest.mark.parametrize(
    "column", [["2024-05-31", "today"], ["31.05.2024"], [20240531], [1.5], [["2024-05-31"]]]
)
def test_what_is_no_date(column):
    assert date_seconds("when", pa.array(column)) is None
    assert fit_dates("when", pa.array(column), None) is None


def test_dates_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="column 'when': expected dates in ISO 8601"):
        date_seconds("when", pa.array(["2024-05-31", "2024-06-31"]))
    with pytest.raises(ValueError, match="all with a zone or all without"):
        date_seconds("when", pa.array(["2024-05-31", "2024-05-31T00:00:00Z"]))


TRAIN = {
    "when": ["2024-01-01 10:30:00", "2024-01-02 10:30:00", None, "2024-01-03 10:30:00"],
    "stamp": [0, DAY, 2 * DAY, 3 * DAY],
    "day": [datetime.date(2024, 1, 1)] * 4,
    "label": [0, 1, 0, 1],
}


def prepared(test=None, **options):
    rows = Examples.from_table(TRAIN)
    test = None if test is None else Examples.from_table({**test, "label": [1] * len(test["when"])})
    return prepare_examples(ExampleSplit(rows, test=test), **options)


def test_a_column_of_dates_by_hand():
    test = {
        "when": ["", "1970-01-01 03:59:59", "2024-01-05"],
        "stamp": [1, 2, 3],
        "day": [datetime.date(2024, 1, 2)] * 3,
    }
    ready = prepared(test)
    (when,) = (f for f in ready.schema.features if isinstance(f, Date))
    first = 1704103200 / 3600  # 2024-01-01 10:00
    assert (when.name, when.missing) == ("when", True)
    assert when.mean == first + 24
    assert when.deviation == pytest.approx(24 * np.sqrt(2 / 3))
    np.testing.assert_array_equal(
        ready.train["when"], np.float32([first, first + 24, np.nan, first + 48])
    )
    assert ready.test["when"].tolist()[1:] == [3.0, first + 96 - 10]
    assert np.isnan(ready.test["when"][0])
    assert ready.notes[0] == "'when' is date: from 2024-01-01 to 2024-01-03, missing in 1 rows"
    assert ready.notes[2].startswith("'day' is left out: all values are")
    assert not prepared(missing_values="mean").schema.feature("when").missing


def test_seconds_are_dates_if_that_is_asked_for():
    ready = prepared(features={"stamp": "date", "when": "categorical"})
    assert [feature.kind for feature in ready.schema.features] == ["categorical", "date"]
    assert ready.train["stamp"].tolist() == [0, 24, 48, 72]
    again = prepare_examples(
        Examples.from_table({**TRAIN, "stamp": ["1970-01-01", None, "1970-01-02", None]}),
        schema=ready.schema,
        vocabularies=ready.vocabularies,
    )
    np.testing.assert_array_equal(again.train["stamp"], np.float32([0, np.nan, 24, np.nan]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features": {"day": "date"}}, "expected at least two hours"),
        ({"features": {"when": "hour"}}, "must be .*'date'"),
    ],
)
def test_bad_dates(options, message):
    with pytest.raises(ValueError, match=message):
        prepared(**options)


def test_other_values_than_in_training_are_refused():
    with pytest.raises(ValueError, match="column 'when': expected dates"):
        prepared({"when": ["noon"], "stamp": [1], "day": [None]})
