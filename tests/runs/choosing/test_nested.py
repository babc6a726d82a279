import os
from pathlib import Path

import numpy as np
import pytest

from kerasrec import data
from kerasrec.evaluation import example_folds
from kerasrec.runs import cross_validate_choice

COUPONS = (
    Path(os.environ.get("KERASREC_DATA", "/nowhere"))
    / "in-vehicle-coupon"
    / "in-vehicle-coupon-recommendation.csv.gz"
)
FAST = {"epochs": 3, "jit_compile": False, "batch_size": 64, "learning_rate": 0.05}
LINEAR = {"model": "LogisticRegression", **FAST}


def rows_of(count=240):
    rng = np.random.default_rng(0)
    x = rng.normal(size=count)
    return data.Examples.from_table({"x": x, "label": (x > 0).astype(int)})


@pytest.mark.slow
def test_the_model_that_fits_is_chosen():
    # A line fitted to the logits would mend those of a model that has learned only their sign.
    linear = {**LINEAR, "calibration": "none"}
    flat = {**linear, "learning_rate": 1e-9}
    line = data.Examples.from_table(
        {"x": np.linspace(-1, 1, 240), "label": (np.arange(240) > 120).astype(int)}
    )
    candidates = {"untrained": {**flat, "epochs": 1}, "linear": linear}
    splits = list(example_folds(line, folds=2))
    found = cross_validate_choice(candidates, splits, metric="log_loss", verbose=0)
    assert found.times == {"untrained": 0, "linear": 2}
    assert found.values["auc"].min() > 0.9
    assert found.interval().mean < np.log(2)
    assert set(found.tested.values) == {"untrained", "linear"}


@pytest.mark.parametrize(
    ("candidates", "valid", "message"),
    [
        ({"a": {"epochs": 3}}, 0.2, "candidate 'a' needs the arguments of runs.fit"),
        ({"a": "FeatureMLP"}, 0.2, "candidate 'a' needs the arguments of runs.fit"),
        ({"a": LINEAR}, 0.0, "has no validation rows to choose on"),
        ({}, 0.2, "at least one model"),
    ],
)
def test_bad_input(candidates, valid, message):
    splits = example_folds(rows_of(60), folds=2, valid=valid)
    with pytest.raises(ValueError, match=message):
        cross_validate_choice(candidates, splits, verbose=0)


@pytest.mark.slow
@pytest.mark.skipif(not COUPONS.is_file(), reason="needs the coupon table in KERASREC_DATA")
def test_the_coupon_table():
    rows = data.read_examples(COUPONS, label="Y")
    fast = {"jit_compile": False, "epochs": 2}
    candidates = {"linear": {"model": "LogisticRegression", **fast},
                  "mlp": {"model": "FeatureMLP", **fast}}  # fmt: skip
    splits = example_folds(rows, folds=3)
    found = cross_validate_choice(candidates, splits, metric="log_loss", verbose=0)
    assert sum(found.times.values()) == 3
    interval = found.interval("auc")
    assert 0.65 < interval.low < interval.mean < interval.high < 0.9
    means = [values["log_loss"].mean() for values in found.tested.values.values()]
    assert found.interval().mean <= max(means)
