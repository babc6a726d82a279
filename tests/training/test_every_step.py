"""Training at every step: the loss of single rows, and a rule of the history that is learned."""

import keras
import numpy as np
import pytest

from kerasrec.data import histories, next_labels
from kerasrec.models import MatrixFactorization, StackedLSTMClassifier
from kerasrec.schema import Categorical, IdSequence, NumericSequence, Schema
from kerasrec.testing import tiny_schema
from kerasrec.training import StepwiseTrainer

SCHEMA = Schema(
    user=[
        Categorical("user", 40),
        IdSequence("history", of="item", max_length=8),
        NumericSequence("labels", of="label", max_length=8),
    ],
    item=[Categorical("item", 12)],
)


@pytest.fixture(scope="module")
def columns():
    """The label is 1 where the item is even and the label before was 0, or neither."""
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(2, 40), 7).astype("int32")
    items = rng.integers(2, 12, len(users)).astype("int32")
    labels = np.zeros(len(users), "float32")
    for row in range(1, len(users)):
        labels[row] = float(labels[row - 1] == items[row] % 2)
    return {"user": users, "item": items, "label": labels}


def model_of(**arguments):
    keras.utils.set_random_seed(0)
    return StackedLSTMClassifier(
        SCHEMA, embedding_dim=6, hidden_units=(8,), dropout=0.0, **arguments
    )


@pytest.mark.parametrize("num_classes", [None, 2])
def test_the_loss_is_that_of_one_history_a_row(columns, num_classes):
    model = model_of(num_classes=num_classes)
    trainer = StepwiseTrainer(model)
    trainer.compile("sgd")
    steps = next_labels(columns, SCHEMA, batch_size=999, time=None)
    found = trainer.evaluate(steps, verbose=0)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    if num_classes:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss)
    rows = histories(columns, SCHEMA, batch_size=999, time=None, min_history=1)
    assert found == pytest.approx(model.evaluate(rows, verbose=0), rel=1e-5)


def test_it_learns_a_rule_of_history_and_item(columns):
    model = model_of()
    trainer = StepwiseTrainer(model)
    trainer.compile(keras.optimizers.Adam(0.02), jit_compile=True)
    steps = next_labels(columns, SCHEMA, batch_size=8, time=None)
    trainer.fit(steps, epochs=40, shuffle=False, verbose=0)
    rows = histories(columns, SCHEMA, batch_size=999, time=None, min_history=1, shuffle=False)
    ((features, label),) = rows
    assert np.mean((np.asarray(model(features)) > 0) == label.numpy()) > 0.98


def test_a_file_gives_the_wrapper_back(columns, tmp_path):
    trainer = StepwiseTrainer(model_of())
    trainer.compile("adam")
    trainer.fit(next_labels(columns, SCHEMA, batch_size=8, time=None), shuffle=False, verbose=0)
    trainer.save(tmp_path / "trainer.keras")
    again = keras.saving.load_model(tmp_path / "trainer.keras")
    for ours, theirs in zip(trainer.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_bad_input(columns):
    with pytest.raises(ValueError, match="with step_logits; received MatrixFactorization"):
        StepwiseTrainer(MatrixFactorization(tiny_schema()))
    trainer = StepwiseTrainer(model_of())
    trainer.compile("adam")
    steps = next_labels(columns, SCHEMA, batch_size=8, time=None)
    with pytest.raises(ValueError, match="received no weight"):
        trainer.fit(steps.map(lambda x, y, w: (x, y)), shuffle=False, verbose=0)
