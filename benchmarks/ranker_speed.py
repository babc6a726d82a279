"""Speed of full-catalogue ranking with models that score pairs.

    KERASREC_DATA=... python benchmarks/ranker_speed.py
    python benchmarks/ranker_speed.py --page    # the page from stored results

`EmbeddingMLP` and `NeuMF` with their default sizes and fresh weights rank the catalogues of
MovieLens 1M (`sasrec-ml-1m`, 3,416 items) and Gowalla (`gowalla-lightgcn`, 40,981 items) for some
users, without the items of training. Three ways of the same ranking, with the same weights:

    call     the model is called on all pairs
    eager    query and item parts are computed once, pairs in uncompiled blocks of 65,536
    parts    the same parts, pairs in the compiled loop: what `rank` does

Each side runs in a separate process and ranks each case twice, the first time to compile. The sides
take turns. `parts` also ranks all users of MovieLens 1M.
"""

import argparse
import json
import sys
import time
from typing import Any

import numpy as np
import pages
import processes
import turns

SIDES = {"call": "called on all pairs", "eager": "parts, not compiled", "parts": "parts, compiled"}
USERS = {"sasrec-ml-1m": 512, "gowalla-lightgcn": 32}
MODELS = ("EmbeddingMLP", "NeuMF")
EAGER_PAIRS, SEED, K, GOAL = 65_536, 0, 10, 5
ABOUT = """# Ranking with models of pairs

`EmbeddingMLP` and `NeuMF` (64 columns, hidden layers of 128 and 64) rank whole catalogues, seen \
items removed, all ranking metrics included. The first layer of the perceptron is a sum of what \
it reads of the query and of the item. Called on all pairs, a model computes the item's part \
again for every query. `rank` computes each part once and scores the pairs in a compiled loop \
whose steps stay in the cache, with a thread per core. Between the two stands the same without \
compiling. Each side runs in a process of its own, in turns. A rate is that of the second \
ranking of the same users, without the time to compile; ratios are geometric means over the \
rounds with a 95 % interval. This page is written by `benchmarks/ranker_speed.py`.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cell", nargs=2, help=argparse.SUPPRESS)
    pages.add_options(parser)
    options = parser.parse_args()
    if options.cell:
        print(json.dumps(measure(options.cell[0])))
        return
    page = pages.Page(
        "ranker_speed",
        __file__,
        {"rounds": options.rounds},
        remake=options.page,
        keep=pages.whole(parser, options),
    )
    found = page.rounds(list(SIDES), page.settings["rounds"], run)
    shown, missed = report(found)
    head = page.head(f"seeds     models and users {SEED}")
    page.write("\n".join([ABOUT, "```text", *head, shown, "```", ""]))
    sys.exit(missed)


def run(side: str, number: int) -> dict[str, Any]:
    return processes.measure(__file__, side, "", sys.executable)


def report(found: dict[str, list[dict]]) -> tuple[str, int]:
    """Return the text of the page, and 1 if a goal is missed."""
    lines = [f"{'':36}{'users/s':>10}{'of call':>24}{'of eager':>24}   ndcg@{K}"]
    goals = {}
    for case in found["call"][0]["cases"]:
        rates = {side: [one["cases"][case]["rate"] for one in found[side]] for side in found}
        metrics = {side: found[side][0]["cases"][case]["metrics"] for side in found}
        lines.append(case)
        for side, name in SIDES.items():
            ratios = [turns.ratio(rates[side], rates[of]).show() for of in ("call", "eager")]
            rate = turns.mean(rates[side]).mean
            ndcg = metrics[side][f"ndcg@{K}"]
            lines.append(f"    {name:32}{rate:10,.1f}{ratios[0]:>24}{ratios[1]:>24}   {ndcg:.6f}")
        auc = [abs(metrics[side]["auc"] - metrics["call"]["auc"]) for side in found]
        goals[f"{case}: {GOAL} times call (lower end)"] = (
            turns.ratio(rates["parts"], rates["call"]).low >= GOAL
        )
        goals[f"{case}: the same AUC to 1e-5"] = max(auc) < 1e-5
    for model in MODELS:
        whole, compiling = (
            turns.mean([one[name][model] for one in found["parts"]]).mean
            for name in ("whole", "compiling")
        )
        lines.append(
            f"{model}, all {found['parts'][0]['users']:,} users of sasrec-ml-1m: {whole:.1f} s; "
            f"the first ranking of a process takes {compiling:.1f} s more"
        )
    lines.append("")
    lines += [f"goal      {goal}: {'reached' if ok else 'MISSED'}" for goal, ok in goals.items()]
    return "\n".join(lines), int(not all(goals.values()))


class Called:
    """A ranker that is called, whatever the model can do besides."""

    def __init__(self, model: Any) -> None:
        self.model, self.schema = model, model.schema

    def __call__(self, inputs: dict, training: bool = False) -> Any:
        return self.model(inputs)


class Eager(Called):
    """A ranker of the same parts, whose pairs are scored block by block without compiling."""

    def query_part(self, inputs: dict) -> np.ndarray:
        return np.asarray(self.model.query_part(inputs))

    def item_part(self, inputs: dict) -> np.ndarray:
        return np.asarray(self.model.item_part(inputs))

    def score_parts(self, query: np.ndarray, items: np.ndarray) -> np.ndarray:
        step = max(1, EAGER_PAIRS // len(items))
        blocks = (query[at : at + step] for at in range(0, len(query), step))
        return np.concatenate([np.asarray(self.model.score_parts(few, items)) for few in blocks])


def of_users(rows: dict, schema: Any, users: np.ndarray) -> dict[str, np.ndarray]:
    kept = np.isin(rows[schema.user_id.name], users)
    return {name: values[kept] for name, values in rows.items()}


def measure(side: str) -> dict[str, Any]:
    import keras

    from kerasrec import data, datasets, evaluation, models

    way = {"call": Called, "eager": Eager, "parts": lambda model: model}[side]
    cases: dict[str, Any] = {}
    result: dict[str, Any] = {"cases": cases, "whole": {}, "compiling": {}}
    for name, users in USERS.items():
        dataset = datasets.load(name)
        vocabularies = data.fit_vocabularies(dataset.interactions)
        schema = data.make_schema(dataset.interactions, vocabularies)
        seen, test = (
            data.encode(part, vocabularies) for part in (dataset.split.train, dataset.split.test)
        )
        everyone = np.unique(test[schema.user_id.name])
        asked = np.random.default_rng(SEED).choice(everyone, users, replace=False)
        seen_by_them, asked_rows = (of_users(rows, schema, asked) for rows in (seen, test))
        for kind in MODELS:
            keras.utils.set_random_seed(SEED)
            model = way(getattr(models, kind)(schema))

            def timed(rows: dict, seen: dict, model: Any = model) -> tuple[float, Any]:
                start = time.perf_counter()
                ranked = evaluation.rank(model, rows, seen=seen, k=K)
                return time.perf_counter() - start, ranked

            first = timed(asked_rows, seen_by_them)[0]
            seconds, ranked = timed(asked_rows, seen_by_them)
            if side == "parts" and name == "sasrec-ml-1m":
                result["users"] = len(everyone)
                result["compiling"][kind] = first - seconds
                result["whole"][kind] = timed(test, seen)[0]
            cases[f"{kind}, {name}, {users} users"] = {
                "rate": users / seconds,
                "metrics": {f"ndcg@{K}": ranked[f"ndcg@{K}"], "auc": ranked["auc"]},
            }
    return result


if __name__ == "__main__":
    main()
