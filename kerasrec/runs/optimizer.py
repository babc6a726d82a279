"""Optimizers by name: which ones a training can take, and how they are made from its choices."""

from typing import TYPE_CHECKING, Any

import kerasrec

if TYPE_CHECKING:
    from kerasrec.runs.settings import Training

# Names of classes; on the command line in lower case. A test compares them with what there is.
OURS = ("Adam", "AdamW", "Adagrad", "RowwiseAdagrad", "ClippyAdagrad", "Ftrl", "SGD")
STOCK = (
    "Adadelta",
    "Adafactor",
    "Adamax",
    "Lamb",
    "Lion",
    "Muon",
    "Nadam",
    "RMSprop",
    "ScheduleFreeAdamW",
)
# Optimizers of Keras that cannot be made from a learning rate, and the reason.
UNFIT = {
    "Optimizer": "is the base class of the others",
    "MultiOptimizer": "needs an optimizer for each group of variables",
    "LossScaleOptimizer": "wraps another optimizer, for float16",
}
# Choices that only the optimizers of kerasrec can follow.
SUMMED = ("clipnorm", "clipvalue")


def make_optimizer(training: "Training", *, steps: int) -> Any:
    """Return the optimizer that a training asks for, with its learning rate or schedule.

    Args:
        training: the choices.
        steps: number of steps in an epoch, over which the rate decays.

    Raises:
        ValueError: if there is no such optimizer, or it cannot do what is asked for.

    Example:

    >>> from kerasrec.runs import Training
    >>> make_optimizer(Training(optimizer="adagrad", clipnorm=1.0), steps=10).clipnorm
    1.0
    """
    name = class_name(training.optimizer)
    # 0 stands for no limit.
    clips: dict[str, Any] = {one: getattr(training, one) or None for one in SUMMED}
    if name in STOCK:
        if given := [one for one, value in clips.items() if value is not None]:
            raise ValueError(
                f"optimizer={training.optimizer!r}: Keras' {name} clips the gradients of each "
                f"replica, and of each repetition of an id, before it sums them, so that "
                f"{given[0]} would not limit a step. Leave {given[0]} out, or take one of "
                f"{_listed(OURS)}."
            )
        clips = {}
    import keras

    rate: Any = training.learning_rate
    warmup = min(training.warmup_steps or 0, steps * int(training.epochs or 1) // 2)
    if training.decay_rate:
        rate = kerasrec.optimizers.inverse_time_decay(
            rate,
            examples=steps,
            batch_size=1,
            epochs=int(training.epochs or 1),
            decay_rate=training.decay_rate,
            warmup_steps=warmup,
            verbose=0,
        )
    elif warmup:
        rate = kerasrec.optimizers.WarmUp(rate, warmup)
    kinds = keras.optimizers if name in STOCK else kerasrec.optimizers
    return getattr(kinds, name)(rate, **clips)


def class_name(optimizer: str) -> str:
    """Return the class of this name, in any case of letters.

    Raises:
        ValueError: if there is none, or it cannot be made from a learning rate.

    Example:

    >>> class_name("adamw"), class_name("RMSprop")
    ('AdamW', 'RMSprop')
    """
    names = {name.lower(): name for name in (*OURS, *STOCK, *UNFIT)}
    name = names.get(str(optimizer).lower())
    if name in UNFIT:
        raise ValueError(
            f"optimizer={optimizer!r}: {name} of Keras {UNFIT[name]}, so a name and a learning "
            "rate are not enough. Take adam, or compile kerasrec.runs.recipe(model, ready).trainer "
            "with an optimizer of your own in Python."
        )
    if name is None:
        raise ValueError(
            f"optimizer={optimizer!r}: there is no such optimizer; expected one of "
            f"{_listed(OURS)}, or of Keras one of {_listed(STOCK)}."
        )
    return name


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(name.lower() for name in names)
