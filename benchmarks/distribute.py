"""Speed, traffic and estimated scaling of several replicas and workers.

    python benchmarks/distribute.py              # writes its page
    python benchmarks/distribute.py --rounds 1   # a short look, no page

Matrix factorisation on MovieLens 1M with 4 drawn negatives in stock `fit`, `Adam(clipnorm)`. It
runs on one device, on two replicas in one process, and on two worker processes, always with the
same global batch. Two processes that train half a batch each without communication show the cost of
communication. All of them share the cores of this machine. Bytes are those of the loopback
interface.
"""

import argparse
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pages

DIM, BATCH, NEGATIVES, STEPS, WARM_UP = 64, 40_000, 4, 25, 5
KINDS = {
    "device": "one device",
    "replicas": "two replicas, one process",
    "workers": "two workers, loopback",
    "silent": "two processes that do not talk, half a batch each",
}
# Assumed by the estimate: a typical cluster network.
GBIT, LATENCY = 25.0, 50e-6
ROOT = pathlib.Path(__file__).parents[1]
ABOUT = """# Several replicas and workers

Matrix factorisation on MovieLens 1M with 4 drawn negatives in stock `fit`, dimension {dim}, \
`Adam(clipnorm=1)`, {batch:,} rows a step. Workers share the cores and the loopback of one \
machine, so a second one cannot bring speed here: what is measured is what talking costs, and how \
much is said. Median step of {steps} after {warm_up} steps of warm-up, and over the rounds. This \
page is written by `benchmarks/distribute.py`.

```text
{text}```

## What more workers would do

An estimate and no measurement. Every worker keeps its {local:,} rows a step, which take it the \
time of one silent process above, and has a network of {gbit:g} Gbit/s with {latency:.0f} \
microseconds a message; nothing overlaps with computing. The gradients of looked-up rows are \
gathered from all workers, so what a worker receives grows with their number, by {row_bytes:,.0f} \
bytes a row as measured. For comparison, an all-reduce of both whole tables of this data set would \
move at most {dense:.1f} MiB a step, whatever the number of workers.

```text
{estimate}```
"""


def main() -> None:
    """Measure all kinds in turn, print the tables and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cell", nargs=4, help=argparse.SUPPRESS)
    pages.add_options(parser)
    arguments = parser.parse_args()
    if arguments.cell:
        print(json.dumps(train(*arguments.cell)))
        return
    page = pages.Page(
        "distribute",
        __file__,
        {"rounds": arguments.rounds},
        remake=arguments.page,
        keep=pages.whole(parser, arguments),
    )
    found = page.rounds(list(KINDS), page.settings["rounds"], lambda kind, number: measure(kind))
    middle = {
        kind: {n: statistics.median(cell[n] for cell in cells) for n in cells[0]}
        for kind, cells in found.items()
    }
    seconds = {kind: cell["seconds"] for kind, cell in middle.items()}
    share = 1 - seconds["silent"] / seconds["workers"]
    lines = page.head(f"settings  {page.settings['rounds']} rounds, seed 0")
    lines.append(f"{'':<52}{'ms/step':>9}{'M rows/s':>10}{'MiB sent/step':>15}")
    for kind, cell in middle.items():
        rate = BATCH / cell["seconds"] / 1e6
        sent = f"{cell['bytes'] / 2**20:.2f}" if kind == "workers" else "-"
        lines.append(f"{KINDS[kind]:<52}{1e3 * cell['seconds']:>9.1f}{rate:>10.2f}{sent:>15}")
    lines += ["", f"talking takes {share:.0%} of a step of two workers here", ""]
    text = "\n".join(lines)
    # Each of two workers receives the rows looked up by the other one.
    row_bytes = middle["workers"]["bytes"] / (BATCH // 2)
    estimate = estimated(seconds["silent"], row_bytes)
    page.write(
        ABOUT.format(
            dim=DIM, batch=BATCH, steps=STEPS, warm_up=WARM_UP, text=text, local=BATCH // 2,
            gbit=GBIT, latency=LATENCY * 1e6, row_bytes=row_bytes,
            dense=2 * middle["device"]["table_bytes"] / 2**20, estimate=estimate,
        )
    )  # fmt: skip


def estimated(compute: float, row_bytes: float) -> str:
    """Return the estimated steps of 1 to 64 workers, for a batch that grows with them."""
    lines = [
        f"{'workers':>8}{'MiB received':>14}{'ms talking':>12}{'M rows/s':>10}{'of ideal':>10}"
    ]
    for workers in (1, 2, 8, 64):
        received = (workers - 1) * (BATCH // 2) * row_bytes
        talking = received * 8 / (GBIT * 1e9) + (workers - 1) * LATENCY
        rate = workers * (BATCH // 2) / (compute + talking)
        lines.append(
            f"{workers:>8}{received / 2**20:>14.1f}{1e3 * talking:>12.1f}{rate / 1e6:>10.2f}"
            f"{compute / (compute + talking):>10.0%}"
        )
    return "\n".join(lines) + "\n"


def measure(kind: str) -> dict[str, float]:
    """Measure one cell: run its processes side by side and return the slowest."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    ports = [str(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, "--cell", kind, str(index), *ports],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for index in range(2 if kind in ("workers", "silent") else 1)
    ]  # fmt: skip
    cells = []
    for process in processes:
        output, errors = process.communicate()
        if process.returncode:
            raise SystemExit(f"{kind}: {errors.strip().splitlines()[-1]}")
        cells.append(json.loads(output.strip().splitlines()[-1]))
    print(f"{kind}: {1e3 * max(c['seconds'] for c in cells):.1f} ms", file=sys.stderr, flush=True)
    return {name: max(cell[name] for cell in cells) for name in cells[0]}


def train(kind: str, index: str, first: str, second: str) -> dict[str, float]:
    """Train in one process; return the median step and the loopback bytes per step."""
    from kerasrec import distribute

    if kind == "workers":
        workers = [f"127.0.0.1:{port}" for port in (first, second)]
        strategy = distribute.strategy("multiworker", workers=workers, index=int(index))
    elif kind == "replicas":
        strategy = distribute.strategy("cpu", replicas=2)
    else:
        strategy = distribute.strategy("auto")
    import keras

    from kerasrec import data, datasets, models, optimizers

    rows = datasets.load("movielens-1m").interactions
    vocabularies = data.fit_vocabularies(rows)
    schema, columns = data.make_schema(rows, vocabularies), data.encode(rows, vocabularies)
    batch = BATCH // 2 if kind == "silent" else BATCH
    batches = data.with_negatives(
        columns, schema, batch_size=batch, negatives=NEGATIVES, drop_remainder=True
    )
    steps: list[float] = []
    sent: list[int] = []

    class Clock(keras.callbacks.Callback):
        def on_train_batch_end(self, number, logs=None):
            float(logs["loss"])  # until the step is done
            steps.append(time.perf_counter())
            sent.append(loopback())

    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = models.MatrixFactorization(schema, embedding_dim=DIM)
        model.compile(
            optimizers.Adam(0.001, clipnorm=1.0), keras.losses.BinaryCrossentropy(from_logits=True)
        )
    from kerasrec.training import keep_freed_memory

    keep_freed_memory()
    model.fit(
        batches, steps_per_epoch=WARM_UP + STEPS, verbose=0, shuffle=False, callbacks=[Clock()]
    )
    durations = [b - a for a, b in zip(steps[WARM_UP - 1 :], steps[WARM_UP:], strict=False)]
    return {
        "seconds": statistics.median(durations),
        "bytes": (sent[-1] - sent[WARM_UP - 1]) / STEPS / 2,
        "table_bytes": 4.0 * sum(w.size for w in model.get_weights() if w.ndim == 2),
    }


def loopback() -> int:
    """Return the bytes sent by the loopback interface so far, for both workers."""
    lines = pathlib.Path("/proc/net/dev").read_text().splitlines()
    return next(int(line.split()[9]) for line in lines if line.strip().startswith("lo:"))


if __name__ == "__main__":
    main()
