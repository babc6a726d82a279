"""Click prediction metrics: AUC, log loss, calibration."""

import dataclasses
from typing import NamedTuple

import numpy as np

from kerasrec._checks import check_integer


class ClickRows(NamedTuple):
    """Labels and predictions of some rows, from which every click metric follows."""

    labels: np.ndarray
    logits: np.ndarray
    log_odds: np.ndarray
    predicted: np.ndarray
    grouped_auc: tuple[float, int]
    bins: int


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Compute the share of (positive, negative) pairs in the right order. Ties count half.

    It follows from the sum of the positives' mean ranks (Mann and Whitney, 1947). NaN if all labels
    are equal.

    Args:
        labels: 0 or 1, `(rows,)`.
        scores: `(rows,)`.

    Raises:
        ValueError: if a label is neither 0 nor 1, a score is NaN, or the lengths differ.

    Example:

    >>> auc(np.array([0, 1, 1]), np.array([0.2, 0.2, 0.7]))
    0.75
    """
    labels = binary(labels, "auc: labels")
    scores = checked_scores(scores, len(labels), "auc: scores")
    positives = labels.sum()
    pairs = positives * (len(labels) - positives)
    from scipy.stats import rankdata  # takes a second, which rankings need not wait for

    above = (rankdata(scores) * labels).sum() - positives * (positives + 1) / 2
    return float(above / pairs) if pairs else float("nan")


def grouped_auc(labels: np.ndarray, scores: np.ndarray, groups: np.ndarray) -> tuple[float, int]:
    """Compute the row-weighted mean `auc` of groups with both labels, and their number.

    Args:
        labels: 0 or 1, `(rows,)`.
        scores: `(rows,)`.
        groups: integer `(rows,)`, such as user ids. Negative ones are left out.

    Raises:
        ValueError: if a label is neither 0 nor 1, a score is NaN, the lengths differ, or groups are
            not integers.

    Example:

    >>> grouped_auc(np.array([0, 1, 1]), np.array([0.1, 0.3, 0.0]), np.array([2, 2, 3]))
    (1.0, 1)
    """
    labels = binary(labels, "grouped_auc: labels")
    scores = checked_scores(scores, len(labels), "grouped_auc: scores")
    groups = np.asarray(groups)
    if groups.shape != labels.shape or groups.dtype.kind not in "iu":
        raise ValueError(
            f"grouped_auc: groups expects {len(labels)} integers, one for each label; received "
            f"{groups.dtype} of shape {groups.shape}. Encode names as integers first."
        )
    kept = groups >= 0
    labels, scores = labels[kept], scores[kept]
    _, group = np.unique(groups[kept], return_inverse=True)
    # Sort by group and score, so that mean ranks can be computed within each group.
    order = np.lexsort((scores, group))
    group, score, label = group[order], scores[order], labels[order]
    size = np.bincount(group)
    within = np.arange(len(group)) - np.repeat(np.cumsum(size) - size, size)
    new = np.ones(len(group), bool)
    new[1:] = (group[1:] != group[:-1]) | (score[1:] != score[:-1])
    tie = np.cumsum(new) - 1
    rank = (np.bincount(tie, within + 1.0) / np.maximum(np.bincount(tie), 1))[tie]
    positives = np.bincount(group, label, len(size))
    pairs = positives * (size - positives)
    above = np.bincount(group, rank * label, len(size)) - positives * (positives + 1) / 2
    both = pairs > 0
    if not both.any():
        return float("nan"), 0
    return float(np.average(above[both] / pairs[both], weights=size[both])), int(both.sum())


def log_loss(labels: np.ndarray, logits: np.ndarray) -> float:
    """Average log(1 + exp(-logit)) over positives and log(1 + exp(logit)) over negatives.

    Args:
        labels: 0 or 1, `(rows,)`.
        logits: `(rows,)`.

    Raises:
        ValueError: if a label is neither 0 nor 1, a score is NaN, or the lengths differ.

    Example:

    >>> log_loss(np.array([1, 0]), np.array([800.0, -800.0]))
    0.0
    """
    labels = binary(labels, "log_loss: labels")
    logits = checked_scores(logits, len(labels), "log_loss: logits")
    return float(np.mean(np.logaddexp(0.0, np.where(labels == 1, -1.0, 1.0) * logits)))


def normalized_entropy(labels: np.ndarray, logits: np.ndarray) -> float:
    """Compute the log loss over that of the mean label as the prediction. NaN for equal labels."""
    rate = labels.mean()
    entropy = -rate * np.log(rate) - (1 - rate) * np.log1p(-rate) if 0 < rate < 1 else np.nan
    return float(log_loss(labels, logits) / entropy)


@dataclasses.dataclass(frozen=True, eq=False)
class CalibrationCurve:
    """Mean prediction and mean label in bins of equally many rows, lowest predictions first.

    Args:
        predicted: `(bins,)` mean prediction.
        observed: `(bins,)` mean label.
        rows: `(bins,)` rows.
    """

    predicted: np.ndarray
    observed: np.ndarray
    rows: np.ndarray

    @property
    def error(self) -> float:
        """Return the expected calibration error: mean |predicted - observed|, weighted by rows."""
        return float(np.average(np.abs(self.predicted - self.observed), weights=self.rows))


def calibration_curve(
    labels: np.ndarray, predicted: np.ndarray, *, bins: int = 10
) -> CalibrationCurve:
    """Compare predicted and observed rates in bins of the predictions.

        error = sum over bins of rows of the bin / rows * |mean prediction - mean label|

    The definition follows Naeini et al. (2015), "Obtaining Well Calibrated Probabilities Using
    Bayesian Binning", but bins have equally many rows, since click rates concentrate near zero
    (Nixon et al., 2019, "Measuring Calibration in Deep Learning"). Equal predictions share a bin,
    so that the order of the rows does not matter.

    Args:
        labels: 0 or 1, `(rows,)`.
        predicted: probabilities `(rows,)`.
        bins: largest number of bins.

    Raises:
        ValueError: if there are no rows, `bins` is less than 1, a label is neither 0 nor 1, or a
            prediction is not a probability.

    Example:

    >>> curve = calibration_curve(np.array([0, 1, 1, 1]), np.array([0.5, 0.5, 0.8, 0.8]), bins=2)
    >>> curve.predicted.tolist(), curve.observed.tolist(), round(curve.error, 6)
    ([0.5, 0.8], [0.5, 1.0], 0.1)
    """
    labels = binary(labels, "calibration_curve: labels")
    check_integer("calibration_curve", "bins", bins, 1, numpy=True)
    predicted = checked_probabilities(predicted, len(labels), "calibration_curve")
    edges = np.quantile(predicted, np.arange(1, bins) / bins, method="inverted_cdf")
    bin_ = np.searchsorted(np.unique(edges), predicted, side="left")
    rows = np.bincount(bin_)
    held = rows > 0
    rows = rows[held]
    mean, rate = (np.bincount(bin_, values)[held] / rows for values in (predicted, labels))
    return CalibrationCurve(mean, rate, rows)


def binary(labels: np.ndarray, what: str) -> np.ndarray:
    """Validate that there are labels, all of them 0 or 1, and return them as float64."""
    labels = np.asarray(labels, np.float64)
    if labels.ndim != 1 or not len(labels) or not np.isin(labels, (0.0, 1.0)).all():
        raise ValueError(
            f"{what} expects at least one row of 0 or 1; received {labels!r:.100}. Make ratings "
            "binary first, for example ratings >= 4."
        )
    return labels


def checked_scores(scores: np.ndarray, rows: int, what: str) -> np.ndarray:
    """Validate that there is one score for each label, and return them as float64."""
    scores = np.asarray(scores, np.float64)
    if scores.shape != (rows,):
        raise ValueError(
            f"{what} expects {rows} numbers, one for each label; received an array of shape "
            f"{scores.shape}. Flatten scores of shape (rows, 1), and pass the scores of these rows."
        )
    if missing := int(np.isnan(scores).sum()):
        raise ValueError(
            f"{what} expects numbers; received NaN in {missing} of {rows} rows. Leave those rows "
            "out, or find out why the model gives them."
        )
    return scores


def checked_probabilities(predicted: np.ndarray, rows: int, what: str) -> np.ndarray:
    """Validate that there is one probability for each label, and return them as float64."""
    predicted = np.asarray(predicted, np.float64)
    if predicted.shape != (rows,) or not ((predicted >= 0) & (predicted <= 1)).all():
        raise ValueError(
            f"{what}: expected {rows} probabilities from 0 to 1; received {predicted!r:.80}. Apply "
            "the sigmoid to logits first."
        )
    return predicted
