"""Category filters for a catalogue, inside a graph."""

import tensorflow as tf

from kerasrec.schema import FIRST_ID, PADDING_ID
from kerasrec.types import Tensor


def wanted_categories(allow: Tensor, num_ids: int) -> Tensor:
    """Return the categories that each query allows.

    Args:
        allow: encoded ids `(batch, n)`, 0 for padding, 1 for unknown; n may be 0. A row of padding
            only allows everything, a row of unknown ids nothing.
        num_ids: number of category ids, padding and unknown included.

    Returns:
        bool `(batch, num_ids)`.

    Example:

    >>> wanted_categories([[3, 0], [0, 0], [1, 0]], 4).numpy().astype(int).tolist()
    [[0, 0, 0, 1], [1, 1, 1, 1], [0, 0, 0, 0]]
    """
    allow = tf.cast(allow, tf.int32)
    batch = tf.shape(allow)[0]
    everything = tf.reduce_all(allow == PADDING_ID, axis=1)
    rows = tf.broadcast_to(tf.range(batch)[:, None], tf.shape(allow))
    wanted = tf.tensor_scatter_nd_max(
        tf.zeros([batch, num_ids], tf.int32),
        tf.stack([rows, allow], axis=-1),
        tf.cast(allow >= FIRST_ID, tf.int32),
    )
    return (wanted > 0) | everything[:, None]


def passes(wanted: Tensor, categories: Tensor) -> Tensor:
    """Return the items that have one of the wanted categories.

    Args:
        wanted: from `wanted_categories`.
        categories: encoded ids of each item, `(items, width)`, padded with 0.

    Returns:
        bool `(batch, items)`.

    Example:

    >>> wanted = wanted_categories([[3], [0]], 4)
    >>> passes(wanted, [[2, 3], [2, 0], [0, 0]]).numpy().astype(int).tolist()
    [[1, 0, 0], [1, 1, 1]]
    """
    return tf.reduce_any(tf.gather(wanted, categories, axis=1), axis=-1)
