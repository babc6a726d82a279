"""Models of the zoo on one small split, for the tables of the README and the guide.

    python benchmarks/zoo.py                     # writes docs/benchmarks/zoo.md
    python benchmarks/zoo.py --models SASRec     # that one alone, no page
    python benchmarks/zoo.py --page              # from stored results

The data is MovieLens 100K, with the last film of each user as test and the one before it as
validation, ranked among all films that the user has not seen. All models follow the same rules: a
maximum of epochs and CPU seconds, and a stop when NDCG@10 of the validation rows no longer rises.
The best epoch by this metric is evaluated once on the test rows.
"""

import argparse
import concurrent.futures
import json
import os
import sys
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pages
import processes

from kerasrec import callbacks, data, datasets, evaluation, models, optimizers
from kerasrec.retrieval import NextItemTrainer
from kerasrec.schema import IdSequence as History
from kerasrec.schema import Schema
from kerasrec.training import keep_freed_memory

HISTORY, TIME, SEEDS = 100, "timestamp", (0, 1, 2)
# The same for all models.
EPOCHS, PATIENCE, CPU_SECONDS, CLIPNORM = 60, 6, 90, 1.0
SEQUENCES = ("SASRec", "GRU4Rec")
MODELS: dict[str, dict[str, Any]] = {
    "Popularity": {},
    "MatrixFactorization": {"embedding_dim": 32, "l2": 1e-3, "learning_rate": 0.005},
    "EmbeddingMLP": {
        "embedding_dim": 32,
        "hidden_units": (64, 32),
        "l2": 1e-3,
        "learning_rate": 0.002,
    },
    "NeuMF": {"embedding_dim": 32, "hidden_units": (64, 32), "l2": 1e-3, "learning_rate": 0.002},
    "SASRec": {"embedding_dim": 64, "num_layers": 2, "dropout": 0.3, "learning_rate": 0.002},
    "GRU4Rec": {"embedding_dim": 64, "hidden_units": (128,), "learning_rate": 0.003},
}


class Rows:
    """Encoded split of `make demo`, with a history for each held-out row."""

    def __init__(self) -> None:
        split = data.leave_last_out(datasets.load("movielens-100k").interactions)
        vocabularies = data.fit_vocabularies(split.train)
        self.schema = data.make_schema(split.train, vocabularies)
        parts = (split.train, split.valid, split.test)
        self.train, self.valid, self.test = (data.encode(p, vocabularies) for p in parts)
        history = History("history", of=self.schema.item_id.name, max_length=HISTORY)
        self.sequences = Schema(user=(*self.schema.user, history), item=self.schema.item)

    def held_out(self, part: str, schema: Schema) -> dict[str, Any]:
        """Return validation or test rows, with all earlier rows of the user as history if used."""
        columns = getattr(self, part)
        if schema is self.schema:
            return columns
        past = self.train
        if part == "test":
            past = {name: np.concatenate([past[name], self.valid[name]]) for name in past}
        return data.add_history(columns, schema, time=TIME, past=past)


class Budget(keras.callbacks.Callback):
    """Callback that stops at the end of the epoch in which the CPU seconds are spent."""

    def __init__(self, patience: keras.callbacks.EarlyStopping) -> None:
        super().__init__()
        self.patience, self.stopped = patience, "epochs"

    def on_train_begin(self, logs: Any = None) -> None:
        """Start the clock."""
        self.began = time.process_time()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Stop if the CPU seconds are spent."""
        if self.patience.stopped_epoch:
            self.stopped = "patience"
        elif time.process_time() - self.began > CPU_SECONDS:
            self.stopped = "CPU seconds"
            self.model.stop_training = True


def train(name: str, rows: Rows, seed: int) -> tuple[Any, dict[str, Any]]:
    """Return a trained model, its number of epochs, the best epoch, and the reason of the stop."""
    keras.utils.set_random_seed(seed)
    settings = dict(MODELS[name])
    rate = settings.pop("learning_rate", None)
    if name == "Popularity":
        model = models.Popularity(rows.schema)
        model.adapt(rows.train)
        return model, {"epochs": 0, "best": 0, "stopped": "-"}
    optimizer = optimizers.Adam(rate, clipnorm=CLIPNORM)
    if name in SEQUENCES:
        model = getattr(models, name)(rows.sequences, **settings)
        trainer = NextItemTrainer(model)
        trainer.compile(optimizer, jit_compile=True)
        batches = data.next_items(rows.train, model.schema, batch_size=32, time=TIME, seed=seed)
    else:
        trainer = model = getattr(models, name)(rows.schema, **settings)
        loss = keras.losses.BinaryCrossentropy(from_logits=True)
        model.compile(optimizer, loss, jit_compile=True)
        batches = data.with_negatives(rows.train, model.schema, batch_size=4096, seed=seed)
    held_out = rows.held_out("valid", model.schema)
    ranked = callbacks.RankingValidation(held_out, rows.train, ranker=model)
    stop = keras.callbacks.EarlyStopping(
        "val_ndcg@10", mode="max", patience=PATIENCE, restore_best_weights=True
    )
    budget = Budget(stop)
    keep_freed_memory()
    history = trainer.fit(
        batches, epochs=EPOCHS, callbacks=[ranked, stop, budget], shuffle=False, verbose=0
    )
    made = {"epochs": len(history.epoch), "best": stop.best_epoch + 1, "stopped": budget.stopped}
    return model, made


def measure(name: str, seed: int) -> dict[str, Any]:
    """Train, then rank the test rows."""
    rows = Rows()
    start, used = time.perf_counter(), time.process_time()
    model, made = train(name, rows, seed)
    seconds, cpu = time.perf_counter() - start, time.process_time() - used
    found = evaluation.ranking(
        model, rows.held_out("test", model.schema), seen=[rows.train, rows.valid], k=10
    )
    results = {"hr": found["hr@10"], "ndcg": found["ndcg@10"], "weights": model.count_params()}
    return {**results, **made, "seconds": seconds, "cpu": cpu}


def line(name: str, runs: list[dict[str, Any]]) -> str:
    """Return the table line of a model: mean and standard deviation over the seeds."""

    def cell(metric: str) -> str:
        values = [run[metric] for run in runs]
        spread = f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
        return f"{np.mean(values):.4f}{spread}"

    epochs = ", ".join(f"{run['best']} of {run['epochs']}" for run in runs)
    stopped = ", ".join(sorted({run["stopped"] for run in runs}))
    cpu = ", ".join(f"{run['cpu']:.0f}" for run in runs)
    weights = f"{runs[0]['weights']:,}"
    return (
        f"| `{name}` | {cell('hr')} | {cell('ndcg')} | {weights} | {epochs} | {stopped} | {cpu} |"
    )


def page(results: dict[str, list[dict[str, Any]]], made: str) -> str:
    """Return the whole page."""
    table = "\n".join(line(name, runs) for name, runs in results.items())
    settings = "\n".join(f"- `{name}`: {MODELS[name] or 'none'}" for name in results)
    return f"""# The zoo on one small split

Written by `benchmarks/zoo.py`; run it again instead of editing this page.

MovieLens 100K: the last film of each user is the test, the one before it chooses the epoch. Every
model ranks all films that the user has not seen. Mean ± standard deviation over the seeds.

| model | HR@10 | NDCG@10 | weights | best epoch by seed | stopped by | CPU s by seed |
|---|---|---|---|---|---|---|
{table}

{made}
- Seeds: {", ".join(map(str, SEEDS))}; of the weights and the batches. `Popularity` has no random
  numbers.

The rules are the same for all: `kerasrec.optimizers.Adam` with `clipnorm={CLIPNORM:g}` at a
constant rate, at most {EPOCHS} epochs and {CPU_SECONDS} CPU seconds (compilation and validation
included), a stop when NDCG@10 of the validation rows has not risen for {PATIENCE} epochs, and the
weights of the best epoch. Each model has one setting, chosen by hand beforehand.

What differs is the task that belongs to the model. The two sequence models read the user's last
{HISTORY} films, those just before the test film included, and learn from their order; the others
know training rows alone. A softmax over the whole catalogue trains the sequence models,
cross-entropy against 4 drawn films a row the others. 943 test rows are few: differences below the
standard deviation say nothing.

## Settings

{settings}
"""


def main() -> None:
    """Run the missing trainings and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--cell", nargs=2, help=argparse.SUPPRESS)
    pages.add_options(parser)
    arguments = parser.parse_args()
    if arguments.cell:
        name, seed = arguments.cell
        print(json.dumps(measure(name, int(seed))))
        return
    rules = {"epochs": EPOCHS, "patience": PATIENCE, "cpu": CPU_SECONDS, "models": arguments.models}
    made = pages.Page(
        "zoo", __file__, rules, remake=arguments.page, keep=pages.whole(parser, arguments)
    )

    def result(task: tuple[str, int]) -> dict[str, Any]:
        name, seed = task

        def run() -> dict[str, Any]:
            found = processes.measure(__file__, name, str(seed), sys.executable)
            print(name, seed, found, flush=True)
            return found

        return made.result(f"{name}-seed{seed}", run)

    names = made.settings["models"]
    tasks = [(n, s) for n in names for s in (SEEDS if n != "Popularity" else SEEDS[:1])]
    # Two at a time: only CPU seconds count.
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        found = dict(zip(tasks, pool.map(result, tasks), strict=True))
    results = {name: [found[task] for task in tasks if task[0] == name] for name in names}
    made.write(page(results, made.bullets()))


if __name__ == "__main__":
    main()
