"""One training of `recipes.py`: a data set, a model, and settings of the rules or beside them.

python benchmarks/recipes_training.py '{"data": "movielens-100k", "model": "NeuMF", ...}'
"""

import dataclasses
import functools
import json
import os
import pathlib
import sys
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from kerasrec import data, datasets, evaluation, models, runs
from kerasrec.runs.choosing import rules
from kerasrec.runs.choosing.facts import Facts
from kerasrec.runs.choosing.successive_halving import with_changes

SEED, HELD_OUT = 0, 0.1
# Rows per item, and effective number of items, of the ends.
ENDS = {"sparse": (rules.SPARSE, rules.MANY), "dense": (rules.DENSE, rules.FEW)}
TRIED = ("first", "second", "third")
# Sets, with the lowest label of a positive for classifiers. None where there are no ratings.
SETS: dict[str, str | None] = {
    "movielens-100k": ">=4",
    "ml-latest-small": ">=4",
    "movietweetings-100k": ">=8",
    "douban-monti": ">=4",
    "sasrec-ml-1m": None,
    "amazon-beauty-s3rec": None,
    "gowalla-lightgcn": None,
}


@dataclasses.dataclass(frozen=True)
class Task:
    """One training: a data set, a model, its loss, and a variant of the rules."""

    data: str
    model: str
    loss: str
    variant: str

    @property
    def name(self) -> str:
        """Return the name of the file of its result."""
        return f"{self.data}.{self.model}.{self.loss}.{self.variant}"


def tried(task: Task) -> int:
    """Return the number of settings that a search would try beside those of the rules."""
    facts = Facts(1, 1, 1, 1, "none", 1.0, 1, 1)
    loss = "softmax" if task.loss == "ranking" else task.loss
    return len(rules.alternatives(task.model, loss, facts))


def split_of(name: str) -> data.Split:
    """Return the parts: published ones, or the last rows of each user."""
    folder = pathlib.Path(os.environ["KERASREC_DATA"]) / name
    if name == "ml-latest-small":
        return data.leave_last_out(data.read(folder / "ratings.csv.gz"))
    if name == "douban-monti":
        columns: dict[str, Any] = {"user": "user", "item": "item", "label": "rating", "time": None}
        train, test = (
            data.read(folder / f"douban.{part}.csv.gz", **columns) for part in ("train", "test")
        )
    else:
        found = datasets.load(name)
        if found.split is None:
            return data.leave_last_out(found.interactions)
        if len(found.split.valid):
            return found.split
        train, test = found.split.train, found.split.test
    held = data.random_split(train, valid=HELD_OUT, test=0.0, seed=SEED)
    return data.Split(held.train, held.valid, test, "published test rows")


def prepared(task: Task) -> Any:
    """Return the encoded rows. Classifiers need labels that differ."""
    positive = SETS[task.data] if task.loss == "log_loss" else ">0"
    return rows_of(task.data, str(positive))


def choices_of(task: Task, ready: Any) -> Any:
    """Return the choices of the rules, with the settings of the task's variant in their place."""
    given: dict[str, Any] = {"loss": task.loss} if task.loss in ("mse", "log_loss") else {}
    if task.variant == "rules":
        return runs.choose(task.model, ready, **given)
    facts = Facts.of(ready)
    loss = "softmax" if task.loss == "ranking" else task.loss
    if task.variant in TRIED:
        changed = rules.alternatives(task.model, loss, facts)[TRIED.index(task.variant)]
        return with_changes(runs.choose(task.model, ready, **given), changed, "tried")
    per_item, effective = ENDS[task.variant]
    rows = round(facts.items * per_item)
    at_end = dataclasses.replace(facts, rows=rows, effective_items=effective)
    found = rules.arguments(task.model, loss, at_end)
    arguments = {name: chosen for name, (chosen, _) in found.items()}
    if task.model in ("SASRec", "GRU4Rec"):
        given["learning_rate"] = rules.sequence(at_end, length=1)["learning_rate"][0]
    return runs.choose(task.model, ready, arguments=arguments, **given)


def measure(task: Task) -> dict[str, Any]:
    """Train with the choices, and measure on the test rows, beside the baseline."""
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    keras.utils.set_random_seed(SEED)
    ready = prepared(task)
    chosen = choices_of(task, ready)
    rows = chosen.prepared(ready)
    start, used = time.perf_counter(), time.process_time()
    model = chosen.make(rows)
    rows = rows.for_model(model)
    result = runs.train(model, rows, chosen.training, verbose=0)
    cpu, wall = time.process_time() - used, time.perf_counter() - start
    figure = {"mse": "rmse", "log_loss": "auc"}.get(task.loss, "ndcg@10")
    curve = result.history[f"val_{figure}"]
    best = min(curve) if figure == "rmse" else max(curve)
    return {
        "figure": figure,
        "valid": best,
        "epochs": [result.epochs, len(curve), chosen.training.epochs],
        "cpu": cpu,
        "wall": wall,
        "settings": chosen.settings,
        **tested(model, rows, task),
    }


def tested(model: Any, ready: Any, task: Task) -> dict[str, Any]:
    """Return the figures of the test rows, and that of popularity or of the mean."""
    label = ready.schema.label
    if task.loss == "mse":
        train, test = np.asarray(ready.train[label], float), np.asarray(ready.test[label], float)
        clip = (float(train.min()), float(train.max()))
        found = evaluation.rating_errors(model, ready.test, clip=clip)
        mean = float(np.sqrt(np.mean(np.square(test - train.mean()))))
        test = {name: found[name] for name in ("rmse", "mae")}
        return {"test": test, "baseline": {"rmse": mean}}
    if task.loss == "log_loss":
        rows = {**ready.test, label: ready.positives(ready.test)}
        found = evaluation.click_metrics(model, rows)
        test = {name: found[name] for name in ("auc", "log_loss")}
        return {"test": test, "baseline": {"auc": 0.5}}
    popular = models.Popularity(ready.schema)
    popular.adapt(ready.train)
    task_of = evaluation.RankingTask(
        ready.test, [ready.train, ready.valid], k=(10, 20), items=ready.items
    )
    found, beside = (evaluation.rank(one, task_of).summary() for one in (model, popular))
    names = ("hr@10", "ndcg@10", "recall@20", "ndcg@20")
    return {
        "test": {name: found[name] for name in names},
        "baseline": {name: beside[name] for name in names},
    }


@functools.cache
def rows_of(name: str, positive: str) -> Any:
    """Return the encoded rows of a set, read once."""
    return data.prepare(split_of(name), positive=positive)


def settings_of(task: Task) -> dict[str, Any]:
    """Return the settings that the rules of today choose, as they come back from a file."""
    settings = choices_of(task, prepared(task)).settings
    return dict(json.loads(json.dumps(settings)))


def main() -> None:
    """Measure the task that is given as JSON."""
    task = Task(**json.loads(sys.argv[1]))
    found = measure(task)
    if task.variant == "rules":
        own = settings_of(task)
        for variant in (*ENDS, *TRIED[: tried(task)]):
            other = settings_of(dataclasses.replace(task, variant=variant))
            found[f"is_{variant}"] = other == own
    print(json.dumps(found))


if __name__ == "__main__":
    main()
