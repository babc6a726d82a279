"""Item vectors of a catalogue, and the factors that turn their products into cosines."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from kerasrec.types import Columns, Features, Retriever, Tensor


def item_vectors(model: Retriever, candidates: Columns, *, rows: int = 2**16) -> np.ndarray:
    """Compute the item vectors `(candidates, dim)` of a catalogue, block by block.

    Args:
        model: a retriever.
        candidates: encoded item features, one row per item.
        rows: size of a block.
    """
    return in_blocks(model.item_embedding, candidates, rows=rows)


def in_blocks(
    read: Callable[[Features], Tensor], candidates: Columns, *, rows: int = 2**16
) -> np.ndarray:
    """Compute rows `(candidates, width)` from item features, block by block.

    Args:
        read: function of the features of some items.
        candidates: encoded item features, one row per item.
        rows: size of a block.
    """
    total = len(next(iter(candidates.values())))
    blocks = [
        np.asarray(
            read({name: tf.constant(c[start : start + rows]) for name, c in candidates.items()})
        )
        for start in range(0, total, rows)
    ]
    return np.concatenate(blocks)


def similarity(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the factors that turn dot products of item vectors into cosines.

    A column that is equal for all items, such as the 1 that multiplies a user's bias, carries no
    information about an item and is left out.

    Args:
        vectors: item vectors `(items, dim)`.

    Returns:
        float32 `(dim,)`, 1 where a column counts, and `(items,)`, 1 / length over those columns; 0
        for a vector of zeros.

    Example:

    >>> columns, norms = similarity(np.float32([[0, 1, 4], [0, 1, 0]]))
    >>> columns.tolist(), norms.tolist()
    ([0.0, 0.0, 1.0], [0.25, 0.0])
    """
    columns = (vectors != vectors[:1]).any(axis=0).astype(np.float32)
    lengths = np.linalg.norm(vectors * columns, axis=1)
    return columns, np.divide(1, lengths, where=lengths > 0, out=np.zeros_like(lengths))
