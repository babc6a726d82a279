import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec.evaluation import average_precision, format_table, gain_curve, threshold_table
from kerasrec.evaluation.clicks.curves import precision_recall_curve

LABELS = np.array([1, 0, 1, 1, 0, 0])
SCORES = np.array([0.9, 0.6, 0.6, 0.4, 0.4, 0.1])


def rows_of(seed, size=40, levels=8):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, size)
    labels[0] = 1
    return labels, rng.integers(0, levels + 1, size) / levels


def test_average_precision_by_hand():
    # Of the positives at .9, .6 and .4, 1 of 1, 2 of 3 and 3 of 5 rows from there on are positives.
    assert average_precision(LABELS, SCORES) == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)
    assert average_precision([1, 0], [0.5, 0.5]) == average_precision([0, 1], [0.5, 0.5]) == 0.5
    assert average_precision([1], [-3.0]) == 1.0
    assert np.isnan(average_precision([0, 0], [1.0, 2.0]))
    curve = precision_recall_curve(LABELS, SCORES)
    assert curve.threshold.tolist() == [0.9, 0.6, 0.4, 0.1]
    assert curve.precision == pytest.approx([1, 2 / 3, 3 / 5, 1 / 2])
    assert curve.recall == pytest.approx([1 / 3, 2 / 3, 1, 1])
    assert np.isnan(precision_recall_curve([0, 0], [1, 2]).recall).all()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), levels=st.integers(1, 40))
def test_average_precision_is_the_mean_precision_at_the_positives(seed, levels):
    labels, scores = rows_of(seed, levels=levels)
    precisions = [labels[scores >= score].mean() for score in scores[labels == 1]]
    found = average_precision(labels, scores)
    assert found == pytest.approx(np.mean(precisions))
    # It depends on the order of the scores alone, and not on that of the rows.
    order = np.random.default_rng(seed).permutation(len(labels))
    assert average_precision(labels[order], np.exp(3 * scores[order])) == pytest.approx(found)
    oracle = pytest.importorskip("sklearn.metrics", reason="scikit-learn is the oracle")
    assert found == pytest.approx(oracle.average_precision_score(labels, scores))


def test_a_constant_score_has_the_share_of_positives_and_no_lift():
    labels = np.array([1, 0, 0, 0])
    assert average_precision(labels, np.zeros(4)) == 0.25
    curve = gain_curve(labels, np.zeros(4), bins=3)
    assert curve.gain == pytest.approx(curve.share)
    assert curve.lift == pytest.approx([1, 1, 1])
    assert curve.rate == pytest.approx([0.25] * 3)


def test_gain_by_hand():
    curve = gain_curve(LABELS, SCORES, bins=3)
    # 2 rows each: .9 and one of the two at .6, the other and one of the two at .4, the rest.
    assert curve.rate == pytest.approx([1.5 / 2, 1 / 2, 0.5 / 2])
    assert curve.gain == pytest.approx([0, 1.5 / 3, 2.5 / 3, 1])
    assert curve.lift == pytest.approx([1.5, 1.25, 1])
    assert curve.best == pytest.approx([0, 2 / 3, 1, 1])
    assert curve.positive_share == 0.5


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), bins=st.integers(1, 60))
def test_gain_rises_to_one_and_never_above_the_best(seed, bins):
    labels, scores = rows_of(seed, size=12, levels=2)
    curve = gain_curve(labels, scores, bins=bins)
    assert curve.gain[-1] == pytest.approx(1) and curve.gain[0] == 0
    assert (np.diff(curve.gain) >= -1e-12).all() and (curve.gain <= curve.best + 1e-9).all()
    assert curve.rate.mean() == pytest.approx(labels.mean())


def test_gain_is_the_mean_over_orders_of_ties():
    labels, scores = rows_of(3, size=12, levels=2)
    rng = np.random.default_rng(0)
    drawn = [labels[np.lexsort((rng.random(12), -scores))].cumsum() for _ in range(4000)]
    gain = gain_curve(labels, scores, bins=12).gain
    assert gain[1:] * labels.sum() == pytest.approx(np.mean(drawn, 0), abs=0.05)


def test_thresholds_by_hand():
    rows = threshold_table(LABELS, SCORES, [0.5, 1.0], precision=[0.6, 0.99])
    assert [row["chosen"] for row in rows] == [
        "best F1", "precision of 0.6", "given", "precision of 0.99", "given",
    ]  # fmt: skip
    best, lowest, half, sure, one = rows
    # From .4 on: 5 rows, all 3 positives.
    assert best["threshold"] == lowest["threshold"] == 0.4
    assert best["f1"] == pytest.approx(2 * 0.6 / 1.6)
    assert (half["precision"], half["recall"], half["share"]) == pytest.approx((2 / 3, 2 / 3, 0.5))
    assert half["specificity"] == pytest.approx(2 / 3)
    assert (sure["threshold"], sure["precision"], sure["recall"]) == pytest.approx((0.9, 1, 1 / 3))
    # Nothing is selected at 1: no precision, and every negative gets a no.
    assert np.isnan(one["precision"])
    assert (one["recall"], one["f1"], one["specificity"], one["share"]) == (0, 0, 1, 0)
    assert "best F1" in format_table(rows)


def test_a_precision_that_no_threshold_has_is_nan():
    row = threshold_table([0, 1], [0.9, 0.1], [], best_f1=False, precision=[0.8])[0]
    assert row.pop("chosen") == "precision of 0.8"
    assert np.isnan(list(row.values())).all()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), threshold=st.floats(0, 1))
def test_a_threshold_counts_as_numpy_does(seed, threshold):
    labels, scores = rows_of(seed)
    row, best = sorted(
        threshold_table(labels, scores, [threshold]), key=lambda row: row["chosen"] != "given"
    )
    yes = scores >= threshold
    right = (yes & (labels == 1)).sum()
    assert row["share"] == yes.mean()
    assert row["recall"] == pytest.approx(right / labels.sum())
    assert row["f1"] == pytest.approx(2 * right / (yes.sum() + labels.sum()))
    if yes.any():
        assert row["precision"] == pytest.approx(right / yes.sum())
    if not labels.all():
        assert row["specificity"] == pytest.approx(
            (~yes & (labels == 0)).sum() / (labels == 0).sum()
        )
    assert best["f1"] >= row["f1"] - 1e-12


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: average_precision([1, 2], [0, 0]), "average_precision: labels expects .* 0 or 1"),
        (lambda: average_precision([], []), "at least one row"),
        (lambda: average_precision([1, 0], [np.nan, 0]), "NaN in 1 of 2"),
        (lambda: average_precision([1, 0], [0.5]), r"shape \(1,\)"),
        (lambda: gain_curve([0, 0], [0, 1]), "at least one positive; all 2 labels are 0"),
        (lambda: gain_curve([0, 1], [0, 1], bins=0), "bins must be an integer of at least 1"),
        (lambda: threshold_table([0, 1], [0, 2]), "probabilities from 0 to 1.*Apply the sigmoid"),
        (lambda: threshold_table([0, 1], [0, np.nan]), "probabilities from 0 to 1"),
        (lambda: threshold_table([0, 1], [0, 1], [1.5]), "at must be a number from 0 to 1"),
        (lambda: threshold_table([0, 1], [0, 1], precision=[-1]), "precision must be a number"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
