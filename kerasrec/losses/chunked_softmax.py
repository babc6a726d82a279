"""Softmax cross-entropy over a whole catalogue, without a (positions, items) array."""

from typing import Any

import tensorflow as tf
from keras import ops

from kerasrec.types import Tensor

# Number of logits held at once: 8 MB of float32 fit into the cache shared by nearby cores.
CHUNK_LOGITS = 1 << 21
LEAST_ROWS = 16
# Softmax probabilities are multiplied by this in float16, whose smallest normal number is 6e-5.
# With a million items each probability is about 1e-6. Sums of 256 times an item stay finite.
SHARE_SCALE = 256.0


def full_softmax_crossentropy(
    vectors: Tensor, items: Tensor, targets: Tensor, chunk_rows: int | None = None
) -> Tensor:
    """Return the softmax cross-entropy over all items, summed over the positions.

        loss = sum_t  log sum_j exp(<x_t, q_j>)  -  <x_t, q_target(t)>

    The logits are computed for one chunk of positions at a time. Since the loss is a scalar, its
    gradient is known up to a factor as soon as the softmax of a chunk is. The forward pass
    therefore keeps the gradients of `vectors` and `items`, which are small, and discards the
    logits. In total this takes three matrix products and one exponential, computes no logit twice,
    and uses memory that does not grow with positions x items. It is the idea of fused linear
    cross-entropy (Hsu et al., 2024, "Liger Kernel").

    Positions without a target are moved to the end. Chunks that hold no target are not computed.

    Args:
        vectors: query vectors `(positions, dim)`.
        items: vectors of the catalogue `(items, dim)`.
        targets: index of the target row in `items`, int `(positions,)`; negative for none.
        chunk_rows: positions per chunk; None for as many as fit into a few megabytes.

    Returns:
        float32 scalar. Divide it by the number of targets for a mean.

    Raises:
        ValueError: if the shapes do not fit together or are not known.

    Example:

    >>> import numpy as np
    >>> vectors, items = np.zeros((3, 2), "float32"), np.ones((4, 2), "float32")
    >>> float(full_softmax_crossentropy(vectors, items, np.array([0, 3, -1]))) / 2  # log(4)
    1.3862943649291992
    """
    vectors, items = ops.convert_to_tensor(vectors), ops.convert_to_tensor(items)
    targets = ops.cast(targets, "int32")
    rows, dim = vectors.shape
    count = items.shape[0]
    if len(targets.shape) != 1 or items.shape[1] != dim or None in (dim, count):
        raise ValueError(
            "full_softmax_crossentropy: expected vectors (positions, dim), items (items, dim) and "
            "targets "
            f"(positions,); received {vectors.shape}, {items.shape} and {targets.shape}."
        )
    if chunk_rows is None:
        chunk_rows = max(LEAST_ROWS, CHUNK_LOGITS // count)
    if rows is None:
        rows = ops.shape(vectors)[0]
        chunks = -(-rows // chunk_rows)
    else:
        chunks = max(1, -(-rows // chunk_rows))
        chunk_rows = -(-rows // chunks)  # equal chunks
    # Positions with a target come first. The rest, and the padding of the last chunk, have target
    # -1.
    order = tf.argsort(tf.cast(targets < 0, "int32"), stable=True)
    order = tf.pad(order, [[0, chunks * chunk_rows - rows]])
    index = ops.arange(chunks * chunk_rows, dtype="int32")
    real = index < ops.sum(ops.cast(targets >= 0, "int32"))
    targets = ops.where(real, ops.take(targets, order), -1)
    vectors = ops.take(vectors, order, axis=0)
    vectors = ops.reshape(vectors, (chunks, chunk_rows, dim))
    return _summed(vectors, items, ops.reshape(targets, (chunks, chunk_rows)))


@tf.custom_gradient
def _summed(vectors: Tensor, items: Tensor, targets: Tensor) -> Any:
    """Return the loss of `(chunks, rows, dim)` and `(chunks, rows)`, real targets first."""
    chunks, chunk_rows = tf.shape(targets)[0], targets.shape[1]
    dim, dtype = items.shape[1], vectors.dtype
    used = tf.minimum(chunks, -(-tf.reduce_sum(tf.cast(targets >= 0, tf.int32)) // chunk_rows))

    def step(number: Tensor, loss: Tensor, item_gradient: Tensor, kept: Any) -> Any:
        x, target = vectors[number], targets[number]
        real = tf.cast(target >= 0, tf.float32)
        right = tf.gather(items, tf.maximum(target, 0))
        logits = tf.cast(tf.matmul(x, items, transpose_b=True), tf.float32)
        highest = tf.reduce_max(logits, axis=1, keepdims=True)
        shares = tf.exp(logits - highest)
        total = tf.reduce_sum(shares, axis=1)
        hit = tf.reduce_sum(tf.cast(x, tf.float32) * tf.cast(right, tf.float32), axis=1)
        loss += tf.reduce_sum(real * (tf.math.log(total) + highest[:, 0] - hit))
        gradient, part = _products(shares, (real / total)[:, None], x, items)
        gradient -= right * tf.cast(real[:, None], dtype)
        item_gradient += part
        return number + 1, loss, item_gradient, kept.write(number, gradient)

    kept = tf.TensorArray(dtype, chunks, element_shape=(chunk_rows, dim), clear_after_read=False)
    zero = tf.zeros(items.shape, tf.float32)
    _, loss, item_gradient, kept = tf.while_loop(
        lambda number, *_: number < used, step, (0, 0.0, zero, kept), parallel_iterations=1
    )
    gradient = kept.stack()
    # The targets' part of the gradient of the items, computed once for all chunks.
    flat = tf.reshape(targets, (-1,))
    hits = tf.reshape(tf.cast(vectors, tf.float32), (-1, dim))
    hits = tf.where((flat >= 0)[:, None], hits, 0.0)
    item_gradient -= tf.math.unsorted_segment_sum(hits, tf.maximum(flat, 0), items.shape[0])

    def grad(upstream: Tensor) -> tuple[Tensor, Tensor, None]:
        vector_gradient = gradient * tf.cast(upstream, dtype)
        return vector_gradient, tf.cast(item_gradient * upstream, items.dtype), None

    return loss, grad


def _products(shares: Tensor, scale: Tensor, x: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sums of a chunk's items and of its vectors, weighted by its softmax.

    Args:
        shares: softmax numerators, not yet normalised, float32 `(rows, items)`.
        scale: softmax denominators `(rows, 1)`.
        x: query vectors `(rows, dim)`.
        items: vectors of the catalogue `(items, dim)`.

    Returns:
        `(rows, dim)` in the dtype of the vectors, and float32 `(items, dim)`.
    """
    dtype = x.dtype
    if dtype != tf.float16:
        # Dividing the small arrays is cheaper than dividing the large one.
        shares, divided = tf.cast(shares, dtype), tf.cast(scale, dtype)
        found = tf.matmul(shares, items) * divided
        return found, tf.cast(tf.matmul(shares, x * divided, transpose_a=True), tf.float32)
    # Sums over a catalogue of unnormalised weights, or over many rows, exceed 65504.
    shares = tf.cast(shares * (scale * SHARE_SCALE), dtype)
    found = tf.matmul(shares, items) / SHARE_SCALE
    less = max(1.0, x.shape[0] * SHARE_SCALE / 8192)
    part = tf.cast(tf.matmul(shares, x / less, transpose_a=True), tf.float32)
    return found, part * (less / SHARE_SCALE)
