"""Balance of labels in a training by log loss, and the correction of the logits that it takes."""

import dataclasses
import math
from typing import Any

import numpy as np

import kerasrec
from kerasrec.calibration import Calibration
from kerasrec.data.batches.blocks import kept_negatives
from kerasrec.runs.settings import BALANCED, LABEL_OPTIONS, Training

# A name that no column has.
WEIGHT = "\0weight"


@dataclasses.dataclass(frozen=True)
class Balance:
    """Weights of positives and of other rows in a training.

        mean over rows of weight * (1 - p)^gamma * -log p,   p = probability of the label given

    A positive has the weight w, another row 1, and an epoch holds a share s of the others. All
    weights are divided by their mean, so that penalties and clips keep their meaning. The minimum
    is then not at the log odds z of the label but at a logit x with

        z = h(x) - log w + log s

    h is x for gamma = 0, else see `kerasrec.calibration`. So the probability is that of all rows:
    prior correction of King and Zeng (2001, "Logistic Regression in Rare Events Data"), and for s
    that of He et al. (2014, "Practical Lessons from Predicting Clicks on Ads at Facebook").

    Args:
        positive_weight: w.
        negative_share: s, of the rows that are kept.
        focal_gamma: gamma.

    Example:

    >>> Balance(positive_weight=4.0).weights(np.array([1, 0, 0])).tolist()  # of mean 1
    [2.0, 0.5, 0.5]
    >>> round(Balance(positive_weight=4.0).correction.intercept, 4)  # -log 4
    -1.3863
    """

    positive_weight: float = 1.0
    negative_share: float = 1.0
    focal_gamma: float = 0.0

    @classmethod
    def of(cls, training: Training, labels: np.ndarray) -> "Balance":
        """Create from the options of a training and the labels of its rows, 0 and 1.

        Args:
            training: the options.
            labels: of the training rows.
        """
        negatives = int(np.count_nonzero(labels == 0))
        positives = len(labels) - negatives
        kept = kept_negatives(labels, training.negative_share or 1.0)
        weight = training.positive_weight or 1.0
        if weight == BALANCED:
            weight = kept / positives if kept and positives else 1.0
        share = kept / negatives if negatives else 1.0
        return cls(float(weight), share, training.focal_gamma or 0.0)

    @property
    def correction(self) -> Calibration:
        """Return how the logits become the log odds of all rows."""
        shift = math.log(self.negative_share) - math.log(self.positive_weight)
        return Calibration(intercept=shift, focal_gamma=self.focal_gamma)

    @property
    def loss(self) -> Any:
        """Return the loss to compile with, without the weights."""
        import keras

        if self.focal_gamma:
            return kerasrec.losses.FocalCrossentropy(self.focal_gamma)
        return keras.losses.BinaryCrossentropy(from_logits=True)

    def weights(self, labels: np.ndarray, *, sampled: bool = True) -> np.ndarray:
        """Return the weight of each row, float32, of mean 1 over the rows of an epoch.

        Args:
            labels: of the rows, 0 and 1.
            sampled: whether an epoch holds the share of the other rows. Validation rows are all
                there, and weigh that share instead.
        """
        one = 1.0 if sampled else self.negative_share
        positives = int(np.count_nonzero(labels == 1))
        others = len(labels) - positives
        held = others * (self.negative_share if sampled else 1.0)
        mean = (self.positive_weight * positives + one * held) / max(1.0, positives + held)
        return np.where(labels == 1, self.positive_weight / mean, one / mean).astype(np.float32)

    def batch_options(
        self, labels: np.ndarray, *, training: bool
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return columns and arguments of `kerasrec.data.pointwise` for rows of these labels.

        Args:
            labels: of the rows, 0 and 1.
            training: whether they are training rows.
        """
        plain = self.positive_weight == 1 and (training or self.negative_share == 1)
        columns = {} if plain else {WEIGHT: self.weights(labels, sampled=training)}
        options: dict[str, Any] = {} if plain else {"weight": WEIGHT}
        if training and self.negative_share < 1:
            options["negative_share"] = self.negative_share
        return columns, options


def check_balance(model: Any, training: Training, *, by_rows: bool) -> None:
    """Check, before a training, that its loss has labels of rows to balance.

    Args:
        model: the model to train.
        training: the options.
        by_rows: whether it learns the labels of rows by log loss.

    Raises:
        ValueError: if an option would have no effect.
    """
    given = {name: getattr(training, name) for name in LABEL_OPTIONS}
    given = {name: value for name, value in given.items() if value is not None}
    if given and not by_rows:
        listed = ", ".join(f"{name}={value!r}" for name, value in given.items())
        what = "steps of histories" if training.loss == "log_loss" else f"loss={training.loss!r}"
        raise ValueError(
            f"{listed}: it balances the two labels of rows in log_loss; received {what} of "
            f"{type(model).__name__}. Leave it out, or train on labels of rows by loss='log_loss'."
        )
