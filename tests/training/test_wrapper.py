"""Callbacks of Keras on wrappers: the weights of the model inside are the ones that count."""

import keras
import numpy as np
import pytest

from kerasrec import data, optimizers
from kerasrec.models import MatrixFactorization, SASRec, StackedLSTMClassifier
from kerasrec.retrieval import NextItemTrainer, SampledSoftmaxTrainer
from kerasrec.schema import Categorical, IdSequence, Schema
from kerasrec.training import StepwiseTrainer

PLAIN = Schema(user=Categorical("user", 12), item=Categorical("item", 30))
HISTORY = Schema(
    user=[Categorical("user", 12), IdSequence("history", of="item", max_length=5)],
    item=Categorical("item", 30),
)


def rows(count=40):
    rng = np.random.default_rng(1)
    return {
        "user": rng.integers(2, 12, count).astype("int32"),
        "item": rng.integers(2, 30, count).astype("int32"),
        "label": np.ones(count, "float32"),
    }


def sampled_softmax():
    trainer = SampledSoftmaxTrainer(MatrixFactorization(PLAIN, embedding_dim=3), negatives=4)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    trainer.compile(optimizers.Adam(0.1), loss)
    return trainer, data.pointwise(rows(), PLAIN, batch_size=10)


def next_item():
    trainer = NextItemTrainer(SASRec(HISTORY, embedding_dim=4, num_layers=1))
    trainer.compile(optimizers.Adam(0.1))
    return trainer, data.next_items(rows(), HISTORY, batch_size=4, time=None)


def every_step():
    columns = {**rows(), "label": rows()["item"] % 2}
    model = StackedLSTMClassifier(HISTORY, embedding_dim=3, hidden_units=(4,))
    trainer = StepwiseTrainer(model)
    trainer.compile(optimizers.Adam(0.1))
    return trainer, data.next_labels(columns, HISTORY, batch_size=4, time=None)


class Copies(keras.callbacks.Callback):
    """The weights of the model inside after each epoch, and a loss that is least in the second."""

    def on_train_begin(self, logs=None):
        self.held = []

    def on_epoch_end(self, epoch, logs=None):
        self.held.append(self.model.model.get_weights())
        logs["made_up"] = [3.0, 1.0, 2.0, 2.5][epoch]


@pytest.mark.parametrize("make", [sampled_softmax, next_item, every_step])
def test_the_best_epoch_comes_back_and_is_saved(make, tmp_path):
    trainer, batches = make()
    copies = Copies()
    stop = keras.callbacks.EarlyStopping(
        "made_up", mode="min", patience=2, restore_best_weights=True
    )
    options = {"monitor": "made_up", "mode": "min", "save_best_only": True}
    saved = [
        keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", **options),
        keras.callbacks.ModelCheckpoint(
            tmp_path / "best.weights.h5", save_weights_only=True, **options
        ),
    ]
    callbacks = [copies, stop, *saved]
    trainer.fit(batches, epochs=9, verbose=0, shuffle=False, callbacks=callbacks)
    assert len(copies.held) == 4
    best = copies.held[1]
    assert any((a != b).any() for a, b in zip(best, copies.held[3], strict=True))
    loaded = keras.saving.load_model(tmp_path / "best.keras")
    again, _ = make()
    again.optimizer.build(again.trainable_variables)
    again.load_weights(tmp_path / "best.weights.h5")
    for model in (trainer.model, loaded.model, again.model):
        for ours, theirs in zip(model.get_weights(), best, strict=True):
            np.testing.assert_array_equal(ours, theirs)
