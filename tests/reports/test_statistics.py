import numpy as np
import pytest
from scipy import stats

from kerasrec.reports.statistics import bootstrap_intervals, holm, permutation_p


def test_intervals_are_those_of_the_normal_law_for_many_users():
    values = np.random.default_rng(0).normal(3, 2, (4000, 1))
    low, high = bootstrap_intervals(values, draws=4000)
    error = values.std() / np.sqrt(4000)
    assert low[0] == pytest.approx(values.mean() - 1.96 * error, abs=0.1 * error)
    assert high[0] == pytest.approx(values.mean() + 1.96 * error, abs=0.1 * error)


def test_one_user_has_no_spread():
    low, high = bootstrap_intervals(np.array([[0.25, 1.0]]))
    assert low.tolist() == high.tolist() == [0.25, 1.0]


def test_permutation_agrees_with_scipy():
    rng = np.random.default_rng(0)
    differences = rng.normal(0.15, 1, 200)
    expected = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=20_000, rng=0
    ).pvalue
    p = permutation_p(differences[:, None], draws=20_000)
    assert p[0] == pytest.approx(expected, abs=0.01)


def test_all_sign_patterns_of_three_users():
    # |sum| of (1, 2, 3) is 6, reached by 2 of 8 patterns.
    p = permutation_p(np.array([[1.0], [2.0], [3.0]]), draws=20_000)
    assert p[0] == pytest.approx(0.25, abs=0.01)


def test_models_that_never_differ():
    assert permutation_p(np.zeros((10, 2))).tolist() == [1.0, 1.0]


def test_false_alarms_are_as_rare_as_promised():
    rng = np.random.default_rng(1)
    p = permutation_p(rng.normal(size=(60, 400)), draws=500)
    assert (p < 0.05).mean() == pytest.approx(0.05, abs=0.03)


def test_holm_by_hand():
    assert holm({"a": 0.01, "b": 0.02, "c": 0.5}) == {"a": 0.03, "b": 0.04, "c": 0.5}
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}
    assert holm({}) == {}
