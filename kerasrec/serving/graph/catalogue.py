"""Catalogue of the served graph: the items that may be recommended, and the search over them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from kerasrec.retrieval import LOWEST_SCORE, TopK, VectorTable, blocked_top_k
from kerasrec.retrieval.categories import only_allowed
from kerasrec.retrieval.exact import ScoreBlock
from kerasrec.retrieval.reranking import category_shares
from kerasrec.schema import FIRST_ID
from kerasrec.serving.item_vectors import similarity
from kerasrec.serving.raw_ids import PADDING
from kerasrec.serving.spec import ExportSpec
from kerasrec.types import Tensor

# Number of (query, item) pairs scored at once. A dot product holds one float per pair, any other
# model holds the activations of its layers.
PAIRS_OF_RETRIEVER = 2**22
PAIRS_OF_RANKER = 2**16


class Limits(NamedTuple):
    """Limits of the lists of a batch of queries.

    Attributes:
        exclude: positions `(batch, n)` of items that a query must not get.
        unknown: mask `(batch,)` of unknown queries, which get the most popular items.
        allow: encoded categories `(batch, n)`, see `wanted_categories`; None for no filter.
    """

    exclude: Tensor
    unknown: Tensor
    allow: Tensor | None = None


class Catalogue:
    """Items that may be recommended, in the order of their encoded ids.

    Args:
        spec: specification of the export.
    """

    def __init__(self, spec: ExportSpec) -> None:
        items, ids = spec.items, spec.item_ids
        self.size = len(ids)
        positions = np.full(items.num_ids, -1, np.int32)
        positions[ids] = np.arange(len(ids), dtype=np.int32)
        self.positions = _constant("positions", positions)
        self.popularity = _constant("popularity", items.counts[ids - FIRST_ID].astype(np.float32))
        # The last row holds the values of an empty slot.
        raw = [*items.decode(ids).tolist(), PADDING[items.dtype]]
        self.raw_items = _constant("raw_items", tf.constant(raw, tf.as_dtype(items.dtype)))
        self.features = {
            f.name: _constant(f"candidates_{f.name}", spec.candidates[f.name])
            for f in spec.schema.item
        }
        self.has_categories = spec.categories is not None
        if spec.categories is not None:
            self.categories = _constant("categories", spec.categories)
            self.num_categories = spec.num_categories
        if spec.item_vectors is not None:
            self.vectors = VectorTable(spec.item_vectors, spec.quantize, name="item_vectors")
            if spec.compares_items:
                columns, norms = similarity(self.vectors.numpy())
                self.similar_columns = _constant("similar_columns", columns)
                self.inverse_norms = _constant("inverse_norms", norms)

    @property
    def variables(self) -> list[tf.Variable]:
        """Return all variables."""
        own = [value for value in vars(self).values() if isinstance(value, tf.Variable)]
        vectors = self.vectors.variables_stored if hasattr(self, "vectors") else []
        return [*own, *self.features.values(), *vectors]

    def nearest(self, vectors: Tensor, k: int, limits: Limits) -> TopK:
        """Return the k items with the largest dot product, or the most popular ones.

        Args:
            vectors: query vectors `(batch, dim)`.
            k: length of the lists.
            limits: limits of the queries.
        """

        def exact(positions: Tensor) -> Tensor:
            scores = tf.einsum("bd,bnd->bn", vectors, self.vectors.rows(positions))
            popularity = tf.gather(self.popularity, positions)
            return tf.where(limits.unknown[:, None], popularity, scores)

        def block(start: Tensor, stop: Tensor) -> Tensor:
            return self.vectors.dot_products(vectors, start, stop)

        return self._search(
            self._limited(block, limits),
            k,
            limits.exclude,
            pairs=PAIRS_OF_RETRIEVER,
            exact=exact if self.vectors.is_coarse else None,
        )

    def best(self, block: ScoreBlock, k: int, limits: Limits) -> TopK:
        """Return the k items with the largest score, or the most popular ones.

        Args:
            block: scores `(batch, stop - start)` of the items from start to stop.
            k: length of the lists.
            limits: limits of the queries.
        """
        block = self._limited(block, limits)
        return self._search(block, k, limits.exclude, pairs=PAIRS_OF_RANKER)

    def unit_vectors(self, positions: Tensor) -> Tensor:
        """Return normalised vectors of some items, over the columns that count.

        Args:
            positions: integers of any shape.
        """
        vectors = self.vectors.rows(positions) * self.similar_columns
        return vectors * tf.gather(self.inverse_norms, positions)[..., None]

    def shares(self, positions: Tensor) -> Tensor:
        """Return the category shares of some items, `(..., categories)`.

        Args:
            positions: integers of any shape.
        """
        return category_shares(tf.gather(self.categories, positions), self.num_categories)

    def similar(self, ids: Tensor, k: int) -> TopK:
        """Return the k items with the largest cosine, without the item itself.

        Args:
            ids: encoded item ids `(batch,)`; ids outside the catalogue get empty lists.
            k: length of the lists.
        """
        position = tf.gather(self.positions, ids)  # -1: missing
        place = tf.maximum(position, 0)
        query = self.unit_vectors(place)
        there = position[:, None] >= 0

        def block(start: Tensor, stop: Tensor) -> Tensor:
            cosines = self.vectors.dot_products(query, start, stop) * self.inverse_norms[start:stop]
            return tf.where(there, cosines, LOWEST_SCORE)

        def exact(positions: Tensor) -> Tensor:
            products = tf.einsum("bd,bnd->bn", query, self.vectors.rows(positions))
            return products * tf.gather(self.inverse_norms, positions)

        return self._search(
            block,
            k,
            position[:, None],
            pairs=PAIRS_OF_RETRIEVER,
            exact=exact if self.vectors.is_coarse else None,
        )

    def answer(self, best: TopK) -> dict[str, Tensor]:
        """Return the raw ids, scores and counts of a list."""
        slots = tf.where(best.positions < 0, self.size, best.positions)
        return {
            "item_id": tf.gather(self.raw_items, slots),
            "score": best.scores,
            "count": best.count,
        }

    def _limited(self, block: ScoreBlock, limits: Limits) -> ScoreBlock:
        def known(start: Tensor, stop: Tensor) -> Tensor:
            scores = block(start, stop)
            popularity = self.popularity[start:stop][None, :]
            # Most batches hold only known users.
            return tf.cond(
                tf.reduce_any(limits.unknown),
                lambda: tf.where(limits.unknown[:, None], popularity, scores),
                lambda: scores,
            )

        if limits.allow is None:
            return known
        return only_allowed(known, limits.allow, self.categories, self.num_categories)

    def _search(
        self,
        block: ScoreBlock,
        k: int,
        exclude: Tensor,
        *,
        pairs: int,
        exact: Callable[[Tensor], Tensor] | None = None,
    ) -> TopK:
        return blocked_top_k(
            block,
            num_candidates=self.size,
            k=k,
            exclude=exclude,
            pairs_per_block=pairs,
            exact=exact,
        )


def _constant(name: str, value: Any) -> tf.Variable:
    """Store a constant as a variable, since a SavedModel limits constants to 2 GB."""
    return tf.Variable(value, trainable=False, name=name)
