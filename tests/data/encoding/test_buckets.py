import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kerasrec.data import Buckets, Vocabulary, load_vocabularies, save_vocabularies

NUMBERS = st.lists(st.floats(-1e6, 1e6, width=32) | st.just(float("nan")), min_size=2, max_size=60)


def test_ranges_hold_about_equally_many_values():
    buckets = Buckets.fit(np.arange(100), 4)
    assert buckets.ids.tolist() == [-np.inf, 25, 50, 75]
    assert buckets.counts.tolist() == [25] * 4
    assert buckets.encode([-5, 24.5, 25, 99, 1e9, np.nan]).tolist() == [2, 2, 3, 5, 5, 1]
    assert (buckets.dtype, buckets.num_ids, len(buckets)) == ("float32", 6, 4)
    assert buckets.decode([[2, 5]]).tolist() == [[-np.inf, 75]]


def test_values_that_repeat_make_fewer_ranges():
    assert Buckets.fit([0] * 90 + list(range(1, 11)), 4).ids.tolist() == [-np.inf, 1]
    assert Buckets.fit([1, 2], 16).ids.tolist() == [-np.inf, 2]


@given(NUMBERS, st.integers(2, 9))
def test_encoding_is_monotonic_and_fits_its_counts(values, num_buckets):
    known = np.unique([x for x in values if x == x])
    if len(known) < 2:
        with pytest.raises(ValueError, match="at least two distinct finite numbers"):
            Buckets.fit(values, num_buckets)
        return
    buckets = Buckets.fit(values, num_buckets, name="x")
    ids = buckets.encode(values)
    assert len(buckets) <= num_buckets and (buckets.counts > 0).all()
    assert np.bincount(ids, minlength=buckets.num_ids)[2:].tolist() == buckets.counts.tolist()
    assert (np.diff(buckets.encode(known)) >= 0).all()
    every = np.arange(2, buckets.num_ids)
    assert buckets.encode(buckets.decode(every)).tolist() == every.tolist()
    again = Buckets.from_table(buckets.to_table(), "x")
    assert again.fingerprint == buckets.fingerprint and (again.counts == buckets.counts).all()


def test_series_and_arrow_with_missing_values():
    for values in (pd.Series([1.5, None, 3.0]), pa.array([1.5, None, 3.0])):
        assert Buckets.fit(values).encode(values).tolist() == [2, 1, 3]


def test_saved_beside_vocabularies(tmp_path):
    saved = {
        "age": Buckets.fit([18.0, 30.0, 64.0], 3, name="age"),
        "item": Vocabulary.fit(["a", "b", "a"], "item"),
        "user": Vocabulary.fit([7, 9], "user"),
    }
    save_vocabularies(saved, tmp_path)
    found = load_vocabularies(tmp_path)
    assert list(found) == list(saved) and isinstance(found["age"], Buckets)
    for name, encoder in saved.items():
        assert found[name].fingerprint == encoder.fingerprint
        assert found[name].counts.tolist() == encoder.counts.tolist()
        assert (found[name].name, found[name].dtype) == (name, encoder.dtype)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Buckets([0.0, 1.0], [1, 1]), "the first of them -inf"),
        (lambda: Buckets([-np.inf], [1]), "at least two ranges"),
        (lambda: Buckets([-np.inf, 2, 1], [1, 1, 1]), "must ascend"),
        (lambda: Buckets([-np.inf, np.nan], [1, 1]), "must ascend"),
        (lambda: Buckets([-np.inf, np.inf], [1, 1]), "finite"),
        (lambda: Buckets([-np.inf, 1], [1]), "expected 2 non-negative integer counts"),
        (lambda: Buckets.fit([1.0, 1.0]), r"received \[1.0\].*leave it out"),
        (lambda: Buckets.fit([1.0, np.inf]), "finite"),
        (lambda: Buckets.fit(["a", "b"]), "expected numbers"),
        (lambda: Buckets.fit([[1.0, 2.0]]), r"shape \(1, 2\)"),
        (lambda: Buckets.fit([1.0, 2.0], 1), "num_buckets must be an integer of at least 2"),
        (lambda: Buckets.fit([1.0, 2.0]).decode([1]), "ids from 2 to 3; received"),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
