"""Overhead of `GradientMonitor`: time of a training step with and without it.

    python benchmarks/gradient_monitor.py             # writes its page
    python benchmarks/gradient_monitor.py --page      # from stored results
    python benchmarks/gradient_monitor.py --doctor    # the same for `TrainingDiagnostics`; no page

Matrix factorisation in stock `model.fit`, in two sizes: that of MovieLens 1M (6,042 users, 3,708
items, dimension 64, batches of 8,192 rows) and two tables of 1,000,000 rows (dimension 32, batches
of 4,096). Ids are uniform, labels random. In one `fit`, epochs of 400 steps alternate between no
monitor and the monitor. The time includes the monitor's work at the end of its epoch.
"""

import argparse
import inspect
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pages
import tensorflow as tf
import turns

from kerasrec.callbacks import GradientMonitor, TrainingDiagnostics
from kerasrec.models import MatrixFactorization
from kerasrec.optimizers import SGD, Adam
from kerasrec.schema import Categorical, Schema
from kerasrec.training import keep_freed_memory

STEPS, TARGET = 400, 0.05
SIDES = {"without": False, "with": True}
ML_1M = {"users": 6_042, "items": 3_708, "dim": 64, "batch": 8_192}
MILLION = {"users": 1_000_000, "items": 1_000_000, "dim": 32, "batch": 4_096}
# Name, size, optimizer, arguments of compile.
Case = tuple[str, dict[str, int], Callable[[], Any], dict[str, Any]]
CASES: list[Case] = [
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

ABOUT = """# What `GradientMonitor` costs

Time of a training step of matrix factorisation in stock `model.fit`, with the monitor and without \
it. In one `fit`, an epoch of {steps} steps without it and one with it follow each other in turn; \
what the monitor does at the end of its epoch (fetching, comparing every row of the tables with \
that of the beginning) is in the time. The cost is the mean ratio of neighbours less 1, with its \
95 % interval over the rounds. The target counts as reached if the upper end of every interval \
is below it. This page is written by `benchmarks/gradient_monitor.py`.

```text
{text}
```
"""


def main() -> None:
    """Measure all cases and write the page."""
    default = inspect.signature(GradientMonitor).parameters["interval"].default
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--interval", type=int, default=default)
    parser.add_argument("--steps", type=int, default=STEPS, help="of an epoch")
    parser.add_argument("--doctor", action="store_true", help="measure TrainingDiagnostics instead")
    parser.add_argument("--only", default="", help="part of the names of cases")
    pages.add_options(parser)
    options = parser.parse_args()
    names = ("rounds", "interval", "steps", "doctor", "only")
    page = pages.Page(
        "gradient_monitor",
        __file__,
        {name: getattr(options, name) for name in names},
        remake=options.page,
        keep=pages.whole(parser, options),
    )
    settings = page.settings
    found = {}
    for number, case in enumerate(CASES):
        if settings["only"] in case[0]:
            found[case[0]] = page.result(f"case{number}", lambda case=case: measure(case, settings))
    page.write(ABOUT.format(steps=settings["steps"], text=report(page, found)))


def report(page: pages.Page, found: dict[str, dict[str, list[float]]]) -> str:
    """Return a table line for each case, and the verdict."""
    settings = page.settings
    lines = page.head(
        f"settings  interval {settings['interval']}, {settings['rounds']} rounds, seed 0"
    )
    lines.append(f"{'ms/step':42}{'without':>9}{'with':>9}{'cost':>28}")
    costs = {}
    for name, times in found.items():
        cost = turns.ratio(times["with"], times["without"])
        costs[name] = turns.Interval(cost.mean - 1, cost.low - 1, cost.high - 1)
        means = "".join(f"{statistics.geometric_mean(times[s]):>9.3f}" for s in SIDES)
        lines.append(f"{name:42}{means}{costs[name].show('+.1%'):>28}")
    worst = max(costs, key=lambda name: costs[name].high)
    verdict = "reached" if costs[worst].high < TARGET else "missed"
    high = f"highest upper end {costs[worst].high:+.1%}: {worst}"
    return "\n".join([*lines, "", f"target    less than {TARGET:.0%}: {verdict} ({high})"])


def measure(case: Case, settings: dict[str, Any]) -> dict[str, list[float]]:
    """Return milliseconds per step, with and without the callback, of every round."""
    name, size, optimizer, compiling = case
    callback: keras.callbacks.Callback = GradientMonitor(settings["interval"])
    if settings["doctor"]:
        callback = TrainingDiagnostics(batch_path=None)
    keras.utils.set_random_seed(0)
    data = batches(size, settings["steps"])
    model = matrix_factorization(size)
    model.compile(optimizer(), "mse", **compiling)
    both = Turns(callback)
    epochs = 2 * settings["rounds"] + 2
    keep_freed_memory()
    model.fit(data, epochs=epochs, verbose=0, shuffle=False, callbacks=[both])
    check(callback, settings)
    # The first epoch of each side traces, with cold caches.
    found = {
        side: [1e3 * seconds / settings["steps"] for seconds in both.seconds[watched][1:]]
        for side, watched in SIDES.items()
    }
    print(name, found, file=sys.stderr, flush=True)
    return found


class Turns(keras.callbacks.Callback):
    """Timer of the epochs of one `fit`, in which every second epoch has the callback."""

    # As in the callbacks themselves: several batches may run per execution.
    counts_batches = False

    def __init__(self, monitor: keras.callbacks.Callback) -> None:
        super().__init__()
        self.monitor = monitor
        self.seconds: dict[bool, list[float]] = {False: [], True: []}
        self.functions: dict[bool, Any] = {}

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Install the train function of the side and start the clock."""
        self.watched = epoch % 2 == 1
        if self.watched not in self.functions:
            # The callback begins after the function without it has been traced. A function traced
            # later would contain the callback as well.
            if self.watched:
                self.monitor.set_model(self.model)
                self.monitor.on_train_begin()
            self.functions[self.watched] = self.model.train_function
        self.model.train_function = self.functions[self.watched]
        self.began = time.perf_counter()
        if self.watched:
            self.monitor.on_epoch_begin(epoch)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Forward the call, as `fit` does."""
        if self.watched:
            self.monitor.on_train_batch_end(batch, logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Stop the clock."""
        if self.watched:
            self.monitor.on_epoch_end(epoch, logs)
        self.seconds[self.watched].append(time.perf_counter() - self.began)

    def on_train_end(self, logs: Any = None) -> None:
        """Restore the model."""
        self.model.train_function = self.functions[True]
        self.monitor.on_train_end()


def check(monitor: keras.callbacks.Callback, settings: dict[str, Any]) -> None:
    """Exit if the monitor has missed its epochs, or has observed the others."""
    if not isinstance(monitor, GradientMonitor):
        return
    looks = {len(values) for values in monitor.observations.values()}
    epochs, each = settings["rounds"] + 1, settings["steps"] // settings["interval"]
    if not looks or not epochs * each <= min(looks) <= max(looks) <= epochs * (each + 1):
        raise SystemExit(f"The monitor looked {looks} times in {epochs} epochs.")


def matrix_factorization(size: dict[str, int]) -> keras.Model:
    """Return the library's model."""
    schema = Schema(
        user=Categorical("user_id", size["users"]), item=Categorical("item_id", size["items"])
    )
    return MatrixFactorization(schema, embedding_dim=size["dim"])


def batches(size: dict[str, int], steps: int) -> tf.data.Dataset:
    """Return batches of uniform ids and random labels."""
    rng = np.random.default_rng(0)
    shape = steps, size["batch"]
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
