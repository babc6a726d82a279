"""Probabilities after a training: chosen, fitted to the validation rows alone, kept and refused."""

import dataclasses

import numpy as np
import pytest

from kerasrec import data, evaluation, models
from kerasrec.calibration import Calibration, fit_platt
from kerasrec.runs import choose, fit, train
from kerasrec.runs.clicks.calibrate import calibration_rule

FAST = {"epochs": 1, "jit_compile": False, "batch_size": 64, "verbose": 0}


def table(count, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 3)).round(3)
    return {
        **{f"x{column}": x[:, column] for column in range(3)},
        "bought": (x[:, 0] + rng.normal(size=count) > 0.5).astype(int),
    }


@pytest.fixture(scope="module")
def examples():
    rows = data.Examples.from_table(table(600), label="bought")
    return data.prepare_examples(data.split_examples(rows, valid=0.3, test=0.3))


def with_valid(ready, chosen):
    """The same rows with some of the validation rows."""
    split = dataclasses.replace(ready.split, valid=ready.split.valid.take(chosen))
    return data.prepare_examples(split, vocabularies=ready.vocabularies, schema=ready.schema)


def logits_of(model, columns):
    return np.asarray(model({f.name: columns[f.name] for f in model.schema.features}))


def test_the_line_is_fitted_to_the_validation_rows(examples):
    fitted = fit("LogisticRegression", examples, calibration="platt", **FAST)
    model, valid = fitted.model, examples.valid
    expected = fit_platt(logits_of(model, valid), examples.positives(valid))
    assert fitted.result.calibration == model.calibration
    assert model.calibration.slope == pytest.approx(expected.slope, rel=1e-4)
    test = {**examples.test, "bought": examples.positives(examples.test)}
    found = evaluation.click_metrics(model, test)
    z = model.calibration.log_odds(logits_of(model, test))
    losses = np.logaddexp(0, np.where(test["bought"] == 1, -z, z))
    assert found["log_loss"] == pytest.approx(losses.mean(), rel=1e-5)
    assert found["calibration"] == pytest.approx(
        (1 / (1 + np.exp(-z))).mean() / test["bought"].mean(), rel=1e-5
    )


def test_every_method_ranks_alike(examples):
    auc = {}
    model = models.LogisticRegression(examples.schema)
    train(model, examples, calibration="isotonic", **FAST)
    assert model.calibration.method == "isotonic"
    test = {**examples.test, "bought": examples.positives(examples.test)}
    for calibration in (model.calibration, Calibration("platt", 0.0), Calibration()):
        model.calibrate(calibration)
        auc[calibration.method] = evaluation.click_metrics(model, test)["auc"]
    assert len(auc) == 3 and len(set(auc.values())) == 1


def test_what_the_rules_choose(examples, ready):
    chosen = choose("FeatureMLP", examples)
    assert chosen.training.calibration == "platt"
    assert chosen.reasons["calibration"] == "two numbers, fitted to 180 validation rows"
    assert choose("FeatureMLP", examples, loss="mse").training.calibration is None
    assert choose("MatrixFactorization", ready).training.calibration is None
    assert choose("MatrixFactorization", ready, loss="log_loss").training.calibration == "platt"
    assert choose("FeatureMLP", examples, calibration="none").reasons["calibration"] == "given"
    labels = examples.positives(examples.valid)
    ones = with_valid(examples, labels == 1)
    assert calibration_rule(ones, classes=False) == ("none", "validation rows of one label")
    none = with_valid(examples, labels > 1)
    assert calibration_rule(none, classes=False) == ("none", "no validation rows")
    assert calibration_rule(examples, classes=True) == ("none", "several classes")


@pytest.mark.parametrize(
    ("positives", "rows", "method"),
    [(1000, 10_000, "isotonic"), (1000, 9999, "platt"), (999, 10_000, "platt"), (1, 2, "platt")],
)
def test_steps_need_many_rows_of_each_label(positives, rows, method):
    class Ready:
        split = dataclasses.make_dataclass("Split", ["valid"])(range(rows))
        valid = None

        def positives(self, columns):
            return (np.arange(rows) < positives).astype(np.float32)

    assert calibration_rule(Ready(), classes=False)[0] == method


def test_models_of_users_and_items_have_probabilities_too(ready, capsys):
    model = models.MatrixFactorization(ready.schema, embedding_dim=4)
    result = train(model, ready, loss="log_loss", **{**FAST, "verbose": 1})
    assert model.output_kind == "logit" and result.calibration.method == "platt"
    assert "Probabilities: platt, " in capsys.readouterr().err
    again = train(model, ready, loss="log_loss", calibration="none", **FAST)
    assert again.calibration == model.calibration == Calibration()


def test_a_model_of_all_rows_is_left_to_the_caller(examples):
    rows = data.Examples.from_table(table(200), label="bought")
    whole = data.prepare_examples(rows)
    model = models.LogisticRegression(whole.schema)
    result = train(model, whole, refit_epochs=1, calibration="isotonic", **FAST)
    assert result.calibration is None and model.calibration == Calibration()


@pytest.mark.parametrize(
    ("rows", "choices", "message"),
    [
        ("all", {"calibration": "beta"}, "'none', 'platt', 'isotonic'"),
        ("all", {"calibration": "platt", "loss": "mse"}, "loss='mse' predicts no probability"),
        ("none", {"calibration": "platt"}, "validation rows of both labels; received none"),
        ("one", {"calibration": "isotonic"}, "validation rows, all of one label"),
    ],
)
def test_what_has_no_probability_or_no_rows(rows, choices, message, examples):
    labels = examples.positives(examples.valid)
    some = {"all": labels >= 0, "none": labels > 1, "one": labels == 1}[rows]
    with pytest.raises(ValueError, match=message):
        fit("LogisticRegression", with_valid(examples, some), **choices, **FAST)


def test_several_classes_have_no_one_probability(with_history):
    model = models.StackedLSTMClassifier(with_history.schema, hidden_units=(2,), num_classes=6)
    with pytest.raises(ValueError, match="several classes predicts no probability"):
        train(model, with_history, calibration="platt", **FAST)
