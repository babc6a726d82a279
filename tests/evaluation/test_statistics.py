import itertools

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec.evaluation import (
    bootstrap_intervals,
    holm,
    paired_comparison,
    spread,
    statistics,
)

VALUES = np.array([0.1, 0.4, 0.4, 0.9, 0.0, 0.6, 0.2, 1.0, 0.3, 0.5])


def test_interval_is_that_of_the_binomial():
    # The mean of 20 draws from ten 0s and ten 1s is Binomial(20, 1/2) / 20.
    found = bootstrap_intervals({"hr": np.tile([0, 1], 10)}, draws=20_000)["hr"]
    low, high = scipy.stats.binom(20, 0.5).ppf([0.025, 0.975]) / 20
    assert (found.mean, found.low, found.high) == (0.5, low, high)


def test_interval_agrees_with_scipy():
    skewed = np.random.default_rng(1).exponential(size=200)
    ours = bootstrap_intervals({"x": skewed}, draws=20_000, level=0.9)["x"]
    theirs = scipy.stats.bootstrap(
        (skewed,), np.mean, n_resamples=20_000, confidence_level=0.9, method="percentile", rng=2
    )
    scale = theirs.standard_error
    assert abs(ours.low - theirs.confidence_interval.low) < 0.05 * scale
    assert abs(ours.high - theirs.confidence_interval.high) < 0.05 * scale


def test_intervals_cover_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(3)
    draws = {str(i): rng.normal(0.3, 0.2, 60) for i in range(400)}
    found = bootstrap_intervals(draws, level=0.9).values()
    covered = np.mean([one.low <= 0.3 <= one.high for one in found])
    assert 0.82 < covered < 0.95


def test_the_queries_of_a_user_stay_together():
    # Two users: one asks three times and always hits, one asks once and misses. A resample holds
    # both (3/4), the first twice (1) or the second twice (0).
    users, hits = np.array([2, 2, 5, 2]), {"hr": np.array([1.0, 1.0, 0.0, 1.0])}
    wide = bootstrap_intervals(hits, users, level=0.98)["hr"]
    assert (wide.mean, wide.low, wide.high) == (0.75, 0.0, 1.0)
    narrow = bootstrap_intervals(hits, users, level=0.4)["hr"]
    assert (narrow.low, narrow.high) == (0.75, 0.75)


def test_blocks_do_not_change_the_result(monkeypatch):
    values = {"a": VALUES, "b": 1 - VALUES}
    whole = bootstrap_intervals(values, draws=50), paired_comparison(values, values, draws=50)
    assert whole == (
        bootstrap_intervals(values, draws=50),
        paired_comparison(values, values, draws=50),
    )
    monkeypatch.setattr(statistics, "_WEIGHTS", 1)  # one draw at a time
    again = bootstrap_intervals(values, draws=50)
    for name in values:
        assert (whole[0][name].low, whole[0][name].high) == pytest.approx(
            (again[name].low, again[name].high)
        )


def exact_p(differences):
    """All sign patterns, one by one."""
    totals = [
        abs(sum(s * d for s, d in zip(signs, differences, strict=True)))
        for signs in itertools.product((-1, 1), repeat=len(differences))
    ]
    return np.mean(np.array(totals) >= abs(sum(differences)) - 1e-9)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-3, 3), min_size=1, max_size=9))
def test_few_users_get_the_exact_p(differences):
    first = {"m": np.array(differences) / 10}
    found = paired_comparison(first, {"m": np.zeros(len(differences))})["m"]
    assert found.p == exact_p(differences)
    assert found.difference.mean == pytest.approx(np.mean(differences) / 10)


def test_p_agrees_with_scipy():
    rng = np.random.default_rng(4)
    first, second = rng.random((2, 80)) * [[1.0], [0.85]]
    ours = paired_comparison({"m": first}, {"m": second}, draws=20_000)["m"]
    theirs = scipy.stats.permutation_test(
        (first, second), lambda x, y, axis: np.mean(x - y, axis=axis), vectorized=True,
        permutation_type="samples", n_resamples=20_000, rng=5,
    )  # fmt: skip
    assert 0.01 < theirs.pvalue < 0.99
    error = np.sqrt(theirs.pvalue * (1 - theirs.pvalue) / 20_000)
    assert abs(ours.p - theirs.pvalue) < 6 * error


def test_equal_models_are_rarely_told_apart():
    rng = np.random.default_rng(6)
    first, second = ({str(i): rng.random(40) for i in range(300)} for _ in range(2))
    p = np.array([one.p for one in paired_comparison(first, second, draws=2000).values()])
    assert scipy.stats.kstest(p, "uniform").pvalue > 0.01
    assert min(one.p_holm for one in paired_comparison(first, second).values()) > 0.05


def test_equal_values_and_clear_differences():
    same = paired_comparison({"m": np.tile(VALUES, 9)}, {"m": np.tile(VALUES, 9)})["m"]
    assert (same.p, same.difference.low, same.difference.high) == (1.0, 0.0, 0.0)
    clear = paired_comparison({"m": np.ones(40)}, {"m": np.zeros(40)}, draws=999)["m"]
    assert clear.p == 0.001
    assert (clear.first, clear.second, clear.difference.low) == (1.0, 0.0, 1.0)


def test_users_are_flipped_whole():
    # Ten queries of one user are one coin, not ten.
    first, second = {"m": np.ones(10)}, {"m": np.zeros(10)}
    assert paired_comparison(first, second)["m"].p == 2 / 2**10
    assert paired_comparison(first, second, np.full(10, 7))["m"].p == 1.0


def test_holm_by_hand():
    # 0.01 * 4, 0.02 * 3, 0.03 * 2 (no less than before), 0.9 * 1
    p = {("a", "ndcg"): 0.03, ("b", "ndcg"): 0.01, ("a", "hr"): 0.9, ("b", "hr"): 0.02}
    assert holm(p) == pytest.approx(
        {("a", "ndcg"): 0.06, ("b", "ndcg"): 0.04, ("a", "hr"): 0.9, ("b", "hr"): 0.06}
    )
    assert holm({"a": 0.6, "b": 0.7}) == {"a": 1.0, "b": 1.0}
    assert holm({}) == {}
    with pytest.raises(ValueError, match="expected p from 0 to 1; received {'b': nan}"):
        holm({"a": 0.1, "b": np.nan})


def test_comparison_corrects_over_its_metrics():
    users = np.arange(6)
    first = {"a": np.ones(6), "b": np.array([1.0, 1, 1, 1, 1, 0])}
    found = paired_comparison(first, {"a": np.zeros(6), "b": np.zeros(6)}, users)
    assert (found["a"].p, found["b"].p) == (2 / 64, 4 / 64)
    assert (found["a"].p_holm, found["b"].p_holm) == (4 / 64, 4 / 64)


def test_spread_over_seeds():
    runs = {
        seed: {"hr@10": value, "protocol": "full catalogue", "users": 3}
        for seed, value in zip((0, 1, 7), (0.1, 0.2, 0.6), strict=True)
    }
    found = spread(runs)
    assert list(found) == ["hr@10"]
    one = found["hr@10"]
    assert (one.low, one.high, one.runs) == (0.1, 0.6, 3)
    assert one.mean == pytest.approx(0.3)
    assert one.std == pytest.approx(np.sqrt((0.2**2 + 0.1**2 + 0.3**2) / 2))
    assert np.isnan(spread({0: {"hr@10": 0.5}})["hr@10"].std)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, float, np.array])
def test_spread_over_floats_of_every_kind(kind):
    found = spread({0: {"loss": kind(0.5), "users": np.int32(3)}, 1: {"loss": 1.0, "users": 3}})
    assert list(found) == ["loss"] and found["loss"].mean == 0.75


def test_messages():
    with pytest.raises(ValueError, match=r"received lengths \{'a': 0\}"):
        bootstrap_intervals({"a": np.array([])})
    with pytest.raises(ValueError, match=r"received lengths \{\}"):
        bootstrap_intervals({})
    with pytest.raises(ValueError, match=r"\{'a': 10, 'users': 2\}"):
        bootstrap_intervals({"a": VALUES}, np.arange(2))
    with pytest.raises(ValueError, match=r"\['b'\] hold NaN or infinity"):
        bootstrap_intervals({"a": np.ones(2), "b": np.array([1, np.inf])})
    with pytest.raises(
        ValueError, match="level must be a number above 0 and less than 1; received 95"
    ):
        bootstrap_intervals({"a": VALUES}, level=95)
    with pytest.raises(ValueError, match="draws must be an integer of at least 1; received 0"):
        paired_comparison({"a": VALUES}, {"a": VALUES}, draws=0)
    with pytest.raises(ValueError, match="the same metrics of both models"):
        paired_comparison({"a": VALUES}, {"b": VALUES})
    with pytest.raises(ValueError, match="a has 10 queries of the first model and 9"):
        paired_comparison({"a": VALUES}, {"a": VALUES[1:]})
    with pytest.raises(ValueError, match=r"the run of seed 1 has \['y'\]"):
        spread({0: {"x": 1.0}, 1: {"y": 1.0}})
    with pytest.raises(ValueError, match="at least one run"):
        spread({})
