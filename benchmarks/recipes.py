"""What a user gets without flags, on seven data sets, by rules that were chosen without the set.

    python benchmarks/recipes.py                          # all missing trainings, and the page
    python benchmarks/recipes.py --only movielens-100k    # trainings of one set, or of one model
    python benchmarks/recipes.py --page                   # the page alone, from stored results

The rules of `kerasrec.runs.choosing.rules` interpolate between settings for sparse and for dense
data sets, by the number of rows per item. Every model is trained on every set with the settings of
the sparse end, of the dense end, and of the interpolation. Three rules follow: always sparse,
always dense, interpolated. For each set, the one that did best on the other sets is taken
(leave one set out), by NDCG@10, AUC or RMSE of the validation rows, and its test figure is
reported. "Tuned" is the setting with the best validation figure on the set itself.

Each training runs in a process of its own with one thread, and leaves a JSON file. A file counts
if its settings and the measuring code are those of today.
"""

import argparse
import concurrent.futures
import dataclasses
import functools
import json
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pages
from describing import commit, machine, table_of, versions, write

from kerasrec import data, datasets, evaluation, models, runs
from kerasrec.runs.choosing import rules
from kerasrec.runs.choosing.facts import Facts

NAME, SEED, HELD_OUT = "recipes", 0, 0.1
ENDS = {"sparse": rules.SPARSE, "dense": rules.DENSE}
VARIANTS = ("rules", *ENDS)
RANKED = ("MatrixFactorization", "EmbeddingMLP", "NeuMF", "SASRec", "GRU4Rec")
ORDERED = ("SASRec", "GRU4Rec", "StackedLSTMClassifier")
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
WITHOUT_ORDER = ("douban-monti", "gowalla-lightgcn")
# Hand-tuned figures of other pages: same rows, same ranking, NDCG@10; and the published row.
BY_HAND = {
    ("sasrec-ml-1m", "SASRec"): 0.1968,
    ("sasrec-ml-1m", "GRU4Rec"): 0.1753,
    ("amazon-beauty-s3rec", "SASRec"): 0.0506,
    ("amazon-beauty-s3rec", "GRU4Rec"): 0.0352,
}
PUBLISHED = {
    ("sasrec-ml-1m", "SASRec"): "LRURec 0.1930",
    ("sasrec-ml-1m", "GRU4Rec"): "GRU4Rec 0.1693",
    ("amazon-beauty-s3rec", "SASRec"): "BSARec 0.0611",
    ("amazon-beauty-s3rec", "GRU4Rec"): "GRU4Rec 0.0137",
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


def tasks() -> list[Task]:
    """List all trainings, the interpolated rules first."""
    found = []
    for variant in VARIANTS:
        for name, positive in SETS.items():
            for model in RANKED:
                if name not in WITHOUT_ORDER or model not in ORDERED:
                    loss = "softmax" if model in ("SASRec", "GRU4Rec") else "ranking"
                    found.append(Task(name, model, loss, variant))
            if positive is not None:
                found.append(Task(name, "MatrixFactorization", "mse", variant))
                if name not in WITHOUT_ORDER:
                    found.append(Task(name, "StackedLSTMClassifier", "log_loss", variant))
    return found


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
    """Return the choices of the rules, with those of one end of the range in its variant."""
    given: dict[str, Any] = {"loss": task.loss} if task.loss in ("mse", "log_loss") else {}
    if task.variant == "rules":
        return runs.choose(task.model, ready, **given)
    facts = Facts.of(ready)
    at_end = dataclasses.replace(facts, rows=round(facts.items * ENDS[task.variant]))
    loss = "softmax" if task.loss == "ranking" else task.loss
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
        return {"test": {"rmse": found["rmse"], "mae": found["mae"]}, "baseline": mean}
    if task.loss == "log_loss":
        rows = {**ready.test, label: ready.positives(ready.test)}
        found = evaluation.click_metrics(model, rows)
        return {"test": {"auc": found["auc"], "log_loss": found["log_loss"]}, "baseline": 0.5}
    popular = models.Popularity(ready.schema)
    popular.adapt(ready.train)
    task_of = evaluation.RankingTask(
        ready.test, [ready.train, ready.valid], k=(10, 20), items=ready.items
    )
    found, beside = (evaluation.rank(one, task_of).summary() for one in (model, popular))
    names = ("hr@10", "ndcg@10", "recall@20", "ndcg@20")
    return {"test": {name: found[name] for name in names}, "baseline": beside["ndcg@10"]}


def result_of(task: Task, *, page: bool) -> dict[str, Any] | None:
    """Return a stored result, or measure and store it. With `page`, None where there is none."""
    path = pages.RESULTS / NAME / f"{task.name}.json"
    if path.is_file():
        held: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if page or (held["source"] == source() and held["settings"] == settings_of(task)):
            return held
    if page:
        return None
    words = [sys.executable, __file__, "--cell", json.dumps(dataclasses.asdict(task))]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{task.name}: {done.stderr.strip()[-1500:]}", file=sys.stderr, flush=True)
        return None
    found = json.loads(done.stdout.strip().splitlines()[-1])
    held = {
        "source": source(),
        "commit": commit(),
        "hardware": machine(),
        "versions": versions(),
        **found,
    }
    write(path, json.dumps(held, indent=1) + "\n")
    print(f"{task.name}: {held['test']}, {held['cpu']:.0f} CPU s", flush=True)
    return held


@functools.cache
def rows_of(name: str, positive: str) -> Any:
    """Return the encoded rows of a set, read once."""
    return data.prepare(split_of(name), positive=positive)


def settings_of(task: Task) -> dict[str, Any]:
    """Return the settings that the rules of today choose, as they come back from a file."""
    settings = choices_of(task, prepared(task)).settings
    return dict(json.loads(json.dumps(settings)))


def source() -> str:
    """Hash the measuring code."""
    return pages.fingerprint(pages.modules(pathlib.Path(__file__).resolve()))


Held = Mapping[Task, Mapping[str, Any]]


def value(held: Held, task: Task) -> float | None:
    """Return the validation figure of a training, higher being better. None if it is missing."""
    same = task if task in held else dataclasses.replace(task, variant="rules")
    if same not in held or (same != task and not same_as_rules(held, task)):
        return None
    one = held[same]
    return -one["valid"] if one["figure"] == "rmse" else one["valid"]


def chosen_without(held: Held, task: Task, others: Sequence[str]) -> str:
    """Return the variant of the rules that did best on the other sets.

    Best is the highest mean of the validation figure as a share of the best one of each set.
    """
    scores: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    for name in others:
        found = {v: value(held, dataclasses.replace(task, data=name, variant=v)) for v in VARIANTS}
        if any(one is None for one in found.values()):
            continue
        best = max(one for one in found.values() if one is not None)
        for variant, one in found.items():
            share = float(one or 0) / best
            scores[variant].append(1 / share if best < 0 else share)
    if not scores["rules"]:
        return "rules"
    return max(VARIANTS, key=lambda variant: float(np.mean(scores[variant])))


def lines(held: Held) -> list[list[str]]:
    """Return the rows of the table."""
    found = []
    for task in tasks():
        if task.variant != "rules" or task not in held:
            continue
        others = [name for name in SETS if name != task.data]
        variant = chosen_without(held, task, others)
        left = dataclasses.replace(task, variant=variant)
        own = held.get(left, held[task])
        options = {
            v: one
            for v in VARIANTS
            if (one := held.get(dataclasses.replace(task, variant=v))) is not None
        }
        down = own["figure"] == "rmse"
        tuned = min(options.values(), key=lambda one: one["valid"] * (1 if down else -1))
        figure = own["figure"]
        best = BY_HAND.get((task.data, task.model), tuned["test"][figure])
        best = max(best, tuned["test"][figure]) if not down else best
        reached = own["test"][figure]
        ratio = best / reached if down else reached / best
        found.append([
            task.data,
            task.model,
            figure,
            f"{own['baseline']:.4f}",
            f"{reached:.4f} ({variant})",
            f"{held[task]['test'][figure]:.4f}",
            f"{best:.4f}",
            f"{ratio:.3f}",
            PUBLISHED.get((task.data, task.model), "-"),
            f"{own['cpu']:.0f}",
        ])  # fmt: skip
    return found


def page_of(held: Held) -> str:
    """Return the page."""
    header = [
        "data set", "model", "figure", "popularity, mean or 0.5",
        "zero flags, rules without the set",
        "zero flags, shipped", "tuned", "share of tuned", "published", "CPU s",
    ]  # fmt: skip
    rows = lines(held)
    low = [row for row in rows if float(row[7]) < 0.97]
    slow = [row for row in rows if float(row[9]) > 600]
    below = [
        row for row in rows
        if (float(row[4].split()[0]) < float(row[3])) != (row[2] == "rmse")
    ]  # fmt: skip
    every = [task for task in tasks() if task not in held]
    missing = [task for task in every if task.variant == "rules" or not same_as_rules(held, task)]
    names = ", ".join(f"`{task.name}`" for task in missing) or "none"

    def listed(some: Sequence[Sequence[str]]) -> str:
        return ", ".join(f"{row[1]} on {row[0]} ({row[2]})" for row in some) or "none"

    made = {
        name: " and ".join(sorted({str(one[name]) for one in held.values()}))
        for name in ("hardware", "versions", "commit", "source")
    }
    return f"""# What a user gets without flags

Written by `benchmarks/recipes.py`; run it again instead of editing this page.

`kerasrec fit MODEL --data ...` chooses the settings that are not given from the rows. Its rules
interpolate between a setting for sparse and one for dense data sets, by rows per item. For each set
the rule (always sparse, always dense, interpolated) is taken that did best on the validation rows
of the *other* sets. Test rows are ranked in full, those of training and validation left out.
"Tuned" is the setting with the best validation figure on the set itself, or the figure that was
tuned by hand for a published table, where that is higher. One seed.

{table_of(header, rows)}

- Below 97 % of tuned: {listed(low)}
- Over 600 CPU seconds: {listed(slow)}
- Not better than popularity, the mean or chance: {listed(below)}
- Trainings still missing: {names}

## Run

- Command: `python benchmarks/recipes.py`
- Hardware: {made["hardware"]}; one thread a training, two at a time
- Versions: {made["versions"]}
- Commit: {made["commit"]}; source {made["source"]}
"""


def same_as_rules(held: Held, task: Task) -> bool:
    """Return whether the rules choose the end of the range on this set."""
    one = held.get(dataclasses.replace(task, variant="rules"))
    return one is not None and bool(one.get(f"is_{task.variant}"))


def main() -> None:
    """Run the missing trainings and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=[], help="sets, models or variants")
    parser.add_argument("--cell", help=argparse.SUPPRESS)
    parser.add_argument("--workers", type=int, default=2, help="trainings at a time")
    pages.add_options(parser)
    arguments = parser.parse_args()
    if arguments.cell:
        task = Task(**json.loads(arguments.cell))
        found = measure(task)
        if task.variant == "rules":
            own = settings_of(task)
            for end in ENDS:
                other = settings_of(dataclasses.replace(task, variant=end))
                found[f"is_{end}"] = other == own
        print(json.dumps(found))
        return
    todo = [
        task
        for task in tasks()
        if all(word in (task.data, task.model, task.loss, task.variant) for word in arguments.only)
    ]
    held: dict[Task, dict[str, Any]] = {}

    def run(task: Task) -> None:
        if task.variant != "rules" and same_as_rules(held, task):
            return
        found = result_of(task, page=arguments.page)
        if found is not None:
            held[task] = found

    for variant in VARIANTS:  # first all of the rules, which say which others differ
        with concurrent.futures.ThreadPoolExecutor(arguments.workers) as pool:
            list(pool.map(run, [task for task in todo if task.variant == variant]))
    if not arguments.only:
        text = page_of(held)
        print(text)
        write(pages.DOCS / f"{NAME}.md", text)


if __name__ == "__main__":
    main()
