"""Catalogue of the served graph: the items that may be recommended, and the search over them."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from kerasrec.data.vocabulary import Vocabulary
from kerasrec.retrieval import LOWEST_SCORE, TopK, VectorTable, blocked_top_k, rescored
from kerasrec.retrieval.categories import passes, wanted_categories
from kerasrec.retrieval.reranking import category_shares
from kerasrec.schema import FIRST_ID, PADDING_ID, Schema
from kerasrec.serving.raw_ids import PADDING, filter_space
from kerasrec.types import Columns, Retriever, Tensor

if TYPE_CHECKING:
    from kerasrec.serving.signatures import Options

# Number of (query, item) pairs scored at once. A dot product holds one float per pair, any other
# model holds the activations of its layers.
PAIRS_OF_RETRIEVER = 2**22
PAIRS_OF_RANKER = 2**16

SHORTLIST = 4
"""Ratio of the items found by a coarse search to those kept after rescoring."""

Scores = Callable[[Tensor, Tensor], Tensor]
Everything = Callable[[Tensor], Tensor]


class Catalogue:
    """Items that may be recommended, in the order of their encoded ids.

    Args:
        schema: the features of the model.
        vocabularies: as checked by `check_vocabularies`.
        candidates: as checked by `candidate_columns`.
        options: options of the export.
        retriever: model that computes the item vectors; None for a model that scores pairs.
        units: whether normalised vectors are needed, for similarity.
    """

    def __init__(
        self,
        schema: Schema,
        vocabularies: Mapping[str, Vocabulary],
        candidates: Columns,
        options: "Options",
        retriever: Retriever | None,
        *,
        units: bool = False,
    ) -> None:
        items = vocabularies[schema.item_id.name]
        ids = candidates[schema.item_id.name]
        self.size = len(ids)
        positions = np.full(items.num_ids, -1, np.int32)
        positions[ids] = np.arange(len(ids), dtype=np.int32)
        self.positions = _constant("positions", positions)
        self.popularity = _constant("popularity", items.counts[ids - FIRST_ID].astype(np.float32))
        # The last row holds the values of an empty slot.
        raw = [*items.decode(ids).tolist(), PADDING[items.dtype]]
        self.raw_items = _constant("raw_items", tf.constant(raw, tf.as_dtype(items.dtype)))
        self.features = {
            f.name: _constant(f"candidates_{f.name}", candidates[f.name]) for f in schema.item
        }
        self.has_categories = options.filter_by is not None
        if options.filter_by is not None:
            column = candidates[options.filter_by].reshape(self.size, -1)
            self.categories = _constant("categories", column)
            space = filter_space(schema, options.filter_by)
            self.num_categories = vocabularies[space].num_ids
        if retriever is not None:
            self.vectors = VectorTable(
                item_vectors(retriever, candidates), options.tables, name="item_vectors"
            )
            if "similar_items" in options.signatures or units:
                columns, norms = similarity(self.vectors.numpy())
                self.similar_columns = _constant("similar_columns", columns)
                self.inverse_norms = _constant("inverse_norms", norms)

    @property
    def variables(self) -> list[tf.Variable]:
        """Return all variables."""
        own = [value for value in vars(self).values() if isinstance(value, tf.Variable)]
        vectors = self.vectors.variables_stored if hasattr(self, "vectors") else []
        return [*own, *self.features.values(), *vectors]

    def nearest(
        self, vectors: Tensor, k: int, *, exclude: Tensor, unknown: Tensor, allow: Tensor | None
    ) -> TopK:
        """Return the k items with the largest dot product, or the most popular ones.

        Args:
            vectors: query vectors `(batch, dim)`.
            k: length of the lists.
            exclude: positions `(batch, n)`.
            unknown: mask of queries without known features, `(batch,)`.
            allow: encoded categories `(batch, n)`, see `wanted_categories`.
        """

        def exact(positions: Tensor) -> Tensor:
            scores = tf.einsum("bd,bnd->bn", vectors, self.vectors.rows(positions))
            popularity = tf.gather(self.popularity, positions)
            return tf.where(unknown[:, None], popularity, scores)

        def block(start: Tensor, stop: Tensor) -> Tensor:
            return self.vectors.dot_products(vectors, start, stop)

        return self._search(
            self._or_popularity(block, unknown),
            k,
            exclude=exclude,
            pairs=PAIRS_OF_RETRIEVER,
            allow=allow,
            exact=exact if self.vectors.is_coarse else None,
        )

    def best(
        self, block: Scores, k: int, *, exclude: Tensor, unknown: Tensor, allow: Tensor | None
    ) -> TopK:
        """Return the k items with the largest score, or the most popular ones.

        Args:
            block: scores `(batch, stop - start)` of the items from start to stop.
            k: length of the lists.
            exclude: positions `(batch, n)`.
            unknown: mask of queries without known features, `(batch,)`.
            allow: encoded categories `(batch, n)`, see `wanted_categories`.
        """
        block = self._or_popularity(block, unknown)
        return self._search(block, k, exclude=exclude, pairs=PAIRS_OF_RANKER, allow=allow)

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
            exclude=position[:, None],
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

    def _or_popularity(self, block: Scores, unknown: Tensor) -> Scores:
        def either(start: Tensor, stop: Tensor) -> Tensor:
            scores = block(start, stop)
            popularity = self.popularity[start:stop][None, :]
            # Most batches hold only known users.
            return tf.cond(
                tf.reduce_any(unknown),
                lambda: tf.where(unknown[:, None], popularity, scores),
                lambda: scores,
            )

        return either

    def _search(
        self,
        block: Scores,
        k: int,
        *,
        exclude: Tensor,
        pairs: int,
        allow: Tensor | None = None,
        exact: Everything | None = None,
    ) -> TopK:
        filtered = block
        if allow is not None:
            wanted = wanted_categories(allow, self.num_categories)
            asked = tf.reduce_any(allow != PADDING_ID)

            def filtered(start: Tensor, stop: Tensor) -> Tensor:
                scores = block(start, stop)
                return tf.cond(
                    asked,
                    lambda: tf.where(
                        passes(wanted, self.categories[start:stop]), scores, LOWEST_SCORE
                    ),
                    lambda: scores,
                )

        length = k if exact is None else min(SHORTLIST * k + 16, self.size)
        best = blocked_top_k(
            filtered,
            num_candidates=self.size,
            k=length,
            exclude=exclude,
            pairs_per_block=pairs,
        )
        return best if exact is None else rescored(best, k, exact)


def item_vectors(model: Retriever, candidates: Columns, *, rows: int = 2**16) -> np.ndarray:
    """Compute the item vectors `(candidates, dim)` of a catalogue, block by block.

    Args:
        model: a retriever.
        candidates: encoded item features, one row per item.
        rows: size of a block.
    """
    total = len(next(iter(candidates.values())))
    blocks = [
        np.asarray(
            model.item_embedding(
                {
                    name: tf.constant(column[start : start + rows])
                    for name, column in candidates.items()
                }
            )
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


def _constant(name: str, value: Any) -> tf.Variable:
    """Store a constant as a variable, since a SavedModel limits constants to 2 GB."""
    return tf.Variable(value, trainable=False, name=name)
