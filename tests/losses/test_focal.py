"""Focal loss: by hand, beside Keras, and with gradients at any logit."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrec.losses import FocalCrossentropy


def test_a_row_by_hand():
    # p = 0.9: (1 - 0.9)^2 * -log 0.9 for the label 1, 0.9^2 * -log 0.1 for the label 0.
    logit = np.log(9.0)
    found = FocalCrossentropy(2.0, reduction="none")(
        np.array([[1.0], [0.0]]), np.array([[logit], [logit]])
    )
    np.testing.assert_allclose(found, [0.01 * -np.log(0.9), 0.81 * -np.log(0.1)], rtol=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
def test_it_is_that_of_keras_and_for_0_the_cross_entropy(gamma):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(50, 1)) * 3, rng.integers(0, 2, (50, 1)).astype(float)
    expected = keras.losses.BinaryFocalCrossentropy(gamma=gamma, from_logits=True)
    found = float(FocalCrossentropy(gamma)(labels, logits))
    assert found == pytest.approx(float(expected(labels, logits)), rel=1e-5)
    if not gamma:
        plain = keras.losses.BinaryCrossentropy(from_logits=True)
        assert found == pytest.approx(float(plain(labels, logits)), rel=1e-6)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_gradients_are_finite_at_any_logit(gamma):
    logits = tf.constant([[-1e4], [-40.0], [0.0], [40.0], [1e4]])
    for label in (0.0, 1.0):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            loss = FocalCrossentropy(gamma)(tf.fill([5, 1], label), logits)
        gradient = tape.gradient(loss, logits).numpy()
        assert np.isfinite(gradient).all()
        wrong = gradient[0 if label else -1, 0]  # still pushed, by the mean of five rows
        assert wrong == pytest.approx(-0.2 if label else 0.2, rel=1e-4)


def test_config_and_bad_input():
    loss = FocalCrossentropy(3.0)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert isinstance(again, FocalCrossentropy) and again.gamma == 3.0
    for gamma in (-1.0, np.nan, "2"):
        with pytest.raises(ValueError, match="gamma must be a finite number of at least 0"):
            FocalCrossentropy(gamma)
