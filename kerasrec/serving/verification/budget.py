"""Accuracy budget of smaller tables, and the measurement of their accuracy loss on export."""

import dataclasses
import itertools
import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from kerasrec.schema import FIRST_ID, Numeric, Schema
from kerasrec.serving.graph.catalogue import Catalogue
from kerasrec.serving.spec import ExportSpec
from kerasrec.serving.verification.reference import draw_numbers
from kerasrec.types import Columns

FILE_NAME = "tables.json"
RECALL_AT = 100
# Number of random queries ranked over the whole catalogue; fewer if each pair needs a model call.
QUERIES = 200
QUERIES_OF_RANKER = 16
_PAIRS = 2**24


@dataclasses.dataclass(frozen=True)
class QuantizationBudget:
    """Maximum accuracy loss of smaller tables, over random queries and the whole catalogue.

    Attributes:
        score_difference: largest |smaller - float32| / max(1, |float32|) of a score.
        recall: smallest mean share of the 100 best items in float32 that are among the 100 best of
            the smaller tables. A table has no items to rank, and accepts no other than the default.
    """

    score_difference: float = 0.05
    recall: float = 0.99


def check_budget(spec: ExportSpec, served: Any, budget: QuantizationBudget) -> dict[str, Any]:
    """Compare the answers with smaller tables to those of the model.

    Args:
        spec: specification of the export.
        served: the exported model, with its `parts` and `catalogue`.
        budget: maximum accuracy loss; in a pipeline it applies to both retriever and ranker.

    Returns:
        JSON-serialisable report.

    Raises:
        ValueError: if the budget is exceeded.
    """
    if not spec.has_items:
        return _check_scores(spec, served.parts.whole, budget)
    before, after, kind = spec.exact, served.parts, spec.quantize
    k = min(RECALL_AT, len(spec.item_ids))
    worst, found = 0.0, []
    comparisons = []
    if before.retriever is not None:
        comparisons.append(_by_vectors(spec, served, k))
    if before.ranker is not before.retriever:
        comparisons.append(_by_pairs(spec, before.ranker, after.ranker, k))
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
            f"export: with quantize={kind!r} scores differ by up to {worst:.2g} and "
            f"{shares.mean():.1%} of the {k} best items are found, over {len(shares)} random "
            f"queries; the budget is {budget.score_difference:g} and {budget.recall:.1%}. Choose "
            "more precise tables (float16, float32), or pass another budget=."
        )
    return report


def _check_scores(spec: ExportSpec, smaller: Any, budget: QuantizationBudget) -> dict[str, Any]:
    """Compare the scores of a table's rows, which are all that there is to compare."""
    kind, default = spec.quantize, QuantizationBudget()
    if budget.recall != default.recall:
        raise ValueError(
            "export: the recall of a budget is measured by rankings of items; received recall="
            f"{budget.recall:g} for a model without item features. Pass "
            "QuantizationBudget(score_difference=...) alone."
        )
    worst = 0.0
    for rows in _queries(spec.schema, QUERIES, 1):
        exact = np.asarray(spec.exact.whole(rows, training=False))
        distance = np.abs(np.asarray(smaller(rows, training=False)) - exact)
        worst = max(worst, float((distance / np.maximum(1, np.abs(exact))).max()))
    if worst > budget.score_difference:
        raise ValueError(
            f"export: with quantize={kind!r} scores differ by up to {worst:.2g} over {QUERIES} "
            f"random rows; the budget is {budget.score_difference:g}. Choose more precise tables "
            "(float16, float32), or pass another budget=."
        )
    return {
        "tables": kind,
        "queries": QUERIES,
        "score_difference": worst,
        "budget": {"score_difference": budget.score_difference},
    }


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


Comparison = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Scores `(batch, items)` before and after, and the best by what is served, `(batch, k)`."""


def _by_vectors(spec: ExportSpec, served: Any, k: int) -> Iterator[Comparison]:
    catalogue: Catalogue = served.catalogue
    before, after = spec.exact.retriever, served.parts.retriever
    old_items, items = np.asarray(spec.item_vectors), catalogue.vectors.numpy()
    for query in _queries(spec.schema, QUERIES, len(items)):
        vectors = tf.convert_to_tensor(after.query_embedding(query))
        best = catalogue.index.search(vectors, k)
        exact = np.asarray(before.query_embedding(query)) @ old_items.T
        yield exact, vectors.numpy() @ items.T, best.positions.numpy()


def _by_pairs(spec: ExportSpec, before: Any, after: Any, k: int) -> Iterator[Comparison]:
    for query in _queries(spec.schema, QUERIES_OF_RANKER, len(spec.item_ids)):
        exact, smaller = (_pair_scores(model, query, spec.candidates) for model in (before, after))
        yield exact, smaller, tf.math.top_k(smaller, k).indices.numpy()


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
                query[feature.name] = draw_numbers(feature, batch, rng)
                continue
            ids = rng.integers(FIRST_ID, schema.num_ids(feature.name), size=shape, dtype=np.int32)
            if feature.is_padded:
                (width,) = feature.shape
                lengths = rng.integers(1, width + 1, size=(batch, 1))
                ids = np.where(np.arange(width) < lengths, ids, 0)
            query[feature.name] = ids
        yield query
