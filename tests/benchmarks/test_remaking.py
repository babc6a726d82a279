"""Every script remakes its page from stored results; what it measures is made up here."""

import importlib
import itertools
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


class Numbers:
    """Other numbers at each call, so that a page from new ones would differ."""

    def __init__(self):
        self.count = itertools.count(1)

    def __call__(self):
        return 1.0 + next(self.count) * 0.381966 % 1


def drawing(*arguments):
    """Stands in for a picture, which takes seconds; other tests draw."""
    *results, path = arguments
    path.write_text(str(results[-1]))


def throughput(script, number):
    def prepare(folder):
        (folder / "epoch.npz").touch()
        return 1_000_000

    return {"prepare": prepare, "processes.measure": lambda *a: [number(), number()]}


def speed(script, number):
    def measure(*arguments):
        return {"seconds": number(), "cpu": number(), "peak": 1e9 * number(), "padding": 0.25}

    return {
        "prepare": lambda *a: None,
        "processes.measure": measure,
        "ndcg": lambda *a: number() / 10,
    }


def streaming(script, number):
    def write_files(folder, arguments):
        folder.mkdir()
        for at in range(8):
            (folder / f"{at}.parquet").write_bytes(b"rows")

    def run(side, folder):
        rows = 1000 * len(list(folder.iterdir()))
        return {
            "rows": rows,
            "seconds": number(),
            "rate": rows / number(),
            "rss": 1e9 * number(),
            "loss": number(),
        }

    return {"write_files": write_files, "run": run}


def evaluation(script, number):
    def run(side, options, vectors=""):
        found = {"name": side, "rates": [1000 * number(), 1000 * number()], "peak_mib": 9.0}
        metrics = {"ndcg@20": number(), "ndcg": number()}
        sizes = {"users": 5, "items": 6, "negatives": 7, "batch_size": 8}
        return {**found, **sizes, "metrics": metrics, "queries": 9, "epoch": 1.0, "pass": number()}

    return {"write_vectors": lambda path: None, "run": run}


def zoo(script, number):
    def measure(file, name, seed, python):
        return {
            "hr": number(),
            "ndcg": number(),
            "weights": 7,
            "epochs": 9,
            "best": 3,
            "chosen": "nothing",
            "seconds": number(),
            "cpu": number(),
        }

    return {"processes.measure": measure}


def kills(script, number):
    def launch(folder, arguments, kill):
        codes = [0, 0]
        if kill is not None:
            codes[kill[2]] = -9
        return codes

    return {"launch": launch, "difference": lambda *a: 0.0}


def explosions(script, number):
    labels = np.array([1.0, -1.0])
    task = script.Task(
        "full", "Full", lambda: None, {}, labels, 2, 4, 2, 9.0, strengths=script.Strengths(*[1] * 9)
    )

    def train(task, remedy, seeds):
        return [script.Curve([20.0, float("nan"), number()], None) for _ in seeds]

    found = dict.fromkeys(("full", "sgd", "lstm"), task)
    return {"tasks": lambda: found, "train": train, "draw": drawing}


def ratings(script, number):
    def job(name, settings, seed, folder):
        scores = {"train": [number()], "both": [number()]}
        return {**scores, "validation": [{"auc": number() / 2}]}

    def page(results, tried, seeds, made):
        return f"{results} {tried} {seeds} {made}"

    return {"job": job, "page": page}


def rankers(script, number):
    def measure(*arguments):
        metrics = {"ndcg@10": 0.1, "auc": 0.5}
        one = dict.fromkeys(script.MODELS, number())
        case = {"rate": number(), "metrics": metrics}
        return {"cases": {"a case": case}, "users": 7, "whole": one, "compiling": one}

    return {"processes.measure": measure}


def simple(script, number):
    def measure(*arguments):
        solved = {"seconds": number(), "epochs": 6, "hr": 0.72, "ndcg": 0.44}
        near = {"seconds": number(), "sum": 7.0}
        return {"least squares": solved, "neighbours": near}

    return {"processes.measure": measure}


def stability(script, number):
    def train(cell, make, seed, data):
        return script.Curve([9.0, number()], [number()], [number()])

    def measure(*arguments):
        return {"before": 1.0, "peak": 2.0 + number(), "loss": number(), "seconds": number()}

    return {
        "train": train,
        "histories": lambda users: None,
        "processes.measure": measure,
        "draw": drawing,
    }


def clicks(script, number):
    def measured(table, fold, names, python):
        one = {name: number() for name in ("valid_auc", "auc", "log_loss", "cpu")}
        names = (*names, script.TREES, script.LINEAR)
        draws = {name: [number(), number()] for name in script.MEASURES}
        return {
            "models": {name: {**one, "chosen": "epoch 3"} for name in names},
            "best": names[0],
            "draws": dict.fromkeys(("zoo", "trees", "linear"), draws),
            "versions": "lightgbm 1.0",
        }

    return {"measured": measured}


def histories(script, number):
    def measure(*arguments):
        labels = [0, 1, 1, 0, 1, 0]
        found = {name: number() for name in ("valid", "auc", "log_loss", "cpu")}
        predicted = [min(0.9, max(0.1, number())) for _ in labels]
        rows = {"labels": labels, "users": [2, 2, 3, 3, 4, 4], "predicted": predicted}
        return {**found, **rows, "epochs": [3, 5], "chosen": "Chosen for 6 rows."}

    return {"processes.measure": measure}


def click_speed(script, number):
    def measure(*arguments):
        found = {"seconds": [number(), number()], "loss": number(), "peak": 1e9 * number()}
        return {**found, "rows": 4096, "versions": "fuxictr 1.0"}

    return {
        "prepare": lambda *a: None,
        "products_of_crosses": lambda: {"ms": number()},
        "processes.measure": measure,
        "peers.measure": measure,
    }


def frappe_peers(script, number):
    def measure(*arguments, **options):
        names = ("auc", "log_loss", "valid_auc", "cpu")
        one = {name: number() for name in names}
        return {**one, "epoch": 3, "epochs": 5, "versions": "fuxictr 1.0"}

    return {"peers.measure": measure}


SCRIPTS = {
    "adam_quality": lambda script, number: {
        "run": lambda *a: {n: number() for n in ("hr@10", "ndcg@10", "loss", "seconds")}
    },
    "click_histories": histories,
    "click_speed": click_speed,
    "clicks": clicks,
    "distribute": lambda script, number: {
        "measure": lambda kind: {"seconds": number(), "bytes": 1e6 * number(), "table_bytes": 1e6}
    },
    "evaluation": evaluation,
    "evaluation_accuracy": lambda script, number: {"measure": lambda: print(number())},
    "exploding_gradients": explosions,
    "first_use": lambda script, number: {
        "walk": lambda: {
            "parts": ["$ ls"],
            "total": 100 * number(),
            "cpu": 100 * number(),
            "rows": 11,
            "answer": [1, 10],
        }
    },
    "frappe": lambda script, number: {
        "processes.measure": lambda *a: {
            name: number() for name in ("auc", "log_loss", "rmse", "valid_auc", "epochs", "cpu")
        }
    },
    "frappe_peers": frappe_peers,
    "gradient_monitor": lambda script, number: {
        "measure": lambda case, settings: {s: [number(), number()] for s in ("without", "with")}
    },
    "input_pipeline": lambda script, number: {
        "read_pairs": lambda path: None,
        "measure": lambda *a: print(number()),
    },
    "kill_workers": kills,
    "next_rating_high": ratings,
    "ranker_speed": rankers,
    "recommend_latency": lambda script, number: {
        "prepare": lambda *a: None,
        "prepare_movielens": lambda *a: None,
        "latencies": lambda *a: print(number()) or 0,
        "sizes": lambda *a: print(number()) or 1,
    },
    "sequence_speed": speed,
    "sequence_stability": stability,
    "serving": lambda script, number: {"measure": lambda *a: print(number())},
    "simple_models": simple,
    "step_time": lambda script, number: {"run": lambda *a: {"ms": number(), "gib": number()}},
    "streaming": streaming,
    "training_throughput": throughput,
    "zoo": zoo,
}


@pytest.fixture
def benchmark(monkeypatch, tmp_path):
    """Of a script: runs its `main` with a command line, and returns what it wrote."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    pages = importlib.import_module("pages")
    monkeypatch.setattr(pages, "DOCS", tmp_path / "docs")
    monkeypatch.setattr(pages, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(pages.describing, "load", lambda: "idle")
    data = tmp_path / "ncf-ml-1m"
    data.mkdir()
    (data / "ml-1m.train.pairs.tsv.gz").touch()
    monkeypatch.setenv("KERASREC_DATA", str(tmp_path))
    (tmp_path / "docs").mkdir()

    def run(name, *words):
        script = importlib.import_module(name)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", [f"benchmarks/{name}.py", *words])
            for target, stub in SCRIPTS[name](script, run.number).items():
                *module, attribute = target.split(".")
                owner = getattr(script, module[0]) if module else script
                patch.setattr(owner, attribute, stub)
            try:
                script.main()
            except SystemExit as end:
                assert end.code in (None, 0, 1)
        return {path.name: path.read_bytes() for path in (tmp_path / "docs").iterdir()}

    run.number = Numbers()
    run.folder = tmp_path
    return run


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_page_is_remade_byte_for_byte(name, benchmark, monkeypatch):
    written = benchmark(name)
    page = written[f"{name}.md"].decode()
    assert "; source " in page and f"benchmarks/{name}.py" in page
    assert list((benchmark.folder / "results" / name).glob("*.json"))
    for path in (benchmark.folder / "docs").iterdir():
        path.unlink()
    assert benchmark(name, "--page") == written
    # With the numbers of another run the page is another one.
    assert name in ("kill_workers",) or benchmark(name) != written


@pytest.mark.parametrize("name", ["step_time", "zoo", "training_throughput", "sequence_speed"])
def test_a_part_writes_no_page(name, benchmark):
    words = {"zoo": ("--models", "Popularity")}.get(name, ("--rounds", "1"))
    assert not benchmark(name, *words)


def test_every_script_with_a_page_is_here():
    # Those have their own test, no page of their name, or train through the command line.
    others = {"kill", "published", "side_features"}
    found = {path.stem for path in BENCHMARKS.glob("*.py") if "pages.Page(" in path.read_text()}
    assert found - others == set(SCRIPTS)
