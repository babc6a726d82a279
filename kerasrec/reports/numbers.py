"""Numbers of a report, computed from run directories."""

import dataclasses
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from kerasrec.evaluation import bootstrap_intervals, holm, paired_comparison
from kerasrec.evaluation import metrics as table
from kerasrec.evaluation.statistics import Interval

VERSION = 1
SIGNIFICANT = 0.05
DRAWS = 10_000
_FILES = ("run.json", "queries.parquet", "history.json", "config.yaml")


@dataclasses.dataclass(frozen=True, eq=False)
class Recorded:
    """Recorded training and test results of a run directory.

    Args:
        name: name of the directory.
        about: content of `run.json`.
        flags: content of `config.yaml`.
        split: content of `split.json`.
        metrics: content of `metrics.json`.
        history: content of `history.json`.
        queries: content of `queries.parquet`.
    """

    name: str
    about: dict[str, Any]
    flags: dict[str, Any]
    split: dict[str, Any]
    metrics: list[dict[str, Any]]
    history: dict[str, list[float]]
    queries: pa.Table

    @property
    def model(self) -> str:
        """Return the name of the model."""
        return str(self.flags["model"])


def read_recorded(directory: str | os.PathLike[str]) -> Recorded:
    """Read the files of a run that a report needs, without loading the model.

    Raises:
        ValueError: if it is not a run directory, lacks the files of a report, or is damaged.
    """
    path = Path(directory)
    if not (path / "config.yaml").is_file():
        kind = "has no config.yaml" if path.is_dir() else "is not a directory"
        raise ValueError(
            f"{directory}: expected a directory that `kerasrec fit` wrote; this {kind}. Give the "
            "path that followed --output."
        )
    if missing := [name for name in _FILES if not (path / name).is_file()]:
        raise ValueError(
            f"{directory}: this run has no {missing}; it was written before kerasrec stored what a "
            f"report needs. Train it again: kerasrec fit MODEL --config {path / 'config.yaml'} "
            "--output NEW_DIRECTORY"
        )
    try:
        texts = {
            name: json.loads((path / f"{name}.json").read_text(encoding="utf-8"))
            for name in ("run", "split", "metrics", "history")
        }
        flags = yaml.safe_load((path / "config.yaml").read_text(encoding="utf-8"))
        recorded = Recorded(
            path.resolve().name,
            texts["run"],
            flags,
            texts["split"],
            texts["metrics"],
            texts["history"],
            pq.read_table(path / "queries.parquet"),
        )
        version = recorded.about["version"]
        labels = recorded.about.get("task") == "labels"
        recorded.queries.select(["model", "user"])
        model = recorded.model
        if version == VERSION and recorded.metrics and not labels:
            _ = [recorded.about[name][model] for name in ("segments", "lists")]
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise ValueError(
            f"{directory}: the files there are not as `kerasrec fit` wrote them "
            f"({' '.join(str(error).split())}). Restore them, or train again."
        ) from error
    if version != VERSION:
        raise ValueError(
            f"{directory}: run.json has the version {version!r}; this kerasrec reads {VERSION}. "
            "Use the kerasrec that wrote it, or train again."
        )
    if labels:
        raise ValueError(
            f"{directory}: a report compares rankings, and this run predicts labels of rows "
            f"without users and items. Its metrics are in {path / 'metrics.json'}; kerasrec "
            "evaluate prints them."
        )
    if not recorded.metrics:
        raise ValueError(
            f"{directory}: the run held out no test rows (--test 0): there is nothing to report."
        )
    if model not in recorded.queries["model"].to_pylist():
        raise ValueError(f"{directory}: queries.parquet has no rows of {model}. Train again.")
    return recorded


def numbers(runs: Sequence[Recorded]) -> dict[str, Any]:
    """Return everything a report shows, as plain numbers and text.

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
    if not runs:
        raise ValueError("report: expected at least one run directory; received none.")
    names = [run.name for run in runs]
    if len(set(names)) < len(names):
        raise ValueError(f"report: the runs need different names; received {names}.")
    first = runs[0]
    for run in runs[1:]:
        if run.split != first.split:
            raise ValueError(
                f"report: {run.name} was trained or tested on other rows than {first.name}: "
                f"expected {first.split}; received {run.split}. Compare runs of one data set, "
                "split and seed of the split."
            )
        if _positives(run) != _positives(first):
            raise ValueError(
                f"report: {run.name} counts other labels as positives than {first.name}: expected "
                f"{_positives(first)}; received {_positives(run)}. Compare runs of one --positive."
            )
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
        "segments": _finite(run.about["segments"][model]),
        "lists": _finite(run.about["lists"][model]),
        "samples": run.about.get("samples", {}).get(model, []),
        "history": {} if baseline else _finite(run.history),
        "seed": None if baseline else run.flags["seed"],
        "loss": "" if baseline else _loss(run.flags),
        "flags": {} if baseline else run.flags,
        "seconds": {} if baseline else run.about["seconds"],
        "versions": run.about["versions"],
        "machine": run.about["machine"],
    }


def _positives(run: Recorded) -> str:
    """Return the condition on positive labels of a run."""
    return str(run.flags.get("positive", ">0"))


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


def _loss(flags: Mapping[str, Any]) -> str:
    """Return the kind of loss of a run. Losses of different kinds share no axis."""
    kind = str(flags.get("loss") or "")
    drawn = flags.get("negatives")
    return f"{kind}, {drawn} negatives" if kind and drawn is not None else kind


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


def _finite(values: Any) -> Any:
    """Replace NaN, which JSON lacks, by null."""
    if isinstance(values, Mapping):
        return {name: _finite(value) for name, value in values.items()}
    if isinstance(values, list):
        return [_finite(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values
