"""Right-padded histories: the newest items, their number, what stands at the end."""

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
