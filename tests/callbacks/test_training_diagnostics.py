import os
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrec.callbacks import GradientMonitor, TrainingDiagnostics
from kerasrec.data import next_labels
from kerasrec.layers import Embedding
from kerasrec.models import MatrixFactorization, StackedLSTMClassifier
from kerasrec.optimizers import SGD, Adam
from kerasrec.retrieval import SampledSoftmaxTrainer
from kerasrec.schema import Categorical, IdSequence, Schema
from kerasrec.training import StepwiseTrainer

SCHEMA = Schema(user=Categorical("user", 40), item=Categorical("item", 80))


def dense(optimizer="sgd", loss="mse", **compiling):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="out")])
    model.compile(optimizer, loss, **compiling)
    return model


def rows(bad_row=None, n=24, value=np.nan):
    x = np.random.default_rng(0).normal(size=(n, 2)).astype("float32")
    if bad_row is not None:
        x[bad_row, 1] = value
    return x, np.arange(n, dtype="float32") % 3


def pairs(n=600, seed=0):
    rng = np.random.default_rng(seed)
    columns = {
        "user": rng.integers(2, 40, n).astype("int32"),
        "item": rng.integers(2, 80, n).astype("int32"),
    }
    return columns, rng.integers(0, 2, n).astype("float32")


def fit(model, data, doctor, batch_size=4, **arguments):
    x, y = data
    arguments = {"verbose": 0, "shuffle": False, **arguments}
    return model.fit(x, y, batch_size, callbacks=[doctor], **arguments)


@pytest.mark.parametrize(
    "compiling",
    [{}, {"jit_compile": True}, {"steps_per_execution": 4}, {"run_eagerly": True},
     {"jit_compile": True, "steps_per_execution": 4}],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("optimizer", [lambda: SGD(0.01), lambda: keras.optimizers.SGD(0.01)])
def test_names_step_feature_and_variables(tmp_path, capsys, compiling, optimizer):
    x, y = rows(bad_row=9)  # in the third batch of 4
    path = tmp_path / "new" / "bad.npz"
    doctor = TrainingDiagnostics(restore_weights=True, batch_path=path)
    model = dense(optimizer(), **compiling)
    before = model.get_weights()
    fitted = fit(model, (x, y), doctor, epochs=3)
    assert len(fitted.epoch) == 1 and doctor.step == 3
    assert capsys.readouterr().out == doctor.diagnosis + "\n"
    assert "at step 3 of this fit, in epoch 1: the loss is nan" in doctor.diagnosis
    assert "'input' has NaN in 1 of 4 rows (first: row 1)" in doctor.diagnosis
    assert "gradients at update 3: those of all 2 variables" in doctor.diagnosis
    assert "out/kernel (2 of 2 rows)" in doctor.diagnosis
    saved = np.load(path)
    np.testing.assert_array_equal(saved["input"], x[8:12])
    np.testing.assert_array_equal(saved["label"], y[8:12])
    assert os.listdir(path.parent) == ["bad.npz"]
    for weight, kept in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, kept)
    assert int(model.optimizer.iterations) == 0


def test_tells_the_norms_of_the_last_steps():
    data = rows(bad_row=9)
    doctor = TrainingDiagnostics(batch_path=None)
    model = dense(SGD(0.0))
    kernel, bias = map(np.asarray, model.get_weights())
    fit(model, data, doctor)
    residual = data[0][:4] @ kernel[:, 0] + bias - data[1][:4]
    norm = np.linalg.norm(2 * residual @ data[0][:4] / 4)
    line = next(x for x in doctor.diagnosis.splitlines() if x.startswith("  out/kernel"))
    assert line.split()[1] == f"{norm:.2e}" and line.split()[-1] == "nan"
    assert doctor.diagnosis.splitlines()[4].split() == ["update", "1", "2", "3"]


def test_a_rate_that_is_too_high_is_no_fault_of_the_batch():
    doctor = TrainingDiagnostics(restore_weights=True, batch_path=None)
    model = dense(SGD(1e3))
    fit(model, rows(n=240), doctor, epochs=3)
    assert "The batch is not to blame" in doctor.diagnosis
    assert "the gradients grew: a smaller learning rate, clipnorm=1.0" in doctor.diagnosis
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_without_restoring_the_weights_stay_as_they_are():
    doctor = TrainingDiagnostics(batch_path=None)
    model = dense()
    fit(model, rows(bad_row=9), doctor)
    assert np.isnan(model.get_weights()[0]).all() and "beginning of epoch" not in doctor.diagnosis


class Keep(keras.callbacks.Callback):
    """Keeps the weights of the end of the first epoch."""

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 0:
            self.weights = self.model.get_weights()


def test_restores_the_weights_of_the_beginning_of_the_epoch():
    x, y = rows()
    bad = x.copy()
    bad[20, 0] = np.inf
    batches = tf.data.Dataset.from_tensor_slices((np.concatenate([x, bad]), np.tile(y, 2)))
    doctor = TrainingDiagnostics(restore_weights=True, batch_path=None)
    model = dense(Adam(0.1))
    good = Keep()
    model.fit(batches.batch(4).repeat(), epochs=5, steps_per_epoch=6, verbose=0, shuffle=False,
              callbacks=[good, doctor])  # fmt: skip
    assert doctor.step == 12 and "in epoch 2" in doctor.diagnosis
    assert int(model.optimizer.iterations) == 6
    assert "'input' has infinity in 1 of 4 rows" in doctor.diagnosis
    for weight, kept in zip(model.get_weights(), good.weights, strict=True):
        np.testing.assert_array_equal(weight, kept)


def test_out_of_range_ids_under_xla():
    columns, labels = pairs()
    columns["item"][130] = 80
    doctor = TrainingDiagnostics(restore_weights=True, batch_path=None)
    model = MatrixFactorization(SCHEMA, embedding_dim=4)
    model.compile(SGD(0.1), "mse", jit_compile=True)
    fit(model, (columns, labels), doctor, 50)
    assert doctor.step == 3
    assert "'item' has ids outside of the 80 that the schema says in 1 of 50 rows" in (
        doctor.diagnosis
    )
    assert "(first: row 30: 80)" in doctor.diagnosis
    assert "encode ids with the vocabulary" in doctor.diagnosis


def test_an_overflow_that_clipping_makes_harmless_does_not_stop():
    x, y = rows(n=8)
    doctor = TrainingDiagnostics(batch_path=None)
    model = dense(SGD(0.1, clipnorm=1.0), loss=lambda y, p: (p - y) * 1e30)
    fit(model, (x, y), doctor)
    assert doctor.diagnosis is None
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_weights_that_break_without_a_gradient_are_found_at_the_end_of_the_epoch():
    class Break(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 5:
                self.model.layers[-1].bias.assign([np.nan])

    x, y = rows()
    doctor = TrainingDiagnostics(batch_path=None)
    dense_model = dense()
    dense_model.fit(x, y, 4, verbose=0, epochs=2, callbacks=[Break(), doctor])
    assert "at the end of epoch 1: a weight is not finite" in doctor.diagnosis
    assert "out/bias (1 of 1 rows)" in doctor.diagnosis and doctor.step is None


def test_two_replicas(tmp_path):
    strategy = tf.distribute.MirroredStrategy(
        ["CPU:0", "CPU:1"], cross_device_ops=tf.distribute.ReductionToOneDevice()
    )
    with strategy.scope():
        model = dense(SGD(0.01))
    x, y = rows(bad_row=11)
    doctor = TrainingDiagnostics(restore_weights=True, batch_path=tmp_path / "bad.npz")
    fit(model, (x, y), doctor, 8)
    assert doctor.step == 2 and "has NaN in 1 of 8 rows" in doctor.diagnosis
    saved = np.load(tmp_path / "bad.npz")
    np.testing.assert_array_equal(np.sort(saved["label"]), np.sort(y[8:16]))
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_fit_is_what_it_was_before_and_a_second_fit_works():
    model, doctor = dense(), TrainingDiagnostics(batch_path=None)
    model.fit(*rows(), verbose=0)
    function = model.train_function
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(*rows(), verbose=0, callbacks=[doctor, GradientMonitor()])
        model.fit(*rows(), verbose=0, callbacks=[GradientMonitor(), doctor])
    assert model.train_function is function and "make_train_function" not in model.__dict__
    assert doctor.diagnosis is None
    fit(model, rows(bad_row=0), doctor)
    assert doctor.step == 1
    model.evaluate(*rows(), verbose=0)


def test_a_look_outside_of_a_graph_gives_no_warning():
    """As Keras 3.16 makes single steps, and earlier ones with run_eagerly."""
    model, doctor = dense(run_eagerly=True), TrainingDiagnostics(batch_path=None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(model, rows(bad_row=9), doctor)
    assert doctor.step is not None and "NaN" in doctor.diagnosis


def test_training_is_the_same_with_and_without():
    weights = []
    for callbacks in ([], [TrainingDiagnostics(restore_weights=True)]):
        keras.utils.set_random_seed(0)
        model = MatrixFactorization(SCHEMA, embedding_dim=4)
        model.compile(Adam(0.01, clipnorm=1.0), "mse")
        model.fit(*pairs(), 50, verbose=0, shuffle=False, callbacks=callbacks)
        weights.append(model.get_weights())
    for one, two in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, two)


def test_warns_of_a_constant_label():
    x, _ = rows()
    with pytest.warns(UserWarning, match="label column 'label' is 1 in all of the first 24 rows"):
        fit(dense(), (x, np.ones(24)), TrainingDiagnostics())


def test_constant_labels_by_design_are_fine():
    columns, _ = pairs()
    model = SampledSoftmaxTrainer(MatrixFactorization(SCHEMA, embedding_dim=4), negatives=4)
    model.compile(SGD(0.01), keras.losses.BinaryCrossentropy(from_logits=True))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(model, (columns, np.ones(600)), TrainingDiagnostics(), 100)


def test_warns_of_unknown_ids_and_empty_sequences():
    schema = Schema(
        user=[Categorical("user", 40), IdSequence("history", of="item", max_length=3)],
        item=Categorical("item", 80),
    )

    class Sum(keras.Model):
        def __init__(self):
            super().__init__()
            self.schema = schema
            self.table = Embedding(80, 1)

        def call(self, inputs):
            return self.table(inputs["item"])

    columns, labels = pairs()
    columns["user"][:] = 1
    columns["history"] = np.zeros((600, 3), "int32")
    model = Sum()
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="Sum has no weights to train yet"):
        fit(model, (columns, labels), TrainingDiagnostics(), 100)
    model({"item": columns["item"][:2]})
    with pytest.warns(UserWarning) as caught:
        fit(model, (columns, labels), TrainingDiagnostics(), 100)
    texts = [str(warning.message) for warning in caught]
    assert any("100% of the ids of 'user' are unknown (1)" in text for text in texts)
    assert any("100% of the sequences 'history' are all padding" in text for text in texts)


def test_warns_of_popularity_collapse():
    model = MatrixFactorization(SCHEMA, embedding_dim=4, stddev=0.001)
    model.compile(SGD(0.0), "mse")
    model.item_bias.embeddings.assign(np.arange(80.0)[:, None])
    with pytest.warns(UserWarning, match="100% of 38 users would be shown the same 10 of 78"):
        fit(model, pairs(), TrainingDiagnostics(), 100)


@pytest.mark.parametrize(
    "loss",
    [
        "sparse_categorical_crossentropy",
        keras.losses.SparseCategoricalCrossentropy(),
    ],
)
def test_the_place_of_the_positive_is_always_0(loss):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, "softmax")])
    model.compile("sgd", loss)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(model, (rows()[0], np.zeros(24, "int32")), TrainingDiagnostics())


@pytest.mark.parametrize("arguments", [{"restore_weights": 1}, {"batch_path": "bad.csv"}])
def test_bad_arguments(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        TrainingDiagnostics(**arguments)


def test_weights_that_are_nan_before_fit():
    model = dense()
    model.set_weights([np.full((2, 1), np.nan), np.zeros(1)])
    with pytest.raises(ValueError, match=r"not finite before the first step: out/kernel \(2 of 2"):
        fit(model, rows(), TrainingDiagnostics())


def test_batches_of_whole_sequences_are_no_queries():
    """`next_labels` has the user at every step, and more steps than rows."""
    history = IdSequence("history", of="item", max_length=20)
    schema = Schema(user=[Categorical("user", 40), history], item=Categorical("item", 90))
    rng = np.random.default_rng(0)
    columns = {
        "user": np.repeat(np.arange(2, 40), 25).astype("int32"),
        "item": rng.integers(2, 90, 950).astype("int32"),
        "label": rng.integers(0, 2, 950).astype("float32"),
    }
    trainer = StepwiseTrainer(StackedLSTMClassifier(schema, embedding_dim=4, hidden_units=(4,)))
    trainer.compile("adam")
    doctor = TrainingDiagnostics(batch_path=None)
    batches = next_labels(columns, schema, batch_size=4, time=None)
    trainer.fit(batches, shuffle=False, verbose=0, callbacks=[doctor])
    assert doctor.diagnosis is None
