"""What tables of users and films add to ids, and what a leak in the context seems to add.

    python benchmarks/side_features.py           # writes docs/benchmarks/side_features.md
    python benchmarks/side_features.py --page    # from stored results

Trainings are `kerasrec fit MODEL --data movielens-100k`, with and without `--features none`, for
rankings without any other flag, for ratings with `--loss mse --split random`. One of them is
repeated in Python, exported, and asked over REST by ids alone.
"""

import argparse
import concurrent.futures
import contextlib
import io
import json
import os
import pathlib
import sys
import tempfile
import urllib.request
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pages
import processes

import kerasrec
from kerasrec import data, datasets, evaluation, retrieval, runs, serving
from kerasrec.cli import main as kerasrec_command
from kerasrec.serving.server import background

DATA, MODEL, SEEDS, METRICS = "movielens-100k", "EmbeddingMLP", (0, 1, 2), ("hr@10", "ndcg@10")
TASKS = {
    "ratings": (MODEL, "--loss", "mse", "--split", "random"),
    "ranking": (MODEL,),
    "ranking-neumf": ("NeuMF",),
}
RANKED = {"ranking": "EmbeddingMLP", "ranking-neumf": "NeuMF"}
ASKED, K, POOLED = 200, 10, "ndcg@10"


def command(*arguments: str) -> None:
    """Run a command of `kerasrec`."""
    with contextlib.redirect_stdout(io.StringIO()):
        if code := kerasrec_command(list(arguments)):
            sys.exit(f"kerasrec {' '.join(arguments)} ended with {code}")


def fitted(task: str, seed: int, folder: str) -> dict[str, Any]:
    """Train with and without tables on the command line, and compare the two row by row."""
    model, *options = TASKS[task]
    values, found, users = {}, {}, None
    for side, features in (("tables", "all"), ("ids", "none")):
        run = pathlib.Path(folder, f"{task}-{side}-{seed}")
        flags = [*options, "--features", features, "--seed", str(seed), "--output", str(run)]
        command("fit", model, "--data", DATA, *flags)
        values[side], users = errors(run, seed) if task == "ratings" else (ranked(run, model), None)
        (row,) = (
            row
            for row in json.loads((run / "metrics.json").read_text(encoding="utf-8"))
            if row["model"] == model
        )
        found[side] = {name: row[name] for name in ("rmse", *METRICS) if name in row}
    found["gain"] = gain(values["tables"], values["ids"], users)
    if task in RANKED:  # the same users in the same order for every seed
        found["by user"] = {
            side: " ".join(f"{value:.4f}" for value in its[POOLED]) for side, its in values.items()
        }
    if (task, seed) == ("ratings", SEEDS[0]):
        run = pathlib.Path(folder, f"{task}-tables-{seed}")
        found["features"] = [f.name for f in runs.read_run(run).schema.features]
        found["served"] = served(run, folder)
        found["python"] = rmse_in_python(seed)
    return found


def gain(
    tables: dict[str, np.ndarray], ids: dict[str, np.ndarray], users: np.ndarray | None = None
) -> dict[str, list[float]]:
    """Return mean, low, high and p of what the tables add, by metric."""
    return {
        name: [one.difference.mean, one.difference.low, one.difference.high, one.p]
        for name, one in evaluation.paired_comparison(tables, ids, users).items()
    }


def errors(run: pathlib.Path, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the squared error of each test row, and the users."""
    kept = runs.read_run(run)
    split = data.random_split(datasets.load(DATA).interactions, seed=seed)
    test = data.prepare(split, vocabularies=kept.vocabularies, schema=kept.schema).test
    columns = {f.name: np.asarray(test[f.name]) for f in kept.schema.features}
    ratings = np.asarray(kept.model.predict(columns, batch_size=4096, verbose=0))
    return {"squared error": (ratings - test["rating"]) ** 2}, test["user_id"]


def ranked(run: pathlib.Path, model: str) -> dict[str, np.ndarray]:
    """Return the metrics of each test user."""
    import pyarrow.parquet as pq

    queries = pq.read_table(run / "queries.parquet").to_pandas()
    queries = queries[queries["model"] == model]
    return {metric: queries[metric].to_numpy() for metric in METRICS}


def rmse_in_python(seed: int) -> float:
    """Return the error of the same training in Python."""
    rows = datasets.load(DATA).interactions
    prepared = data.prepare(data.random_split(rows, seed=seed))
    kerasrec.training.keep_freed_memory()
    keras.utils.set_random_seed(seed)
    model, ready, *_ = runs.fit(MODEL, prepared, loss="mse", seed=seed, verbose=0)
    found = evaluation.rating_errors(model, ready.test, clip=(1, 5))  # as the command line
    return float(found["rmse"])


def leaked(seed: int) -> dict[str, float]:
    """Rank with the number of earlier ratings of the film as a context column."""
    rows = datasets.load(DATA).interactions
    order = np.argsort(rows.column("timestamp"), kind="stable")
    items = np.unique(rows.column("item_id"), return_inverse=True)[1][order]
    by_item = np.argsort(items, kind="stable")
    starts = np.flatnonzero(np.diff(items[by_item], prepend=-1))
    earlier = np.empty(len(rows))
    sizes = np.diff(np.append(starts, len(rows)))
    earlier[order[by_item]] = np.arange(len(rows)) - np.repeat(starts, sizes)
    table = {name: rows.column(name) for name in ("user_id", "item_id", "rating", "timestamp")}
    table["earlier_ratings"] = earlier
    leaky = data.Interactions.from_table(table, context=["earlier_ratings"])
    kerasrec.training.keep_freed_memory()
    keras.utils.set_random_seed(seed)
    prepared = data.prepare(data.leave_last_out(leaky))
    model, ready, *_ = runs.fit(MODEL, prepared, seed=seed, verbose=0)
    found = evaluation.rank(
        model, ready.test, seen=[ready.train, ready.valid], items=ready.items, k=K
    )
    return {metric: found[metric] for metric in METRICS}


def served(run: pathlib.Path, folder: str) -> dict[str, Any]:
    """Export a run, and compare answers over REST, by ids alone, with those of Python."""
    target = pathlib.Path(folder, "served")
    command("export", str(run), str(target), "--k", str(K))
    report = serving.verify(target)
    kept = runs.read_run(run)
    users = kept.vocabularies["user_id"].ids[:ASKED].tolist()
    python = retrieval.recommend(
        kept.model, kept.vocabularies, users, K, users=kept.users, items=kept.items
    )
    body = {"inputs": {"user_id": users, "exclude": [[]] * len(users)}}
    with background(target) as server:
        request = json.dumps({"signature_name": "recommend", **body}).encode()
        with urllib.request.urlopen(server.url, request) as answer:
            outputs = json.loads(answer.read())["outputs"]
    return {
        "inputs": sorted(body["inputs"]),
        "users": len(users),
        "equal": int((np.asarray(outputs["item_id"]) == python.item_id).all(axis=1).sum()),
        "difference": float(np.abs(np.asarray(outputs["score"]) - python.score).max()),
        "verified": len(report.signatures),
    }


def by_user(result: dict[str, Any], side: str) -> np.ndarray:
    """Return the pooled metric of each user."""
    return np.array(result["by user"][side].split(), float)


def page(results: dict[str, list[dict[str, Any]]], made: str) -> str:
    """Return the whole page."""

    def means(side: str) -> str:
        columns = [("ratings", "rmse"), *((task, name) for task in RANKED for name in METRICS)]
        cells = [np.mean([one[side][metric] for one in results[task]]) for task, metric in columns]
        return " | ".join(f"{cell:.4f}" for cell in cells)

    def line(task: str, metric: str, seed: object, one: list[float]) -> str:
        return (
            f"| {task} | {metric} | {seed} | {one[0]:+.4f} | {one[1]:+.4f} to {one[2]:+.4f} | "
            f"{one[3]:.4f} |"
        )

    def gains(task: str, metric: str) -> list[str]:
        name = f"ranking, {RANKED[task]}" if task in RANKED else task
        rows = [
            line(name, metric, seed, one["gain"][metric])
            for seed, one in zip(SEEDS, results[task], strict=True)
        ]
        if task in RANKED:
            both = [
                {metric: np.mean([by_user(one, side) for one in results[task]], axis=0)}
                for side in ("tables", "ids")
            ]
            rows.append(line(name, metric, "mean of all", gain(*both)[metric]))
        return rows

    leak = {m: f"{np.mean([one[m] for one in results['leak']]):.4f}" for m in METRICS}
    first = results["ratings"][0]
    answers = first["served"]
    lines = [*gains("ratings", "squared error")]
    lines += [one for task in RANKED for one in gains(task, POOLED)]
    return f"""# Tables of users and items

Written by `benchmarks/side_features.py`; run it again instead of editing this page.

MovieLens 100K with its tables: {", ".join(f"`{name}`" for name in first["features"])}. Mean of
{len(SEEDS)} seeds of `kerasrec fit MODEL --data {DATA}`, all settings chosen by the rules.
Ratings: `{MODEL} --loss mse --split random`, a tenth of the rows as test. Ranking: no flag, the
last film of each user as test, ranked among all films that the user has not seen.

| | RMSE of ratings | HR@10 {MODEL} | NDCG@10 {MODEL} | HR@10 NeuMF | NDCG@10 NeuMF |
|---|---|---|---|---|---|
| ids alone (`--features none`) | {means("ids")} |
| with the tables | {means("tables")} |
| a leak: the film's earlier ratings as context | | {leak["hr@10"]} | {leak["ndcg@10"]} | | |

The last row is no result. The number of ratings that a film had so far varies from row to row, so
that no check refuses it, but as context it describes the film that was chosen.

With the tables minus ids alone, on the same test rows, with the 95 % bootstrap interval over users
and the p of a paired permutation test. A squared error is better below 0. "Mean of all": each
user's figure is the mean of the {len(SEEDS)} trainings, so that the interval is that of the mean.

| task | metric | seed | difference | interval | p |
|---|---|---|---|---|---|
{chr(10).join(lines)}

- The training of ratings with seed {SEEDS[0]} in Python, by `runs.fit`: RMSE
  {first["python"]:.4f}, on the command line {first["tables"]["rmse"]:.4f}.
- Exported, {answers["verified"]} signatures verified in a process without kerasrec.
- Asked over REST by {" and ".join(f"`{name}`" for name in answers["inputs"])} alone:
  {answers["equal"]} of {answers["users"]} lists equal those of Python, and scores differ by at most
  {answers["difference"]:.1e}.
{made}
"""


def main() -> None:
    """Run the missing trainings and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cell", nargs=3, help=argparse.SUPPRESS)
    pages.add_options(parser)
    arguments = parser.parse_args()
    if arguments.cell:
        task, seed, folder = arguments.cell
        found = leaked(int(seed)) if task == "leak" else fitted(task, int(seed), folder)
        print(json.dumps(found))
        return
    rules = {"data": DATA, "model": MODEL, "seeds": SEEDS, "tasks": TASKS, "asked": ASKED, "k": K}
    made = pages.Page("side_features", __file__, rules, remake=arguments.page)
    cells = [(task, seed) for task in (*TASKS, "leak") for seed in SEEDS]
    with tempfile.TemporaryDirectory() as folder:

        def result(cell: tuple[str, int]) -> Any:
            task, seed = cell
            return made.result(
                f"{task}-seed{seed}",
                lambda: processes.measure(__file__, task, str(seed), sys.executable, folder),
            )

        # Several at a time: no time is measured.
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            found = dict(zip(cells, pool.map(result, cells), strict=True))
    results = {task: [found[task, seed] for seed in SEEDS] for task in (*TASKS, "leak")}
    made.write(page(results, made.bullets()))


if __name__ == "__main__":
    main()
