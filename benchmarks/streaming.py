"""Streaming of Parquet rows through stock `fit`, compared with the same model in memory.

    python benchmarks/streaming.py                                   # writes its page
    python benchmarks/streaming.py --rows 1_000_000 --files 4        # a small one, no page
    python benchmarks/streaming.py --rows 200_000_000 --files 50     # a large one, no page
    python benchmarks/streaming.py --page                            # from stored results

The script writes a synthetic Parquet set to a temporary folder, which is removed afterwards. Each
row has a user, an item and a label. Users and items follow a power law, and ids are sparse 45-bit
numbers. Matrix factorisation with `kerasrec.optimizers.Adam` then reads the set once with
`stream_parquet`, in a separate process. Another process trains the same model on the first rows
held in memory. Both alternate over several rounds. Finally, a quarter of the files is streamed to
compare the memory.
"""

import argparse
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pages
import turns

ABOUT = """# Training on streamed files: speed and memory

Matrix factorisation with 32 columns and biases, `kerasrec.optimizers.Adam`, stock `fit`, on a \
synthetic Parquet set of a user, an item and a label a row. Users and items follow a power law, \
their raw ids are sparse 45-bit integers, which are read, looked up in the vocabularies and \
shuffled while the model trains. One side streams all files once with `stream_parquet`; its time \
holds everything: compiling, opening the files, filling the buffer. The other side trains the same \
model, with tables of the same size, on the first rows held in memory as encoded numpy columns; of \
its epochs after the first one, the fastest counts. Each training is a process of its own, both \
sides in turn in {rounds} rounds. Peak RSS is that of the whole process: TensorFlow, vocabularies, \
weights and the state of the optimizer are in it. The set is no larger than the memory of this \
machine. That the memory does not grow with the rows is shown by a quarter of the files, streamed \
in a process of its own. This page is written by `benchmarks/streaming.py`.

```text
{text}
```
"""
ROW_GROUP = 1_000_000
GIB = 1 << 30
SIDES = ("streamed", "memory")


def main() -> None:
    """Write the files, run all trainings, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=40_000_000)
    parser.add_argument("--files", type=int, default=16)
    parser.add_argument("--users", type=int, default=2_000_000)
    parser.add_argument("--items", type=int, default=200_000)
    parser.add_argument("--sample", type=int, default=5_000_000, help="rows in memory")
    parser.add_argument("--batch_size", type=int, default=16_384)
    parser.add_argument("--buffer_rows", type=int, default=1 << 20)
    parser.add_argument("--embedding_dim", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cell", nargs=2, help=argparse.SUPPRESS)
    pages.add_options(parser)
    arguments = parser.parse_args()
    if arguments.cell:
        print(json.dumps(train(arguments)))
        return
    hidden = ("cell", "page")
    page = pages.Page(
        "streaming",
        __file__,
        {name: value for name, value in vars(arguments).items() if name not in hidden},
        packages=("pyarrow",),
        remake=arguments.page,
        keep=pages.whole(parser, arguments),
    )
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        if not page.remake:
            write_files(folder / "all", arguments)
            (folder / "quarter").mkdir()
            for file in sorted((folder / "all").iterdir())[: arguments.files // 4]:
                (folder / "quarter" / file.name).hardlink_to(file)
        size = page.result(
            "files", lambda: sum(file.stat().st_size for file in (folder / "all").iterdir())
        )
        found = page.rounds(
            SIDES, page.settings["rounds"], lambda side, number: run(side, folder / "all")
        )
        quarter = page.result("quarter", lambda: run("streamed", folder / "quarter"))
    text = report(page, found, quarter, size)
    page.write(ABOUT.format(rounds=page.settings["rounds"], text=text))


def report(
    page: pages.Page, found: dict[str, list[dict[str, float]]], quarter: dict[str, float], size: int
) -> str:
    """Return both sides, the ratio of their speeds, and the memory of a quarter."""
    settings = page.settings
    lines = page.head(
        f"data      {settings['rows']:,} rows in {settings['files']} files, {size / GIB:.2f} GiB; "
        f"{settings['users']:,} users, {settings['items']:,} items",
        f"settings  batches of {settings['batch_size']:,}, buffer of {settings['buffer_rows']:,} "
        f"rows, embedding_dim {settings['embedding_dim']}, {settings['rounds']} rounds, seed 0",
    )
    lines.append(
        f"{'':<18}{'rows an epoch':>14}{'seconds':>10}{'rows/s':>12}{'range':>22}{'peak RSS':>12}"
        f"{'loss':>9}"
    )
    named = (
        ("streamed", found["streamed"]),
        ("in memory", found["memory"]),
        ("streamed, quarter", [quarter]),
    )
    for name, some in named:
        rates = [one["rate"] for one in some]
        lines.append(
            f"{name:<18}{some[0]['rows']:>14,}"
            f"{statistics.geometric_mean(one['seconds'] for one in some):>10.1f}"
            f"{statistics.geometric_mean(rates):>12,.0f}"
            f"{f'{min(rates):,.0f} to {max(rates):,.0f}':>22}"
            f"{max(one['rss'] for one in some) / GIB:>8.2f} GiB{some[0]['loss']:>9.4f}"
        )
    speed = turns.ratio(*([one["rate"] for one in found[side]] for side in SIDES))
    peak = max(one["rss"] for one in found["streamed"])
    grown = peak / quarter["rss"] - 1
    goals = [
        ("peak RSS of streaming below 4 GiB", peak < 4 * GIB),
        ("at most 10 % more memory for four times the rows", grown <= 0.1),
        ("at least 60 % of the speed in memory, by the lower end", speed.low >= 0.6),
    ]
    return "\n".join(
        [
            *lines,
            "",
            f"speed, streamed / in memory: {speed.show()}",
            f"peak RSS, all / a quarter of the rows: {grown:+.1%}",
            *(f"target    {name}: {'reached' if met else 'missed'}" for name, met in goals),
        ]
    )


def raw_ids(count: int, multiplier: int) -> np.ndarray:
    """Return sparse 45-bit ids. An odd multiplier maps positions to distinct ids."""
    return np.arange(1, count + 1, dtype=np.int64) * multiplier % (1 << 45)


def users_of(arguments: argparse.Namespace) -> np.ndarray:
    """Return the raw ids of the users."""
    return raw_ids(arguments.users, 0x5DEECE66D)


def items_of(arguments: argparse.Namespace) -> np.ndarray:
    """Return the raw ids of the items."""
    return raw_ids(arguments.items, 0x2545F4915)


def write_files(folder: pathlib.Path, arguments: argparse.Namespace) -> None:
    """Write row groups of a million rows; labels of 1 are likelier if two hidden numbers agree."""
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
    """Return positions below `count`, with a density that falls as 1 / position ** 0.8."""
    return np.minimum(count * rng.random(rows) ** 5.0, count - 1).astype(np.int64)


def run(side: str, folder: pathlib.Path) -> dict[str, float]:
    """Train once in a separate process."""
    command = [sys.executable, __file__, *sys.argv[1:], "--cell", side, str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(pages.ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{side}: {done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def train(arguments: argparse.Namespace) -> dict[str, float]:
    """Train once, as a user would write it."""
    side, folder = arguments.cell
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
    # Set as in a `fit` of at least 1,000 steps; the run in memory may be shorter.
    model.compile(
        optimizers.Adam(0.001), keras.losses.BinaryCrossentropy(from_logits=True),
        steps_per_execution=32, jit_compile=True,
    )  # fmt: skip
    if side == "streamed":
        batches = data.stream_parquet(
            folder, schema, vocabularies,
            batch_size=arguments.batch_size, buffer_rows=arguments.buffer_rows,
        )  # fmt: skip
        epochs = 1
    else:
        columns = first_rows(folder, arguments.sample, vocabularies)
        batches = data.pointwise(columns, schema, batch_size=arguments.batch_size)
        epochs = 3
    clock = Clock()
    from kerasrec.training import keep_freed_memory

    keep_freed_memory()
    history = model.fit(batches, epochs=epochs, verbose=0, shuffle=False, callbacks=[clock])
    rows = rows_of(folder) if side == "streamed" else len(columns["user"])
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
    """Callback that times each epoch, with the first one including the train function."""

    def __new__(cls):
        """Create a Keras callback, once Keras is imported."""
        import keras

        class Callback(keras.callbacks.Callback):
            def on_train_begin(self, logs=None):
                self.seconds, self.last = [], time.perf_counter()

            def on_epoch_end(self, epoch, logs=None):
                now = time.perf_counter()
                self.seconds.append(now - self.last)
                self.last = now

        return Callback()


def rows_of(folder: str) -> int:
    """Count the rows of all files."""
    import pyarrow.parquet as pq

    files = pathlib.Path(folder).glob("*.parquet")
    return sum(pq.ParquetFile(file).metadata.num_rows for file in files)


def first_rows(folder: str, most: int, vocabularies: dict) -> dict[str, np.ndarray]:
    """Encode the first rows of the files."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from kerasrec import data

    tables, rows = [], 0
    for file in sorted(pathlib.Path(folder).glob("*.parquet")):
        if rows < most:
            tables.append(pq.read_table(file))
            rows += len(tables[-1])
    table = pa.concat_tables(tables)[:most]
    options = {"user": "user", "item": "item", "label": "label", "time": None}
    rows = data.Interactions.from_table(table, duplicates="keep", **options)
    return data.encode(rows, vocabularies)


if __name__ == "__main__":
    main()
