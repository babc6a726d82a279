"""Catalogue of the served graph: the items that may be recommended, and the search over them."""

import functools
from typing import Any

import numpy as np
import tensorflow as tf

from kerasrec.retrieval import Index
from kerasrec.retrieval.exact import LOWEST_SCORE, TopK
from kerasrec.retrieval.index import (
    ExactIndex,
    Scorer,
    Scores,
    one_item_scores,
    pair_scores,
    part_scores,
    products,
)
from kerasrec.retrieval.item_vectors import similarity
from kerasrec.retrieval.reranking import category_shares
from kerasrec.retrieval.vector_table import VectorTable
from kerasrec.schema import FIRST_ID
from kerasrec.serving.graph.stored_features import StoredFeatures, constant
from kerasrec.serving.spec import ExportSpec
from kerasrec.types import RAW_PADDING, Features, Tensor, has_own_parts

# Number of (query, item) pairs scored at once. A dot product holds one float per pair, any other
# model holds the activations of its layers.
PAIRS_OF_RETRIEVER = 2**22
PAIRS_OF_RANKER = 2**16


class Catalogue:
    """Items that may be recommended, in the order of their encoded ids.

    Args:
        spec: specification of the export.
        model: the traced model, which scores pairs where there are no vectors.
        stored: stored features, from which those of the items are read.
    """

    def __init__(self, spec: ExportSpec, model: Any, stored: StoredFeatures) -> None:
        items, ids = spec.item_vocabulary, spec.item_ids
        padding = RAW_PADDING[items.dtype]
        self.model = model
        self.size = len(ids)
        every = tf.constant([padding, *items.ids.tolist()], tf.as_dtype(items.dtype))
        self.every_raw_item = constant("every_raw_item", every)
        positions = np.full(items.num_ids, -1, np.int32)
        positions[ids] = np.arange(len(ids), dtype=np.int32)
        self.positions = constant("positions", positions)
        self.popularity = constant("popularity", items.counts[ids - FIRST_ID].astype(np.float32))
        # The last row holds the values of an empty slot.
        raw = [*items.decode(ids).tolist(), padding]
        self.raw_items = constant("raw_items", tf.constant(raw, tf.as_dtype(items.dtype)))
        self.item_ids = constant("item_ids", ids)
        self.stored = stored
        self.categories: tf.Variable | None = None
        if spec.categories is not None:
            self.categories = constant("categories", spec.categories)
        self.num_categories = spec.num_categories
        score, pairs = self._scores_of(model), PAIRS_OF_RANKER
        if spec.item_vectors is not None:
            self.vectors = VectorTable(spec.item_vectors, spec.quantize, name="item_vectors")
            score, pairs = products(self.vectors), PAIRS_OF_RETRIEVER
            if spec.compares_items:
                columns, norms = similarity(self.vectors.numpy())
                self.similar_columns = constant("similar_columns", columns)
                self.inverse_norms = constant("inverse_norms", norms)
        self.index: Index = ExactIndex(
            score,
            self.size,
            popularity=self.popularity,
            categories=self.categories,
            num_categories=self.num_categories,
            pairs_per_block=pairs,
        )

    @property
    def variables(self) -> list[tf.Variable]:
        """Return all variables."""
        own = [value for value in vars(self).values() if isinstance(value, tf.Variable)]
        vectors = self.vectors.variables_stored if hasattr(self, "vectors") else []
        return [*own, *vectors]

    def features(self, positions: Tensor) -> Features:
        """Return the encoded features of some items.

        Args:
            positions: integers of any shape.
        """
        return self.stored.of_items(tf.gather(self.item_ids, positions))

    def raw(self, ids: Tensor) -> Tensor:
        """Return the raw ids of any items, in the catalogue or not, and padding for unknown ones.

        Args:
            ids: encoded ids of any shape.
        """
        return tf.gather(self.every_raw_item, tf.maximum(ids - FIRST_ID + 1, 0))

    def _scores_of(self, model: Any) -> Scorer:
        """Return the scorer of query features by a model without vectors."""
        some = self._block(tf.constant(0), tf.constant(1))
        if not has_own_parts(model) or model.item_part(some) is None:
            return pair_scores(functools.partial(model, training=False), self._block)

        def items(start: Tensor, stop: Tensor) -> Tensor:
            return model.item_part(self._block(start, stop))

        parts = part_scores(model.score_parts, items)
        return lambda query: parts(model.query_part(query))

    def _block(self, start: Tensor, stop: Tensor) -> Features:
        return self.stored.of_items(self.item_ids[start:stop])

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
        """Return the k items most like each item, without the item itself.

        Args:
            ids: encoded item ids `(batch,)`; ids outside the catalogue get empty lists.
            k: length of the lists.
        """
        position = tf.gather(self.positions, ids)  # -1: missing
        there = position[:, None] >= 0
        if hasattr(self, "vectors"):
            queries = self.unit_vectors(tf.maximum(position, 0))
            compared = products(self.vectors, self.inverse_norms)
        else:
            queries, compared = ids, one_item_scores(self.model.scores_of_items, self.item_ids)

        def score(query: Tensor) -> Scores:
            scores = compared(query)

            def block(start: Tensor, stop: Tensor) -> Tensor:
                return tf.where(there, scores.block(start, stop), LOWEST_SCORE)

            return scores._replace(block=block)

        index = ExactIndex(score, self.size, pairs_per_block=PAIRS_OF_RETRIEVER)
        return index.search(queries, k, exclude=position[:, None])

    def answer(self, best: TopK) -> dict[str, Tensor]:
        """Return the raw ids, scores and counts of a list."""
        slots = tf.where(best.positions < 0, self.size, best.positions)
        return {
            "item_id": tf.gather(self.raw_items, slots),
            "score": best.scores,
            "count": best.count,
        }
