"""Curves over all thresholds, and tables of some: what a campaign or a filter would get."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from kerasrec._checks import check_integer, check_share
from kerasrec.evaluation.clicks.scores import binary, checked_probabilities, checked_scores

GIVEN, BEST_F1 = "given", "best F1"
_GRID = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


class Thresholds(NamedTuple):
    """Counts of the rows from each distinct score on, highest first.

    Args:
        score: distinct scores `(thresholds,)`, descending.
        rows: rows with at least this score.
        positives: positives among them.
    """

    score: np.ndarray
    rows: np.ndarray
    positives: np.ndarray


def thresholds(labels: np.ndarray, scores: np.ndarray, what: str) -> Thresholds:
    """Count rows and positives from each distinct score on.

    Args:
        labels: 0 or 1, `(rows,)`.
        scores: `(rows,)`.
        what: name of the caller, for messages.

    Raises:
        ValueError: if a label is neither 0 nor 1, a score is NaN, or the lengths differ.

    Example:

    >>> found = thresholds(np.array([0, 1, 1]), np.array([0.2, 0.2, 0.7]), "here")
    >>> found.score.tolist(), found.rows.tolist(), found.positives.tolist()
    ([0.7, 0.2], [1, 3], [1.0, 2.0])
    """
    labels = binary(labels, f"{what}: labels")
    scores = checked_scores(scores, len(labels), f"{what}: scores")
    order = np.argsort(-scores, kind="stable")
    score, positives = scores[order], np.cumsum(labels[order])
    last = np.append(np.flatnonzero(score[1:] != score[:-1]), len(score) - 1)
    return Thresholds(score[last], last + 1, positives[last])


def average_precision(labels: np.ndarray, scores: np.ndarray) -> float:
    """Compute the area under the curve of precision over recall (PR-AUC).

        sum over thresholds of (recall - recall of the threshold above) * precision

    It is the mean, over the positives, of the precision among the rows that score at least as high.
    Rows of equal scores are in or out together, so that a constant score has the share of
    positives, whatever the order of the rows. There is no interpolation between thresholds, which
    would be too optimistic (Davis and Goadrich, 2006, "The Relationship Between Precision-Recall
    and ROC Curves"). NaN without a positive.

    Args:
        labels: 0 or 1, `(rows,)`.
        scores: `(rows,)`.

    Raises:
        ValueError: if a label is neither 0 nor 1, a score is NaN, or the lengths differ.

    Example:

    >>> average_precision(np.array([0, 1, 1, 0]), np.array([0.9, 0.8, 0.7, 0.1]))
    0.5833333333333333
    """
    found = thresholds(labels, scores, "average_precision")
    total = found.positives[-1]
    if not total:
        return float("nan")
    gained = np.diff(found.positives, prepend=0.0)
    return float((gained * found.positives / found.rows).sum() / total)


@dataclasses.dataclass(frozen=True, eq=False)
class PrecisionRecall:
    """Precision and recall by threshold, highest threshold first.

    Args:
        threshold: a row is selected if its score is at least this, `(thresholds,)`.
        precision: share of positives among the selected rows.
        recall: share of the positives that are selected.
    """

    threshold: np.ndarray
    precision: np.ndarray
    recall: np.ndarray


def precision_recall_curve(labels: np.ndarray, scores: np.ndarray) -> PrecisionRecall:
    """Compute precision and recall at every distinct score.

    Args:
        labels: 0 or 1, `(rows,)`.
        scores: `(rows,)`.

    Raises:
        ValueError: if a label is neither 0 nor 1, a score is NaN, or the lengths differ.

    Example:

    >>> curve = precision_recall_curve(np.array([0, 1, 1, 0]), np.array([0.9, 0.8, 0.7, 0.1]))
    >>> curve.precision.round(2).tolist(), curve.recall.tolist()
    ([0.0, 0.5, 0.67, 0.5], [0.0, 0.5, 1.0, 1.0])
    """
    found = thresholds(labels, scores, "precision_recall_curve")
    total = found.positives[-1]
    recall = found.positives / total if total else np.full(len(found.rows), np.nan)
    return PrecisionRecall(found.score, found.positives / found.rows, recall)


@dataclasses.dataclass(frozen=True, eq=False)
class GainCurve:
    """Share of the positives among the rows with the highest scores, by share of the rows.

    Args:
        share: share of the rows, `(bins + 1,)` from 0 to 1.
        gain: share of the positives among them, `(bins + 1,)` from 0 to 1.
        rate: share of positives in each bin, `(bins,)`, highest scores first.
        positive_share: share of positives among all rows.
    """

    share: np.ndarray
    gain: np.ndarray
    rate: np.ndarray
    positive_share: float

    @property
    def lift(self) -> np.ndarray:
        """Return how many times as many positives the first rows hold as drawn ones, `(bins,)`."""
        return np.asarray(self.gain[1:] / self.share[1:])

    @property
    def best(self) -> np.ndarray:
        """Return the gain of scores that rank every positive first, `(bins + 1,)`."""
        return np.minimum(1.0, self.share / self.positive_share)


def gain_curve(labels: np.ndarray, scores: np.ndarray, *, bins: int = 10) -> GainCurve:
    """Sort the rows by score, cut them in bins of equally many, and count the positives.

        gain(share) = positives among the first share of the rows / all positives
        lift(share) = gain(share) / share

    A bin may end within rows of equal scores, or within a row. Rows of equal scores then count in
    part, which is the mean over all their orders, so that a constant score has a gain equal to the
    share, and a lift of 1.

    Args:
        labels: 0 or 1, `(rows,)`.
        scores: `(rows,)`.
        bins: number of bins.

    Raises:
        ValueError: if there is no positive, `bins` is less than 1, a label is neither 0 nor 1, a
            score is NaN, or the lengths differ.

    Example:

    >>> curve = gain_curve(np.array([1, 1, 0, 0]), np.array([0.9, 0.8, 0.7, 0.1]), bins=2)
    >>> curve.gain.tolist(), curve.lift.tolist(), curve.rate.tolist()
    ([0.0, 1.0, 1.0], [2.0, 1.0], [1.0, 0.0])
    """
    check_integer("gain_curve", "bins", bins, 1, numpy=True)
    found = thresholds(labels, scores, "gain_curve")
    rows, positives = found.rows[-1], found.positives[-1]
    if not positives:
        raise ValueError(
            f"gain_curve: expected at least one positive; all {rows} labels are 0. Choose rows, or "
            "a rule of positives, with some."
        )
    share = np.arange(bins + 1) / bins
    counted = np.interp(share * rows, np.append(0, found.rows), np.append(0.0, found.positives))
    return GainCurve(
        share, counted / positives, np.diff(counted) / (rows / bins), float(positives / rows)
    )


def threshold_table(
    labels: np.ndarray,
    predicted: np.ndarray,
    at: Sequence[float] = _GRID,
    *,
    best_f1: bool = True,
    precision: Sequence[float] = (),
) -> list[dict[str, float | str]]:
    """Compute what a yes from each threshold on would get.

        precision   = positives that get a yes / rows that get a yes
        recall      = positives that get a yes / positives
        f1          = 2 * precision * recall / (precision + recall)
        specificity = negatives that get a no / negatives
        share       = rows that get a yes / rows

    A threshold that is chosen on these rows does better on them than on others: choose it on
    validation rows, and pass it as `at` for the test rows.

    Args:
        labels: 0 or 1, `(rows,)`.
        predicted: probabilities `(rows,)`.
        at: thresholds. A row gets a yes if its probability is at least the threshold.
        best_f1: whether to add the threshold of the best F1, the highest one of equals.
        precision: for each of these, adds the threshold of the highest recall with at least this
            precision, NaN where no threshold has it.

    Returns:
        Rows for `format_table`, lowest threshold first: `threshold`, the numbers above, and why it
        is there (`chosen`). NaN stands for a share of nothing.

    Raises:
        ValueError: if a label is neither 0 nor 1, or a prediction, threshold or precision is not
            from 0 to 1.

    Example:

    >>> rows = threshold_table(np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.7, 0.1]), [0.75],
    ...     precision=[1.0])
    >>> [(row["threshold"], row["precision"], row["recall"], row["chosen"]) for row in rows][1:]
    [(0.75, 0.5, 0.5, 'given'), (0.9, 1.0, 0.5, 'precision of 1')]
    """
    owner = "threshold_table"
    for name, values in (("at", at), ("precision", precision)):
        for value in values:
            check_share(owner, name, value, numpy=True)
    predicted = checked_probabilities(predicted, np.size(labels), owner)
    found = thresholds(labels, predicted, owner)
    wanted = [(float(value), GIVEN) for value in at]
    if best_f1:
        # F1 is 2 TP / (selected + positives).
        f1 = found.positives / (found.rows + found.positives[-1])
        wanted.append((float(found.score[np.argmax(f1)]), BEST_F1))
    for value in precision:
        reached = np.flatnonzero(found.positives / found.rows >= value)
        score = found.score[reached[-1]] if len(reached) else np.nan
        wanted.append((float(score), f"precision of {value:g}"))
    order = sorted(wanted, key=lambda pair: (np.isnan(pair[0]), pair[0]))
    return [{**_at(found, threshold), "chosen": why} for threshold, why in order]


def _at(found: Thresholds, threshold: float) -> dict[str, float | str]:
    """Compute the numbers of one threshold. All are NaN for NaN."""
    names = ("precision", "recall", "f1", "specificity", "share")
    if np.isnan(threshold):
        return dict.fromkeys(("threshold", *names), np.nan)
    rows, positives = float(found.rows[-1]), float(found.positives[-1])
    # Scores descend: the last one that is at least the threshold.
    last = np.searchsorted(-found.score, -threshold, side="right") - 1
    selected, right = (
        (float(found.rows[last]), float(found.positives[last])) if last >= 0 else (0.0, 0.0)
    )
    numbers = (
        _ratio(right, selected),
        _ratio(right, positives),
        _ratio(2 * right, selected + positives),
        _ratio(rows - positives - selected + right, rows - positives),
        selected / rows,
    )
    return {"threshold": threshold, **dict(zip(names, numbers, strict=True))}


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
