"""What the history of a user adds to models of clicks.

    python benchmarks/click_histories.py               # writes its page
    python benchmarks/click_histories.py --only DIN    # that model alone, no page
    python benchmarks/click_histories.py --page        # from stored results

MovieLens 100K with its tables of users and films; the label of a rating is whether it is 4 or more.
Every training is `runs.fit(model, ready, loss="log_loss")`, where rules choose all settings that
are not named. The last five ratings of each user are the test, the five before them choose the
epoch.
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
from describing import table_of

from kerasrec import data, datasets, evaluation, runs
from kerasrec.evaluation.clicks.predictions import ClickPredictions
from kerasrec.training import keep_freed_memory

DATA, POSITIVE, HELD, SEEDS = "movielens-100k", ">=4", 5, (0, 1, 2)
GENRES = {"history_features": ["genres"]}
# Rows of the table: the model and what is given beside the rules.
SIDES: dict[str, tuple[str, dict[str, Any]]] = {
    "FactorizationMachine": ("FactorizationMachine", {}),
    "FeatureMLP": ("FeatureMLP", {}),
    "DeepFM": ("DeepFM", {}),
    "DCNv2": ("DCNv2", {}),
    "DIN": ("DIN", {}),
    "DIN, softmax": ("DIN", {"interest": "softmax"}),
    "DIN, transformer": ("DIN", {"interest": "transformer"}),
    "DIN, genres": ("DIN", GENRES),
}
METRICS = ("auc", "log_loss")
ABOUT = """# What a history adds to models of clicks

Written by `benchmarks/click_histories.py`; run it again instead of editing this page.

MovieLens 100K with its tables of users and films. The label of a rating is whether it is 4 or \
more: {rate:.1%} of the {rows:,} test rows. The last {held} ratings of each user are the test, the \
{held} before them choose the epoch by AUC. All models read the ids, the features of the user and \
those of the film; `DIN` reads also the films that the user rated before, without the ratings: by \
attention whose weights are not normalised, by a softmax, by a transformer, or by attention to \
films and genres. A history goes up to the row before, so that of a test row holds films of which \
no model has learned with this user. Zero flags: `runs.fit(model, ready, loss="log_loss")` chooses \
all settings by rules. Mean and standard deviation over {seeds} seeds.

{table}

## Less the models without a history

{differences}

The difference of AUC of the same test rows, its mean over the seeds, and the mean of the ends of \
their 95 % intervals (DeLong's, clustered by user). {reading}

## Run

{run}
- Seeds: {seeds_are}. Two trainings ran at a time; CPU seconds hold compilation and validation.
"""


def measure(side: str, seed: int) -> dict[str, Any]:
    """Train without any flag but the loss, then predict the test rows."""
    keep_freed_memory()
    model, arguments = SIDES[side]
    split = data.leave_last_out(datasets.load(DATA).interactions, valid=HELD, test=HELD)
    ready = data.prepare(split, positive=POSITIVE)
    used = time.process_time()
    keras.utils.set_random_seed(seed)
    fitted = runs.fit(model, ready, arguments=arguments, loss="log_loss", seed=seed, verbose=0)
    cpu = time.process_time() - used
    rows = fitted.ready
    label = rows.schema.label
    predicted, auc = {}, {}
    for part in ("valid", "test"):
        columns = getattr(rows, part)
        columns = {**columns, label: rows.positives(columns)}
        predicted[part] = evaluation.predict_clicks(fitted.model, columns)
        auc[part] = evaluation.auc(predicted[part].labels, predicted[part].logits)
    test = predicted["test"]
    return {
        "valid": auc["valid"],
        "auc": auc["test"],
        "log_loss": evaluation.log_loss(test.labels, test.logits),
        "labels": test.labels.astype(int).tolist(),
        "users": np.asarray(rows.test[rows.schema.user_id.name]).tolist(),
        "predicted": test.probabilities.round(5).tolist(),
        "epochs": [fitted.result.epochs, len(fitted.result.history["loss"])],
        "cpu": cpu,
        "chosen": fitted.choices.describe(),
    }


def predictions(run: dict[str, Any]) -> ClickPredictions:
    """Return the predictions of a stored training."""
    return ClickPredictions.from_probabilities(
        np.array(run["labels"]), np.array(run["predicted"], float)
    )


def reads_history(side: str) -> bool:
    """Return whether a side reads the history."""
    return SIDES[side][0] == "DIN"


def difference(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> tuple[float, ...]:
    """Return the mean difference of AUC over the seeds, and the mean ends of the intervals."""
    found = []
    for one, other in zip(ours, theirs, strict=True):
        users = np.array(one["users"])
        both = evaluation.compare_clicks(predictions(one), predictions(other), users)
        interval = both["auc"].difference
        found.append((interval.mean, interval.low, interval.high))
    return tuple(np.mean(found, axis=0))


def report(made: pages.Page, results: dict[str, list[dict[str, Any]]]) -> None:
    """Write the page."""

    def cell(runs: list[dict[str, Any]], name: str) -> str:
        values = [run[name] for run in runs]
        return f"{np.mean(values):.4f} ± {np.std(values, ddof=1):.4f}"

    table = table_of(
        ("model", "validation AUC", "AUC", "log loss", "best epoch by seed", "CPU s"),
        [
            [
                f"`{side}`",
                *(cell(runs, name) for name in ("valid", *METRICS)),
                ", ".join("{} of {}".format(*run["epochs"]) for run in runs),
                f"{np.mean([run['cpu'] for run in runs]):.0f}",
            ]
            for side, runs in results.items()
        ],
    )
    with_history = [side for side in results if reads_history(side)]
    without = [side for side in results if not reads_history(side)]
    rows, above = [], []
    best = max(without, key=lambda side: np.mean([run["valid"] for run in results[side]]))
    for side in with_history:
        for other in without:
            mean, low, high = difference(results[side], results[other])
            rows.append([f"`{side}`", f"`{other}`", f"{mean:+.4f} ({low:+.4f} to {high:+.4f})"])
            if other == best:
                word = "above" if low > 0 else "below" if high < 0 else "level with"
                above.append(f"`{side}` is {word} it")
    first = results[with_history[0]][0]
    made.write(
        ABOUT.format(
            rate=float(np.mean(first["labels"])),
            rows=len(first["labels"]),
            held=HELD,
            seeds=len(SEEDS),
            seeds_are=", ".join(map(str, SEEDS)),
            table=table,
            differences=table_of(("model", "less", "AUC"), rows),
            reading=f"Of the models without a history the validation rows choose `{best}`: "
            + ", ".join(above)
            + ".",
            run=made.bullets(),
        )
    )


def main() -> None:
    """Run the missing trainings and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=SIDES, default=list(SIDES), help="no page")
    parser.add_argument("--cell", nargs=2, help=argparse.SUPPRESS)
    pages.add_options(parser)
    arguments = parser.parse_args()
    if arguments.cell:
        side, seed = arguments.cell
        print(json.dumps(measure(side, int(seed))))
        return
    made = pages.Page(
        "click_histories",
        __file__,
        {"sides": arguments.only},
        remake=arguments.page,
        keep=pages.whole(parser, arguments),
    )

    def result(task: tuple[str, int]) -> dict[str, Any]:
        side, seed = task

        def run() -> dict[str, Any]:
            found = dict(processes.measure(__file__, side, str(seed), sys.executable))
            print(side, seed, {name: found[name] for name in ("valid", "auc", "cpu")}, flush=True)
            return found

        words = "-".join(side.lower().replace(",", "").split())
        return made.result(f"{words}-seed{seed}", run)

    names = made.settings["sides"]
    tasks = [(side, seed) for side in names for seed in SEEDS]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        found = iter(list(pool.map(result, tasks)))
    results = {side: [next(found) for _ in SEEDS] for side in names}
    if names != list(SIDES):
        print("No page is written: that takes all models.")
        return
    report(made, results)


if __name__ == "__main__":
    main()
