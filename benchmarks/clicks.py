"""Click models without any settings on three small tables, beside boosted trees.

    python benchmarks/clicks.py --peer-python ~/peers/bin/python   # writes its page
    python benchmarks/clicks.py --tables in-vehicle-coupon --folds 0 --peer-python ...   # no page
    python benchmarks/clicks.py --page                             # from stored results

The environment of the peers needs `pip install lightgbm scikit-learn pandas pyarrow`. A row is in
the test part of one of 5 folds. The validation rows choose epochs, settings of the peers and the
best model of the zoo, and the test rows are read once, after it. One thread a process. An
interrupted run goes on at the table and fold where it stopped.
"""

import argparse
import concurrent.futures
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
import processes
import turns
from describing import table_of

MODELS = (
    *("LogisticRegression", "FactorizationMachine", "FeatureMLP", "MLPEnsemble", "DCNv2"),
    "FinalMLP",
)
TREES, LINEAR = "LightGBM", "scikit-learn's logistic regression"
TABLES = {
    "criteo-sample": "Criteo, the 8,000 rows of `criteo8k`: 13 counts and 26 hashed categories, "
    "with gaps.",
    "in-vehicle-coupon": "Coupons offered to drivers: 12,684 rows of 24 columns, nearly all of "
    "them categories of a few values.",
    "open-bandit-sample": "Open Bandit, all six files: 60,000 impressions of clothes, of which "
    "0.5 % were clicked. Columns are campaign, policy, position, hour, item, features of the user "
    "and of the item, and the affinity of the user to the item.",
}
FOLDS, PIECES, DRAWS, BOUND = 5, 20, 500, -0.005
MEASURES = ("auc", "log_loss")
ABOUT = """# Click models beside boosted trees

Written by `benchmarks/clicks.py`; run it again instead of editing this page.

Zero flags: `runs.fit(model, ready)` chooses all settings by rules. The peers are tuned by the \
validation rows: LightGBM with its own treatment of categories over {trees} settings, each with \
early stopping, and logistic regression of scikit-learn on one-hot columns over {linear}. All read \
the same rows and columns, and all choices are made by the AUC of the validation rows. \
{folds} folds: each row is a test row once, {test:.0%} of a fold are for the test and {valid:.0%} \
for the validation. Mean and standard deviation over the folds. "Best of the zoo" takes in each \
fold the model with the best validation. The first interval is that of 95 % of {draws} resamples \
of the test rows, the same for both sides; it does not cover the seed of a training. The second \
one does: it is that of Student's t over the folds, each with other rows and another seed. \
Verdicts take the outer ends of both.

{parts}

## Where trees win

{verdict}

## Run

{run}
- Peers: {peers}
"""


def main() -> None:
    """Train every model on every fold of every table, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", nargs="+", default=list(TABLES), choices=list(TABLES))
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--folds", type=int, nargs="+", default=list(range(FOLDS)))
    parser.add_argument("--peer-python", default=sys.executable, help="Python with the peers")
    parser.add_argument("--jobs", type=int, default=2, help="folds at a time")
    parser.add_argument("--cell", nargs="+", help=argparse.SUPPRESS)
    pages.add_options(parser)
    arguments = parser.parse_args()
    if arguments.cell:
        side, folder, *more = arguments.cell
        cells = {"zoo": zoo, "peers": tuned_peers}
        print(json.dumps(cells[side](pathlib.Path(folder), *more)))
        return
    settings = {name: getattr(arguments, name) for name in ("tables", "models", "folds")}
    page = pages.Page(
        "clicks",
        __file__,
        settings,
        remake=arguments.page,
        keep=pages.whole(parser, arguments, "peer_python"),
    )

    def one(table: str, fold: int) -> dict[str, Any]:
        return page.result(
            f"{table}-fold{fold}",
            lambda: measured(table, fold, page.settings["models"], arguments.peer_python),
        )

    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        waiting = {
            table: [pool.submit(one, table, fold) for fold in page.settings["folds"]]
            for table in page.settings["tables"]
        }
        found = {table: [fold.result() for fold in folds] for table, folds in waiting.items()}
    report(page, found)


def measured(table: str, fold: int, models: list[str], peer_python: str) -> dict[str, Any]:
    """Train all models on a fold, choose by validation, and measure the test rows."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_rows(table, fold, folder)
        python = sys.executable
        ours = processes.measure(__file__, "zoo", name, python, str(fold), *models)
        theirs = peers.measure(peer_python, __file__, "peers", name, threads=1)
        made = {**ours, **theirs["models"]}
        results = {}
        for model, one in made.items():
            held = np.load(folder / f"{one['file']}.npz")
            results[model] = {
                **{f"valid_{n}": v for n, v in scores(held["valid_label"], held["valid"]).items()},
                **scores(held["label"], held["test"]),
                **{name: one[name] for name in ("cpu", "chosen")},
            }
            print(f"{table} fold {fold}, {model}: {results[model]}", file=sys.stderr, flush=True)
        best = max(models, key=lambda model: results[model]["valid_auc"])
        draws = {}
        for side, model in {"zoo": best, "trees": TREES, "linear": LINEAR}.items():
            held = np.load(folder / f"{made[model]['file']}.npz")
            draws[side] = resampled(held["label"], held["test"], seed=fold)
    return {"models": results, "best": best, "draws": draws, "versions": theirs["versions"]}


def scores(labels: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Return AUC and log loss of probabilities."""
    one = {name: float(values[0]) for name, values in weighted(labels, predicted, 1.0).items()}
    return {name: one[name] for name in MEASURES}


def weighted(labels: np.ndarray, predicted: np.ndarray, weights: Any) -> dict[str, np.ndarray]:
    """Return AUC and log loss for each row of weights, `(draws, rows)`. Ties count half."""
    predicted = np.asarray(predicted, np.float64)
    weights = np.broadcast_to(weights, (np.atleast_2d(weights).shape[0], len(labels)))
    order = np.argsort(predicted, kind="stable")
    start = np.flatnonzero(np.diff(predicted[order], prepend=-1.0))
    positive, negative = (
        np.add.reduceat(weights[:, order] * kind[order], start, axis=1)
        for kind in (labels, 1.0 - labels)
    )
    below = np.cumsum(negative, axis=1) - negative / 2
    pairs = positive.sum(axis=1) * negative.sum(axis=1)
    clipped = np.clip(predicted, 1e-7, 1 - 1e-7)
    losses = -np.log(np.where(labels == 1, clipped, 1 - clipped))
    return {
        "auc": (positive * below).sum(axis=1) / pairs,
        "log_loss": (weights @ losses) / weights.sum(axis=1),
    }


def resampled(labels: np.ndarray, predicted: np.ndarray, seed: int) -> dict[str, list[float]]:
    """Return AUC and log loss of resamples of the rows, which the seed alone decides."""
    rng = np.random.default_rng(seed)
    count = len(labels)
    weights = rng.multinomial(count, np.full(count, 1 / count), size=DRAWS).astype(np.float64)
    found = weighted(labels, predicted, weights)
    return {name: [round(value, 5) for value in found[name].tolist()] for name in MEASURES}


def write_rows(table: str, fold: int, folder: pathlib.Path) -> None:
    """Write the rows of a table with the part of each in a fold: 0 train, 1 valid, 2 test.

    Rows of each label are dealt out to 20 pieces of the same size. Four are a test part.
    """
    frame = READ[table](pathlib.Path(os.environ["KERASREC_DATA"]) / table)
    rng, labels = np.random.default_rng(0), frame["label"].to_numpy()
    piece = np.empty(len(frame), int)
    for value in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == value))
        piece[rows] = np.arange(len(rows)) % PIECES
    step = PIECES // FOLDS
    later = (piece - fold * step) % PIECES
    frame["part"] = np.select([later < step, later < step + 3], [2, 1], 0)
    frame.to_parquet(folder / "rows.parquet")


def criteo(folder: pathlib.Path) -> Any:
    """Read the three files of criteo8k."""
    import pandas as pd

    counts, texts = [f"I{n}" for n in range(1, 14)], [f"C{n}" for n in range(1, 27)]
    kinds = {**dict.fromkeys(counts, "float64"), **dict.fromkeys(texts, "str")}
    parts = [
        pd.read_csv(
            folder / f"criteo8k.{part}.tsv.gz",
            sep="\t",
            names=["label", *counts, *texts],
            dtype=kinds,
        )
        for part in ("train", "dev", "test")
    ]
    return pd.concat(parts, ignore_index=True)


def coupons(folder: pathlib.Path) -> Any:
    """Read the coupons, without the type of car, which is hardly ever known."""
    import pandas as pd

    frame = pd.read_csv(folder / "in-vehicle-coupon-recommendation.csv.gz")
    return frame.drop(columns="cartype").rename(columns={"Y": "label"})


def bandit(folder: pathlib.Path) -> Any:
    """Read all impressions, with features of the item and the affinity of the user to it."""
    import pandas as pd

    parts = []
    for campaign in ("all", "men", "women"):
        items = pd.read_csv(folder / f"item_context.{campaign}.csv.gz", index_col="item_id")
        items = items[[name for name in items if name.startswith("item_feature")]]
        for policy in ("random", "bts"):
            rows = pd.read_csv(folder / f"{policy}.{campaign}.csv.gz", index_col=0)
            affinity = rows[[f"user-item_affinity_{item}" for item in items.index]].to_numpy()
            at = items.index.get_indexer(rows["item_id"])
            kept = ["position", *(f"user_feature_{n}" for n in range(4))]
            made = rows[kept].assign(
                campaign=campaign,
                policy=policy,
                item=campaign + "-" + rows["item_id"].astype(str),
                hour=pd.to_datetime(rows["timestamp"], format="ISO8601").dt.hour.astype(str),
                affinity=affinity[np.arange(len(rows)), at],
                label=rows["click"],
            )
            made["position"] = made["position"].astype(str)
            for name in items:
                made[name] = items[name].to_numpy()[at]
            parts.append(made)
    return pd.concat(parts, ignore_index=True)


READ = {"criteo-sample": criteo, "in-vehicle-coupon": coupons, "open-bandit-sample": bandit}


def zoo(folder: pathlib.Path, seed: str, *names: str) -> dict[str, Any]:
    """Train models without flags, and store their probabilities of validation and test rows."""
    import keras
    import pandas as pd
    import tensorflow as tf

    from kerasrec import data, evaluation, runs

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    frame = pd.read_parquet(folder / "rows.parquet")
    part = frame.pop("part").to_numpy()
    rows = data.Examples.from_table(frame, label="label")
    split = data.ExampleSplit(*(rows.take(part == number) for number in range(3)))
    ready = data.prepare_examples(split)
    found = {}
    for name in names:
        keras.utils.set_random_seed(int(seed))
        used = time.process_time()
        fitted = runs.fit(name, ready, seed=int(seed), verbose=0)
        used = time.process_time() - used
        # As the export serves them, calibrated on the validation rows.
        valid, test = (
            evaluation.predict_clicks(
                fitted.model, {**columns, ready.schema.label: ready.positives(columns)}
            ).probabilities
            for columns in (ready.valid, ready.test)
        )
        np.savez(
            folder / f"{name}.npz",
            valid=valid,
            test=test,
            valid_label=ready.positives(ready.valid),
            label=ready.positives(ready.test),
        )
        chosen = f"epoch {fitted.result.epochs}"
        found[name] = {"file": name, "cpu": used, "chosen": chosen}
        keras.backend.clear_session()
    return found


def tree_settings() -> list[dict[str, Any]]:
    """Return the settings of the trees that are tried."""
    return [
        {
            "num_leaves": leaves,
            "min_data_in_leaf": rows,
            "feature_fraction": share,
            "cat_smooth": smooth,
            "cat_l2": smooth,
        }
        for leaves in (4, 8, 16, 32)
        for rows in (20, 100)
        for share in (0.5, 1.0)
        for smooth in (10.0, 100.0)
    ]


def linear_settings() -> list[tuple[str, float]]:
    """Return how numbers are scaled and the inverse penalty, of the linear models tried."""
    return [(way, 10.0**power) for way in ("raw", "log") for power in range(-4, 3)]


def tuned_peers(folder: pathlib.Path) -> dict[str, Any]:
    """Tune the peers by the AUC of the validation rows, in their own environment."""
    import pandas as pd

    frame = pd.read_parquet(folder / "rows.parquet")
    part, labels = (frame.pop(name).to_numpy() for name in ("part", "label"))
    texts = [name for name in frame if not pd.api.types.is_numeric_dtype(frame[name])]
    of = [part == number for number in range(3)]
    found = {}
    for file, name, fit in (("trees", TREES, trees), ("linear", LINEAR, linear)):
        used = time.process_time()
        chosen, valid, test = fit(frame, labels, of, texts)
        used = time.process_time() - used
        found[name] = {"file": file, "cpu": used, "chosen": chosen}
        held = {"valid_label": labels[of[1]], "label": labels[of[2]]}
        np.savez(folder / f"{file}.npz", valid=valid, test=test, **held)
    return {"models": found, "versions": peers.versions("lightgbm", "scikit-learn")}


def trees(frame: Any, labels: np.ndarray, of: list[np.ndarray], texts: list[str]) -> tuple:
    """Return settings and probabilities of the best trees. Unknown categories count as missing."""
    import lightgbm

    frame = frame.copy()
    for name in texts:
        known = np.sort(frame[name][of[0]].dropna().unique())
        frame[name] = frame[name].astype("category").cat.set_categories(known)
    common = {"objective": "binary", "metric": "auc", "learning_rate": 0.05, "num_threads": 1}
    common |= {"verbose": -1, "seed": 0, "feature_pre_filter": False}
    train = lightgbm.Dataset(frame[of[0]], labels[of[0]], params=common, free_raw_data=False)
    valid = train.create_valid(frame[of[1]], labels[of[1]])
    best: tuple = (-1.0, None, None)
    for settings in tree_settings():
        model = lightgbm.train(
            {**common, **settings},
            train,
            num_boost_round=2000,
            valid_sets=[valid],
            callbacks=[lightgbm.early_stopping(50, verbose=False)],
        )
        reached = model.best_score["valid_0"]["auc"]
        if reached > best[0]:
            best = reached, {**settings, "trees": model.best_iteration}, model
    chosen = ", ".join(f"{name} {value:g}" for name, value in best[1].items())
    return chosen, *(best[2].predict(frame[rows]) for rows in of[1:])


def linear(frame: Any, labels: np.ndarray, of: list[np.ndarray], texts: list[str]) -> tuple:
    """Return settings and probabilities of the best logistic regression."""
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

    numbers = [name for name in frame if name not in texts]
    frame = frame.assign(**{name: frame[name].astype(object).fillna("missing") for name in texts})
    best: tuple = (-1.0, None, None, None)
    for way, penalty in linear_settings():
        logs = FunctionTransformer(signed_log if way == "log" else None)
        columns = make_column_transformer(
            (OneHotEncoder(min_frequency=2, handle_unknown="infrequent_if_exist"), texts),
            (make_pipeline(logs, StandardScaler(), SimpleImputer(add_indicator=True)), numbers),
        )
        rows = columns.fit_transform(frame[of[0]])
        model = LogisticRegression(C=penalty, max_iter=2000).fit(rows, labels[of[0]])
        valid = model.predict_proba(columns.transform(frame[of[1]]))[:, 1]
        reached = roc_auc_score(labels[of[1]], valid)
        if reached > best[0]:
            test = model.predict_proba(columns.transform(frame[of[2]]))[:, 1]
            best = reached, f"{way} numbers, C {penalty:g}", valid, test
    return best[1:]


def signed_log(values: Any) -> Any:
    """Return sign(x) log(1 + |x|)."""
    return np.sign(values) * np.log1p(np.abs(values))


def report(page: pages.Page, found: dict[str, list[dict[str, Any]]]) -> None:
    """Write the page."""

    def spread(values: list[float]) -> str:
        deviation = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
        return f"{statistics.mean(values):.4f}{deviation}"

    def difference(folds: list[dict[str, Any]], side: str, name: str) -> tuple[float, ...]:
        """Return the mean, the ends of the rows' interval, and those of the folds' interval."""
        model = {"trees": TREES, "linear": LINEAR}[side]
        middle = [f["models"][f["best"]][name] - f["models"][model][name] for f in folds]
        draws = [
            np.subtract(fold["draws"]["zoo"][name], fold["draws"][side][name]) for fold in folds
        ]
        low, high = np.quantile(np.mean(draws, axis=0), [0.025, 0.975])
        of_folds = turns.mean(middle)
        return of_folds.mean, float(low), float(high), of_folds.low, of_folds.high

    parts, ends = [], {}
    for table, folds in found.items():
        models = list(folds[0]["models"])
        made = {f"`{m}`" if m in MODELS else m: [f["models"][m] for f in folds] for m in models}
        made["**best of the zoo**"] = [fold["models"][fold["best"]] for fold in folds]
        rows = [
            [
                name,
                *(spread([one[n] for one in some]) for n in ("valid_auc", "auc", "log_loss")),
                f"{statistics.mean(one['cpu'] for one in some):.0f}",
            ]
            for name, some in made.items()
        ]
        rows.insert(len(rows) - 3, rows.pop())
        lines = []
        for side, model in {"trees": TREES, "linear": LINEAR}.items():
            shown = {n: difference(folds, side, n) for n in MEASURES}
            auc, loss = (
                f"{mean:+.4f} ({low:+.4f} to {high:+.4f}; {least:+.4f} to {most:+.4f})"
                for mean, low, high, least, most in shown.values()
            )
            lines.append(f"- best of the zoo less {model}: AUC {auc}, log loss {loss}")
        ends[table] = difference(folds, "trees", "auc")
        best = [fold["best"] for fold in folds]
        often = ", ".join(f"{name} {best.count(name)}" for name in MODELS if name in best)
        header = ("model", "validation AUC", "AUC", "log loss", "CPU s")
        lines.append(f"- chosen as the best of the zoo, times: {often}")
        about = f"## {table}\n\n{TABLES[table]}\n\n{table_of(header, rows)}\n\n"
        parts.append(about + "\n".join(lines))
    verdict = []
    for table, (mean, *bounds) in ends.items():
        low, high = min(bounds), max(bounds)
        word = "trees win" if high < 0 else "the zoo wins" if low > 0 else "neither wins"
        by = f"by an AUC of {abs(mean):.4f}" if word != "neither wins" else "an interval holds 0"
        goal = "reached" if low >= BOUND else "missed" if mean < BOUND else "not settled"
        more = ""
        if goal == "not settled":
            times = ((mean - low) / (mean - BOUND)) ** 2
            more = f" The mean is above the goal; about {times:.0f} times the rows would settle it."
        verdict.append(
            f"- {table}: {word}, {by}. Goal, not below them by more than {-BOUND:g}: {goal}, the "
            f"mean is {mean:+.4f} and the lower end of both intervals {low:+.4f}.{more}"
        )
    page.write(
        ABOUT.format(
            trees=len(tree_settings()),
            linear=len(linear_settings()),
            folds=FOLDS,
            test=1 / FOLDS,
            valid=3 / PIECES,
            draws=DRAWS,
            parts="\n\n".join(parts),
            verdict="\n".join(verdict),
            run=page.bullets(),
            peers=next(iter(found.values()))[0]["versions"],
        )
    )


if __name__ == "__main__":
    main()
