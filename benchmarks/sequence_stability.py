"""LSTM and GRU over long histories: gradient norms, a rate ten times too high, low memory.

    python benchmarks/sequence_stability.py                        # all; writes page and picture
    python benchmarks/sequence_stability.py --cells gru --seeds 0  # a look, no page

Each training leaves a file in `--results`, from which an interrupted run resumes. A file counts
only if settings, versions and hardware are those of the run.

The task is next-item training on the newest films of MovieLens 1M users with long histories. All
runs of a cell have the same data and, for a seed, the same initial weights and order of batches.
They differ in the learning rate and in the remedies.
"""

import argparse
import dataclasses
import functools
import json
import math
import os
import pathlib
import re
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pages
import processes

PICTURE = "sequence_stability.svg"
LENGTH, USERS, BATCH, STEPS_PER_LOOK, LOOKS = 300, 160, 16, 10, 8
DIM, UNITS = 32, 64
CELLS = ("lstm", "gru")
RATE, TOO_HIGH = 10.0, 100.0
CLIPNORM, DECAY, WARMUP = 0.01, 9.0, 20
MEMORY_UNITS, MEMORY_ROWS, MEMORY_PARTS, MEMORY_UPDATES = 256, 64, 8, 4
SETTINGS = [
    LENGTH, USERS, BATCH, STEPS_PER_LOOK, LOOKS, DIM, UNITS, RATE, TOO_HIGH, CLIPNORM, DECAY,
    WARMUP,
    MEMORY_UNITS, MEMORY_ROWS, MEMORY_PARTS, MEMORY_UPDATES,
]  # fmt: skip
SIDES = {
    "whole": f"{MEMORY_ROWS} rows at once",
    "parts": f"{MEMORY_PARTS} batches of {MEMORY_ROWS // MEMORY_PARTS} rows, accumulated",
}


def decaying(rate: float, warmup_steps: int) -> Any:
    """Return the learning rate of each step."""
    from kerasrec.optimizers import inverse_time_decay

    return inverse_time_decay(
        rate, examples=LOOKS * STEPS_PER_LOOK, batch_size=1, epochs=1, decay_rate=DECAY,
        warmup_steps=warmup_steps, verbose=0,
    )  # fmt: skip


def setups() -> dict[str, Callable[[], Any]]:
    """Return by name a function that creates the optimizer."""
    from kerasrec.optimizers import SGD

    decay = f"decay to 1/{1 + DECAY:g}"
    return {
        f"rate {RATE:g}": lambda: SGD(RATE),
        f"rate {TOO_HIGH:g}": lambda: SGD(TOO_HIGH),
        f"rate {TOO_HIGH:g}, {decay}": lambda: SGD(decaying(TOO_HIGH, 0)),
        f"rate {TOO_HIGH:g}, clipnorm={CLIPNORM:g}": lambda: SGD(TOO_HIGH, clipnorm=CLIPNORM),
        f"rate {TOO_HIGH:g}, clipnorm={CLIPNORM:g}, {decay}, warm-up": lambda: SGD(
            decaying(TOO_HIGH, WARMUP), clipnorm=CLIPNORM
        ),
    }


def histories(rows: int) -> tuple[Any, Any]:
    """Return the schema and the columns of users with more than `LENGTH` training rows."""
    from sequence_training import load as read
    from sequence_training import next_item_schema

    train = read("sasrec-ml-1m").split.train
    schema, (columns,) = next_item_schema("sasrec-ml-1m", LENGTH, train)
    users = columns["user_id"]
    long = np.flatnonzero(np.bincount(users) > LENGTH)[:rows]
    return schema, {name: values[np.isin(users, long)] for name, values in columns.items()}


@dataclasses.dataclass(frozen=True)
class Curve:
    """Losses of the untrained model and of every check, and global gradient norms."""

    losses: list[float]
    before: list[float]
    after: list[float]


def train(cell: str, make_optimizer: Callable[[], Any], seed: int, data: Any) -> Curve:
    """Train once."""
    import keras

    from kerasrec.callbacks import GradientMonitor
    from kerasrec.data import next_items
    from kerasrec.models import GRU4Rec
    from kerasrec.retrieval import NextItemTrainer

    schema, columns = data
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    model = GRU4Rec(schema, embedding_dim=DIM, hidden_units=(UNITS,), cell=cell, dropout=0.0)
    trainer, monitor = NextItemTrainer(model), GradientMonitor(interval=1)
    trainer.compile(make_optimizer(), jit_compile=True)
    rows = next_items(columns, schema, batch_size=BATCH, time=None, pack_rows=False, seed=seed)
    losses = [float(trainer.evaluate(rows, verbose=0))]
    from kerasrec.training import keep_freed_memory

    keep_freed_memory()
    history = trainer.fit(rows, epochs=LOOKS, shuffle=False, verbose=0, callbacks=[monitor]).history
    return Curve(
        losses + [float(loss) for loss in history["loss"]],
        _together(monitor.observations, "grad_norm/"),
        _together(monitor.observations, "clipped_norm/"),
    )


def _together(observations: dict[str, np.ndarray], prefix: str) -> list[float]:
    """Return the norm over all variables at each step."""
    norms = [values for name, values in observations.items() if name.startswith(prefix)]
    if not norms:
        return []
    with np.errstate(over="ignore", invalid="ignore"):
        total = np.sqrt(np.sum(np.square(np.array(norms, np.float64)), axis=0))
    return [float(value) for value in total]


def measured(side: str) -> dict[str, Any]:
    """Return peak memory and losses of the same updates, from whole or split batches."""
    import keras

    from kerasrec.data import next_items
    from kerasrec.models import GRU4Rec
    from kerasrec.optimizers import Adam
    from kerasrec.retrieval import NextItemTrainer

    parts = MEMORY_PARTS if side == "parts" else 1
    schema, columns = histories(MEMORY_ROWS * MEMORY_UPDATES)
    keras.utils.set_random_seed(0)
    model = GRU4Rec(
        schema, embedding_dim=DIM, hidden_units=(MEMORY_UNITS,), cell="lstm", dropout=0.0
    )
    trainer = NextItemTrainer(model)
    accumulated = {"gradient_accumulation_steps": parts} if parts > 1 else {}
    trainer.compile(Adam(0.003, **accumulated), jit_compile=True)
    options = {"time": None, "pack_rows": False, "shuffle": False}
    rows = next_items(columns, schema, batch_size=MEMORY_ROWS // parts, **options)
    peak_before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    from kerasrec.training import keep_freed_memory

    keep_freed_memory()
    trainer.fit(rows, epochs=2, shuffle=False, verbose=0)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    few = next_items(columns, schema, batch_size=MEMORY_ROWS // MEMORY_PARTS, **options)
    loss = float(trainer.evaluate(few, verbose=0))
    scale = 1024 / 2**30
    return {
        "before": peak_before * scale, "peak": peak * scale, "loss": loss, "seconds": seconds,
    }  # fmt: skip


def number(value: float) -> str:
    """Format a number with three decimals or its magnitude; `NaN` for NaN."""
    if not math.isfinite(value):
        return "NaN"
    return f"{value:.3f}" if abs(value) < 1e3 else f"{value:.0e}"


def good(curve: Curve) -> bool:
    """Return whether the last loss is finite and below that of the untrained model."""
    return math.isfinite(curve.losses[-1]) and curve.losses[-1] < curve.losses[0]


def norms(values: list[float]) -> str:
    """Return median and maximum of the finite norms, and whether others follow."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return "NaN" if values else ""
    text = f"{number(float(np.median(finite)))}, {number(max(finite))}"
    return text + ("" if len(finite) == len(values) else ", then NaN")


def row(name: str, curves: list[Curve]) -> str:
    """Return a table line of a cell."""
    finals = [curve.losses[-1] for curve in curves]
    worst = max((loss if math.isfinite(loss) else math.inf) for c in curves for loss in c.losses)
    mean = number(float(np.mean(finals)))
    before = norms([value for curve in curves for value in curve.before])
    after = norms([value for curve in curves for value in curve.after])
    cells = [
        name, " / ".join(map(number, finals)), mean, number(worst),
        before, after,
        f"{sum(map(good, curves))} of {len(curves)}",
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


HEADER = """| training | last loss by seed | mean | largest loss | gradient norm: median, largest \
| after clipping | below the untrained |
|---|---|---|---|---|---|---|"""


def verdict(results: dict[str, dict[str, list[Curve]]]) -> str:
    """Return each claim and whether it holds, cell by cell."""
    lines = []
    for cell, found in results.items():
        names = list(found)
        plain, bare, remedied = (found[names[at]] for at in (0, 1, -1))
        mean = [float(np.mean([c.losses[-1] for c in curves])) for curves in (plain, remedied)]
        lines.append(
            f"- {cell.upper()}: ten times the rate without a remedy ends below the untrained model "
            f"with {sum(map(good, bare))} of {len(bare)} seeds (last loss "
            f"{' / '.join(number(c.losses[-1]) for c in bare)}), with all remedies with "
            f"{sum(map(good, remedied))} of {len(remedied)} (mean {number(mean[1])}; the ordinary "
            f"rate ends at {number(mean[0])})."
        )
    return "\n".join(lines)


def page(
    results: dict[str, dict[str, list[Curve]]], memory: dict[str, dict[str, Any]], about: str
) -> str:
    """Return the whole page."""
    sections = []
    for cell, found in results.items():
        untrained = " / ".join(number(curve.losses[0]) for curve in next(iter(found.values())))
        rows = "\n".join(row(name, curves) for name, curves in found.items())
        sections.append(f"## {cell.upper()}\n\nUntrained loss {untrained}.\n\n{HEADER}\n{rows}")
    whole, parts = memory["whole"], memory["parts"]
    sides = "\n".join(
        f"| {SIDES[side]} | {one['loss']:.5f} | {one['peak']:.2f} | "
        f"{one['peak'] - one['before']:.2f} | {one['seconds']:.0f} |"
        for side, one in memory.items()
    )
    share = (parts["peak"] - parts["before"]) / (whole["peak"] - whole["before"])
    return f"""# Long histories: gradients, rates and memory

Written by `benchmarks/sequence_stability.py`; run it again instead of editing this page.

![Loss and gradient norm by step]({PICTURE})

{verdict(results)}
- Gradients accumulated over {MEMORY_PARTS} batches: the same loss to
  {abs(whole["loss"] - parts["loss"]):.1e}, and {share:.2f} of the memory that training adds.

{about}

The newest {LENGTH + 1} training films of the first {USERS} users of sasrec-ml-1m who have as many:
at each of {LENGTH} steps the next one is to be told (`GRU4Rec` with `cell` LSTM or GRU of {UNITS}
units, dimension {DIM}, `NextItemTrainer` with the softmax over all films), in batches of {BATCH}
rows, {LOOKS * STEPS_PER_LOOK} steps of `kerasrec.optimizers.SGD`. {TOO_HIGH:g} is ten times
{RATE:g}, which was chosen by hand as a rate that trains well. A loss is the mean over
{STEPS_PER_LOOK} steps. Norms are those of all gradients of a step together, as
`GradientMonitor(interval=1)` records them before and after clipping; `clipnorm` bounds that of each
variable. "Decay" is `inverse_time_decay`, to 1/{1 + DECAY:g} of the rate at the last step; warm-up
takes {WARMUP} steps.

{sections[0]}

{sections[1] if len(sections) > 1 else ""}

## Where memory is short

`gradient_accumulation_steps` updates the weights once for so many batches, with the mean of their
gradients. An LSTM of {MEMORY_UNITS} units, {LENGTH} steps, {MEMORY_ROWS} rows an update,
{2 * MEMORY_UPDATES} updates of `kerasrec.optimizers.Adam`, each side in a process of its own.

| a batch | loss after training | peak GiB | of it by training | s |
|---|---|---|---|---|
{sides}

Peak is the largest resident memory of the process, "by training" what it grew by in `fit`, XLA's
compilation included.
"""


COLORS = ("#1b7837", "#d7191c", "#e08214", "#2166ac", "#111111")


def draw(results: dict[str, dict[str, list[Curve]]], path: pathlib.Path) -> None:
    """Plot loss and gradient norm by step: columns are cells, colours setups, lines seeds."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    matplotlib.rcParams["svg.hashsalt"] = "kerasrec"
    figure = Figure(figsize=(12, 8), layout="constrained")
    grid = figure.subplots(2, len(results), squeeze=False)
    for column, (cell, found) in enumerate(results.items()):
        above, below = grid[:, column]
        untrained = next(iter(found.values()))[0].losses[0]
        for color, curves in zip(COLORS, found.values(), strict=True):
            for curve in curves:
                steps = np.arange(len(curve.losses)) * STEPS_PER_LOOK
                losses = np.nan_to_num(np.array(curve.losses), nan=1e9, posinf=1e9)
                above.plot(steps, losses, color=color, lw=1.8, alpha=0.8)
                norms = np.array(curve.before)
                below.plot(np.arange(1, len(norms) + 1), norms, color=color, lw=1, alpha=0.7)
        above.axhline(untrained, color="#666666", ls=":", lw=1.5)
        above.set(title=cell.upper(), ylim=(untrained * 0.8, untrained * 1.6))
        below.set(yscale="log", xlabel="steps")
        for axes in (above, below):
            axes.spines[["top", "right"]].set_visible(False)
    grid[0, 0].set_ylabel("loss")
    grid[1, 0].set_ylabel("norm of the gradient before clipping")
    names = list(next(iter(results.values())))
    handles = [
        Line2D([], [], color=color, lw=3, label=name)
        for color, name in zip(COLORS, names, strict=True)
    ]
    handles.append(Line2D([], [], color="#666666", ls=":", label="untrained model"))
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Parse the flags, run, print and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--cells", nargs="+", default=list(CELLS), choices=CELLS)
    pages.add_options(parser)
    parser.add_argument("--cell", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.cell:
        print(json.dumps(measured(arguments.cell[0])))
        return
    made = pages.Page(
        "sequence_stability",
        __file__,
        {"seeds": arguments.seeds, "cells": arguments.cells, "more": SETTINGS},
        remake=arguments.page,
        keep=pages.whole(parser, arguments),
    )
    seconds = 0.0

    def result(name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        nonlocal seconds

        def timed() -> dict[str, Any]:
            start = time.perf_counter()
            return {"found": make(), "all_seconds": time.perf_counter() - start}

        held = made.result(re.sub("[^a-z0-9.]+", "-", name), timed)
        seconds += held["all_seconds"]
        return dict(held["found"])

    memory = {}
    with tempfile.TemporaryDirectory() as folder:
        for side in SIDES:
            measure = functools.partial(processes.measure, __file__, side, folder, sys.executable)
            memory[side] = result(side, measure)
            print(side, memory[side], flush=True)
    read = functools.cache(lambda: histories(USERS))
    results: dict[str, dict[str, list[Curve]]] = {}
    for cell in arguments.cells:
        for name, make_optimizer in setups().items():

            def one(seed: int, cell: str = cell, make: Any = make_optimizer) -> dict[str, Any]:
                return dataclasses.asdict(train(cell, make, seed, read()))

            curves = [
                Curve(**result(f"{cell} {name} seed{seed}", functools.partial(one, seed)))
                for seed in arguments.seeds
            ]
            results.setdefault(cell, {})[name] = curves
            print(cell, row(name, curves), f"{seconds:.0f} s", flush=True)
    about = [
        made.bullets(),
        f"- Seeds: {', '.join(map(str, arguments.seeds))}; of initial weights and order",
        f"- Time of all trainings: {seconds:.0f} s. Each result was stored as it ended.",
    ]
    if made.keep or made.remake:
        draw(results, pages.DOCS / PICTURE)
    made.write(page(results, memory, "\n".join(about)))


if __name__ == "__main__":
    main()
