"""Time of a training step against the number of rows of a table.

    python benchmarks/step_time.py --page                                # everything, and its page
    python benchmarks/step_time.py --rows 10000 1000000 --steps 50       # a part of it
    python benchmarks/step_time.py --torch-python ~/torch/bin/python     # PyTorch elsewhere

Matrix factorisation with two tables of the same size, dimension 32, batches of 4,096 uniform ids,
mean squared error. Keras variants run in stock `model.fit`, with what a user gets by default; the
PyTorch loop is written by hand. Every cell is a process of its own: its first steps compile and
warm up, the median of the others counts, and `--rounds` runs all cells in turn, of which the best
is taken, so that a busy moment of the machine does not fall on one of them. Memory is the peak of
the measured steps (Linux only), beside what weights and state need alone.
"""

import argparse
import contextlib
import io
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

import describing

DIM, BATCH, WARM_UP = 32, 4096, 8
ROWS = (10_000, 100_000, 1_000_000, 5_000_000, 10_000_000)
OPTIMIZERS = ("adam", "adagrad", "sgd")
LIBRARIES = ("kerasrec", "keras", "tf_keras", "torch")
STOCK = ("keras", "tf_keras")
PAGE = pathlib.Path(__file__).parents[1] / "docs" / "benchmarks" / "step_time.md"
ABOUT = """# Time of a training step against the rows of a table

Matrix factorisation with two tables of the same size, dimension 32, batches of 4,096 uniform ids, \
mean squared error, in stock `model.fit` with its defaults; the PyTorch loop is written by hand \
and does not clip. Every cell is a process of its own and shows the median step of the best of the \
rounds; memory is the peak of the measured steps. This page is written by \
`benchmarks/step_time.py`; it shows what the command asked for, `-` is a cell without a result.

```text
{}```
"""


def main() -> None:
    """Runs all cells and prints the tables."""
    arguments = parse()
    if arguments.cell:
        library, optimizer, rows = arguments.cell
        print(json.dumps(MEASURE[library](optimizer, int(rows), arguments.steps)))
        return
    cells: dict[tuple[str, str, int], dict[str, float]] = {}
    for _ in range(arguments.rounds):
        for rows in arguments.rows:
            for optimizer in arguments.optimizers:
                for library in arguments.libraries:
                    if library in STOCK and rows > arguments.stock_rows:
                        continue
                    key = library, optimizer, rows
                    found = run(key, arguments)
                    if found and (key not in cells or found["ms"] < cells[key]["ms"]):
                        cells[key] = found
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        print(f"command   {describing.command()}")
        print(f"hardware  {describing.machine()}; {describing.load()}")
        found = describing.versions("tf-keras", torch_python=arguments.torch_python)
        print(f"versions  {found}")
        for optimizer in arguments.optimizers:
            report(optimizer, cells, arguments)
    print(text.getvalue())
    if arguments.page:
        describing.write(PAGE, ABOUT.format(text.getvalue()))


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS)
    parser.add_argument("--optimizers", nargs="+", default=OPTIMIZERS, choices=OPTIMIZERS)
    parser.add_argument("--libraries", nargs="+", default=LIBRARIES, choices=LIBRARIES)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--torch-python", default=sys.executable)
    most = "largest tables that stock Keras is measured with; it takes seconds a step beyond them"
    parser.add_argument("--stock-rows", type=int, default=5_000_000, help=most)
    parser.add_argument("--page", action="store_true")
    parser.add_argument("--cell", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args()


def run(key: tuple[str, str, int], arguments: argparse.Namespace) -> dict[str, float] | None:
    """Measures one cell in a process of its own."""
    library, optimizer, rows = key
    python = arguments.torch_python if library == "torch" else sys.executable
    legacy = {"TF_USE_LEGACY_KERAS": "1"} if library == "tf_keras" else {}
    root = str(pathlib.Path(__file__).parent.parent)
    done = subprocess.run(
        [
            python,
            __file__,
            "--steps",
            str(arguments.steps),
            "--cell",
            library,
            optimizer,
            str(rows),
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **legacy, "TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONPATH": root},
    )
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        print(f"{library} {optimizer} {rows:,}: no result ({reason[0]})", file=sys.stderr)
        return None
    return json.loads(done.stdout.strip().splitlines()[-1])


def report(optimizer: str, cells: dict, arguments: argparse.Namespace) -> None:
    """Prints milliseconds, ratios and memory of one optimizer."""
    clip = "" if optimizer == "sgd" else ", clipnorm=1 (PyTorch: none)"
    print(f"\n{optimizer}{clip}: ms/step, x of kerasrec's time, peak memory in GiB")
    print(f"{'rows':>11}" + "".join(f"{library:>26}" for library in arguments.libraries))
    for rows in arguments.rows:
        ours = cells.get(("kerasrec", optimizer, rows))
        line = f"{rows:>11,}"
        for library in arguments.libraries:
            cell = cells.get((library, optimizer, rows))
            if cell is None:
                line += f"{'-':>26}"
                continue
            ratio = f"{cell['ms'] / ours['ms']:.1f}x" if ours else ""
            line += f"{cell['ms']:>11.2f} {ratio:>7} {cell['gib']:>6.2f}"
        print(line)
    tables = 2 * DIM * 4 / 2**30
    state = {"adam": 3, "adagrad": 2, "sgd": 1}[optimizer]
    sizes = ", ".join(f"{rows:,}: {rows * tables * state:.2f}" for rows in arguments.rows)
    print(f"(weights and state alone, GiB: {sizes})")


def batches(rows: int, steps: int):
    """Ids of users and items, and labels, for every step."""
    import numpy as np

    rng = np.random.default_rng(0)
    ids = rng.integers(0, rows, (2, steps * BATCH)).astype("int32")
    return ids[0], ids[1], rng.normal(size=steps * BATCH).astype("float32")


def result(seconds: list[float]) -> dict[str, float]:
    """The median step after the warm-up, and the most memory held in these steps."""
    status = pathlib.Path("/proc/self/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return {"ms": 1e3 * statistics.median(seconds), "gib": int(peak.split()[1]) / 2**20}


def forget_peak() -> None:
    """Lets the peak start anew, so that creating the tables does not count."""
    pathlib.Path("/proc/self/clear_refs").write_text("5")


def kerasrec_step(optimizer: str, rows: int, steps: int) -> dict[str, float]:
    """The library's layer and optimizer in stock `fit`."""
    import keras

    from kerasrec import layers, optimizers

    made = {
        "adam": lambda: optimizers.Adam(clipnorm=1.0),
        "adagrad": lambda: optimizers.Adagrad(clipnorm=1.0),
        "sgd": optimizers.SGD,
    }
    return fit(keras, layers.Embedding, made[optimizer](), rows, steps)


def keras_step(optimizer: str, rows: int, steps: int) -> dict[str, float]:
    """Stock Keras; the legacy one where TF_USE_LEGACY_KERAS is set."""
    if os.environ.get("TF_USE_LEGACY_KERAS") == "1":
        import tf_keras as keras
    else:
        import keras
    made = {
        "adam": lambda: keras.optimizers.Adam(clipnorm=1.0),
        "adagrad": lambda: keras.optimizers.Adagrad(clipnorm=1.0),
        "sgd": keras.optimizers.SGD,
    }
    return fit(keras, keras.layers.Embedding, made[optimizer](), rows, steps)


def fit(keras, embedding, optimizer, rows: int, steps: int) -> dict[str, float]:
    """Times the steps of `model.fit`."""
    import tensorflow as tf

    user = keras.Input((), dtype="int32")
    item = keras.Input((), dtype="int32")
    vectors = embedding(rows, DIM)(user), embedding(rows, DIM)(item)
    model = keras.Model([user, item], keras.layers.Dot(1)(vectors))
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
    """A plain PyTorch loop with sparse gradients."""
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
    "tf_keras": keras_step,
    "torch": torch_step,
}


if __name__ == "__main__":
    main()
