"""Workers killed while they train: every run goes on, and ends with the same weights.

    python benchmarks/kill_workers.py                          # 10 kills; writes its page
    python benchmarks/kill_workers.py --kills 1 --epochs 3     # a small one, no page
    python benchmarks/kill_workers.py --save_freq 7            # goes on within an epoch, no page

Matrix factorisation on MovieLens 100K with drawn negatives, two worker processes on this machine
under `MultiWorkerMirroredStrategy`, `Adam(clipnorm)`, inverse time decay and
`kerasrec.callbacks.Resume`. A worker drawn at random gets SIGKILL at a random moment of an epoch;
then both are started again, as a cluster manager would. The first run is left alone.
"""

import argparse
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import describing
import numpy as np

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "benchmarks" / "kill_workers.md"
ABOUT = """# Workers killed while they train

Matrix factorisation on MovieLens 100K with 4 drawn negatives, two worker processes under \
`MultiWorkerMirroredStrategy`, `Adam(clipnorm=1)`, inverse time decay, and \
`kerasrec.callbacks.Resume`. In an epoch drawn at random one of the workers, drawn too, gets \
SIGKILL at a random batch, or while the file is written; both are then started again. The weights \
at the end are compared with those of a run that nobody disturbed. This page is written by \
`benchmarks/kill_workers.py`.

```text
{}```
"""
ROOT = pathlib.Path(__file__).parents[1]
# Seconds that the other worker gets to notice.
NOTICE = 60


def main() -> int:
    """Runs both trainings and compares; 1 if the weights differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save_freq", type=int, help="steps from file to file; an epoch has 50")
    parser.add_argument("--cell", nargs=6, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.cell:
        train(*arguments.cell, epochs=arguments.epochs, save_freq=arguments.save_freq or "epoch")
        return 0
    load = describing.load()
    draw = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "alone").mkdir()
        (folder / "killed").mkdir()
        began = time.perf_counter()
        alone = launch(folder / "alone", arguments, None)
        undisturbed = time.perf_counter() - began
        if any(alone):
            raise SystemExit(f"The run that nobody disturbed ended with the codes {alone}.")
        lines = []
        began = time.perf_counter()
        for number in range(1, arguments.kills + 1):
            # Spread over the training, each within an epoch that comes after those already done.
            epoch = (number - 1) * arguments.epochs // arguments.kills
            victim, batch = draw.randrange(2), draw.randrange(60)
            codes = launch(folder / "killed", arguments, (epoch, batch, victim))
            lines.append(
                f"kill {number:>2}: worker {victim}, epoch {epoch + 1}, "
                f"{'batch ' + str(batch + 1) if batch < 50 else 'while the file is written':<25}"
                f" exit codes {codes}"
            )
            print(lines[-1], file=sys.stderr, flush=True)
        codes = launch(folder / "killed", arguments, None)
        disturbed = time.perf_counter() - began
        worst = max(
            difference(folder / "alone" / f"{worker}.npz", folder / "killed" / f"{worker}.npz")
            for worker in (0, 1)
        )
    verdict = "reached" if worst == 0 and not any(codes) else "missed"
    text = "\n".join(
        [
            f"command   {describing.command()}",
            f"hardware  {describing.machine()}; {load}",
            f"versions  {describing.versions()}",
            f"settings  {arguments.epochs} epochs, seed {arguments.seed}"
            + (f", a file every {arguments.save_freq} steps" if arguments.save_freq else ""),
            "",
            *lines,
            "",
            f"last run: exit codes {codes}",
            f"largest difference of a weight: {worst:.1e}",
            f"undisturbed {undisturbed:.0f} s, with {arguments.kills} kills {disturbed:.0f} s",
            "",
            f"target    every run resumes and the weights are equal: {verdict}",
            "",
        ]
    )
    print(text)
    if verdict == "reached" and len(sys.argv) == 1:
        describing.write(PAGE, ABOUT.format(text))
    return int(verdict != "reached")


def launch(
    folder: pathlib.Path, arguments: argparse.Namespace, kill: tuple[int, int, int] | None
) -> tuple[int | None, ...]:
    """Starts both workers and waits for them; their exit codes."""
    ports = [str(port) for port in free_ports()]
    epoch, batch, victim = kill or (-1, -1, -1)
    options = ["--epochs", str(arguments.epochs)]
    options += ["--save_freq", str(arguments.save_freq)] if arguments.save_freq else []
    processes = [
        subprocess.Popen(
            [
                sys.executable, __file__, *options, "--cell", str(folder),
                str(worker), *ports, str(epoch if worker == victim else -1), str(batch),
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


def free_ports() -> list[int]:
    """Two ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def difference(one: pathlib.Path, other: pathlib.Path) -> float:
    """Largest difference of the weights in two files."""
    if not other.is_file():
        return float("inf")
    with np.load(one) as left, np.load(other) as right:
        return max(float(np.abs(left[name] - right[name]).max()) for name in left)


def train(
    folder: str, worker: str, first: str, second: str, epoch: str, batch: str, *,
    epochs: int, save_freq: int | str,
) -> None:  # fmt: skip
    """One worker, as a user would write it; `epoch` and `batch` say when it is killed."""
    from kerasrec import distribute

    workers = [f"127.0.0.1:{port}" for port in (first, second)]
    strategy = distribute.strategy("multiworker", workers=workers, index=int(worker))
    import keras

    from kerasrec import callbacks, data, datasets, models, optimizers

    class Kill(keras.callbacks.Callback):
        """SIGKILL to this process."""

        def on_epoch_begin(self, number, logs=None):
            self.number = number
            if number == int(epoch) and int(batch) >= 50:
                os.fsync = lambda file: os.kill(os.getpid(), signal.SIGKILL)

        def on_train_batch_end(self, number, logs=None):
            if (self.number, number) == (int(epoch), int(batch)):
                os.kill(os.getpid(), signal.SIGKILL)

        def on_epoch_end(self, number, logs=None):
            # The worker that writes no file dies at the end of the epoch instead.
            if number == int(epoch):
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
    resume = callbacks.Resume(path, batches, keep=int(epoch) >= 0, save_freq=save_freq)
    model.fit(
        batches, epochs=epochs, verbose=0, shuffle=False, callbacks=[resume, Kill()],
    )  # fmt: skip
    weights = {str(at): np.asarray(w) for at, w in enumerate(model.get_weights())}
    np.savez(pathlib.Path(folder, f"{worker}.npz"), **weights)


if __name__ == "__main__":
    sys.exit(main())
