"""Records of a run for `kerasrec report`: metrics of every query, lists, times, versions.

| file | holds |
|---|---|
| `run.json` | metrics by segment and of the lists, audit, findings, times, versions |
| `queries.parquet` | a row for each model and query: the user and the metrics |
| `predictions.parquet` | of predicted clicks, a row for each test row, see `evaluation.clicks` |
"""

import dataclasses
import importlib.metadata
import os
import platform
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import kerasrec
from kerasrec.runs.validation import rating_scale
from kerasrec.schema import FIRST_ID
from kerasrec.types import output_kind

if TYPE_CHECKING:  # at run time, only a command that uses it pays for its import
    import pyarrow as pa

    from kerasrec.data import PreparedData
    from kerasrec.datasets import Dataset
    from kerasrec.evaluation import ClickPredictions, RankingResult

VERSION = 1
CUTOFFS = (1, 2, 3, 5, 10, 20, 50)
LIST_LENGTH = 10
MAX_LISTS = 10_000
CURVE_POINTS = 20
SAMPLES, HISTORY = 3, 5
MANY_UNKNOWN = 0.1
"""Share of unranked test rows above which a finding is added."""


@dataclasses.dataclass(frozen=True)
class Records:
    """Records of one run, before they are written.

    Args:
        metrics: metrics by model, as `compare` gives them.
        queries: table of `queries.parquet`.
        about: `run.json`, without the times that `fit` adds.
        titles: raw item ids and titles, where the data set has any.
        predictions: table of `predictions.parquet`, if the model predicts clicks.
    """

    metrics: list[dict[str, Any]]
    queries: "pa.Table"
    about: dict[str, Any]
    titles: "pa.Table | None" = None
    predictions: "pa.Table | None" = None


def record(
    models: Mapping[str, Any],
    ready: "PreparedData",
    dataset: "Dataset",
    *,
    losses: Mapping[str, str],
) -> Records:
    """Rank the test rows with each model, and collect what a report needs.

    Args:
        models: models by name, popularity among them.
        ready: the rows.
        dataset: the data set that they are of.
        losses: training losses by model name, as far as they are known.

    Raises:
        ValueError: if the test rows cannot be ranked.
    """
    import pyarrow as pa

    schema = ready.schema
    catalogue = schema.item_id.num_ids - FIRST_ID
    cutoffs = [k for k in CUTOFFS if k <= catalogue]
    at = max(k for k in cutoffs if k <= LIST_LENGTH)
    task = kerasrec.evaluation.RankingTask(
        ready.test, [ready.train, ready.valid], k=cutoffs, items=ready.items
    )
    raw = np.array([str(value) for value in ready.vocabularies[schema.user_id.name].ids])
    metrics, queries, segments, lists, samples = [], [], {}, {}, {}
    facts: dict[str, Any] = {}
    titles = titles_of(dataset)
    predictions: pa.Table | None = None
    thresholds: dict[str, float] = {}
    start = time.perf_counter()
    for name, model in models.items() if len(ready.split.test) else ():
        errors = label_metrics(model, ready, loss=losses.get(name, ""))
        ranked = kerasrec.evaluation.rank(model, task)
        summary = ranked.summary()
        facts = {n: v for n, v in summary.items() if not isinstance(v, float)}
        kept = {n: v for n, v in summary.items() if "@" not in n or n.endswith(f"@{at}")}
        metrics.append({"model": name, **errors, **kept})
        columns = {n: v.astype(np.float32) for n, v in ranked.values.items()}
        users = raw[ranked.users - FIRST_ID]
        queries.append(pa.table({"model": [name] * len(users), "user": users, **columns}))
        segments[name] = segments_of(ranked, ready, at)
        lists[name] = lists_of(model, ranked, ready, at)
        samples[name] = samples_of(model, ranked, ready, at, titles)
        if losses.get(name) == "log_loss":
            predictions, thresholds = clicks_of(model, ready, loss="log_loss")
    return Records(
        metrics,
        pa.concat_tables(queries) if queries else pa.table({"model": [], "user": []}),
        {
            "version": VERSION,
            "facts": facts,
            "list_length": at,
            "segments": segments,
            "lists": lists,
            "samples": samples,
            "thresholds": thresholds,
            "findings": findings(ready),
            "audit": str(kerasrec.data.audit(dataset.interactions)),
            "split": ready.split.describe(),
            "notes": [*dataset.notes, *ready.notes],
            "versions": versions(),
            "machine": machine(),
            "seconds": {"evaluation": time.perf_counter() - start},
        },
        titles,
        predictions,
    )


def titles_of(dataset: "Dataset") -> "pa.Table | None":
    """Return raw item ids and titles, if the data set brought any."""
    items, name = dataset.items, dataset.interactions.item
    if items is None or "title" not in items.column_names:
        return None
    return items.select([name, "title"])


def label_metrics(model: Any, ready: "PreparedData", *, loss: str) -> dict[str, Any]:
    """Measure how well a model predicts the labels of the test rows.

    Returns:
        Metrics of rating errors of a model trained by mse, whose predictions of ratings of items
        are clipped to the scale of the training rows, or of clicks of one trained by log_loss,
        under the names of `beside_ranking`, as far as the rows define them. Of several classes
        those of
            `class_metrics`. Empty for other losses.
    """
    from kerasrec.evaluation.metrics import beside_ranking

    if getattr(ready, "classes", ()):
        return dict(kerasrec.evaluation.class_metrics(model, ready.test))
    if loss == "mse":
        found = kerasrec.evaluation.rating_errors(model, ready.test, clip=rating_scale(ready))
    elif loss == "log_loss":
        found = kerasrec.evaluation.click_metrics(model, _clicks(ready, "test"))
    else:
        return {}
    return {name: value for name, value in beside_ranking(found).items() if not np.isnan(value)}


def predictions_of(model: Any, ready: Any, part: str = "test") -> "ClickPredictions":
    """Predict clicks of the rows of a part, which are positives or not.

    Args:
        model: a model trained by log_loss.
        ready: the rows, with or without users and items.
        part: "valid" or "test".
    """
    return kerasrec.evaluation.predict_clicks(model, _clicks(ready, part))


def clicks_of(model: Any, ready: Any, *, loss: str) -> "tuple[pa.Table | None, dict[str, float]]":
    """Return the predicted clicks of the test rows as a table, and thresholds to look at.

    Args:
        model: the model.
        ready: the rows, with or without users and items.
        loss: the loss of its training.

    Returns:
        No table unless the loss is log_loss, of one label, and there are test rows. The thresholds
        are chosen on the validation rows, by name.
    """
    from kerasrec.evaluation.clicks.recorded import to_table

    if loss != "log_loss" or output_kind(model) == "logits" or not len(ready.split.test):
        return None, {}
    table = ready.split.test.table
    schema = ready.schema
    ids = {getattr(schema, f"{side}_id").name for side in ("user", "item") if getattr(schema, side)}
    columns = {
        feature.name: table[feature.name]
        for feature in schema.features
        if feature.name in table.column_names and feature.name not in ids
    }
    thresholds = {}
    if len(ready.split.valid):
        valid = predictions_of(model, ready, "valid")
        if valid.labels.any():
            best = kerasrec.evaluation.threshold_table(valid.labels, valid.probabilities, ())[0]
            thresholds["best F1 of the validation rows"] = float(best["threshold"])
    return to_table(predictions_of(model, ready), columns, dependent_rows(ready)), thresholds


def dependent_rows(ready: Any) -> np.ndarray | None:
    """Return the user of each test row, whose rows depend on each other; None without users."""
    user = ready.schema.user
    return np.asarray(ready.test[ready.schema.user_id.name]) if user else None


def _clicks(ready: Any, part: str) -> dict[str, Any]:
    """Return the encoded rows of a part with labels of 1 and 0."""
    rows = getattr(ready, part)
    return {**rows, ready.schema.label: ready.positives(rows)}


def segments_of(
    ranked: "RankingResult", ready: "PreparedData", k: int
) -> dict[str, list[dict[str, Any]]]:
    """Compute metrics at k by activity of users and by popularity of test items.

    Returns:
        Rows of `segment_rows` under `activity` and `popularity`.
    """
    schema = ready.schema
    counts = kerasrec.evaluation.row_counts
    rows = {
        "activity": kerasrec.evaluation.segment_rows(
            ranked,
            queries=kerasrec.evaluation.user_activity(
                counts(ready.train, schema.user_id)[ranked.users]
            ),
        ),
        "popularity": kerasrec.evaluation.segment_rows(
            ranked,
            items=kerasrec.evaluation.item_popularity(
                counts(ready.train, schema.item_id, positives=schema)
            ),
        ),
    }
    kept = ("segment", "queries", f"ndcg@{k}", f"recall@{k}")
    return {
        kind: [{name: row[name] for name in kept} for row in found] for kind, found in rows.items()
    }


def lists_of(model: Any, ranked: "RankingResult", ready: "PreparedData", k: int) -> dict[str, Any]:
    """Compute coverage, novelty and similar metrics of the recommended lists.

    More than 10,000 queries are sampled evenly.

    Args:
        model: the model that recommends.
        ranked: its ranking of the test rows.
        ready: the rows. Items of train and valid are left out of the lists.
        k: length of a list.

    Returns:
        `figures` of `beyond_accuracy` and `coverage` of lists of 1 to k. Over the share `items` of
        the catalogue, most popular first, also the share of positions in lists (`listed`) and of
        positive training rows (`train_rows`).
    """
    from kerasrec.evaluation.beyond import coverage

    schema = ready.schema
    seen = [ready.train, ready.valid]
    total = len(ranked.users)
    chosen = np.unique(np.linspace(0, total - 1, min(total, MAX_LISTS)).astype(int))
    features = {name: values[chosen] for name, values in ranked.queries.items()}
    lists = kerasrec.evaluation.recommend(model, features, seen=seen, k=k, items=ready.items)
    metrics, _ = kerasrec.evaluation.beyond_accuracy(lists, schema, train=seen, test=ready.test)
    rows = kerasrec.evaluation.row_counts(ready.train, schema.item_id, positives=schema)
    rows = rows[lists.catalogue]
    listed = np.bincount(lists.items.ravel(), minlength=schema.item_id.num_ids)[lists.catalogue]
    order = np.argsort(-rows, kind="stable")
    ends = np.unique(np.ceil(np.linspace(0, 1, CURVE_POINTS + 1) * len(order)).astype(int))

    def shares(counts: np.ndarray) -> list[float]:
        sums = np.concatenate([[0], np.cumsum(counts[order])])[ends]
        return [float(value) for value in sums / max(1, sums[-1])]

    shorter = [dataclasses.replace(lists, items=lists.items[:, :n]) for n in range(1, k + 1)]
    return {
        "figures": metrics,
        "coverage": [coverage(some) for some in shorter],
        "items": [float(value) for value in ends / len(order)],
        "listed": shares(listed),
        "train_rows": shares(rows),
    }


def samples_of(
    model: Any,
    ranked: "RankingResult",
    ready: "PreparedData",
    k: int,
    titles: "pa.Table | None" = None,
) -> list[dict[str, Any]]:
    """Collect the lists of some users, with titles where the data set has them.

    Args:
        model: the model that recommends.
        ranked: its ranking of the test rows. Its users are sampled evenly.
        ready: the rows. Items of train and valid are left out of the lists.
        k: length of a list.
        titles: from `titles_of`.

    Returns:
        For each user the id `user`, the last items of the `history`, the items of the positive
        `test` rows, and the `items` of the list, best first.
    """
    user, item = ready.schema.user_id, ready.schema.item_id
    total = len(ranked.users)
    chosen = np.unique(np.linspace(0, total - 1, min(total, SAMPLES)).astype(int))
    features = {name: values[chosen] for name, values in ranked.queries.items()}
    seen = [ready.train, ready.valid]
    lists = kerasrec.evaluation.recommend(model, features, seen=seen, k=k, items=ready.items)
    raw = {name: ready.vocabularies[name] for name in (user.name, item.name)}
    title_of: dict[str, str] = {}
    if titles is not None:
        pairs = (map(str, titles[name].to_pylist()) for name in (item.name, "title"))
        title_of = dict(zip(*pairs, strict=True))

    columns = {name: np.concatenate([part[name] for part in seen]) for name in raw}
    time = ready.split.train.time
    if time is not None:  # a file need not be sorted by time
        order = np.argsort(np.concatenate([part[time] for part in seen]), kind="stable")
        columns = {name: values[order] for name, values in columns.items()}
    positive = ready.positives(ready.test) > 0

    def named(ids: np.ndarray) -> list[str]:
        known = [str(one) for one in raw[item.name].decode(ids[ids >= FIRST_ID]).tolist()]
        return [title_of.get(one, one) for one in known]

    return [
        {
            "user": str(raw[user.name].decode(lists.users[at : at + 1])[0]),
            "history": named(columns[item.name][columns[user.name] == one][-HISTORY:]),
            "test": named(ready.test[item.name][(ready.test[user.name] == one) & positive]),
            "items": named(lists.items[at]),
        }
        for at, one in enumerate(lists.users)
    ]


def findings(ready: "PreparedData") -> list[str]:
    """Return notes on the split and the protocol that a reader of the metrics needs.

    Returns:
        The findings of `check_split` and `check_ranking`, without their warnings, and a finding if
        many test rows are not ranked.
    """
    seen = [ready.train, ready.valid]
    if not len(ready.split.test):
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", kerasrec.evaluation.ProtocolWarning)
        found = [
            *kerasrec.evaluation.check_split(ready.split),
            *kerasrec.evaluation.check_ranking(ready.schema, ready.test, seen=seen),
        ]
    unknown = float(np.mean(ready.test[ready.schema.user_id.name] < FIRST_ID))
    if unknown > MANY_UNKNOWN:
        cause = f" (--min_count {ready.min_count})" if ready.min_count > 1 else ""
        found.append(f"{unknown:.0%} of test rows are of unknown users{cause}: not ranked.")
    return [text.replace("global_time_split", "--split time") for text in found]


def below_baseline(
    name: str, metrics: Sequence[Mapping[str, Any]], ready: "PreparedData", *, loss: str
) -> list[str]:
    """Return a finding if a model is worse than the baseline of what it was trained for.

    Args:
        name: the model, whose row stands among the metrics.
        metrics: metrics by model, popularity among them.
        ready: the rows.
        loss: the loss of its training.

    Returns:
        A finding beside the mean label for mse, beside popularity for rankings; else nothing.
    """
    rows = {str(row["model"]): row for row in metrics}
    own, most_popular = rows.get(name, {}), rows.get("popularity", {})
    if loss == "mse" and "rmse" in own:
        label = ready.schema.label
        error = np.asarray(ready.test[label], np.float64) - float(np.mean(ready.train[label]))
        mean = float(np.sqrt(np.mean(np.square(error))))
        if own["rmse"] > mean > 0:
            return [f"{name} predicts worse than the mean: RMSE {own['rmse']:.4f}, {mean:.4f}."]
    at = next((one for one in own if one.startswith("ndcg@")), "")
    if loss not in ("mse", "log_loss") and at in most_popular and own[at] < most_popular[at]:
        return [
            f"{name} ranks worse than popularity: {at} {own[at]:.4f}, {most_popular[at]:.4f}. Try "
            "--budget 5m, or another model."
        ]
    return []


def with_findings(text: str, found: Sequence[str]) -> str:
    """Append the findings to the text as warnings."""
    return "\n".join([text, *(f"Warning: {finding}" for finding in found)])


def versions() -> dict[str, str]:
    """Return the versions of Python, kerasrec and its main dependencies."""
    named = {"python": platform.python_version(), "kerasrec": kerasrec.__version__}
    for package in ("keras", "tensorflow", "numpy"):
        named[package] = importlib.metadata.version(package)
    return named


def machine() -> str:
    """Return the CPU model and the cores available to this process."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{names[0] if names else platform.machine()}, {cores} cores"
