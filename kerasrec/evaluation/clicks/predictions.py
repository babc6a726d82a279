"""Predicted labels of rows: logits, and the probabilities that a model makes of them."""

from typing import NamedTuple

import numpy as np
from scipy.special import logit

from kerasrec.calibration import calibration_of
from kerasrec.evaluation.clicks.scores import binary, checked_probabilities
from kerasrec.evaluation.columns import check_columns
from kerasrec.evaluation.ranking.scoring import predict
from kerasrec.types import Columns, Ranker


class ClickPredictions(NamedTuple):
    """Labels and predictions of some rows.

    Attributes:
        labels: 0 or 1, float64 `(rows,)`.
        logits: float64 `(rows,)`, by which rows are ordered.
        probabilities: float64 `(rows,)`.
        log_odds: log(p / (1 - p)) of the probabilities, float64 `(rows,)`, which do not round.

    Example:

    >>> found = ClickPredictions.from_probabilities(np.array([1, 0]), np.array([0.5, 0.0]))
    >>> found.logits.tolist()
    [0.0, -inf]
    """

    labels: np.ndarray
    logits: np.ndarray
    probabilities: np.ndarray
    log_odds: np.ndarray

    @classmethod
    def from_probabilities(cls, labels: np.ndarray, predicted: np.ndarray) -> "ClickPredictions":
        """Take the predictions of another library, such as boosted trees.

        Args:
            labels: 0 or 1, `(rows,)`.
            predicted: probabilities `(rows,)`. A wrong 0 or 1 has an infinite log loss.

        Raises:
            ValueError: if a label is neither 0 nor 1, or a prediction is not a probability.
        """
        labels = binary(labels, "ClickPredictions: labels")
        predicted = checked_probabilities(predicted, len(labels), "ClickPredictions")
        odds = logit(predicted)
        return cls(labels, odds, predicted, odds)

    def take(self, rows: np.ndarray) -> "ClickPredictions":
        """Return the predictions of some rows, by position or mask."""
        return ClickPredictions(*(column[rows] for column in self))


def predict_clicks(
    model: Ranker, columns: Columns, *, batch_size: int = 8192, what: str = "predict_clicks"
) -> ClickPredictions:
    """Predict the labels of encoded rows.

    Args:
        model: model whose scores are logits of the label column of its schema.
        columns: encoded rows with every feature and the label, 0 or 1.
        batch_size: rows per call of the model.
        what: name of the caller, for messages.

    Raises:
        ValueError: if there are no rows, a column is missing, a label is neither 0 nor 1, or a
            score is NaN.

    Example:

    >>> from kerasrec.schema import Categorical, Schema
    >>> class Zero:
    ...     schema = Schema(Categorical("user", 4), Categorical("item", 5), label="click")
    ...     def __call__(self, inputs, training=False):
    ...         return np.zeros(inputs["item"].shape, np.float32)
    >>> ids = np.array([2, 3])
    >>> predict_clicks(Zero(), {"user": ids, "item": ids, "click": [1, 0]}).probabilities.tolist()
    [0.5, 0.5]
    """
    names = [feature.name for feature in model.schema.features] + [model.schema.label]
    check_columns(columns, names, what=what)
    label = model.schema.label
    labels = binary(columns[label], f"{what}: column {label!r}")
    logits = predict(model, columns, batch_size=batch_size).astype(np.float64)
    found = calibration_of(model)
    return ClickPredictions(labels, logits, found.probability(logits), found.log_odds(logits))
