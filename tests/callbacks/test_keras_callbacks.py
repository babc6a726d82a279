"""Every callback of Keras does in `fit` of a zoo model what it is for."""

import contextlib
import csv
import http.server
import inspect
import json
import os
import threading
import urllib.parse

import keras
import numpy as np
import pytest

from kerasrec import data, models, optimizers
from kerasrec.schema import Categorical, Schema

SCHEMA = Schema(user=Categorical("user", 12), item=Categorical("item", 14))
EPOCHS = 3


def rows(n=96, seed=0):
    rng = np.random.default_rng(seed)
    columns = {
        "user": rng.integers(2, 12, n).astype("int32"),
        "item": rng.integers(2, 14, n).astype("int32"),
    }
    return columns | {"label": (columns["user"] + columns["item"]) % 2 * 1.0}


def compiled(kind="MatrixFactorization", rate=0.05, **optimizer):
    keras.utils.set_random_seed(0)
    model = getattr(models, kind)(SCHEMA, embedding_dim=4)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(optimizers.Adam(rate, **optimizer), loss)
    return model


def fit(model, callback, epochs=EPOCHS, **options):
    """Losses and what else the logs hold."""
    train = data.pointwise(rows(), SCHEMA, batch_size=32)
    valid = data.pointwise(rows(seed=1), SCHEMA, batch_size=96)
    options = {"epochs": epochs, "verbose": 0, **options}
    callbacks = callback if isinstance(callback, list) else [callback]
    return model.fit(train, validation_data=valid, callbacks=callbacks, **options).history


def check_base(tmp_path):
    class Counts(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.batches = getattr(self, "batches", 0) + 1
            assert np.isfinite(logs["loss"])

    counts = Counts()
    fit(compiled(), counts)
    assert counts.batches == 3 * EPOCHS


def check_list(tmp_path):
    """`fit` takes one in place of a list."""
    history = keras.callbacks.History()
    model = compiled()
    callbacks = keras.callbacks.CallbackList([history], add_history=False, model=model)
    train = data.pointwise(rows(), SCHEMA, batch_size=32)
    model.fit(train, epochs=EPOCHS, verbose=0, callbacks=callbacks)
    assert len(history.history["loss"]) == EPOCHS


def check_history(tmp_path):
    history = keras.callbacks.History()
    assert fit(compiled(), history) == history.history
    assert history.history["loss"][-1] < history.history["loss"][0]


def check_backup(tmp_path):
    """A broken training goes on with the epoch after the last whole one."""

    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise InterruptedError

    def train(model, *more):
        backup = keras.callbacks.BackupAndRestore(str(tmp_path / "backup"))
        batches = data.pointwise(rows(), SCHEMA, batch_size=32, shuffle=False)
        options = {"epochs": 4, "verbose": 0}
        return model.fit(batches, callbacks=[backup, *more], **options)

    whole = compiled()
    train(whole)
    with pytest.raises(InterruptedError):
        train(compiled(), Stop())
    again = compiled()
    assert train(again).epoch == [2, 3]
    for ours, theirs in zip(again.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def check_csv(tmp_path):
    losses = fit(compiled(), keras.callbacks.CSVLogger(str(tmp_path / "log.csv")))["loss"]
    with (tmp_path / "log.csv").open() as file:
        found = [float(row["loss"]) for row in csv.DictReader(file)]
    np.testing.assert_allclose(found, losses, rtol=1e-6)


def check_early_stopping(tmp_path):
    model = compiled()
    stop = keras.callbacks.EarlyStopping("loss", min_delta=10.0, patience=1)
    assert len(fit(model, stop, epochs=9)["loss"]) == 2
    best = keras.callbacks.EarlyStopping("val_loss", patience=50, restore_best_weights=True)
    model = compiled(rate=0.3)
    losses = fit(model, best, epochs=8)["val_loss"]
    again = model.evaluate(data.pointwise(rows(seed=1), SCHEMA, batch_size=96), verbose=0)
    assert again == pytest.approx(min(losses), abs=1e-5)


def check_lambda(tmp_path):
    said = []
    fit(compiled(), keras.callbacks.LambdaCallback(on_epoch_end=lambda e, logs: said.append(e)))
    assert said == [0, 1, 2]


def check_scheduler(tmp_path):
    schedule = keras.callbacks.LearningRateScheduler(lambda epoch: 0.1 / (1 + epoch))
    rates = fit(compiled(), schedule)["learning_rate"]
    np.testing.assert_allclose(rates, [0.1, 0.05, 0.1 / 3], rtol=1e-6)


def check_plateau(tmp_path):
    reduce = keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=10.0)
    rates = fit(compiled(rate=0.08), reduce)["learning_rate"]
    np.testing.assert_allclose(rates, [0.08, 0.08, 0.04], rtol=1e-6)


def check_checkpoint(tmp_path):
    path = str(tmp_path / "best.keras")
    model = compiled(rate=0.3)
    losses = fit(model, keras.callbacks.ModelCheckpoint(path, save_best_only=True), epochs=8)
    loaded = keras.saving.load_model(path)
    valid = data.pointwise(rows(seed=1), SCHEMA, batch_size=96)
    assert loaded.evaluate(valid, verbose=0) == pytest.approx(min(losses["val_loss"]), abs=1e-5)


def check_orbax(tmp_path):
    pytest.importorskip("orbax.checkpoint", reason="OrbaxCheckpoint needs orbax-checkpoint")
    model = compiled()
    folder = tmp_path / "orbax"
    fit(model, keras.callbacks.OrbaxCheckpoint(str(folder), save_on_background=False))
    assert any(folder.iterdir())


def check_progbar(tmp_path):
    fit(compiled(), keras.callbacks.ProgbarLogger(), epochs=1, verbose=0)


def check_remote(tmp_path):
    pytest.importorskip("requests", reason="RemoteMonitor needs requests")
    received = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            received.append(json.loads(urllib.parse.parse_qs(body)["data"][0]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            root = f"http://127.0.0.1:{server.server_address[1]}"
            losses = fit(compiled(), keras.callbacks.RemoteMonitor(root))["loss"]
        finally:
            server.shutdown()
            thread.join()
    assert [one["epoch"] for one in received] == [0, 1, 2]
    np.testing.assert_allclose([one["loss"] for one in received], losses, rtol=1e-5)


def check_ema(tmp_path):
    """Validation sees the average of the weights, training goes on with the weights themselves."""
    trained, evaluated = [], []

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            trained.append(np.array(self.model.item_vectors.embeddings))

        def on_test_begin(self, logs=None):
            evaluated.append(np.array(self.model.item_vectors.embeddings))

    model = compiled(use_ema=True, ema_momentum=0.5)
    fit(model, [keras.callbacks.SwapEMAWeights(), Look()], epochs=1)
    average = trained[0]
    for weights in trained[1:]:
        average = 0.5 * average + 0.5 * weights
    # Keras' average begins with the weights before the first step; three steps leave 1/8 of it.
    assert np.abs(evaluated[0] - average).max() < np.abs(evaluated[0] - trained[-1]).max()
    # At the end of `fit` the average is what stays.
    np.testing.assert_allclose(model.item_vectors.embeddings, evaluated[0], rtol=0, atol=1e-6)


def check_tensorboard(tmp_path):
    fit(compiled(), keras.callbacks.TensorBoard(str(tmp_path), histogram_freq=1))
    assert list(tmp_path.glob("train/events.out.*")) and list(tmp_path.glob("validation/events*"))


def check_nan(tmp_path):
    model = compiled()
    model.global_bias.assign([np.nan])
    losses = fit(model, keras.callbacks.TerminateOnNaN())["loss"]
    assert len(losses) == 1 and np.isnan(losses[0])


CHECKS = {
    "Callback": check_base,
    "CallbackList": check_list,
    "History": check_history,
    "BackupAndRestore": check_backup,
    "CSVLogger": check_csv,
    "EarlyStopping": check_early_stopping,
    "LambdaCallback": check_lambda,
    "LearningRateScheduler": check_scheduler,
    "ReduceLROnPlateau": check_plateau,
    "ModelCheckpoint": check_checkpoint,
    "OrbaxCheckpoint": check_orbax,
    "ProgbarLogger": check_progbar,
    "RemoteMonitor": check_remote,
    "SwapEMAWeights": check_ema,
    "TensorBoard": check_tensorboard,
    "TerminateOnNaN": check_nan,
}


def test_no_callback_of_keras_is_left_out():
    public = {name for name, one in vars(keras.callbacks).items() if inspect.isclass(one)}
    assert public == set(CHECKS)


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_it_does_what_it_is_for(check, tmp_path):
    with contextlib.chdir(tmp_path):
        check(tmp_path)
    assert os.getcwd() != str(tmp_path)
