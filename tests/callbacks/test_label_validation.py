"""Errors of labels on validation rows, in the logs of `fit`."""

import keras
import numpy as np
import pytest

from kerasrec import evaluation
from kerasrec.callbacks import LabelValidation
from kerasrec.models import MatrixFactorization
from kerasrec.schema import Categorical, Schema
from kerasrec.training import SampledSoftmaxTrainer

SCHEMA = Schema(user=Categorical("user", 6), item=Categorical("item", 8), label="stars")
ROWS = {
    "user": np.array([2, 3, 4, 5]),
    "item": np.array([4, 5, 6, 7]),
    "stars": np.array([5.0, 2.0, 4.0, 1.0]),
}
CLICKS = {**ROWS, "stars": np.array([1.0, 0.0, 1.0, 0.0])}


def logs_of(watch, model, *, stopped=False):
    watch.set_model(model)
    model.stop_training = stopped
    logs = {"loss": 1.0}
    watch.on_epoch_end(0, logs)
    return logs


def constant(value):
    model = MatrixFactorization(SCHEMA, embedding_dim=2, initial_bias=value, stddev=1e-9)
    model.compile("sgd", "mse")
    return model


def test_errors_of_a_constant_are_those_by_hand():
    logs = logs_of(LabelValidation(ROWS, "ratings"), constant(3.0))
    assert logs["val_rmse"] == pytest.approx(np.sqrt((4 + 1 + 1 + 4) / 4))
    assert logs["val_mae"] == pytest.approx((2 + 1 + 1 + 2) / 4)
    assert set(logs) == {"loss", "val_rmse", "val_mae"}


def test_predictions_are_clipped_to_the_scale():
    logs = logs_of(LabelValidation(ROWS, "ratings", clip=(1.0, 5.0)), constant(99.0))
    assert logs["val_mae"] == pytest.approx((0 + 3 + 1 + 4) / 4)


def test_clicks_by_hand():
    model = constant(0.0)
    logs = logs_of(LabelValidation(CLICKS, "clicks"), model)
    assert logs["val_log_loss"] == pytest.approx(np.log(2))
    assert logs["val_auc"] == 0.5
    bias = np.zeros((8, 1), np.float32)
    bias[[4, 5, 6]] = [[2.0], [1.0], [0.5]]  # one of four pairs is in the wrong order
    model.item_bias.embeddings.assign(bias)
    assert logs_of(LabelValidation(CLICKS, "clicks"), model)["val_auc"] == 0.75


def test_they_are_what_the_evaluation_reports_and_others_can_watch_them():
    model = constant(3.0)
    watch = LabelValidation(ROWS, "ratings")
    stop = keras.callbacks.EarlyStopping("val_rmse", mode="min", patience=0, min_delta=9.0)
    history = model.fit(ROWS, ROWS["stars"], epochs=5, verbose=0, callbacks=[watch, stop]).history
    assert len(history["val_rmse"]) == 2
    expected = evaluation.rating_errors(model, ROWS)
    assert history["val_rmse"][-1] == pytest.approx(expected["rmse"])


def test_a_figure_that_is_not_defined_is_left_out():
    ones = {**ROWS, "stars": np.ones(4)}
    logs = logs_of(LabelValidation(ones, "clicks"), constant(0.0))
    assert set(logs) == {"loss", "val_log_loss"}


def test_the_model_in_a_trainer_is_asked_where_it_is_passed():
    model = constant(3.0)
    trainer = SampledSoftmaxTrainer(model)
    logs = logs_of(LabelValidation(ROWS, "ratings", model=model), trainer)
    assert logs["val_mae"] == pytest.approx(1.5)


def test_a_training_that_was_stopped_with_broken_weights_gets_no_figures():
    model = constant(float("nan"))
    assert logs_of(LabelValidation(ROWS, "ratings"), model, stopped=True) == {"loss": 1.0}
    assert "val_rmse" in logs_of(LabelValidation(ROWS, "ratings"), constant(3.0), stopped=True)


@pytest.mark.parametrize(
    ("rows", "labels", "message"),
    [
        (ROWS, "stars", "labels must be one of 'ratings', 'clicks'|labels"),
        ({}, "ratings", "expected encoded validation rows .*received none"),
        ({**ROWS, "user": np.array([], int)}, "ratings", "received none. Hold some out"),
        ([1], "clicks", "received list"),
    ],
)
def test_what_is_refused(rows, labels, message):
    with pytest.raises(ValueError, match=message):
        LabelValidation(rows, labels)
