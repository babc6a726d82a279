"""Learning-rate schedules whose steps are derived from the data, in plain sight."""

import math

import keras


def inverse_time_decay(
    learning_rate: float,
    *,
    examples: int,
    batch_size: int,
    epochs: int,
    decay_rate: float = 1.0,
    staircase: bool = False,
    verbose: int = 1,
) -> keras.optimizers.schedules.InverseTimeDecay:
    """Inverse time decay over the length of a training.

        lr(step) = learning_rate / (1 + decay_rate * step / decay_steps)
        decay_steps = epochs * ceil(examples / batch_size)

    so that the last step runs at `learning_rate / (1 + decay_rate)`. It is the classical
    alpha / (1 + beta t) of Robbins and Monro (1951), with beta = decay_rate / decay_steps, one of
    the remedies against exploding gradients. With `staircase` the rate falls once an epoch:
    `decay_steps` is then the length of an epoch and `decay_rate` is divided by `epochs`.

    Args:
        learning_rate: rate at the first step.
        examples: rows that one epoch trains on, negatives included.
        batch_size: rows of one optimizer step over all replicas (the global batch).
        epochs: epochs that will be trained.
        decay_rate: how far the rate falls: 1 halves it by the end, 0 keeps it.
        staircase: whether the rate falls once an epoch instead of at every step.
        verbose: 1 prints the derived figures, 0 prints nothing.

    Returns:
        A stock `keras.optimizers.schedules.InverseTimeDecay`.

    Raises:
        ValueError: if an argument is not a finite positive number (`decay_rate` may be 0).

    Example:

    >>> schedule = inverse_time_decay(0.1, examples=1000, batch_size=100, epochs=5, verbose=0)
    >>> schedule.decay_steps
    50
    >>> float(schedule(50))
    0.05000000074505806
    """
    for name, value in (("examples", examples), ("batch_size", batch_size), ("epochs", epochs)):
        # numpy integers count, and True does not.
        if isinstance(value, bool) or not hasattr(value, "__index__") or value < 1:
            raise ValueError(
                f"inverse_time_decay: {name} must be an integer of at least 1; received {value!r}."
            )
    if not 0 < learning_rate < math.inf:
        raise ValueError(
            "inverse_time_decay: learning_rate must be a finite number above 0; received "
            f"{learning_rate!r}."
        )
    if not 0 <= decay_rate < math.inf:
        raise ValueError(
            "inverse_time_decay: decay_rate must be a finite number of at least 0; received "
            f"{decay_rate!r}."
        )
    steps_per_epoch = math.ceil(examples / batch_size)
    decay_steps = steps_per_epoch if staircase else steps_per_epoch * epochs
    if verbose:
        print(
            f"InverseTimeDecay: {examples:,} examples / batch {batch_size:,} = "
            f"{steps_per_epoch:,} steps an epoch, {steps_per_epoch * epochs:,} in {epochs} epochs; "
            f"learning rate {learning_rate:g} -> {learning_rate / (1 + decay_rate):g}"
        )
    return keras.optimizers.schedules.InverseTimeDecay(
        learning_rate,
        decay_steps=decay_steps,
        decay_rate=decay_rate / epochs if staircase else decay_rate,
        staircase=staircase,
    )
