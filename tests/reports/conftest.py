import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from kerasrec.evaluation import ClickPredictions
from kerasrec.evaluation.clicks.recorded import to_table


def write_recorded(directory, shift=0.0, users=60, **changes):
    """A run directory with made figures: ndcg of user n is (n % 4) / 4 + shift, at every k."""
    directory.mkdir(parents=True)
    base = np.arange(users) % 4 / 4
    tables = []
    for model, values in (("popularity", base / 2), ("MatrixFactorization", base + shift)):
        metrics = {f"{m}@{k}": values for m in ("ndcg", "hr", "recall") for k in (1, 5, 10)}
        tables.append(
            pa.table(
                {
                    "model": [model] * users,
                    "user": [f"u{n}" for n in range(users)],
                    **{name: v.astype(np.float32) for name, v in metrics.items()},
                    "mrr": values.astype(np.float32),
                }
            )
        )
    rows = [
        {"segment": name, "queries": 60, "ndcg@10": 0.5, "recall@10": value}
        for name, value in (("head", 0.4), ("tail", float("nan")))
    ]
    lists = {
        "figures": {"coverage@10": 0.5, "gini@10": float("nan"), "novelty@10": 3.25},
        "coverage": [n / 20 for n in range(1, 11)],
        "items": [0.0, 0.5, 1.0],
        "listed": [0.0, 1.0, 1.0],
        "train_rows": [0.0, 0.75, 1.0],
    }
    sample = {"user": "u7", "history": ["Brazil"], "test": ["Alien"]}
    names = ("popularity", "MatrixFactorization")
    about = {
        "version": 1,
        "facts": {"protocol": "full catalogue", "queries": users, "users": users, "candidates": 20},
        "list_length": 10,
        "segments": {name: {"activity": rows, "popularity": rows} for name in names},
        "lists": dict.fromkeys(names, lists),
        "samples": {
            "MatrixFactorization": [
                {
                    "user": "u7",
                    "history": ["Brazil"],
                    "test": ["Alien"],
                    "items": ["Alien", "<Jaws>"],
                }
            ],
            "popularity": [{**sample, "items": ["Heat", "Alien"]}],
        },
        "findings": ["7 of 9 training rows are <later>."],
        "audit": "audit of made rows\nrows          180",
        "split": "leave_last_out(valid=1, test=1)",
        "notes": ["Rows <b>were</b> made."],
        "versions": {"python": "3.11.7", "keras": "3.15.1"},
        "machine": "a CPU, 2 cores",
        "seconds": {"training": 1.25, "evaluation": 0.5},
        **changes.get("about", {}),
    }
    history = {"loss": [1.0, 0.5, 0.25], "val_loss": [1.1, 0.7, 0.6]}
    texts = {
        "run.json": json.dumps(about),
        "history.json": json.dumps(changes.get("history", history)),
        "metrics.json": json.dumps([{"model": "MatrixFactorization", "rmse": 0.91, "mae": 0.7}]),
        "split.json": json.dumps(changes.get("split", {"test": {"rows": users}})),
        "config.yaml": yaml.safe_dump(
            {"model": "MatrixFactorization", "data": "made", "seed": 3, **changes.get("flags", {})}
        ),
    }
    for name, text in texts.items():
        (directory / name).write_text(text)
    pq.write_table(pa.concat_tables(tables), directory / "queries.parquet")
    return directory


@pytest.fixture
def write():
    return write_recorded


def predicted_clicks(noise, rows=400, positives=True):
    rng = np.random.default_rng(0)
    x = rng.normal(size=rows)
    labels = (rng.random(rows) < 1 / (1 + np.exp(-x))).astype(float) * positives
    logits = x + noise * np.random.default_rng(1).normal(size=rows)
    return ClickPredictions(labels, logits, 1 / (1 + np.exp(-logits)), logits)


def write_recorded_clicks(directory, noise=0.5, *, found=None, users=None, task="labels", **flags):
    """A run directory of rows without users and items, with made predictions."""
    found = predicted_clicks(noise) if found is None else found
    directory.mkdir()
    columns = {"city": np.array(["Rome", "<Oslo>"] * (len(found.labels) // 2)),
               "age": np.arange(len(found.labels))}  # fmt: skip
    about = {
        "version": 1,
        "task": task,
        "thresholds": {"best F1 of the validation rows": 0.4375},
        "findings": ["A <finding>."],
        "split": "split_examples('random')",
        "notes": ["'city' is categorical"],
        "versions": {"python": "3.11.7"},
        "machine": "a CPU, 2 cores",
        "seconds": {"training": 1.25, "evaluation": 0.5},
    }
    rows = [{"model": "mean label", "click_auc": 0.5, "log_loss": 0.69},
            {"model": "FeatureMLP", "click_auc": 0.7}]  # fmt: skip
    texts = {
        "run.json": json.dumps(about),
        "history.json": json.dumps({"loss": [0.7, 0.6], "val_auc": [0.6, 0.7]}),
        "metrics.json": json.dumps(rows),
        "split.json": json.dumps({"test": {"rows": len(found.labels)}}),
        "config.yaml": yaml.safe_dump(
            {"model": "FeatureMLP", "data": "a.csv", "seed": 3, "loss": "log_loss", **flags}
        ),
    }
    for name, text in texts.items():
        (directory / name).write_text(text)
    nothing = pa.array([], pa.string())
    pq.write_table(pa.table({"model": nothing, "user": nothing}), directory / "queries.parquet")
    pq.write_table(to_table(found, columns, users), directory / "predictions.parquet")
    return directory


@pytest.fixture
def write_clicks():
    return write_recorded_clicks


@pytest.fixture
def predicted():
    return predicted_clicks
