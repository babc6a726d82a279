"""Histories: the newest items, their number, what stands at the end, what a step may see."""

from keras import ops

from kerasrec.types import Tensor


def newest(history: Tensor, max_length: int) -> Tensor:
    """The newest `max_length` items of right-padded histories of any width.

    Args:
        history: ids `(batch, length)`, padding 0 at the end alone.
        max_length: how many are kept.

    Returns:
        ids `(batch, min(length, max_length))`, right-padded.

    Example:

    >>> import numpy as np
    >>> newest(np.array([[5, 6, 7], [8, 0, 0]]), 2).numpy().tolist()
    [[6, 7], [8, 0]]
    """
    history = ops.convert_to_tensor(history)
    return newest_steps(history, lengths(history), max_length)


def newest_steps(values: Tensor, length: Tensor, max_length: int) -> Tensor:
    """The newest `max_length` steps of right-padded values.

    Args:
        values: `(batch, steps, ...)`.
        length: number of real steps of each row `(batch,)`, int32.
        max_length: how many are kept.

    Returns:
        `(batch, min(steps, max_length), ...)`, right-padded.
    """
    if values.shape[1] <= max_length:
        return values
    place = ops.maximum(length - max_length, 0)[:, None] + ops.arange(max_length, dtype="int32")
    place = ops.reshape(place, (-1, max_length, *[1] * (len(values.shape) - 2)))
    return ops.take_along_axis(values, place, axis=1)


def until_the_last(values: Tensor) -> Tensor:
    """1 for each step up to the last that is not all zeros, then 0; int32 `(batch, steps)`.

    Args:
        values: `(batch, steps, size)`.

    Example:

    >>> import numpy as np
    >>> until_the_last(np.array([[[0.0], [2.0], [0.0]]])).numpy().tolist()
    [[1, 1, 0]]
    """
    some = ops.cast(ops.any(ops.not_equal(values, 0), axis=-1), "int32")
    return ops.cast(ops.flip(ops.cumsum(ops.flip(some, 1), axis=1), 1) > 0, "int32")


def lengths(history: Tensor) -> Tensor:
    """Number of items of each history `(batch,)`, int32.

    Args:
        history: ids `(batch, length)`, right-padded with 0.
    """
    return ops.sum(ops.cast(ops.not_equal(history, 0), "int32"), axis=1)


def at_the_end(states: Tensor, history: Tensor) -> Tensor:
    """The state `(batch, dim)` at the last item; that of the first place if there is no item.

    Args:
        states: `(batch, length, dim)`.
        history: ids `(batch, length)`, right-padded with 0.
    """
    last = ops.maximum(lengths(history) - 1, 0)
    return ops.take_along_axis(states, last[:, None, None], axis=1)[:, 0]


def seen_by_each(place: Tensor) -> Tensor:
    """Whether a step (second axis) may see another (third): itself and what was before it.

    Sequences that share a row do not see each other.

    Args:
        place: place of each step in its own sequence `(batch, length)`, 0 where one begins.

    Returns:
        bool `(batch, length, length)`, an attention mask.

    Example:

    >>> import numpy as np
    >>> seen_by_each(np.array([[0, 1, 0]]))[0].numpy().astype(int).tolist()
    [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    """
    place = ops.cast(place, "int32")
    index = ops.arange(place.shape[1], dtype="int32")
    begin = (index - place)[:, :, None]  # where the sequence of the looking step begins
    return (index >= begin) & (index <= index[:, None])
