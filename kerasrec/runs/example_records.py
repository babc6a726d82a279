"""Records of a run on examples without users and items: metrics of the predicted labels."""

import time
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

import kerasrec
from kerasrec.runs.records import (
    VERSION,
    Records,
    clicks_of,
    label_metrics,
    machine,
    versions,
)

if TYPE_CHECKING:  # at run time, only a command that uses it pays for its import
    from kerasrec.data import PreparedExamples

BASELINE = "mean label"


def record_examples(name: str, model: Any, ready: "PreparedExamples", *, loss: str) -> Records:
    """Predict the labels of the test rows, beside their mean in the training rows.

    Args:
        name: name of the model.
        model: the trained model.
        ready: the rows.
        loss: the loss of its training, "log_loss" or "mse".
    """
    import pyarrow as pa

    start = time.perf_counter()
    metrics: list[dict[str, Any]] = []
    if len(ready.split.test or ()):
        metrics = [
            {"model": _baseline(ready), **_of_the_mean(ready, loss)},
            {"model": name, **label_metrics(model, ready, loss=loss)},
        ]
        for row in metrics:
            row["test_rows"] = len(ready.test[ready.schema.label])
    predictions, thresholds = clicks_of(model, ready, loss=loss)
    return Records(
        metrics,
        pa.table({"model": pa.array([], pa.string()), "user": pa.array([], pa.string())}),
        {
            "version": VERSION,
            "task": "labels",
            "thresholds": thresholds,
            "findings": [*_suspicions(ready), *_below_baseline(name, metrics)],
            "split": ready.split.describe(),
            "notes": list(ready.notes),
            "versions": versions(),
            "machine": machine(),
            "seconds": {"evaluation": time.perf_counter() - start},
        },
        predictions=predictions,
    )


def _baseline(ready: "PreparedExamples") -> str:
    return "shares of classes" if ready.classes else BASELINE


def _suspicions(ready: "PreparedExamples") -> list[str]:
    """Return the findings of `check_features`, without their warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", kerasrec.evaluation.ProtocolWarning)
        return kerasrec.evaluation.check_features(ready.train, ready.schema)


def _of_the_mean(ready: "PreparedExamples", loss: str) -> dict[str, Any]:
    """Return the metrics of the mean training label as the prediction of every row.

    Of several classes it is the share of each.
    """
    schema = ready.schema
    value: Any
    if ready.classes:  # log odds of the shares of the classes
        value = np.log(np.bincount(ready.train[schema.label].astype(int)))
    elif loss == "mse":
        value = float(np.mean(ready.train[schema.label]))
    else:
        rate = float(np.mean(ready.positives(ready.train)))
        value = float(np.log(rate / (1 - rate))) if 0 < rate < 1 else 0.0

    class Mean:
        """Prediction of one number for every row."""

        def __init__(self) -> None:
            self.schema = schema

        def __call__(self, inputs: Any, training: bool = False) -> np.ndarray:
            rows = len(next(iter(inputs.values())))
            return np.tile(np.float32(value), (rows, *[1] * np.ndim(value)))

    return label_metrics(Mean(), ready, loss=loss)


def _below_baseline(name: str, metrics: list[dict[str, Any]]) -> list[str]:
    """Return a finding if a model predicts worse than the mean label."""
    if len(metrics) < 2:
        return []
    mean, own = metrics
    for error in ("rmse", "log_loss"):
        if error in own and own[error] > mean[error]:
            return [
                f"{name} predicts worse than the {mean['model']}: {error} {own[error]:.4f}, "
                f"{mean[error]:.4f}."
            ]
    return []
