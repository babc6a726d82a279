"""Blockwise scores of a model as numpy arrays."""

import dataclasses
import os
from collections.abc import Callable, Iterable

import numpy as np

from kerasrec._checks import check_integer
from kerasrec._repeats import find_repeats
from kerasrec.schema import Feature
from kerasrec.types import Columns, Ranker, Retriever, Tensor, reads_profiles

# Scores (query, item) for a block of queries: all items, or those at the given positions.
BlockScorer = Callable[[Columns, np.ndarray | None], np.ndarray]

# Estimated memory per pair inside a model that scores pairs: 1024 float32 activations.
_BYTES_PER_PAIR = 4096
_ITEMS_PER_CALL = 65_536
# Feature values of the queries of one call. Each id of a history becomes a hundred or more numbers.
_QUERY_VALUES_PER_CALL = 65_536
# A model that looks up the items of a user makes thousands of numbers of one id.
_PROFILES_PER_CALL = 256


def to_numpy(values: Tensor) -> np.ndarray:
    """Convert a tensor of any backend to a float32 array."""
    if not isinstance(values, np.ndarray):
        import keras  # takes seconds, and numpy models do not need it

        values = keras.ops.convert_to_numpy(values)
    return values.astype(np.float32, copy=False)


def check_ranker(model: object) -> None:
    """Check that a model is a `Ranker`.

    Raises:
        ValueError: if the object has no `schema` or is not callable.
    """
    if not isinstance(model, Ranker):
        raise ValueError(
            "evaluation expects a model with a `schema` that is called with a dict of features; "
            f"received {model!r:.80} of type {type(model).__name__}. Pass a kerasrec model, or see "
            "kerasrec.types.Ranker for what is needed."
        )


def check_scores(scores: np.ndarray, shape: tuple[int, ...], model: object) -> np.ndarray:
    """Validate the shape of scores and that none is NaN, and return them.

    Raises:
        ValueError: otherwise.
    """
    if scores.shape != shape:
        raise ValueError(
            f"{type(model).__name__} gave scores of shape {scores.shape}; expected {shape}. A "
            "model gives one score per pair: (batch,), or (batch, candidates) for that many items."
        )
    if scores.size and np.isnan(np.min(scores)):  # min keeps NaN, and needs no array of flags
        share = np.mean(np.isnan(scores))
        raise ValueError(
            f"{type(model).__name__} gave NaN for {share:.2%} of a block of {scores.size} scores; "
            "expected numbers. Training may have diverged: try a smaller learning rate or "
            "clipnorm, and look for NaN in the inputs."
        )
    return scores


def slices(length: int, step: int) -> list[slice]:
    """Cut a length into slices of `step`. The last one may end beyond it."""
    return [slice(start, start + step) for start in range(0, length, step)]


def take_features(
    columns: Columns, features: Iterable[Feature], rows: np.ndarray | slice
) -> dict[str, np.ndarray]:
    """Return the named features of some rows."""
    return {feature.name: columns[feature.name][rows] for feature in features}


def predict(model: Ranker, columns: Columns, *, batch_size: int) -> np.ndarray:
    """Compute the scores `(rows,)` of rows, float32.

    Raises:
        ValueError: if one is NaN, or `batch_size` is less than 1.
    """
    check_integer("predict", "batch_size", batch_size, 1, numpy=True)
    rows = len(columns[model.schema.features[0].name])
    found = np.empty(rows, np.float32)
    for part in slices(rows, batch_size):
        scores = to_numpy(model(take_features(columns, model.schema.features, part)))
        found[part] = check_scores(scores, found[part].shape, model)
    return found


def block_scorer(model: Ranker, items: Columns, *, max_memory_mb: int) -> BlockScorer:
    """Return a function that scores blocks of queries against a catalogue or candidates.

    For a `Retriever`, the catalogue's vectors are computed once, and scores are matrix products.
    Any other `Ranker` is called on pairs through its candidate axis. `ItemParts` scores the whole
    catalogue for a `PartsRanker`.

    Args:
        model: model to score with.
        items: item features, one row per item of the catalogue.
        max_memory_mb: bound for the memory of one call of a model that scores pairs.

    Returns:
        A function of query features `(queries, ...)` and optional positions in the catalogue
        `(queries, candidates)`, which returns float32 scores `(queries, items)` or
        `(queries, candidates)`.
    """
    if isinstance(model, Retriever):
        return _retriever_scorer(model, items, max_memory_mb)
    return _ranker_scorer(model, items, max_memory_mb)


@dataclasses.dataclass(frozen=True, eq=False)
class ItemVectors:
    """Item vectors of a retriever, whose products with query vectors are scores.

    BLAS may compute the columns at the edge of a product by another kernel, whose last bit may
    differ. So items with the same vector get the score of the first of them, and always tie.

    Args:
        model: the retriever.
        vectors: float32 `(items, dim)`.
        repeats: positions of items with the vector of an earlier item.
        originals: position of that earlier item, for each repeat.
        bound: upper bound of a product, per largest absolute value of a finite query vector.
    """

    model: Retriever
    vectors: np.ndarray
    repeats: np.ndarray
    originals: np.ndarray
    bound: float

    @classmethod
    def of(cls, model: Retriever, items: Columns) -> "ItemVectors":
        """Compute the vectors of a catalogue."""
        num_items = len(items[model.schema.item_id.name])
        vectors = np.empty((0, 0), np.float32)
        for rows in slices(num_items, _ITEMS_PER_CALL):
            some = to_numpy(model.item_embedding(take_features(items, model.schema.item, rows)))
            expected = len(range(num_items)[rows])
            if (
                some.ndim != 2
                or len(some) != expected
                or (rows.start and some.shape[1] != vectors.shape[1])
            ):
                raise ValueError(
                    f"{type(model).__name__}.item_embedding gave {some.shape} for {expected} "
                    "items; expected (items, dim)."
                )
            if not rows.start:
                vectors = np.empty((num_items, some.shape[1]), np.float32)
            np.add(
                some, 0.0, out=vectors[rows]
            )  # -0.0 becomes 0.0, so that both hash and tie alike
        repeats, originals = find_repeats(vectors)
        largest = max(float(vectors.max(initial=0.0)), -float(vectors.min(initial=0.0)))
        bound = largest * vectors.shape[1]
        return cls(model, vectors, repeats, originals, bound)

    def __len__(self) -> int:
        return len(self.vectors)

    def queries(self, features: Columns) -> np.ndarray:
        """Compute the query vectors `(queries, dim)`."""
        return in_calls(self.model.query_embedding, features, self.model)

    def scores(self, queries: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Compute the products `(queries, items)`.

        Raises:
            ValueError: if one is NaN.
        """
        return self.settle(np.matmul(queries, self.vectors.T, out=out), queries)

    def settle(self, found: np.ndarray, queries: np.ndarray) -> np.ndarray:
        """Give items with equal vectors equal products, in place, and check for NaN.

        Args:
            found: the products `(queries, items)`.
            queries: the query vectors.

        Raises:
            ValueError: if one is NaN.
        """
        if len(self.repeats):
            found[:, self.repeats] = found[:, self.originals]
        largest = float(np.abs(queries).max(initial=0.0)) * self.bound
        if not largest < np.finfo(np.float32).max:  # NaN and infinity are no less
            check_scores(found, found.shape, self.model)
        return found


def in_calls(read: Callable[[Columns], Tensor], features: Columns, model: object) -> np.ndarray:
    """Compute the vectors `(queries, width)` of queries, in calls of bounded size."""
    count = len(next(iter(features.values())))
    values = sum(column.size for column in features.values())
    step = max(1, _QUERY_VALUES_PER_CALL * count // max(1, values))
    if reads_profiles(model):
        step = min(step, _PROFILES_PER_CALL)
    parts = [
        to_numpy(read({name: column[rows] for name, column in features.items()}))
        for rows in slices(max(1, count), step)
    ]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _retriever_scorer(model: Retriever, items: Columns, max_memory_mb: int) -> BlockScorer:
    catalogue = ItemVectors.of(model, items)
    vectors = catalogue.vectors

    def scores(query: Columns, positions: np.ndarray | None = None) -> np.ndarray:
        queries = catalogue.queries(query)
        if positions is None:
            return catalogue.scores(queries)
        found = np.empty(positions.shape, np.float32)
        step = max(1, (max_memory_mb << 20) // (4 * positions.shape[1] * vectors.shape[1]))
        for part in slices(len(queries), step):
            np.einsum("qd,qcd->qc", queries[part], vectors[positions[part]], out=found[part])
        return check_scores(found, positions.shape, model)

    return scores


def _ranker_scorer(model: Ranker, items: Columns, max_memory_mb: int) -> BlockScorer:
    num_items = len(items[model.schema.item_id.name])
    pairs = max(1, (max_memory_mb << 20) // _BYTES_PER_PAIR)

    def scores(query: Columns, positions: np.ndarray | None = None) -> np.ndarray:
        num_queries = len(query[model.schema.user_id.name])
        if positions is None:
            every = np.arange(num_items)
            positions = np.broadcast_to(every, (num_queries, num_items))
        found = np.empty(positions.shape, np.float32)
        width = min(positions.shape[1], pairs)
        height = max(1, pairs // width)
        for rows in slices(num_queries, height):
            side = take_features(query, model.schema.query, rows)
            for part in slices(positions.shape[1], width):
                candidates = positions[rows, part]
                inputs = {**side, **take_features(items, model.schema.item, candidates)}
                found[rows, part] = check_scores(to_numpy(model(inputs)), candidates.shape, model)
        return found

    return scores


def cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
