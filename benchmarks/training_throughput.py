"""Rows a second that train: matrix factorisation on NCF MovieLens 1M, beside Keras and PyTorch.

    python benchmarks/training_throughput.py                                    # writes its page
    python benchmarks/training_throughput.py --torch-python ~/torch/bin/python  # PyTorch elsewhere
    python benchmarks/training_throughput.py --rounds 1 --sides kerasrec keras  # a part, no page

994,169 positives with 4 negatives each are 4.97 million rows an epoch; dimension 64, batches of
8,192, binary cross-entropy, Adam with clipnorm 1. Every side is a process of its own, and a round
runs all of them in turn. The first epoch compiles and warms up; the median of the others counts.
"""

import argparse
import json
import pathlib
import statistics
import sys
import tempfile
import time

import describing
import processes

DIM, BATCH, NEGATIVES, EPOCHS = 64, 8192, 4, 5
SIDES = {
    "kerasrec": "kerasrec, defaults, negatives drawn anew in each epoch",
    "kerasrec_plain": "kerasrec, steps_per_execution=1, jit_compile=False",
    "keras": "Keras, fit(numpy), defaults",
    "keras_tuned": "Keras, tf.data without autotuner, XLA, 16 steps per execution",
    "torch": "PyTorch loop, fused Adam, clip_grad_norm_ for each table",
}
PAGE = pathlib.Path(__file__).parents[1] / "docs" / "benchmarks" / "training_throughput.md"
ABOUT = """# Rows a second that train

One epoch of matrix factorisation on NCF MovieLens 1M (994,169 positives with 4 negatives each: \
4.97 million rows), dimension 64, batches of 8,192 rows, binary cross-entropy, Adam with \
`clipnorm=1`. Every side runs in a process of its own, all sides in turn in each round; the first \
epoch of a process compiles and does not count, the median of the others does. kerasrec draws its \
negatives while it trains; the other sides get theirs, shuffled, before the clock starts. kerasrec \
also trains biases. The ratio is the median over the rounds of kerasrec's rate over that of the \
side in the same round. This page is written by `benchmarks/training_throughput.py`.

```text
{}```
"""


def main() -> None:
    """Runs all sides in turn, prints the table, and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sides", nargs="+", default=list(SIDES), choices=SIDES)
    parser.add_argument("--torch-python", default=sys.executable)
    parser.add_argument("--cell", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.cell:
        side, folder = arguments.cell
        print(json.dumps(MEASURE[side](pathlib.Path(folder))))
        return
    rates: dict[str, list[float]] = {side: [] for side in arguments.sides}
    load = describing.load()
    with tempfile.TemporaryDirectory() as folder:
        rows = prepare(pathlib.Path(folder))
        for _ in range(arguments.rounds):
            for side in arguments.sides:
                seconds = processes.measure(__file__, side, folder, arguments.torch_python)
                rates[side].append(rows / statistics.median(seconds) / 1e6)
                print(f"{side}: {rates[side][-1]:.2f} M rows/s", file=sys.stderr, flush=True)
    text = report(rates, load, arguments.torch_python, arguments.rounds)
    print(text)
    if arguments.sides == list(SIDES) and arguments.rounds >= 3:
        describing.write(PAGE, ABOUT.format(text))


def prepare(folder: pathlib.Path) -> int:
    """Writes the positives, and one epoch with negatives in shuffled groups; its rows."""
    import numpy as np

    from kerasrec import data, datasets

    published = datasets.load("ncf-ml-1m")
    vocabularies = data.fit_vocabularies(published.interactions)
    columns = data.encode(published.split.train, vocabularies)
    schema = data.make_schema(published.interactions, vocabularies)
    (folder / "schema.json").write_text(json.dumps(schema.to_dict()))
    users, items = columns["user_id"], columns["item_id"]
    np.savez(folder / "positives.npz", user_id=users, item_id=items)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(users))
    drawn = rng.integers(2, schema.item_id.num_ids, (len(users), 1 + NEGATIVES), "int32")
    drawn[:, 0] = items[order]
    labels = np.zeros(drawn.shape, "float32")
    labels[:, 0] = 1
    users = np.repeat(users[order], 1 + NEGATIVES)
    np.savez(folder / "epoch.npz", user_id=users, item_id=drawn.ravel(), label=labels.ravel())
    np.save(folder / "sizes.npy", [schema.user_id.num_ids, schema.item_id.num_ids])
    return len(users)


def report(rates: dict[str, list[float]], load: str, torch_python: str, rounds: int) -> str:
    """Command, hardware, versions, and both sides of each comparison."""
    lines = [
        f"command   {describing.command()}",
        f"hardware  {describing.machine()}; {load}",
        f"versions  {describing.versions(torch_python=torch_python)}",
        f"settings  {rounds} rounds, epochs 2 to {EPOCHS} of each process, seed 0",
        "",
        f"{'million rows/s':<64}{'median':>8}{'range':>16}{'kerasrec is':>14}",
    ]
    ours = rates.get("kerasrec")
    for side, found in rates.items():
        ratio = "" if side == "kerasrec" or not ours else f"{quotient(ours, found):.2f}x"
        spread = f"{min(found):.2f} to {max(found):.2f}"
        lines.append(f"{SIDES[side]:<64}{statistics.median(found):>8.2f}{spread:>16}{ratio:>14}")
    others = [s for s in rates if not s.startswith("kerasrec")]
    if ours and others:
        worst = min(others, key=lambda side: quotient(ours, rates[side]))
        ratio = quotient(ours, rates[worst])
        verdict = "reached" if ratio >= 1 else "missed"
        lines += ["", f"target    at least the best other side: {verdict} ({ratio:.2f}x {worst})"]
    return "\n".join(lines) + "\n"


def quotient(ours: list[float], theirs: list[float]) -> float:
    """Median over the rounds of the quotient of two rates."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def fit(model, data, options: dict) -> list[float]:
    """Seconds of the epochs of `model.fit` after the first."""
    import keras

    seconds = []

    class Clock(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.began = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            seconds.append(time.perf_counter() - self.began)

    model.fit(*data, epochs=EPOCHS, verbose=0, callbacks=[Clock()], **options)
    return seconds[1:]


def kerasrec_epochs(folder: pathlib.Path, **options) -> list[float]:
    """What the README shows: batches with negatives, the model, our Adam."""
    import keras
    import numpy as np

    from kerasrec import data, models, optimizers
    from kerasrec.schema import Schema

    keras.utils.set_random_seed(0)
    schema = Schema.from_dict(json.loads((folder / "schema.json").read_text()))
    columns = dict(np.load(folder / "positives.npz"))
    model = models.MatrixFactorization(schema, embedding_dim=DIM)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(optimizers.Adam(clipnorm=1.0), loss, **options)
    batches = data.with_negatives(columns, schema, batch_size=BATCH, negatives=NEGATIVES)
    return fit(model, [batches], {"shuffle": False})


def kerasrec_plain(folder: pathlib.Path) -> list[float]:
    """The same with what Keras does by default on a CPU."""
    return kerasrec_epochs(folder, steps_per_execution=1, jit_compile=False)


def keras_model(folder: pathlib.Path, **options):
    """Two embeddings and their product, in stock Keras."""
    import keras
    import numpy as np

    keras.utils.set_random_seed(0)
    users, items = np.load(folder / "sizes.npy").tolist()
    user, item = (keras.Input((), dtype="int32", name=name) for name in ("user_id", "item_id"))
    vectors = keras.layers.Embedding(users, DIM)(user), keras.layers.Embedding(items, DIM)(item)
    model = keras.Model({"user_id": user, "item_id": item}, keras.layers.Dot(1)(vectors))
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(clipnorm=1.0), loss, **options)
    return model


def keras_epochs(folder: pathlib.Path) -> list[float]:
    """Arrays in memory, given to `fit` as they are."""
    import numpy as np

    epoch = dict(np.load(folder / "epoch.npz"))
    label = epoch.pop("label")
    return fit(keras_model(folder), [epoch, label], {"batch_size": BATCH})


def keras_tuned(folder: pathlib.Path) -> list[float]:
    """The best that stock Keras is known to do on a CPU."""
    import numpy as np
    import tensorflow as tf

    epoch = dict(np.load(folder / "epoch.npz"))
    rows = len(epoch["label"]) // BATCH * BATCH
    cut = {name: column[:rows].reshape(-1, BATCH) for name, column in epoch.items()}
    label = cut.pop("label")[..., None]
    switches = tf.data.Options()
    switches.autotune.enabled = False
    batches = tf.data.Dataset.from_tensor_slices((cut, label)).with_options(switches)
    model = keras_model(folder, jit_compile=True, steps_per_execution=16)
    return fit(model, [batches], {"shuffle": False})


def torch_epochs(folder: pathlib.Path) -> list[float]:
    """A loop by hand."""
    import numpy as np
    import torch

    torch.manual_seed(0)
    epoch = np.load(folder / "epoch.npz")
    users, items, labels = (torch.from_numpy(epoch[n]) for n in ("user_id", "item_id", "label"))
    users, items = users.long(), items.long()
    sizes = np.load(folder / "sizes.npy").tolist()
    user, item = (torch.nn.Embedding(size, DIM) for size in sizes)
    optimizer = torch.optim.Adam([user.weight, item.weight], fused=True)
    lossfunction = torch.nn.functional.binary_cross_entropy_with_logits
    seconds = []
    for _ in range(EPOCHS):
        began = time.perf_counter()
        for row in range(0, len(labels), BATCH):
            part = slice(row, row + BATCH)
            optimizer.zero_grad()
            loss = lossfunction((user(users[part]) * item(items[part])).sum(1), labels[part])
            loss.backward()
            for table in (user, item):
                torch.nn.utils.clip_grad_norm_([table.weight], 1.0)
            optimizer.step()
        seconds.append(time.perf_counter() - began)
    return seconds[1:]


MEASURE = {
    "kerasrec": kerasrec_epochs,
    "kerasrec_plain": kerasrec_plain,
    "keras": keras_epochs,
    "keras_tuned": keras_tuned,
    "torch": torch_epochs,
}


if __name__ == "__main__":
    main()
