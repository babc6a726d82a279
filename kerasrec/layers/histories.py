"""Operations on histories: truncation, lengths, last states, attention masks; scaled numbers."""

from keras import ops

from kerasrec.schema import Numeric
from kerasrec.types import Tensor


def newest(history: Tensor, max_length: int) -> Tensor:
    """Return the newest `max_length` items of each history, right-padded.

    Histories may have any width. Padding may stand anywhere, also in front, where
    `keras.utils.pad_sequences` puts it.

    Args:
        history: ids `(batch, length)`, 0 at padding, newest last. The length may be unknown.
        max_length: number of items kept.

    Returns:
        ids `(batch, min(length, max_length))`, or `(batch, max_length)` of an unknown length.

    Example:

    >>> import numpy as np
    >>> newest(np.array([[5, 6, 7], [8, 0, 0], [0, 0, 8], [5, 0, 6]]), 2).numpy().tolist()
    [[6, 7], [8, 0], [8, 0], [5, 6]]
    """
    history = ops.convert_to_tensor(history)
    return take_steps(history, newest_positions(ops.not_equal(history, 0), max_length))


def newest_positions(real: Tensor, max_length: int) -> Tensor:
    """Return the positions of the newest real steps: a stable partition, cut at the old end.

    Args:
        real: True at steps and False at padding, bool `(batch, steps)`. The number of steps may be
            unknown.
        max_length: number of steps kept.

    Returns:
        int32 `(batch, min(steps, max_length))`, or `(batch, max_length)` of an unknown number of
        steps: positions of real steps in their order, followed by -1.

    Example:

    >>> import numpy as np
    >>> newest_positions(np.array([[False, True, False, True]]), 3).numpy().tolist()
    [[1, 3, -1]]
    """
    real = ops.convert_to_tensor(real)
    width = min(real.shape[1] or max_length, max_length)
    if not real.shape[1]:  # there may be no step at all
        real = ops.pad(real, [[0, 0], [0, 1]], constant_values=False)
    real = ops.cast(real, "int32")
    # Real steps first, both kinds in their order. All keys differ, so the sort need not be stable.
    index = ops.cumsum(ops.ones_like(real), axis=1) - 1
    count = ops.shape(real)[1]
    order = ops.argsort(index + count * (1 - real), axis=1)
    total = ops.sum(real, axis=1)[:, None]
    nth = ops.maximum(total - width, 0) + ops.arange(width, dtype="int32")
    position = ops.take_along_axis(order, ops.minimum(nth, count - 1), axis=1)
    return ops.where(nth < total, ops.cast(position, "int32"), -1)


def take_steps(values: Tensor, position: Tensor) -> Tensor:
    """Gather values by position, with 0 for position -1.

    Args:
        values: `(batch, steps, ...)`.
        position: int32 `(batch, width)`, -1 for none.

    Returns:
        `(batch, width, ...)`.
    """
    values = ops.convert_to_tensor(values)
    if not values.shape[1]:  # there may be no step at all to take
        values = ops.pad(values, [[0, 0], [0, 1], *[[0, 0]] * (len(values.shape) - 2)])
    position = ops.reshape(position, (-1, position.shape[1], *[1] * (len(values.shape) - 2)))
    found = ops.take_along_axis(values, ops.maximum(position, 0), axis=1)
    return ops.where(position >= 0, found, ops.zeros_like(found))


def events(numbers: Tensor) -> Tensor:
    """Return the mask of events in a numeric history, which is padded with NaN.

    Args:
        numbers: `(batch, steps)` or `(batch, steps, size)`.

    Returns:
        bool `(batch, steps)`.

    Example:

    >>> import numpy as np
    >>> events(np.array([[0.0, 2.0, np.nan]])).numpy().tolist()
    [[True, True, False]]
    """
    there = ops.logical_not(ops.isnan(ops.convert_to_tensor(numbers)))
    return ops.any(there, axis=-1) if len(there.shape) > 2 else there


def scaled(values: Tensor, feature: Numeric) -> Tensor:
    """Return raw numbers scaled as the schema says, in float32, with 0 where one is missing.

    Args:
        values: numbers of any shape, NaN where one is missing.
        feature: the feature, with its mean and standard deviation, of logarithms or not.

    Example:

    >>> import numpy as np
    >>> scaled(np.array([20.0, np.nan]), Numeric("age", mean=30.0, deviation=5.0)).numpy().tolist()
    [-2.0, 0.0]
    >>> scaled(np.array([-3.0, 0.0, 3.0]), Numeric("debt", log=True)).numpy().round(3)
    array([-1.386,  0.   ,  1.386], dtype=float32)
    """
    # float32 under mixed precision too, whose numbers have three digits.
    values = ops.cast(values, "float32")
    if feature.log:
        values = ops.sign(values) * ops.log1p(ops.abs(values))
    values = (values - feature.mean) / feature.deviation
    return ops.where(ops.isnan(values), ops.zeros_like(values), values)


def lengths(history: Tensor) -> Tensor:
    """Return the number of items of each history `(batch,)`, int32.

    Args:
        history: ids `(batch, length)`, right-padded with 0.
    """
    return ops.sum(ops.cast(ops.not_equal(history, 0), "int32"), axis=1)


def at_the_end(states: Tensor, history: Tensor) -> Tensor:
    """Return the state `(batch, dim)` at the last item, or at position 0 of an empty history.

    Args:
        states: `(batch, length, dim)`.
        history: ids `(batch, length)`, right-padded with 0.
    """
    last = ops.maximum(lengths(history) - 1, 0)
    return ops.take_along_axis(states, last[:, None, None], axis=1)[:, 0]


def seen_by_each(position: Tensor) -> Tensor:
    """Return the causal attention mask of packed sequences.

    A step (second axis) may see another (third) if it is the step itself or an earlier one of the
    same sequence.

    Args:
        position: position of each step in its own sequence `(batch, length)`, 0 at its start.

    Returns:
        bool `(batch, length, length)`, an attention mask.

    Example:

    >>> import numpy as np
    >>> seen_by_each(np.array([[0, 1, 0]]))[0].numpy().astype(int).tolist()
    [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    """
    position = ops.cast(position, "int32")
    index = ops.arange(position.shape[1], dtype="int32")
    begin = (index - position)[:, :, None]  # start of the attending step's sequence
    return (index >= begin) & (index <= index[:, None])
