"""Models of the zoo on one small split, for the tables of the README and the guide.

    python benchmarks/zoo.py                     # writes docs/benchmarks/zoo.md
    python benchmarks/zoo.py --models SASRec     # that one alone, no page
    python benchmarks/zoo.py --page              # from stored results

The data is MovieLens 100K, with the last film of each user as test and the one before it as
validation, ranked among all films that the user has not seen. Every model is trained as by
`kerasrec fit MODEL` without any flag: `kerasrec.runs.fit` chooses all settings from the sizes of
the training rows, and the validation rows choose the epoch. The test rows are ranked once.
"""

import argparse
import concurrent.futures
import json
import os
import sys
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pages
import processes

from kerasrec import data, datasets, evaluation, runs
from kerasrec.training import keep_freed_memory

SEEDS = (0, 1, 2)
# Those without random numbers are trained once.
COUNTED = ("Popularity", "EASE", "SparseEASE", "SLIM", "ItemKNN", "UserKNN", "GraphFilter")
FACTORS = ("ImplicitALS", "MatrixFactorization", "LightGCN")
AUTOENCODERS = ("MultVAE", "MultDAE", "RecVAE")
MODELS = (*COUNTED, *FACTORS, *AUTOENCODERS, "EmbeddingMLP", "NeuMF", "SASRec", "GRU4Rec")


def measure(name: str, seed: int) -> dict[str, Any]:
    """Train without any flag but the seed, then rank the test rows."""
    keep_freed_memory()
    split = data.leave_last_out(datasets.load("movielens-100k").interactions)
    start, used = time.perf_counter(), time.process_time()
    keras.utils.set_random_seed(seed)
    found = runs.fit(name, data.prepare(split), seed=seed, verbose=0)
    seconds, cpu = time.perf_counter() - start, time.process_time() - used
    ready = found.ready
    seen = [ready.train, ready.valid]
    ranked = evaluation.rank(found.model, ready.test, seen=seen, items=ready.items, k=10)
    return {
        "hr": ranked["hr@10"],
        "ndcg": ranked["ndcg@10"],
        "weights": found.model.count_params(),
        "epochs": len(found.result.history.get("loss", ())),
        "best": found.result.epochs,
        "chosen": found.choices.describe(),
        "seconds": seconds,
        "cpu": cpu,
    }


def line(name: str, runs: list[dict[str, Any]]) -> str:
    """Return the table line of a model: mean and standard deviation over the seeds."""

    def cell(metric: str) -> str:
        values = [run[metric] for run in runs]
        spread = f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
        return f"{np.mean(values):.4f}{spread}"

    epochs = ", ".join(f"{run['best']} of {run['epochs']}" for run in runs)
    cpu = ", ".join(f"{run['cpu']:.0f}" for run in runs)
    weights = f"{runs[0]['weights']:,}"
    return f"| `{name}` | {cell('hr')} | {cell('ndcg')} | {weights} | {epochs} | {cpu} |"


def page(results: dict[str, list[dict[str, Any]]], made: str) -> str:
    """Return the whole page."""
    table = "\n".join(line(name, runs) for name, runs in results.items())
    chosen = "\n".join(f"- `{name}`: {runs[0]['chosen']}" for name, runs in results.items())
    return f"""# The zoo on one small split

Written by `benchmarks/zoo.py`; run it again instead of editing this page.

MovieLens 100K: the last film of each user is the test, the one before it chooses the epoch. Every
model ranks all films that the user has not seen. Mean ± standard deviation over the seeds.

| model | HR@10 | NDCG@10 | weights | best epoch by seed | CPU s by seed |
|---|---|---|---|---|---|
{table}

{made}
- Seeds: {", ".join(map(str, SEEDS))}; of the weights and the batches. `Popularity` has no random
  numbers.

Every model is trained as by `kerasrec fit MODEL` without any flag: rules that read the sizes of the
training rows choose all settings, the same for every seed, and the epoch with the best NDCG@10 on
the validation rows is kept. CPU seconds hold compilation and validation. How good such settings are
beside those found by hand, and on data that the rules were not made for: [recipes](recipes.md).

What differs is what a model can read. The two sequence models read the newest films of a user,
those just before the test film included, and learn from their order; the others know training rows
alone, and perceptrons the tables of users and films. 943 test rows are few: differences below the
standard deviation say nothing.

## Settings

{chosen}
"""


def main() -> None:
    """Run the missing trainings and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--cell", nargs=2, help=argparse.SUPPRESS)
    pages.add_options(parser)
    arguments = parser.parse_args()
    if arguments.cell:
        name, seed = arguments.cell
        print(json.dumps(measure(name, int(seed))))
        return
    rules = {"models": arguments.models}
    made = pages.Page(
        "zoo", __file__, rules, remake=arguments.page, keep=pages.whole(parser, arguments)
    )

    def result(task: tuple[str, int]) -> dict[str, Any]:
        name, seed = task

        def run() -> dict[str, Any]:
            found = processes.measure(__file__, name, str(seed), sys.executable)
            print(name, seed, found, flush=True)
            return found

        return made.result(f"{name}-seed{seed}", run)

    names = made.settings["models"]
    tasks = [(n, s) for n in names for s in (SEEDS if n not in COUNTED else SEEDS[:1])]
    # Two at a time: only CPU seconds count.
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        found = dict(zip(tasks, pool.map(result, tasks), strict=True))
    results = {name: [found[task] for task in tasks if task[0] == name] for name in names}
    made.write(page(results, made.bullets()))


if __name__ == "__main__":
    main()
