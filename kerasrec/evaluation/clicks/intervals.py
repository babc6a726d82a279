"""Intervals of click metrics and comparison of two models on the same rows.

Each metric is, up to terms that vanish with the number of rows, its value plus a mean of one number
per row, the influence of the row on it. The variance of that mean gives intervals, and the variance
of the difference of two models' influences a paired test, after one sort of the rows. For AUC these
are the estimates of DeLong et al. (1988), "Comparing the Areas under Two or More Correlated
Receiver Operating Characteristic Curves". A bootstrap of the rows gives the same standard errors
after a thousand sorts.
"""

from collections.abc import Callable

import numpy as np
from scipy.special import expit, logit
from scipy.stats import norm, rankdata

from kerasrec._checks import check_share
from kerasrec.evaluation.clicks.curves import average_precision, thresholds
from kerasrec.evaluation.clicks.predictions import ClickPredictions
from kerasrec.evaluation.clicks.scores import auc, log_loss, normalized_entropy
from kerasrec.evaluation.statistics import Comparison, Interval, holm

COMPARED = ("auc", "pr_auc", "log_loss", "normalized_entropy")
_SHARES = ("auc", "pr_auc")
_ROUNDING = 1e-12


def click_intervals(
    found: ClickPredictions, groups: np.ndarray | None = None, *, level: float = 0.95
) -> dict[str, Interval]:
    """Compute click metrics with intervals over the choice of rows.

    The intervals are those of a normal distribution around the metric, for AUC and PR-AUC around
    their log odds, so that they stay within 0 and 1. They cover the choice of rows, but not the
    training seed, for which see `spread`. Scores that separate the labels perfectly show no
    variation, and have an interval of no width.

    Args:
        found: labels and predictions, from `predict_clicks`.
        groups: `(rows,)` names or numbers, such as users, whose rows depend on each other: the
            groups are drawn then, and not the rows. None if all rows are independent.
        level: share of such samples whose interval contains the metric of all rows.

    Returns:
        An `Interval` for `auc`, `pr_auc`, `log_loss`, `normalized_entropy` and `calibration`, NaN
        where a metric is not defined. The ends are NaN with fewer than two rows of either label.

    Raises:
        ValueError: if there are no rows, lengths differ, a label is neither 0 nor 1, a score is
            NaN, or `level` is not between 0 and 1.

    Example:

    >>> rng = np.random.default_rng(0)
    >>> labels = rng.integers(0, 2, 1000)
    >>> found = ClickPredictions.from_probabilities(labels, (labels + rng.random(1000)) / 2.5)
    >>> interval = click_intervals(found)["calibration"]
    >>> round(interval.mean, 3), round(interval.low, 3), round(interval.high, 3)
    (0.771, 0.745, 0.796)
    """
    check_share("click_intervals", "level", level, zero=False, one=False, numpy=True)
    group = _group_numbers(groups, len(found.labels), "click_intervals")
    intervals = {}
    for name, (value, influence) in _influences(found).items():
        error = _error(influence, group)
        intervals[name] = _interval(value, error, level, on_odds=name in _SHARES)
    return intervals


def compare_clicks(
    first: ClickPredictions,
    second: ClickPredictions,
    groups: np.ndarray | None = None,
    *,
    level: float = 0.95,
) -> dict[str, Comparison]:
    """Test whether two models differ on the same rows, and by how much.

        z = difference / standard error of the difference,  p = 2 * (1 - normal(|z|))

    For AUC this is the test of DeLong et al. (1988). The errors of two models on the same rows are
    similar, so that the difference is surer than either metric.

    Args:
        first: labels and predictions of one model.
        second: those of the other, row by row in the same order.
        groups: see `click_intervals`.
        level: see `click_intervals`.

    Returns:
        A `Comparison` for `auc`, `pr_auc`, `log_loss` and `normalized_entropy`. `p_holm` is
        corrected over these four. NaN where a metric is not defined.

    Raises:
        ValueError: see `click_intervals`. Also if the labels of the two differ.

    Example:

    >>> labels = np.array([1, 0, 1, 0, 1, 0])
    >>> good, bad = (ClickPredictions.from_probabilities(labels, np.array(predicted))
    ...              for predicted in ([0.9, 0.2, 0.8, 0.3, 0.4, 0.5], [0.5] * 6))
    >>> found = compare_clicks(good, bad)["auc"]
    >>> found.first, found.second, found.difference.low > 0
    (0.8888888888888888, 0.5, True)
    """
    check_share("compare_clicks", "level", level, zero=False, one=False, numpy=True)
    if not np.array_equal(first.labels, second.labels):
        raise ValueError(
            f"compare_clicks: expected predictions of the same rows; received "
            f"{len(first.labels)} rows with {np.sum(first.labels):g} positives and "
            f"{len(second.labels)} with {np.sum(second.labels):g}, in this or another order. "
            "Predict the same test rows with both."
        )
    group = _group_numbers(groups, len(first.labels), "compare_clicks")
    ours, theirs = _influences(first), _influences(second)
    made, p = {}, {}
    for name in COMPARED:
        (one, of_one), (other, of_other) = ours[name], theirs[name]
        with np.errstate(invalid="ignore"):  # two losses may both be infinite
            difference, error = one - other, _error(of_one - of_other, group)
        made[name] = one, other, _interval(difference, error, level)
        if abs(difference) <= _ROUNDING * max(abs(one), abs(other)):
            p[name] = 1.0
        else:
            with np.errstate(divide="ignore"):
                p[name] = float(2 * norm.sf(abs(difference) / np.float64(error)))
    corrected = holm({name: value for name, value in p.items() if not np.isnan(value)})
    return {
        name: Comparison(*found, p[name], corrected.get(name, float("nan")))
        for name, found in made.items()
    }


_Influence = tuple[float, np.ndarray]


def _influences(found: ClickPredictions) -> dict[str, _Influence]:
    """Return each metric and the influence `(rows,)` of every row on it."""
    labels = found.labels
    positives = labels.sum()
    formulas: dict[str, Callable[[ClickPredictions], _Influence]] = {
        "auc": _of_auc,
        "pr_auc": _of_average_precision,
        "normalized_entropy": _of_normalized_entropy,
    }
    value = log_loss(labels, found.log_odds)  # validates both
    unknown = np.full(len(labels), np.nan)
    few = min(positives, len(labels) - positives) < 2
    with np.errstate(invalid="ignore"):  # a loss may be infinite
        influences = {"log_loss": (value, _losses(found) - value)}
        for name, formula in formulas.items():
            of_all, influence = formula(found)
            influences[name] = of_all, unknown if few else influence
    rate = positives / len(labels)
    influences["calibration"] = float("nan"), unknown
    if rate:
        ratio = float(found.probabilities.mean() / rate)
        influences["calibration"] = ratio, (found.probabilities - ratio * labels) / rate
    return {name: influences[name] for name in (*COMPARED, "calibration")}


def _losses(found: ClickPredictions) -> np.ndarray:
    return np.asarray(np.logaddexp(0.0, np.where(found.labels == 1, -1.0, 1.0) * found.log_odds))


def _of_auc(found: ClickPredictions) -> _Influence:
    """Return AUC and the distance of every row's share of right pairs from it.

    A positive's share is that of the negatives below it, a negative's that of the positives above.
    The factor makes the variance that of DeLong, which divides by one less than the rows of each
    label, as `_error` does by one less than all rows.
    """
    value = auc(found.labels, found.logits)
    influence = np.full(len(found.labels), np.nan)
    yes = found.labels == 1
    count = np.array([(~yes).sum(), yes.sum()], np.float64)
    if count.min() < 2:
        return value, influence
    rank = rankdata(found.logits)
    for label, of_label in enumerate((~yes, yes)):
        below = (rank[of_label] - rankdata(found.logits[of_label])) / count[1 - label]
        right = below if label else 1 - below
        factor = np.sqrt(len(yes) * (len(yes) - 1) / (count[label] * (count[label] - 1)))
        influence[of_label] = (right - value) * factor
    return value, influence


def _of_average_precision(found: ClickPredictions) -> _Influence:
    """Return PR-AUC and its derivative by the weight of every row.

    With P and A the shares of rows and of positives from a threshold on, PR-AUC is the mean of A/P
    over the positives. A row adds to A/P of all thresholds up to its score, and a positive also
    counts by the A/P of its own.
    """
    value = average_precision(found.labels, found.logits)
    cut = thresholds(found.labels, found.logits, "click_intervals")
    rows = len(found.labels)
    share, of_positives = cut.rows / rows, cut.positives / rows
    gained = np.diff(of_positives, prepend=0.0)
    # Sums over the thresholds up to a score, which stand at the end: scores descend.
    by_positive = np.cumsum((gained / share)[::-1])[::-1]
    by_row = np.cumsum((gained * of_positives / share**2)[::-1])[::-1]
    at = np.searchsorted(-cut.score, -found.logits)
    labels = found.labels
    rate = of_positives[-1]
    if not rate:
        return value, np.full(rows, np.nan)
    precision = (of_positives / share)[at]
    influence = labels * (precision + by_positive[at]) - by_row[at] - labels * value
    return value, np.asarray(influence / rate)


def _of_normalized_entropy(found: ClickPredictions) -> _Influence:
    """Return the loss over the entropy of the mean label, and its derivative by each weight."""
    value = normalized_entropy(found.labels, found.log_odds)
    rate = found.labels.mean()
    if not 0 < rate < 1:
        return value, np.full(len(found.labels), np.nan)
    entropy = -rate * np.log(rate) - (1 - rate) * np.log1p(-rate)
    losses = _losses(found)
    slope = np.log1p(-rate) - np.log(rate)  # of the entropy by the rate
    influence = (losses - losses.mean() - value * slope * (found.labels - rate)) / entropy
    return value, np.asarray(influence)


def _error(influence: np.ndarray, group: np.ndarray | None) -> float:
    """Return the standard error of a mean of influences, whose own mean is 0."""
    sums = influence if group is None else np.bincount(group, influence)
    if len(sums) < 2:
        return float("nan")
    correction = len(sums) / (len(sums) - 1)
    return float(np.sqrt(np.square(sums).sum() * correction) / len(influence))


def _interval(value: float, error: float, level: float, *, on_odds: bool = False) -> Interval:
    """Return the interval of a normal distribution around a value, or around its log odds."""
    width = norm.ppf(0.5 + level / 2) * error
    if on_odds and 0 < value < 1:
        ends = expit(logit(value) + np.array([-1, 1]) * width / (value * (1 - value)))
    else:
        ends = value + np.array([-1, 1]) * width
    return Interval(float(value), float(ends[0]), float(ends[1]))


def _group_numbers(groups: np.ndarray | None, rows: int, what: str) -> np.ndarray | None:
    if groups is None:
        return None
    if np.shape(groups) != (rows,):
        raise ValueError(
            f"{what}: groups expects a name or number for each of the {rows} rows; received an "
            f"array of shape {np.shape(groups)}."
        )
    return np.asarray(np.unique(np.asarray(groups), return_inverse=True)[1])
