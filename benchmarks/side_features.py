"""What tables of users and films add to ids, and what a leak in the context seems to add.

    python benchmarks/side_features.py           # writes docs/benchmarks/side_features.md
    python benchmarks/side_features.py --page    # from stored results

Every training is `kerasrec fit EmbeddingMLP --data movielens-100k` without a flag, but for the seed
and for `--features none`, which leaves the tables out. One of them is repeated in Python, exported,
and asked over REST by ids alone.
"""

import argparse
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
import pyarrow as pa
import pyarrow.parquet as pq

import kerasrec
from kerasrec import data, datasets, evaluation, retrieval, runs, serving
from kerasrec.cli import main as kerasrec_command
from kerasrec.serving.server import background

DATA, MODEL, SEEDS, METRICS = "movielens-100k", "EmbeddingMLP", (0, 1, 2), ("hr@10", "ndcg@10")
SIDES = ("ids", "tables", "leak")
ASKED, K = 200, 10


def command(*arguments: str) -> None:
    """Run a command of `kerasrec`."""
    with contextlib.redirect_stdout(io.StringIO()):
        if code := kerasrec_command(list(arguments)):
            sys.exit(f"kerasrec {' '.join(arguments)} ended with {code}")


def fitted(side: str, seed: int, folder: str) -> dict[str, Any]:
    """Train on the command line, and return the metrics of each test row."""
    run = pathlib.Path(folder, f"{side}-{seed}")
    flags = ["--features", "none"] if side == "ids" else []
    command("fit", MODEL, "--data", DATA, "--seed", str(seed), "--output", str(run), *flags)
    queries = pq.read_table(run / "queries.parquet")
    queries = queries.filter(pa.compute.equal(queries["model"], MODEL))
    about = json.loads((run / "run.json").read_text(encoding="utf-8"))
    found: dict[str, Any] = {m: queries[m].to_numpy().round(6).tolist() for m in METRICS}
    found["features"] = [f.name for f in runs.read_run(run).schema.features]
    found["seconds"] = about["seconds"]["training"]
    if (side, seed) == ("tables", SEEDS[0]):
        found["served"] = served(run, folder)
        found["python"] = in_python(seed)
    return found


def in_python(seed: int, *, leak: bool = False) -> dict[str, list[float]]:
    """Train in Python, and return the metrics of each test row."""
    rows = datasets.load(DATA).interactions
    prepared = data.prepare(data.leave_last_out(with_leak(rows) if leak else rows))
    kerasrec.training.keep_freed_memory()
    keras.utils.set_random_seed(seed)
    model, ready, *_ = runs.fit(MODEL, prepared, seed=seed, verbose=0)
    found = evaluation.rank(
        model, ready.test, seen=[ready.train, ready.valid], items=ready.items, k=K
    )
    return {metric: found.values[metric].round(6).tolist() for metric in METRICS}


def with_leak(rows: data.Interactions) -> data.Interactions:
    """Add the number of earlier ratings of the film as a context column."""
    order = np.argsort(rows.column("timestamp"), kind="stable")
    items = np.unique(rows.column("item_id"), return_inverse=True)[1][order]
    by_item = np.argsort(items, kind="stable")
    starts = np.flatnonzero(np.diff(items[by_item], prepend=-1))
    earlier = np.empty(len(rows))
    count = np.arange(len(rows)) - np.repeat(starts, np.diff(np.append(starts, len(rows))))
    earlier[order[by_item]] = count
    table = {name: rows.column(name) for name in ("user_id", "item_id", "rating", "timestamp")}
    return data.Interactions.from_table(
        {**table, "earlier_ratings": earlier}, context=["earlier_ratings"]
    )


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
    scores = np.asarray(outputs["score"])
    return {
        "inputs": sorted(body["inputs"]),
        "users": len(users),
        "equal": int((np.asarray(outputs["item_id"]) == python.item_id).all(axis=1).sum()),
        "difference": float(np.abs(scores - python.score).max()),
        "verified": len(report.signatures),
    }


def measure(side: str, seed: int, folder: str) -> dict[str, Any]:
    """Return the results of one training."""
    return in_python(seed, leak=True) if side == "leak" else fitted(side, seed, folder)


def page(results: dict[str, list[dict[str, Any]]], made: str) -> str:
    """Return the whole page."""
    names = {
        "ids": "ids alone, `--features none`",
        "tables": "with the tables of users and films",
        "leak": "with the film's earlier ratings as context, a leak",
    }
    mean = {
        side: {m: np.mean([one[m] for one in found], axis=0) for m in METRICS}
        for side, found in results.items()
    }
    lines = []
    for side, found in results.items():
        cells = [f"{mean[side][m].mean():.4f}" for m in METRICS]
        seeds = ", ".join(f"{np.mean(one['ndcg@10']):.4f}" for one in found)
        lines.append(f"| {names[side]} | {' | '.join(cells)} | {seeds} |")
    compared = evaluation.paired_comparison(mean["tables"], mean["ids"])
    gains = [
        f"| {m} | {one.difference.mean:+.4f} | {one.difference.low:+.4f} to "
        f"{one.difference.high:+.4f} | {one.p:.4f} |"
        for m, one in compared.items()
    ]
    first = results["tables"][0]
    python = [abs(np.mean(first[m]) - np.mean(first["python"][m])) for m in METRICS]
    answers = first["served"]
    seconds = {s: ", ".join(f"{one['seconds']:.0f}" for one in results[s]) for s in SIDES[:2]}
    return f"""# Tables of users and items

Written by `benchmarks/side_features.py`; run it again instead of editing this page.

MovieLens 100K, the last film of each user as test, ranked among all films that the user has not
seen. Each row is the mean of {len(SEEDS)} seeds of `kerasrec fit {MODEL} --data {DATA}` without any
other flag. The features are {", ".join(f"`{name}`" for name in first["features"])}.

| | HR@10 | NDCG@10 | NDCG@10 by seed |
|---|---|---|---|
{chr(10).join(lines)}

The last row is no result. The number of ratings that a film had so far varies from row to row, so
that no check refuses it, but as context it describes the film that was chosen.

Difference of the tables to ids alone, user by user, after the mean over the seeds, with the 95 %
bootstrap interval over {len(mean["ids"]["hr@10"])} users and the p of a paired permutation test:

| metric | difference | interval | p |
|---|---|---|---|
{chr(10).join(gains)}

- The same training in Python (`runs.fit("{MODEL}", data.prepare(split))`) differs by
  {max(python):.1e} in these metrics.
- Exported, {answers["verified"]} signatures verified in a process without kerasrec.
- Asked over REST by {" and ".join(f"`{name}`" for name in answers["inputs"])} alone:
  {answers["equal"]} of {answers["users"]} lists equal those of Python, and scores differ by at most
  {answers["difference"]:.1e}.
- Seconds of training by seed: {seconds["ids"]} with ids alone, {seconds["tables"]} with the tables.
{made}
"""


def main() -> None:
    """Run the missing trainings and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cell", nargs=3, help=argparse.SUPPRESS)
    pages.add_options(parser)
    arguments = parser.parse_args()
    if arguments.cell:
        side, seed, folder = arguments.cell
        print(json.dumps(measure(side, int(seed), folder)))
        return
    rules = {"data": DATA, "model": MODEL, "seeds": SEEDS, "asked": ASKED, "k": K}
    made = pages.Page("side_features", __file__, rules, remake=arguments.page)
    results: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    with tempfile.TemporaryDirectory() as folder:
        for seed in SEEDS:
            for side in SIDES:

                def run(side: str = side, seed: int = seed) -> Any:
                    return processes.measure(__file__, side, str(seed), sys.executable, folder)

                results[side].append(made.result(f"{side}-seed{seed}", run))
    made.write(page(results, made.bullets()))


if __name__ == "__main__":
    main()
