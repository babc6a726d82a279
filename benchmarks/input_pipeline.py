"""Speed of the input pipeline without a model, in rows per second.

    KERASREC_DATA=... python benchmarks/input_pipeline.py [--batch-size 8192] [--repeats 5]

Data: `ncf-ml-1m/ml-1m.train.pairs.tsv.gz`, the 994,169 training pairs of the NCF split of MovieLens
1M. An example is one row of a batch: a (user, item, label) triple, positive or negative. With 4
negatives there are 5 rows per positive. A pass is timed from the creation of its iterator to its
last batch, including shuffling and sampling. Every batch is consumed by `Dataset.reduce`, which
runs in TensorFlow as `fit` does. The fastest of the repeats counts. All lines come from one run,
because only ratios within a run can be compared on a shared machine. With the default arguments the
output is also written to docs/benchmarks/input_pipeline.md.
"""

import argparse
import gzip
import os
import pathlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pages
import pyarrow.parquet as pq
import tensorflow as tf

from kerasrec.data import (
    Interactions,
    encode,
    fit_vocabularies,
    histories,
    make_schema,
    pointwise,
    shared_negatives,
    stream_parquet,
    with_negatives,
)
from kerasrec.data.batches import negatives as sampling
from kerasrec.schema import IdSequence, Schema

NEGATIVES = 4
TARGET = 3_000_000
SHUFFLED_ROWS = 500_000  # what Dataset.shuffle is given: a tenth of a pass takes it seconds
LOOPED_POSITIVES = 20_000

ABOUT = """# Input pipeline without a model

Rows per second that `kerasrec.data` feeds, on the 994,169 training pairs of the NCF split of \
MovieLens 1M. An example is one row of a batch, a (user, item, label) triple; 4 negatives per \
positive make 5 rows. Shuffling, drawing and the test for seen items are part of the time. \
`Dataset.shuffle` gets rows whose negatives are drawn already. This page is written by \
`benchmarks/input_pipeline.py`; figures of one run compare with each other, not with another run's.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=8192)
    parser.add_argument("--repeats", type=int, default=5)
    pages.add_options(parser)
    options = parser.parse_args()
    folder = pathlib.Path(os.environ.get("KERASREC_DATA", "")) / "ncf-ml-1m"
    path = folder / "ml-1m.train.pairs.tsv.gz"
    if not path.is_file() and not options.page:
        sys.exit(f"{path} is missing: set KERASREC_DATA to the folder that holds ncf-ml-1m.")
    names = ("batch_size", "repeats")
    page = pages.Page(
        "input_pipeline",
        __file__,
        {name: getattr(options, name) for name in names},
        packages=("pyarrow",),
        remake=options.page,
        keep=pages.whole(parser, options),
    )
    repeats = page.settings["repeats"]
    shown, _ = page.printed(lambda: measure(read_pairs(path), options.batch_size, repeats))
    head = page.head(f"example   one (user, item, label) row of a batch; best of {repeats} passes")
    page.write("\n".join([ABOUT, "```text", *head, shown, "```", ""]))


def read_pairs(path: pathlib.Path) -> Interactions:
    with gzip.open(path) as file:
        pairs = np.loadtxt(file, dtype=np.int64, delimiter="\t")
    table = {"user_id": pairs[:, 0], "item_id": pairs[:, 1]}
    return Interactions.from_table(table, label=None, time=None)


def measure(rows: Interactions, batch_size: int, repeats: int) -> None:
    vocabularies = fit_vocabularies(rows)
    schema = make_schema(rows, vocabularies)
    columns = encode(rows, vocabularies)
    sequential = Schema(
        user=[*schema.user, IdSequence("history", of="item_id", max_length=50)], item=schema.item
    )
    popularity = vocabularies["item_id"].counts ** 0.75
    group = 1 + NEGATIVES

    ours = best(drain(with_negatives(columns, schema, batch_size=batch_size)), repeats)
    numpy_loop = best(lambda: loop_over_numpy(columns, schema, batch_size), repeats)
    shuffle = best(drain(shuffle_single_rows(columns, batch_size)), repeats)
    python_loop = best(lambda: loop_over_rows(columns, schema), repeats)

    print(f"{'batches of ' + str(batch_size):44}{'rows/s':>13}{'positives/s':>13}   ratio")

    def line(name: str, speed: float, per_positive: int = 1, against: float = shuffle) -> None:
        print(f"{name:44}{speed:13,.0f}{speed / per_positive:13,.0f}{speed / against:7.2f}x")

    print(f"-- {NEGATIVES} negatives per positive; ratio to Dataset.shuffle().batch()")
    line("with_negatives", ours, group)
    line("plain numpy loop, no tf.data", numpy_loop, group)
    line("Dataset.shuffle().batch(), rows drawn before", shuffle, group)
    line("Python loop over rows, set of seen items", python_loop, group)

    print("-- other batch sizes, negatives and membership tests; ratio to with_negatives above")
    for size in (256, 1024, 65_536):
        speed = best(drain(with_negatives(columns, schema, batch_size=size)), repeats)
        line(f"with_negatives, batches of {size}", speed, group, ours)
    dataset = with_negatives(columns, schema, batch_size=batch_size, popularity=popularity)
    line("with_negatives, popularity ** 0.75", best(drain(dataset), repeats), group, ours)
    bits, sampling.BITMAP_BITS = sampling.BITMAP_BITS, 0
    dataset = with_negatives(columns, schema, batch_size=batch_size)
    sampling.BITMAP_BITS = bits
    line("with_negatives, sorted pairs for a bitmap", best(drain(dataset), repeats), group, ours)

    print("-- other batches; one row is one positive; ratio to with_negatives above")
    line(
        "pointwise",
        best(drain(pointwise(columns, schema, batch_size=batch_size)), repeats),
        1,
        ours,
    )
    dataset = shared_negatives(columns, schema, batch_size=batch_size, negatives=16)
    line("shared_negatives, 16", best(drain(dataset), repeats), 1, ours)
    dataset = histories(columns, sequential, batch_size=batch_size, time=None)
    line("histories, 50 items", best(drain(dataset), repeats), 1, ours)
    with tempfile.TemporaryDirectory() as folder:
        pq.write_table(rows.table, f"{folder}/rows.parquet", row_group_size=100_000)
        dataset = stream_parquet(folder, schema, vocabularies, batch_size=batch_size, implicit=True)
        line("stream_parquet, from raw ids", best(drain(dataset), repeats), 1, ours)

    verdict = "reached" if ours >= TARGET else "MISSED"
    print(f"\ntarget    {TARGET:,} rows/s with {NEGATIVES} negatives: {verdict} ({ours:,.0f})")
    if ours < TARGET:
        sys.exit(1)


def best(one_pass: Callable[[], int], repeats: int) -> float:
    """Return the rows per second of the fastest pass."""
    speeds = []
    for _ in range(repeats):
        start = time.perf_counter()
        rows = one_pass()
        speeds.append(rows / (time.perf_counter() - start))
    return max(speeds)


def drain(dataset: tf.data.Dataset) -> Callable[[], int]:
    """Return a function that consumes one pass and counts its rows."""

    def count(total: tf.Tensor, batch: tuple) -> tf.Tensor:
        return total + tf.size(batch[1], tf.int64)

    return lambda: int(dataset.reduce(np.int64(0), count))


def loop_over_numpy(columns: dict[str, np.ndarray], schema: Schema, batch_size: int) -> int:
    """Run a plain NumPy loop: a table of booleans, redrawn batch by batch."""
    users, items = columns["user_id"], columns["item_id"]
    seen = np.zeros((schema.user_id.num_ids, schema.item_id.num_ids), bool)
    seen[users, items] = True
    rng = np.random.default_rng(0)
    order = rng.permutation(len(users))
    rows = 0
    for batch in batches_of(order, batch_size // (1 + NEGATIVES)):
        owner = np.repeat(users[batch], NEGATIVES)
        drawn = rng.integers(2, schema.item_id.num_ids, len(owner), dtype=np.int32)
        while len(again := np.flatnonzero(seen[owner, drawn])):
            drawn[again] = rng.integers(2, schema.item_id.num_ids, len(again), dtype=np.int32)
        user = np.concatenate([users[batch], owner])
        item = np.concatenate([items[batch], drawn])
        label = np.concatenate([np.ones(len(batch), np.float32), np.zeros(len(drawn), np.float32)])
        rows += min(len(user), len(item), len(label))
    return rows


def loop_over_rows(columns: dict[str, np.ndarray], schema: Schema) -> int:
    """Run the loop of most published code: one draw and one set lookup at a time."""
    users = columns["user_id"][:LOOPED_POSITIVES].tolist()
    items = columns["item_id"][:LOOPED_POSITIVES].tolist()
    seen = set(zip(users, items, strict=True))
    rng = np.random.RandomState(0)
    rows = []
    for user, item in zip(users, items, strict=True):
        rows.append((user, item, 1.0))
        for _ in range(NEGATIVES):
            drawn = rng.randint(2, schema.item_id.num_ids)
            while (user, drawn) in seen:
                drawn = rng.randint(2, schema.item_id.num_ids)
            rows.append((user, drawn, 0.0))
    return len(rows)


def shuffle_single_rows(columns: dict[str, np.ndarray], batch_size: int) -> tf.data.Dataset:
    """Return the usual tf.data pipeline, on rows with negatives already drawn."""
    rows = np.arange(SHUFFLED_ROWS) % len(columns["user_id"])
    features = {name: columns[name][rows] for name in ("user_id", "item_id")}
    labels = np.ones(SHUFFLED_ROWS, np.float32)
    dataset = tf.data.Dataset.from_tensor_slices((features, labels))
    return dataset.shuffle(SHUFFLED_ROWS, seed=0).batch(batch_size).prefetch(tf.data.AUTOTUNE)


def batches_of(order: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for first in range(0, len(order), size):
        yield order[first : first + size]


if __name__ == "__main__":
    main()
