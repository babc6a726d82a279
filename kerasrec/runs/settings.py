"""Choices that a person makes about a training."""

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True)
class Training:
    """Training options.

    Args:
        loss: binary_crossentropy against items drawn for each positive, softmax over items that the
            batch shares, log_loss on the given labels (positive or not, without drawn items), or
            mse on the ratings; null for binary_crossentropy. Models of histories predict the next
            item after each row, and null is softmax over all items for them.
        negatives: number of drawn items: per row for binary_crossentropy (4 by default), per batch
            for softmax (256 by default). Models of histories draw per batch, and for softmax only
            if this is given.
        optimizer: name of an optimizer of kerasrec, or else of Keras.
        learning_rate: rate of the first step.
        decay_rate: inverse time decay to learning_rate / (1 + decay_rate) at the last step.
        clipnorm: largest norm of the gradient of one variable.
        clipvalue: largest absolute value in a gradient.
        epochs: largest number of passes over the training rows.
        batch_size: rows of one step, the negatives of binary_crossentropy included; null for 4096.
            For models of histories, rows of max_length steps; null for 32.
        unknown_share: share of the ids shown as unknown in training, so that users and items
            without training rows get trained scores. Not used with softmax of a model of two
            vectors, nor for models of histories.
        max_length: number of newest items of a user that a model of histories reads.
        patience: epochs without a better validation loss before training stops.
        gradient_interval: number of updates between two records of the gradient norms, which go to
            the history and the report; null for no records.
        seed: seed of weights, order, negatives and random splits.
        jit_compile: whether XLA compiles the steps.
    """

    loss: Literal["binary_crossentropy", "softmax", "log_loss", "mse"] | None = None
    negatives: int | None = None
    optimizer: str = "adam"
    learning_rate: float = 0.002
    decay_rate: float = 0.0
    clipnorm: float | None = None
    clipvalue: float | None = None
    epochs: int = 30
    batch_size: int | None = None
    unknown_share: float = 0.02
    max_length: int = 50
    patience: int = 2
    gradient_interval: int | None = None
    seed: int = 0
    jit_compile: bool = True
