"""Metrics of predictions of one of several classes: accuracy, log loss, macro F1."""

from typing import Any

import numpy as np

from kerasrec.evaluation.columns import check_columns, take_rows
from kerasrec.types import Columns, Predictor

BATCH_SIZE = 4096


def class_metrics(model: Predictor, columns: Columns, *, batch_size: int = BATCH_SIZE) -> Any:
    """Evaluate a model with a logit for each class.

    Args:
        model: the model, whose label is the position of a class.
        columns: encoded rows with the label.
        batch_size: rows of one call.

    Returns:
        dict of `accuracy`, `log_loss` and `macro_f1`, see `metrics_of`.

    Raises:
        ValueError: as in `metrics_of`, or if a column is missing or there are no rows.
    """
    schema: Any = getattr(model, "schema", None)
    names = [feature.name for feature in schema.features]
    rows = check_columns(columns, [*names, schema.label], what="class_metrics")
    found = [
        np.asarray(model({name: take_rows(columns[name], part) for name in names}))
        for part in np.array_split(np.arange(rows), -(-rows // batch_size))
    ]
    return metrics_of(np.asarray(columns[schema.label]), np.concatenate(found))


def metrics_of(labels: np.ndarray, logits: np.ndarray) -> dict[str, float]:
    """Compute the metrics of logits.

        accuracy = share of the rows whose class has the highest logit
        log_loss = mean of -log softmax(logits)[class]
        macro_f1 = mean over classes of 2 TP / (2 TP + FP + FN)

    Of equal logits the first class is predicted. Classes that are neither a label nor predicted do
    not count in `macro_f1`, since nothing says how well they are told.

    Args:
        labels: classes `(rows,)`, from 0 on.
        logits: `(rows, classes)`.

    Raises:
        ValueError: if there are no rows, a label is no class or a logit is NaN or infinite.

    Example:

    >>> logits = np.log([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25], [0.2, 0.2, 0.6]])
    >>> found = metrics_of(np.array([0, 1, 2]), logits)
    >>> {name: round(value, 4) for name, value in found.items()}
    {'accuracy': 0.6667, 'log_loss': 0.8634, 'macro_f1': 0.5556}
    """
    labels, logits = np.asarray(labels, np.float64), np.asarray(logits, np.float64)
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or not len(labels):
        raise ValueError(
            "class_metrics: expected a label for each row of logits (rows, classes); received "
            f"labels of shape {labels.shape} and logits of shape {logits.shape}. Pass the logits "
            "of these rows."
        )
    classes = logits.shape[1]
    if not (np.isin(labels, np.arange(classes))).all():
        wrong = labels[~np.isin(labels, np.arange(classes))][0]
        raise ValueError(
            f"class_metrics: expected labels from 0 to {classes - 1}, the positions of the "
            f"classes; received {wrong:g}. Encode the rows by kerasrec.data.prepare_examples, with "
            "the vocabularies of the model."
        )
    if not np.isfinite(logits).all():
        raise ValueError(
            "class_metrics: expected finite logits; received NaN or infinity. Training may have "
            "diverged: try a smaller learning rate or clipnorm."
        )
    true, predicted = labels.astype(np.int64), logits.argmax(axis=1)
    shifted = logits - logits.max(axis=1, keepdims=True)
    of_label = np.take_along_axis(shifted, true[:, None], axis=1)[:, 0]
    right = np.bincount(true[true == predicted], minlength=classes)
    either = np.bincount(true, minlength=classes) + np.bincount(predicted, minlength=classes)
    shown = either > 0
    return {
        "accuracy": float(np.mean(true == predicted)),
        "log_loss": float(np.mean(np.log(np.exp(shifted).sum(axis=1)) - of_label)),
        "macro_f1": float(np.mean(2 * right[shown] / either[shown])),
    }
