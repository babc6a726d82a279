"""The measures and parts of the benchmark of small tables."""

import importlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kerasrec import evaluation

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def clicks():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield importlib.import_module("clicks")


def test_scores_are_those_of_the_library(clicks):
    rng = np.random.default_rng(0)
    labels = (rng.random(500) < 0.2).astype(np.float32)
    predicted = np.round(rng.random(500), 1) * 0.98 + 0.01  # with ties
    found = clicks.scores(labels, predicted)
    assert found["auc"] == pytest.approx(evaluation.auc(labels, predicted), abs=1e-9)
    logits = np.log(predicted / (1 - predicted))
    assert found["log_loss"] == pytest.approx(evaluation.log_loss(labels, logits), abs=1e-6)


@given(st.lists(st.integers(0, 3), min_size=6, max_size=6))
def test_a_weight_stands_for_copies_of_a_row(clicks, weights):
    labels = np.array([0.0, 1.0, 0.0, 1.0, 1.0, 0.0])
    predicted = np.array([0.2, 0.2, 0.5, 0.7, 0.9, 0.9])
    weights = np.array(weights)
    copies = np.repeat(np.arange(6), weights)
    if len(set(labels[copies])) < 2:
        return
    found = clicks.weighted(labels, predicted, weights[None].astype(float))
    expected = clicks.scores(labels[copies], predicted[copies])
    for name in clicks.MEASURES:
        assert found[name][0] == pytest.approx(expected[name])


def test_resamples_are_the_same_for_both_sides(clicks):
    labels = np.arange(40) % 2
    first, second = (clicks.resampled(labels, np.linspace(0.1, 0.9, 40), seed=3) for _ in range(2))
    assert first == second
    assert len(first["auc"]) == clicks.DRAWS and len(set(first["auc"])) > 100


def test_each_row_is_tested_once(clicks, monkeypatch, tmp_path):
    import pandas as pd

    monkeypatch.setenv("KERASREC_DATA", str(tmp_path))
    labels = (np.arange(200) < 40).astype(int)
    rows = pd.DataFrame({"x": np.arange(200.0), "label": labels})
    monkeypatch.setitem(clicks.READ, "small", lambda folder: rows.copy())
    tested = np.zeros(200, int)
    for fold in range(clicks.FOLDS):
        clicks.write_rows("small", fold, tmp_path)
        part = pd.read_parquet(tmp_path / "rows.parquet")["part"].to_numpy()
        tested += part == 2
        assert np.bincount(part).tolist() == [130, 30, 40]
        assert [labels[part == number].sum() for number in range(3)] == [26, 6, 8]
    assert (tested == 1).all()
