"""FuxiCTR's models on the rows of Frappe that kerasrec is measured on.

    python benchmarks/frappe_peers.py --peer-python ~/peers/bin/python   # writes its page
    python benchmarks/frappe_peers.py --models DNN --seeds 0 --peer-python ...   # no page
    python benchmarks/frappe_peers.py --page                              # from stored results

The environment of the peer needs `pip install fuxictr` and PyTorch. Settings are those of the runs
that BARS publishes for Frappe_x1. The validation rows choose the epoch, and the test rows are read
once, after it. One thread a process.
"""

import argparse
import gzip
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time
from typing import Any

import numpy as np
import pages
import peers
from describing import table_of

# Settings and published results, AUC and log loss, of BARS for Frappe_x1. The same for all: Adam
# with 0.001, a tenth of it after each epoch without a better AUC, the end after two of them.
COMMON: dict[str, Any] = {"embedding_regularizer": 0.05, "dim": 10, "batch_norm": True}
LAYERS = [400, 400, 400]
SETTINGS: dict[str, dict[str, Any]] = {
    "LR": {"embedding_regularizer": 1e-5, "net_regularizer": 1e-5},
    "DNN": {**COMMON, "hidden": LAYERS, "dropout": 0.2},
    "DCNv2": {**COMMON, "hidden": LAYERS, "dropout": 0.4, "crosses": 4},
    "FinalMLP": {
        **COMMON,
        "streams": ([400], [100]),
        "gates": (["user"], ["item"]),
        "gate_hidden": [400],
        "heads": 5,
        "dropout": 0.4,
    },
}
PUBLISHED = {
    "LR": (0.9356, 0.3076),
    "DNN": (0.9833, 0.1622),
    "DCNv2": (0.9845, 0.1491),
    "FinalMLP": (0.9861, 0.1484),
}
BATCH, EPOCHS = 4096, 100
NAMES = ("user", "item", "daytime", "weekday", "isweekend", "homework", "cost", "weather")
NAMES = (*NAMES, "country", "city")
PARTS = {"train": "train.redrawn", "valid": "validation", "test": "test"}


ABOUT = """# FuxiCTR on our rows of Frappe

Written by `benchmarks/frappe_peers.py`; run it again instead of editing this page.

The apps of the negatives of our training rows are drawn anew, see [Frappe](frappe.md), so it is \
not known beforehand whether the figures that BARS publishes for this split can be had on them. \
Here the models are put together from the layers of FuxiCTR and trained by its own loop, with the \
settings of the runs that BARS publishes for Frappe_x1. Mean and standard deviation over {seeds} \
seeds; the published figures are those of one run.

{table}

## Settings

Batches of 4,096 rows, Adam with 0.001, a tenth of it after each epoch without a better validation \
AUC, the end after two such epochs in a row, and the weights of the best epoch. \
`embedding_regularizer` is half the weight of the squares of all numbers of all tables, which each \
step adds to the loss.

{settings}

## Run

{run}
- Peer: {peer}
"""


def main() -> None:
    """Train every model with every seed, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["LR", "DNN"], choices=list(SETTINGS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--peer-python", default=sys.executable, help="Python with FuxiCTR")
    parser.add_argument("--cell", nargs="+", help=argparse.SUPPRESS)
    pages.add_options(parser)
    arguments = parser.parse_args()
    if arguments.cell:
        model, folder, seed = arguments.cell
        print(json.dumps(train(model, folder, int(seed))))
        return
    page = pages.Page(
        "frappe_peers",
        __file__,
        {"models": arguments.models, "seeds": arguments.seeds},
        remake=arguments.page,
        keep=pages.whole(parser, arguments, "peer_python"),
    )
    models, seeds = page.settings["models"], page.settings["seeds"]

    def one(model: str, number: int) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            seed = str(seeds[number])
            return peers.measure(arguments.peer_python, __file__, model, folder, seed, threads=1)

    report(page, page.rounds(models, len(seeds), one))


def rows_of(part: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the codes of the ten fields and the labels of a part."""
    path = pathlib.Path(os.environ["KERASREC_DATA"]) / "frappe" / f"frappe.{PARTS[part]}.libfm.gz"
    with gzip.open(path, "rt", encoding="ascii") as file:
        words = np.array([line.replace(":1", "").split() for line in file], np.int64)
    return words[:, 1:], (words[:, 0] == 1).astype(np.float32)


def encoded() -> tuple[dict[str, dict[str, np.ndarray]], dict[str, int]]:
    """Return the columns of all parts, and the rows of each table: padding, codes, unknown."""
    raw = {part: rows_of(part) for part in PARTS}
    columns = {part: {"label": labels} for part, (_, labels) in raw.items()}
    sizes = {}
    for index, name in enumerate(NAMES):
        known = np.unique(raw["train"][0][:, index])
        sizes[name] = len(known) + 2
        for part, (codes, _) in raw.items():
            at = np.searchsorted(known, codes[:, index]).clip(max=len(known) - 1)
            found = known[at] == codes[:, index]
            columns[part][name] = np.where(found, at + 1, len(known) + 1)
    return columns, sizes


def train(name: str, folder: str, seed: int) -> dict[str, Any]:
    """Return the metrics of the test rows, in the environment of the peer."""
    import fuxictr_models
    import torch

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # the penalty drives rows of rare ids there
    columns, sizes = encoded()
    torch.manual_seed(seed)
    table = fuxictr_models.feature_map(sizes)
    os.makedirs(os.path.join(folder, table.dataset_id))
    model = getattr(fuxictr_models, name)(table, folder, **SETTINGS[name])
    batches = {
        part: fuxictr_models.Batches(columns[part], BATCH, shuffle=part == "train")
        for part in PARTS
    }
    rates, found = [], []
    checked = model.checkpoint_and_earlystop

    def check(logs: dict[str, float], **options: Any) -> None:
        rates.append(model.optimizer.param_groups[0]["lr"])
        found.append(logs["AUC"])
        print(f"{name} epoch {len(found)}: {found[-1]:.6f}", file=sys.stderr, flush=True)
        checked(logs, **options)

    model.checkpoint_and_earlystop = check
    used = time.process_time()
    model.fit(batches["train"], epochs=EPOCHS, validation_data=batches["valid"])
    used = time.process_time() - used
    valid, test = (model.evaluate(batches[part]) for part in ("valid", "test"))
    return {
        "auc": test["AUC"],
        "log_loss": test["logloss"],
        "valid_auc": valid["AUC"],
        "valid_log_loss": valid["logloss"],
        "epoch": int(np.argmax(found)) + 1,
        "epochs": len(found),
        "drops": [i + 1 for i in range(1, len(rates)) if rates[i] < rates[i - 1]],
        "cpu": used,
        "validation": found,
        "versions": peers.versions("fuxictr", "torch"),
    }


def report(page: pages.Page, found: dict[str, list[dict[str, Any]]]) -> None:
    """Write the page."""
    rows = []
    for model, results in found.items():
        values = {n: [one[n] for one in results] for n in ("valid_auc", "auc", "log_loss")}
        shown = [
            f"{statistics.mean(some):.4f}"
            + (f" ± {statistics.stdev(some):.4f}" if len(some) > 1 else "")
            for some in values.values()
        ]
        auc, loss = PUBLISHED[model]
        rows.append(
            [
                model,
                *shown,
                f"{auc:.4f}",
                f"{loss:.4f}",
                f"{statistics.mean(values['auc']) - auc:+.4f}",
                ", ".join(f"{one['epoch']} of {one['epochs']}" for one in results),
                f"{statistics.mean(one['cpu'] for one in results):.0f}",
            ]
        )
    header = ("model", "validation AUC", "AUC", "log loss", "published AUC", "log loss")
    peer = next(iter(found.values()))[0]["versions"]
    page.write(
        ABOUT.format(
            seeds=len(page.settings["seeds"]),
            table=table_of((*header, "difference", "epoch chosen", "CPU s"), rows),
            settings="\n".join(f"- {model}: `{SETTINGS[model]}`" for model in found),
            run=page.bullets(),
            peer=peer,
        )
    )


if __name__ == "__main__":
    main()
