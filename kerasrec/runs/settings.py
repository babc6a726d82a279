"""Choices that a person makes about a training."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from kerasrec._checks import check_integer, check_number


@dataclasses.dataclass(frozen=True)
class Training:
    """Training options.

    Args:
        loss: binary_crossentropy against items drawn for each positive, softmax over items that the
            batch shares, log_loss on the given labels (positive or not, without drawn items), or
            mse on the ratings. By default binary_crossentropy. Models of histories predict the next
            item after each row, by default by softmax over all items, and classifiers of histories
            the label of each row by log_loss.
        negatives: number of drawn items: per row for binary_crossentropy (4 by default), per batch
            for softmax (256 by default). Models of histories draw per batch, and for softmax only
            if this is given.
        valid_negatives: number of items drawn for each validation row of binary_crossentropy; by
            default as many as in training. With more of them, the best epoch is less by chance.
        optimizer: adam, adamw, adagrad, rowwiseadagrad, clippyadagrad, ftrl or sgd of kerasrec,
            which sum gradients, then clip, then update the rows of the batch. Or, without clipping,
            one of Keras: adadelta, adafactor, adamax, lamb, lion, muon, nadam, rmsprop or
            schedulefreeadamw.
        learning_rate: rate of the first step.
        decay_rate: inverse time decay to learning_rate / (1 + decay_rate) at the last step.
        clipnorm: largest norm of the gradient of one variable.
        clipvalue: largest absolute value in a gradient.
        epochs: largest number of passes over the training rows.
        batch_size: rows of one step, the negatives of binary_crossentropy included; 4096 by
            default. For models of histories, rows of max_length steps; 32 by default.
        unknown_share: share of the ids shown as unknown in training, so that users and items
            without training rows get trained scores. Not used with softmax of a model of two
            vectors, nor for models of histories.
        patience: epochs without a better validation loss before training stops.
        gradient_interval: number of updates between two records of the gradient norms, which go to
            the history and the report; no records by default.
        seed: seed of order and negatives; on the command line also of weights and random splits.
        jit_compile: whether XLA compiles the steps.
    """

    loss: Literal["binary_crossentropy", "softmax", "log_loss", "mse"] | None = None
    negatives: int | None = None
    valid_negatives: int | None = None
    optimizer: str = "adam"
    learning_rate: float = 0.002
    decay_rate: float = 0.0
    clipnorm: float | None = None
    clipvalue: float | None = None
    epochs: int = 30
    batch_size: int | None = None
    unknown_share: float = 0.02
    patience: int = 2
    gradient_interval: int | None = None
    seed: int = 0
    jit_compile: bool = True


def choices_of(training: Training | None, choices: Mapping[str, Any]) -> Training:
    """Return training options with some of them changed.

    Raises:
        ValueError: if there is no option of a name, or a number is out of range.

    Example:

    >>> choices_of(None, {"epochs": 3}) == Training(epochs=3)
    True
    """
    names = [field.name for field in dataclasses.fields(Training)]
    if unknown := [name for name in choices if name not in names]:
        raise ValueError(f"Training has no options {unknown}; expected some of {names}.")
    made = dataclasses.replace(training or Training(), **choices)
    check_integer("train", "epochs", made.epochs, 1, numpy=True)
    check_integer("train", "patience", made.patience, 0, numpy=True)
    check_integer("train", "seed", made.seed, 0, numpy=True)
    check_number("train", "learning_rate", made.learning_rate, zero=False, numpy=True)
    check_number("train", "decay_rate", made.decay_rate, numpy=True)
    return made
