import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec.evaluation import auc, click_metrics, log_loss, rating_errors
from kerasrec.evaluation.clicks.scores import calibration_curve, grouped_auc

oracle = pytest.importorskip("sklearn.metrics", reason="scikit-learn is the oracle")


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), levels=st.integers(1, 30), size=st.integers(2, 60))
def test_equals_scikit_learn(seed, levels, size):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, size)
    labels[:2] = 0, 1
    logits = rng.integers(-levels, levels + 1, size) / 7
    probabilities = 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose(auc(labels, logits), oracle.roc_auc_score(labels, logits))
    np.testing.assert_allclose(log_loss(labels, logits), oracle.log_loss(labels, probabilities))
    groups = rng.integers(-1, 4, size)
    expected, weights = [], []
    for group in range(4):
        mine = groups == group
        if len(set(labels[mine])) == 2:
            expected.append(oracle.roc_auc_score(labels[mine], logits[mine]))
            weights.append(mine.sum())
    found, counted = grouped_auc(labels, logits, groups)
    assert counted == len(expected)
    if counted:
        np.testing.assert_allclose(found, np.average(expected, weights=weights))
    else:
        assert np.isnan(found)


def test_by_hand(table_model):
    table = np.tile(np.log([1, 1, 1, 3, 1, 1 / 3]), (5, 1))  # probabilities 1/2, 3/4, 1/2, 1/4
    rows = {"user": np.array([2, 2, 3, 3]), "item": np.array([3, 5, 4, 5])}
    rows["rating"] = np.array([1, 0, 1, 1])
    found = click_metrics(table_model(table), rows, bins=4)
    loss = -(np.log(3 / 4) + np.log(3 / 4) + np.log(1 / 2) + np.log(1 / 4)) / 4
    entropy = -(3 / 4 * np.log(3 / 4) + 1 / 4 * np.log(1 / 4))
    assert found["auc"] == pytest.approx((1 + 1 + 1 / 2) / 3)
    assert (found["gauc"], found["gauc_users"]) == (1.0, 1)
    assert found["log_loss"] == pytest.approx(loss)
    assert found["normalized_entropy"] == pytest.approx(loss / entropy)
    assert found["calibration"] == pytest.approx((3 / 4 + 1 / 4 + 1 / 2 + 1 / 4) / 3)
    # Bins 1/4 (labels 0, 1), 1/2 (1), 3/4 (1).
    assert found["calibration_error"] == pytest.approx((2 * 1 / 4 + 1 / 2 + 1 / 4) / 4)
    assert found["test_rows"] == 4


def test_the_mean_label_has_a_normalized_entropy_of_one(table_model):
    rows = {"user": np.full(4, 2), "item": np.full(4, 2), "rating": np.array([1, 0, 0, 0])}
    found = click_metrics(table_model(np.full((3, 3), np.log(1 / 3))), rows)
    assert found["normalized_entropy"] == pytest.approx(1)
    assert found["calibration"] == pytest.approx(1)
    assert found["calibration_error"] == pytest.approx(0, abs=1e-7)


def test_one_label_alone_leaves_some_undefined(table_model):
    rows = {"user": np.array([2, 1]), "item": np.array([2, 1]), "rating": np.array([0, 0])}
    found = click_metrics(table_model(np.zeros((3, 3))), rows)
    undefined = {name for name, value in found.items() if np.isnan(value)}
    assert undefined == {"auc", "pr_auc", "gauc", "normalized_entropy", "calibration"}
    assert found["log_loss"] == pytest.approx(np.log(2))
    assert (found["unknown_user_rows"], found["unknown_item_rows"]) == (1, 1)


def test_certain_and_wrong_is_finite():
    assert log_loss(np.array([0, 1]), np.array([1e4, -1e4])) == 1e4


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), bins=st.integers(1, 20), levels=st.integers(1, 40))
def test_the_curve_holds_every_row_once_and_forgets_their_order(seed, bins, levels):
    rng = np.random.default_rng(seed)
    labels, predicted = rng.integers(0, 2, 50), rng.integers(0, levels, 50) / levels
    curve = calibration_curve(labels, predicted, bins=bins)
    assert curve.rows.sum() == 50
    assert len(curve.rows) <= bins
    assert (np.diff(curve.predicted) > 0).all()
    assert curve.rows @ curve.observed == pytest.approx(labels.sum())
    order = rng.permutation(50)
    again = calibration_curve(labels[order], predicted[order], bins=bins)
    assert again.error == pytest.approx(curve.error)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: auc([1, 2], [0, 0]), "auc: labels expects .* 0 or 1; received"),
        (lambda: log_loss([], []), "at least one row of 0 or 1"),
        (lambda: log_loss([np.nan], [0]), "0 or 1"),
        (lambda: auc([1, 0, 1], [np.nan, 0, 1]), "auc: scores expects numbers; .*NaN in 1 of 3"),
        (lambda: auc([1, 0, 1], [0.5, 0.1]), r"expects 3 numbers.*received .* shape \(2,\)"),
        (lambda: grouped_auc([0, 1], [np.nan, 1], [2, 2]), "grouped_auc: scores .* NaN in 1 of 2"),
        (lambda: grouped_auc([0, 1], [0.5], [2, 2]), r"grouped_auc: .* shape \(1,\)"),
        (lambda: grouped_auc([0, 1], [0.5, 1], [2]), r"groups expects 2 integers.*shape \(1,\)"),
        (lambda: grouped_auc([0, 1], [0.5, 1], [2.0, 2.0]), "groups .* received float64"),
        (lambda: log_loss([0, 1], [0.5]), r"log_loss: logits expects 2 .* shape \(1,\)"),
        (lambda: log_loss([0, 1], [[0.5], [0.5]]), r"shape \(2, 1\). Flatten"),
        (lambda: log_loss([0, 1], 0.5), r"log_loss: logits expects 2 .* shape \(\)"),
        (lambda: log_loss([0, 1], [np.nan, 1.0]), "log_loss: logits .* NaN in 1 of 2 rows"),
        (lambda: calibration_curve([1], [1.2]), "probabilities from 0 to 1.*Apply the sigmoid"),
        (lambda: calibration_curve([1], [np.nan]), "probabilities from 0 to 1"),
        (
            lambda: calibration_curve([1], [0.5], bins=0),
            "bins must be an integer of at least 1; received 0",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("measure", [click_metrics, rating_errors])
def test_nan_scores_are_named_with_their_share(table_model, measure):
    table = np.zeros((3, 4))
    table[2, 3] = np.nan
    rows = {"user": np.full(4, 2), "item": np.array([2, 3, 2, 2]), "rating": np.array([0, 1, 1, 0])}
    with pytest.raises(ValueError, match=f"{table_model.__name__} gave NaN for 25.00% of a block"):
        measure(table_model(table), rows)
