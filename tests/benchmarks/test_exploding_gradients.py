import importlib.util
import math
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "exploding_gradients.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location(SCRIPT.stem, SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[SCRIPT.stem] = module
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPT.parent))
        spec.loader.exec_module(module)
    return module


def outcomes(script, finals):
    """No remedy that ends as NaN, and a remedy with these final losses."""
    return [
        script.Outcome(script.NONE, [script.Curve([20.0, 1e9, math.nan], None)] * len(finals), 2.0),
        script.Outcome("clipnorm=1", [script.Curve([20.0, 1.5, end], 0.25) for end in finals], 2.0),
    ]


def task(script):
    labels = np.array([1.0, -1.0])
    return script.Task(
        "full", "Full gradient", lambda: None, {}, labels, 2, 4, 2, 9.0, strengths=None
    )


def test_the_page_has_what_was_measured(script, tmp_path):
    results = {"full": outcomes(script, [1.0, 1.2])}
    page = script.report({"full": task(script)}, results, [3, 5], "- Command: `x`")
    assert "| no remedy | NaN / NaN | - | NaN |  | 0 of 2 |" in page
    assert "| clipnorm=1 | 1.000 / 1.200 | 1.100 ± 0.141 | 1.500 | 25% | 2 of 2 |" in page
    assert "Untrained loss 20.000 / 20.000; a model that always predicts the mean has 2.000" in page
    assert "Without a remedy none does in 1 of 1 tasks" in page
    assert "each remedy alone trains in every task with every seed." in page
    assert "Seeds: 3, 5" in page and "- Command: `x`" in page
    script.draw({"full": task(script)}, results, tmp_path / "picture.svg")
    assert (tmp_path / "picture.svg").read_text("utf-8").rstrip().endswith("</svg>")


def test_the_bar_is_the_mean_and_not_the_untrained_model(script):
    page = script.verdict({"full": outcomes(script, [1.9, 2.5])})  # both far below 20
    assert page.endswith("do not train with every seed: clipnorm=1 (full).")


def test_a_remedy_that_fails_with_one_seed_is_named(script):
    page = script.verdict({"full": outcomes(script, [1.0, 2.5])})
    assert page.endswith("do not train with every seed: clipnorm=1 (full).")
    untouched = outcomes(script, [1.0])
    untouched[0] = script.Outcome(script.NONE, untouched[1].curves, 2.0)
    assert "in 0 of 1 tasks" in script.verdict({"full": untouched})


def test_warm_up_is_told_apart_from_the_remedies(script):
    found = outcomes(script, [1.0, 2.5])
    found[1] = script.Outcome("warm-up, 3 steps", found[1].curves, 2.0)
    page = script.verdict({"full": found})
    assert "each remedy alone trains in every task with every seed." in page
    assert "does not train with every seed: warm-up, 3 steps (full)." in page
