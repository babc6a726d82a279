"""What `GradientMonitor` costs: time of a training step with it and without it.

    python benchmarks/gradient_monitor.py [--rounds 15] [--interval 50]
    python benchmarks/gradient_monitor.py --doctor    # the same for `Doctor`; no page

Matrix factorisation in stock `model.fit`, in two sizes: that of MovieLens 1M (6,042 users, 3,708
items, dimension 64, batches of 8,192 rows) and two tables of 1,000,000 rows (dimension 32, batches
of 4,096). Ids are uniform, labels random. In one `fit`, an epoch of 400 steps without the monitor
and one with it follow each other in turn; what the monitor does at the end of its epoch is in the
time. The cost is the median over the rounds of the quotient of two neighbours. With the default
arguments the output is also written to docs/benchmarks/gradient_monitor.md.
"""

import argparse
import contextlib
import inspect
import os
import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import describing
import keras
import numpy as np
import tensorflow as tf

from kerasrec.callbacks import Doctor, GradientMonitor
from kerasrec.models import MatrixFactorization
from kerasrec.optimizers import SGD, Adam
from kerasrec.schema import Categorical, Schema

STEPS, TARGET = 400, 0.05
ML_1M = {"users": 6_042, "items": 3_708, "dim": 64, "batch": 8_192}
MILLION = {"users": 1_000_000, "items": 1_000_000, "dim": 32, "batch": 4_096}
# Name, size, optimizer, arguments of compile.
CASES: list[tuple[str, dict[str, int], Callable[[], Any], dict[str, Any]]] = [
    ("ml-1m, Adam(clipnorm)", ML_1M, lambda: Adam(clipnorm=1.0), {}),
    (
        "ml-1m, same, XLA, 16 steps per execution",
        ML_1M,
        lambda: Adam(clipnorm=1.0),
        {"jit_compile": True, "steps_per_execution": 16},
    ),
    ("ml-1m, SGD", ML_1M, lambda: SGD(0.1), {}),
    ("ml-1m, stock Adam(clipnorm)", ML_1M, lambda: keras.optimizers.Adam(clipnorm=1.0), {}),
    ("1M rows, Adam(clipnorm)", MILLION, lambda: Adam(clipnorm=1.0), {}),
    ("1M rows, same, XLA", MILLION, lambda: Adam(clipnorm=1.0), {"jit_compile": True}),
]

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "benchmarks" / "gradient_monitor.md"
ABOUT = """# What `GradientMonitor` costs

Time of a training step of matrix factorisation in stock `model.fit`, with the monitor and without \
it. In one `fit`, an epoch of 400 steps without it and one with it follow each other in turn; what \
the monitor does at the end of its epoch (fetching, comparing every row of the tables with the one \
of the beginning) is in the time. The cost is the median of the quotients of \
neighbours; the range is that of the quotients. This page is written by \
`benchmarks/gradient_monitor.py`.
"""


def main() -> None:
    """Measures all cases and prints the table."""
    default = inspect.signature(GradientMonitor).parameters["interval"].default
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--interval", type=int, default=default)
    parser.add_argument("--doctor", action="store_true", help="measure Doctor instead")
    parser.add_argument("--only", default="", help="part of the names of cases")
    options = parser.parse_args()
    output = describing.Tee(sys.stdout)
    with contextlib.redirect_stdout(output):
        print(f"command   python {' '.join(sys.argv)}")
        print(f"hardware  {describing.machine()}; {describing.load()}")
        print(f"versions  {describing.versions()}")
        print(f"settings  interval {options.interval}, {options.rounds} rounds, seed 0\n")
        print(f"{'ms/step':42}{'without':>9}{'with':>9}{'cost':>9}{'range':>19}")
        costs = [
            measure(
                *case,
                options.rounds,
                Doctor(batch_path=None) if options.doctor else GradientMonitor(options.interval),
            )
            for case in CASES
            if options.only in case[0]
        ]
        verdict = "reached" if max(costs) < TARGET else "missed"
        print(f"\ntarget    less than {TARGET:.0%}: {verdict} (at most {max(costs):.1%})")
    if len(sys.argv) == 1:
        describing.write(PAGE, f"{ABOUT}\n```text\n{output.getvalue()}```\n")


def measure(
    name: str,
    size: dict[str, int],
    optimizer: Callable[[], Any],
    compiling: dict[str, Any],
    rounds: int,
    callback: keras.callbacks.Callback,
) -> float:
    """Prints a row of the table; returns the share of time that the callback adds."""
    keras.utils.set_random_seed(0)
    data = batches(size)
    model = matrix_factorization(size)
    model.compile(optimizer(), "mse", **compiling)
    model.fit(data.take(32), verbose=0, shuffle=False)  # traces the function without the monitor
    turns = Turns(callback)
    model.fit(data, epochs=2 * rounds + 2, verbose=0, shuffle=False, callbacks=[turns])
    # The first epoch of each side traces, and finds the caches cold.
    without, with_it = (1e3 * np.array(turns.seconds[side][1:]) / STEPS for side in (False, True))
    quotients = with_it / without
    cost = float(np.median(quotients)) - 1
    spread = f"{quotients.min() - 1:+.1%} to {quotients.max() - 1:+.1%}"
    means = f"{np.median(without):>9.3f}{np.median(with_it):>9.3f}"
    print(f"{name:42}{means}{cost:>+9.1%}{spread:>19}")
    return cost


class Turns(keras.callbacks.Callback):
    """Times the epochs of one `fit`, of which every second one has the callback."""

    def __init__(self, monitor: keras.callbacks.Callback) -> None:
        super().__init__()
        self.monitor = monitor
        self.seconds: dict[bool, list[float]] = {False: [], True: []}

    def on_train_begin(self, logs: Any = None) -> None:
        """Keeps the function that trains without the monitor, and the one that trains with it."""
        plain = self.model.train_function
        self.monitor.set_model(self.model)
        self.monitor.on_train_begin()
        self.functions = {False: plain, True: self.model.train_function}

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Starts the clock."""
        self.watched = epoch % 2 == 1
        self.model.train_function = self.functions[self.watched]
        self.began = time.perf_counter()
        if self.watched:
            self.monitor.on_epoch_begin(epoch)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """As in `fit`."""
        if self.watched:
            self.monitor.on_train_batch_end(batch, logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Stops it."""
        if self.watched:
            self.monitor.on_epoch_end(epoch, logs)
        self.seconds[self.watched].append(time.perf_counter() - self.began)

    def on_train_end(self, logs: Any = None) -> None:
        """Leaves the model as it was."""
        self.monitor.on_train_end()


def matrix_factorization(size: dict[str, int]) -> keras.Model:
    """The library's model."""
    schema = Schema(
        user=Categorical("user_id", size["users"]), item=Categorical("item_id", size["items"])
    )
    return MatrixFactorization(schema, embedding_dim=size["dim"])


def batches(size: dict[str, int]) -> tf.data.Dataset:
    """Uniform ids and random labels."""
    rng = np.random.default_rng(0)
    shape = STEPS, size["batch"]
    columns = {
        "user_id": rng.integers(2, size["users"], shape).astype("int32"),
        "item_id": rng.integers(2, size["items"], shape).astype("int32"),
    }
    labels = rng.normal(size=shape).astype("float32")
    switches = tf.data.Options()
    switches.autotune.enabled = False
    return tf.data.Dataset.from_tensor_slices((columns, labels)).with_options(switches)


if __name__ == "__main__":
    main()
