import datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec.evaluation import ClickPredictions, click_intervals, click_segments, format_table
from kerasrec.evaluation.clicks.segments import segment_names


def predicted(rows=200, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, rows)
    logits = labels + rng.normal(size=rows)
    return ClickPredictions(labels.astype(float), logits, 1 / (1 + np.exp(-logits)), logits)


def test_a_segment_has_the_metrics_of_its_rows():
    found = predicted()
    country = np.array(["fr", "de", "fr", "it"] * 50)
    users = np.arange(200) // 4
    rows = click_segments(found, country, users)
    assert [(row["segment"], row["rows"]) for row in rows] == [("fr", 100), ("de", 50), ("it", 50)]
    for row in rows:
        mine = country == row["segment"]
        assert row["positive_share"] == found.labels[mine].mean()
        for name, interval in click_intervals(found.take(mine), users[mine]).items():
            ends = row[name], row[f"{name}_low"], row[f"{name}_high"]
            assert ends == (interval.mean, interval.low, interval.high)
    assert "positive_share" in format_table(rows)


def test_names_of_few_values_and_of_missing_ones():
    assert segment_names([True, None, False]).tolist() == ["True", "missing", "False"]
    assert segment_names(np.array([0.5, np.nan, 2.0])).tolist() == ["0.5", "missing", "2"]
    assert segment_names([2**40, 2**40 + 1]).tolist() == [str(2**40), str(2**40 + 1)]
    assert segment_names(["Ünï", "", "Ünï"]).tolist() == ["Ünï", "", "Ünï"]
    chunked = pa.chunked_array([["a"], ["b", None]]).dictionary_encode()
    assert segment_names(chunked).tolist() == ["a", "b", "missing"]
    assert segment_names([None, None]).tolist() == ["missing", "missing"]


def test_many_texts_keep_the_most_frequent():
    values = [f"c{n}" for n in range(30)] + ["c7"] * 5 + ["c9"] * 3 + [None]
    names = segment_names(values, most=3)
    kinds, counts = np.unique(names, return_counts=True)
    assert dict(zip(kinds, counts, strict=True)) == {"c7": 6, "c9": 4, "others": 28, "missing": 1}


def test_dates_are_cut_in_parts():
    days = [datetime.date(2024, 1, 1) + datetime.timedelta(n) for n in range(40)]
    names = segment_names(days)
    assert names[0] == "2024-01-01 to 2024-01-10" and len(set(names)) == 4


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), kinds=st.integers(20, 200))
def test_parts_of_numbers_keep_equal_values_together_and_follow_their_order(seed, kinds):
    values = np.random.default_rng(seed).integers(0, kinds, 300)
    names = segment_names(values)
    assert len(set(names)) <= 4 or len(set(values)) <= 12
    of_value = {}
    for value, name in zip(values, names, strict=True):
        assert of_value.setdefault(value, name) == name
        low, _, high = name.partition(" to ")
        assert int(low) <= value <= int(high or low)
    assert max(np.unique(names, return_counts=True)[1]) <= 300 / 4 + np.bincount(values).max()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: click_segments(predicted(4), ["a"] * 3), "each of the 4 rows; received 3"),
        (lambda: click_segments(predicted(2), [["a"], ["b"]]), "one value in each row; received"),
        (lambda: segment_names(["a", 1]), "values of several kinds"),
        (lambda: segment_names(["a"], most=1), "most must be an integer of at least 2"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
