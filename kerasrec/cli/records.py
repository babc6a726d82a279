"""What a run remembers for `kerasrec report`: figures of every query, lists, times, versions.

| file | holds |
|---|---|
| `run.json` | seed, wall times, versions, machine, audit of the data, figures by item segment |
| `queries.parquet` | a row for each model and query: user, training rows of the user, the figures |
| `items.parquet` | a row for each model and item: training rows, lists it was in, its best place |
"""

import dataclasses
import importlib.metadata
import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import kerasrec
from kerasrec.cli.preparing import Prepared
from kerasrec.schema import FIRST_ID
from kerasrec.types import Columns

if TYPE_CHECKING:  # at run time, only a command that uses it pays for its import
    import pyarrow as pa

VERSION = 1
CUTOFFS = (1, 2, 3, 5, 10, 20, 50)
LIST_LENGTH = 10
MAX_LISTS = 10_000
_QUERIES_PER_BLOCK = 256


@dataclasses.dataclass(frozen=True)
class Records:
    """The records of one run, before they are written.

    Args:
        metrics: figures by model, as `compare` gives them.
        queries: table of `queries.parquet`.
        items: table of `items.parquet`.
        about: `run.json`, without the times that `fit` adds.
    """

    metrics: list[dict[str, Any]]
    queries: "pa.Table"
    items: "pa.Table"
    about: dict[str, Any]

    def write(self, directory: Path) -> None:
        """Writes the two tables."""
        import pyarrow.parquet as pq

        pq.write_table(self.queries, directory / "queries.parquet")
        pq.write_table(self.items, directory / "items.parquet")


def record(models: Mapping[str, Any], prepared: Prepared, *, ratings: str | None) -> Records:
    """Ranks the test rows with each model, and keeps what a report needs.

    Args:
        models: models by name, popularity among them.
        prepared: the rows.
        ratings: name of the model that predicts the label column, if one does.

    Raises:
        ValueError: if the test rows cannot be ranked.
    """
    import pyarrow as pa

    schema = prepared.schema
    user, item = schema.user_id.name, schema.item_id.name
    seen = [prepared.train, prepared.valid]
    catalogue = schema.item_id.num_ids - FIRST_ID
    cutoffs = [k for k in CUTOFFS if k <= catalogue]
    at = max(k for k in cutoffs if k <= LIST_LENGTH)
    train_rows = {
        name: np.bincount(prepared.train[name], minlength=feature.num_ids)
        for name, feature in ((user, schema.user_id), (item, schema.item_id))
    }
    raw = {
        name: np.array([str(value) for value in prepared.vocabularies[name].ids])
        for name in (user, item)
    }
    metrics, queries, items, segments = [], [], [], {}
    facts: dict[str, Any] = {}
    start = time.perf_counter()
    for name, model in models.items():
        errors = {}
        if name == ratings:
            found = kerasrec.evaluation.pointwise(model, prepared.test)
            errors = {"rmse": found["rmse"], "mae": found["mae"]}
        ranked = kerasrec.evaluation.rank_queries(model, prepared.test, seen=seen, k=cutoffs)
        summary = ranked.summary()
        facts = {n: v for n, v in summary.items() if not isinstance(v, float)}
        kept = {n: v for n, v in summary.items() if "@" not in n or n.endswith(f"@{at}")}
        metrics.append({"model": name, **errors, **kept})
        users = ranked.users
        queries.append(
            pa.table(
                {
                    "model": pa.array([name] * len(users)),
                    "user": pa.array(raw[user][users - FIRST_ID]),
                    "train_rows": train_rows[user][users].astype(np.int32),
                    **{n: v.astype(np.float32) for n, v in ranked.values.items()},
                }
            )
        )
        places, lists = best_places(model, ranked.queries, prepared, k=at)
        items.append(
            pa.table(
                {
                    "model": pa.array([name] * catalogue),
                    "item": pa.array(raw[item]),
                    "train_rows": train_rows[item][FIRST_ID:].astype(np.int32),
                    "listed": lists.astype(np.int32),
                    "best_place": places.astype(np.int32),
                }
            )
        )
        segments[name] = _item_segments(ranked, train_rows[item], at)
    return Records(
        metrics,
        pa.concat_tables(queries),
        pa.concat_tables(items),
        {
            "version": VERSION,
            "facts": facts,
            "list_length": at,
            "item_segments": segments,
            "audit": str(kerasrec.data.audit(prepared.dataset.interactions)),
            "split": prepared.split.describe(),
            "notes": list(prepared.dataset.notes),
            "versions": versions(),
            "machine": machine(),
            "seconds": {"evaluation": time.perf_counter() - start},
        },
    )


def best_places(
    model: Any, queries: Columns, prepared: Prepared, *, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """For every item of the catalogue the best place in the lists, 0 for none, and the lists.

    Of more than 10,000 queries an even sample of those is listed.

    Args:
        model: what recommends.
        queries: query side features, one row per query.
        prepared: the rows, those of train and valid being left out of the lists.
        k: length of a list.

    Returns:
        The best place `(items,)`, and in how many lists the item is `(items,)`.
    """
    schema = prepared.schema
    user, item = schema.user_id.name, schema.item_id.name
    catalogue = schema.item_id.num_ids - FIRST_ID
    ids = np.concatenate([prepared.train[user], prepared.valid[user]])
    others = np.concatenate([prepared.train[item], prepared.valid[item]]) - FIRST_ID
    order = np.argsort(ids, kind="stable")
    ids, others = ids[order], others[order]
    total = len(queries[user])
    chosen = np.unique(np.linspace(0, total - 1, min(total, MAX_LISTS)).astype(int))
    places = np.full(catalogue, k + 1)
    lists = np.zeros(catalogue, np.int64)
    vectors = None
    if isinstance(model, kerasrec.types.Retriever):
        every = {item: np.arange(FIRST_ID, schema.item_id.num_ids, dtype=np.int32)}
        vectors = model.item_embedding(every)
    for start in range(0, len(chosen), _QUERIES_PER_BLOCK):
        rows = chosen[start : start + _QUERIES_PER_BLOCK]
        features = {name: values[rows] for name, values in queries.items()}
        lows, highs = (np.searchsorted(ids, features[user], side) for side in ("left", "right"))
        exclude = np.full((len(rows), max(1, int((highs - lows).max()))), -1, np.int32)
        for row, (low, high) in enumerate(zip(lows, highs, strict=True)):
            exclude[row, : high - low] = others[low:high]
        best = _top(model, features, vectors, exclude, catalogue, k, item).positions.numpy()
        real = best >= 0
        np.add.at(lists, best[real], 1)
        np.minimum.at(places, best[real], np.nonzero(real)[1] + 1)
    return np.where(places > k, 0, places), lists


def _top(
    model: Any,
    features: Columns,
    vectors: Any,
    exclude: np.ndarray,
    catalogue: int,
    k: int,
    item: str,
) -> Any:
    if vectors is not None:
        return kerasrec.retrieval.top_k(
            model.query_embedding(features), vectors, k, exclude=exclude
        )
    rows = len(exclude)

    def score(first: Any, last: Any) -> Any:
        block = np.arange(int(first), int(last), dtype=np.int32) + FIRST_ID
        return model({**features, item: np.broadcast_to(block, (rows, len(block)))})

    return kerasrec.retrieval.blocked_top_k(
        score, num_candidates=catalogue, k=k, exclude=exclude, pairs_per_block=2**18
    )


def thirds(counts: np.ndarray) -> np.ndarray:
    """0 head, 1 mid, 2 tail: items by descending count, a third of all rows in each.

    Args:
        counts: training rows of each item.

    Returns:
        `(items,)`.

    Example:

    >>> thirds(np.array([1, 4, 2, 1, 1])).tolist()
    [2, 0, 1, 2, 2]
    """
    order = np.argsort(-counts, kind="stable")
    before = np.cumsum(counts[order]) - counts[order]
    part = np.empty(len(counts), np.int64)
    part[order] = np.minimum(3 * before // max(1, counts.sum()), 2)
    return part


def _item_segments(ranked: Any, counts: np.ndarray, k: int) -> dict[str, Any]:
    part = np.full(len(counts), 2)
    part[FIRST_ID:] = thirds(counts[FIRST_ID:])
    found: dict[str, dict[str, float]] = {}
    for number, name in enumerate(("head", "mid", "tail")):
        queries, values = ranked.only(part == number)
        found[name] = {"queries": len(queries)}
        if len(queries):
            found[name] |= {
                metric: float(values[metric].mean()) for metric in (f"ndcg@{k}", f"recall@{k}")
            }
    return found


def versions() -> dict[str, str]:
    """Versions of what takes part."""
    named = {"python": platform.python_version(), "kerasrec": kerasrec.__version__}
    for package in ("keras", "tensorflow", "numpy"):
        named[package] = importlib.metadata.version(package)
    return named


def machine() -> str:
    """CPU model and the cores this process may use."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{names[0] if names else platform.machine()}, {cores} cores"
