import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml


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
