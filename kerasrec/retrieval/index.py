"""Search over a catalogue by position: the protocol, and the exact search behind every list."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import tensorflow as tf

from kerasrec.retrieval.categories import only_allowed
from kerasrec.retrieval.exact import ScoreBlock, TopK, blocked_top_k
from kerasrec.retrieval.vector_table import VectorTable
from kerasrec.types import Features, Tensor


class Index(Protocol):
    """Protocol of searches over a fixed list of items, exact or approximate."""

    size: int

    def search(
        self,
        queries: Any,
        k: int,
        *,
        exclude: Tensor | None = None,
        allow: Tensor | None = None,
        unknown: Tensor | None = None,
    ) -> TopK:
        """Return the k best items of each query.

        Args:
            queries: vectors `(batch, dim)`, or other tensors `(batch, ...)` that the index scores.
            k: number of slots.
            exclude: positions `(batch, n)` of items that a query must not get; -1 is ignored.
            allow: encoded categories `(batch, n)`, see `wanted_categories`; None for no filter.
            unknown: mask `(batch,)` of queries that get the most popular items instead; None if
                there are none.
        """
        ...


class Scores(NamedTuple):
    """Scores of a batch of queries with the items of an index.

    Attributes:
        block: scores `(batch, stop - start)` of the items from start to stop.
        exact: more precise scores of items at positions `(batch, n)`; None if blocks are exact.
    """

    block: ScoreBlock
    exact: Callable[[Tensor], Tensor] | None = None


Scorer = Callable[[Any], Scores]


class ExactIndex:
    """Index that scores every item, block by block. It runs eagerly and in a graph.

    Args:
        score: function from queries to their scores, such as `products(table)`.
        size: number of items.
        popularity: float32 `(items,)`, the scores of the items for unknown queries.
        categories: encoded categories `(items, n)`, padded with 0, for filters.
        num_categories: number of category ids, padding and unknown included.
        pairs_per_block: maximum number of scores in memory at once.

    Example:

    >>> table = VectorTable([[1.0, 5.0], [3.0, 0.0], [2.0, 0.0]])
    >>> index = ExactIndex(products(table), 3, popularity=tf.constant([7.0, 9.0, 8.0]))
    >>> queries = tf.constant([[1.0, 0.0], [0.0, 0.0]])
    >>> found = index.search(queries, 2, exclude=[[1], [-1]], unknown=tf.constant([False, True]))
    >>> found.positions.numpy().tolist()
    [[2, 0], [1, 2]]
    """

    def __init__(
        self,
        score: Scorer,
        size: int,
        *,
        popularity: Tensor | None = None,
        categories: Tensor | None = None,
        num_categories: int = 0,
        pairs_per_block: int = 2**22,
    ) -> None:
        self.score = score
        self.size = size
        self.popularity = popularity
        self.categories = categories
        self.num_categories = num_categories
        self.pairs_per_block = pairs_per_block

    def search(
        self,
        queries: Any,
        k: int,
        *,
        exclude: Tensor | None = None,
        allow: Tensor | None = None,
        unknown: Tensor | None = None,
    ) -> TopK:
        """Return the k best items of each query, see `Index`."""
        scores = self.score(queries)
        if unknown is not None:
            scores = self._popular(scores, unknown)
        block = scores.block
        if allow is not None:
            block = only_allowed(block, allow, self.categories, self.num_categories)
        if exclude is None:
            exclude = tf.zeros([tf.shape(tf.nest.flatten(queries)[0])[0], 0], tf.int32)
        return blocked_top_k(
            block,
            num_candidates=self.size,
            k=k,
            exclude=exclude,
            pairs_per_block=self.pairs_per_block,
            exact=scores.exact,
        )

    def _popular(self, scores: Scores, unknown: Tensor) -> Scores:
        """Replace the scores of unknown queries by the popularity."""
        every: Any = self.popularity
        rescore: Any = scores.exact

        def block(start: Tensor, stop: Tensor) -> Tensor:
            known = scores.block(start, stop)
            popularity = every[start:stop][None, :]
            # Most batches hold only known queries.
            return tf.cond(
                tf.reduce_any(unknown),
                lambda: tf.where(unknown[:, None], popularity, known),
                lambda: known,
            )

        def exact(positions: Tensor) -> Tensor:
            known = rescore(positions)
            return tf.where(unknown[:, None], tf.gather(every, positions), known)

        return Scores(block, None if rescore is None else exact)


def products(table: VectorTable, factors: Tensor | None = None) -> Scorer:
    """Return a scorer of query vectors `(batch, dim)` by their dot products with a table.

    Args:
        table: item vectors `(items, dim)`.
        factors: `(items,)` numbers that multiply the products; None for 1.
    """

    def score(queries: Tensor) -> Scores:
        shared = table.shared_products(queries)

        def block(start: Tensor, stop: Tensor) -> Tensor:
            found = table.dot_products(queries, start, stop, shared)
            return found if factors is None else found * factors[start:stop]

        def exact(positions: Tensor) -> Tensor:
            # Unlike a matrix product, a sum of a row is the same wherever the row stands.
            found = tf.reduce_sum(queries[:, None] * table.rows(positions), axis=-1)
            return found if factors is None else found * tf.gather(factors, positions)

        return Scores(block, exact if table.is_coarse else None)

    return score


def pair_scores(
    call: Callable[[Features], Tensor], items: Callable[[Tensor, Tensor], Features]
) -> Scorer:
    """Return a scorer of query features by a model that scores pairs.

    Args:
        call: the model, called with item features `(batch, candidates)`.
        items: function that returns the encoded features of the items from start to stop.
    """

    def score(query: Features) -> Scores:
        batch = tf.shape(next(iter(query.values())))[0]

        def block(start: Tensor, stop: Tensor) -> Tensor:
            pairs = {
                name: tf.repeat(column[None, ...], batch, axis=0)
                for name, column in items(start, stop).items()
            }
            return call({**query, **pairs})

        return Scores(block)

    return score


def part_scores(
    score_parts: Callable[[Tensor, Tensor], Tensor], items: Callable[[Tensor, Tensor], Tensor]
) -> Scorer:
    """Return a scorer of query parts by a model that encodes queries and items once.

    Args:
        score_parts: method of a `PartsRanker`.
        items: function that returns the item parts `(items, width)` from start to stop.
    """

    def score(query: Tensor) -> Scores:
        return Scores(lambda start, stop: score_parts(query, items(start, stop)))

    return score


def one_item_scores(scores_of_items: Callable[[Tensor], Tensor], ids: Tensor) -> Scorer:
    """Return a scorer of encoded item ids by a model that ranks for one item alone.

    Args:
        scores_of_items: method of a `OneItemRanker`.
        ids: encoded ids of the items of the index.
    """

    def score(query: Tensor) -> Scores:
        every = tf.gather(scores_of_items(query), ids, axis=1)
        return Scores(lambda start, stop: every[:, start:stop])

    return score
