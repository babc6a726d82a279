"""Clipping of summed gradients, as in Keras and relative to the weights."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from kerasrec._checks import check_number
from kerasrec._keras import compiled_by_xla
from kerasrec.optimizers.rows import Rows, gather
from kerasrec.types import Tensor

# Arguments of the optimizers, of which at most one may be set.
CLIPS = ("clipnorm", "clipvalue", "global_clipnorm", "adaptive_clip")
# Smallest norm that weights count with, so that weights at zero can start to move.
FLOOR = 1e-3


def check_clips(optimizer: str, clips: Mapping[str, Any]) -> None:
    """Check that at most one clip is set, each None or a finite number above 0.

    Args:
        optimizer: its name.
        clips: the value of each argument in `CLIPS`.

    Raises:
        ValueError: naming all three.
    """
    given = {argument: value for argument, value in clips.items() if value is not None}
    for argument, value in given.items():
        hint = "None stands for no clipping."
        check_number(optimizer, argument, value, zero=False, numpy=True, hint=hint)
    if len(given) > 1:
        raise ValueError(
            f"{optimizer}: Only one of {', '.join(clips)} can be set; received {given}."
        )


def clip(
    grads: list[Any],
    clipnorm: float | None = None,
    clipvalue: float | None = None,
    global_clipnorm: float | None = None,
) -> list[Any]:
    """Clip summed gradients by one of the three methods of Keras.

    Args:
        grads: tensors or `Rows`.
        clipnorm: largest norm of each gradient.
        clipvalue: largest absolute value of a number.
        global_clipnorm: largest norm of all gradients together.

    Returns:
        Tensors or `Rows`, as received.
    """
    values = [g.sums if isinstance(g, Rows) else g for g in grads]
    if clipvalue is not None:
        values = [tf.clip_by_value(v, -clipvalue, clipvalue) for v in values]
        return [
            g._replace(sums=v) if isinstance(g, Rows) else v
            for g, v in zip(grads, values, strict=True)
        ]
    limit = clipnorm if clipnorm is not None else global_clipnorm
    if limit is None:
        return grads
    squares = [sum_of_squares(v) for v in values]
    if global_clipnorm is not None:
        squares = [tf.add_n(squares)] * len(squares)
    scales = [limit / tf.maximum(tf.sqrt(square), limit) for square in squares]
    return [
        g._replace(scale=s) if isinstance(g, Rows) else g * tf.cast(s, g.dtype)
        for g, s in zip(grads, scales, strict=True)
    ]


def sum_of_squares(values: Tensor) -> Tensor:
    """Return the squared norm, float32. A matrix product, since XLA sums sequentially otherwise."""
    values = tf.cast(values, "float32")
    if not compiled_by_xla() or values.shape.rank < 2:
        return 2 * tf.nn.l2_loss(values)
    rows = tf.reshape(tf.square(values), (-1, values.shape[-1]))
    return tf.reduce_sum(tf.matmul(rows, tf.ones((values.shape[-1], 1))))


def clip_adaptively(
    grads: list[Any], variables: list[tf.Variable], limit: float, by_row: list[bool]
) -> list[Any]:
    """Clip summed gradients relative to the norms of the weights, see `clip_by_weights`.

    Args:
        grads: tensors or `Rows`.
        variables: the variables that they update.
        limit: largest ratio of the two norms.
        by_row: for each tensor, whether it is the gradient of a table.

    Returns:
        Tensors or `Rows`, as received.
    """
    clipped = []
    for gradient, variable, rows in zip(grads, variables, by_row, strict=True):
        if isinstance(gradient, Rows):
            weights = gather(variable, gradient.ids)
            sums = clip_by_weights(gradient.sums, weights, limit, by_row=True)
            clipped.append(gradient._replace(sums=sums))
        else:
            clipped.append(clip_by_weights(gradient, variable, limit, by_row=rows))
    return clipped


def clip_by_weights(gradient: Tensor, weights: Tensor, limit: float, *, by_row: bool) -> Tensor:
    """Scale down the units of a gradient to at most `limit` times the norm of their weights.

        unit = unit * min(1, limit * max(||weights||, 1e-3) / ||unit||)

    A unit is a row of a table (`by_row`). Otherwise it is the weights that lead to one output,
    along all axes but the last; a vector or a scalar is one unit (Brock et al., 2021,
    "High-Performance Large-Scale Image Recognition Without Normalization", and the authors' code).
    Deviation: the authors leave out the last layer of a network.

    Args:
        gradient: gradient of a whole variable, or of some rows.
        weights: the weights that it updates, of the same shape.
        limit: largest ratio of the two norms.
        by_row: whether each row is a unit.

    Returns:
        The gradient, of the same shape.

    Example:

    >>> gradient, weights = tf.constant([[3.0, 4.0], [0.0, 0.1]]), tf.ones((2, 2))
    >>> clip_by_weights(gradient, weights, 0.5, by_row=True).numpy().round(3)
    array([[0.424, 0.566],
           [0.   , 0.1  ]], dtype=float32)
    """
    rank = len(gradient.shape)
    axes = list(range(1, rank) if by_row else range(max(rank - 1, min(rank, 1))))

    def norm(tensor: Tensor) -> Tensor:
        squares = tf.square(tf.cast(tensor, "float32"))
        return tf.sqrt(tf.reduce_sum(squares, axis=axes, keepdims=True))

    limits = limit * tf.maximum(norm(weights), FLOOR)
    scale = limits / tf.maximum(norm(gradient), limits)
    return gradient * tf.cast(scale, gradient.dtype)
