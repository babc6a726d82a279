"""Probabilities of a trained model: calibration on the validation rows, and what it needs."""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasrec.calibration import FITS, Calibration, calibration_of
from kerasrec.evaluation.clicks.scores import log_loss
from kerasrec.evaluation.ranking.scoring import predict
from kerasrec.runs.settings import Training
from kerasrec.runs.terminal import say
from kerasrec.types import output_kind

if TYPE_CHECKING:
    from kerasrec.data import PreparedData

BATCH_SIZE = 8192
MANY_ROWS, MANY_OF_EACH = 10_000, 1000
"""Validation rows, and rows of each label among them, from which on steps beat a line."""


def calibration_rule(ready: "PreparedData", *, classes: bool) -> tuple[str, str]:
    """Choose how probabilities are calibrated after a training by log_loss, and say why.

    Args:
        ready: the rows.
        classes: whether the model has a logit for each of several classes.
    """
    if classes:
        return "none", "several classes"
    labels = validation_labels(ready)
    if not len(labels):
        return "none", "no validation rows"
    if labels.min() == labels.max():
        return "none", "validation rows of one label"
    rarer = min(int(labels.sum()), len(labels) - int(labels.sum()))
    if len(labels) >= MANY_ROWS and rarer >= MANY_OF_EACH:
        return "isotonic", f"{len(labels):,} validation rows"
    return "platt", f"two numbers, fitted to {len(labels):,} validation rows"


def check_calibration(model: Any, ready: "PreparedData", training: Training) -> None:
    """Check, before a training, that its probabilities can be calibrated as it asks for.

    Args:
        model: the model to train.
        ready: the rows.
        training: the options.

    Raises:
        ValueError: if there is no probability, or no validation rows of both labels.
    """
    method = training.calibration
    if method in (None, "none"):
        return
    if training.loss != "log_loss" or output_kind(model) == "logits":
        what = f"loss={training.loss!r}"
        what = "several classes" if output_kind(model) == "logits" else what
        raise ValueError(
            f"calibration={method!r}: {type(model).__name__} trained with {what} predicts no "
            "probability of one label. Leave calibration out, or train with loss='log_loss'."
        )
    labels = validation_labels(ready)
    if not len(labels) or labels.min() == labels.max():
        some = f"{len(labels):,} validation rows, all of one label" if len(labels) else "none"
        raise ValueError(
            f"calibration={method!r} is fitted to validation rows of both labels; received {some}. "
            "Hold out more rows, or pass calibration='none'."
        )


def calibrate(
    model: Any, ready: "PreparedData", training: Training, *, verbose: int
) -> Calibration | None:
    """Fit the calibration of a trained model to the validation rows, if the training asks for it.

    Args:
        model: the model, with the weights of its best epoch.
        ready: the rows.
        training: the options.
        verbose: 1 prints the result on stderr.

    Returns:
        The calibration that the model has now; None if it was not trained by log_loss.
    """
    if training.loss != "log_loss" or output_kind(model) == "logits":
        return None
    if training.calibration in (None, "none"):
        return calibration_of(model)
    logits = predict(model, ready.valid, batch_size=BATCH_SIZE)
    labels = validation_labels(ready)
    before = calibration_of(model)  # the correction of the loss
    focal = Calibration(focal_gamma=before.focal_gamma)
    fitted = FITS[str(training.calibration)](focal.log_odds(logits), labels)
    fitted = dataclasses.replace(fitted, focal_gamma=before.focal_gamma)
    model.calibrate(fitted)
    if verbose:
        losses = [log_loss(labels, one.log_odds(logits)) for one in (before, fitted)]
        say(
            f"Probabilities: {fitted.describe()}, fitted to {len(labels):,} validation rows, whose "
            f"log loss goes from {losses[0]:.4f} to {losses[1]:.4f}."
        )
    return fitted


def validation_labels(ready: "PreparedData") -> np.ndarray:
    """Return the labels 1 and 0 of the validation rows, none if nothing is held out.

    Args:
        ready: the rows.
    """
    return ready.positives(ready.valid) if len(ready.split.valid) else np.zeros(0, np.float32)
