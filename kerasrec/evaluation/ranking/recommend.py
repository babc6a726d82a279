"""Recommended lists: the first k items for every query, without seen items."""

import dataclasses
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Unpack

import numpy as np
from threadpoolctl import threadpool_limits

from kerasrec._checks import check_integer
from kerasrec._progress import progress
from kerasrec.evaluation.columns import check_columns, check_ids
from kerasrec.evaluation.ranking.best import Best, best_columns
from kerasrec.evaluation.ranking.item_parts import ItemParts
from kerasrec.evaluation.ranking.queries import SeenPairs
from kerasrec.evaluation.ranking.scoring import (
    ItemVectors,
    block_scorer,
    check_ranker,
    cores,
    slices,
)
from kerasrec.evaluation.ranking.task import (
    RankingTask,
    TaskOptions,
    positions_of,
)
from kerasrec.schema import PADDING_ID
from kerasrec.types import Columns, Ranker, Retriever

# Bytes for a score and the copies made by selection.
_BYTES_PER_SCORE = 16
# Queries that a thread processes at a time. With fewer than _FEW_QUERIES, BLAS uses the threads.
_QUERIES_PER_STEP = 128
_FEW_QUERIES = 24

# Scores of some rows of a block of queries, and their factory from the block's features.
_RowScorer = Callable[[slice], np.ndarray]
_BlockScorer = Callable[[Columns], _RowScorer]


@dataclasses.dataclass(frozen=True, eq=False)
class Recommendations:
    """Recommended items, one list per query.

    Args:
        users: `(queries,)` user id of each query.
        items: int32 `(queries, k)` item ids, best first. Padding follows if a user has seen all
            other items.
        catalogue: item ids that could be listed.
    """

    users: np.ndarray
    items: np.ndarray
    catalogue: np.ndarray

    @property
    def k(self) -> int:
        """Return the length of a list."""
        return int(self.items.shape[1])


def recommend(
    model: Ranker,
    queries: Columns | RankingTask,
    *,
    seed: int = 0,
    verbose: bool = False,
    **options: Unpack[TaskOptions],
) -> Recommendations:
    """Recommend the k items of the highest score for every query, without seen items.

    Equal scores are in random order, drawn separately for each list, so that metrics of the lists
    do not depend on the order of ids.

    Args:
        model: model to recommend with.
        queries: encoded query side features, one row per list, such as `RankingResult.queries`; or
            a task, whose queries get lists.
        seed: seed of the order of equal scores.
        verbose: whether to draw a progress bar on a terminal.
        **options: the fields `seen`, `k`, `candidates` `(c,)`, `items` and `max_memory_mb` of
            `RankingTask`. All seen items are left out, those that are positives too. Lists have the
            largest k.

    Raises:
        ValueError: if there is no query, a column is missing or badly encoded, k is not from 1 to
            the size of the catalogue, candidates are given, or a score is NaN.

    Example:

    >>> import numpy as np
    >>> from kerasrec.schema import Categorical, Schema
    >>> class HighestId:
    ...     schema = Schema(Categorical("user", 4), Categorical("item", 6))
    ...     def __call__(self, inputs, training=False):
    ...         return inputs["item"].astype(np.float32)
    >>> seen = {"user": np.array([3]), "item": np.array([5])}
    >>> recommend(HighestId(), {"user": np.array([2, 3])}, seen=seen, k=2).items.tolist()
    [[5, 4], [4, 3]]
    """
    check_ranker(model)
    schema = model.schema
    task = RankingTask.of(queries, options)
    if task.sampled is not None:
        raise ValueError(
            "recommend: expected a task without candidates by row, since lists are of the "
            "catalogue; received candidates. Pass the ids (c,) of all items that can be listed, or "
            "leave them out."
        )
    pairs = SeenPairs.of(task.seen, schema)
    if isinstance(queries, RankingTask):
        queries = task.queries(schema, pairs).features
    rows = check_columns(queries, [f.name for f in schema.query], what="recommend: queries")
    users = check_ids(queries[schema.user_id.name], schema.user_id, what="recommend: queries")
    items = task.catalogue(schema)
    ids = np.asarray(items[schema.item_id.name])
    k, max_memory_mb = task.cutoffs[-1], task.max_memory_mb
    hint = f"There are {len(ids)} items."
    check_integer("recommend", "k", k, 1, len(ids), hint=hint)
    position = positions_of(ids, schema)
    rng = np.random.default_rng(seed)
    listed = np.empty((rows, k), np.int32)
    size = max(1, (max_memory_mb << 20) // (_BYTES_PER_SCORE * len(ids)))

    def best_unseen(scores: np.ndarray, of: np.ndarray) -> Best:
        row, item = pairs.items_of(of)
        at = position[item]
        scores[row[at >= 0], at[at >= 0]] = np.nan
        return best_columns(scores, k)

    step = max(1, min(size // (2 * cores()), _QUERIES_PER_STEP))
    threads = None
    retrieves = isinstance(model, Retriever)
    parts = None if retrieves else ItemParts.of(model, items, queries=rows)
    if isinstance(model, Retriever) and step >= _FEW_QUERIES:
        threads = 1  # of BLAS, since each of our threads computes products
        score_block = _in_threads(ItemVectors.of(model, items), step)
    elif parts is not None:
        score_block = _in_threads(parts, step)
    else:
        score_block = _scored(model, items, max_memory_mb)
    with (
        threadpool_limits(threads, "blas"),
        ThreadPoolExecutor(cores()) as pool,
        progress("recommending", rows, shown=verbose) as advance,
    ):

        def best_of(part: slice) -> list[Best]:
            score = score_block({f.name: queries[f.name][part] for f in schema.query})
            of = users[part]

            def best_of_few(few: slice) -> Best:
                found = best_unseen(score(few), of[few])
                advance(len(of[few]))
                return found

            return list(pool.map(best_of_few, slices(len(of), step)))

        for part in slices(rows, size):
            # One thread draws, block by block, so that lists do not depend on the thread count.
            best, real = _in_order(best_of(part), rng)
            listed[part] = np.where(real, ids[best], PADDING_ID)
    return Recommendations(users, listed, ids)


def _in_order(blocks: list[Best], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the columns `(rows, k)`, best first, and a mask of those with a score."""
    for block in blocks:
        block.draw(rng)
    keys = np.concatenate([block.keys for block in blocks])
    order = np.lexsort((rng.random(keys.shape), keys), axis=1)
    columns = np.concatenate([block.columns for block in blocks])
    real = ~np.isnan(np.take_along_axis(keys, order, axis=1))
    return np.take_along_axis(columns, order, axis=1), real


def _in_threads(catalogue: ItemVectors | ItemParts, step: int) -> _BlockScorer:
    """Return a scorer that scores the requested rows in the calling thread."""
    own = threading.local()  # one score array per thread: allocation is as slow as selection

    def score_block(features: Columns) -> _RowScorer:
        vectors = catalogue.queries(features)

        def score(rows: slice) -> np.ndarray:
            if not hasattr(own, "scores"):
                own.scores = np.empty((step, len(catalogue)), np.float32)
            some = vectors[rows]
            return catalogue.scores(some, out=own.scores[: len(some)])

        return score

    return score_block


def _scored(model: Ranker, items: Columns, max_memory_mb: int) -> _BlockScorer:
    """Return a scorer that scores a whole block at once."""
    score = block_scorer(model, items, max_memory_mb=max_memory_mb)
    return lambda features: score(features, None).__getitem__
