"""What a user gets without flags, on seven data sets, by rules that were chosen without the set.

    python benchmarks/recipes.py                          # all missing trainings, and the page
    python benchmarks/recipes.py --only movielens-100k    # trainings of one set, or of one model
    python benchmarks/recipes.py --page                   # the page alone, from stored results

The rules of `kerasrec.runs.choosing.rules` interpolate between settings for sparse and for dense
data sets, by the number of rows per item (for the temperature of matrix factorisation by the
effective number of items). Every model is trained on every set with the settings of the sparse end,
of the dense end, and of the interpolation. Three rules follow: always sparse, always dense,
interpolated. For each set, the one that did best on the other sets is taken (leave one set out), by
NDCG@10, AUC or RMSE of the validation rows, and its test figure is reported. "Tuned" is the setting
with the best validation figure on the set itself, of these three and of the alternatives that
`--budget` would try.

Each training runs in a process of its own with one thread, and leaves a JSON file. A file counts
if its settings and the measuring code, `recipes_training.py`, are those of today.
"""

import argparse
import concurrent.futures
import dataclasses
import json
import pathlib
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pages
import recipes_training as training
from describing import commit, machine, table_of, versions, write
from recipes_training import ENDS, SETS, TRIED, Task, settings_of

NAME = "recipes"
VARIANTS = ("rules", *ENDS)
# Measuring code of the past that is the same for the settings of the rules: the ends of matrix
# factorisation, which differ, were then taken by rows per item or per user.
SAME_FOR_RULES = {"48aa304cfe70", "1e2fc2d413cf"}
RANKED = ("MatrixFactorization", "EmbeddingMLP", "NeuMF", "SASRec", "GRU4Rec")
ORDERED = ("SASRec", "GRU4Rec", "StackedLSTMClassifier")
WITHOUT_ORDER = ("douban-monti", "gowalla-lightgcn")
# Where a page of its own has settings that were found by hand, none are tried here.
FOUND_BY_HAND = ("SASRec", "GRU4Rec")
SAME_AS_ENDS = {("MatrixFactorization", "ranking", place) for place in (0, 1)}
LARGE = ("gowalla-lightgcn", "sasrec-ml-1m", "amazon-beauty-s3rec")
# Figures of the test rows that are shown instead of NDCG@10.
SHOWN = {"gowalla-lightgcn": "ndcg@20"}
# Hand-tuned figures of other pages: same rows, same ranking.
BY_HAND = {
    ("sasrec-ml-1m", "SASRec"): 0.1968,
    ("sasrec-ml-1m", "GRU4Rec"): 0.1753,
    ("amazon-beauty-s3rec", "SASRec"): 0.0506,
    ("amazon-beauty-s3rec", "GRU4Rec"): 0.0352,
    ("gowalla-lightgcn", "MatrixFactorization"): 0.1578,
}
PUBLISHED = {
    ("sasrec-ml-1m", "SASRec"): "LRURec 0.1930",
    ("sasrec-ml-1m", "GRU4Rec"): "GRU4Rec 0.1693",
    ("amazon-beauty-s3rec", "SASRec"): "BSARec 0.0611",
    ("amazon-beauty-s3rec", "GRU4Rec"): "GRU4Rec 0.0137",
    ("gowalla-lightgcn", "MatrixFactorization"): "ChebyCF 0.1616",
    ("gowalla-lightgcn", "NeuMF"): "NeuMF 0.1212",
}


def tasks() -> list[Task]:
    """List all trainings, the interpolated rules first."""
    found = []
    for variant in VARIANTS:
        for name, positive in SETS.items():
            for model in RANKED:
                if name not in WITHOUT_ORDER or model not in ORDERED:
                    loss = "softmax" if model in ("SASRec", "GRU4Rec") else "ranking"
                    found.append(Task(name, model, loss, variant))
            if positive is not None:
                found.append(Task(name, "MatrixFactorization", "mse", variant))
                if name not in WITHOUT_ORDER:
                    found.append(Task(name, "StackedLSTMClassifier", "log_loss", variant))
    rules = [task for task in found if task.variant == "rules"]
    for place, variant in enumerate(TRIED):
        found += [
            dataclasses.replace(task, variant=variant)
            for task in rules
            if task.model not in FOUND_BY_HAND
            and task.data not in LARGE
            and place < training.tried(task)
            # The first two alternatives of its temperature are the ends.
            and (task.model, task.loss, place) not in SAME_AS_ENDS
        ]
    return found


def result_of(task: Task, *, page: bool) -> dict[str, Any] | None:
    """Return a stored result, or measure and store it. With `page`, None where there is none."""
    path = pages.RESULTS / NAME / f"{task.name}.json"
    if path.is_file():
        held: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        valid = {source(), *(SAME_FOR_RULES if task.variant == "rules" else ())}
        # Before there was a choice, the decay was that.
        settings = {"decay": "inverse_time", **held["settings"]}
        if page or (held["source"] in valid and settings == settings_of(task)):
            return held
    if page:
        return None
    words = [sys.executable, training.__file__, json.dumps(dataclasses.asdict(task))]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{task.name}: {done.stderr.strip()[-1500:]}", file=sys.stderr, flush=True)
        return None
    found = json.loads(done.stdout.strip().splitlines()[-1])
    held = {
        "source": source(),
        "commit": commit(),
        "hardware": machine(),
        "versions": versions(),
        **found,
    }
    write(path, json.dumps(held, indent=1) + "\n")
    print(f"{task.name}: {held['test']}, {held['cpu']:.0f} CPU s", flush=True)
    return held


def source() -> str:
    """Hash the measuring code."""
    return pages.fingerprint(pages.modules(pathlib.Path(training.__file__).resolve()))


Held = Mapping[Task, Mapping[str, Any]]


def value(held: Held, task: Task) -> float | None:
    """Return the validation figure of a training, higher being better. None if it is missing."""
    same = task if task in held else dataclasses.replace(task, variant="rules")
    if same not in held or (same != task and not same_as_rules(held, task)):
        return None
    one = held[same]
    return -one["valid"] if one["figure"] == "rmse" else one["valid"]


def chosen_without(held: Held, task: Task, others: Sequence[str]) -> str:
    """Return the variant of the rules that did best on the other sets.

    Best is the highest mean of the validation figure as a share of the best one of each set.
    """
    scores: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    for name in others:
        found = {v: value(held, dataclasses.replace(task, data=name, variant=v)) for v in VARIANTS}
        if any(one is None for one in found.values()):
            continue
        best = max(one for one in found.values() if one is not None)
        for variant, one in found.items():
            share = float(one or 0) / best
            scores[variant].append(1 / share if best < 0 else share)
    if not scores["rules"]:
        return "rules"
    return max(VARIANTS, key=lambda variant: float(np.mean(scores[variant])))


def lines(held: Held) -> list[list[str]]:
    """Return the rows of the table."""
    found = []
    for task in tasks():
        if task.variant != "rules" or task not in held:
            continue
        others = [name for name in SETS if name != task.data]
        variant = chosen_without(held, task, others)
        left = dataclasses.replace(task, variant=variant)
        own = held.get(left, held[task])
        if left not in held and not same_as_rules(held, left):
            variant = f"rules, as {variant} is missing"
        down = own["figure"] == "rmse"
        options = [
            one
            for v in (*VARIANTS, *TRIED)
            if (one := held.get(dataclasses.replace(task, variant=v))) is not None
        ]
        tuned = (min if down else max)(options, key=lambda one: one["valid"])
        figure = SHOWN.get(task.data, own["figure"])
        reached, best = own["test"][figure], tuned["test"][figure]
        best = max(best, BY_HAND.get((task.data, task.model), best))
        ratio = best / reached if down else reached / best
        compared = len(options) > 1 or (task.data, task.model) in BY_HAND
        found.append([
            task.data,
            task.model,
            figure,
            f"{own['baseline'][figure]:.4f}",
            f"{reached:.4f} ({variant})",
            f"{held[task]['test'][figure]:.4f}",
            f"{best:.4f}" if compared else "-",
            f"{ratio:.3f}" if compared else "-",
            PUBLISHED.get((task.data, task.model), "-"),
            f"{own['cpu']:.0f}",
        ])  # fmt: skip
    return found


def page_of(held: Held) -> str:
    """Return the page."""
    header = [
        "data set", "model", "figure", "popularity, mean or 0.5",
        "zero flags, rules without the set",
        "zero flags, shipped", "tuned", "share of tuned", "published", "CPU s",
    ]  # fmt: skip
    rows = lines(held)
    low = [row for row in rows if row[7] != "-" and float(row[7]) < 0.97]
    slow = [row for row in rows if float(row[9]) > 600]
    below = [
        row for row in rows
        if (float(row[4].split()[0]) < float(row[3])) != (row[2] == "rmse")
    ]  # fmt: skip
    every = [task for task in tasks() if task not in held]
    missing = [task for task in every if task.variant == "rules" or not same_as_rules(held, task)]
    names = ", ".join(f"`{task.name}`" for task in missing) or "none"
    # In this order, whichever result was read first.
    waited = [
        task
        for task in tasks()
        if task in held
        and task.model in FOUND_BY_HAND
        and held[task]["settings"]["patience"] < held[task]["settings"]["epochs"] // 2
    ]
    earlier = ", ".join(f"`{task.name}`" for task in waited) or "none"

    def listed(some: Sequence[Sequence[str]]) -> str:
        return ", ".join(f"{row[1]} on {row[0]} ({row[2]})" for row in some) or "none"

    made = {
        name: " and ".join(sorted({str(one[name]) for one in held.values()}))
        for name in ("hardware", "versions", "commit")
    }
    if other := {str(one["source"]) for one in held.values()} - {source(), *SAME_FOR_RULES}:
        raise ValueError(f"results of other measuring code: {sorted(other)}. Measure them again.")
    return f"""# What a user gets without flags

Written by `benchmarks/recipes.py`; run it again instead of editing this page.

`kerasrec fit MODEL --data ...` chooses the settings that are not given from the rows. Its rules
interpolate between a setting for sparse and one for dense data sets, by rows per item (for the
temperature of matrix factorisation by the effective number of items). For each set the rule (always
sparse, always dense, interpolated) is taken that did best on the validation rows of the *other*
sets. Test rows are ranked in full, those of training and validation left out. "Tuned" is the
setting with the best validation figure on the set itself, of these three and of the two or three
alternatives that a search would try (`kerasrec fit --budget`), or the figure of settings found by
hand for a published table, where that is higher; "-" where no other setting was tried. One seed.

The figure f of a set with n test users, one test row each, has a standard error of at most
sqrt(f (1 - f) / n): 0.007 for 0.03 of the 610 users of ml-latest-small, 0.008 for 0.07 of the 943
of movielens-100k. There, a share of tuned between 0.8 and 1.2 says nothing.

{table_of(header, rows)}

- Below 97 % of tuned: {listed(low)}
- Over 600 CPU seconds: {listed(slow)}
- Not better than popularity, the mean or chance: {listed(below)}
- Measured when models of histories waited for a fifth of the epochs, not for half: {earlier}
- Trainings still missing: {names}

## Run

- Command: `python benchmarks/recipes.py`
- Hardware: {made["hardware"]}; one thread a training, two at a time, up to four
  for models of histories and perceptrons, which took up to twice their CPU seconds
- Versions: {made["versions"]}
- Commit: {made["commit"]}; source {source()}
"""


def same_as_rules(held: Held, task: Task) -> bool:
    """Return whether the rules choose the end of the range on this set."""
    one = held.get(dataclasses.replace(task, variant="rules"))
    return one is not None and bool(one.get(f"is_{task.variant}"))


def main() -> None:
    """Run the missing trainings and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=[], help="sets, models or variants")
    parser.add_argument("--workers", type=int, default=2, help="trainings at a time")
    pages.add_options(parser)
    arguments = parser.parse_args()
    todo = [
        task
        for task in tasks()
        if all(word in (task.data, task.model, task.loss, task.variant) for word in arguments.only)
    ]
    held: dict[Task, dict[str, Any]] = {}

    def run(task: Task) -> None:
        if task.variant != "rules" and same_as_rules(held, task):
            return
        found = result_of(task, page=arguments.page)
        if found is not None:
            held[task] = found

    for variant in (*VARIANTS, *TRIED):  # first all of the rules, which say which others differ
        with concurrent.futures.ThreadPoolExecutor(arguments.workers) as pool:
            list(pool.map(run, [task for task in todo if task.variant == variant]))
    if not arguments.only:
        text = page_of(held)
        print(text)
        write(pages.DOCS / f"{NAME}.md", text)


if __name__ == "__main__":
    main()
