"""Exploding gradients: three trainings that diverge, and the effect of each remedy.

    python benchmarks/exploding_gradients.py                         # all; writes page and picture
    python benchmarks/exploding_gradients.py --task lstm --seeds 0   # a part of it, no page
    python benchmarks/exploding_gradients.py --page                  # from stored results

The tasks are plain matrix factorisation on MovieLens 100K, by the full gradient and by stochastic
gradients, and an LSTM over histories of 200 events. All runs of a task have the same learning rate,
the same data and, for a seed, the same initial weights and order of batches. They differ only in
the remedy.
"""

import argparse
import dataclasses
import math
import os
import pathlib
import re
from collections.abc import Callable, Iterator
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import pages
import tensorflow as tf

from kerasrec import data
from kerasrec.datasets import load
from kerasrec.layers import Embedding
from kerasrec.models import MatrixFactorization
from kerasrec.optimizers import SGD, ClippyAdagrad, ClipWeights, WarmUp, inverse_time_decay

NONE, TOGETHER, WARM_UP = "no remedy", "all together", "warm-up"
Features = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Strengths:
    """Strength of each remedy in a task."""

    clipnorm: float
    clipvalue: float
    global_clipnorm: float
    adaptive_clip: float
    clippy: float
    weight: float
    max_norm: float
    decay_rate: float
    warmup_steps: int


@dataclasses.dataclass(frozen=True)
class Task:
    """A training task: data, model, and a learning rate at which it diverges without a remedy."""

    name: str
    title: str
    make_model: Callable[[], keras.Model]
    features: Features
    labels: np.ndarray
    batch: int
    steps: int
    every: int
    rate: float
    strengths: Strengths


@dataclasses.dataclass(frozen=True)
class Curve:
    """Loss over all rows before training and after every `every` steps, and the clipped share."""

    losses: list[float]
    clipped: float | None

    @property
    def final(self) -> float:
        """Return the last loss; infinite if it is NaN."""
        return self.losses[-1] if math.isfinite(self.losses[-1]) else math.inf


def remedies(task: Task) -> dict[str, tuple[Callable[[], Any], Any]]:
    """Return by name a function that creates the optimizer, and a constraint or None."""
    rate, s = task.rate, task.strengths
    limit, unit = ClipWeights(s.weight), keras.constraints.UnitNorm
    longest = keras.constraints.MaxNorm

    def sgd(learning_rate: Any = rate, **arguments: Any) -> Callable[[], SGD]:
        return lambda: SGD(learning_rate, **arguments)

    def decay(warmup_steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
        return inverse_time_decay(
            rate,
            examples=task.steps,
            batch_size=1,
            epochs=1,
            decay_rate=s.decay_rate,
            warmup_steps=warmup_steps,
            verbose=0,
        )

    def clippy() -> ClippyAdagrad:
        return ClippyAdagrad(rate, absolute_threshold=s.clippy, export_clipping_factors=True)

    return {
        NONE: (sgd(), None),
        f"clipnorm={s.clipnorm:g}": (sgd(clipnorm=s.clipnorm), None),
        f"clipvalue={s.clipvalue:g}": (sgd(clipvalue=s.clipvalue), None),
        f"global_clipnorm={s.global_clipnorm:g}": (sgd(global_clipnorm=s.global_clipnorm), None),
        f"adaptive_clip={s.adaptive_clip:g}": (sgd(adaptive_clip=s.adaptive_clip), None),
        f"ClippyAdagrad, threshold {s.clippy:g}": (clippy, None),
        f"ClipWeights({s.weight:g})": (sgd(row_constraint=limit), limit),
        f"MaxNorm({s.max_norm:g})": (
            sgd(row_constraint=longest(s.max_norm, axis=1)),
            longest(s.max_norm, axis=0),
        ),
        "UnitNorm": (sgd(row_constraint=unit(axis=1)), unit(axis=0)),
        f"inverse time decay to 1/{1 + s.decay_rate:g}": (sgd(decay(0)), None),
        f"{WARM_UP}, {s.warmup_steps} steps": (sgd(WarmUp(rate, s.warmup_steps)), None),
        TOGETHER: (
            sgd(decay(s.warmup_steps), clipnorm=s.clipnorm, row_constraint=limit),
            limit,
        ),
    }


class ClippedSteps:
    """Counter of the steps in which clipping shortened the gradient of any variable."""

    def __init__(self) -> None:
        self.count = tf.Variable(0)

    def before_update(self, variables: Any, summed: list[Any], clipped: list[Any]) -> None:
        """Record the gradients before an update, see `SparseUpdates.watch`."""
        shortened = [
            _length(after) < (1 - 1e-6) * _length(before)
            for before, after in zip(summed, clipped, strict=True)
        ]
        self.count.assign_add(tf.cast(tf.reduce_any(shortened), "int32"))

    def after_update(self, *arguments: Any) -> None:
        """Do nothing."""


def _length(gradient: Any) -> tf.Tensor:
    """Return the norm of a tensor or of `Rows`."""
    if isinstance(gradient, tf.Tensor):
        return tf.norm(gradient)
    return tf.norm(gradient.sums) * gradient.scale


def batches(task: Task, seed: int) -> Iterator[np.ndarray]:
    """Yield the row numbers of each batch, reshuffled in each epoch."""
    rng, rows = np.random.default_rng(seed), len(task.labels)
    if task.batch >= rows:
        while True:
            yield np.arange(rows)
    while True:
        order = rng.permutation(rows)
        for start in range(0, rows - task.batch + 1, task.batch):
            yield order[start : start + task.batch]


def train(task: Task, remedy: str, seeds: list[int]) -> list[Curve]:
    """Train once per seed, in functions that are compiled once."""
    make_optimizer, constraint = remedies(task)[remedy]
    model, optimizer = task.make_model(), make_optimizer()
    tables = [layer.embeddings for layer in model._flatten_layers() if isinstance(layer, Embedding)]
    for variable in model.trainable_variables:
        is_table = any(variable is table for table in tables)
        # A bias of length 1 would be useless.
        is_bias = remedy == "UnitNorm" and len(variable.shape) == 1
        if not is_table and not is_bias:
            variable.constraint = constraint
    optimizer.build(model.trainable_variables)
    fresh = [np.asarray(variable) for variable in optimizer.variables]
    counter = ClippedSteps()
    optimizer.watch(counter)

    def error(features: Any, labels: tf.Tensor, training: bool) -> tf.Tensor:
        return tf.reduce_mean(tf.square(model(features, training=training) - labels))

    @tf.function
    def step(features: Any, labels: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            loss = error(features, labels, True) + sum(model.losses)
        variables = model.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)

    loss = tf.function(lambda features, labels: error(features, labels, False))
    everything = {name: tf.constant(values) for name, values in task.features.items()}
    labels = tf.constant(task.labels)
    curves = []
    for seed in seeds:
        keras.utils.set_random_seed(seed)
        model.set_weights(task.make_model().get_weights())
        for variable, value in zip(optimizer.variables, fresh, strict=True):
            variable.assign(value)
        counter.count.assign(0)
        losses, clippy = [float(loss(everything, labels))], 0
        for number, rows in zip(range(1, task.steps + 1), batches(task, seed), strict=False):
            step({k: v[rows] for k, v in task.features.items()}, tf.constant(task.labels[rows]))
            if isinstance(optimizer, ClippyAdagrad):
                clippy += min(float(factor) for factor in optimizer.clipping_factors) < 1
            if number % task.every == 0:
                losses.append(float(loss(everything, labels)))
                if not math.isfinite(losses[-1]):
                    break
        clips = "clip" in remedy or remedy == TOGETHER
        share = (int(counter.count) + clippy) / number
        curves.append(Curve(losses, share if clips or clippy else None))
    return curves


def tasks() -> dict[str, Task]:
    """Return the three tasks."""
    interactions = load("movielens-100k").interactions
    vocabularies = data.fit_vocabularies(interactions)
    schema = data.make_schema(interactions, vocabularies)
    columns = data.encode(interactions, vocabularies)
    ratings = columns[schema.label].astype("float32")
    centred = ratings - ratings.mean()
    pairs = {f.name: columns[f.name] for f in (schema.user_id, schema.item_id)}

    def factorization() -> keras.Model:
        return MatrixFactorization(
            schema, embedding_dim=MF_DIM, use_bias=False, stddev=MF_STDDEV, l2=MF_L2
        )

    histories, targets = windows(columns, schema, centred)
    items = schema.item_id.num_ids

    def recurrent() -> keras.Model:
        normal = keras.initializers.RandomNormal(stddev=1.0)
        ids = keras.Input((LENGTH,), dtype="int32", name="items")
        last = keras.Input((LENGTH,), name="ratings")
        vectors = Embedding(items, LSTM_DIM, embeddings_initializer=normal)(ids)
        steps = keras.layers.Concatenate()([vectors, keras.layers.Reshape((LENGTH, 1))(last)])
        states = keras.layers.LSTM(
            LSTM_UNITS,
            return_sequences=True,
            recurrent_initializer=keras.initializers.Orthogonal(LSTM_GAIN),
        )(steps)
        scores = keras.layers.Dense(1, kernel_initializer=normal)(states)
        scores = keras.layers.Reshape((LENGTH,))(scores)
        return keras.Model({"items": ids, "ratings": last}, scores)

    return {
        "full": Task(
            "full", "Matrix factorisation, full gradient", factorization, pairs, centred,
            batch=len(centred), steps=60, every=2, rate=300.0,
            strengths=Strengths(
                clipnorm=0.01, clipvalue=1e-3, global_clipnorm=0.01, adaptive_clip=3e-4,
                clippy=0.1, weight=0.3, max_norm=1.0, decay_rate=59.0, warmup_steps=30,
            ),
        ),
        "sgd": Task(
            "sgd", "Matrix factorisation, SGD", factorization, pairs, centred,
            batch=1000, steps=200, every=5, rate=50.0,
            strengths=Strengths(
                clipnorm=0.1, clipvalue=1e-2, global_clipnorm=0.1, adaptive_clip=3e-3,
                clippy=0.1, weight=0.3, max_norm=1.0, decay_rate=99.0, warmup_steps=100,
            ),
        ),
        "lstm": Task(
            "lstm", f"LSTM over {LENGTH} events", recurrent, histories, targets,
            batch=32, steps=60, every=4, rate=0.9,
            strengths=Strengths(
                clipnorm=0.1, clipvalue=0.01, global_clipnorm=0.1, adaptive_clip=0.05,
                clippy=0.01, weight=0.2, max_norm=0.5, decay_rate=19.0, warmup_steps=40,
            ),
        ),
    }  # fmt: skip


MF_DIM, MF_STDDEV, MF_L2 = 16, 1.0, 0.1
LENGTH, LSTM_DIM, LSTM_UNITS, LSTM_GAIN = 200, 16, 16, 2.0


def windows(columns: Any, schema: Any, centred: np.ndarray) -> tuple[Features, np.ndarray]:
    """Return windows of LENGTH events of one user: items, previous ratings, ratings."""
    users, times = columns[schema.user_id.name], columns["timestamp"]
    order = np.lexsort((times, users))
    items, ratings, found = [], [], []
    for rows in np.split(order, np.flatnonzero(np.diff(users[order])) + 1):
        for start in range(0, len(rows) - LENGTH + 1, LENGTH):
            found.append(rows[start : start + LENGTH])
    rows = np.array(found)
    items, ratings = columns[schema.item_id.name][rows], centred[rows]
    earlier = np.concatenate([np.zeros((len(rows), 1), "float32"), ratings[:, :-1]], axis=1)
    return {"items": items, "ratings": earlier}, ratings


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Curves of one remedy in one task, over the seeds.

    Args:
        remedy: its name.
        curves: one a seed.
        bar: the loss of a model that always predicts the mean.
    """

    remedy: str
    curves: list[Curve]
    bar: float

    @property
    def trains(self) -> list[bool]:
        """Return for each seed whether the model ends better than predicting the mean."""
        return [curve.final < self.bar for curve in self.curves]


def number(value: float) -> str:
    """Format a loss with three decimals or its magnitude; NaN and infinity are `NaN`."""
    if not math.isfinite(value):
        return "NaN"
    return f"{value:.3f}" if value < 1e3 else f"{value:.1e}"


def row(outcome: Outcome) -> str:
    """Return a table line of a task."""
    finals = np.array([curve.final for curve in outcome.curves])
    spread = f"{finals.mean():.3f} ± {finals.std(ddof=1):.3f}" if finals.max() < 1e3 else "-"
    shares = [curve.clipped for curve in outcome.curves if curve.clipped is not None]
    cells = [
        outcome.remedy,
        " / ".join(number(final) for final in finals),
        spread,
        number(max(_badness(loss) for curve in outcome.curves for loss in curve.losses[1:])),
        f"{np.mean(shares):.0%}" if shares else "",
        f"{sum(outcome.trains)} of {len(outcome.curves)}",
    ]
    return "| " + " | ".join(cells) + " |"


def _badness(loss: float) -> float:
    return loss if math.isfinite(loss) else math.inf


def section(task: Task, outcomes: list[Outcome]) -> str:
    """Return the section of the page about one task."""
    untrained = [curve.losses[0] for curve in outcomes[0].curves]
    lines = [
        f"## {task.title}",
        "",
        f"Learning rate {task.rate:g}, {task.steps} steps of {task.batch:,} "
        f"{'windows' if task.labels.ndim == 2 else 'rows'}. Untrained loss "
        f"{' / '.join(map(number, untrained))}; a model that always predicts the mean has "
        f"{outcomes[0].bar:.3f}, which is the bar.",
        "",
        "| remedy | final loss by seed | mean ± sd | largest loss on the way | steps clipped "
        "| better than the mean |",
        "|---|---|---|---|---|---|",
        *map(row, outcomes),
    ]
    return "\n".join(lines)


def verdict(results: dict[str, list[Outcome]]) -> str:
    """Return each claim and whether it holds. Warm-up, which ends too early, is judged apart."""
    blown, failed, postponed = 0, [], []
    for name, outcomes in results.items():
        for outcome in outcomes:
            if outcome.remedy == NONE:
                blown += not any(outcome.trains)
            elif not all(outcome.trains):
                (postponed if outcome.remedy.startswith(WARM_UP) else failed).append(
                    f"{outcome.remedy} ({name})"
                )
    text = (
        "A training counts if it ends better than a model that always predicts the mean. Without a "
        f"remedy none does in {blown} of {len(results)} tasks, with any seed. "
    )
    if failed:
        text += f"These remedies alone do not train with every seed: {', '.join(failed)}."
    else:
        text += (
            "Gradient clipping, weight clipping, weight normalisation and learning-rate decay: "
            "each remedy alone trains in every task with every seed."
        )
    if postponed:
        text += (
            " Warm-up alone is no remedy: where the rate stays too high it only puts the explosion "
            f"off, and does not train with every seed: {', '.join(postponed)}. It goes with one."
        )
    return text


def report(
    found: dict[str, Task], results: dict[str, list[Outcome]], seeds: list[int], made: str
) -> str:
    """Return the whole page."""
    sections = "\n\n".join(section(found[name], outcomes) for name, outcomes in results.items())
    return f"""# Exploding gradients, and what stops them

Written by `benchmarks/exploding_gradients.py`; run it again instead of editing this page.

![Loss without a remedy and with each of them](exploding_gradients.svg)

{verdict(results)}

{made}
- Seeds: {", ".join(map(str, seeds))}; of the initial weights and the order of the batches

Each remedy is the only one, at one strength chosen by hand in a few trials on the same rows, so the
table says that a remedy works and not which of them is best. The loss is the mean squared error of
centred ratings over all training rows, without penalties: what is shown is stability, not quality
on new rows. A run ends when that loss is no number. A step counts as clipped if the gradient of any
variable was shortened; for ClippyAdagrad, if a factor was below 1.

{sections}

## Models

- Matrix factorisation: `MatrixFactorization` without biases, dimension {MF_DIM}, vectors drawn
  from N(0, {MF_STDDEV:g}), `l2={MF_L2:g}`, `kerasrec.optimizers.SGD`. The initial vectors are long,
  so the curvature is largest in the first steps, and falls with the loss.
- LSTM: {LENGTH} consecutive ratings of one user in the order of time; each step sees the film and
  the rating before, and predicts the rating. {LSTM_UNITS} units, embeddings of dimension
  {LSTM_DIM} and the output layer from N(0, 1), the recurrent weights {LSTM_GAIN:g} times an
  orthogonal matrix.
- `ClipWeights` and `MaxNorm` hold every variable, `UnitNorm` all but biases: of a table the rows
  that were touched, of a layer the weights that lead to one unit. "{TOGETHER.capitalize()}" is
  warm-up, inverse time decay, `clipnorm` and `ClipWeights` at the strengths above them.
"""


FAMILIES = {
    "clip": ("clipping gradients", "#2166ac"),
    "adaptive": ("clipping by the weights", "#35978f"),
    "weights": ("clipping and norms of weights", "#7b3294"),
    "schedule": ("learning rate", "#e08214"),
    NONE: (NONE, "#d7191c"),
    TOGETHER: (TOGETHER, "#111111"),
}


def family(remedy: str) -> str:
    """Return the kind of a remedy."""
    starts = {
        "clip": ("clip", "global"),
        "adaptive": ("adaptive", "Clippy"),
        "weights": ("ClipW", "MaxNorm", "UnitNorm"),
        "schedule": ("inverse", WARM_UP),
    }
    for kind, beginnings in starts.items():
        if remedy.startswith(beginnings):
            return kind
    return remedy


def draw(found: dict[str, Task], results: dict[str, list[Outcome]], path: pathlib.Path) -> None:
    """Plot the loss by step for each task, and the final loss of each remedy below it."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    matplotlib.rcParams["svg.hashsalt"] = "kerasrec"
    figure = Figure(figsize=(13, 8.4), layout="constrained")
    figure.suptitle("Exploding gradients, and what stops them", fontsize=17, fontweight="bold")
    grid = figure.subplots(2, len(results), squeeze=False, height_ratios=[1, 1.1])
    for column, (name, outcomes) in enumerate(results.items()):
        task, (above, below) = found[name], grid[:, column]
        untrained = float(np.mean([curve.losses[0] for curve in outcomes[0].curves]))
        good = [c.final for o in outcomes if o.remedy != NONE for c in o.curves]
        # Curves that exceed the axis leave the picture on purpose.
        top = untrained * 12
        floor = 0.8 * min(good)
        for outcome in sorted(outcomes, key=lambda o: o.remedy == NONE):
            color = FAMILIES[family(outcome.remedy)][1]
            bold = outcome.remedy in (NONE, TOGETHER)
            for curve in outcome.curves:
                losses = [min(_badness(loss), 1e3 * top) for loss in curve.losses]
                steps = np.arange(len(losses)) * task.every
                above.plot(
                    steps, losses, color=color, lw=2.6 if bold else 1.1, alpha=1 if bold else 0.6
                )
        above.set(yscale="log", ylim=(floor, top), xlim=(0, task.steps), xlabel="steps")
        above.set_title(f"{task.title}\nlearning rate {task.rate:g}", fontsize=12)
        above.annotate(
            NONE, (0, top), (30, -6), textcoords="offset points", ha="left", va="top",
            color=FAMILIES[NONE][1], fontsize=12, fontweight="bold",
        )  # fmt: skip
        _lines(above, outcomes[0].bar, None)
        for place, outcome in enumerate(reversed(outcomes)):
            color = FAMILIES[family(outcome.remedy)][1]
            for curve in outcome.curves:
                if curve.final < top:
                    below.plot(curve.final, place, "o", color=color, ms=8, alpha=0.75)
                else:
                    below.plot(top * 0.9, place, ">", color=color, ms=12, clip_on=False)
            if outcome.curves[0].final >= top or outcome.remedy == NONE:
                worst = max(outcome.curves, key=lambda c: c.final).final
                below.annotate(
                    f"{'NaN' if not math.isfinite(worst) else f'up to {worst:.0e}'}",
                    (top * 0.9, place), (-12, 0), textcoords="offset points",
                    ha="right", va="center", color=color, fontsize=11, fontweight="bold",
                )  # fmt: skip
        names = [short(outcome.remedy) if column == 0 else "" for outcome in reversed(outcomes)]
        below.set_yticks(range(len(names)), names, fontsize=11)
        below.set(xscale="log", xlim=(floor, top), ylim=(-0.7, len(names) - 0.3))
        below.grid(axis="y", alpha=0.3)
        below.set_xlabel("final loss, one mark a seed")
        below.grid(axis="x", which="both", alpha=0.15)
        _lines(below, None, outcomes[0].bar)
        ticks = [tick for tick in (0.5, 1, 2, 5, 10, 20, 50, 100, 200) if floor <= tick <= top]
        above.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        below.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    grid[0, 0].set_ylabel("mean squared error")
    handles = [Line2D([], [], color=color, lw=3, label=label) for label, color in FAMILIES.values()]
    handles.append(Line2D([], [], color="#666666", ls=":", lw=1.6, label="mean predictor"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=12, frameon=False)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=110)


def short(remedy: str) -> str:
    """Return the name of a remedy without its strength."""
    return re.split(r"=|\(|,| to 1", remedy)[0]


def _lines(axes: Any, across: float | None, upright: float | None) -> None:
    """Draw a line at the loss of the mean predictor, and a plain frame."""
    style = {"color": "#666666", "ls": ":", "lw": 1.6, "zorder": 0}
    if across is not None:
        axes.axhline(across, **style)
    if upright is not None:
        axes.axvline(upright, **style)
    axes.spines[["top", "right"]].set_visible(False)


def main() -> None:
    """Run the missing trainings and write the page."""
    names = ["full", "sgd", "lstm"]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds to run")
    parser.add_argument("--task", nargs="+", default=names, choices=names, help="tasks to run")
    parser.add_argument("--remedy", nargs="+", default=[""], help="only those that begin so")
    pages.add_options(parser)
    arguments = parser.parse_args()
    page = pages.Page(
        "exploding_gradients",
        __file__,
        {"seeds": sorted(set(arguments.seeds)), "tasks": arguments.task},
        remake=arguments.page,
        keep=pages.whole(parser, arguments),
    )
    found, seeds = tasks(), page.settings["seeds"]
    results: dict[str, list[Outcome]] = {}
    for name in page.settings["tasks"]:
        task = found[name]
        bar = float(np.mean(np.square(task.labels - task.labels.mean())))
        for place, remedy in enumerate(remedies(task)):
            if not remedy.startswith(tuple(arguments.remedy)):
                continue
            curves = page.result(
                f"{name}-{place:02}",
                lambda task=task, remedy=remedy: {
                    "remedy": remedy,
                    "curves": [dataclasses.asdict(curve) for curve in train(task, remedy, seeds)],
                },
            )["curves"]
            outcome = Outcome(remedy, [Curve(**curve) for curve in curves], bar)
            results.setdefault(name, []).append(outcome)
            print(f"{name} {row(outcome)}", flush=True)
    if page.keep or page.remake:
        draw(found, results, pages.DOCS / "exploding_gradients.svg")
    page.write(report(found, results, seeds, page.bullets()))


if __name__ == "__main__":
    main()
