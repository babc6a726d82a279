"""Quality and time of dense, exact and lazy Adam: matrix factorisation on NCF MovieLens 1M.

    python benchmarks/adam_quality.py                        # 3 seeds; writes its page
    python benchmarks/adam_quality.py --seeds 0 --epochs 2   # a part of it, no page

Dimension 64, 4 negatives drawn anew in each epoch, batches of 8,192, binary cross-entropy, Adam
with clipnorm 1; the last item of each user is ranked among the 99 published ones. Tables of this
size take the dense step by themselves; the rows marked "by rows" have that switched off, so that
what is shown is what large tables get.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

import describing

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

SETTINGS = {"embedding_dim": 64, "batch_size": 8192, "negatives": 4, "learning_rate": 0.003}
WAYS = {
    "dense": "keras.optimizers.Adam (dense)",
    "exact": "Adam(sparse='exact'), as it is",
    "exact_rows": "Adam(sparse='exact'), by rows",
    "lazy": "Adam(sparse='lazy'), by rows",
}
PAGE = pathlib.Path(__file__).parents[1] / "docs" / "benchmarks" / "adam_quality.md"
ABOUT = """# Does the sparse update keep the quality?

Matrix factorisation on NCF MovieLens 1M (6,040 users, 3,706 items, 994,169 training rows): \
embedding_dim {embedding_dim}, {negatives} negatives drawn anew in each epoch, batches of \
{batch_size}, binary cross-entropy, Adam with `clipnorm=1` at a rate of {learning_rate}, and a \
number of epochs fixed beforehand, the same for all: nothing is chosen by these figures. The last \
item of each user is ranked among the 99 published ones. Mean and standard deviation over the \
seeds; "differs" is the mean difference to dense Adam, seed by seed. The seed decides weights, \
order and negatives, so that all ways see the same batches. Tables of this size take the dense \
step by themselves; "by rows" has that switched off, which is what larger tables get. This page is \
written by `benchmarks/adam_quality.py`.

```text
{text}```
"""


def main() -> None:
    """Trains every way with every seed, prints the table, and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--cell", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.cell:
        way, seed = arguments.cell
        print(json.dumps(train(way, int(seed), arguments.epochs)))
        return
    load = describing.load()
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for seed in arguments.seeds:
        for way in WAYS:
            found[way].append(run(way, seed, arguments.epochs))
            print(f"{way}, seed {seed}: {found[way][-1]}", file=sys.stderr, flush=True)
    text = report(found, arguments.epochs, arguments.seeds, load)
    print(text)
    if vars(arguments) == vars(parser.parse_args([])):
        describing.write(PAGE, ABOUT.format(**SETTINGS, text=text))


def run(way: str, seed: int, epochs: int) -> dict[str, float]:
    """One training in a process of its own."""
    root = str(pathlib.Path(__file__).parent.parent)
    command = [sys.executable, __file__, "--epochs", str(epochs), "--cell", way, str(seed)]
    env = {**os.environ, "PYTHONPATH": root}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    if done.returncode:
        sys.exit(f"{way}: {done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def train(way: str, seed: int, epochs: int) -> dict[str, float]:
    """HR@10 and NDCG@10 after the last epoch, and the seconds of an epoch."""
    import keras

    from kerasrec import data, datasets, evaluation, models, optimizers
    from kerasrec.optimizers import adam

    if way.endswith("_rows") or way == "lazy":
        adam.SMALL_TABLE = 0
    published = datasets.load("ncf-ml-1m")
    vocabularies = data.fit_vocabularies(published.interactions)
    schema = data.make_schema(published.interactions, vocabularies)
    columns, test = (
        data.encode(part, vocabularies) for part in (published.split.train, published.split.test)
    )
    given = published.negatives
    candidates = vocabularies["item_id"].encode(given.ravel()).reshape(given.shape)
    keras.utils.set_random_seed(seed)
    model = models.MatrixFactorization(schema, embedding_dim=SETTINGS["embedding_dim"])
    rate = SETTINGS["learning_rate"]
    optimizer = {
        "dense": lambda: keras.optimizers.Adam(rate, clipnorm=1.0),
        "exact": lambda: optimizers.Adam(rate, clipnorm=1.0),
        "exact_rows": lambda: optimizers.Adam(rate, clipnorm=1.0),
        "lazy": lambda: optimizers.Adam(rate, clipnorm=1.0, sparse="lazy"),
    }[way]()
    model.compile(optimizer, keras.losses.BinaryCrossentropy(from_logits=True))
    batches = data.with_negatives(
        columns,
        schema,
        batch_size=SETTINGS["batch_size"],
        negatives=SETTINGS["negatives"],
        seed=seed,
    )
    seconds = []

    class Clock(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.began = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            seconds.append(time.perf_counter() - self.began)

    history = model.fit(batches, epochs=epochs, shuffle=False, verbose=0, callbacks=[Clock()])
    row = evaluation.evaluate(model, test, seen=columns, candidates=candidates)
    return {
        "hr@10": row["hr@10"],
        "ndcg@10": row["ndcg@10"],
        "loss": history.history["loss"][-1],
        "seconds": statistics.median(seconds[1:] or seconds),
        "total": sum(seconds),
    }


def report(found: dict, epochs: int, seeds: list[int], load: str) -> str:
    """Command, hardware, versions, and a line for each way."""
    lines = [
        f"command   {describing.command()}",
        f"hardware  {describing.machine()}; {load}",
        f"versions  {describing.versions()}",
        f"settings  {epochs} epochs, seeds {seeds}",
        "",
        f"{'':<34}{'HR@10':>17}{'differs':>9}{'NDCG@10':>17}{'differs':>9}{'loss':>8}"
        f"{'s/epoch':>9}{'s in all':>10}",
    ]
    for way, rows in found.items():
        line = f"{WAYS[way]:<34}"
        for metric in ("hr@10", "ndcg@10"):
            values = [row[metric] for row in rows]
            differs = statistics.mean(
                row[metric] - dense[metric] for row, dense in zip(rows, found["dense"], strict=True)
            )
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            line += f"{statistics.mean(values):>9.4f} ±{spread:.4f}{differs:>+9.4f}"
        line += f"{statistics.mean(row['loss'] for row in rows):>8.4f}"
        line += f"{statistics.median(row['seconds'] for row in rows):>9.2f}"
        lines.append(line + f"{statistics.median(row['total'] for row in rows):>10.1f}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
