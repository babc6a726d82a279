"""The models of the zoo on one small split, for the tables of the README and the guide.

    python benchmarks/zoo.py                     # writes docs/benchmarks/zoo.md
    python benchmarks/zoo.py --models SASRec     # trains that one alone, if it is not stored
    python benchmarks/zoo.py --page              # from what is stored, and names what is not

Each training is stored in `--results`, so that a run that is broken off goes on.

MovieLens 100K, the last film of each user as test and the one before it as validation, ranked
among all films that the user has not seen. Early stopping on the validation rows chooses the epoch;
the test rows are looked at once.
"""

import argparse
import json
import os
import pathlib
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from describing import command, machine, versions, write

from kerasrec import callbacks, data, datasets, evaluation, models, optimizers
from kerasrec.retrieval import NextItem
from kerasrec.schema import Schema
from kerasrec.schema import Sequence as History

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "benchmarks" / "zoo.md"
EPOCHS, HISTORY, TIME, SEEDS = 30, 100, "timestamp", (0, 1, 2)
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
    """The split of `make demo`, encoded, with a history beside each held-out row."""

    def __init__(self) -> None:
        split = data.leave_last_out(datasets.load("movielens-100k").interactions)
        vocabularies = data.fit_vocabularies(split.train)
        self.schema = data.make_schema(split.train, vocabularies)
        parts = (split.train, split.valid, split.test)
        self.train, self.valid, self.test = (data.encode(p, vocabularies) for p in parts)
        history = History("history", of=self.schema.item_id.name, max_length=HISTORY)
        self.sequences = Schema(user=(*self.schema.user, history), item=self.schema.item)

    def held_out(self, part: str, schema: Schema) -> dict[str, Any]:
        """Validation or test rows, with all earlier rows of the user as history if it has one."""
        columns = getattr(self, part)
        if schema is self.schema:
            return columns
        past = self.train
        if part == "test":
            past = {name: np.concatenate([past[name], self.valid[name]]) for name in past}
        return data.add_history(columns, schema, time=TIME, past=past)


def train(name: str, rows: Rows, seed: int, epochs: int) -> tuple[Any, int]:
    """A trained model and the epochs it took."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    settings = dict(MODELS[name])
    rate = settings.pop("learning_rate", None)
    if name == "Popularity":
        model = models.Popularity(rows.schema)
        model.adapt(rows.train)
        return model, 0
    if name in ("SASRec", "GRU4Rec"):
        return train_sequence(getattr(models, name)(rows.sequences, **settings), rows, rate, epochs)
    model = getattr(models, name)(rows.schema, **settings)
    size = 4096
    batches = data.with_negatives(rows.train, model.schema, batch_size=size, seed=seed)
    held_out = data.with_negatives(
        rows.valid, model.schema, batch_size=size, seen=rows.train, negatives=99, shuffle=False
    ).cache()
    schedule = optimizers.inverse_time_decay(
        rate, examples=len(batches) * size, batch_size=size, epochs=EPOCHS
    )
    model.compile(
        optimizer=keras.optimizers.Adam(schedule, clipnorm=1.0),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        jit_compile=True,
    )
    stop = keras.callbacks.EarlyStopping(patience=2, restore_best_weights=True)
    history = model.fit(
        batches,
        validation_data=held_out,
        epochs=epochs,
        callbacks=[stop],
        shuffle=False,
        verbose=0,
    )
    return model, len(history.epoch)


def train_sequence(model: Any, rows: Rows, rate: float, epochs: int) -> tuple[Any, int]:
    """A softmax over the catalogue at every step; NDCG@10 of the validation rows stops it."""
    trainer = NextItem(model)
    trainer.compile(optimizers.Adam(rate, clipnorm=1.0), jit_compile=True)
    batches = data.next_items(rows.train, model.schema, batch_size=32, time=TIME)
    held_out = rows.held_out("valid", model.schema)
    ranked = callbacks.RankingValidation(held_out, rows.train, ranker=model)
    stop = keras.callbacks.EarlyStopping(
        "val_ndcg@10", mode="max", patience=8, restore_best_weights=True
    )
    history = trainer.fit(
        batches, epochs=3 * epochs, callbacks=[ranked, stop], shuffle=False, verbose=0
    )
    return model, len(history.epoch)


def measure(name: str, rows: Rows, seed: int, epochs: int) -> dict[str, float]:
    """Figures on the test rows, and the seconds of training with validation and compilation."""
    start = time.perf_counter()
    model, trained = train(name, rows, seed, epochs)
    seconds = time.perf_counter() - start
    found = evaluation.ranking(
        model, rows.held_out("test", model.schema), seen=[rows.train, rows.valid], k=10
    )
    figures = {"hr": found["hr@10"], "ndcg": found["ndcg@10"]}
    return {**figures, "epochs": trained, "seconds": seconds, "weights": model.count_params()}


def line(name: str, runs: list[dict[str, float]]) -> str:
    """The row of a model: mean and standard deviation over the seeds."""

    def cell(figure: str) -> str:
        values = [run[figure] for run in runs]
        spread = f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
        return f"{np.mean(values):.4f}{spread}"

    epochs = ", ".join(f"{run['epochs']:.0f}" for run in runs)
    seconds = ", ".join(f"{run['seconds']:.0f}" for run in runs)
    weights = f"{runs[0]['weights']:,}"
    return f"| `{name}` | {cell('hr')} | {cell('ndcg')} | {weights} | {epochs} | {seconds} |"


def page(results: dict[str, list[dict[str, float]]], missing: list[str]) -> str:
    """The whole page."""
    table = "\n".join(line(name, runs) for name, runs in results.items())
    gaps = f"\n- Not run yet (model and seed): {', '.join(missing)}" if missing else ""
    settings = "\n".join(f"- `{name}`: {MODELS[name] or 'none'}" for name in results)
    return f"""# The zoo on one small split

Written by `benchmarks/zoo.py`; run it again instead of editing this page.

MovieLens 100K: the last film of each user is the test, the one before it chooses the epoch. Every
model ranks all films that the user has not seen. Mean ± standard deviation over the seeds.

| model | HR@10 | NDCG@10 | weights | epochs by seed | training s by seed |
|---|---|---|---|---|---|
{table}

- Command: `python benchmarks/zoo.py`
- Hardware: {machine()}
- Versions: {versions()}
- Seeds: {", ".join(map(str, SEEDS))}; of the weights and the batches. `Popularity` has no random
  numbers.{gaps}

The two sequence models read the user's last {HISTORY} films, those just before the test film
included, and learn from their order; the others know training rows alone. A softmax over the whole
catalogue trains them, cross-entropy against 4 drawn films a row the others. 943 test rows are few:
differences below the standard deviation say nothing. Seconds include compilation and validation,
and whatever else the machine did.

## Settings

{settings}
"""


def main() -> None:
    """Trains what is not stored yet; writes the page once everything is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--results", type=pathlib.Path, default=pathlib.Path("runs/zoo.json"))
    parser.add_argument("--page", action="store_true", help="train nothing")
    arguments = parser.parse_args()
    print(f"{command()}\n{machine()}\n{versions()}")
    stored: dict[str, Any] = {}
    if arguments.results.is_file():
        stored = json.loads(arguments.results.read_text(encoding="utf-8"))
    rows = None
    wanted = [(m, s) for m in MODELS for s in (SEEDS if m != "Popularity" else SEEDS[:1])]
    for name, seed in wanted:
        # A result counts for the settings it was made with.
        key = json.dumps([name, seed, EPOCHS, HISTORY, MODELS[name]])
        if key not in stored and name in arguments.models and not arguments.page:
            rows = rows or Rows()
            stored[key] = measure(name, rows, seed, EPOCHS)
            write(arguments.results, json.dumps(stored, indent=1))
            print(name, seed, stored[key], flush=True)
    results: dict[str, list[dict[str, float]]] = {}
    missing = []
    for name, seed in wanted:
        key = json.dumps([name, seed, EPOCHS, HISTORY, MODELS[name]])
        if key in stored:
            results.setdefault(name, []).append(stored[key])
        else:
            missing.append(f"{name} {seed}")
    print(page(results, missing))
    if missing and not arguments.page:
        print(f"No page is written, there is no result of: {', '.join(missing)}")
        return
    write(PAGE, page(results, missing))
    print(f"Wrote {PAGE}")


if __name__ == "__main__":
    main()
