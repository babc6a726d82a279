"""Probability of a logit in the served graph, as `kerasrec.calibration` defines it."""

import math

import tensorflow as tf

from kerasrec.calibration import Calibration
from kerasrec.types import Tensor


def log_odds(calibration: Calibration, logits: Tensor) -> Tensor:
    """Return the log odds `(batch,)` of the label.

    Args:
        calibration: the calibration of the model.
        logits: its scores `(batch,)`.
    """
    if gamma := calibration.focal_gamma:
        parts = _focal_part(gamma, logits) - _focal_part(gamma, -logits)
        logits = (gamma - 1) * logits + parts
    if calibration.method == "isotonic":
        return _on_lines(calibration, logits)
    return calibration.slope * logits + calibration.intercept


def _focal_part(gamma: float, x: Tensor) -> Tensor:
    """Return log(e^x + gamma softplus(x)), where softplus(x) is e^x far below 0."""
    log_softplus = tf.math.log(tf.math.softplus(tf.maximum(x, -15.0))) + tf.minimum(x + 15.0, 0.0)
    other = math.log(gamma) + log_softplus
    return tf.maximum(x, other) + tf.math.softplus(-tf.abs(x - other))


def _on_lines(calibration: Calibration, logits: Tensor) -> Tensor:
    """Return the straight lines between the knots, constant beyond the ends."""
    knots = tf.constant(calibration.knots, tf.float32)
    values = tf.constant(calibration.values, tf.float32)
    if len(calibration.knots) == 1:
        return tf.zeros_like(logits) + values[0]
    right = tf.searchsorted(knots, logits, side="right")
    right = tf.clip_by_value(right, 1, len(calibration.knots) - 1)
    low, high = tf.gather(knots, right - 1), tf.gather(knots, right)
    share = tf.clip_by_value((logits - low) / (high - low), 0.0, 1.0)
    left = tf.gather(values, right - 1)
    return left + share * (tf.gather(values, right) - left)
