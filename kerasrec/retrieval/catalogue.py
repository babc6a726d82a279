"""Catalogue of items with raw ids and exact search."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from kerasrec._checks import check_integer
from kerasrec.retrieval.exact import LOWEST_SCORE
from kerasrec.retrieval.index import ExactIndex, Index, products
from kerasrec.retrieval.vector_table import VectorTable
from kerasrec.schema import FIRST_ID, PADDING_ID, UNKNOWN_ID
from kerasrec.types import RAW_PADDING, Tensor


class RecommendedItems(NamedTuple):
    """Lists of items with raw ids, best first.

    Attributes:
        item_id: raw ids `(batch, k)`; "" or -1 in empty slots.
        score: float32 `(batch, k)`; `LOWEST_SCORE` in empty slots.
        count: int32 `(batch,)`, number of slots that are not empty.
        fallback: bool `(batch,)`: nothing is known about the query, which gets the most popular
            items. For similar items: the list is empty, because the queried item is unknown or the
            only one.
    """

    item_id: Tensor
    score: Tensor
    count: Tensor
    fallback: Tensor

    def rows(self) -> list[list[tuple[Any, float]]]:
        """Return the pairs of raw id and score of each list, without empty slots."""
        columns = (np.asarray(column).tolist() for column in self[:3])
        return [
            [(_text(raw), score) for raw, score in zip(ids[:real], scores[:real], strict=True)]
            for ids, scores, real in zip(*columns, strict=True)
        ]


class ExactTopK(tf.Module):
    """Top-k by dot product over items with raw ids, saved together with the catalogue.

        argtop_k <query, vector_i>  over all i that are not excluded and pass the filter

    The catalogue is scored block by block, so that memory does not grow with it. It works eagerly,
    in `tf.function` and, as part of a `tf.Module`, in a SavedModel. Only stock operations are used:
    ids and vectors are variables, and a hash table maps raw ids to them.

    `refresh` replaces the catalogue by another one of any size, without training. Concurrent calls
    see either the old catalogue or the new one, never a mixture. A graph keeps the catalogue that
    it was traced with, so trace or export it again after a refresh.

    Args:
        ids: unique raw ids, strings or non-negative integers.
        vectors: item vectors `(items, dim)`.
        k: number of slots; some stay empty if the catalogue has fewer items.
        categories: raw categories of each item for the filter, a list of lists of strings or
            non-negative integers.
        quantize: storage of the vectors, see `VectorTable`. With "int8", the best 4 k + 16 items
            are found with 8-bit scores and ranked with 12-bit scores.
        pairs_per_block: maximum number of scores in memory at once.

    Raises:
        ValueError: if ids repeat or have another type, or lengths or `k` do not fit.

    Example:

    >>> index = ExactTopK(["a", "b", "c"], [[1.0, 5.0], [3.0, 0.0], [2.0, 0.0]], k=2,
    ...                   categories=[["x"], ["x", "y"], ["y"]])
    >>> index([[1.0, 0.0]], exclude=[["b"]]).item_id.numpy().tolist()
    [[b'c', b'a']]
    >>> index([[1.0, 0.0]], allow=[["x"]]).item_id.numpy().tolist()
    [[b'b', b'a']]
    >>> index.refresh([7, 8], [[0.0, 1.0], [2.0, 0.0]])
    >>> index([[1.0, 0.0]]).item_id.numpy().tolist()
    [[8, 7]]
    """

    def __init__(
        self,
        ids: Any,
        vectors: Any,
        *,
        k: int = 10,
        categories: Sequence[Sequence[Any]] | None = None,
        quantize: str = "float32",
        pairs_per_block: int = 2**22,
    ) -> None:
        super().__init__(name="exact_top_k")
        check_integer(self, "k", k, 1, 2**31 - 1, numpy=True)
        self.k = k
        self.quantize = quantize
        self.pairs_per_block = pairs_per_block
        self.refresh(ids, vectors, categories=categories)

    def refresh(
        self, ids: Any, vectors: Any, *, categories: Sequence[Sequence[Any]] | None = None
    ) -> None:
        """Replace the catalogue in one step.

        Args:
            ids: as for the constructor; the type may differ.
            vectors: as for the constructor.
            categories: as for the constructor.

        Raises:
            ValueError: as for the constructor; the current catalogue is then kept.
        """
        # Everything is created before the one assignment that other threads can see.
        self._items = _Items(ids, vectors, categories, self.quantize)

    def __call__(
        self, queries: Tensor, *, exclude: Tensor | None = None, allow: Tensor | None = None
    ) -> RecommendedItems:
        """Return the k best items of each query.

        Args:
            queries: float32 `(batch, dim)`.
            exclude: raw ids `(batch, n)` to exclude for each query, padded with "" or -1; ids
                outside the catalogue are ignored.
            allow: raw categories `(batch, n)`, padded likewise: an item passes if it has one of
                them. A row of padding only means no filter.

        Raises:
            ValueError: if `allow` is given without categories in the catalogue, or queries and
                vectors differ in length.
        """
        items = self._items
        queries = tf.convert_to_tensor(queries, tf.float32)
        if queries.shape.rank != 2 or queries.shape[1] != items.vectors.dim:
            raise ValueError(
                f"ExactTopK: expected queries (batch, {items.vectors.dim}); received the shape "
                f"{queries.shape}."
            )
        if exclude is not None:
            exclude = _look_up(items.positions, _raw(exclude, items.ids.dtype))
        if allow is not None:
            if items.categories is None:
                raise ValueError(
                    "ExactTopK: allow= needs categories; the catalogue has none. Pass categories= "
                    "with it."
                )
            raw = _raw(allow, items.category_dtype)
            encoded = _look_up(items.category_ids, raw)
            allow = tf.where(raw == RAW_PADDING[raw.dtype.name], PADDING_ID, encoded)
        slots = min(self.k, items.size)
        best = items.index(self.pairs_per_block).search(
            queries, slots, exclude=exclude, allow=allow
        )
        empty = [[0, 0], [0, self.k - slots]]
        positions = tf.where(best.positions < 0, items.size, best.positions)
        return RecommendedItems(
            tf.gather(items.ids, tf.pad(positions, empty, constant_values=items.size)),
            tf.pad(best.scores, empty, constant_values=LOWEST_SCORE),
            best.count,
            tf.zeros_like(best.count, tf.bool),
        )


class _Items(tf.Module):
    """Immutable state of the catalogue."""

    def __init__(
        self, ids: Any, vectors: Any, categories: Sequence[Sequence[Any]] | None, quantize: str
    ) -> None:
        super().__init__()
        raw = _array(ids, "ids")
        values = np.asarray(vectors, np.float32)
        self.size = len(raw)
        if values.ndim != 2 or len(values) != self.size or not self.size:
            raise ValueError(
                "ExactTopK: expected vectors (items, dim), one row for each id; received "
                f"{self.size} ids and vectors of shape {values.shape}."
            )
        if len(np.unique(raw)) < self.size:
            raise ValueError(
                f"ExactTopK: every item needs a unique id; of {self.size} ids "
                f"{len(np.unique(raw))} are different."
            )
        dtype = tf.string if raw.dtype == object else tf.int64
        # The last row holds the values of an empty slot.
        self.ids = tf.Variable(
            tf.constant([*raw.tolist(), RAW_PADDING[dtype.name]], dtype),
            trainable=False,
            name="ids",
        )
        self.positions = _table(raw, np.arange(self.size), default=-1)
        self.vectors = VectorTable(values, quantize, name="vectors")
        self.categories: tf.Variable | None = None
        self.num_categories = 0
        if categories is None:
            return
        if len(categories) != self.size:
            raise ValueError(
                f"ExactTopK: expected categories of {self.size} items; received {len(categories)}."
            )
        flat = [category for row in categories for category in row]
        names, places = np.unique(_array(flat, "categories"), return_inverse=True)
        names = names.astype(object) if names.dtype.kind == "U" else names
        encoded = iter((places + FIRST_ID).tolist())
        width = max(1, *(len(row) for row in categories))
        rows = [[next(encoded) for _ in row] + [0] * (width - len(row)) for row in categories]
        self.categories = tf.Variable(np.array(rows, np.int32), trainable=False, name="categories")
        self.category_dtype = tf.string if names.dtype == object else tf.int64
        self.num_categories = len(names) + FIRST_ID
        self.category_ids = _table(names, np.arange(len(names)) + FIRST_ID, default=UNKNOWN_ID)

    def index(self, pairs_per_block: int) -> Index:
        """Return the search over the vectors."""
        return ExactIndex(
            products(self.vectors),
            self.size,
            categories=self.categories,
            num_categories=self.num_categories,
            pairs_per_block=pairs_per_block,
        )


def _text(raw: Any) -> Any:
    """Decode text of a tensor."""
    return raw.decode() if isinstance(raw, bytes) else raw


def _array(ids: Any, what: str) -> np.ndarray:
    """Convert raw ids to int64, or to an object array of strings."""
    values = ids.tolist() if isinstance(ids, np.ndarray) else list(ids)
    kinds = {type(value) for value in values}
    if kinds <= {str} and "" not in values:
        return np.array(values, dtype=object)
    if kinds <= {int} and min(values) >= 0:
        return np.array(values, np.int64)
    raise ValueError(
        f"ExactTopK: {what} must be non-empty strings, or integers from 0; received "
        f"{values[:3]!r:.100}."
    )


def _table(keys: np.ndarray, values: np.ndarray, *, default: int) -> Any:
    """Return a hash table whose contents are saved with the variables, not in the graph."""
    dtype = tf.string if keys.dtype == object else tf.int64
    table = tf.lookup.experimental.MutableHashTable(dtype, tf.int64, default)
    if len(keys):
        table.insert(tf.constant(keys, dtype), tf.constant(values, tf.int64))
    return table


def _look_up(table: Any, raw: Tensor) -> Tensor:
    # The table loses the static rank.
    return tf.ensure_shape(tf.cast(table.lookup(raw), tf.int32), raw.shape)


def _raw(ids: Any, dtype: tf.DType) -> Tensor:
    """Return a matrix of raw ids. An empty list takes the given dtype."""
    if isinstance(ids, np.ndarray) and ids.dtype.kind in "OUS":
        ids = ids.tolist()
    raw = tf.convert_to_tensor(ids, dtype)
    if raw.shape.rank != 2:
        raise ValueError(
            f"ExactTopK: expected a matrix (batch, n) of raw ids; received the shape {raw.shape}. "
            'Pad shorter rows with "" or -1.'
        )
    return raw
