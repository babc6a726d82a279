"""Numbers of a report, computed from run directories."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kerasrec.evaluation import bootstrap_intervals, holm, paired_comparison
from kerasrec.evaluation import metrics as table
from kerasrec.evaluation.statistics import Interval
from kerasrec.reports.clicks import SIGNIFICANT, click_numbers, clicks_of
from kerasrec.reports.recorded import VERSION, Recorded, check_same, finite, of_training

DRAWS = 10_000


def numbers(runs: Sequence[Recorded]) -> dict[str, Any]:
    """Return everything a report shows, as plain numbers and text.

    Runs of rows without users and items have numbers of predicted clicks, see `click_numbers`, and
    other runs trained by log_loss have them beside those of the ranking.

    The models are the runs, sorted by the first metric with the best first, plus popularity
    computed from the first run unless one of the runs is popularity. Intervals are 95 % bootstrap
    intervals over the queries. Each model is tested against the first run by a paired permutation
    test over the queries, with Holm's correction over all models and metrics.

    Args:
        runs: results of `read_recorded`, all of the same data set and split.

    Returns:
        A JSON-serialisable dict.

    Raises:
        ValueError: if there is no run, two share a name, or their rows or positives differ.
    """
    check_same(runs)
    first = runs[0]
    if first.about.get("task") == "labels":
        return click_numbers(runs)
    k = first.about["list_length"]
    shown = {table.name_at(n, k): m for n, m in table.by_priority().items() if m.reported}
    metrics = [name for name in shown if name in first.queries.column_names]
    for name, other in ((f"recall@{k}", f"hr@{k}"), ("map", "mrr")):  # with one positive per query
        if name in metrics and all(_equal(run.queries, other, name) for run in runs):
            metrics.remove(name)
    models = [_model(run, run.model, run.name, metrics) for run in runs]
    counted = any(run.model.casefold() == "popularity" for run in runs)
    if not counted and "popularity" in first.queries["model"].to_pylist():
        models.append(_model(first, "popularity", "popularity", metrics, baseline=True))
    _test(models)
    for model in models:
        del model["values"], model["users"]
    main = metrics[0]
    models.sort(key=lambda model: -shown[main].quality(model["metrics"][main]["mean"]))
    return {
        "version": VERSION,
        "data": first.flags["data"],
        "split": first.about["split"],
        "audit": first.about["audit"],
        "notes": first.about["notes"],
        "findings": first.about["findings"],
        "protocol": first.about["facts"],
        "list_length": k,
        "metrics": metrics,
        "best": _best(models, {name: shown[name] for name in metrics}),
        "reference": first.name,
        "draws": DRAWS,
        "models": models,
        **({"clicks": clicks} if (clicks := clicks_of(runs)) else {}),
    }


def _model(
    run: Recorded, model: str, name: str, metrics: Sequence[str], *, baseline: bool = False
) -> dict[str, Any]:
    kinds = [table.kind_of(name) for name in metrics if "@" in name]
    queries = run.queries.filter(pc.equal(run.queries["model"], model))
    names = [n for n in queries.column_names if n not in ("model", "user")]
    values = {n: queries[n].to_numpy().astype(np.float64) for n in names}
    users = np.array(queries["user"].to_pylist())
    intervals = bootstrap_intervals(values, users)
    stored: Mapping[str, Any] = next((r for r in run.metrics if r["model"] == model), {})
    return {
        "name": name,
        "model": model,
        "values": {n: values[n] for n in metrics},
        "users": users,
        "metrics": {n: dataclasses.asdict(intervals[n]) for n in metrics},
        "errors": {n: stored[n] for n in _label_metrics() if stored.get(n) is not None},
        "curves": _curves(intervals, kinds),
        "segments": finite(run.about["segments"][model]),
        "lists": finite(run.about["lists"][model]),
        "samples": run.about.get("samples", {}).get(model, []),
        **of_training(run, baseline=baseline),
    }


def _equal(queries: pa.Table, first: str, second: str) -> bool:
    if not {first, second} <= set(queries.column_names):
        return False
    return np.array_equal(queries[first].to_numpy(), queries[second].to_numpy())


def _best(
    models: Sequence[Mapping[str, Any]], metrics: Mapping[str, table.Metric]
) -> dict[str, list[str]]:
    """Return the names of the models with the best value of each metric and error."""
    values = {
        n: {m["name"]: metric.quality(m["metrics"][n]["mean"]) for m in models}
        for n, metric in metrics.items()
    }
    values |= {
        n: {m["name"]: metric.quality(m["errors"][n]) for m in models if n in m["errors"]}
        for n, metric in _label_metrics().items()
        if any(n in m["errors"] for m in models)
    }
    return {
        name: [model for model, value in found.items() if value == max(found.values())]
        for name, found in values.items()
    }


def _label_metrics() -> dict[str, table.Metric]:
    return table.beside_ranking(table.RATINGS | table.CLICKS)


def _curves(intervals: Mapping[str, Interval], kinds: Sequence[str]) -> dict[str, Any]:
    curves = {}
    for kind in kinds:
        at = sorted(int(n.split("@")[1]) for n in intervals if n.startswith(f"{kind}@"))
        if at:
            found = [intervals[f"{kind}@{k}"] for k in at]
            curves[kind] = {
                "k": at,
                "mean": [one.mean for one in found],
                "low": [one.low for one in found],
                "high": [one.high for one in found],
            }
    return curves


def _test(models: Sequence[dict[str, Any]]) -> None:
    """Add to each model but the first its differences from the first."""
    reference = models[0]
    tested = {}
    for at, model in enumerate(models[1:], 1):
        if not np.array_equal(model["users"], reference["users"]):
            raise ValueError(
                f"report: {model['name']} ranked other queries than {reference['name']}. Compare "
                "runs of one data set and split."
            )
        pair = (model["values"], reference["values"], reference["users"])
        found = paired_comparison(*pair, draws=DRAWS)
        tested.update({(at, name): comparison for name, comparison in found.items()})
    corrected = holm({key: comparison.p for key, comparison in tested.items()})
    for (at, name), comparison in tested.items():
        models[at].setdefault("against", {})[name] = {
            **dataclasses.asdict(comparison.difference),
            "p": comparison.p,
            "p_holm": corrected[at, name],
            "significant": corrected[at, name] < SIGNIFICANT,
        }
