import keras
import numpy as np
import pytest

from kerasrec.models import MatrixFactorization
from kerasrec.optimizers import Adam, adam
from kerasrec.schema import Categorical, Schema

# Weights of size 0.1 after three epochs. Some gradients are as small as the default epsilon, which
# the steps made up for take as fading; with a smaller one what is left is float32 rounding.
TOLERANCES = {1e-10: 1e-5, 1e-7: 5e-5}


class Weights(keras.callbacks.Callback):
    """What a callback such as EarlyStopping would keep at the end of each epoch."""

    def on_train_begin(self, logs=None):
        self.kept = []

    def on_epoch_end(self, epoch, logs=None):
        self.kept.append(self.model.get_weights())


def fit(optimizer):
    """A short training in which most users rest for most steps, and its weights by epoch."""
    keras.utils.set_random_seed(0)
    schema = Schema(user=Categorical("user_id", 40), item=Categorical("item_id", 30))
    model = MatrixFactorization(schema, embedding_dim=3)
    model.compile(optimizer, "mse")
    rng = np.random.default_rng(0)
    columns = {"user_id": rng.integers(2, 40, 60), "item_id": rng.integers(2, 30, 60)}
    labels = rng.normal(size=60).astype("float32")
    weights = Weights()
    history = model.fit(
        columns,
        labels,
        batch_size=4,
        epochs=3,
        shuffle=False,
        validation_data=(columns, labels),
        callbacks=[weights],
        verbose=0,
    )
    return history.history["val_loss"], weights.kept, model


@pytest.mark.parametrize(("epsilon", "tolerance"), TOLERANCES.items())
def test_validation_and_callbacks_see_rows_as_the_dense_step_has_them(
    monkeypatch, epsilon, tolerance
):
    """Small tables take the dense step; the choice by size must not show."""
    losses, by_epoch, _ = fit(Adam(0.01, epsilon=epsilon))
    monkeypatch.setattr(adam, "SMALL_TABLE", 0)
    our_losses, ours_by_epoch, _ = fit(Adam(0.01, epsilon=epsilon))
    np.testing.assert_allclose(our_losses, losses, rtol=tolerance)
    for ours, theirs in zip(ours_by_epoch, by_epoch, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(one, other, atol=tolerance)


@pytest.mark.parametrize("then", ["evaluate", "predict"])
def test_rows_of_an_interrupted_training_are_up_to_date_when_used(monkeypatch, then):
    """Even where another optimizer has been compiled since."""
    monkeypatch.setattr(adam, "SMALL_TABLE", 0)
    _, _, model = fit(Adam(0.01))
    first, second = ({name: np.array([i]) for name in ("user_id", "item_id")} for i in (2, 3))
    for x in (first, second):  # the row of the first step rests in the second; no fit ends here
        model.train_on_batch(x, np.array([1.0]))
    model.compile("sgd", "mse")
    before = np.array(model.user_vectors.embeddings)
    if then == "predict":
        model.predict(first, verbose=0)
    else:
        model.evaluate(first, np.array([1.0]), verbose=0)
    after = np.array(model.user_vectors.embeddings)
    assert (after[2] != before[2]).any()
    np.testing.assert_array_equal(after[3], before[3])
