"""Learning-rate schedules with steps derived from the size of the data."""

import math
from typing import Any

import keras
from keras import ops

from kerasrec._checks import check_integer, check_number
from kerasrec.types import Tensor

OWNER = "inverse_time_decay"


@keras.saving.register_keras_serializable("kerasrec")
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up to a learning rate, followed by that rate or its schedule.

        lr(t) = lr(0) (t + 1) / (warmup_steps + 1)    for t < warmup_steps
        lr(t) = schedule(t - warmup_steps)            afterwards

    The first step already moves the weights, and step `warmup_steps` is the first at the full rate.
    Warm-up keeps the first steps short, when gradients are largest and least informative. It works
    with any Keras optimizer.

    Args:
        learning_rate: a number, or the schedule that follows the warm-up.
        warmup_steps: number of steps below the full rate.

    Raises:
        ValueError: if an argument is out of range.

    Example:

    >>> schedule = WarmUp(0.3, warmup_steps=2)
    >>> [round(float(schedule(step)), 4) for step in range(5)]
    [0.1, 0.2, 0.3, 0.3, 0.3]
    """

    def __init__(self, learning_rate: Any, warmup_steps: int) -> None:
        is_schedule = isinstance(learning_rate, keras.optimizers.schedules.LearningRateSchedule)
        if not is_schedule:
            _check_rate("WarmUp", learning_rate)
        check_integer(self, "warmup_steps", warmup_steps, 0, numpy=True)
        self.learning_rate = learning_rate
        self.warmup_steps = int(warmup_steps)

    def __call__(self, step: Tensor) -> Tensor:
        """Return the learning rate of a step, counted from 0."""
        step = ops.cast(step, "int32")
        rate = self.learning_rate
        if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
            rate = rate(ops.maximum(step - self.warmup_steps, 0))
        rate = ops.convert_to_tensor(rate, "float32")
        share = ops.cast(step + 1, "float32") / (self.warmup_steps + 1)
        return rate * ops.minimum(share, 1.0)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        rate = self.learning_rate
        if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
            rate = keras.optimizers.schedules.serialize(rate)
        return {"learning_rate": rate, "warmup_steps": self.warmup_steps}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "WarmUp":
        """Create a schedule from the result of `get_config`."""
        rate = config["learning_rate"]
        if isinstance(rate, dict):
            rate = keras.optimizers.schedules.deserialize(rate)
        return cls(rate, config["warmup_steps"])


def inverse_time_decay(
    learning_rate: float,
    *,
    examples: int,
    batch_size: int,
    epochs: int,
    decay_rate: float = 1.0,
    staircase: bool = False,
    warmup_steps: int | float = 0,
    verbose: int = 1,
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Return an inverse time decay over the length of a training.

        lr(step) = learning_rate / (1 + decay_rate * step / decay_steps)
        decay_steps = epochs * ceil(examples / batch_size)

    The last step runs at `learning_rate / (1 + decay_rate)`. This is the classical alpha / (1 +
    beta t) of Robbins and Monro (1951), with beta = decay_rate / decay_steps, and one of the
    remedies against exploding gradients. With `staircase` the rate falls once per epoch:
    `decay_steps` is then the length of an epoch, and `decay_rate` is divided by `epochs`.

    With `warmup_steps` = w, the rate first rises linearly to `learning_rate` at step w. It then
    decays as above over the remaining steps:

        lr(step) = learning_rate * (step + 1) / (w + 1)                 for step < w
        lr(step) = learning_rate / (1 + beta * (step - w))              afterwards

    Args:
        learning_rate: rate at the first step.
        examples: number of training rows per epoch, negatives included.
        batch_size: rows per optimizer step over all replicas (the global batch size).
        epochs: number of epochs to train.
        decay_rate: amount of decay: 1 halves the rate by the end, 0 keeps it.
        staircase: whether the rate falls once per epoch instead of at every step.
        warmup_steps: number of warm-up steps; a float below 1 is a fraction of all steps.
        verbose: 1 prints the derived numbers, 0 prints nothing.

    Returns:
        A stock `keras.optimizers.schedules.InverseTimeDecay`, wrapped in `WarmUp` if needed.

    Raises:
        ValueError: if an argument is not a finite positive number (`decay_rate` and `warmup_steps`
            may be 0), or the warm-up leaves no steps for the decay.

    Example:

    >>> schedule = inverse_time_decay(0.1, examples=1000, batch_size=100, epochs=5, verbose=0)
    >>> schedule.decay_steps
    50
    >>> float(schedule(50))
    0.05000000074505806
    """
    for name, value in (("examples", examples), ("batch_size", batch_size), ("epochs", epochs)):
        check_integer(OWNER, name, value, 1, numpy=True)
    _check_rate(OWNER, learning_rate)
    check_number(OWNER, "decay_rate", decay_rate, numpy=True)
    steps_per_epoch = math.ceil(examples / batch_size)
    steps = steps_per_epoch * epochs
    warmup = _warmup(warmup_steps, steps)
    # The decay spans the steps that remain after the warm-up.
    decay_steps = steps_per_epoch if staircase else steps - warmup
    decay = keras.optimizers.schedules.InverseTimeDecay(
        learning_rate,
        decay_steps=decay_steps,
        decay_rate=decay_rate * decay_steps / (steps - warmup),
        staircase=staircase,
    )
    if verbose:
        rising = f"{warmup:,} of them rising, " if warmup else ""
        print(
            f"InverseTimeDecay: {examples:,} examples / batch {batch_size:,} = "
            f"{steps_per_epoch:,} steps an epoch, {steps:,} in {epochs} epochs; {rising}"
            f"learning rate {learning_rate:g} -> {learning_rate / (1 + decay_rate):g}"
        )
    return WarmUp(decay, warmup) if warmup else decay


def _warmup(warmup_steps: int | float, steps: int) -> int:
    """Return the number of warm-up steps, which may be given as a fraction of all steps."""
    if isinstance(warmup_steps, float) and 0 <= warmup_steps < 1:
        return round(warmup_steps * steps)
    hint = f"The training has {steps:,} steps; a share of them, from 0 to below 1, will do as well."
    check_integer(OWNER, "warmup_steps", warmup_steps, 0, steps - 1, numpy=True, hint=hint)
    return int(warmup_steps)


def _check_rate(owner: str, rate: Any) -> None:
    # A tensor or variable of one number is as good.
    scalar = hasattr(rate, "__float__") and not isinstance(rate, bool)
    check_number(owner, "learning_rate", float(rate) if scalar else rate, zero=False)
