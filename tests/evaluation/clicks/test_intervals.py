import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec.evaluation import ClickPredictions, click_intervals, compare_clicks
from kerasrec.evaluation.clicks.intervals import _error, _influences

METRICS = ("auc", "pr_auc", "log_loss", "normalized_entropy", "calibration")


def drawn(rows, seed, *, slope=1.5, noise=1.0, rate=-1.0, levels=None):
    """Labels of a logistic model, and logits that see a part of it."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=rows)
    labels = (rng.random(rows) < 1 / (1 + np.exp(-(slope * x + rate)))).astype(float)
    logits = slope * (x + noise * rng.normal(size=rows)) + rate
    if levels:
        logits = np.round(logits * levels) / levels
    return ClickPredictions(labels, logits, 1 / (1 + np.exp(-logits)), logits)


def delong(labels, *scores):
    """AUCs and their covariance, from all pairs of rows."""
    positives, negatives = (np.array([s[labels == y] for s in scores]) for y in (1, 0))
    right = (positives[:, :, None] > negatives[:, None]) + 0.5 * (
        positives[:, :, None] == negatives[:, None]
    )
    of_positives, of_negatives = right.mean(2), right.mean(1)
    covariance = np.atleast_2d(np.cov(of_positives)) / positives.shape[1]
    return right.mean((1, 2)), covariance + np.atleast_2d(np.cov(of_negatives)) / negatives.shape[1]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), levels=st.integers(1, 4))
def test_auc_has_the_variance_of_delong(seed, levels):
    one, other = drawn(40, seed, levels=levels), drawn(40, seed, noise=2.0, levels=levels)
    labels = one.labels
    if not 2 <= labels.sum() <= 38:
        return
    values, covariance = delong(labels, one.logits, other.logits)
    value, influence = _influences(one)["auc"]
    assert value == pytest.approx(values[0])
    assert influence.mean() == pytest.approx(0, abs=1e-12)
    assert _error(influence, None) ** 2 == pytest.approx(covariance[0, 0])
    found = compare_clicks(one, other)["auc"]
    assert found.difference.mean == pytest.approx(values[0] - values[1])
    error = np.sqrt(max(0, covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]))
    width = (found.difference.high - found.difference.low) / 2
    assert width == pytest.approx(1.959964 * error, rel=1e-6, abs=1e-9)


def test_log_loss_by_hand():
    labels = np.array([1.0, 0.0, 1.0, 0.0])
    found = ClickPredictions.from_probabilities(labels, np.array([0.5, 0.25, 0.8, 0.1]))
    losses = -np.log([0.5, 0.75, 0.8, 0.9])
    interval = click_intervals(found, level=0.6826894921370859)["log_loss"]
    assert interval.mean == pytest.approx(losses.mean())
    assert interval.high - interval.mean == pytest.approx(losses.std(ddof=1) / 2)
    assert interval.mean - interval.low == pytest.approx(losses.std(ddof=1) / 2)


@pytest.mark.parametrize("levels", [None, 2])
def test_errors_are_those_of_a_bootstrap(levels):
    found = drawn(800, 1, levels=levels)
    rng = np.random.default_rng(0)
    values = {name: [] for name in METRICS}
    for _ in range(300):
        resampled = _influences(found.take(rng.integers(0, 800, 800)))
        for name, (value, _) in resampled.items():
            values[name].append(value)
    for name, (value, influence) in _influences(found).items():
        assert influence.mean() == pytest.approx(0, abs=1e-9)
        error = np.std(values[name])
        # The error of 300 draws is itself known to 4 %.
        assert _error(influence, None) == pytest.approx(error, rel=0.15), name
        assert np.mean(values[name]) == pytest.approx(value, abs=error / 2)


@pytest.mark.slow
def test_intervals_cover_the_truth():
    truth = {name: value for name, (value, _) in _influences(drawn(400_000, 7)).items()}
    held = dict.fromkeys(METRICS, 0)
    for seed in range(250):
        for name, interval in click_intervals(drawn(250, seed), level=0.9).items():
            held[name] += interval.low <= truth[name] <= interval.high
    for name, count in held.items():
        assert 0.85 <= count / 250 <= 0.95, (name, count)


def test_calibrated_probabilities_and_not_logits_have_the_losses():
    found = drawn(400, 1)
    log_odds = 0.3 * found.logits - 1.0
    made = found._replace(probabilities=1 / (1 + np.exp(-log_odds)), log_odds=log_odds)
    intervals = click_intervals(made)
    p = np.where(made.labels == 1, made.probabilities, 1 - made.probabilities)
    assert intervals["log_loss"].mean == pytest.approx(-np.log(p).mean())
    rate = made.labels.mean()
    entropy = -rate * np.log(rate) - (1 - rate) * np.log(1 - rate)
    assert intervals["normalized_entropy"].mean == pytest.approx(-np.log(p).mean() / entropy)
    assert intervals["auc"] == click_intervals(found)["auc"]
    for name, (_, influence) in _influences(made).items():
        assert influence.mean() == pytest.approx(0, abs=1e-9), name


def test_equal_models_do_not_differ():
    found = drawn(300, 0)
    for comparison in compare_clicks(found, found).values():
        assert (comparison.p, comparison.p_holm, comparison.difference.mean) == (1.0, 1.0, 0.0)


@pytest.mark.slow
def test_p_is_uniform_without_a_difference():
    below = dict.fromkeys(METRICS[:4], 0)
    for seed in range(200):
        one, rng = drawn(250, seed), np.random.default_rng(seed)
        x, noise = rng.normal(size=250), np.random.default_rng(seed + 10_000).normal(size=250)
        # Another view of the same rows, as noisy as the first.
        logits = 1.5 * (x + noise) - 1.0
        other = one._replace(logits=logits, log_odds=logits)
        for name, comparison in compare_clicks(one, other).items():
            below[name] += comparison.p < 0.1
    for name, count in below.items():
        assert 0.05 <= count / 200 <= 0.16, (name, count)


def test_a_better_model_is_found_where_its_own_interval_could_not_tell():
    one, other = drawn(1500, 3, noise=0.8), drawn(1500, 3, noise=1.0)
    alone = click_intervals(one)["auc"], click_intervals(other)["auc"]
    assert alone[0].low < alone[1].high
    found = compare_clicks(one, other)["auc"]
    assert found.p < 0.01 and found.difference.low > 0
    assert found.first == alone[0].mean and found.second == alone[1].mean
    assert found.p_holm >= found.p
    back = compare_clicks(other, one)["auc"]
    assert back.p == pytest.approx(found.p)
    assert back.difference.low == pytest.approx(-found.difference.high)


def test_groups_are_drawn_whole():
    found = drawn(200, 5)
    alone = click_intervals(found)
    assert click_intervals(found, np.arange(200)) == alone
    repeated = ClickPredictions(*(np.repeat(column, 4) for column in found))
    # Four copies of each row hold no more than one.
    of_groups = click_intervals(repeated, np.repeat([f"u{n}" for n in range(200)], 4))
    for name, interval in of_groups.items():
        assert interval.low == pytest.approx(alone[name].low, abs=2e-3)
        assert interval.high == pytest.approx(alone[name].high, abs=2e-3)
    assert click_intervals(repeated)["auc"].low > alone["auc"].low + 0.02
    assert np.isnan(click_intervals(found, np.zeros(200))["auc"].low)


def test_what_is_not_defined_is_nan():
    def of(labels):
        return ClickPredictions.from_probabilities(labels, np.full(len(labels), 0.25))

    one = click_intervals(of([0, 0, 0]))
    assert np.isnan([one[name].mean for name in METRICS if name != "log_loss"]).all()
    assert one["log_loss"].mean == pytest.approx(-np.log(0.75))
    single = click_intervals(of([0, 1, 0]))
    assert single["auc"].mean == 0.5 and np.isnan(single["auc"].low)
    assert single["calibration"].mean == 0.75 and np.isfinite(single["calibration"].high)
    assert np.isnan(click_intervals(of([1]))["log_loss"].low)
    found = compare_clicks(of([0, 0, 0]), of([0, 0, 0]))
    assert np.isnan(found["auc"].p) and np.isnan(found["auc"].p_holm)
    assert found["log_loss"].p_holm == 1.0
    sure = ClickPredictions.from_probabilities([1, 0, 1, 0], [0.0, 0.0, 1.0, 1.0])
    assert click_intervals(sure)["log_loss"].mean == np.inf
    assert np.isnan(compare_clicks(sure, sure)["log_loss"].p)
    right = ClickPredictions.from_probabilities([1, 0, 1, 0], [0.9, 0.1, 0.8, 0.2])
    assert click_intervals(right)["auc"].low == 1.0


FOUND = ClickPredictions.from_probabilities([1, 0, 1], [0.5, 0.5, 0.5])
OTHER = ClickPredictions.from_probabilities([1, 1, 0], [0.5, 0.5, 0.5])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: click_intervals(FOUND, level=1.0), "level must be a number above 0 and less"),
        (lambda: click_intervals(FOUND, np.zeros(2)), r"groups expects .* 3 rows; .*shape \(2,\)"),
        (lambda: compare_clicks(FOUND, OTHER), "expected predictions of the same rows"),
        (lambda: compare_clicks(FOUND, FOUND, level=0), "level must be"),
        (lambda: ClickPredictions.from_probabilities([1], [1.5]), "expected 1 probabilities"),
        (lambda: ClickPredictions.from_probabilities([2], [0.5]), "at least one row of 0 or 1"),
        (lambda: click_intervals(FOUND._replace(logits=np.array([0, np.nan, 0]))), "NaN in 1 of 3"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
