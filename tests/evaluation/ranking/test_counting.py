import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec.evaluation.ranking import counting


@pytest.mark.parametrize("call_cost", [-(10**9), 50, 10**9], ids=["sorted", "either", "compared"])
@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    levels=st.integers(1, 50),
    flags=st.sampled_from([1, 100, 9999]),
    tile=st.sampled_from([1, 5, 8, 23, 99]),
)
def test_equals_counting_one_by_one(call_cost, seed, levels, flags, tile):
    rng = np.random.default_rng(seed)
    scores = rng.integers(-levels, levels, (5, 23)).astype(np.float32)
    scores[rng.random(scores.shape) < 0.2] = np.nan
    scores[rng.random(scores.shape) < 0.1] = -np.inf
    row = np.sort(rng.integers(0, 5, 12))
    value = rng.integers(-levels, levels, 12).astype(np.float32)
    value[0] = -np.inf
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counting, "_SEVERAL", 3)
        patch.setattr(counting, "_CALL_COST", call_cost)
        patch.setattr(counting, "_FLAGS", flags)
        patch.setattr(counting, "_TILE", tile)
        greater, tied = counting.count_better(scores, row, value)
    for i, (r, v) in enumerate(zip(row, value, strict=True)):
        assert greater[i] == sum(s > v for s in scores[r])
        assert tied[i] == sum(s == v for s in scores[r])


def test_no_values():
    greater, tied = counting.count_better(
        np.zeros((3, 9), np.float32), np.zeros(0, int), np.zeros(0, np.float32)
    )
    assert len(greater) == len(tied) == 0


@pytest.mark.parametrize("width", [1, 8, 9, 2040, 2041, 4081])
def test_widths_at_the_edges_of_words_and_sums(width):
    rng = np.random.default_rng(width)
    scores = rng.integers(0, 5, (3, width)).astype(np.float32)
    row, value = np.repeat([0, 1, 2], 5), np.tile(np.arange(-1, 4), 3).astype(np.float32)
    greater, tied = counting.count_better(scores, row, value)
    np.testing.assert_array_equal(greater, (scores[row] > value[:, None]).sum(axis=1))
    np.testing.assert_array_equal(tied, (scores[row] == value[:, None]).sum(axis=1))


def test_high_values_are_sorted_for_and_low_ones_compared(monkeypatch):
    """The plan is a matter of speed alone, but of a speed that a change could lose unseen."""
    scores = np.random.default_rng(0).standard_normal((2, 100_000)).astype(np.float32)
    value = np.sort(np.append(np.linspace(2, 3, 12), [-1.0, 0.0])).astype(np.float32)
    sorted_for, compared = [], []
    by_sorting, compare = counting._by_sorting, counting._compare

    def watch_sorting(line, values, counts):
        sorted_for.append(values.tolist())
        by_sorting(line, values, counts)

    def watch_comparing(lines, values, *, ties=True):
        compared.extend(values.tolist() if ties else [])
        return compare(lines, values, ties=ties)

    monkeypatch.setattr(counting, "_by_sorting", watch_sorting)
    monkeypatch.setattr(counting, "_compare", watch_comparing)
    greater, tied = counting.count_better(scores, np.repeat([0, 1], 14), np.tile(value, 2))
    assert compared == [[-1.0, 0.0]] * 2
    assert sorted_for == [value[2:].tolist()] * 2
    np.testing.assert_array_equal(greater.reshape(2, -1)[1], [(scores[1] > v).sum() for v in value])
    assert not tied.any()
