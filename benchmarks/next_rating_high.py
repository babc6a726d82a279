"""Whether the next rating is high: a stacked LSTM over histories, beside models of ids.

    python benchmarks/next_rating_high.py                               # writes its page
    python benchmarks/next_rating_high.py --only MatrixFactorization --seed 0   # one training
    python benchmarks/next_rating_high.py --page                        # from stored results

Each training leaves a file in `--results`, and one that is broken off goes on at its last epoch. A
file counts only if settings, versions and hardware are those of the run.
"""

import argparse
import dataclasses
import os
import pathlib
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from describing import command, load, machine, versions, write
from published import stored, table_of
from sequence_training import Checkpoint, fit_with_early_stopping, times_of

from kerasrec import data, datasets, models, optimizers
from kerasrec.evaluation import auc, grouped_auc, log_loss
from kerasrec.schema import Categorical, NumericSequence, Schema
from kerasrec.schema import Sequence as History
from kerasrec.training import EveryStep
from kerasrec.types import Columns

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "benchmarks" / "next_rating_high.md"
HELD, HIGH, DRAWS = 5, 4.0, 1000
SHRINK_ITEM, SHRINK_USER = 10, 3
LSTM = "StackedLSTMClassifier"


@dataclasses.dataclass(frozen=True)
class Settings:
    """All that is set by hand for one model."""

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
    """Encoded rows, those of each user in order of time; parts are told by `part`: 0, 1, 2."""

    columns: dict[str, np.ndarray]
    part: np.ndarray
    from_end: np.ndarray
    schema: Schema

    def of(self, chosen: np.ndarray) -> dict[str, np.ndarray]:
        """The columns of some rows."""
        return {name: values[chosen] for name, values in self.columns.items()}


def read_rows(max_length: int) -> Rows:
    """MovieLens 1M: label, split, numbers of events; what is fitted, on training rows alone."""
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
    """Mean training rating of the item of each row, drawn to that of all where there are few."""
    mean, size = rating[train].mean(), items.max() + 1
    total = np.bincount(items[train], rating[train], minlength=size)
    rows = np.bincount(items[train], minlength=size)
    return ((total + SHRINK_ITEM * mean) / (rows + SHRINK_ITEM))[items]


def windows(rows: Rows, chosen: np.ndarray, width: int, seed: int) -> dict[str, np.ndarray]:
    """The rows up to a random end of each user who has more than a window of them."""
    kept = rows.of(chosen)
    _, begin, count = np.unique(kept["user_id"], return_index=True, return_counts=True)
    place = np.arange(chosen.sum()) - np.repeat(begin, count)
    shortest = np.minimum(count, width + 1)
    ends = np.random.default_rng(seed).integers(shortest, count + 1)
    inside = place < np.repeat(ends, count)
    return {name: values[inside] for name, values in kept.items()}


def step_scores(model: Any, rows: Rows, chosen: np.ndarray) -> Iterator[tuple[np.ndarray, Any]]:
    """Numbers of rows, and their logits by the chosen rows before them, block by block."""
    columns = rows.of(chosen) | {"label": np.flatnonzero(chosen).astype(np.float32)}
    steps = data.next_labels(columns, rows.schema, batch_size=64, time=None, shuffle=False)
    logits = step_function(model)
    for features, number, weight in steps:
        real = weight.numpy() > 0
        yield number.numpy()[real].astype(int), logits(features).numpy()[real]


def step_function(model: Any) -> Callable[[Any], Any]:
    """`step_logits`, compiled once a model."""
    import tensorflow as tf

    if not hasattr(model, "compiled_steps"):
        model.compiled_steps = tf.function(
            lambda features: model.step_logits(features, features["place"]), jit_compile=True
        )
    return model.compiled_steps


def scores_of(model: Any, rows: Rows, part: int, *, frozen: bool = False) -> np.ndarray:
    """Logits of the rows of a part, in the order of rows.

    Args:
        model: a model of the page.
        rows: all rows.
        part: 1 for validation, 2 for test.
        frozen: whether a history ends with the training rows, so that it knows no more ratings than
            the weights of the other models.
    """
    wanted = rows.part == part
    if not hasattr(model, "step_logits"):
        found = model.predict(inputs(rows, wanted), batch_size=8192, verbose=0)
        return np.asarray(found, np.float64)
    found = np.zeros(len(rows.part))
    pasts = [rows.part <= part]
    if frozen:
        pasts = [
            (rows.part == 0) | wanted & (rows.from_end % HELD == place) for place in range(HELD)
        ]
    for past in pasts:
        for numbers, logits in step_scores(model, rows, past):
            found[numbers] = logits
    return found[wanted]


def inputs(rows: Rows, chosen: np.ndarray) -> Columns:
    """User and item ids."""
    return {name: rows.columns[name][chosen] for name in ("user_id", "item_id")}


def train(settings: Settings, seed: int, folder: pathlib.Path) -> dict[str, Any]:
    """Scores of the test rows at the best epoch by the AUC of the validation rows."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    rows = read_rows(settings.max_length)
    training, rate = rows.part == 0, settings.learning_rate
    shared: dict[str, Any] = {"embedding_dim": settings.embedding_dim}
    loss = None
    if settings.kind == LSTM:
        model = models.StackedLSTMClassifier(
            rows.schema, **shared, hidden_units=settings.hidden_units, dropout=settings.dropout
        )
        trainer = EveryStep(model)
    else:
        shared["l2"] = settings.l2
        if settings.kind == "EmbeddingMLP":
            shared |= {"hidden_units": settings.hidden_units, "dropout": settings.dropout}
        trainer = model = getattr(models, settings.kind)(rows.schema, **shared)
        loss = keras.losses.BinaryCrossentropy(from_logits=True)

    def batches(epoch: int) -> Any:
        options = {"batch_size": settings.batch_size, "seed": 1000 * seed + epoch}
        if settings.kind == LSTM:
            columns = windows(rows, training, settings.max_length, options["seed"])
            return data.next_labels(columns, rows.schema, time=None, **options)
        return data.pointwise(rows.of(training), rows.schema, drop_remainder=True, **options)

    steps = settings.epochs * int(batches(0).cardinality())
    falling = keras.optimizers.schedules.PolynomialDecay(rate, steps, rate / 10)
    trainer.compile(optimizers.Adam(falling, global_clipnorm=1.0), loss, jit_compile=True)
    trainer.optimizer.build(trainer.trainable_variables)
    labels = rows.columns["label"]

    def validate() -> dict[str, float]:
        found = auc(labels[rows.part == 1], scores_of(model, rows, 1))
        return {"auc": round(found, 5)}

    checkpoint = Checkpoint(folder, {"settings": dataclasses.asdict(settings), "seed": seed})
    state = fit_with_early_stopping(trainer, batches, validate, settings, checkpoint, "auc")
    model.catch_up()
    result = {"scores": scores_of(model, rows, 2).round(4).tolist(), **times_of(state)}
    if settings.kind == LSTM:
        result["frozen"] = scores_of(model, rows, 2, frozen=True).round(4).tolist()
    return result


FROZEN = f"{LSTM}, histories of training rows alone"


def by_row(results: dict[str, list[dict[str, Any]]]) -> dict[str, np.ndarray]:
    """Scores `(seeds, test rows)` by row of the table."""
    found = {name: np.array([run["scores"] for run in runs]) for name, runs in results.items()}
    found[FROZEN] = np.array([run["frozen"] for run in results[LSTM]])
    return found


def resampled(
    scores: dict[str, np.ndarray], labels: np.ndarray, users: np.ndarray
) -> dict[str, np.ndarray]:
    """AUC, averaged over the seeds, in `DRAWS` resamples of the users, the same for all models."""
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
    """The middle 95%."""
    low, high = np.quantile(values, [0.025, 0.975])
    return f"{low:.4f} to {high:.4f}"


def page(results: dict[str, list[dict[str, Any]]], seeds: Sequence[int]) -> str:
    """The whole page."""
    rows = read_rows(0)
    test = rows.part == 2
    labels, users = rows.columns["label"][test], rows.columns["user_id"][test]
    scores = by_row(results)
    drawn = resampled(scores, labels, users)
    means = {n: np.array([auc(labels, run) for run in runs]) for n, runs in scores.items()}
    summary = table_of(
        [
            "model",
            "AUC",
            "sd over seeds",
            "95% interval over users",
            "AUC inside users",
            "log loss",
        ],
        [
            [
                f"**{name}**" if name == LSTM else name,
                f"{means[name].mean():.4f}",
                f"{means[name].std(ddof=1):.4f}",
                interval(drawn[name]),
                f"{np.mean([grouped_auc(labels, run, users)[0] for run in runs]):.4f}",
                f"{np.mean([log_loss(labels, run) for run in runs]):.4f}",
            ]
            for name, runs in scores.items()
        ],
    )
    others = [name for name in MODELS if name != LSTM]
    differences = table_of(
        ["AUC of", "less that of", "difference", "95% interval over users"],
        [
            [first, second, f"{means[first].mean() - means[second].mean():+.4f}",
             interval(drawn[first] - drawn[second])]
            for first in (LSTM, FROZEN) for second in others
        ],
    )  # fmt: skip
    above = all(np.quantile(drawn[LSTM] - drawn[name], 0.025) > 0 for name in others)
    runs = table_of(
        ["model", "seed", "AUC of validation", "AUC of test", "best epoch", "epochs", "training s",
         "CPU s"],
        [
            [name, seed, f"{max(f['auc'] for f in run['validation']):.4f}", f"{test_auc:.4f}",
             run["epoch"], run["epochs_trained"], f"{run['training_seconds']:.0f}",
             f"{run['training_cpu_seconds']:.0f}"]
            for name in MODELS
            for seed, run, test_auc in zip(seeds, results[name], means[name], strict=True)
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

{differences}

Goal, clearly above both on AUC: {"reached" if above else "**missed**"}. The interval is that of the
mean over the seeds, users drawn with replacement {DRAWS:,} times.

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
standardised, and the logarithm of the event's place in the history (min-max); scalers are fitted on
training rows. Nothing of it but the film is known of the row that is to be told. Our copy has no
times, only the order, so there are no gaps of time. A test row's history includes the validation
rows and the test rows before it, as it would be served; the weights are those of the training rows.
In "{FROZEN.split(", ")[1]}" it ends where training ends, so that it knows no more ratings than the
other two models, which have vectors of user and film instead. Vocabularies are those of the
training rows; a film that is not among them is unknown.

## Training

{settings}

Cross-entropy, `kerasrec.optimizers.Adam` with `global_clipnorm=1`; the rate falls linearly to a
tenth at the last planned epoch. {LSTM}: `kerasrec.training.EveryStep` on
`kerasrec.data.next_labels`, `batch_size` packed rows of `max_length` steps, every step with a
label; of a user with more steps each epoch has another window, up to a random end. The AUC of the
validation rows is taken after each epoch, and the training stops when it has not risen for more
than `patience` epochs; the best weights meet the test rows once. Settings were chosen by hand on
the validation rows.

{runs}

## Run

- Command: `python benchmarks/next_rating_high.py`
- Hardware: {machine()}
- Versions: {versions()}
- Times include compilation and validation, and grow with whatever else the machine does; "CPU s"
  are those of all cores. Each result was stored as it ended.
"""


def main() -> None:
    """Parses the flags, runs, prints, and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seed", type=int, help="this seed alone; no page")
    parser.add_argument("--only", nargs="+", choices=list(MODELS), help="some models; no page")
    parser.add_argument("--page", action="store_true", help="write the page from stored results")
    parser.add_argument(
        "--results", type=pathlib.Path, default=pathlib.Path("runs/next_rating_high")
    )
    arguments = parser.parse_args()
    seeds = list(range(arguments.seeds)) if arguments.seed is None else [arguments.seed]
    print(f"{command()}\n{machine()}; {load()}\n{versions()}")
    results: dict[str, list[dict[str, Any]]] = {}
    for name in arguments.only or MODELS:
        for seed in seeds:
            key = {
                "settings": dataclasses.asdict(MODELS[name]),
                "machine": machine(),
                "with": versions(),
            }
            checkpoint = arguments.results / f"{name}-seed{seed}-checkpoint"
            start = time.perf_counter()

            def make(name: str = name, seed: int = seed, folder: Any = checkpoint) -> Any:
                if arguments.page:
                    raise SystemExit(f"There is no result of {name}, seed {seed}.")
                return train(MODELS[name], seed, folder)

            run = stored(arguments.results / f"{name}-seed{seed}.json", key, make)
            shutil.rmtree(checkpoint, ignore_errors=True)
            results.setdefault(name, []).append(run)
            best = max(figures["auc"] for figures in run["validation"])
            print(f"{name} seed {seed}: epoch {run['epoch']}, validation AUC {best:.4f}, "
                  f"{time.perf_counter() - start:.0f} s", flush=True)  # fmt: skip
    if arguments.only or len(seeds) < 3:
        print("No page is written: that takes all models and at least 3 seeds.")
        return
    text = page(results, seeds)
    write(PAGE, text)
    print(f"\n{text}\nWrote {PAGE}")


if __name__ == "__main__":
    main()
