"""Published tables compared with the models of the zoo, one page per table.

    python benchmarks/published.py ncf-ml-1m             # 3 seeds; writes docs/benchmarks/
    python benchmarks/published.py ncf-ml-1m --quick     # one seed of the first model, no page
    python benchmarks/published.py ncf-ml-1m --page      # the page alone, from stored results
    python benchmarks/published.py sasrec-ml-1m --only SASRec --seed 1   # one training

Each training leaves a JSON file in benchmarks/results. An interrupted run resumes where it stopped,
and in the next-item tables at the last validated epoch. A file counts only if settings, code,
versions and hardware are those of the run. `--page` checks the settings only. The page names the
hardware, the versions, the commits and the code of its results.
"""

import argparse
import dataclasses
import functools
import json
import os
import pathlib
import shlex
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pages
import turns
from describing import command, commit, machine, table_of, versions, write
from published_tables import SECONDS, Table
from published_tables import TABLES as TOP_N_TABLES
from sequence_tables import SEQUENCE_TABLES

TABLES = {**TOP_N_TABLES, **SEQUENCE_TABLES}
HERE = pathlib.Path(__file__).parent
# Conditions of the result itself. A page can be rebuilt elsewhere.
SETTINGS = ("settings", "epoch")


def settings_of(settings: Any) -> dict[str, Any]:
    """Return the settings without disabled options, since results outlive later settings."""
    return {n: v for n, v in dataclasses.asdict(settings).items() if v is not None}


def source_of(name: str) -> str:
    """Hash the code that trains and measures the models of a table.

    Each result holds its own settings, so that other settings of one model leave those of others.
    """
    script = "sequence_training.py" if name in SEQUENCE_TABLES else "published_training.py"
    return pages.fingerprint(pages.modules(HERE / script))


def stored(
    path: pathlib.Path, key: Mapping[str, Any], make: Callable[[], dict[str, Any]], *, page: bool
) -> Any:
    """Return the content of a file if it was made with the key; else create and store it."""
    key = json.loads(json.dumps(key))
    if path.is_file():
        held = json.loads(path.read_text(encoding="utf-8"))
        names = SETTINGS if page else tuple(key)
        if all(held["key"].get(name) == key.get(name) for name in names):
            return held
    found = {"key": key, "commit": commit(), "result": make()}
    write(path, json.dumps(found, indent=2) + "\n")
    return json.loads(json.dumps(found))


def origin(held: Sequence[Mapping[str, Any]]) -> str:
    """Describe where and with what the results were made."""
    lines = {
        "Hardware": {one["key"]["machine"] for one in held},
        "Versions": {one["key"]["with"] for one in held},
        "Commit": {one.get("commit", "not recorded") for one in held},
    }
    sources = sorted({one["key"].get("source", "not recorded") for one in held})
    text = "\n".join(f"- {name}: {' and '.join(sorted(found))}" for name, found in lines.items())
    return f"{text}; source {' and '.join(sources)}"


def run(
    table: Table,
    seeds: Sequence[int],
    models: Sequence[str],
    results: pathlib.Path,
    *,
    source: str,
    page: bool,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the results of a table and the stored files.

    For each model and part these are the chosen epoch and one test per seed.
    """
    made: list[dict[str, Any]] = []
    files: list[dict[str, Any]] = []

    def result(name: str, key: dict[str, Any], make: Callable[[], dict[str, Any]]) -> Any:
        key = {
            **key,
            "settings": settings_of(key["settings"]),
            "source": source,
            "machine": machine(),
            "with": versions(),
        }

        def timed() -> dict[str, Any]:
            if page:
                raise SystemExit(
                    f"There is no result {name} of these settings. Run without --page."
                )
            start = time.perf_counter()
            return {**make(), "seconds": time.perf_counter() - start}

        files.append(stored(results / f"{name}.json", key, timed, page=page))
        found = files[-1]["result"]
        figures = "  ".join(
            f"{n} {v:.4f}" if isinstance(v, float) else f"{n} {v}" for n, v in found.items()
            if not isinstance(v, list | dict)
        )  # fmt: skip
        print(f"{name}  {figures}", flush=True)
        return found

    for part in table.parts:
        for model in models:
            settings = table.models[model]
            epoch = None
            if table.choose and table.trains(settings):
                choose = functools.partial(table.choose, part, settings)
                epoch = result(f"{model}-{part}-choice", {"settings": settings}, choose)["epoch"]
            for seed in seeds if table.trains(settings) else seeds[:1]:
                name, key = f"{model}-{part}-seed{seed}", {"settings": settings, "epoch": epoch}
                checkpoint = results / f"{name}-checkpoint"
                if table.stops_early:
                    test = functools.partial(table.stops_early, part, settings, seed, checkpoint)
                else:
                    test = functools.partial(table.test, part, settings, seed, epoch)
                figures = result(name, key, test)
                shutil.rmtree(checkpoint, ignore_errors=True)  # the result is stored
                made.append({"model": model, "part": part, "seed": seed, "epoch": epoch, **figures})
    return made, files


def by_seed(made: Sequence[Mapping[str, Any]], model: str, measure: str) -> np.ndarray:
    """Return the mean over the parts (folds), one number per seed."""
    mine = [row for row in made if row["model"] == model]
    seeds = sorted({row["seed"] for row in mine})
    return np.array([np.mean([row[measure] for row in mine if row["seed"] == s]) for s in seeds])


def spread(values: np.ndarray) -> str:
    """Return mean and sample standard deviation over the seeds."""
    deviation = f" ± {values.std(ddof=1):.4f}" if len(values) > 1 else ""
    return f"{values.mean():.4f}{deviation}"


def verdicts(table: Table, made: Sequence[Mapping[str, Any]]) -> str:
    """Return what was reached and what is missing, goal by goal."""
    lines = []
    for model, measure, goal in table.goals:
        if measure == SECONDS:
            slowest = max(row[SECONDS] for row in made if row["model"] == model)
            word = "reached" if slowest <= goal else f"**missed by {slowest - goal:.0f} s**"
            lines.append(f"- {model}, training in at most {goal:.0f} s: {slowest:.0f} s, {word}")
            continue
        found = by_seed(made, model, measure)
        mean = float(found.mean())
        missing = goal - mean if table.higher_is_better else mean - goal
        word = "reached" if missing <= 0 else f"**missed by {missing:.4f}**"
        if missing <= 0 and len(found) > 1:
            interval = turns.mean(found)
            worst = interval.low if table.higher_is_better else interval.high
            if worst < goal if table.higher_is_better else worst > goal:
                word = f"**not settled**: the interval of the mean goes to {worst:.4f}"
        sign = "at least" if table.higher_is_better else "at most"
        lines.append(f"- {model}, {table.measures[measure]} {sign} {goal:.4f}: {mean:.4f}, {word}")
    return "\n".join(lines)


def page_of(
    name: str, table: Table, made: list[dict[str, Any]], seeds: Sequence[int], made_with: str
) -> str:
    """Return the whole page."""
    models = list(dict.fromkeys(row["model"] for row in made))
    measures = list(table.measures)
    summary = table_of(
        ["model", *table.measures.values(), "source"],
        [
            [f"**kerasrec {m}**", *(spread(by_seed(made, m, n)) for n in measures), "this run"]
            for m in models
        ]
        + [
            [p.model, *(p.figures.get(n, "-") for n in measures), p.source] for p in table.published
        ],
    )
    details = table_of(
        ["model", *([] if len(table.parts) == 1 else ["part"]), "seed",
         *table.measures.values(), "epochs", "training s", "CPU s", "all s"],
        [
            [r["model"], *([] if len(table.parts) == 1 else [r["part"]]), r["seed"],
             *(f"{r[n]:.4f}" for n in measures), r["epoch"] or "-",
             f"{r['training_seconds']:.1f}", f"{r['training_cpu_seconds']:.1f}",
             f"{r['seconds']:.1f}"]
            for r in made
        ],
    )  # fmt: skip
    trained = [m for m in models if table.trains(table.models[m])]
    fields = dataclasses.fields(next(iter(table.models.values())))
    settings = table_of(
        ["setting", *trained],
        [[f"`{f.name}`", *(getattr(table.models[m], f.name) for m in trained)] for f in fields],
    )
    return f"""# {table.title}

Written by `benchmarks/published.py`; run it again instead of editing this page.

{summary}

± is the standard deviation over the seeds {", ".join(map(str, seeds))}; models without
random numbers run once. A goal counts as reached if the whole 95 % interval of the mean over the
seeds, by Student's t, reaches it.

## Goals

{verdicts(table, made)}

## Protocol

{table.protocol.strip()}

## Run

- Command: `{shlex.join(["python", "benchmarks/published.py", name])}`
{made_with}
- Times include compilation. "training s" and "all s", which has the test too, are by the wall
  clock and grow with whatever else the machine does; "CPU s" are those of the training on all cores
  together. Each result was stored as it ended, and a training that was broken off goes on: "all s"
  is then that of its last part.

## Settings

{settings}

{table.training.strip()}

## Every result

{details}

Where the epoch is the last that was planned, more of them may do better.
"""


def main() -> None:
    """Parse the flags, run, print and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", choices=list(TABLES))
    parser.add_argument(
        "--seeds", type=int, default=3, help="number of seeds, at least 3 for a page"
    )
    parser.add_argument("--seed", type=int, help="this seed alone; the page needs all")
    parser.add_argument("--only", nargs="+", help="some of the models; the page needs all")
    parser.add_argument("--quick", action="store_true", help="first model, part and seed; no page")
    parser.add_argument("--choose", action="store_true", help="validation alone, no test; no page")
    pages.add_options(parser)
    arguments = parser.parse_args()
    table = TABLES[arguments.table]()
    seeds = list(range(arguments.seeds)) if arguments.seed is None else [arguments.seed]
    models = arguments.only or list(table.models)
    if unknown := sorted(set(models) - set(table.models)):
        parser.error(f"--only: {unknown} are not in this table; it has {list(table.models)}")
    results = pages.RESULTS / arguments.table
    print(f"{command()}\n{machine()}\n{versions()}")
    if arguments.choose:
        if not table.choose:
            parser.error("--choose: every seed of this table chooses its own epoch")
        for model in models:
            print(model, table.choose(table.parts[0], table.models[model]))
        return
    if arguments.quick:
        seeds, models = seeds[:1], models[:1]
        table = dataclasses.replace(table, parts=table.parts[:1])
        results = pages.ROOT / "runs" / "quick" / arguments.table
    source = source_of(arguments.table)
    made, files = run(table, seeds, models, results, source=source, page=arguments.page)
    if arguments.quick or len(seeds) < 3 or models != list(table.models):
        print("No page is written: that takes all models and at least 3 seeds.")
        return
    text = page_of(arguments.table, table, made, seeds, origin(files))
    write(pages.DOCS / f"{arguments.table}.md", text)
    print(f"\n{text}\nWrote docs/benchmarks/{arguments.table}.md")


if __name__ == "__main__":
    main()
