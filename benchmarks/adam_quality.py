"""Quality and time of lazy and dense Adam: matrix factorisation on NCF MovieLens 1M.

    python benchmarks/adam_quality.py                        # 3 seeds; writes its page
    python benchmarks/adam_quality.py --seeds 0 --epochs 2   # a part of it, no page
    python benchmarks/adam_quality.py --page                 # from stored results

Dimension 64, 4 negatives drawn anew in each epoch, batches of 8,192, binary cross-entropy, Adam
with clipnorm 1; the last item of each user is ranked among the 99 published ones.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

import pages
import turns

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

SETTINGS = {"embedding_dim": 64, "batch_size": 8192, "negatives": 4, "learning_rate": 0.003}
WAYS = {
    "dense": "keras.optimizers.Adam (dense)",
    "lazy": "kerasrec.optimizers.Adam (lazy)",
}
ABOUT = """# Does the lazy update keep the quality?

Matrix factorisation on NCF MovieLens 1M (6,040 users, 3,706 items, 994,169 training rows): \
embedding_dim {embedding_dim}, {negatives} negatives drawn anew in each epoch, batches of \
{batch_size}, binary cross-entropy, Adam with `clipnorm=1` at a rate of {learning_rate}, and a \
number of epochs fixed beforehand, the same for both: nothing is chosen by these results. The last \
item of each user is ranked among the 99 published ones. Stock Keras updates every row in every \
step; ours are lazy: rows without a gradient rest, and so do their moments. Mean and standard \
deviation over the seeds; "differs" is the mean difference to dense Adam within the seeds, and \
its 95 % interval. The seed decides weights, order and negatives, so both see the same batches. \
This page is written by `benchmarks/adam_quality.py`.

```text
{text}
```
"""


def main() -> None:
    """Train with both optimizers and every seed, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--cell", nargs=2, help=argparse.SUPPRESS)
    pages.add_options(parser)
    arguments = parser.parse_args()
    if arguments.cell:
        way, seed = arguments.cell
        print(json.dumps(train(way, int(seed), arguments.epochs)))
        return
    page = pages.Page(
        "adam_quality",
        __file__,
        {"seeds": arguments.seeds, "epochs": arguments.epochs, **SETTINGS},
        remake=arguments.page,
        keep=pages.whole(parser, arguments),
    )
    seeds, epochs = page.settings["seeds"], page.settings["epochs"]
    found = page.rounds(list(WAYS), len(seeds), lambda way, number: run(way, seeds[number], epochs))
    page.write(ABOUT.format(**SETTINGS, text=report(page, found)))


def run(way: str, seed: int, epochs: int) -> dict[str, float]:
    """Train once in a separate process."""
    command = [sys.executable, __file__, "--epochs", str(epochs), "--cell", way, str(seed)]
    env = {**os.environ, "PYTHONPATH": str(pages.ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    if done.returncode:
        sys.exit(f"{way}: {done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def train(way: str, seed: int, epochs: int) -> dict[str, float]:
    """Return HR@10 and NDCG@10 after the last epoch, and the seconds of an epoch."""
    import keras

    from kerasrec import data, datasets, evaluation, models, optimizers

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
    kind = {"dense": keras.optimizers.Adam, "lazy": optimizers.Adam}[way]
    optimizer = kind(rate, clipnorm=1.0)
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

    from kerasrec.training import keep_freed_memory

    keep_freed_memory()
    history = model.fit(batches, epochs=epochs, shuffle=False, verbose=0, callbacks=[Clock()])
    row = evaluation.evaluate(model, test, seen=columns, candidates=candidates)
    return {
        "hr@10": row["hr@10"],
        "ndcg@10": row["ndcg@10"],
        "loss": history.history["loss"][-1],
        "seconds": statistics.median(seconds[1:] or seconds),
    }


def report(page: pages.Page, found: dict[str, list[dict[str, float]]]) -> str:
    """Return a table line for each optimizer."""
    settings = page.settings
    lines = page.head(f"settings  {settings['epochs']} epochs, seeds {settings['seeds']}")
    lines.append(f"{'':<32}{'HR@10':>15}{'differs':>30}{'NDCG@10':>18}{'differs':>30}{'loss':>8}")
    for way, rows in found.items():
        line = f"{WAYS[way]:<32}"
        for metric, width in (("hr@10", 15), ("ndcg@10", 18)):
            values = [row[metric] for row in rows]
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            line += f"{f'{statistics.mean(values):.4f} ±{spread:.4f}':>{width}}"
            differs = ""
            if way != "dense":
                pairs = zip(rows, found["dense"], strict=True)
                gains = turns.mean([row[metric] - dense[metric] for row, dense in pairs])
                differs = gains.show("+.4f")
            line += f"{differs:>30}"
        # No times: the trainings need no idle machine, and another page reports the speed.
        lines.append(line + f"{statistics.mean(row['loss'] for row in rows):>8.4f}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
