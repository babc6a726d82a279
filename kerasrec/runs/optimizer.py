"""Optimizers by name, with their rates and clips, and constraints of the weights."""

from typing import TYPE_CHECKING, Any

import kerasrec
from kerasrec._checks import check_number

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
# Optimizers of Keras that train other weights on several replicas than on one device.
ALONE = ("ScheduleFreeAdamW",)
# Choices that only the optimizers of kerasrec can follow.
SUMMED = ("clipnorm", "clipvalue", "global_clipnorm")
# Bounds of the weights, of which at most one may be set.
BOUNDS = ("clip_weights", "max_norm")


def make_optimizer(training: "Training", *, steps: int, replicas: int = 1) -> Any:
    """Return the optimizer that a training asks for, with its learning rate or schedule.

    Args:
        training: the choices.
        steps: number of steps in an epoch, over which the rate decays.
        replicas: devices that train together.

    Raises:
        ValueError: if there is no such optimizer, or it cannot do what is asked for.

    Example:

    >>> from kerasrec.runs import Training
    >>> training = Training(optimizer="adagrad", learning_rate=0.1, clipnorm=1.0)
    >>> make_optimizer(training, steps=10).clipnorm
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
    accumulated = training.gradient_accumulation_steps or 1
    if accumulated > 1:
        clips["gradient_accumulation_steps"] = accumulated
    if name in ALONE and replicas > 1:
        raise ValueError(
            f"optimizer={training.optimizer!r}: Keras' {name} trains other weights on several "
            f"replicas than on one. Train on one, or take one of {_listed(OURS)}."
        )
    import keras

    rate: Any = training.learning_rate
    every = steps * int(training.epochs or 1)
    warmup = min(training.warmup_steps or 0, every // 2)
    if training.decay_rate and training.decay == "linear":
        last = rate / (1 + training.decay_rate)
        rate = keras.optimizers.schedules.PolynomialDecay(rate, max(1, every - warmup), last)
        rate = kerasrec.optimizers.WarmUp(rate, warmup) if warmup else rate
    elif training.decay_rate:
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


def constrain(model: Any, training: "Training") -> None:
    """Bound the weights of a model after each update, if the training asks for it.

    `clip_weights` bounds each number, `max_norm` the norm of each vector: of a row of an embedding
    table, and of the weights that lead to one output of a layer. Biases stay free, and weights with
    a constraint of their own keep it.

    Raises:
        ValueError: if a bound is not a positive number, or there are two.

    Example:

    >>> import keras
    >>> from kerasrec.runs import Training
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    >>> constrain(model, Training(max_norm=1.0))
    >>> [None if w.constraint is None else w.constraint.axis for w in model.trainable_variables]
    [(0,), None]
    """
    bounds = {one: getattr(training, one) for one in BOUNDS}
    given = {one: value for one, value in bounds.items() if value is not None}
    for name, value in given.items():
        hint = "Leave it out for weights of any size."
        check_number("train", name, value, zero=False, numpy=True, hint=hint)
    if len(given) > 1:
        raise ValueError(f"train: only one of {', '.join(BOUNDS)} can be set; received {given}.")
    if not given:
        return
    import keras

    for variable in model.trainable_variables:
        axis = _axis_of_vectors(variable)
        if variable.constraint is not None or axis is None:
            continue
        if training.clip_weights is not None:
            variable.constraint = kerasrec.optimizers.ClipWeights(training.clip_weights)
        else:
            variable.constraint = keras.constraints.MaxNorm(training.max_norm, axis=axis)


def penalize(model: Any, training: "Training") -> None:
    """Add the penalty on all rows of the embedding tables, if the training asks for one.

        table_l2 * sum over all tables and rows of ||row||^2

    A row that few examples look up is pulled to 0 in each step all the same, as by a normal prior
    of its weights (Rendle, 2012, "Factorization Machines with libFM"). Tables with a regularizer of
    their own keep it.

    Args:
        model: the model, with its weights.
        training: the choices.

    Raises:
        ValueError: if the model has no embedding tables.

    Example:

    >>> import keras
    >>> from kerasrec.layers import Embedding
    >>> from kerasrec.runs import Training
    >>> model = keras.Sequential([keras.Input((1,), dtype="int32"), Embedding(3, 2)])
    >>> _ = model.layers[0].embeddings.assign([[0, 0], [1, 2], [3, 4]])
    >>> penalize(model, Training(table_l2=0.1))
    >>> round(float(model.losses[0]), 6)
    3.0
    """
    if not training.table_l2:
        return
    import keras

    tables = [v for v in model.trainable_variables if v.name == "embeddings"]
    if not tables:
        raise ValueError(
            f"train: table_l2={training.table_l2} penalises embedding tables, and "
            f"{type(model).__name__} has none here. Leave it out."
        )
    for table in tables:
        if table.regularizer is None:
            table.regularizer = keras.regularizers.L2(training.table_l2)


def _axis_of_vectors(variable: Any) -> int | tuple[int, ...] | None:
    """Return the axes of the vectors of a table or a layer; None for biases and scales."""
    rank = len(variable.shape)
    if rank < 2 or "bias" in variable.name:
        return None
    if variable.name == "embeddings":
        return 1 if variable.shape[1] > 1 else None  # one column holds biases
    return tuple(range(rank - 1))


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
