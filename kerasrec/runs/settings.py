"""Choices that a person makes about a training."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, Literal

from kerasrec._checks import check_choice, check_integer, check_number, check_share
from kerasrec.calibration import METHODS

DECAYS = ("inverse_time", "linear")
BALANCED = "balanced"
LABEL_OPTIONS = ("positive_weight", "negative_share", "focal_gamma")
"""Options of log_loss that balance the labels."""


@dataclasses.dataclass(frozen=True)
class Training:
    """Training options. None stands for the choice of the rules, see `kerasrec.runs.choose`.

    Args:
        loss: softmax over items that the batch shares, binary_crossentropy against items drawn for
            each positive, graph_crossentropy for models of two vectors, with weights from the graph
            of the rows as in UltraGCN, log_loss on the given labels (positive or not, without drawn
            items), or mse on the ratings. Models of histories predict the next item after each row,
            by softmax over all items, and classifiers of histories the label of each row by
            log_loss.
        negatives: number of drawn items: per row for binary_crossentropy, per batch for softmax. 0
            for models of histories: softmax over all items.
        valid_negatives: number of items drawn for each validation row of binary_crossentropy; by
            default as many as in training.
        optimizer: adam, adamw, adagrad, rowwiseadagrad, clippyadagrad, ftrl or sgd of kerasrec,
            which sum gradients, then clip, then update the rows of the batch. Or, without clipping,
            one of Keras: adadelta, adafactor, adamax, lamb, lion, muon, nadam, rmsprop or
            schedulefreeadamw.
        learning_rate: rate after the warm-up.
        warmup_steps: steps in which the rate rises from 0.
        decay: how the rate falls: inverse_time, fast at first, or linear.
        decay_rate: the rate of the last step is learning_rate / (1 + decay_rate); 0 for a constant
            rate.
        clipnorm: largest norm of the gradient of one variable, so that one bad batch does little;
            0 for any norm. Lower it first where a loss explodes.
        clipvalue: largest absolute value in a gradient instead.
        global_clipnorm: largest norm of all gradients together instead, which keeps their
            direction: for models with recurrent layers.
        clip_weights: largest absolute value of a weight after each update, biases aside: where a
            loss still explodes with clipped gradients.
        max_norm: largest norm of a vector instead: of a row of an embedding table, and of the
            weights of one output of a layer.
        table_l2: weight of a penalty on the squares of all rows of the embedding tables, which is
            added to the loss of each step. Rows with few events stay short, where a penalty on the
            rows of the batch shrinks all alike. Each step then updates whole tables: for tables of
            up to some 100,000 rows.
        gradient_accumulation_steps: number of batches whose mean gradient makes one update, so that
            a large batch fits into a small memory; each batch is an update by default.
        epochs: largest number of passes over the training rows.
        batch_size: rows of one step, the negatives of binary_crossentropy included. For models of
            histories, rows of max_length steps.
        unknown_share: share of the ids shown as unknown in training, so that users and items
            without training rows get trained scores. Not used with softmax of a model of two
            vectors, nor for models of histories.
        patience: epochs without a better figure on the validation rows before training stops. The
            figure is NDCG@10 of a ranking, AUC for log_loss, RMSE for mse.
        positive_weight: weight of each positive in log_loss, where they are rare; balanced gives
            both labels the same weight in all. Probabilities are corrected by log(weight).
        negative_share: share of the other rows in each epoch of log_loss, drawn anew, so that
            epochs of many rows are short. Probabilities are corrected by log(share).
        focal_gamma: exponent of the focal loss, by which well predicted rows count little in
            log_loss, such as 2. Probabilities are corrected for it.
        calibration: how the logits of log_loss become probabilities after training: platt fits a
            line to the validation rows, isotonic an increasing function, none leaves them. Scores
            and rankings stay the same.
        gradient_interval: number of updates between two records of the gradient norms, which go to
            the history and the report; no records by default.
        seed: seed of order and negatives; on the command line also of weights and random splits.
        jit_compile: whether XLA compiles the steps.
    """

    loss: (
        Literal["binary_crossentropy", "softmax", "graph_crossentropy", "log_loss", "mse"] | None
    ) = None
    negatives: int | None = None
    valid_negatives: int | None = None
    optimizer: str = "adam"
    learning_rate: float | None = None
    warmup_steps: int | None = None
    decay: Literal["inverse_time", "linear"] | None = None
    decay_rate: float | None = None
    clipnorm: float | None = None
    clipvalue: float | None = None
    global_clipnorm: float | None = None
    clip_weights: float | None = None
    max_norm: float | None = None
    table_l2: float | None = None
    gradient_accumulation_steps: int | None = None
    epochs: int | None = None
    batch_size: int | None = None
    unknown_share: float | None = None
    patience: int | None = None
    positive_weight: float | Literal["balanced"] | None = None
    negative_share: float | None = None
    focal_gamma: float | None = None
    calibration: Literal["none", "platt", "isotonic"] | None = None
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
    least_of = {"epochs": 1, "batch_size": 1, "negatives": 0, "valid_negatives": 1}
    least_of |= {"gradient_accumulation_steps": 1}
    for name, least in {**least_of, "patience": 0, "seed": 0, "warmup_steps": 0}.items():
        if (value := getattr(made, name)) is not None:
            check_integer("train", name, value, least, numpy=True)
    check_choice("train", "decay", made.decay, (*DECAYS, None))
    check_choice("train", "calibration", made.calibration, (*METHODS, None))
    zeros = {"learning_rate": False, "decay_rate": True, "focal_gamma": True, "table_l2": True}
    zeros |= {} if made.positive_weight == BALANCED else {"positive_weight": False}
    for name, zero in zeros.items():
        if (value := getattr(made, name)) is not None:
            check_number("train", name, value, zero=zero, numpy=True)
    if made.negative_share is not None:
        check_share("train", "negative_share", made.negative_share, zero=False, numpy=True)
    return made


def seconds_of(budget: str | float) -> float:
    """Return the seconds of a budget such as "90", "90s", "5m" or "1h".

    Raises:
        ValueError: if it is something else, or not positive.

    Example:

    >>> seconds_of("5m"), seconds_of("90"), seconds_of(30)
    (300.0, 90.0, 30.0)
    """
    found = re.fullmatch(r"\s*(\d+\.?\d*)\s*([smh]?)\s*", str(budget))
    seconds = float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]] if found else 0.0
    if not seconds:
        raise ValueError(
            f"budget={budget!r}: expected a time above 0, such as '90s', '5m' or '1h'. Leave it "
            "out to take what the rules choose."
        )
    return seconds
