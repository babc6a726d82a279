"""Probabilities from logits: lines and steps fitted to held-out rows."""

import json

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit

from kerasrec.calibration import Calibration, calibration_of, fit_isotonic, fit_platt
from kerasrec.models import FeatureMLP, StackedLSTMClassifier
from kerasrec.schema import Numeric, NumericSequence, Schema
from kerasrec.serving.graph.probability import log_odds

LABELS = np.array([0, 0, 1, 0, 1, 1, 1])
LOGITS = np.array([-3.0, -1.0, -0.5, 0.5, 0.7, 2.0, 4.0])


def loss_of(line, logits, labels):
    """Cross-entropy with the targets of Platt, written as he does."""
    positives, others = labels.sum(), len(labels) - labels.sum()
    target = np.where(labels == 1, (positives + 1) / (positives + 2), 1 / (others + 2))
    p = expit(line[0] * logits + line[1])
    return -np.sum(target * np.log(p) + (1 - target) * np.log1p(-p))


def test_one_logit_of_each_label_is_solved_by_hand():
    # The line goes through the targets: 2/3 at 1 and 1/3 at -1, so a = log 2 and b = 0.
    found = fit_platt(np.array([1.0, -1.0]), np.array([1, 0]))
    assert (found.slope, found.intercept) == pytest.approx((np.log(2), 0.0), abs=1e-6)


def test_no_line_near_the_fitted_one_is_better():
    found = fit_platt(LOGITS, LABELS)
    best = loss_of((found.slope, found.intercept), LOGITS, LABELS)
    for step in (0.01, -0.01):
        assert loss_of((found.slope + step, found.intercept), LOGITS, LABELS) > best
        assert loss_of((found.slope, found.intercept + step), LOGITS, LABELS) > best
    # The mean probability is the mean target.
    mean = (4 * 5 / 6 + 3 / 5) / 7
    assert found.probability(LOGITS).mean() == pytest.approx(mean, abs=1e-6)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_a_line_does_not_depend_on_the_unit_of_the_logits(scale):
    usual, scaled = fit_platt(LOGITS, LABELS), fit_platt(LOGITS * scale + 7 * scale, LABELS)
    np.testing.assert_allclose(
        scaled.probability(LOGITS * scale + 7 * scale), usual.probability(LOGITS), atol=1e-5
    )


def test_a_model_worse_than_chance_gets_one_probability():
    found = fit_platt(-LOGITS, LABELS)
    assert found.slope == 0
    assert np.unique(found.probability(LOGITS).round(12)).size == 1
    assert len(fit_isotonic(-np.arange(4.0), np.array([0, 0, 1, 1])).knots) == 1


def test_equal_logits_get_the_share_of_positives():
    found = fit_platt(np.full(4, 9.0), np.array([1, 1, 1, 0]))
    assert found.slope == 1  # nothing is known of other logits
    assert found.probability(np.array([9.0]))[0] == pytest.approx((3 * 4 / 5 + 1 / 3) / 4)
    assert fit_isotonic(np.full(4, 9.0), np.array([1, 1, 1, 0])).knots == (9.0,)


def test_rows_that_fall_are_pooled():
    # Targets 1/4 and 3/4; the second and third row fall and share (3/4 + 1/4) / 2 at 2.5.
    found = fit_isotonic(np.array([4.0, 1.0, 3.0, 2.0]), np.array([1, 0, 0, 1]))
    assert found.knots == (1.0, 2.5, 4.0)
    np.testing.assert_allclose(found.values, logit([0.25, 0.5, 0.75]), atol=1e-12)
    between = found.log_odds(np.array([-9.0, 1.75, 2.5, 9.0]))
    np.testing.assert_allclose(between, [logit(0.25), logit(0.25) / 2, 0, logit(0.75)], atol=1e-12)


def test_small_blocks_are_joined():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=5000)
    found = fit_isotonic(logits, rng.random(5000) < expit(2 * logits))
    assert 5 <= len(found.knots) <= 50
    inside = np.linspace(-1.5, 1.5, 50)
    np.testing.assert_allclose(found.probability(inside), expit(2 * inside), atol=0.06)


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=60),
    st.integers(0, 2**20),
)
def test_both_never_fall_and_agree_with_the_served_graph(logits, seed):
    logits = np.array(logits)
    labels = np.random.default_rng(seed).permutation(np.arange(len(logits)) % 2)
    some = np.sort(np.concatenate([logits, [-2e6, 0, 2e6]]))
    for fit in (fit_platt, fit_isotonic):
        found = fit(logits, labels)
        assert (np.diff(found.log_odds(some)) >= 0).all()
        served = log_odds(found, tf.constant(some, tf.float32)).numpy()
        expected = found.probability(some)
        assert np.isfinite(served).all() and ((expected >= 0) & (expected <= 1)).all()
        slope = np.diff(found.values) / np.diff(found.knots) if found.knots else [found.slope]
        # Rounding of the logit counts as much as the line is steep.
        bound = 1e-5 + 1e-6 * np.max(slope, initial=0.0) * np.abs(some)
        assert (np.abs(expit(served.astype(float)) - expected) <= bound).all()
        assert Calibration.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_separated_labels_have_finite_probabilities():
    logits, labels = np.arange(-50.0, 50.0), np.arange(100) >= 50
    for found in (fit_platt(logits, labels), fit_isotonic(logits, labels)):
        at_ends = found.probability(np.array([-1e30, 1e30]))
        assert np.isfinite(found.log_odds(logits)).all()
        assert at_ends[0] < 0.05 and at_ends[1] > 0.95
    assert found.probability(np.array([-1e30]))[0] == pytest.approx(1 / 52)


@pytest.mark.parametrize("fit", [fit_platt, fit_isotonic])
@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        ([], [], "one logit and one label of each row"),
        ([[1.0], [2.0]], [[0], [1]], r"received arrays of shapes \(2, 1\)"),
        ([1.0, 2.0], [1], "one logit and one label"),
        ([1.0, np.nan], [0, 1], "finite numbers; received 1 of 2"),
        ([1.0, np.inf], [0, 1], "finite numbers"),
        ([1.0, 2.0], [0, 4], "labels must be 0 or 1"),
        ([1.0, 2.0], [0, np.nan], "labels must be 0 or 1"),
        ([1.0, 2.0], [1, 1], "rows of both labels; received 2 rows that are all 1"),
    ],
)
def test_what_cannot_be_fitted(fit, logits, labels, message):
    with pytest.raises(ValueError, match=rf"{fit.__name__}: .*{message}"):
        fit(np.array(logits), np.array(labels))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"method": "beta"}, "'none', 'platt', 'isotonic'"),
        ({"slope": np.nan}, "slope must be a finite number"),
        ({"method": "platt", "slope": -1.0}, "must not fall"),
        ({"method": "isotonic"}, "received 0 knots"),
        ({"knots": (1.0,), "values": (0.0,)}, "of method='none'"),
        ({"method": "isotonic", "knots": (2.0, 1.0), "values": (0.0, 1.0)}, "must not fall"),
        ({"method": "isotonic", "knots": (1.0, 2.0), "values": (1.0, 0.0)}, "must not fall"),
        ({"method": "isotonic", "knots": (1.0,), "values": (0.0,), "slope": 2.0}, "no slope"),
    ],
)
def test_what_is_no_calibration(fields, message):
    with pytest.raises(ValueError, match=message):
        Calibration(**fields)


def test_models_keep_their_calibration(tmp_path):
    schema = Schema(context=[Numeric("x")], label="y")
    model = FeatureMLP(schema, hidden_units=(4,))
    assert calibration_of(model) == Calibration() and calibration_of(object()) == Calibration()
    model.calibrate(fit_isotonic(LOGITS, LABELS))
    import keras

    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.calibration == model.calibration and again.output_kind == "logit"
    assert FeatureMLP.from_config(json.loads(json.dumps(model.get_config()))).calibration


def test_numbers_and_classes_have_no_probability():
    schema = Schema(context=[Numeric("x")], label="y")
    model = FeatureMLP(schema, hidden_units=(4,))
    with pytest.raises(ValueError, match="expects a Calibration.*received float"):
        model.calibrate(0.5)
    model.predict_numbers()
    with pytest.raises(ValueError, match="the output is a predicted number"):
        model.calibrate(Calibration())
    sequences = Schema(context=[NumericSequence("x", of="x", max_length=3)], label="y")
    classes = StackedLSTMClassifier(sequences, hidden_units=(2,), num_classes=3)
    with pytest.raises(ValueError, match="logits of several classes"):
        classes.calibrate(Calibration())
