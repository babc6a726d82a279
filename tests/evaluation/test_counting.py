import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec.evaluation import counting


@pytest.mark.parametrize("narrow", [0, 4096], ids=["wide rows", "narrow rows"])
@pytest.mark.parametrize("sort_cost", [-99, 32, 10**9], ids=["sorted", "either", "compared"])
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), levels=st.integers(1, 50), flags=st.sampled_from([1, 40, 999]))
def test_equals_counting_one_by_one(narrow, sort_cost, seed, levels, flags):
    rng = np.random.default_rng(seed)
    scores = rng.integers(-levels, levels, (5, 23)).astype(np.float32)
    scores[rng.random(scores.shape) < 0.2] = np.nan
    scores[rng.random(scores.shape) < 0.1] = -np.inf
    row = np.sort(rng.integers(0, 5, 12))
    value = rng.integers(-levels, levels, 12).astype(np.float32)
    value[0] = -np.inf
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counting, "_NARROW", narrow)
        patch.setattr(counting, "_SORT_COST", sort_cost)
        patch.setattr(counting, "_FLAGS", flags)
        greater, tied = counting.count_better(scores, row, value)
    for i, (r, v) in enumerate(zip(row, value, strict=True)):
        assert greater[i] == sum(s > v for s in scores[r])
        assert tied[i] == sum(s == v for s in scores[r])


def test_no_values():
    greater, tied = counting.count_better(
        np.zeros((3, 9), np.float32), np.zeros(0, int), np.zeros(0, np.float32)
    )
    assert len(greater) == len(tied) == 0
