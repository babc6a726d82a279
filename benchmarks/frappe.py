"""Click models without any settings on Frappe, beside the published table of the same split.

    python benchmarks/frappe.py                     # 3 seeds; writes its page
    python benchmarks/frappe.py --models FeatureMLP # a part of it, no page
    python benchmarks/frappe.py --page              # from stored results

Each training is `runs.fit(model, ready, seed=seed)`, in a process of its own with one thread. The
validation rows choose the epoch, and the test rows are read once, after it.
"""

import argparse
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time

import pages
import processes
from describing import table_of

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

MODELS = ("LogisticRegression", "FactorizationMachine", "FeatureMLP", "DCNv2", "FinalMLP")
# BARS, Frappe_x1: AUC and log loss of the strongest row of the model there.
PUBLISHED = {
    "LogisticRegression": ("LR", 0.9356, 0.3076),
    "FactorizationMachine": ("FM", 0.9671, 0.2065),
    "FeatureMLP": ("DNN", 0.9833, 0.1622),
    "DCNv2": ("DCN-V2", 0.9845, 0.1491),
    "FinalMLP": ("FinalMLP", 0.9861, 0.1484),
}
ABOUT = """# Click models on Frappe

Written by `benchmarks/frappe.py`; run it again instead of editing this page.

957 users of 4,082 apps in 8 contexts: 202,027 training, 57,722 validation and 28,860 test rows, a \
third of them positive. The published rows are those of BARS for this split (Frappe_x1, each model \
tuned there). **The apps of the negatives of the training rows are drawn anew here**, since the \
published file could not be had: its positives, users and contexts are exactly known, its apps of \
negatives are a uniform draw. Validation and test rows are the published ones. So figures compare \
up to that draw, and no peer has been trained on our file yet.

Zero flags: `runs.fit(model, ready)` chooses all settings by rules, some constants of which were \
chosen by the validation rows of this set and of another one. Mean and standard deviation over \
{seeds} seeds.

{table}

{verdict}

## Run

{run}
"""


def main() -> None:
    """Train every model with every seed, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--cell", nargs=3, help=argparse.SUPPRESS)
    pages.add_options(parser)
    arguments = parser.parse_args()
    if arguments.cell:
        model, _, seed = arguments.cell
        print(json.dumps(train(model, int(seed))))
        return
    page = pages.Page(
        "frappe",
        __file__,
        {"models": arguments.models, "seeds": arguments.seeds},
        remake=arguments.page,
        keep=pages.whole(parser, arguments),
    )
    models, seeds = page.settings["models"], page.settings["seeds"]

    def one(model: str, number: int) -> dict[str, float]:
        with tempfile.TemporaryDirectory() as folder:
            return processes.measure(__file__, model, folder, sys.executable, str(seeds[number]))

    report(page, page.rounds(models, len(seeds), one))


def train(name: str, seed: int) -> dict[str, float]:
    """Return the metrics of the test rows after a training without flags."""
    import keras
    import tensorflow as tf

    from kerasrec import data, evaluation, runs

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    folder = pathlib.Path(os.environ["KERASREC_DATA"]) / "frappe"
    train_rows = data.read_examples(folder / "frappe.train.redrawn.libfm.gz")
    valid, test = (
        data.read_examples(folder / f"frappe.{part}.libfm.gz", like=train_rows)
        for part in ("validation", "test")
    )
    ready = data.prepare_examples(data.ExampleSplit(train_rows, valid, test))
    keras.utils.set_random_seed(seed)
    used = time.process_time()
    fitted = runs.fit(name, ready, seed=seed, verbose=0)
    used = time.process_time() - used
    columns = {**ready.test, ready.schema.label: ready.positives(ready.test)}
    found = evaluation.click_metrics(fitted.model, columns)
    return {
        "auc": found["auc"],
        "log_loss": found["log_loss"],
        "valid_auc": max(fitted.result.history["val_auc"]),
        "epochs": fitted.result.epochs,
        "cpu": used,
    }


def report(page: pages.Page, found: dict[str, list[dict[str, float]]]) -> None:
    """Write the page."""
    rows, reached = [], []
    for model, results in found.items():
        label, auc, loss = PUBLISHED[model]
        values = {name: [one[name] for one in results] for name in results[0]}
        means = {name: statistics.mean(some) for name, some in values.items()}
        spread = {
            name: statistics.stdev(some) if len(some) > 1 else 0.0 for name, some in values.items()
        }
        rows.append(
            [
                f"`{model}`",
                f"{means['auc']:.4f} ± {spread['auc']:.4f}",
                f"{means['log_loss']:.4f} ± {spread['log_loss']:.4f}",
                label,
                f"{auc:.4f}",
                f"{loss:.4f}",
                f"{means['auc'] - auc:+.4f}",
                f"{means['cpu']:.0f}",
            ]
        )
        if means["auc"] >= auc - 0.001:
            reached.append(model)
    header = ("model", "AUC", "log loss", "published", "AUC", "log loss", "difference", "CPU s")
    missed = [model for model in found if model not in reached]
    verdict = (
        f"Within 0.001 of the published AUC or above it: {', '.join(reached) or 'none'}. Missed: "
        f"{', '.join(missed) or 'none'}."
    )
    page.write(
        ABOUT.format(
            seeds=len(page.settings["seeds"]),
            table=table_of(header, rows),
            verdict=verdict,
            run=page.bullets(),
        )
    )


if __name__ == "__main__":
    main()
