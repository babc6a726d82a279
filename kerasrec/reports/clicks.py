"""Numbers of predicted clicks in a report."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from kerasrec.evaluation import (
    click_intervals,
    click_segments,
    compare_clicks,
    gain_curve,
    holm,
    threshold_table,
)
from kerasrec.evaluation import metrics as table
from kerasrec.evaluation.clicks.curves import precision_recall_curve
from kerasrec.evaluation.clicks.recorded import RecordedClicks
from kerasrec.evaluation.clicks.scores import calibration_curve
from kerasrec.reports.recorded import VERSION, Recorded, finite, of_training

SIGNIFICANT = 0.05
GAIN_BINS, LIFT_BINS, CALIBRATION_BINS, POINTS = 50, 10, 10, 100
MAIN = "log_loss"
"""Metric by which the best model comes first."""


def click_numbers(runs: Sequence[Recorded]) -> dict[str, Any]:
    """Return everything that a report on rows without users and items shows.

    The models are the runs, sorted by log loss with the best first. See `clicks_of` for `clicks`.

    Args:
        runs: results of `read_recorded`, all of the same data set and split.

    Returns:
        A JSON-serialisable dict.

    Raises:
        ValueError: if the rows of the runs differ.
    """
    first = runs[0]
    clicks = clicks_of(runs)
    by_name = {run.name: run for run in runs}
    models = [
        {"name": m["name"], "model": by_name[m["name"]].model, **of_training(by_name[m["name"]])}
        for m in clicks["models"]
    ]
    return {
        "version": VERSION,
        "task": "labels",
        "data": first.flags["data"],
        "split": first.about["split"],
        "audit": "",
        "notes": first.about["notes"],
        "findings": first.about["findings"],
        "reference": first.name,
        "models": models,
        "clicks": clicks,
    }


def clicks_of(runs: Sequence[Recorded]) -> dict[str, Any]:
    """Return the numbers of predicted clicks of runs; an empty dict if a run has none.

    Intervals and tests are those of `click_intervals` and `compare_clicks`, over the users where
    there are some, else over the rows. Each model is tested against the first run, with Holm's
    correction over all models and metrics.

    Args:
        runs: results of `read_recorded`, all of the same data set and split.

    Raises:
        ValueError: if the rows of the runs differ.
    """
    read = [(run, run.clicks) for run in runs if run.clicks is not None]
    if len(read) < len(runs):
        return {}
    first, reference = read[0]
    for run, clicks in read[1:]:
        if not np.array_equal(clicks.found.labels, reference.found.labels):
            raise ValueError(
                f"report: {run.name} predicted other rows than {first.name}. Compare runs of one "
                "data set and split."
            )
    labels = reference.found.labels
    models = [_model(run, clicks) for run, clicks in read]
    _test(models, [clicks for _, clicks in read])
    columns = [name for name in reference.segments if all(name in c.segments for _, c in read)]
    for model, (_, clicks) in zip(models, read, strict=True):
        model["segments"] = {
            name: finite(click_segments(clicks.found, clicks.segments[name], clicks.users))
            for name in columns
        }
    metrics = list(models[0]["metrics"])
    models.sort(key=lambda model: model["metrics"][MAIN]["mean"])
    mean: dict[str, Any] = next((row for row in first.metrics if row["model"] == "mean label"), {})
    names = {name: _stored(name) for name in metrics}
    return {
        "rows": len(labels),
        "positives": int(labels.sum()),
        "users": None if reference.users is None else len(np.unique(reference.users)),
        "metrics": metrics,
        "best": {name: _best(models, name) for name in metrics},
        "reference": first.name,
        "baseline": {
            n: mean[stored] for n, stored in names.items() if mean.get(stored) is not None
        },
        "models": finite(models),
    }


def _model(run: Recorded, clicks: RecordedClicks) -> dict[str, Any]:
    """Return the metrics, curves and thresholds of one run."""
    labels, logits, predicted, _ = clicks.found
    both = 0 < labels.sum() < len(labels)
    intervals = click_intervals(clicks.found, clicks.users)
    chosen = {float(at): why for why, at in run.about.get("thresholds", {}).items()}
    rows = threshold_table(labels, predicted, [*_GRID, *chosen], best_f1=False)
    curve = calibration_curve(labels, predicted, bins=CALIBRATION_BINS)
    model: dict[str, Any] = {
        "name": run.name,
        "metrics": {name: dataclasses.asdict(one) for name, one in intervals.items()},
        "thresholds": [
            {**row, "chosen": chosen.get(float(row["threshold"]), "given")} for row in rows
        ],
        "calibration": {
            "predicted": curve.predicted.tolist(),
            "observed": curve.observed.tolist(),
            "rows": curve.rows.tolist(),
            "error": curve.error,
        },
        "gain": {},
        "precision_recall": {},
    }
    if both:
        gain, tenths = (gain_curve(labels, logits, bins=n) for n in (GAIN_BINS, LIFT_BINS))
        pairs = precision_recall_curve(labels, logits)
        some = np.unique(np.linspace(0, len(pairs.recall) - 1, POINTS).astype(int))
        model["gain"] = {
            "share": gain.share.tolist(),
            "gain": gain.gain.tolist(),
            "best": gain.best.tolist(),
            "lift_share": tenths.share[1:].tolist(),
            "lift": tenths.lift.tolist(),
        }
        model["precision_recall"] = {
            "recall": pairs.recall[some].tolist(),
            "precision": pairs.precision[some].tolist(),
        }
    return model


_GRID = tuple(n / 10 for n in range(1, 10))


def _test(models: Sequence[dict[str, Any]], read: Sequence[RecordedClicks]) -> None:
    """Add to each model but the first its differences from the first."""
    reference = read[0]
    found = {
        (at, name): comparison
        for at, clicks in enumerate(read[1:], 1)
        for name, comparison in compare_clicks(
            clicks.found, reference.found, reference.users
        ).items()
    }
    corrected = holm({key: one.p for key, one in found.items() if not np.isnan(one.p)})
    for (at, name), comparison in found.items():
        p = corrected.get((at, name))
        models[at].setdefault("against", {})[name] = {
            **dataclasses.asdict(comparison.difference),
            "p": comparison.p,
            "p_holm": p,
            "significant": p is not None and p < SIGNIFICANT,
            "better": quality(name, comparison.first) > quality(name, comparison.second),
        }


def quality(name: str, value: float) -> float:
    """Return a number that is higher for better values of a click metric."""
    return table.CLICKS[name].quality(value)


def _best(models: Sequence[dict[str, Any]], name: str) -> list[str]:
    values = {m["name"]: quality(name, m["metrics"][name]["mean"]) for m in models}
    values = {model: value for model, value in values.items() if not np.isnan(value)}
    return [model for model, value in values.items() if value == max(values.values())]


def _stored(name: str) -> str:
    """Return the name of a click metric in `metrics.json`."""
    return f"click_{name}" if name in table.RANKING else name
