"""Workers killed during training: every run resumes and ends with the same weights.

    python benchmarks/kill_workers.py                          # 10 kills; writes its page
    python benchmarks/kill_workers.py --kills 1 --epochs 3     # a small one, no page
    python benchmarks/kill_workers.py --save_freq 7            # goes on within an epoch, no page
    python benchmarks/kill_workers.py --page                   # from stored results

Matrix factorisation on MovieLens 100K with drawn negatives, two worker processes on this machine
under `MultiWorkerMirroredStrategy`, `Adam(clipnorm)`, inverse time decay and
`kerasrec.callbacks.ExactResume`. A worker gets SIGKILL at a random moment. Then both are restarted,
as a cluster manager would do. The first run is undisturbed.
"""

import argparse
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pages
import ports

ABOUT = """# Workers killed while they train

Matrix factorisation on MovieLens 100K with 4 drawn negatives, two worker processes under \
`MultiWorkerMirroredStrategy`, `Adam(clipnorm=1)`, inverse time decay, and \
`kerasrec.callbacks.ExactResume`. Epochs, workers and moments of the kills are drawn at random \
before the first run, and the kills come in the order of their epochs. Three kills in ten come \
within the write of the file: the worker that writes it gets SIGKILL when a random share of it \
is on the disk, or after the last of them, before the file gets its name. The others come after a \
random batch of a worker drawn at random. After each kill both workers are started again. The \
weights at the end are compared with those of a run that nobody disturbed. This page is written by \
`benchmarks/kill_workers.py`.

```text
{text}
```
"""
STEPS = 50  # of an epoch
ROOT = pathlib.Path(__file__).parents[1]
# Seconds for the other worker to notice.
NOTICE = 60


def main() -> int:
    """Run both trainings and compare them; return 1 if the weights differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save_freq", type=int, help="steps from file to file; an epoch has 50")
    parser.add_argument("--cell", nargs=6, help=argparse.SUPPRESS)
    pages.add_options(parser)
    arguments = parser.parse_args()
    if arguments.cell:
        train(*arguments.cell, epochs=arguments.epochs, save_freq=arguments.save_freq or "epoch")
        return 0
    page = pages.Page(
        "kill_workers",
        __file__,
        {name: getattr(arguments, name) for name in ("kills", "epochs", "seed", "save_freq")},
        remake=arguments.page,
        keep=pages.whole(parser, arguments),
    )
    found = page.result(f"seed{page.settings['seed']}", lambda: run(arguments))
    page.write(ABOUT.format(text=report(page, found)))
    return int(not reached(found))


def drawn(kills: int, epochs: int, seed: int) -> list[tuple[int, float, int]]:
    """Draw epoch, moment and worker of each kill, sorted by time.

    The moment is a batch, or from `STEPS` on the written share of the file, plus `STEPS`.
    """
    draw = random.Random(seed)
    writing = set(draw.sample(range(kills), round(0.3 * kills)))
    found = []
    for number, epoch in enumerate(sorted(draw.randrange(epochs) for _ in range(kills))):
        if number in writing:
            # A third of them once all bytes are written, but under the temporary name.
            found.append((epoch, STEPS + min(1.0, draw.uniform(0.0, 1.5)), 0))
        else:
            found.append((epoch, float(draw.randrange(STEPS)), draw.randrange(2)))
    # Sorted by time, so that none comes after its moment.
    return sorted(found)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Train without kills, then with kills."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "alone").mkdir()
        (folder / "killed").mkdir()
        began = time.perf_counter()
        alone = launch(folder / "alone", arguments, None)
        undisturbed = time.perf_counter() - began
        if any(alone):
            raise SystemExit(f"The run that nobody disturbed ended with the codes {alone}.")
        kills = []
        began = time.perf_counter()
        for kill in drawn(arguments.kills, arguments.epochs, arguments.seed):
            codes = launch(folder / "killed", arguments, kill)
            kills.append({"epoch": kill[0], "moment": kill[1], "worker": kill[2], "codes": codes})
            print(kills[-1], file=sys.stderr, flush=True)
        codes = launch(folder / "killed", arguments, None)
        return {
            "kills": kills,
            "codes": codes,
            "undisturbed": undisturbed,
            "disturbed": time.perf_counter() - began,
            "difference": max(
                difference(folder / "alone" / f"{worker}.npz", folder / "killed" / f"{worker}.npz")
                for worker in (0, 1)
            ),
        }


def reached(found: dict[str, Any]) -> bool:
    """Return whether every kill hit its worker and the last run has the same weights."""
    hit = all(kill["codes"][kill["worker"]] == -signal.SIGKILL for kill in found["kills"])
    return hit and found["difference"] == 0 and not any(found["codes"])


def report(page: pages.Page, found: dict[str, Any]) -> str:
    """Return a table line for each kill, and the verdict."""
    settings = page.settings
    frequency = settings["save_freq"]
    lines = page.head(
        f"settings  {settings['epochs']} epochs of {STEPS} steps, seed {settings['seed']}"
        + (f", a file every {frequency} steps" if frequency else ", a file every epoch")
    )
    for number, kill in enumerate(found["kills"], 1):
        share = kill["moment"] - STEPS
        moment = f"after batch {kill['moment'] + 1:.0f}"
        if share >= 0:
            moment = f"{share:.0%} of the file written" if share < 1 else "before the file's name"
        lines.append(
            f"kill {number:>2}: worker {kill['worker']}, epoch {kill['epoch'] + 1:>2}, "
            f"{moment:<26} exit codes {tuple(kill['codes'])}"
        )
    times = f"undisturbed {found['undisturbed']:.0f} s, with kills {found['disturbed']:.0f} s"
    verdict = "reached" if reached(found) else "missed"
    return "\n".join(
        [
            *lines,
            "",
            f"last run: exit codes {tuple(found['codes'])}",
            f"largest difference of a weight: {found['difference']:.1e}",
            times,
            "",
            f"target    every run resumes and the weights are equal: {verdict}",
        ]
    )


def launch(
    folder: pathlib.Path, arguments: argparse.Namespace, kill: tuple[int, float, int] | None
) -> tuple[int | None, ...]:
    """Start both workers, wait for them and return their exit codes."""
    free = [str(port) for port in ports.free_ports(2)]
    epoch, moment, victim = kill or (-1, -1.0, -1)
    options = ["--epochs", str(arguments.epochs)]
    options += ["--save_freq", str(arguments.save_freq)] if arguments.save_freq else []
    processes = [
        subprocess.Popen(
            [
                sys.executable, __file__, *options, "--cell", str(folder),
                str(worker), *free, str(epoch if worker == victim else -1), str(moment),
            ],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stderr=subprocess.DEVNULL,
        )
        for worker in (0, 1)
    ]  # fmt: skip
    try:
        for process in [processes[victim]] if kill else processes:
            process.wait(timeout=600)
        for process in processes:
            try:
                process.wait(timeout=NOTICE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    finally:
        for process in processes:
            process.kill()
    return tuple(process.returncode for process in processes)


def difference(one: pathlib.Path, other: pathlib.Path) -> float:
    """Return the largest difference of the weights in two files."""
    if not other.is_file():
        return float("inf")
    with np.load(one) as left, np.load(other) as right:
        return max(float(np.abs(left[name] - right[name]).max()) for name in left)


def train(
    folder: str, worker: str, first: str, second: str, epoch: str, moment: str, *,
    epochs: int, save_freq: int | str,
) -> None:  # fmt: skip
    """Train as one worker, as a user would write it, until the given moment of its kill."""
    from kerasrec import distribute

    workers = [f"127.0.0.1:{port}" for port in (first, second)]
    strategy = distribute.strategy("multiworker", workers=workers, index=int(worker))
    import keras

    from kerasrec import callbacks, data, datasets, models, optimizers

    share = float(moment) - STEPS

    class Kill(keras.callbacks.Callback):
        """Callback that sends SIGKILL to this process."""

        def on_epoch_begin(self, number: int, logs: Any = None) -> None:
            self.number = number

        def on_train_batch_end(self, number: int, logs: Any = None) -> None:
            if self.number != int(epoch):
                return
            if number == float(moment):
                os.kill(os.getpid(), signal.SIGKILL)
            # Earlier files are written within the epoch. The one at its end is meant.
            if share >= 0 and number == STEPS - 1:
                os.fsync = die

    def die(descriptor: int) -> None:
        """Leave a file as a kill during its write would: partially written."""
        size = os.fstat(descriptor).st_size
        os.ftruncate(descriptor, int(size * min(share, 1.0)))
        os.kill(os.getpid(), signal.SIGKILL)

    rows = datasets.load("movielens-100k").interactions
    vocabularies = data.fit_vocabularies(rows)
    schema, columns = data.make_schema(rows, vocabularies), data.encode(rows, vocabularies)
    batches = data.with_negatives(
        columns, schema, batch_size=10_000, negatives=4, drop_remainder=True
    )
    rate = optimizers.inverse_time_decay(
        0.01, examples=500_000, batch_size=10_000, epochs=epochs, decay_rate=9.0, verbose=0
    )
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = models.MatrixFactorization(schema, embedding_dim=32)
        model.compile(
            optimizers.Adam(rate, clipnorm=1.0), keras.losses.BinaryCrossentropy(from_logits=True)
        )
    path = pathlib.Path(folder, "training.npz")
    resume = callbacks.ExactResume(path, batches, keep=int(epoch) >= 0, save_freq=save_freq)
    from kerasrec.training import keep_freed_memory

    keep_freed_memory()
    model.fit(
        batches, epochs=epochs, verbose=0, shuffle=False, callbacks=[Kill(), resume],
    )  # fmt: skip
    weights = {str(at): np.asarray(w) for at, w in enumerate(model.get_weights())}
    np.savez(pathlib.Path(folder, f"{worker}.npz"), **weights)


if __name__ == "__main__":
    sys.exit(main())
