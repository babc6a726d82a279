"""Trainings that are broken off, killed and taken up: the outcome is that of an unbroken one."""

import keras
import numpy as np
import pytest

from kerasrec.data import pointwise
from kerasrec.models import MatrixFactorization
from kerasrec.runs.best_epoch import BestEpoch
from kerasrec.runs.checkpoint import Checkpoint
from kerasrec.schema import Categorical, Schema

SCHEMA = Schema(user=Categorical("user", 8), item=Categorical("item", 9))


class Stop(keras.callbacks.Callback):
    """Ctrl-C in the middle of an epoch; and validation losses as given."""

    def __init__(self, losses, interrupt=None):
        super().__init__()
        self.losses, self.interrupt = losses, interrupt

    def on_train_batch_end(self, batch, logs=None):
        if self.interrupt == (self.epoch, batch):
            raise KeyboardInterrupt

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_epoch_end(self, epoch, logs=None):
        if self.losses is not None:
            logs["val_loss"] = self.losses[epoch]
            logs["val_auc"] = 1 / self.losses[epoch] if epoch != 4 else 0.0


class Weights(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.kept = []

    def on_epoch_end(self, epoch, logs=None):
        self.kept.append(self.model.get_weights())


def train(
    folder, losses, *, epochs=6, patience=2, interrupt=None, name="state", dtype=None, watched=()
):
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    columns = {
        "user": rng.integers(2, 8, 40).astype(np.int32),
        "item": rng.integers(2, 9, 40).astype(np.int32),
        "label": rng.normal(size=40).astype(np.float32),
    }
    batches = pointwise(columns, SCHEMA, batch_size=10)
    model = MatrixFactorization(SCHEMA, embedding_dim=2, dtype=dtype)
    model.compile(keras.optimizers.Adam(0.05), "mse")
    weights, kept = Weights(), BestEpoch(patience, *watched, higher=bool(watched))
    callbacks = [Stop(losses, interrupt), weights, kept]
    if folder is not None:
        callbacks.append(Checkpoint(folder, batches, kept, name=name))
    try:
        model.fit(batches, epochs=epochs, callbacks=callbacks, verbose=0)
    except KeyboardInterrupt:
        for callback in callbacks:
            callback.on_train_end()
    return model.get_weights(), weights.kept, kept


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_the_best_epoch_is_kept_and_patience_ends_the_training(tmp_path):
    final, by_epoch, kept = train(tmp_path, [3.0, 1.0, 2.0, 1.5, 0.5, 0.1])
    assert len(by_epoch) == 4 and kept.best_epoch == 1
    assert same(final, by_epoch[1]) and not same(final, by_epoch[3])
    assert sorted(file.name for file in tmp_path.iterdir()) == ["best-2.npz", "state.npz"]


def test_without_a_folder_the_best_epoch_is_kept_too():
    final, by_epoch, kept = train(None, [3.0, 1.0, 2.0, 1.5, 0.5, 0.1])
    assert len(by_epoch) == 4 and kept.best_epoch == 1 and same(final, by_epoch[1])
    final, by_epoch, kept = train(None, None, epochs=2)
    assert kept.best_epoch == 1 and same(final, by_epoch[1])


@pytest.mark.parametrize("patience", [0, 1])
def test_one_worse_epoch_is_the_least_patience(patience, tmp_path):
    _, by_epoch, kept = train(tmp_path, [3.0, 1.0, 2.0, 1.5, 0.5, 0.1], patience=patience)
    assert len(by_epoch) == 3 and kept.best_epoch == 1


@pytest.mark.parametrize(
    ("losses", "at"),
    [
        (None, (2, 3)),
        ([3.0, 2.0, 2.5, 1.0, 1.1, 1.2], (1, 0)),
        ([3.0, 2.0, 2.5, 1.0, 1.1, 1.2], (3, 2)),
        ([3.0, 2.0, 2.5, 1.0, 1.1, 1.2], (5, 1)),
    ],
)
def test_a_broken_training_keeps_the_best_and_ends_like_an_unbroken_one(losses, at, tmp_path):
    final, by_epoch, whole = train(tmp_path / "whole", losses)
    broken, _, kept = train(tmp_path / "broken", losses, interrupt=at)
    done = at[0]
    best = done - 1 if losses is None else int(np.argmin(losses[:done]))
    assert kept.best_epoch == best and same(broken, by_epoch[best])
    again, rest, resumed = train(tmp_path / "broken", losses)
    assert len(rest) == len(by_epoch) - done
    assert same(again, final) and resumed.best_epoch == whole.best_epoch
    assert resumed.history == whole.history


@pytest.mark.parametrize("dtype", [None, "bfloat16"])
def test_a_training_that_had_ended_does_not_go_on(dtype, tmp_path):
    losses = [3.0, 1.0, 2.0, 1.5, 0.5, 0.1]
    final, _, _ = train(tmp_path, losses, dtype=dtype)
    again, by_epoch, kept = train(tmp_path, losses, dtype=dtype)
    assert by_epoch == [] and same(again, final) and kept.best_epoch == 1


def test_an_epoch_that_broke_is_not_written(tmp_path):
    final, by_epoch, kept = train(tmp_path, [3.0, 2.0, np.nan], epochs=3)
    assert kept.best_epoch == 1 and same(final, by_epoch[1])
    assert kept.history["val_loss"] == [3.0, 2.0]


def test_a_refit_has_a_state_of_its_own(tmp_path):
    train(tmp_path, [3.0, 1.0, 2.0], epochs=3)
    final, by_epoch, kept = train(tmp_path, None, epochs=2, name="refit")
    assert kept.best_epoch == 1 and same(final, by_epoch[1])
    names = ["best-2.npz", "refit.npz", "state.npz"]
    assert sorted(file.name for file in tmp_path.iterdir()) == names


def test_a_figure_is_watched_instead_of_the_loss(tmp_path):
    """The figure drops once after the fourth epoch, and is the best after the sixth."""
    losses = [3.0, 1.0, 2.0, 0.9, 0.5, 0.1]
    options = {"watched": ("val_auc",), "patience": 1}
    final, by_epoch, kept = train(None, losses, **options)
    assert len(by_epoch) == 3 and kept.best_epoch == 1 and same(final, by_epoch[1])
    options["patience"] = 2
    final, by_epoch, whole = train(tmp_path / "whole", losses, **options)
    assert len(by_epoch) == 6 and whole.best_epoch == 5
    train(tmp_path / "broken", losses, interrupt=(4, 2), **options)
    again, rest, resumed = train(tmp_path / "broken", losses, **options)
    assert len(rest) == 2 and same(again, final) and resumed.best_epoch == 5
    assert resumed.history == whole.history
