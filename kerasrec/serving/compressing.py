"""Smaller exports: compressed embedding tables within an accuracy budget checked on export."""

import dataclasses
import itertools
import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerasrec._keras import all_layers
from kerasrec.retrieval.vector_table import NARROW, VectorTable
from kerasrec.schema import FIRST_ID, Categorical, Numeric, Schema
from kerasrec.serving.catalogue import Catalogue, item_vectors
from kerasrec.serving.pipeline import retriever_of
from kerasrec.types import Columns, Tensor

FILE_NAME = "tables.json"
RECALL_AT = 100
# Number of random queries ranked over the whole catalogue; fewer if each pair needs a model call.
QUERIES = 200
QUERIES_OF_RANKER = 16
_PAIRS = 2**24


@dataclasses.dataclass(frozen=True)
class Budget:
    """Maximum accuracy loss of smaller tables, over random queries and the whole catalogue.

    Attributes:
        score_difference: largest |smaller - float32| / max(1, |float32|) of a score.
        recall: smallest mean share of the 100 best items in float32 that are among the 100 best of
            the smaller tables.
    """

    score_difference: float = 0.05
    recall: float = 0.99


def compress_layers(model: keras.Model, kind: str) -> list[VectorTable]:
    """Replace the table of every embedding layer by a smaller one, keeping the layers' weights.

    Args:
        model: a model that is not used otherwise.
        kind: "float16" or "int8".

    Returns:
        The tables.
    """
    tables = []
    for layer in _wide_embeddings(model):
        table = VectorTable(np.asarray(layer.embeddings.value), kind, name=layer.name)
        layer.call = _lookup_in(table)
        tables.append(table)
    return tables


def round_tables(model: keras.Model, kind: str) -> None:
    """Round the weights of every embedding layer to those of a smaller table.

    Args:
        model: a model that is not used otherwise.
        kind: "float32", "float16" or "int8".
    """
    for layer in _wide_embeddings(model):
        table = VectorTable(np.asarray(layer.embeddings.value), kind)
        layer.embeddings.assign(table.numpy())


def check_budget(
    model: Any, served: Any, candidates: Columns, kind: str, budget: Budget
) -> dict[str, Any]:
    """Compare the answers with smaller tables to those of the model.

    Args:
        model: the model in float32.
        served: the exported model, with its `model` and `catalogue`.
        candidates: as checked by `candidate_columns`.
        kind: storage of the tables.
        budget: maximum accuracy loss; in a pipeline it applies to both retriever and ranker.

    Returns:
        JSON-serialisable report.

    Raises:
        ValueError: if the budget is exceeded.
    """
    schema: Schema = model.schema
    ids = candidates[schema.item_id.name]
    k = min(RECALL_AT, len(ids))
    worst, found = 0.0, []
    comparisons = []
    if (retriever := retriever_of(model)) is not None:
        comparisons.append(_by_vectors(retriever, served, candidates, k))
    if retriever is not model:
        ranker = getattr(model, "ranker", model), getattr(served.model, "ranker", served.model)
        comparisons.append(_by_pairs(*ranker, schema, candidates, k))
    for exact, smaller, ranked in itertools.chain(*comparisons):
        distance = np.abs(smaller - exact) / np.maximum(1, np.abs(exact))
        worst = max(worst, float(distance.max()))
        last = np.partition(exact, -k, axis=1)[:, -k]  # the k-th best
        hits = np.take_along_axis(exact, ranked, axis=1) >= last[:, None]
        found.append(hits.mean(axis=1))
    shares = np.concatenate(found)
    report = {
        "tables": kind,
        "queries": len(shares),
        "score_difference": worst,
        f"recall@{k}": float(shares.mean()),
        "budget": dataclasses.asdict(budget),
    }
    if worst > budget.score_difference or shares.mean() < budget.recall:
        raise ValueError(
            f"export: with tables={kind!r} scores differ by up to {worst:.2g} and "
            f"{shares.mean():.1%} of the {k} best items are found, over {len(shares)} random "
            f"queries; the budget is {budget.score_difference:g} and {budget.recall:.1%}. Choose "
            "more precise tables (float16, float32), or pass another budget=."
        )
    return report


def write_report(report: Mapping[str, Any], folder: pathlib.Path) -> None:
    """Write the result of `check_budget` into the folder of a version."""
    (folder / FILE_NAME).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def read_report(folder: pathlib.Path) -> dict[str, Any] | None:
    """Read the result of `write_report`; None if the tables are float32.

    Raises:
        ValueError: if the file is damaged.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        return None
    try:
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return report
    except ValueError as error:
        raise ValueError(f"{str(path)!r} is damaged: {error}. Export the model again.") from error


def _wide_embeddings(model: Any) -> Iterator[Any]:
    for layer in all_layers(model):
        if isinstance(layer, keras.layers.Embedding) and layer.output_dim >= NARROW:
            yield layer


def _lookup_in(table: VectorTable) -> Any:
    def call(inputs: Tensor, training: bool | None = None) -> Tensor:
        return table.rows(tf.cast(inputs, tf.int32))

    return call


Comparison = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Scores `(batch, items)` before and after, and the best by what is served, `(batch, k)`."""


def _by_vectors(retriever: Any, served: Any, candidates: Columns, k: int) -> Iterator[Comparison]:
    catalogue: Catalogue = served.catalogue
    before = item_vectors(retriever, candidates)
    after = catalogue.vectors.numpy()
    for query in _queries(served.schema, QUERIES, len(before)):
        vectors = tf.convert_to_tensor(served.retriever.query_embedding(query))
        batch = vectors.shape[0]
        best = catalogue.nearest(
            vectors,
            k,
            exclude=tf.zeros([batch, 0], tf.int32),
            unknown=tf.zeros([batch], tf.bool),
            allow=None,
        )
        exact = np.asarray(retriever.query_embedding(query)) @ before.T
        yield exact, vectors.numpy() @ after.T, best.positions.numpy()


def _by_pairs(
    before: Any, after: Any, schema: Schema, candidates: Columns, k: int
) -> Iterator[Comparison]:
    for query in _queries(schema, QUERIES_OF_RANKER, len(candidates[schema.item_id.name])):
        exact, smaller = (_pair_scores(model, query, candidates) for model in (before, after))
        yield exact, smaller, np.argsort(-smaller, axis=1, kind="stable")[:, :k]


def _pair_scores(model: Any, query: Columns, candidates: Columns) -> np.ndarray:
    """Return the model's scores `(batch, items)`."""
    batch = len(next(iter(query.values())))
    parts = []
    for start in range(0, len(next(iter(candidates.values()))), 2**12):
        items = {
            name: np.repeat(column[None, start : start + 2**12], batch, axis=0)
            for name, column in candidates.items()
        }
        parts.append(np.asarray(model({**query, **items}, training=False)))
    return np.concatenate(parts, axis=1)


def _queries(schema: Schema, total: int, num_items: int) -> Iterator[dict[str, np.ndarray]]:
    """Yield batches of random encoded queries: known ids, histories of any length."""
    rng = np.random.default_rng(0)
    rows = max(1, min(total, _PAIRS // num_items))
    for start in range(0, total, rows):
        batch = min(rows, total - start)
        query: dict[str, np.ndarray] = {}
        for feature in schema.query:
            shape = (batch, *feature.shape)
            if isinstance(feature, Numeric):
                query[feature.name] = rng.normal(size=shape).astype(np.float32)
                continue
            ids = rng.integers(FIRST_ID, schema.num_ids(feature.name), size=shape, dtype=np.int32)
            if not isinstance(feature, Categorical):
                lengths = rng.integers(1, feature.max_length + 1, size=(batch, 1))
                ids = np.where(np.arange(feature.max_length) < lengths, ids, 0)
            query[feature.name] = ids
        yield query
