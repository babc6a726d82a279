"""Read the files of run directories that a report needs."""

import dataclasses
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from kerasrec.evaluation.clicks.recorded import RecordedClicks, from_table

VERSION = 1
_FILES = ("run.json", "queries.parquet", "history.json", "config.yaml")
_CLICKS = "predictions.parquet"


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
        clicks: content of `predictions.parquet`, if the run has predicted clicks.
    """

    name: str
    about: dict[str, Any]
    flags: dict[str, Any]
    split: dict[str, Any]
    metrics: list[dict[str, Any]]
    history: dict[str, list[float]]
    queries: pa.Table
    clicks: RecordedClicks | None = None

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
            from_table(pq.read_table(clicks)) if (clicks := path / _CLICKS).is_file() else None,
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
    if not recorded.metrics:
        raise ValueError(
            f"{directory}: the run held out no test rows (--test 0): there is nothing to report."
        )
    if labels and recorded.clicks is None:
        if recorded.flags["loss"] == "log_loss":
            raise ValueError(
                f"{directory}: this run has no {_CLICKS}; it was written before kerasrec stored "
                f"what a report needs. Train it again: kerasrec fit MODEL --config "
                f"{path / 'config.yaml'} --output NEW_DIRECTORY"
            )
        raise ValueError(
            f"{directory}: a report compares rankings or predicted clicks, and this run predicts "
            f"numbers (--loss {recorded.flags['loss']}). Its metrics are in "
            f"{path / 'metrics.json'}; kerasrec evaluate prints them."
        )
    if not labels and model not in recorded.queries["model"].to_pylist():
        raise ValueError(f"{directory}: queries.parquet has no rows of {model}. Train again.")
    return recorded


def check_same(runs: Sequence[Recorded]) -> None:
    """Check that runs can be compared.

    Raises:
        ValueError: if there is no run, two share a name, or their kinds, rows or positives differ.
    """
    if not runs:
        raise ValueError("report: expected at least one run directory; received none.")
    names = [run.name for run in runs]
    if len(set(names)) < len(names):
        raise ValueError(f"report: the runs need different names; received {names}.")
    first = runs[0]
    kinds = {run.name: run.about.get("task", "ranking") for run in runs}
    if len(set(kinds.values())) > 1:
        raise ValueError(
            f"report: expected runs of one kind; received {kinds}. Compare rankings with rankings, "
            "and labels of rows with labels."
        )
    for run in runs[1:]:
        if run.split != first.split:
            raise ValueError(
                f"report: {run.name} was trained or tested on other rows than {first.name}: "
                f"expected {first.split}; received {run.split}. Compare runs of one data set, "
                "split and seed of the split."
            )
        if positives_of(run) != positives_of(first):
            raise ValueError(
                f"report: {run.name} counts other labels as positives than {first.name}: expected "
                f"{positives_of(first)}; received {positives_of(run)}. Compare runs of one "
                "--positive."
            )


def positives_of(run: Recorded) -> str:
    """Return the condition on positive labels of a run."""
    return str(run.flags.get("positive", ">0"))


def of_training(run: Recorded, *, baseline: bool = False) -> dict[str, Any]:
    """Return what is known of a training, nothing of the baseline's, and where it ran."""
    return {
        "history": {} if baseline else finite(run.history),
        "seed": None if baseline else run.flags["seed"],
        "loss": "" if baseline else _loss(run.flags),
        "flags": {} if baseline else run.flags,
        "seconds": {} if baseline else run.about["seconds"],
        "versions": run.about["versions"],
        "machine": run.about["machine"],
    }


def finite(values: Any) -> Any:
    """Replace NaN, which JSON lacks, by null."""
    if isinstance(values, Mapping):
        return {name: finite(value) for name, value in values.items()}
    if isinstance(values, list):
        return [finite(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


def _loss(flags: Mapping[str, Any]) -> str:
    """Return the kind of loss of a run. Losses of different kinds share no axis."""
    kind = str(flags.get("loss") or "")
    drawn = flags.get("negatives")
    return f"{kind}, {drawn} negatives" if kind and drawn is not None else kind
