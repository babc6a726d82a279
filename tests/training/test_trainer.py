"""Callbacks of Keras on trainers: the weights of the model inside are the ones that count."""

import keras
import numpy as np
import pytest

from kerasrec import data, optimizers
from kerasrec.data.encoding.columns import History, SideColumn
from kerasrec.models import MatrixFactorization, SASRec, StackedLSTMClassifier
from kerasrec.schema import Categorical, IdSequence, Schema
from kerasrec.training import NextItemTrainer, SampledSoftmaxTrainer, StepwiseTrainer, Trainer
from kerasrec.training.trainer import rows_after

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
    return trainer, trainer.batches(rows(), batch_size=10)


def next_item():
    trainer = NextItemTrainer(SASRec(HISTORY, embedding_dim=4, num_layers=1))
    return trainer, trainer.batches(rows(), batch_size=4, time=None)


def stepwise():
    columns = {**rows(), "label": rows()["item"] % 2}
    model = StackedLSTMClassifier(HISTORY, embedding_dim=3, hidden_units=(4,))
    trainer = StepwiseTrainer(model)
    return trainer, trainer.batches(columns, batch_size=4, time=None)


def compiled(make):
    trainer, batches = make()
    trainer.compile(optimizers.Adam(0.1))
    return trainer, batches


MAKERS = [sampled_softmax, next_item, stepwise]


class Copies(keras.callbacks.Callback):
    """The weights of the model inside after each epoch, and a loss that is least in the second."""

    def on_train_begin(self, logs=None):
        self.held = []

    def on_epoch_end(self, epoch, logs=None):
        self.held.append(self.model.model.get_weights())
        logs["made_up"] = [3.0, 1.0, 2.0, 2.5][epoch]


@pytest.mark.parametrize("make", MAKERS)
def test_the_best_epoch_comes_back_and_is_saved(make, tmp_path):
    trainer, batches = compiled(make)
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
    trainer.fit(batches, epochs=9, verbose=0, callbacks=callbacks)
    assert len(copies.held) == 4
    best = copies.held[1]
    assert any((a != b).any() for a, b in zip(best, copies.held[3], strict=True))
    loaded = keras.saving.load_model(tmp_path / "best.keras")
    again, _ = compiled(make)
    again.optimizer.build(again.trainable_variables)
    again.load_weights(tmp_path / "best.weights.h5")
    for model in (trainer.model, loaded.model, again.model):
        for ours, theirs in zip(model.get_weights(), best, strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("make", MAKERS)
def test_a_trainer_has_its_own_loss(make):
    trainer, _ = make()
    assert isinstance(trainer, Trainer)
    with pytest.raises(ValueError, match=f"^{type(trainer).__name__}: .* own loss; .*loss='mse'"):
        trainer.compile("sgd", "mse")


def read(batches):
    """All arrays of two passes over a dataset."""
    return [
        array.numpy() for _ in range(2) for batch in batches for array in keras.tree.flatten(batch)
    ]


def same(ours, theirs):
    for one, two in zip(read(ours), read(theirs), strict=True):
        np.testing.assert_array_equal(one, two)


def test_by_hand_the_batches_are_the_same():
    """Those of `SampledSoftmaxTrainer` are in its own test."""
    options = {"batch_size": 4, "time": None}
    columns = {**rows(), "label": rows()["item"] % 2}
    train = {name: values[:30] for name, values in columns.items()}
    held_out = {name: values[30:] for name, values in columns.items()}
    known = np.isin(train["user"], held_out["user"])
    after = {n: np.concatenate([train[n][known], held_out[n]]) for n in train}
    after["w"] = np.repeat([0.0, 1.0], [known.sum(), 10])

    trainer, _ = next_item()
    made = data.next_items(train, HISTORY, windows="all", seed=3, **options)
    same(trainer.batches(train, seed=3, **options), made)
    made = data.next_items(after, HISTORY, targets="last", shuffle=False, **options)
    same(trainer.batches(held_out, seen=train, **options), made)

    trainer, _ = stepwise()
    made = data.next_labels(train, HISTORY, windows="all", seed=3, **options)
    same(trainer.batches(train, seed=3, **options), made)
    made = data.next_labels(after, HISTORY, weight="w", shuffle=False, **options)
    same(trainer.batches(held_out, seen=train, **options), made)


def test_rows_after_earlier_ones_keep_the_features_of_users_and_items():
    ages = np.array([0.0, 0.0, 20.0, 30.0, 40.0])

    def rows(users):
        users = np.array(users)
        past = History(users, users * 0, users * 0, 3)
        return {"user": users, "age": SideColumn(ages, users), "history": past}

    joined = rows_after(rows([2, 3, 4]), rows([4, 3]), "user")
    assert set(joined) == {"user", "age"}
    assert joined["user"].tolist() == [3, 4, 4, 3]
    assert joined["age"].tolist() == [30.0, 40.0, 40.0, 30.0]
