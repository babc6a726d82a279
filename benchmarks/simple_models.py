"""Speed of least squares and item neighbours beside `implicit`.

    pip install ".[benchmarks]"    # in a checkout; brings `implicit`
    KERASREC_DATA=... python benchmarks/simple_models.py
    python benchmarks/simple_models.py --page    # the page from stored results

Least squares: NCF MovieLens 1M (`ncf-ml-1m`, 994,169 training rows), vectors of 64 numbers, all
cores. Each side trains for 2, 4, ... epochs, anew each time, until HR@10 of the published test
among 99 given films is at least 0.72, and the time of that training counts. Penalties are the best
ones of each side on a film of each user that was held out of training (18 settings of `implicit`,
12 of kerasrec). Neighbours: Gowalla (`gowalla-lightgcn`), 100 neighbours by the cosine. Each side
runs in a process of its own, and the sides take turns.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pages
import processes
import turns

SIDES = ("kerasrec", "implicit")
DIM, GOAL, K, SEED = 64, 0.72, 10, 0
EPOCHS = (2, 4, 6, 8, 10, 12, 15, 20)
NEIGHBOURS = 100
OURS = {"l2": 0.006, "unobserved_weight": 0.2}
THEIRS = {"alpha": 4.0, "regularization": 20.0}
ABOUT = f"""# Least squares and neighbours beside implicit

`training.AlternatingLeastSquares` and `implicit`'s solver on NCF MovieLens 1M, vectors of {DIM} \
numbers, each with the penalties that were best on held-out films: wall time of the shortest \
training, of 2, 4, ... epochs, with HR@10 of at least {GOAL}. `ItemKNN` and `implicit`'s \
`CosineRecommender` on Gowalla, {NEIGHBOURS} neighbours: time to compute them. All cores, in \
turns, each side in a process of its own; ratios are geometric means over the rounds with a 95 % \
interval. This page is written by `benchmarks/simple_models.py`. It needs `implicit`, which \
`pip install ".[benchmarks]"` in a checkout brings.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cell", nargs=2, help=argparse.SUPPRESS)
    pages.add_options(parser)
    options = parser.parse_args()
    if options.cell:
        print(json.dumps(measure(options.cell[0])))
        return
    page = pages.Page(
        "simple_models",
        __file__,
        {"rounds": options.rounds},
        packages=("scipy", "implicit"),
        remake=options.page,
        keep=pages.whole(parser, options),
    )
    # implicit asks for one thread of BLAS, since it has threads of its own.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    found = page.rounds(
        list(SIDES),
        page.settings["rounds"],
        lambda side, number: processes.measure(__file__, side, "", sys.executable),
    )
    shown, missed = report(found)
    page.write("\n".join([ABOUT, "```text", *page.head(f"seed      {SEED}"), shown, "```", ""]))
    sys.exit(missed)


def report(found: dict[str, list[dict]]) -> tuple[str, int]:
    """Return the text of the page, and 1 if a goal is missed."""
    lines = [f"{'':24}{'seconds':>10}{'of implicit':>24}{'epochs':>8}{'HR@10':>8}{'NDCG@10':>9}"]
    times = {
        task: {side: [one[task]["seconds"] for one in found[side]] for side in SIDES}
        for task in ("least squares", "neighbours")
    }
    for task, seconds in times.items():
        lines.append(task)
        for side in SIDES:
            first = found[side][0][task]
            ratio = turns.ratio(seconds[side], seconds["implicit"]).show()
            more = ""
            if "hr" in first:
                more = f"{first['epochs']:8}{first['hr']:8.4f}{first['ndcg']:9.4f}"
            lines.append(f"    {side:20}{turns.mean(seconds[side]).mean:10.2f}{ratio:>24}{more}")
    ratio = turns.ratio(times["least squares"]["kerasrec"], times["least squares"]["implicit"])
    ours, theirs = (found[side][0]["least squares"]["hr"] for side in SIDES)
    same = found["kerasrec"][0]["neighbours"]["sum"], found["implicit"][0]["neighbours"]["sum"]
    goals = {
        "least squares: at most 1.5 times implicit (upper end)": ratio.high <= 1.5,
        "least squares: HR@10 not more than 0.002 below implicit's": ours >= theirs - 0.002,
        "neighbours: the sums of the similarities differ by less than 1 %": abs(
            same[0] / same[1] - 1
        )
        < 0.01,
    }
    lines.append("")
    lines += [f"goal      {goal}: {'reached' if ok else 'MISSED'}" for goal, ok in goals.items()]
    return "\n".join(lines), int(not all(goals.values()))


def rows_of(name: str) -> tuple[Any, Any, dict, dict]:
    """Return the data set, the schema, and encoded training and test rows."""
    from kerasrec import data, datasets

    dataset = datasets.load(name)
    vocabularies = data.fit_vocabularies(dataset.interactions)
    schema = data.make_schema(dataset.interactions, vocabularies)
    parts = (data.encode(part, vocabularies) for part in (dataset.split.train, dataset.split.test))
    train, test = parts
    if dataset.negatives is not None:
        listed = vocabularies[schema.item_id.name].encode(dataset.negatives.ravel())
        test = {**test, "listed": listed.reshape(dataset.negatives.shape)}
    return dataset, schema, train, test


def measure(side: str) -> dict[str, Any]:
    """Return the seconds of one side, and what it found."""
    from kerasrec.data.encoding.positive_ids import ones_of

    _, schema, train, test = rows_of("ncf-ml-1m")
    matrix = ones_of(schema, train[schema.user_id.name], train[schema.item_id.name])
    fit = {"kerasrec": our_vectors, "implicit": their_vectors}[side]
    fit(schema, train, matrix, 1)  # threads and libraries are there from now on
    result: dict[str, Any] = {}
    for epochs in EPOCHS:
        start = time.perf_counter()
        users, items = fit(schema, train, matrix, epochs)
        seconds = time.perf_counter() - start
        hr, ndcg = quality(schema, test, users, items)
        result["least squares"] = {"seconds": seconds, "epochs": epochs, "hr": hr, "ndcg": ndcg}
        if hr >= GOAL:
            break
    _, schema, train, _ = rows_of("gowalla-lightgcn")
    matrix = ones_of(schema, train[schema.user_id.name], train[schema.item_id.name])
    start = time.perf_counter()
    total = NEIGHBOURS_OF[side](schema, train, matrix)
    result["neighbours"] = {"seconds": time.perf_counter() - start, "sum": total}
    return result


def quality(schema: Any, test: dict, users: np.ndarray, items: np.ndarray) -> tuple[float, float]:
    """Return HR@10 and NDCG@10 among the given items."""
    from kerasrec import evaluation, models

    model = models.MatrixFactorization(schema, embedding_dim=DIM, use_bias=False)
    model.user_vectors.embeddings.assign(users)
    model.item_vectors.embeddings.assign(items)
    rows = {name: values for name, values in test.items() if name != "listed"}
    found = evaluation.rank(model, rows, seen=None, k=K, candidates=test["listed"])
    return found[f"hr@{K}"], found[f"ndcg@{K}"]


def our_vectors(schema: Any, train: dict, matrix: Any, epochs: int) -> tuple[np.ndarray, ...]:
    import keras

    from kerasrec import models, training

    keras.utils.set_random_seed(SEED)
    model = models.MatrixFactorization(schema, embedding_dim=DIM, use_bias=False)
    training.AlternatingLeastSquares(model, **OURS).fit(train, epochs=epochs)
    return np.array(model.user_vectors.embeddings), np.array(model.item_vectors.embeddings)


def their_vectors(schema: Any, train: dict, matrix: Any, epochs: int) -> tuple[np.ndarray, ...]:
    from implicit.cpu.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(factors=DIM, iterations=epochs, random_state=SEED, **THEIRS)
    model.fit(matrix, show_progress=False)
    return model.user_factors, model.item_factors


def our_neighbours(schema: Any, train: dict, matrix: Any) -> float:
    from kerasrec import models

    model = models.ItemKNN(schema, neighbours=NEIGHBOURS)
    model.adapt(train)
    return float(np.sum(model.item_weights.weights_of_ids, dtype=np.float64))


def their_neighbours(schema: Any, train: dict, matrix: Any) -> float:
    from implicit.nearest_neighbours import CosineRecommender

    # An item is its own nearest neighbour there.
    model = CosineRecommender(K=NEIGHBOURS + 1)
    model.fit(matrix, show_progress=False)
    similar = model.similarity.tolil()
    similar.setdiag(0)
    return float(similar.tocsr().sum())


NEIGHBOURS_OF: dict[str, Callable[[Any, dict, Any], float]] = {
    "kerasrec": our_neighbours,
    "implicit": their_neighbours,
}


if __name__ == "__main__":
    main()
