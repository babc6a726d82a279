"""Calibrated probabilities in the served graph: the same in every signature, checked by verify."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrec.calibration import Calibration
from kerasrec.serving import load, verify
from kerasrec.serving.graph.examples import make_examples

PLATT = Calibration("platt", slope=0.5, intercept=-1.0)
STEPS = Calibration("isotonic", knots=(-0.5, 0.0, 0.5), values=(-3.0, -1.0, 2.0))
COUNTRIES = ["de", "fr", "nowhere", ""]


@pytest.fixture(scope="module", params=[PLATT, STEPS], ids=["platt", "isotonic"])
def served(request, make_table, tmp_path_factory):
    keras.utils.set_random_seed(0)
    case = make_table()
    case.model.calibrate(request.param)
    folder = tmp_path_factory.mktemp("calibrated") / request.param.method
    return case, load(case.export(folder))


def rows(count):
    rng = np.random.default_rng(count)
    return {
        "country": rng.choice(COUNTRIES, count).tolist(),
        "device": [3] * count,
        "age_bucket": np.full(count, 25.0, np.float32),
        "tags": [["a"]] * count,
        "age": rng.normal(40, 60, count).astype(np.float32),
        "place": rng.normal(0, 3, (count, 2)).astype(np.float32),
    }


def test_the_probability_is_that_of_the_calibration_and_the_score_the_logit(served):
    case, loaded = served
    found = loaded.predict(rows(100))
    x = found["score"].astype(float)
    if case.model.calibration is PLATT:
        z = 0.5 * x - 1
    else:
        z = np.where(x < 0, -1 + 4 * x, -1 + 6 * x).clip(-3, 2)
    assert x.min() < -0.5 and x.max() > 0.5
    np.testing.assert_allclose(found["probability"], 1 / (1 + np.exp(-z)), atol=1e-6)


def test_classify_gives_the_same_probability(served):
    _, loaded = served
    raw = {name: np.array(values) for name, values in rows(5).items()}
    expected = loaded.predict({**raw, "tags": [["a"]] * 5})["probability"]
    raw["tags"] = np.array([["a"]] * 5)
    classify = tf.saved_model.load(str(loaded.path)).signatures["classify"]
    found = classify(inputs=tf.constant(make_examples(raw)))["scores"].numpy()
    np.testing.assert_allclose(found[:, 1], expected, atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("served", [STEPS], indirect=True)
def test_a_fresh_process_agrees_and_the_card_says_so(served):
    case, loaded = served
    report = verify(loaded.path, model=case.model, vocabularies=case.vocabularies)
    assert not report.problems
    card = (loaded.path / "model_card.md").read_text()
    assert f"- calibration: {case.model.calibration.describe()}" in card and '"knots"' not in card


@pytest.mark.slow
@pytest.mark.parametrize("served", [PLATT], indirect=True)
def test_another_calibration_is_found(served):
    case, loaded = served
    case.model.calibrate(Calibration("platt", slope=0.5, intercept=0.0))
    with pytest.raises(RuntimeError, match="predict, request 1, batch 1: probability"):
        verify(loaded.path, model=case.model, vocabularies=case.vocabularies)
