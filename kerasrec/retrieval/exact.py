"""Exact top-k over a catalogue, block by block, with memory independent of its size.

Only stock TensorFlow operations are used, so the same functions run eagerly, in `tf.function` and
in a SavedModel.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from kerasrec._checks import check_integer
from kerasrec.types import Tensor

LOWEST_SCORE = float(np.finfo(np.float32).min)
"""Score of an empty slot, finite so that JSON can represent it."""

ScoreBlock = Callable[[Tensor, Tensor], Tensor]

CHUNK = 128
FEW_CANDIDATES = 4096


class TopK(NamedTuple):
    """Best candidates of each query, best first, with ties in catalogue order.

    Attributes:
        scores: float32 `(batch, k)`; `LOWEST_SCORE` in empty slots.
        positions: int32 `(batch, k)`, rows of the catalogue; -1 in empty slots.
        count: int32 `(batch,)`, number of slots that are not empty.
    """

    scores: Tensor
    positions: Tensor
    count: Tensor


def blocked_top_k(
    score_block: ScoreBlock,
    *,
    num_candidates: int,
    k: int,
    exclude: Tensor,
    pairs_per_block: int,
    exact: Callable[[Tensor], Tensor] | None = None,
) -> TopK:
    """Return the k candidates with the largest score, given a function that scores a block.

    Args:
        score_block: function of two int32 scalars that returns float32 scores
            `(batch, stop - start)` of the candidates from `start` to `stop`.
        num_candidates: size of the catalogue.
        k: number of slots.
        exclude: integer positions `(batch, n)` to exclude for each query, n may be 0. Positions
            outside the catalogue, such as -1, are ignored.
        pairs_per_block: maximum number of scores in memory at once.
        exact: function of positions `(batch, n)` that returns more precise scores, by which the
            best 4 k + 16 candidates are ranked again; None if block scores are exact.

    Returns:
        `TopK` of shape `(batch, k)`.

    Raises:
        ValueError: if `k` is not between 1 and the number of candidates, or `exclude` is not a
            matrix.

    Example:

    >>> scores = tf.constant([[0.1, 0.7, 0.2]])
    >>> best = blocked_top_k(lambda start, stop: scores[:, start:stop], num_candidates=3, k=2,
    ...                      exclude=[[-1]], pairs_per_block=2)
    >>> best.positions.numpy().tolist()
    [[1, 2]]
    """
    check_integer("top_k", "k", k, 1, num_candidates, numpy=True)
    slots, k = k, k if exact is None else min(4 * k + 16, num_candidates)
    exclude = tf.cast(exclude, tf.int32)
    if exclude.shape.rank != 2:
        raise ValueError(
            f"top_k: exclude must be a matrix (batch, n) of positions; received the shape "
            f"{exclude.shape}. Pad shorter rows with -1."
        )
    batch = tf.shape(exclude)[0]
    block = tf.clip_by_value(pairs_per_block // tf.maximum(batch, 1), 1, num_candidates)

    def next_block(start: Tensor, best_scores: Tensor, best: Tensor) -> tuple[Tensor, ...]:
        stop = tf.minimum(start + block, num_candidates)
        scores = _without(score_block(start, stop), exclude - start)
        scores, columns = _best_columns(scores, k, chunked=num_candidates > FEW_CANDIDATES)
        # Earlier candidates come first, and top_k keeps the first of equals.
        scores = tf.concat([best_scores, scores], axis=1)
        positions = tf.concat([best, columns + start], axis=1)
        scores, columns = tf.math.top_k(scores, k)
        return stop, scores, tf.gather(positions, columns, batch_dims=1)

    _, scores, positions = tf.while_loop(
        lambda start, *_: start < num_candidates,
        next_block,
        (0, tf.fill([batch, k], LOWEST_SCORE), tf.fill([batch, k], -1)),
        shape_invariants=(tf.TensorShape([]), tf.TensorShape([None, k]), tf.TensorShape([None, k])),
        parallel_iterations=1,
    )
    real = scores > LOWEST_SCORE
    best = TopK(
        scores, tf.where(real, positions, -1), tf.reduce_sum(tf.cast(real, tf.int32), axis=1)
    )
    return best if exact is None else rescored(best, slots, exact)


def rescored(best: TopK, k: int, scores_at: Callable[[Tensor], Tensor]) -> TopK:
    """Return the k best of a longer list by more precise scores, with ties in catalogue order.

    Args:
        best: a list longer than k.
        k: number of slots.
        scores_at: function from positions `(batch, n)` to their scores.

    Returns:
        `TopK` of shape `(batch, k)`.
    """
    last = tf.int32.max
    positions = tf.sort(tf.where(best.positions < 0, last, best.positions), axis=1)
    real = positions < last
    scores = tf.where(real, scores_at(tf.where(real, positions, 0)), LOWEST_SCORE)
    scores, columns = tf.math.top_k(scores, k)
    positions = tf.gather(tf.where(real, positions, -1), columns, batch_dims=1)
    return TopK(scores, positions, tf.minimum(best.count, k))


def _without(scores: Tensor, columns: Tensor) -> Tensor:
    """Set scores `(batch, block)` in the given columns `(batch, n)` to the lowest score."""
    inside = (columns >= 0) & (columns < tf.shape(scores)[1])
    # An update outside the block becomes a minimum with infinity, which changes nothing.
    updates = tf.where(inside, LOWEST_SCORE, np.float32(np.inf))
    columns = tf.where(inside, columns, 0)
    rows = tf.broadcast_to(tf.range(tf.shape(columns)[0])[:, None], tf.shape(columns))
    return tf.tensor_scatter_nd_min(scores, tf.stack([rows, columns], axis=-1), updates)


def _best_columns(scores: Tensor, k: int, *, chunked: bool) -> tuple[Tensor, Tensor]:
    """Return the top-k of each row `(batch, width)`, or fewer if the row is shorter than k.

    `tf.math.top_k` scans a row number by number. The k best numbers of a row lie in the k chunks
    with the largest maxima. Maxima are fast to compute, so only these chunks are scanned.
    """
    if not chunked:
        return tuple(tf.math.top_k(scores, tf.minimum(k, tf.shape(scores)[1])))
    batch, width = tf.shape(scores)[0], tf.shape(scores)[1]
    padding = tf.math.floormod(-width, CHUNK)
    scores = tf.pad(scores, [[0, 0], [0, padding]], constant_values=LOWEST_SCORE)
    chunks = (width + padding) // CHUNK
    scores = tf.reshape(scores, [batch, chunks, CHUNK])
    _, best = tf.math.top_k(tf.reduce_max(scores, axis=2), tf.minimum(k, chunks))
    # In catalogue order, so that ties keep that order.
    best = tf.sort(best, axis=1)
    kept = tf.gather(scores, best, batch_dims=1)
    columns = best[:, :, None] * CHUNK + tf.range(CHUNK)
    flat = [batch, tf.shape(best)[1] * CHUNK]
    kept, places = tf.math.top_k(tf.reshape(kept, flat), tf.minimum(k, flat[1]))
    return kept, tf.gather(tf.reshape(columns, flat), places, batch_dims=1)
