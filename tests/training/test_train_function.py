"""One owner of the train function: parts come and go in any order, and dead ones are dropped."""

import keras
import numpy as np
import pytest

from kerasrec.callbacks import GradientMonitor, TrainingDiagnostics
from kerasrec.models import MatrixFactorization
from kerasrec.optimizers import SGD
from kerasrec.schema import Categorical, Schema
from kerasrec.training.train_function import MAKER, train_function_of

X = np.random.default_rng(0).normal(size=(24, 2)).astype("float32")
Y = X[:, :1]


class Stop(keras.callbacks.Callback):
    """Ctrl-C after some batches."""

    def __init__(self, at=2):
        super().__init__()
        self.at = at

    def on_train_batch_end(self, batch, logs=None):
        if batch + 1 == self.at:
            raise KeyboardInterrupt


class Part:
    """Counts the calls of the function, and may be closed once."""

    def __init__(self):
        self.calls = self.closed = 0

    def wrap_function(self, function):
        def counted(iterator):
            self.calls += 1
            return function(iterator)

        return counted

    def close(self):
        self.closed += 1


def stock(optimizer="sgd"):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="out")])
    model.compile(optimizer, "mse")
    return model


def ours():
    schema = Schema(user=Categorical("user", 12), item=Categorical("item", 9))
    model = MatrixFactorization(schema, embedding_dim=2)
    model.compile(SGD(0.1), "mse")
    return model


def data_of(model):
    if hasattr(model, "schema"):
        ids = {"user": np.arange(24) % 10 + 2, "item": np.arange(24) % 7 + 2}
        return ids, Y[:, 0]
    return X, Y


@pytest.mark.parametrize("make", [stock, ours])
def test_what_three_interrupted_trainings_leave_is_gone_at_the_next(make):
    model = make()
    x, y = data_of(model)
    model.fit(x, y, 4, verbose=0)
    plain = model.optimizer.__dict__.keys() - {"_observer", "_kernel"}
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            model.fit(
                x, y, 4, verbose=0, callbacks=[TrainingDiagnostics(), GradientMonitor(1), Stop()]
            )
    monitor = GradientMonitor(interval=1)
    model.fit(x, y, 4, verbose=0, callbacks=[monitor])
    assert len(monitor.observations["step"]) == 6
    assert not train_function_of(model).parts and MAKER not in model.__dict__
    model.fit(x, y, 4, verbose=0)
    assert model.optimizer.__dict__.keys() - {"_observer", "_kernel"} == plain
    assert model.optimizer.__dict__.get("_observer") is None


def test_a_fit_without_callbacks_drops_them_too():
    model = stock()
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, 4, verbose=0, callbacks=[GradientMonitor(1), Stop()])
    assert train_function_of(model).parts, "Keras has no place where a callback learns of it"
    model.fit(X, Y, 4, verbose=0)
    assert not train_function_of(model).parts and MAKER not in model.__dict__
    assert "_clip_gradients" not in model.optimizer.__dict__


def test_another_optimizer_after_an_interrupted_training():
    old = keras.optimizers.SGD(0.1)
    model = stock(old)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, 4, verbose=0, callbacks=[GradientMonitor(1), Stop()])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    monitor = GradientMonitor(interval=2)
    model.fit(X, Y, 4, verbose=0, callbacks=[monitor])
    assert monitor.observations["step"].tolist() == [0, 2, 4]
    assert "_clip_gradients" not in old.__dict__


def test_parts_come_and_go_and_the_function_is_what_it_was():
    model = stock()
    model.fit(X, Y, 4, verbose=0)
    before, owner, parts = model.train_function, train_function_of(model), [Part(), Part()]
    for part in parts:
        owner.add(part)
    model.make_train_function(force=True)
    model.train_on_batch(X, Y)
    owner.remove(parts[0])
    owner.remove(parts[0])
    model.train_on_batch(X, Y)
    owner.remove(parts[1])
    assert model.train_function is before and MAKER not in model.__dict__
    assert [(part.calls, part.closed) for part in parts] == [(1, 1), (2, 1)]


class OwnLoop(keras.Sequential):
    """A model whose train function does without that of Keras."""

    made = 0

    def make_train_function(self, force=False):
        if self.train_function is None or force:
            self.made += 1
            self.train_function = lambda iterator: self.train_step(next(iterator))
        return self.train_function


@pytest.mark.parametrize("bad", [None, 9])
def test_doctor_beside_a_train_function_of_ones_own(capsys, tmp_path, bad):
    """It names the step and the gradients, and does not say that they were finite."""
    model = OwnLoop([keras.Input((2,)), keras.layers.Dense(1, name="out")])
    model.compile("sgd", "mse")
    x = X.copy()
    if bad is not None:
        x[bad, 1] = np.nan  # in the third batch of 4
    path = tmp_path / "batch.npz"
    doctor = TrainingDiagnostics(restore_weights=True, batch_path=path)
    model.fit(x, Y, 4, shuffle=False, verbose=0, callbacks=[doctor])
    if bad is None:
        assert doctor.diagnosis is None
        return
    assert doctor.step == 3
    assert "training stopped at step 3 of this fit, in epoch 1: the loss is nan" in doctor.diagnosis
    assert "First non-finite gradients at update 3" in doctor.diagnosis
    assert "The batch is not available: OwnLoop makes its own train function" in doctor.diagnosis
    assert "were finite" not in doctor.diagnosis and not path.exists()
    assert np.isfinite(model.get_weights()[0]).all()


def test_a_maker_hung_on_the_model_stays():
    model = stock()
    calls = []

    def make(force=False):
        calls.append(force)
        return type(model).make_train_function(model, force=force)

    model.__dict__[MAKER] = make
    doctor = TrainingDiagnostics(batch_path=None)
    x = X.copy()
    x[9, 1] = np.nan
    model.fit(x, Y, 4, shuffle=False, verbose=0, callbacks=[doctor])
    assert doctor.step == 3 and "x has" not in doctor.diagnosis
    assert "'input' has NaN in 1 of 4 rows" in doctor.diagnosis
    assert model.__dict__[MAKER] is make and True in calls
