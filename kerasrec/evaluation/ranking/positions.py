"""Ranks of the positives in their queries' lists, without building the lists.

Every accuracy metric follows from two numbers per positive: how many candidates score higher, and
how many score the same. They are counted in blocks of queries, so that there is never an array of
users x items. Blocks are distributed over threads, since numpy and TensorFlow release the
interpreter's lock in long operations. Those of a retriever are single-threaded BLAS products. If
memory allows each thread only a few rows of them, the threads share the columns of one block
instead. A product with more rows then reads the item vectors less often.
"""

import dataclasses
import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
from threadpoolctl import threadpool_limits

from kerasrec.evaluation.ranking.counting import count_better
from kerasrec.evaluation.ranking.item_parts import ItemParts
from kerasrec.evaluation.ranking.scoring import ItemVectors, block_scorer, cores
from kerasrec.evaluation.ranking.task import PreparedTask
from kerasrec.types import Ranker, Retriever

# Bytes for a score in a thread and its share of the pairs removed from a block. Flags come on top,
# at least two for each score of a row. Scores of a model that is called on pairs are copied once
# more.
_BYTES_PER_PRODUCT = 5
_BYTES_PER_SCORE = 10
# Queries of a block, beyond which products get no faster. Below _FEW_QUERIES per thread, threads
# share a block. Query vectors are computed for _QUERIES_PER_CALL at once.
_QUERIES_PER_BLOCK = 256
_FEW_QUERIES = 64
_QUERIES_PER_CALL = 16_384


@dataclasses.dataclass(frozen=True, eq=False)
class Positives:
    """Positives of all queries, one row each.

    Args:
        query: index of the query, ascending.
        item: item id.
        listed: whether the item was a candidate.
        score: float32 score, arbitrary if not listed.
        greater: number of candidates that score higher, without positives.
        tied: number of candidates that score the same, without positives.
    """

    query: np.ndarray
    item: np.ndarray
    listed: np.ndarray
    score: np.ndarray
    greater: np.ndarray
    tied: np.ndarray

    def take(self, rows: np.ndarray) -> "Positives":
        """Return some of the rows, in their order."""
        return Positives(*(getattr(self, f.name)[rows] for f in dataclasses.fields(self)))


@dataclasses.dataclass(frozen=True, eq=False)
class _Block:
    """Block of queries with their listed positives."""

    queries: np.ndarray  # (rows,)
    users: np.ndarray  # (rows,)
    positives: np.ndarray  # (listed positives of these queries,), by row
    row: np.ndarray  # of each of them
    item: np.ndarray


# Signature of `count_better`.
_Better = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
# Ranks a block, given its query vectors.
_RankBlock = Callable[[_Block, np.ndarray], None]


class _Count(Protocol):
    """Function that counts the candidates of a block, given their scores."""

    def __call__(
        self,
        block: _Block,
        scores: np.ndarray,
        column: np.ndarray,
        others: np.ndarray,
        better: _Better = ...,
    ) -> None: ...


def count_positives(
    model: Ranker,
    task: PreparedTask,
    *,
    max_memory_mb: int,
    advance: Callable[[int], None] = lambda queries: None,
) -> tuple[Positives, np.ndarray]:
    """Score all queries and count the candidates above and tied with each positive.

    Args:
        model: model to score with.
        task: the ranking task.
        max_memory_mb: bound for the arrays of scores.
        advance: function of the number of queries that were counted since it was called last.

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

    def count(
        block: _Block,
        scores: np.ndarray,
        column: np.ndarray,
        others: np.ndarray,
        better: _Better = count_better,
    ) -> None:
        """Count in scores whose removed candidates are NaN. Blocks write to disjoint places."""
        value = scores[block.row, column]
        scores[block.row, column] = np.nan  # positives are compared among themselves later
        at = block.positives
        greater[at], tied[at] = better(scores, block.row, value)
        score[at] = value
        negatives[block.queries] = others
        advance(len(block.queries))

    if task.candidates is not None:
        _sampled(model, task, count, max_memory_mb)
    elif isinstance(model, Retriever):
        _in_threads(ItemVectors.of(model, task.items), task, count, max_memory_mb)
    elif (parts := ItemParts.of(model, task.items, queries=num_queries)) is not None:
        _in_threads(parts, task, count, max_memory_mb)
    else:
        _scored(model, task, count, max_memory_mb)
    found = Positives(queries.query, queries.item, listed, score, greater, tied)
    return found, negatives


def _blocks(task: PreparedTask, size: int, within: int | None = None) -> Iterator[list[_Block]]:
    """Yield all queries in blocks of `size` rows, about `within` rows at a time.

    Queries with equally many positives are adjacent, since they are counted together.
    """
    queries = task.queries
    users = queries.features[task.schema.user_id.name].astype(np.int64)
    listed = np.flatnonzero(task.position[queries.item] >= 0)
    order = np.argsort(np.bincount(queries.query[listed], minlength=len(users)), kind="stable")
    index = np.empty_like(order)
    index[order] = np.arange(len(order))
    listed = listed[np.argsort(index[queries.query[listed]], kind="stable")]
    row = index[queries.query[listed]]
    blocks = []
    for first in range(0, len(order), size):
        some = order[first : first + size]
        part = slice(*np.searchsorted(row, [first, first + size]).tolist())
        at = listed[part]
        blocks.append(_Block(some, users[some], at, row[part] - first, queries.item[at]))
    step = max(1, (within or size) // size)
    yield from (blocks[at : at + step] for at in range(0, len(blocks), step))


def _features(task: PreparedTask, queries: np.ndarray) -> dict[str, np.ndarray]:
    return {name: values[queries] for name, values in task.queries.features.items()}


def _remove_seen(
    task: PreparedTask, block: _Block, scores: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mark seen items as NaN, except positives. Return the positives' columns and the negatives."""
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


def _in_threads(
    catalogue: ItemVectors | ItemParts, task: PreparedTask, count: _Count, max_memory_mb: int
) -> None:
    width, threads = len(catalogue), cores()
    most = (max_memory_mb << 20) // width // _BYTES_PER_PRODUCT
    vectors = isinstance(catalogue, ItemVectors)
    few = vectors and threads > 1 and most // threads < _FEW_QUERIES
    size = max(1, min((most if few else most // threads) - 1, _QUERIES_PER_BLOCK))
    # What a model makes of a query may be as wide as the catalogue.
    numbers = catalogue.queries(_features(task, np.zeros(1, np.int64))).shape[1]
    within = min(_QUERIES_PER_CALL, max(size, (max_memory_mb << 20) // (4 * max(1, numbers))))
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        if few and isinstance(catalogue, ItemVectors):
            one = _by_columns(catalogue, task, count, size, threads, pool)
        else:
            one = _by_rows(catalogue, task, count, size)
        for blocks in _blocks(task, size, within=within):
            several = np.concatenate([block.queries for block in blocks])
            encoded = catalogue.queries(_features(task, several))
            each = np.split(encoded, np.cumsum([len(block.queries) for block in blocks])[:-1])
            for _ in map(one, blocks, each) if few else pool.map(one, blocks, each):
                pass


def _by_rows(
    catalogue: ItemVectors | ItemParts, task: PreparedTask, count: _Count, size: int
) -> _RankBlock:
    """Return a function that ranks a block in the calling thread."""
    own = threading.local()  # one score array per thread: allocation is as slow as counting

    def one(block: _Block, queries: np.ndarray) -> None:
        if not hasattr(own, "scores"):
            own.scores = np.empty((size, len(catalogue)), np.float32)
        scores = own.scores[: len(queries)]
        catalogue.scores(queries, out=scores)
        count(block, scores, *_remove_seen(task, block, scores))

    return one


def _by_columns(
    catalogue: ItemVectors,
    task: PreparedTask,
    count: _Count,
    size: int,
    threads: int,
    pool: ThreadPoolExecutor,
) -> _RankBlock:
    """Return a function that ranks a block with all threads, each on some columns."""
    width = len(catalogue.vectors)
    memory = np.empty((size, width), np.float32)
    edges = [width * thread // threads for thread in range(threads + 1)]
    parts = [slice(first, last) for first, last in itertools.pairwise(edges)]

    def better(
        scores: np.ndarray, row: np.ndarray, value: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        found = list(pool.map(lambda part: count_better(scores[:, part], row, value), parts))
        greater: Any = sum(greater for greater, _ in found)
        tied: Any = sum(tied for _, tied in found)
        return greater, tied

    def one(block: _Block, queries: np.ndarray) -> None:
        scores = memory[: len(queries)]

        def multiply(part: slice) -> None:
            np.matmul(queries, catalogue.vectors[part].T, out=scores[:, part])

        for _ in pool.map(multiply, parts):
            pass
        catalogue.settle(scores, queries)
        count(block, scores, *_remove_seen(task, block, scores), better=better)

    return one


def _scored(model: Ranker, task: PreparedTask, count: _Count, max_memory_mb: int) -> None:
    score = block_scorer(model, task.items, max_memory_mb=max_memory_mb)
    width = len(task.items[task.schema.item_id.name])
    size = max(1, (max_memory_mb << 20) // (_BYTES_PER_SCORE * width))
    for (block,) in _blocks(task, size):
        scores = score(_features(task, block.queries), None)
        count(block, scores, *_remove_seen(task, block, scores))


def _sampled(model: Ranker, task: PreparedTask, count: _Count, max_memory_mb: int) -> None:
    if task.candidates is None:
        raise ValueError("rank: expected candidates; received None.")
    score = block_scorer(model, task.items, max_memory_mb=max_memory_mb)
    width = task.candidates.shape[1] + 1
    size = max(1, (max_memory_mb << 20) // (_BYTES_PER_SCORE * width))
    for (block,) in _blocks(task, size):
        # Column 0 holds the positive, the others its candidates.
        ids = np.concatenate(
            [np.zeros((len(block.users), 1), np.int64), task.candidates[block.queries]], axis=1
        )
        ids[block.row, 0] = block.item
        scores = score(_features(task, block.queries), np.maximum(task.position[ids], 0))
        out = _not_listed(ids, block.users, task)
        out[block.row, 0] = False
        scores[out] = np.nan
        others = (~out).sum(axis=1) - np.bincount(block.row, minlength=len(ids))
        count(block, scores, np.zeros_like(block.row), others)


def _not_listed(ids: np.ndarray, users: np.ndarray, task: PreparedTask) -> np.ndarray:
    """Mark the ids `(queries, c)` that are no candidates: not in the catalogue, repeated, seen."""
    order = np.argsort(ids, axis=1, kind="stable")  # the positive in column 0 precedes its repeats
    ranked = np.take_along_axis(ids, order, axis=1)
    repeated = np.zeros(ids.shape, bool)
    np.put_along_axis(repeated, order[:, 1:], ranked[:, 1:] == ranked[:, :-1], axis=1)
    return (task.position[ids] < 0) | repeated | task.seen.contains(users[:, None], ids)
