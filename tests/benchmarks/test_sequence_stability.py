"""What `sequence_stability.py` says of curves that are made up here."""

import importlib
from pathlib import Path

import pytest


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("sequence_stability")


def test_a_training_that_blew_up_is_told_from_one_that_trained(script):
    nan = float("nan")
    plain = script.Curve([8.0, 7.0, 6.0], [0.1, 0.3, 0.2], [])
    blown = script.Curve([8.0, nan, nan], [0.1, 5.0, nan], [])
    worse = script.Curve([8.0, 9.0, 8.5], [0.1, 0.2, 0.3], [])
    clipped = script.Curve([8.0, 7.5, 7.0], [2.0, 4.0, 3.0], [0.5, 0.5, 0.5])
    assert [script.good(curve) for curve in (plain, blown, worse)] == [True, False, False]
    assert script.norms(blown.before) == "2.550, 5.000, then NaN"
    line = script.row("rate 10", [plain, blown])
    assert line.startswith("| rate 10 | 6.000 / NaN | NaN | NaN |") and "| 1 of 2 |" in line
    text = script.verdict({"lstm": {"a": [plain, plain], "b": [blown, worse], "c": [clipped] * 2}})
    assert (
        "LSTM: ten times the rate without a remedy ends below the untrained model with 0 of 2"
        in (text)
    )
    assert "with all remedies with 2 of 2 (mean 7.000; the ordinary rate ends at 6.000)" in text


def test_the_page_compares_the_memory(script):
    curves = {name: [script.Curve([8.0, 7.0], [0.1], [0.05])] * 3 for name in script.setups()}
    memory = {
        "whole": {"before": 1.0, "peak": 3.0, "loss": 7.5, "seconds": 9.0},
        "parts": {"before": 1.0, "peak": 1.5, "loss": 7.5, "seconds": 12.0},
    }
    text = script.page({"lstm": curves, "gru": curves}, memory, "- Command: `x`")
    assert "the same loss to\n  0.0e+00, and 0.25 of the memory" in text
    assert "| 8 batches of 8 rows, accumulated | 7.50000 | 1.50 | 0.50 | 12 |" in text
    assert text.count("clipnorm=") >= 4 and "## GRU" in text
