"""Where positives stand in the lists of their queries, without making the lists.

Every metric of accuracy follows from two numbers per positive: how many candidates score higher,
and how many the same. They are counted block by block of queries, so that there is never an array
of users x items. Blocks of a retriever are shared out to threads, each with a BLAS product of one
thread; numpy lets go of the interpreter's lock in all that takes long.
"""

import dataclasses
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from threadpoolctl import threadpool_limits

from kerasrec.evaluation.counting import count_better
from kerasrec.evaluation.queries import Queries, SeenPairs
from kerasrec.evaluation.ranked import Positives
from kerasrec.evaluation.scoring import ItemVectors, block_scorer
from kerasrec.schema import Schema
from kerasrec.types import Columns, Ranker, Retriever

# A score, and its share of the flags, copies and removed pairs made from a block.
_BYTES_PER_SCORE = 10
# More queries make no product faster; the query vectors of so many are asked for at once.
_QUERIES_PER_BLOCK = 128
_QUERIES_PER_CALL = 16_384


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """What is ranked for whom.

    Args:
        schema: names of the features.
        queries: queries and positives.
        seen: pairs that are no candidates.
        position: `(item ids,)` row of the item in the catalogue, -1 if it has none.
        candidates: item ids `(queries, c)` of a sampled protocol; None for the catalogue.
    """

    schema: Schema
    queries: Queries
    seen: SeenPairs
    position: np.ndarray
    candidates: np.ndarray | None


@dataclasses.dataclass(frozen=True, eq=False)
class _Block:
    """The queries from start to stop, and what is known of their candidates."""

    start: int
    users: np.ndarray  # (queries,)
    positives: slice
    row: np.ndarray  # of each listed positive
    item: np.ndarray
    listed: np.ndarray  # which of the positives are listed


def count_positives(
    model: Ranker, items: Columns, task: Task, *, max_memory_mb: int
) -> tuple[Positives, np.ndarray]:
    """Scores all queries and counts the candidates above and beside each positive.

    Args:
        model: what scores.
        items: item features, one row per item of the catalogue.
        task: what is ranked.
        max_memory_mb: bound for the arrays of scores.

    Returns:
        The positives, and the number of negatives `(queries,)`.

    Raises:
        ValueError: if a score is NaN.
    """
    queries = task.queries
    num_queries, num_positives = len(queries.test_row), len(queries.item)
    listed = task.position[queries.item] >= 0
    score = np.zeros(num_positives, np.float32)
    greater, tied = np.zeros(num_positives, np.int64), np.zeros(num_positives, np.int64)
    negatives = np.zeros(num_queries, np.int64)

    def count(block: _Block, scores: np.ndarray, column: np.ndarray, others: np.ndarray) -> None:
        """Of scores whose removed candidates are NaN already; writes where no other block does."""
        value = scores[block.row, column]
        scores[block.row, column] = np.nan  # positives are counted afterwards, among themselves
        at = np.flatnonzero(block.listed) + block.positives.start
        greater[at], tied[at] = count_better(scores, block.row, value)
        score[at] = value
        negatives[block.start : block.start + len(block.users)] = others

    if task.candidates is not None:
        _sampled(model, items, task, count, max_memory_mb)
    elif isinstance(model, Retriever):
        _retrieved(model, items, task, count, max_memory_mb)
    else:
        _scored(model, items, task, count, max_memory_mb)
    found = Positives(queries.query, queries.item, listed, score, greater, tied)
    return found, negatives


def _blocks(task: Task, size: int, start: int, stop: int) -> Iterator[_Block]:
    queries = task.queries
    users = queries.features[task.schema.user_id.name]
    for first in range(start, stop, size):
        last = min(first + size, stop)
        part = slice(*np.searchsorted(queries.query, [first, last]).tolist())
        listed = task.position[queries.item[part]] >= 0
        row, item = queries.query[part][listed] - first, queries.item[part][listed]
        yield _Block(first, users[first:last].astype(np.int64), part, row, item, listed)


def _features(task: Task, start: int, stop: int) -> dict[str, np.ndarray]:
    return {name: values[start:stop] for name, values in task.queries.features.items()}


def _remove_seen(task: Task, block: _Block, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Marks seen items as NaN, positives excepted; columns of the positives, and negatives."""
    row, item = task.seen.items_of(block.users)
    at = task.position[item]
    row, at = row[at >= 0], at[at >= 0]
    column = task.position[block.item]
    value = scores[block.row, column]
    scores[row, at] = np.nan
    scores[block.row, column] = value
    size = len(block.users)
    both = task.seen.contains(block.users[block.row], block.item)
    removed = np.bincount(row, minlength=size) - np.bincount(block.row[both], minlength=size)
    positives = np.bincount(block.row, minlength=size)
    return column, scores.shape[1] - removed - positives


def _retrieved(model: Retriever, items: Columns, task: Task, count, max_memory_mb: int) -> None:  # type: ignore[no-untyped-def]
    catalogue = ItemVectors.of(model, items)
    width, threads = len(catalogue.vectors), _cores()
    most = (max_memory_mb << 20) // (threads * _BYTES_PER_SCORE * width)
    size = max(1, min(most, _QUERIES_PER_BLOCK))
    num_queries = len(task.queries.test_row)
    own = threading.local()  # one array of scores a thread: fresh memory costs as much as counting
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        for start in range(0, num_queries, _QUERIES_PER_CALL):
            stop = min(start + _QUERIES_PER_CALL, num_queries)
            vectors = catalogue.queries(_features(task, start, stop))

            def one(block: _Block, vectors: np.ndarray = vectors, start: int = start) -> None:
                if not hasattr(own, "scores"):
                    own.scores = np.empty((size, width), np.float32)
                first, count_of = block.start - start, len(block.users)
                scores = own.scores[:count_of]
                catalogue.scores(vectors[first : first + count_of], out=scores)
                count(block, scores, *_remove_seen(task, block, scores))

            for _ in pool.map(one, _blocks(task, size, start, stop)):
                pass


def _scored(model: Ranker, items: Columns, task: Task, count, max_memory_mb: int) -> None:  # type: ignore[no-untyped-def]
    score = block_scorer(model, items, max_memory_mb=max_memory_mb)
    width = len(items[task.schema.item_id.name])
    size = max(1, (max_memory_mb << 20) // (_BYTES_PER_SCORE * width))
    for block in _blocks(task, size, 0, len(task.queries.test_row)):
        scores = score(_features(task, block.start, block.start + len(block.users)), None)
        count(block, scores, *_remove_seen(task, block, scores))


def _sampled(model: Ranker, items: Columns, task: Task, count, max_memory_mb: int) -> None:  # type: ignore[no-untyped-def]
    if task.candidates is None:
        raise ValueError("ranking: expected candidates; received None.")
    score = block_scorer(model, items, max_memory_mb=max_memory_mb)
    width = task.candidates.shape[1] + 1
    size = max(1, (max_memory_mb << 20) // (_BYTES_PER_SCORE * width))
    for block in _blocks(task, size, 0, len(task.queries.test_row)):
        stop = block.start + len(block.users)
        # The positive in column 0, before its candidates.
        ids = np.concatenate(
            [np.zeros((len(block.users), 1), np.int64), task.candidates[block.start : stop]], axis=1
        )
        ids[block.row, 0] = block.item
        scores = score(_features(task, block.start, stop), np.maximum(task.position[ids], 0))
        out = _not_listed(ids, block.users, task)
        out[block.row, 0] = False
        scores[out] = np.nan
        others = (~out).sum(axis=1) - np.bincount(block.row, minlength=len(ids))
        count(block, scores, np.zeros_like(block.row), others)


def _not_listed(ids: np.ndarray, users: np.ndarray, task: Task) -> np.ndarray:
    """Which of the ids `(queries, c)` are no candidates: not in the catalogue, repeated, seen."""
    order = np.argsort(ids, axis=1, kind="stable")  # the positive, in column 0, before its repeats
    ranked = np.take_along_axis(ids, order, axis=1)
    repeated = np.zeros(ids.shape, bool)
    np.put_along_axis(repeated, order[:, 1:], ranked[:, 1:] == ranked[:, :-1], axis=1)
    return (task.position[ids] < 0) | repeated | task.seen.contains(users[:, None], ids)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
