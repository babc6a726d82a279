"""Time of a training step as a function of the number of table rows.

    python benchmarks/step_time.py                                       # everything, and its page
    python benchmarks/step_time.py --rows 10000 1000000 --steps 20       # a part of it, no page
    python benchmarks/step_time.py --torch-python ~/torch/bin/python     # PyTorch elsewhere
    python benchmarks/step_time.py --page                                # from stored results

Matrix factorisation with two tables of the same size, dimension 32, batches of 4,096 uniform ids,
mean squared error. Keras variants run in stock `model.fit` with default options. The PyTorch loop
is written by hand. Every cell is a separate process: its first steps compile and warm up, and the
median of the others counts. A round runs all cells, every second round in the opposite order.
Ratios are taken within the rounds. Memory is the peak of the measured steps (Linux only).
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
from typing import Any

import pages
import turns

DIM, BATCH, WARM_UP = 32, 4096, 8
ROWS = (10_000, 100_000, 1_000_000, 5_000_000, 10_000_000)
OPTIMIZERS = ("adam", "adagrad", "sgd")
LIBRARIES = ("kerasrec", "keras", "torch")
# Values stored per weight, the weight included.
STATE = {"adam": 3, "adagrad": 2, "sgd": 1}
ABOUT = """# Time of a training step against the rows of a table

Matrix factorisation with two tables of the same size, dimension 32, batches of 4,096 uniform ids, \
mean squared error. kerasrec and Keras run in stock `model.fit` with its defaults. kerasrec's \
updates are lazy: rows without a gradient rest, and so does their state. Stock Keras updates every \
row in every step; its time grows with the rows, and it is left out above {stock:,} rows. The \
PyTorch loop is written by hand, with sparse gradients (SparseAdam for Adam) and without clipping. \
Every cell is a process of its own, and all cells take turns in {rounds} rounds. Shown are the \
geometric mean over the rounds of the median step in milliseconds, the time as a multiple of \
kerasrec's with its 95 % interval over the rounds, and the peak memory of the measured steps. `-` \
is a cell that was not measured. This page is written by `benchmarks/step_time.py`.

```text
{text}
```
"""


def main() -> None:
    """Run all cells in turns and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=list(ROWS))
    parser.add_argument("--optimizers", nargs="+", default=list(OPTIMIZERS), choices=OPTIMIZERS)
    parser.add_argument("--libraries", nargs="+", default=list(LIBRARIES), choices=LIBRARIES)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    most = "largest tables that stock Keras is measured with; it takes seconds a step beyond them"
    parser.add_argument("--stock-rows", type=int, default=1_000_000, help=most)
    parser.add_argument("--cell", nargs=3, help=argparse.SUPPRESS)
    pages.add_options(parser, torch=True)
    arguments = parser.parse_args()
    if arguments.cell:
        library, optimizer, rows = arguments.cell
        print(json.dumps(MEASURE[library](optimizer, int(rows), arguments.steps)))
        return
    names = ("rows", "optimizers", "libraries", "steps", "rounds", "stock_rows")
    page = pages.Page(
        "step_time",
        __file__,
        {name: getattr(arguments, name) for name in names},
        torch_python=arguments.torch_python,
        remake=arguments.page,
        keep=pages.whole(parser, arguments),
    )
    settings = page.settings
    cells = [
        f"{library} {optimizer} {rows}"
        for rows in settings["rows"]
        for optimizer in settings["optimizers"]
        for library in settings["libraries"]
        if library != "keras" or rows <= settings["stock_rows"]
    ]
    found = page.rounds(cells, settings["rounds"], lambda cell, number: run(cell, arguments))
    text = "\n".join(
        [
            *page.head(
                f"settings  {settings['rounds']} rounds of {settings['steps']} steps, the first "
                f"{WARM_UP} of which do not count"
            ),
            *(report(optimizer, found, settings) for optimizer in settings["optimizers"]),
        ]
    )
    page.write(ABOUT.format(stock=settings["stock_rows"], rounds=settings["rounds"], text=text))


def run(cell: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Measure one cell in a separate process."""
    library, optimizer, rows = cell.split()
    python = arguments.torch_python if library == "torch" else sys.executable
    words = ["--steps", str(arguments.steps), "--cell", library, optimizer, rows]
    done = subprocess.run(
        [python, __file__, *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONPATH": str(pages.ROOT)},
    )
    if done.returncode:
        raise SystemExit(f"{cell}: {done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def report(optimizer: str, found: dict[str, list[Any]], settings: dict[str, Any]) -> str:
    """Return the table of one optimizer."""
    clip = "" if optimizer == "sgd" else ", clipnorm=1 (PyTorch: none)"
    lines = [f"{optimizer}{clip}: ms/step, x of kerasrec's time (95 % interval), peak GiB"]
    lines.append(f"{'rows':>11}" + "".join(f"{name:>40}" for name in settings["libraries"]))
    for rows in settings["rows"]:
        ours = [one["ms"] for one in found.get(f"kerasrec {optimizer} {rows}", [])]
        line = f"{rows:>11,}"
        for library in settings["libraries"]:
            cell = found.get(f"{library} {optimizer} {rows}")
            if not cell:
                line += f"{'-':>40}"
                continue
            times = [one["ms"] for one in cell]
            ratio = turns.ratio(times, ours).show() if ours and library != "kerasrec" else ""
            memory = max(one["gib"] for one in cell)
            line += f"{statistics.geometric_mean(times):>10.2f}{ratio:>23}{memory:>7.2f}"
        lines.append(line)
    tables = 2 * DIM * 4 / 2**30
    sizes = ", ".join(
        f"{rows:,}: {rows * tables * STATE[optimizer]:.2f}" for rows in settings["rows"]
    )
    return "\n".join([*lines, f"(weights and state alone, GiB: {sizes})", ""])


def batches(rows: int, steps: int):
    """Return ids of users and items, and labels, for every step."""
    import numpy as np

    rng = np.random.default_rng(0)
    ids = rng.integers(0, rows, (2, steps * BATCH)).astype("int32")
    return ids[0], ids[1], rng.normal(size=steps * BATCH).astype("float32")


def result(seconds: list[float]) -> dict[str, float]:
    """Return the median step after the warm-up, and the peak memory of these steps."""
    status = pathlib.Path("/proc/self/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return {"ms": 1e3 * statistics.median(seconds), "gib": int(peak.split()[1]) / 2**20}


def forget_peak() -> None:
    """Reset the peak memory, so that creating the tables does not count."""
    pathlib.Path("/proc/self/clear_refs").write_text("5")


def kerasrec_step(optimizer: str, rows: int, steps: int) -> dict[str, float]:
    """Time the library's layer and optimizer in stock `fit`."""
    import keras

    from kerasrec import layers, optimizers

    made = {
        "adam": lambda: optimizers.Adam(clipnorm=1.0),
        "adagrad": lambda: optimizers.Adagrad(clipnorm=1.0),
        "sgd": optimizers.SGD,
    }
    return fit(keras, layers.Embedding, made[optimizer](), rows, steps)


def keras_step(optimizer: str, rows: int, steps: int) -> dict[str, float]:
    """Time stock Keras."""
    import keras

    made = {
        "adam": lambda: keras.optimizers.Adam(clipnorm=1.0),
        "adagrad": lambda: keras.optimizers.Adagrad(clipnorm=1.0),
        "sgd": keras.optimizers.SGD,
    }
    return fit(keras, keras.layers.Embedding, made[optimizer](), rows, steps)


def fit(keras, embedding, optimizer, rows: int, steps: int) -> dict[str, float]:
    """Time the steps of `model.fit`."""
    import tensorflow as tf

    user = keras.Input((), dtype="int32")
    item = keras.Input((), dtype="int32")
    vectors = embedding(rows, DIM)(user), embedding(rows, DIM)(item)
    # A sum of products, as in the PyTorch loop: Dot would compute 4,096 small matrix products.
    score = keras.ops.sum(vectors[0] * vectors[1], axis=1, keepdims=True)
    model = keras.Model([user, item], score)
    model.compile(optimizer, "mse")

    times = []

    class Clock(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            times.append(time.perf_counter())
            if len(times) == WARM_UP:
                forget_peak()

    users, items, labels = batches(rows, steps)
    data = tf.data.Dataset.from_tensor_slices(
        ((users.reshape(steps, -1), items.reshape(steps, -1)), labels.reshape(steps, -1, 1))
    )
    switches = tf.data.Options()
    switches.autotune.enabled = False
    model.fit(data.with_options(switches), verbose=0, callbacks=[Clock()])
    times = times[WARM_UP:]
    return result([late - early for early, late in zip(times, times[1:], strict=False)])


def torch_step(optimizer: str, rows: int, steps: int) -> dict[str, float]:
    """Time a plain PyTorch loop with sparse gradients."""
    import torch

    users, items = (torch.nn.Embedding(rows, DIM, sparse=True) for _ in range(2))
    weights = [users.weight, items.weight]
    step = {
        "adam": torch.optim.SparseAdam,
        "adagrad": torch.optim.Adagrad,
        "sgd": torch.optim.SGD,
    }[optimizer](weights, lr=1e-3)
    columns = [torch.from_numpy(column).split(BATCH) for column in batches(rows, steps)]
    seconds = []
    for number, (user, item, label) in enumerate(zip(*columns, strict=True)):
        if number == WARM_UP:
            forget_peak()
        began = time.perf_counter()
        step.zero_grad()
        loss = ((users(user) * items(item)).sum(1) - label).square().mean()
        loss.backward()
        step.step()
        seconds.append(time.perf_counter() - began)
    return result(seconds[WARM_UP:])


MEASURE = {
    "kerasrec": kerasrec_step,
    "keras": keras_step,
    "torch": torch_step,
}


if __name__ == "__main__":
    main()
