"""Prediction of high ratings: a stacked LSTM over histories, compared with models of ids.

    python benchmarks/next_rating_high.py                               # writes its page
    python benchmarks/next_rating_high.py --only MatrixFactorization    # that model alone, no page
    python benchmarks/next_rating_high.py --page                        # from stored results

Every model tries the same number of learning rates on the validation rows, each for a third of its
epochs. The best one is then trained with every seed. An interrupted training resumes at its last
epoch.
"""

import argparse
import concurrent.futures
import dataclasses
import json
import math
import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pages
from describing import table_of
from sequence_training import Checkpoint, fit_with_early_stopping, times_of

from kerasrec import data, datasets, models, optimizers
from kerasrec.evaluation import auc, log_loss
from kerasrec.evaluation.clicks.scores import grouped_auc
from kerasrec.schema import Categorical, NumericSequence, Schema
from kerasrec.schema import IdSequence as History
from kerasrec.training import StepwiseTrainer
from kerasrec.types import Columns

HELD, HIGH, DRAWS = 5, 4.0, 400
# Learning rates that each model tries, as multiples of the one below; and their share of epochs.
FACTORS, TRIAL = (0.5, 1.0, 2.0), 3
SHRINK_ITEM, SHRINK_USER = 10, 3
LSTM = "StackedLSTMClassifier"
# Rows that a score may use, by the number of the last part.
KNOWN = {"all": "all rows before", "both": "training and validation rows", "train": "training rows"}


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of one model."""

    kind: str
    embedding_dim: int
    hidden_units: Sequence[int] = ()
    max_length: int = 0
    dropout: float = 0.0
    l2: float = 0.0
    learning_rate: float = 1e-3
    batch_size: int = 4096
    epochs: int = 20
    every: int = 1
    patience: int = 3


MODELS = {
    LSTM: Settings(
        LSTM,
        64,
        (128, 64),
        max_length=200,
        dropout=0.3,
        learning_rate=2e-3,
        batch_size=32,
        epochs=14,
    ),
    "MatrixFactorization": Settings("MatrixFactorization", 32, l2=0.02, learning_rate=3e-3),
    "EmbeddingMLP": Settings(
        "EmbeddingMLP", 32, (64, 32), dropout=0.2, l2=0.005, learning_rate=1e-3
    ),
}


@dataclasses.dataclass(frozen=True)
class Rows:
    """Encoded rows, sorted by time within each user, with `part`: 0, 1, 2."""

    columns: dict[str, np.ndarray]
    part: np.ndarray
    from_end: np.ndarray
    schema: Schema

    def of(self, chosen: np.ndarray) -> dict[str, np.ndarray]:
        """Return the columns of some rows."""
        return {name: values[chosen] for name, values in self.columns.items()}


def read_rows(max_length: int) -> Rows:
    """Read MovieLens 1M: labels, splits, event numbers; statistics from training rows only."""
    rows = datasets.load("movielens-1m").interactions
    split = data.leave_last_out(rows, valid=HELD, test=HELD)
    vocabularies = data.fit_vocabularies(split.train)
    parts = [data.encode(part, vocabularies) for part in (split.train, split.valid, split.test)]
    found = {n: np.concatenate([part[n] for part in parts]) for n in parts[0]}
    part = np.repeat(np.arange(3), [len(one[rows.user]) for one in parts])
    order = np.lexsort((found["time_rank"], found["user_id"]))
    found, part = {n: values[order] for n, values in found.items()}, part[order]
    rating = found.pop("rating").astype(np.float64)
    train = part == 0
    _, begin, count = np.unique(found["user_id"], return_index=True, return_counts=True)
    place = np.arange(len(part)) - np.repeat(begin, count)
    places = data.MinMaxScaler.fit(np.log1p(place[train]))
    found |= {
        "label": (rating >= HIGH).astype(np.float32),
        "event_place": places.transform(np.log1p(place)),
    }
    level = item_levels(found["item_id"], rating, train)
    above = np.cumsum(rating - level)
    above -= np.repeat(np.concatenate([[0.0], above])[begin], count)  # of this user alone
    numbers = {
        "event_rating": rating,
        "event_level": level,
        "event_residual": rating - level,
        "event_generosity": above / (place + 1 + SHRINK_USER),
    }
    for name, values in numbers.items():
        found[name] = data.StandardScaler.fit(values[train]).transform(values)
    user, item = (Categorical(n, vocabularies[n].num_ids) for n in ("user_id", "item_id"))
    if not max_length:
        schema = Schema(user=user, item=item)
    else:
        history = History("history", of="item_id", max_length=max_length)
        events = [
            NumericSequence(f"{name}s", of=name, max_length=max_length)
            for name in (*numbers, "event_place")
        ]
        schema = Schema(user=(user, history, *events), item=item)
    return Rows(found, part, np.repeat(count, count) - 1 - place, schema)


def item_levels(items: np.ndarray, rating: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Return the shrunken mean training rating of the item of each row."""
    mean, size = rating[train].mean(), items.max() + 1
    total = np.bincount(items[train], rating[train], minlength=size)
    rows = np.bincount(items[train], minlength=size)
    return ((total + SHRINK_ITEM * mean) / (rows + SHRINK_ITEM))[items]


def windows(rows: Rows, chosen: np.ndarray, width: int, seed: int) -> dict[str, np.ndarray]:
    """Return the rows up to a random end of each user who has more than a window of them."""
    kept = rows.of(chosen)
    _, begin, count = np.unique(kept["user_id"], return_index=True, return_counts=True)
    place = np.arange(chosen.sum()) - np.repeat(begin, count)
    shortest = np.minimum(count, width + 1)
    ends = np.random.default_rng(seed).integers(shortest, count + 1)
    inside = place < np.repeat(ends, count)
    return {name: values[inside] for name, values in kept.items()}


def step_scores(model: Any, rows: Rows, chosen: np.ndarray) -> Iterator[tuple[np.ndarray, Any]]:
    """Return row numbers and their logits given the chosen earlier rows, block by block."""
    columns = rows.of(chosen) | {"label": np.flatnonzero(chosen).astype(np.float32)}
    steps = data.next_labels(columns, rows.schema, batch_size=64, time=None, shuffle=False)
    logits = step_function(model)
    for features, number, weight in steps:
        real = weight.numpy() > 0
        yield number.numpy()[real].astype(int), logits(features).numpy()[real]


def step_function(model: Any) -> Callable[[Any], Any]:
    """Return `step_logits`, compiled once per model."""
    import tensorflow as tf

    if not hasattr(model, "compiled_steps"):
        model.compiled_steps = tf.function(
            lambda features: model.step_logits(features, features["position"]), jit_compile=True
        )
    return model.compiled_steps


def scores_of(model: Any, rows: Rows, part: int, *, known: int | None = None) -> np.ndarray:
    """Return the logits of the rows of a part, in row order.

    Args:
        model: a model of the page.
        rows: all rows.
        part: 1 for validation, 2 for test.
        known: the last part whose rows a history may hold, so that it has no more ratings than the
            weights of the other models; None for all rows before.
    """
    wanted = rows.part == part
    if not hasattr(model, "step_logits"):
        found = model.predict(inputs(rows, wanted), batch_size=8192, verbose=0)
        return np.asarray(found, np.float64)
    found = np.zeros(len(rows.part))
    pasts = [rows.part <= part]
    if known is not None:
        pasts = [
            (rows.part <= known) | wanted & (rows.from_end % HELD == place) for place in range(HELD)
        ]
    for past in pasts:
        for numbers, logits in step_scores(model, rows, past):
            found[numbers] = logits
    return found[wanted]


def inputs(rows: Rows, chosen: np.ndarray) -> Columns:
    """Return user and item ids."""
    return {name: rows.columns[name][chosen] for name in ("user_id", "item_id")}


def compiled(settings: Settings, rows: Rows, steps: int) -> tuple[Any, Any]:
    """Return a model with fresh weights and its compiled trainer."""
    shared: dict[str, Any] = {"embedding_dim": settings.embedding_dim}
    loss = None
    if settings.kind == LSTM:
        model = models.StackedLSTMClassifier(
            rows.schema, **shared, hidden_units=settings.hidden_units, dropout=settings.dropout
        )
        trainer = StepwiseTrainer(model)
    else:
        shared["l2"] = settings.l2
        if settings.kind == "EmbeddingMLP":
            shared |= {"hidden_units": settings.hidden_units, "dropout": settings.dropout}
        trainer = model = getattr(models, settings.kind)(rows.schema, **shared)
        loss = keras.losses.BinaryCrossentropy(from_logits=True)
    rate = settings.learning_rate
    falling = keras.optimizers.schedules.PolynomialDecay(rate, steps, rate / 10)
    trainer.compile(optimizers.Adam(falling, global_clipnorm=1.0), loss, jit_compile=True)
    trainer.optimizer.build(trainer.trainable_variables)
    return model, trainer


def batches(settings: Settings, rows: Rows, chosen: np.ndarray, seed: int) -> Any:
    """Return the batches of an epoch over the chosen rows."""
    options = {"batch_size": settings.batch_size, "seed": seed}
    if settings.kind == LSTM:
        columns = windows(rows, chosen, settings.max_length, seed)
        return data.next_labels(columns, rows.schema, time=None, **options)
    return data.pointwise(rows.of(chosen), rows.schema, drop_remainder=True, **options)


def train(settings: Settings, seed: int, folder: pathlib.Path) -> dict[str, Any]:
    """Return the scores of the test rows at the best epoch by the AUC of the validation rows."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    rows = read_rows(settings.max_length)
    training = rows.part == 0
    steps = int(batches(settings, rows, training, 0).cardinality())
    model, trainer = compiled(settings, rows, settings.epochs * steps)
    labels = rows.columns["label"]

    def validate() -> dict[str, float]:
        found = auc(labels[rows.part == 1], scores_of(model, rows, 1))
        return {"auc": round(found, 5)}

    checkpoint = Checkpoint(folder, {"settings": dataclasses.asdict(settings), "seed": seed})
    state = fit_with_early_stopping(
        trainer,
        lambda epoch: batches(settings, rows, training, 1000 * seed + epoch),
        validate,
        settings,
        checkpoint,
        "auc",
    )
    result = {"train": scores_of(model, rows, 2, known=0), **times_of(state)}
    if settings.kind == LSTM:
        result["both"] = scores_of(model, rows, 2, known=1)
        result["all"] = scores_of(model, rows, 2)
    else:
        result["both"] = refitted(settings, rows, seed, state["best"])
    rounded = {name: result[name].round(4).tolist() for name in KNOWN if name in result}
    return {**result, **rounded}


def refitted(settings: Settings, rows: Rows, seed: int, epochs: int) -> np.ndarray:
    """Retrain on training and validation rows for some epochs; return the test scores."""
    keras.utils.set_random_seed(seed)
    chosen = rows.part <= 1
    steps = int(batches(settings, rows, chosen, 0).cardinality())
    model, trainer = compiled(settings, rows, settings.epochs * steps)
    for epoch in range(epochs):
        found = batches(settings, rows, chosen, 1000 * seed + epoch)
        trainer.fit(found, initial_epoch=epoch, epochs=epoch + 1, shuffle=False, verbose=0)
    return scores_of(model, rows, 2)


def trials(settings: Settings) -> list[Settings]:
    """Return the settings that a model tries on the validation rows."""
    short = dataclasses.replace(settings, epochs=math.ceil(settings.epochs / TRIAL))
    rates = [factor * settings.learning_rate for factor in FACTORS]
    return [dataclasses.replace(short, learning_rate=rate) for rate in rates]


def reached(run: dict[str, Any]) -> float:
    """Return the best AUC of the validation rows in a training."""
    return max(figures["auc"] for figures in run["validation"])


def chosen(settings: Settings, tried: Sequence[dict[str, Any]]) -> Settings:
    """Return the planned settings with the rate of the best trial."""
    best = int(np.argmax([reached(run) for run in tried]))
    return dataclasses.replace(settings, learning_rate=FACTORS[best] * settings.learning_rate)


def by_row(results: dict[str, list[dict[str, Any]]]) -> dict[str, np.ndarray]:
    """Return the scores `(seeds, test rows)` by row of the table."""
    return {
        f"{name}, {text}": np.array([run[known] for run in runs])
        for known, text in KNOWN.items()
        for name, runs in results.items()
        if known in runs[0]
    }


def resampled(
    scores: dict[str, np.ndarray], labels: np.ndarray, users: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the AUC, averaged over the seeds, in `DRAWS` shared resamples of the users."""
    _, user = np.unique(users, return_inverse=True)
    own = np.split(np.argsort(user, kind="stable"), np.cumsum(np.bincount(user))[:-1])
    rng = np.random.default_rng(0)
    found: dict[str, list[float]] = {name: [] for name in scores}
    for _ in range(DRAWS):
        rows = np.concatenate([own[one] for one in rng.integers(0, len(own), len(own))])
        for name, runs in scores.items():
            found[name].append(float(np.mean([auc(labels[rows], run[rows]) for run in runs])))
    return {name: np.array(values) for name, values in found.items()}


def interval(values: np.ndarray) -> str:
    """Return the central 95%."""
    low, high = np.quantile(values, [0.025, 0.975])
    return f"{low:.4f} to {high:.4f}"


def differences(drawn: dict[str, np.ndarray], means: dict[str, np.ndarray]) -> str:
    """Return the table of the differences between models that know the same rows."""
    others = [name for name in MODELS if name != LSTM]
    pairs = [
        (f"{LSTM}, {KNOWN[known]}", f"{other}, {KNOWN[known]}")
        for known in ("both", "train")
        for other in others
    ]
    pairs += [(f"{LSTM}, {KNOWN['all']}", f"{other}, {KNOWN['both']}") for other in others]
    return table_of(
        ["AUC of", "less that of", "difference", "95% interval over users"],
        [
            [first, second, f"{means[first].mean() - means[second].mean():+.4f}",
             interval(drawn[first] - drawn[second])]
            for first, second in pairs
        ],
    )  # fmt: skip


def page(
    results: dict[str, list[dict[str, Any]]],
    tried: dict[str, list[dict[str, Any]]],
    seeds: Sequence[int],
    made: str,
) -> str:
    """Return the whole page."""
    rows = read_rows(0)
    test = rows.part == 2
    labels, users = rows.columns["label"][test], rows.columns["user_id"][test]
    scores = by_row(results)
    drawn = resampled(scores, labels, users)
    means = {n: np.array([auc(labels, run) for run in runs]) for n, runs in scores.items()}
    summary = table_of(
        ["model, rows it knows", "AUC", "sd over seeds", "95% interval over users",
         "AUC inside users", "log loss"],
        [
            [
                name,
                f"{means[name].mean():.4f}",
                f"{means[name].std(ddof=1):.4f}",
                interval(drawn[name]),
                f"{np.mean([grouped_auc(labels, run, users)[0] for run in runs]):.4f}",
                f"{np.mean([log_loss(labels, run) for run in runs]):.4f}",
            ]
            for name, runs in scores.items()
        ],
    )  # fmt: skip
    runs = table_of(
        ["model", "seed", "AUC of validation", "AUC of test, training rows known", "best epoch",
         "epochs", "training s", "CPU s"],
        [
            [name, seed, f"{reached(run):.4f}", f"{auc(labels, np.array(run['train'])):.4f}",
             run["epoch"], run["epochs_trained"], f"{run['training_seconds']:.0f}",
             f"{run['training_cpu_seconds']:.0f}"]
            for name in MODELS
            for seed, run in zip(seeds, results[name], strict=True)
        ],
    )  # fmt: skip
    rates = table_of(
        ["model", *(f"rate x {factor:g}" for factor in FACTORS), "chosen rate"],
        [
            [name, *(f"{reached(run):.4f}" for run in tried[name]),
             f"{chosen(MODELS[name], tried[name]).learning_rate:g}"]
            for name in MODELS
        ],
    )  # fmt: skip
    fields = [field.name for field in dataclasses.fields(Settings) if field.name != "kind"]
    settings = table_of(
        ["setting", *MODELS],
        [[f"`{n}`", *(getattr(one, n) or "-" for one in MODELS.values())] for n in fields],
    )
    return f"""# Whether the next rating is high

Written by `benchmarks/next_rating_high.py`; run it again instead of editing this page.

{summary}

{differences(drawn, means)}

Compare models that know the same rows. The intervals are those of the mean over the seeds, users
drawn with replacement {DRAWS:,} times; where one holds 0, the models are level. In the last two
lines the LSTM has read more: the user's test ratings before the one in question.

## What is measured

MovieLens 1M, {len(rows.part):,} known ratings of {len(np.unique(rows.columns["user_id"])):,} users,
in the order in which each user gave them. The label of a row is 1 if the rating is {HIGH:g} or more
({labels.mean():.1%} of the test rows). Each user's last {HELD} rows are the test, the {HELD} before
them the validation, the rest is for training. AUC is that of all test rows together; "inside users"
is the AUC of each user who has both labels, weighted by rows.

{LSTM} knows the {MODELS[LSTM].max_length} ratings before the row at most, and the film that is
rated, not the user's id. Of each event it reads the film, the rating, the film's level (its mean
training rating, as if {SHRINK_ITEM} more had been average), the rating less the level, the user's
generosity so far (the mean of these differences, as if {SHRINK_USER} more had been 0), all four
standardised, and the logarithm of the event's position in the history (min-max); scalers are fitted
on training rows. Nothing of it but the film is known of the row to predict. Our copy has no times,
only the order. The other two models have vectors of user and film instead.

- {KNOWN["train"].capitalize()}: the LSTM's history ends with the training rows; the other models
  are trained on them.
- {KNOWN["both"].capitalize()}: the history goes on with the validation rows; the other models are
  trained anew on both, for the number of epochs that the validation had chosen. The LSTM's weights
  stay those of the training rows.
- {KNOWN["all"].capitalize()}: the history has the test rows before the one in question as well, as
  it would be served.

Vocabularies are those of the training rows; a film that is not among them is unknown.

## Training

{settings}

Each model tried {len(FACTORS)} learning rates with seed {seeds[0]} for a third of its epochs; AUC
of the validation rows:

{rates}

Cross-entropy, `kerasrec.optimizers.Adam` with `global_clipnorm=1`; the rate falls linearly to a
tenth at the last planned epoch. {LSTM}: `kerasrec.training.StepwiseTrainer` on
`kerasrec.data.next_labels`, `batch_size` packed rows of `max_length` steps, every step with a
label; of a user with more steps each epoch has another window, up to a random end. The AUC of the
validation rows is taken after each epoch, and the training stops when it has not risen for more
than `patience` epochs; the best weights meet the test rows once. The other settings were chosen by
hand on the validation rows.

{runs}

## Run

{made}
- Times include compilation and validation. Two trainings ran at a time; "CPU s" are those of all
  cores.
"""


def job(name: str, settings: Settings, seed: int, folder: pathlib.Path) -> dict[str, Any]:
    """Train in a separate process."""
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / "result.json"
    words = [json.dumps(dataclasses.asdict(settings)), str(seed), str(folder), str(out)]
    done = subprocess.run(
        [sys.executable, __file__, "--cell", *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(pages.ROOT)},
    )
    if done.returncode:
        raise SystemExit(f"{name}, seed {seed}: {done.stderr.strip()[-2000:]}")
    found = json.loads(out.read_text(encoding="utf-8"))
    shutil.rmtree(folder)
    print(f"{name}, rate {settings.learning_rate:g}, seed {seed}: {reached(found):.4f}", flush=True)
    return found


def main() -> None:
    """Run the missing trainings and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=list(MODELS), help="some models; no page")
    parser.add_argument("--cell", nargs=4, help=argparse.SUPPRESS)
    pages.add_options(parser)
    arguments = parser.parse_args()
    if arguments.cell:
        settings, seed, folder, out = arguments.cell
        found = train(Settings(**json.loads(settings)), int(seed), pathlib.Path(folder))
        pathlib.Path(out).write_text(json.dumps(found), encoding="utf-8")
        return
    names = list(arguments.only or MODELS)
    whole = {name: dataclasses.asdict(MODELS[name]) for name in names}
    made = pages.Page(
        "next_rating_high",
        __file__,
        {"seeds": arguments.seeds, "models": whole, "factors": FACTORS},
        remake=arguments.page,
        keep=pages.whole(parser, arguments),
    )
    seeds = made.settings["seeds"]

    def result(task: tuple[str, str, Settings, int]) -> dict[str, Any]:
        label, name, settings, seed = task
        folder = made.folder / f"{label}-checkpoint"
        return made.result(label, lambda: job(name, settings, seed, folder))

    # The longest first, two at a time: a training of this size keeps one core busy.
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        tasks = [
            (f"{name}-trial{number}", name, settings, seeds[0])
            for name in names
            for number, settings in enumerate(trials(MODELS[name]))
        ]
        found = iter(list(pool.map(result, tasks)))
        tried = {name: [next(found) for _ in FACTORS] for name in names}
        tasks = [
            (f"{name}-seed{seed}", name, chosen(MODELS[name], tried[name]), seed)
            for name in names
            for seed in seeds
        ]
        found = iter(list(pool.map(result, tasks)))
        results = {name: [next(found) for _ in seeds] for name in names}
    if names != list(MODELS):
        print("No page is written: that takes all models.")
        return
    made.write(page(results, tried, seeds, made.bullets()))


if __name__ == "__main__":
    main()
