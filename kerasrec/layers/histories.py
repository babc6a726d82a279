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
    if history.shape[1] <= max_length:
        return history
    skip = ops.maximum(lengths(history) - max_length, 0)
    return ops.take_along_axis(history, skip[:, None] + ops.arange(max_length, dtype="int32"), 1)


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
