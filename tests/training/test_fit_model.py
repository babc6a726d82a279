"""Long trainings: the steps that were asked for, numbers as they are, functions that stay."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrec.models import MatrixFactorization
from kerasrec.optimizers import SGD
from kerasrec.schema import Categorical, Schema
from kerasrec.training import fit_model

SCHEMA = Schema(user=Categorical("user", 12), item=Categorical("item", 9))


@pytest.fixture(autouse=True)
def long_from_40(monkeypatch):
    """Trainings count as long from 40 steps, not from 1,000."""
    monkeypatch.setattr(fit_model, "LONG_FIT", 40)


def made(jit_compile=False, **options):
    keras.utils.set_random_seed(0)
    model = MatrixFactorization(SCHEMA, embedding_dim=2)
    model.compile(SGD(0.1), "mse", jit_compile=jit_compile, **options)
    return model


def batches(count=10, rows=4):
    rng = np.random.default_rng(0)
    ids = {"user": rng.integers(2, 12, count * rows), "item": rng.integers(2, 9, count * rows)}
    return tf.data.Dataset.from_tensor_slices((ids, np.ones(count * rows, "float32"))).batch(rows)


class Seen(keras.callbacks.Callback):
    """Numbers of the batches, and how many run at once."""

    counts_batches = False

    def on_train_begin(self, logs=None):
        self.at_once, self.numbers, self.tested = self.model.steps_per_execution, [], []

    def on_train_batch_end(self, batch, logs=None):
        self.numbers.append(batch)

    def on_test_batch_end(self, batch, logs=None):
        self.tested.append(batch)


class Counted(Seen):
    counts_batches = True


def updates(model):
    return int(model.optimizer.iterations)


def test_steps_per_epoch_is_kept_to_exactly():
    model, seen = made(), Seen()
    options = {
        "epochs": 20,
        "steps_per_epoch": 50,
        "verbose": 0,
        "callbacks": [seen],
    }
    model.fit(batches().repeat(), **options)
    assert updates(model) == 1000
    assert seen.at_once == 25 and seen.numbers == [24, 49] * 20


def test_validation_steps_are_kept_to_exactly():
    model, seen = made(), Seen()
    valid = batches().repeat()
    options = {"validation_data": valid, "validation_steps": 6, "verbose": 0}
    model.fit(batches(), epochs=5, callbacks=[seen], **options)
    assert seen.at_once == 6 and seen.tested == [5] * 5


def test_the_last_call_of_an_epoch_has_the_number_of_the_last_batch(capsys):
    model, seen = made(), Seen()
    model.fit(
        batches(40),
        epochs=2,
        verbose=1,
        callbacks=[seen],
        validation_data=batches(3),
    )
    assert seen.at_once == 32 and seen.numbers == [31, 39] * 2 and seen.tested == [2, 2]
    shown = capsys.readouterr().out
    assert "40/40" in shown and "64/40" not in shown
    assert updates(model) == 80


def test_who_counts_batches_sees_each_of_them(tmp_path):
    model, seen = made(), Counted()
    model.fit(batches(), epochs=5, verbose=0, callbacks=[seen])
    assert seen.at_once == 1 and seen.numbers == [*range(10)] * 5
    names = str(tmp_path / "{batch}.weights.h5")
    every = keras.callbacks.ModelCheckpoint(names, save_freq=7, save_weights_only=True)
    made().fit(batches(50), verbose=0, callbacks=[every])
    expected = {f"{batch}.weights.h5" for batch in range(7, 51, 7)}
    assert {path.name for path in tmp_path.iterdir()} == expected


def test_what_keras_caps_is_kept_to_exactly():
    keras.config.set_max_steps_per_epoch(7)
    try:
        model = made()
        with pytest.warns(UserWarning, match="Limiting steps_per_epoch to 7"):
            model.fit(batches().repeat(), epochs=6, steps_per_epoch=9, verbose=0)
    finally:
        keras.config.set_max_steps_per_epoch(None)
    assert updates(model) == 42


def counting_loss(calls):
    def loss(y_true, y_pred):
        calls.append(1)  # in Python: once for each time that the step is traced
        return keras.ops.square(y_pred - y_true)

    return loss


def test_the_second_long_fit_traces_nothing():
    calls = []
    model = made()
    model.compile(SGD(0.1), counting_loss(calls), jit_compile=False)
    fitted = [model.fit(batches(), epochs=5, verbose=0, validation_data=batches(3)) for _ in (1, 2)]
    traced = len(calls)
    model.fit(batches(), epochs=1, verbose=0)  # a short one has functions of its own
    assert len(calls) > traced
    traced = len(calls)
    for epochs in (5, 1, 5):
        model.fit(batches(), epochs=epochs, verbose=0, validation_data=batches(3))
        traced, before = len(calls), traced
        assert epochs == 1 or traced == before
    assert fitted[1].history["loss"][-1] < fitted[0].history["loss"][0]
    model.compile(SGD(0.1), counting_loss(calls), jit_compile=False)
    model.fit(batches(), epochs=5, verbose=0)
    assert len(calls) > traced


def test_a_frozen_table_is_not_trained_by_a_function_from_before():
    model = made()
    model.fit(batches(), epochs=5, verbose=0)
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Embedding):
            layer.trainable = False
    before = {v.path: v.numpy() for v in model.non_trainable_variables}
    assert before
    model.fit(batches(), epochs=5, verbose=0)
    for variable in model.non_trainable_variables:
        np.testing.assert_array_equal(variable.numpy(), before[variable.path])


def test_fit_leaves_malloc_alone(monkeypatch):
    monkeypatch.setattr("kerasrec.training.memory.keep_freed_memory", lambda: pytest.fail("called"))
    assert not hasattr(fit_model, "keep_freed_memory")
    made().fit(batches(), verbose=0)


class Batches(keras.utils.PyDataset):
    """Batches by their place; endless if `count` is None."""

    def __init__(self, count):
        super().__init__()
        self.count, self.order = count, []

    @property
    def num_batches(self):
        return self.count

    def __getitem__(self, position):
        self.order.append(position)
        ids = np.full(4, 2 + position % 5)
        return {"user": ids, "item": ids}, np.ones(4, "float32")


def test_nobody_types_shuffle_false_for_what_shuffles_itself():
    """Keras warns where it cannot shuffle, and warnings are errors in these tests."""
    made().fit(batches(), verbose=0)
    made().fit((batch for batch in list(batches())), steps_per_epoch=10, verbose=0)
    made().fit(Batches(None), steps_per_epoch=3, verbose=0)
    with pytest.warns(UserWarning, match="`shuffle=True` was passed, but will be ignored"):
        made().fit(batches(), verbose=0, shuffle=True)


def test_what_keras_can_shuffle_is_shuffled():
    whole = Batches(30)
    made().fit(whole, verbose=0)
    assert sorted(whole.order[-30:]) == [*range(30)] != whole.order[-30:]
    ids = np.arange(2, 12) % 7 + 2
    rows, labels = {"user": np.arange(2, 12), "item": ids}, np.linspace(0, 1, 10)
    weights = []
    for options in ({}, {"shuffle": True}, {"shuffle": False}):
        model = made()
        model.fit(rows, labels, 2, verbose=0, **options)
        weights.append(np.concatenate([w.ravel() for w in model.get_weights()]))
    np.testing.assert_array_equal(weights[0], weights[1])
    assert (weights[0] != weights[2]).any()


NOTHING = {"user": np.zeros(0, int), "item": np.zeros(0, int)}


@pytest.mark.parametrize("rows", [NOTHING, batches().take(0)], ids=["arrays", "dataset"])
def test_no_rows_are_refused(rows):
    model = made()
    with pytest.raises(ValueError, match="MatrixFactorization.predict: received no rows"):
        model.predict(rows, verbose=0)
    labels = {"y": np.zeros(0)} if isinstance(rows, dict) else {}
    with pytest.raises(ValueError, match="MatrixFactorization.evaluate: received no rows"):
        model.evaluate(rows, **labels, verbose=0)
