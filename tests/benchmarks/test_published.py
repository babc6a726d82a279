"""The runner of the published tables, on figures that are made up here."""

import dataclasses
import importlib
import json
from pathlib import Path

import pytest


@pytest.fixture
def published(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("published")


@pytest.fixture
def table(published):
    """HR of a seed is 0.5 + seed / 10; every figure is looked up, so that calls can be counted."""
    made = published.TABLES["ncf-ml-1m"]()
    calls = []

    def choose(part, settings):
        calls.append((part, "choice"))
        return {"epoch": 7, "ndcg": [0.1, 0.2]}

    def test(part, settings, seed, epoch):
        calls.append((part, seed, epoch))
        times = {"training_seconds": 30.0 + seed, "training_cpu_seconds": 50.0}
        return {"hr@10": 0.5 + seed / 10, "ndcg@10": 0.25, **times}

    goals = [("MatrixFactorization", "hr@10", 0.55), ("MatrixFactorization", "ndcg@10", 0.3),
             ("MatrixFactorization", "training_seconds", 31.0)]  # fmt: skip
    return dataclasses.replace(made, choose=choose, test=test, goals=goals), calls


MODELS = ["MatrixFactorization", "Popularity"]


def test_a_run_goes_on_where_it_stopped(published, table, tmp_path, monkeypatch, capsys):
    table, calls = table
    options = {"source": "0123456789ab", "page": False}
    first, _ = published.run(table, [0, 1], MODELS[:1], tmp_path, **options)
    assert calls == [("split", "choice"), ("split", 0, 7), ("split", 1, 7)]
    again, _ = published.run(table, [0, 1, 2], MODELS, tmp_path, **options)
    # Popularity has nothing to choose and one seed.
    assert calls[3:] == [("split", 2, 7), ("split", 0, None)]
    assert again[:2] == first
    assert [row["hr@10"] for row in again] == pytest.approx([0.5, 0.6, 0.7, 0.5])
    # --page trains nothing, wherever it runs.
    monkeypatch.setattr(published, "versions", lambda: "Python 4")
    remade, _ = published.run(table, [0, 1, 2], MODELS, tmp_path, **options | {"page": True})
    assert remade == again and len(calls) == 5
    with pytest.raises(SystemExit, match="no result MatrixFactorization-split-seed3 of these"):
        published.run(table, [3], MODELS[:1], tmp_path, **options | {"page": True})
    # Results of other versions, or of other code, are made anew.
    published.run(table, [0], MODELS[:1], tmp_path, **options)
    assert calls[5:] == [("split", "choice"), ("split", 0, 7)]
    published.run(table, [0], MODELS[:1], tmp_path, **options | {"source": "ba9876543210"})
    assert calls[7:] == [("split", "choice"), ("split", 0, 7)]


def test_the_source_is_that_of_the_training(published, monkeypatch):
    source = published.source_of("ncf-ml-1m")
    assert published.source_of("gowalla-lightgcn") == source
    assert published.source_of("sasrec-ml-1m") != source
    monkeypatch.setattr(published.pages, "measuring", str.upper)
    assert published.source_of("ncf-ml-1m") != source


def test_other_settings_of_one_model_leave_the_results_of_others(published, table, tmp_path):
    table, calls = table
    options = {"source": "a9876543210b", "page": False}
    published.run(table, [0], MODELS, tmp_path, **options)
    many = len(calls)
    settings = dataclasses.replace(table.models[MODELS[0]], learning_rate=0.5)
    changed = dataclasses.replace(table, models={**table.models, MODELS[0]: settings})
    with pytest.raises(SystemExit, match=f"no result {MODELS[0]}-split-choice of these settings"):
        published.run(changed, [0], MODELS, tmp_path, **options | {"page": True})
    published.run(changed, [0], MODELS, tmp_path, **options)
    assert calls[many:] == [("split", "choice"), ("split", 0, 7)]


def test_a_broken_training_leaves_no_file(published, table, tmp_path):
    table, _ = table

    def stop(*arguments):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        published.run(
            dataclasses.replace(table, test=stop), [0], MODELS[:1], tmp_path, source="", page=False
        )
    assert [path.name for path in tmp_path.iterdir()] == ["MatrixFactorization-split-choice.json"]
    assert json.loads(next(tmp_path.iterdir()).read_text())["result"]["epoch"] == 7


def test_the_page_holds_the_figures(published, table, tmp_path):
    table, _ = table
    seeds = [0, 1, 2]
    made, files = published.run(table, seeds, MODELS, tmp_path, source="0" * 12, page=False)
    text = published.page_of("ncf-ml-1m", table, made, seeds, published.origin(files))
    # Mean and deviation of 0.5, 0.6 and 0.7.
    assert "| **kerasrec MatrixFactorization** | 0.6000 ± 0.1000 | 0.2500 ± 0.0000 |" in text
    assert "| **kerasrec Popularity** | 0.5000 | 0.2500 | this run |" in text
    assert "| NeuMF | 0.7093 | 0.4349 | Rendle" in text
    # Three seeds: 0.6 +- 4.3027 * 0.1 / sqrt(3).
    assert "0.5500: 0.6000, **not settled**: the interval of the mean goes to 0.3516" in text
    assert "NDCG@10 at least 0.3000: 0.2500, **missed by 0.0500**" in text
    assert "training in at most 31 s: 32 s, **missed by 1 s**" in text
    assert "`python benchmarks/published.py ncf-ml-1m`" in text
    assert published.versions() in text and published.machine() in text
    assert f"- Commit: {published.commit()}; source {'0' * 12}\n" in text
    del files[0]["commit"], files[0]["key"]["source"]  # as those from before they were kept
    assert published.origin(files).endswith(f"; source {'0' * 12} and not recorded")
    assert "| MatrixFactorization | 1 | 0.6000 | 0.2500 | 7 | 31.0 | 50.0 |" in text


def test_folds_are_averaged_before_the_seeds(published):
    made = [
        {"model": "m", "part": part, "seed": seed, "rmse": value}
        for part, seed, value in (("a", 0, 1.0), ("b", 0, 2.0), ("a", 1, 3.0), ("b", 1, 4.0))
    ]
    assert published.by_seed(made, "m", "rmse").tolist() == [1.5, 3.5]


def test_lower_errors_are_better(published):
    table = published.TABLES["ml-1m-ratings"]()
    rows = [{"model": "biased MF", "seed": 0, "part": "fold1", "rmse": 0.9}]
    assert "**missed by 0.0380**" in published.verdicts(table, rows)
    assert "reached" in published.verdicts(table, [{**rows[0], "rmse": 0.8}])
    seeds = [{**rows[0], "rmse": value, "seed": n} for n, value in enumerate((0.850, 0.851, 0.852))]
    assert "0.8620: 0.8510, reached" in published.verdicts(table, seeds)
    seeds[2]["rmse"] = 0.861  # 0.854 +- 0.0151
    assert "**not settled**: the interval of the mean goes to 0.8691" in published.verdicts(
        table, seeds
    )
