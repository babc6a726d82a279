"""200 million rows of Parquet, streamed through stock `fit`, beside the same model in memory.

    python benchmarks/streaming.py                                  # writes its page
    python benchmarks/streaming.py --rows 10_000_000 --files 4      # a small one, no page

Writes a synthetic Parquet set to a temporary folder, of which nothing stays: a user, an item and a
label a row, users and items drawn by a power law, ids that are sparse 45-bit numbers. Matrix
factorisation with `kerasrec.optimizers.Adam` then makes one pass over it with `stream_parquet`, in
a process of its own, and another process trains the same model on the first rows held in memory.
"""

import argparse
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import describing
import numpy as np

ROOT = pathlib.Path(__file__).parents[1]
PAGE = ROOT / "docs" / "benchmarks" / "streaming.md"
ABOUT = """# Training on data larger than memory

Matrix factorisation with 32 columns and biases, `kerasrec.optimizers.Adam`, stock `fit`, on a \
synthetic Parquet set of a user, an item and a label a row. Users and items follow a power law, \
their raw ids are sparse 45-bit integers, which are read, looked up in the vocabularies and \
shuffled while the model trains. The first process makes one pass over all files with \
`stream_parquet`; its time holds everything: compiling, opening the files, filling the buffer. \
The second trains the same model, with tables of the same size, on the first rows held in memory \
as encoded numpy columns; of its passes after the first one, the fastest counts. Peak RSS is that \
of the whole process: TensorFlow, vocabularies, weights and the state of the optimizer are in it. \
This page is written by `benchmarks/streaming.py`.

```text
{}```
"""
ROW_GROUP = 1_000_000
GIB = 1 << 30


def main() -> int:
    """Writes the files, runs both trainings, prints and compares."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000_000)
    parser.add_argument("--files", type=int, default=50)
    parser.add_argument("--users", type=int, default=2_000_000)
    parser.add_argument("--items", type=int, default=200_000)
    parser.add_argument("--sample", type=int, default=5_000_000, help="rows in memory")
    parser.add_argument("--batch_size", type=int, default=16_384)
    parser.add_argument("--buffer_rows", type=int, default=1 << 20)
    parser.add_argument("--embedding_dim", type=int, default=32)
    parser.add_argument("--folder", help="where the files go, and stay for the next time")
    parser.add_argument("--write_only", action="store_true", help="write the files to --folder")
    parser.add_argument("--cell", choices=["streamed", "memory"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.cell:
        print(json.dumps(train(arguments)))
        return 0
    load = describing.load()
    defaults = {name: parser.get_default(name) for name in vars(arguments)}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(arguments.folder or name)
        began = time.perf_counter()
        if not folder.is_dir() or not any(folder.iterdir()):
            write_files(folder, arguments)
            writing = f"written in {time.perf_counter() - began:.0f} s"
        else:
            writing = "written before"
        if arguments.write_only:
            return 0
        size = sum(file.stat().st_size for file in folder.iterdir())
        streamed = run("streamed", folder)
        memory = run("memory", folder)
    speed = streamed["rate"] / memory["rate"]
    goals = [
        ("peak RSS of streaming below 4 GiB", streamed["rss"] < 4 * GIB),
        ("at least 60 % of the speed in memory", speed >= 0.6),
    ]
    text = "\n".join(
        [
            f"command   {describing.command()}",
            f"hardware  {describing.machine()}; {load}",
            f"versions  {describing.versions('pyarrow')}",
            f"data      {arguments.rows:,} rows in {arguments.files} files, {size / GIB:.2f} GiB, "
            f"{writing}; {arguments.users:,} users, {arguments.items:,} items",
            f"settings  batches of {arguments.batch_size:,}, buffer of {arguments.buffer_rows:,} "
            f"rows, embedding_dim {arguments.embedding_dim}, seed 0",
            "",
            f"{'':<12}{'rows a pass':>14}{'seconds':>10}{'rows/s':>12}{'peak RSS':>12}{'loss':>9}",
            *(
                f"{name:<12}{found['rows']:>14,}{found['seconds']:>10.1f}{found['rate']:>12,.0f}"
                f"{found['rss'] / GIB:>8.2f} GiB{found['loss']:>9.4f}"
                for name, found in (("streamed", streamed), ("in memory", memory))
            ),
            "",
            f"streamed / in memory: {speed:.2f}",
            *(f"target    {name}: {'reached' if met else 'missed'}" for name, met in goals),
            "",
        ]
    )
    print(text)
    if {**vars(arguments), "folder": None} == defaults:
        describing.write(PAGE, ABOUT.format(text))
    return 0


def raw_ids(count: int, multiplier: int) -> np.ndarray:
    """Sparse 45-bit ids: an odd multiplier maps places to different ones."""
    return np.arange(1, count + 1, dtype=np.int64) * multiplier % (1 << 45)


def users_of(arguments: argparse.Namespace) -> np.ndarray:
    """Raw ids of the users."""
    return raw_ids(arguments.users, 0x5DEECE66D)


def items_of(arguments: argparse.Namespace) -> np.ndarray:
    """Raw ids of the items."""
    return raw_ids(arguments.items, 0x2545F4915)


def write_files(folder: pathlib.Path, arguments: argparse.Namespace) -> None:
    """Row groups of a million rows; a label is likelier 1 where two hidden numbers agree."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    users, items = users_of(arguments), items_of(arguments)
    hidden = np.random.default_rng(1)
    user_side, item_side = (hidden.normal(size=len(ids)).astype("f4") for ids in (users, items))
    each, more = divmod(arguments.rows, arguments.files)
    for number in range(arguments.files):
        rng = np.random.default_rng([0, number])
        left, writer = each + (number < more), None
        while left:
            rows = min(left, ROW_GROUP)
            user, item = (power_law(rng, rows, len(ids)) for ids in (users, items))
            logit = user_side[user] * item_side[item]
            label = rng.random(rows, np.float32) < 1 / (1 + np.exp(-2 * logit))
            table = pa.table(
                {"user": users[user], "item": items[item], "label": label.astype(np.int8)}
            )
            if writer is None:
                writer = pq.ParquetWriter(folder / f"{number:04d}.parquet", table.schema)
            writer.write_table(table, row_group_size=ROW_GROUP)
            left -= rows
        if writer is not None:
            writer.close()


def power_law(rng: np.random.Generator, rows: int, count: int) -> np.ndarray:
    """Places below `count`, the first ones most often: density falls as 1 / place ** 0.8."""
    return np.minimum(count * rng.random(rows) ** 5.0, count - 1).astype(np.int64)


def run(cell: str, folder: pathlib.Path) -> dict[str, float]:
    """One training in a process of its own."""
    command = [sys.executable, __file__, *sys.argv[1:], "--cell", cell, "--folder", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    print(f"{cell}: {found}", file=sys.stderr, flush=True)
    return found


def train(arguments: argparse.Namespace) -> dict[str, float]:
    """One training, as a user would write it."""
    import keras

    from kerasrec import data, models, optimizers
    from kerasrec.schema import Categorical, Schema

    vocabularies = {
        name: data.Vocabulary(ids, np.ones(len(ids), int), name)
        for name, ids in (("user", users_of(arguments)), ("item", items_of(arguments)))
    }
    schema = Schema(
        user=Categorical("user", vocabularies["user"].num_ids),
        item=Categorical("item", vocabularies["item"].num_ids),
    )
    keras.utils.set_random_seed(0)
    model = models.MatrixFactorization(schema, embedding_dim=arguments.embedding_dim)
    # What a `fit` of at least 1,000 steps does by itself; the one in memory may be shorter.
    model.compile(
        optimizers.Adam(0.001), keras.losses.BinaryCrossentropy(from_logits=True),
        steps_per_execution=32, jit_compile=True,
    )  # fmt: skip
    if arguments.cell == "streamed":
        batches = data.stream_parquet(
            arguments.folder, schema, vocabularies,
            batch_size=arguments.batch_size, buffer_rows=arguments.buffer_rows,
        )  # fmt: skip
        epochs = 1
    else:
        columns = first_rows(arguments, vocabularies)
        batches = data.pointwise(columns, schema, batch_size=arguments.batch_size)
        epochs = 3
    clock = Clock()
    history = model.fit(batches, epochs=epochs, verbose=0, shuffle=False, callbacks=[clock])
    rows = arguments.rows if arguments.cell == "streamed" else len(columns["user"])
    seconds = clock.seconds[0] if epochs == 1 else min(clock.seconds[1:])
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "rows": rows,
        "seconds": seconds,
        "rate": rows / seconds,
        "rss": (own + children) * 1024,
        "loss": history.history["loss"][0],
    }


class Clock:
    """Seconds of each epoch, the making of the train function in the first."""

    def __new__(cls):
        """A Keras callback, made when Keras is there."""
        import keras

        class Callback(keras.callbacks.Callback):
            def on_train_begin(self, logs=None):
                self.seconds, self.last = [], time.perf_counter()

            def on_epoch_end(self, epoch, logs=None):
                now = time.perf_counter()
                self.seconds.append(now - self.last)
                self.last = now

        return Callback()


def first_rows(arguments: argparse.Namespace, vocabularies: dict) -> dict[str, np.ndarray]:
    """The first rows of the files, encoded."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from kerasrec import data

    tables, rows = [], 0
    for file in sorted(pathlib.Path(arguments.folder).glob("*.parquet")):
        if rows < arguments.sample:
            tables.append(pq.read_table(file))
            rows += len(tables[-1])
    table = pa.concat_tables(tables)[: arguments.sample]
    options = {"user": "user", "item": "item", "label": "label", "time": None}
    rows = data.Interactions.from_table(table, duplicates="keep", **options)
    return data.encode(rows, vocabularies)


if __name__ == "__main__":
    sys.exit(main())
