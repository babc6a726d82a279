"""Rows a second that train click models, beside stock Keras and FuxiCTR.

    python benchmarks/click_speed.py --peer-python ~/peers/bin/python   # writes its page
    python benchmarks/click_speed.py --most-rounds 1 --models DLRM --peer-python ...   # no page
    python benchmarks/click_speed.py --page                             # from stored results

The environment of the peer needs `pip install fuxictr` and PyTorch. Frappe has 10 columns of ids,
the synthetic table 26 columns of up to a million ids and 13 numbers, like Criteo's. Every side is a
separate process, and a round runs all of them in turn, every second one backwards. Small steps vary
more from process to process, so Frappe has more rounds. The first epoch compiles and warms up; the
median of the others counts. An interrupted run goes on at the round where it stopped.
"""

import argparse
import gzip
import json
import os
import pathlib
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pages
import peers
import processes
import turns
from describing import table_of

TABLES = {
    "frappe": "Frappe, 10 columns of ids, 5,000 ids",
    "synthetic": "synthetic, 26 columns of up to 1,000,000 ids and 13 numbers",
    "million": "synthetic, 26 columns of 1,000,000 ids each and 13 numbers",
}
ROUNDS = {"frappe": 6, "synthetic": 4, "million": 3}
MODELS = ("FeatureMLP", "DeepFM", "DCNv2", "DLRM")
# These have no counterpart here, and are measured once.
ALONE = (
    *("LogisticRegression", "FactorizationMachine", "NeuralFM", "WideAndDeep", "AutoInt"),
    *("FinalMLP", "FinalNet", "FieldAwareFM", "ConvolutionalInteraction"),
)
# Their cost grows with the square of the features.
FEW_FEATURES = ("FieldAwareFM", "ConvolutionalInteraction")
LIBRARIES = {"kerasrec": "kerasrec", "keras": "stock Keras", "torch": "FuxiCTR, PyTorch"}
# The number of ids of Criteo's 26 columns (Kaggle), at most a million of each.
SIZES = (
    *(1460, 583, 1_000_000, 1_000_000, 305, 24, 12_517, 633, 3, 93_145, 5683, 1_000_000, 3194),
    *(27, 14_992, 1_000_000, 10, 5652, 2173, 4, 1_000_000, 18, 15, 286_181, 105, 142_572),
)
MILLIONS = (1_000_000,) * len(SIZES)
NUMBERS = 13
DIM, HIDDEN, BOTTOM, CROSSES, RATE = 16, (128, 64), (64,), 3, 1e-3
BATCH, SYNTHETIC_BATCHES = 4096, 64
# Batches of an epoch, None for all, and epochs. A training of kerasrec is planned for more than
# 1,000 steps, as its defaults depend on it, and stops after `MEASURED` epochs. Dense updates of a
# million rows take seconds.
MEASURED = 7
STEPS = {
    ("kerasrec", "frappe"): (None, 21),
    ("kerasrec", "synthetic"): (None, 16),
    ("keras", "frappe"): (None, 6),
    ("kerasrec", "million"): (None, 16),
    ("keras", "synthetic"): (4, 4),
    ("keras", "million"): (4, 4),
    ("torch", "frappe"): (None, 4),
    ("torch", "synthetic"): (4, 4),
    ("torch", "million"): (4, 4),
}
GOALS = {
    "keras": {"synthetic": 5.0, "million": 5.0},
    "torch": {"frappe": 1.0, "synthetic": 1.0, "million": 1.0},
}
ABOUT = """# Speed of click models

Written by `benchmarks/click_speed.py`; run it again instead of editing this page.

Rows a second of training, batches of {batch:,} rows, binary cross-entropy, Adam, vectors of \
{dim}, hidden layers of {hidden}, {crosses} full cross layers in `DCNv2`. The synthetic tables \
have 26 columns of ids drawn by Zipf's law and 13 numbers. The columns of one have as many ids as \
Criteo's, at most a million each and {ids:,} in all, those of the other one a million each. All \
sides have the same layers and weights:

- kerasrec: the model, `data.pointwise` with shuffling, `kerasrec.optimizers.Adam`, which updates \
the rows of the batch, and the defaults of `compile` and `fit` for a training of more than 1,000 \
steps, stopped after {measured} epochs.
- stock Keras: a functional model of `keras.layers`, `keras.optimizers.Adam`, batches cut \
beforehand by `tf.data`, the defaults of `compile` and `fit`.
- FuxiCTR: its layers and its training step, with PyTorch's Adam, on batches shuffled in memory.

Both others update every row of a table in every step, with all moments. A rate is the median of \
the epochs of a process after the first, by the wall clock and on all cores, then the geometric \
mean over the rounds, {rounds}; models without a counterpart have one. "kerasrec is" has the mean \
ratio within the rounds and its 95 % interval. Memory is the largest of the process, rows \
included. Models without a counterpart have the first two tables, and those whose cost grows with \
the square of the features Frappe alone. A full cross layer multiplies rows and gradients by a \
matrix as wide as all features, 429 x 429 in the synthetic tables. Every side computes these \
products, so `DCNv2` gains least from updates of the rows of a batch alone.

{parts}

## Goals

{goals}
{bound}
## Run

{run}
- Peer: {peers}
"""


def main() -> None:
    """Run all sides in turn and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--most-rounds", type=int, default=max(ROUNDS.values()))
    parser.add_argument("--tables", nargs="+", default=list(TABLES), choices=list(TABLES))
    parser.add_argument("--models", nargs="+", default=[*MODELS, *ALONE])
    parser.add_argument("--libraries", nargs="+", default=list(LIBRARIES), choices=LIBRARIES)
    parser.add_argument("--peer-python", default=sys.executable, help="Python with FuxiCTR")
    parser.add_argument("--cell", nargs="+", help=argparse.SUPPRESS)
    pages.add_options(parser)
    arguments = parser.parse_args()
    if arguments.cell:
        side, folder = arguments.cell
        table, model, library = side.split("-")
        print(json.dumps(measure(library, pathlib.Path(folder), table, model)))
        return
    rounds = {name: min(ROUNDS[name], arguments.most_rounds) for name in arguments.tables}
    names = ("tables", "models", "libraries")
    page = pages.Page(
        "click_speed",
        __file__,
        {"rounds": rounds, **{name: getattr(arguments, name) for name in names}},
        remake=arguments.page,
        keep=pages.whole(parser, arguments, "peer_python"),
    )
    settings = page.settings
    sides = [
        f"{table}-{model}-{library}"
        for table in settings["tables"]
        for model in settings["models"]
        for library in settings["libraries"]
        if model in MODELS
    ]
    alone = [
        f"{table}-{model}-kerasrec"
        for table in settings["tables"]
        for model in settings["models"]
        if model not in MODELS and "kerasrec" in settings["libraries"]
        if table == "frappe" or (table == "synthetic" and model not in FEW_FEATURES)
    ]
    full = "DCNv2" in settings["models"] and "synthetic" in settings["tables"]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        if not page.remake:
            prepare(folder, settings["tables"])

        def one(side: str, number: int) -> dict[str, Any]:
            if side.endswith("-torch"):
                return peers.measure(arguments.peer_python, __file__, side, name)
            return processes.measure(__file__, side, name, sys.executable)

        def one_in(side: str, number: int) -> dict[str, Any] | None:
            table = side.split("-")[0]
            return one(side, number) if number < settings["rounds"][table] else None

        measured = page.rounds(sides, max(settings["rounds"].values()), one_in)
        found = {side: [one for one in some if one] for side, some in measured.items()}
        found |= {side: [page.result(side, lambda side=side: one(side, 0))] for side in alone}
        products = page.result("products", products_of_crosses) if full else None
    report(page, found, products)


def products_of_crosses() -> dict[str, float]:
    """Return the milliseconds of the matrix products of the full crosses in a step, in TensorFlow.

    Each layer has one product forward, one for the gradient of its weights, one for that of its
    input.
    """
    import tensorflow as tf

    width = len(SIZES) * DIM + NUMBERS
    x, weights = tf.random.normal((BATCH, width)), tf.random.normal((width, width))

    @tf.function
    def products(x: Any, weights: Any) -> Any:
        total = tf.zeros(())
        for _ in range(CROSSES):
            y = tf.matmul(x, weights)
            total += tf.matmul(x, y, transpose_a=True)[0, 0]
            x = tf.matmul(y, weights, transpose_b=True) / width**2
        return total + x[0, 0]

    seconds = []
    for _ in range(31):
        began = time.perf_counter()
        products(x, weights).numpy()
        seconds.append(time.perf_counter() - began)
    return {"ms": 1e3 * statistics.median(seconds[1:])}


def prepare(folder: pathlib.Path, tables: list[str]) -> None:
    """Write the columns of the tables, with ids from 2 on, and the rows of each table of ids."""
    made = {
        "frappe": frappe,
        "synthetic": lambda: synthetic(SIZES),
        "million": lambda: synthetic(MILLIONS),
    }
    for name in tables:
        columns, sizes = made[name]()
        np.savez(folder / f"{name}.npz", **columns)
        (folder / f"{name}.json").write_text(json.dumps(sizes))


def frappe() -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """Return the training rows of Frappe that fill whole batches."""
    path = pathlib.Path(os.environ["KERASREC_DATA"]) / "frappe" / "frappe.train.redrawn.libfm.gz"
    with gzip.open(path, "rt", encoding="ascii") as file:
        words = np.array([line.replace(":1", "").split() for line in file], np.int64)
    words = words[: len(words) // BATCH * BATCH]
    columns: dict[str, np.ndarray] = {"label": (words[:, 0] == 1).astype(np.float32)}
    sizes = {}
    for index in range(1, words.shape[1]):
        known, ids = np.unique(words[:, index], return_inverse=True)
        columns[f"c{index}"] = (ids + 2).astype(np.int32)
        sizes[f"c{index}"] = len(known) + 2
    return columns, sizes


def synthetic(id_counts: tuple[int, ...]) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """Return rows whose ids follow Zipf's law, in no order, with numbers and random labels."""
    rng = np.random.default_rng(0)
    rows = BATCH * SYNTHETIC_BATCHES
    columns: dict[str, np.ndarray] = {"label": (rng.random(rows) < 0.25).astype(np.float32)}
    sizes = {}
    for index, size in enumerate(id_counts, 1):
        # A rank whose logarithm is uniform has a share of 1 / rank.
        rank = np.exp(rng.random(rows) * np.log(size + 1)).astype(np.int64) - 1
        columns[f"c{index}"] = (rng.permutation(size)[rank.clip(0, size - 1)] + 2).astype(np.int32)
        sizes[f"c{index}"] = size + 2
    for index in range(1, NUMBERS + 1):
        columns[f"n{index}"] = rng.normal(size=rows).astype(np.float32)
    return columns, sizes


def measure(library: str, folder: pathlib.Path, table: str, model: str) -> dict[str, Any]:
    """Return seconds of the epochs after the first, rows of an epoch, last loss and memory."""
    batches, epochs = STEPS[library, table]
    columns = dict(np.load(folder / f"{table}.npz"))
    if batches is not None:
        columns = {name: values[: batches * BATCH] for name, values in columns.items()}
    sizes = json.loads((folder / f"{table}.json").read_text())
    train = {"kerasrec": kerasrec_epochs, "keras": keras_epochs, "torch": torch_epochs}[library]
    found = train(model, columns, sizes, epochs)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {**found, "rows": len(columns["label"]), "peak": peak}


def fit(model: Any, data: Any, epochs: int) -> dict[str, Any]:
    """Return the seconds of the epochs of `model.fit` after the first, and the last loss."""
    import keras

    seconds = []

    class Clock(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.began = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            seconds.append(time.perf_counter() - self.began)
            self.model.stop_training = len(seconds) == MEASURED

    fitted = model.fit(data, epochs=epochs, verbose=0, callbacks=[Clock()], shuffle=False)
    return {"seconds": seconds[1:], "loss": fitted.history["loss"][-1]}


def kerasrec_epochs(
    name: str, columns: Mapping[str, np.ndarray], sizes: Mapping[str, int], epochs: int
) -> dict[str, Any]:
    """Train a model of the zoo."""
    import keras

    from kerasrec import data, models, optimizers
    from kerasrec.schema import Categorical, Numeric, Schema
    from kerasrec.training import keep_freed_memory

    keras.utils.set_random_seed(0)
    features = [Categorical(column, size) for column, size in sizes.items()]
    features += [Numeric(column) for column in columns if column.startswith("n")]
    schema = Schema(context=features, label="label")
    sized = {"FinalMLP": {"second_hidden_units": HIDDEN}, "DLRM": {"bottom_units": BOTTOM}}
    options: dict[str, Any] = {"embedding_dim": DIM, **sized.get(name, {})}
    if name == "DCNv2":
        options["num_layers"] = CROSSES
    if name in (*MODELS, "NeuralFM", "WideAndDeep", "AutoInt", "FinalMLP", "FinalNet"):
        options["hidden_units"] = HIDDEN
    if name in ("LogisticRegression", "FieldAwareFM"):  # no vectors, or short ones of their own
        options = {}
    model = getattr(models, name)(schema, **options)
    model.compile(optimizers.Adam(RATE), keras.losses.BinaryCrossentropy(from_logits=True))
    batches = data.pointwise(columns, schema, batch_size=BATCH, drop_remainder=True)
    keep_freed_memory()
    return fit(model, batches, epochs)


def keras_epochs(
    name: str, columns: Mapping[str, np.ndarray], sizes: Mapping[str, int], epochs: int
) -> dict[str, Any]:
    """Train the same layers of stock Keras with its defaults."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    numbers = [column for column in columns if column.startswith("n")]
    inputs = {c: keras.Input((), dtype="int32", name=c) for c in sizes}
    inputs |= {c: keras.Input((), dtype="float32", name=c) for c in numbers}
    logit = STOCK[name](inputs, sizes, numbers)
    model = keras.Model(inputs, logit)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(RATE), loss)
    cut = {column: values.reshape(-1, BATCH) for column, values in columns.items()}
    label = cut.pop("label")[..., None]
    return fit(model, tf.data.Dataset.from_tensor_slices((cut, label)), epochs)


def stacked(inputs: Any, names: Any) -> Any:
    """Return columns of numbers as `(batch, columns)`."""
    from keras import ops

    return ops.stack([inputs[name] for name in names], axis=-1)


def hidden(x: Any, widths: tuple[int, ...]) -> Any:
    """Return the output of hidden layers."""
    import keras

    for width in widths:
        x = keras.layers.Dense(width, "relu")(x)
    return x


def embedded(inputs: Any, sizes: Mapping[str, int], dim: int) -> list[Any]:
    """Return the vector of each column of ids."""
    import keras

    return [keras.layers.Embedding(size, dim)(inputs[name]) for name, size in sizes.items()]


def flat_columns(inputs: Any, sizes: Mapping[str, int], numbers: list[str]) -> Any:
    """Return vectors and numbers side by side."""
    import keras

    parts = embedded(inputs, sizes, DIM)
    return keras.layers.Concatenate()([*parts, *([stacked(inputs, numbers)] if numbers else [])])


def stock_mlp(inputs: Any, sizes: Mapping[str, int], numbers: list[str]) -> Any:
    """Return the logit of hidden layers."""
    import keras

    return keras.layers.Dense(1)(hidden(flat_columns(inputs, sizes, numbers), HIDDEN))


def stock_dcn(inputs: Any, sizes: Mapping[str, int], numbers: list[str]) -> Any:
    """Return the logit of cross layers beside hidden layers."""
    import keras

    first = crossed = flat_columns(inputs, sizes, numbers)
    for _ in range(CROSSES):
        crossed = first * keras.layers.Dense(first.shape[-1])(crossed) + crossed
    return keras.layers.Dense(1)(keras.layers.Concatenate()([crossed, hidden(first, HIDDEN)]))


def stock_fm(inputs: Any, sizes: Mapping[str, int], numbers: list[str]) -> Any:
    """Return the logit of a factorization machine beside hidden layers."""
    import keras
    from keras import ops

    fields = ops.stack(embedded(inputs, sizes, DIM + 1), axis=1)
    if numbers:
        # A dense layer on each number is its vector.
        vectors = [
            keras.layers.Dense(DIM + 1, use_bias=False)(inputs[name][:, None]) for name in numbers
        ]
        fields = ops.concatenate([fields, ops.stack(vectors, axis=1)], axis=1)
    vectors, linear = fields[..., :-1], ops.sum(fields[..., -1], axis=-1)
    pairs = ops.square(ops.sum(vectors, axis=1)) - ops.sum(ops.square(vectors), axis=1)
    wide = linear + 0.5 * ops.sum(pairs, axis=-1)
    deep = keras.layers.Dense(1)(hidden(keras.layers.Flatten()(vectors), HIDDEN))
    return wide[:, None] + deep


def stock_dlrm(inputs: Any, sizes: Mapping[str, int], numbers: list[str]) -> Any:
    """Return the logit of hidden layers over dot products."""
    import keras
    from keras import ops

    parts, vectors = [], embedded(inputs, sizes, DIM)
    if numbers:
        parts.append(hidden(stacked(inputs, numbers), (*BOTTOM, DIM)))
    fields = ops.stack([*parts, *vectors], axis=1)
    count = fields.shape[1]
    products = ops.matmul(fields, ops.transpose(fields, (0, 2, 1)))
    one, other = np.triu_indices(count, 1)
    products = ops.take(ops.reshape(products, (-1, count * count)), one * count + other, axis=-1)
    return keras.layers.Dense(1)(hidden(ops.concatenate([*parts, products], axis=-1), HIDDEN))


STOCK = {"FeatureMLP": stock_mlp, "DeepFM": stock_fm, "DCNv2": stock_dcn, "DLRM": stock_dlrm}


def torch_epochs(
    name: str, columns: Mapping[str, np.ndarray], sizes: Mapping[str, int], epochs: int
) -> dict[str, Any]:
    """Train FuxiCTR's model by its own training step."""
    import fuxictr_models
    import torch

    torch.manual_seed(0)
    numbers = tuple(column for column in columns if column.startswith("n"))
    table = fuxictr_models.feature_map(sizes, numbers)
    layers: dict[str, Any] = {"dim": DIM, "hidden": list(HIDDEN)}
    layers |= {"DCNv2": {"crosses": CROSSES}, "DLRM": {"bottom": list(BOTTOM)}}.get(name, {})
    kind = {"FeatureMLP": "DNN"}.get(name, name)
    with tempfile.TemporaryDirectory() as folder:
        model = getattr(fuxictr_models, kind)(table, folder, **layers)
    model._max_gradient_norm = 10.0  # as `fit` sets it
    model.train()
    batches = fuxictr_models.Batches(columns, BATCH, shuffle=True)
    seconds = []
    for _ in range(epochs):
        began, losses = time.perf_counter(), []
        for batch in batches:
            losses.append(model.train_step(batch).item())
        seconds.append(time.perf_counter() - began)
    held = peers.versions("fuxictr", "torch")
    return {"seconds": seconds[1:], "loss": statistics.mean(losses), "versions": held}


def report(
    page: pages.Page, found: dict[str, list[dict[str, Any]]], products: dict[str, float] | None
) -> None:
    """Write the page."""
    settings, parts, goals, bound = page.settings, [], [], ""
    rates = {
        side: [one["rows"] / statistics.median(one["seconds"]) for one in some]
        for side, some in found.items()
    }
    for table in settings["tables"]:
        rows = []
        for model in settings["models"]:
            ours = rates.get(f"{table}-{model}-kerasrec")
            for library, label in LIBRARIES.items():
                side = f"{table}-{model}-{library}"
                if side not in rates:
                    continue
                mine, ratio = rates[side], ""
                if ours and library != "kerasrec":
                    times = turns.ratio(ours, mine)
                    ratio = f"x {times.show()}"
                    if (least := GOALS[library].get(table)) is not None:
                        word = "reached" if times.low >= least else "not settled"
                        word = "missed" if times.mean < least else word
                        goals.append(
                            f"- {table}, `{model}`, at least {least:g} times {label}: "
                            f"{times.show()}, {word}"
                        )
                rows.append(
                    [
                        f"`{model}`",
                        label,
                        f"{statistics.geometric_mean(mine):,.0f}",
                        f"{min(mine):,.0f} to {max(mine):,.0f}",
                        ratio,
                        f"{max(one['peak'] for one in found[side]) / 2**30:.2f}",
                    ]
                )
        header = ("model", "library", "rows/s", "range", "kerasrec is", "peak GiB")
        parts.append(f"## {TABLES[table]}\n\n{table_of(header, rows)}")
    stock = rates.get("synthetic-DCNv2-keras")
    if stock and products:
        step = 1e3 * BATCH / statistics.geometric_mean(stock)
        most = step / products["ms"]
        bound = (
            f"\nThe {3 * CROSSES} products of the crosses of `DCNv2` alone take "
            f"{products['ms']:.0f} ms in TensorFlow here. A step of stock Keras with Criteo's "
            f"numbers of ids takes {step:.0f} ms, so nothing that computes these products can be "
            f"more than {most:.1f} times as fast.\n"
        )
    peer = [one["versions"] for some in found.values() for one in some if "versions" in one]
    page.write(
        ABOUT.format(
            batch=BATCH,
            dim=DIM,
            hidden=" and ".join(map(str, HIDDEN)),
            crosses=CROSSES,
            measured=MEASURED,
            bound=bound,
            ids=sum(SIZES),
            rounds=", ".join(
                f"{settings['rounds'][name]} for {name}" for name in settings["tables"]
            ),
            parts="\n\n".join(parts),
            goals="\n".join(goals) or "None of the measured sides has one.",
            run=page.bullets(),
            peers=peer[0] if peer else "none",
        )
    )


if __name__ == "__main__":
    main()
