import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrec.models import RecVAE
from kerasrec.models.autoencoders.base import log_density, through
from kerasrec.schema import IdSequence
from kerasrec.testing import CHECKS, ModelCase, tiny_schema
from kerasrec.training import AutoencoderTrainer

SIZES = {"embedding_dim": 3, "hidden_units": 5}
KWARGS = {**SIZES, "dropout": 0.0}
ENCODER = (
    (17 + 2) * 5 + 5  # first layer
    + 4 * (5 * 5 + 5)  # further layers
    + 5 * 2 * 5  # normalisation
    + 2 * (5 * 3 + 3)  # mean and logarithm of the variance
)  # fmt: skip
# The encoder, its copy of the epoch before, the rows of the items, and the number of steps.
WEIGHTS = 2 * ENCODER + (17 + 2) * (3 + 1) + 1
ROWS = (11 + 2 + 1) + 3 * 11  # where rows start, and the three items of each user
CASE = ModelCase(RecVAE, num_params=WEIGHTS + ROWS, kwargs=KWARGS)
HISTORY = IdSequence("history", of="item_id", max_length=4)
OF_HISTORIES = ModelCase(
    RecVAE,
    num_params=WEIGHTS,
    schema=dataclasses.replace(tiny_schema(), context=(HISTORY,)),
    kwargs=KWARGS,
)
ITEMS = np.array([[3, 9, 5, 0], [0, 7, 0, 4]], "int32")


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(check):
    check(CASE)


@pytest.mark.parametrize(
    "check",
    [check for check in CHECKS if check.__name__ not in ("check_two_replicas", "check_learns")],
    ids=lambda check: check.__name__,
)
def test_contract_with_histories(check):
    check(OF_HISTORIES)


def swish(x):
    return x / (1 + np.exp(-x))


def test_score_is_the_equation():
    model = RecVAE(tiny_schema(), **SIZES)
    model.keep_rows({"user_id": np.array([2, 2]), "item_id": np.array([3, 9])})
    profile = np.zeros(19)
    profile[[3, 9]] = 1 / np.sqrt(2)
    encoder = model.encoder

    def norm(layer, x):
        scale, shift = layer.get_weights()
        return (x - x.mean()) / np.sqrt(x.var() + 0.1) * scale + shift

    read = profile @ np.asarray(encoder.vectors) + np.asarray(encoder.bias)
    hidden = [norm(encoder.norms[0], swish(read))]
    for layer, after in zip(encoder.hidden, encoder.norms[1:], strict=True):
        kernel, bias = layer.get_weights()
        hidden.append(norm(after, swish(hidden[-1] @ kernel + bias + sum(hidden))))
    kernel, bias = encoder.mean.get_weights()
    z = hidden[-1] @ kernel + bias
    bias = np.asarray(model.item_bias.embeddings).ravel()
    expected = z @ np.asarray(model.item_vectors.embeddings).T + bias
    found = model({"user_id": np.array([2]), "item_id": np.arange(19)[None]})
    np.testing.assert_allclose(np.asarray(found)[0], expected, atol=1e-5)


def gradients(model):
    with tf.GradientTape() as tape:
        logits, penalty = model.reconstruct(ITEMS, training=True)
        loss = tf.reduce_sum(logits[:, 2:] ** 2) + tf.reduce_sum(penalty)
    found = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
    return [bool(np.any(np.asarray(tf.convert_to_tensor(one)))) for one in found]


def test_three_steps_train_the_encoder_and_the_next_one_the_decoder():
    model = RecVAE(tiny_schema(), **SIZES)
    model.set_weights([w + 0.1 if w.dtype == np.float32 else w for w in model.get_weights()])
    decoder = ["/item_" in weight.path for weight in model.trainable_weights]
    encoder = [not one for one in decoder]
    assert sum(decoder) == 2
    for expected in (encoder, encoder, encoder, decoder, encoder):
        assert gradients(model) == expected
    assert int(model.steps) == 5


def test_items_are_dropped_where_the_encoder_is_trained(monkeypatch):
    noise = "kerasrec.models.autoencoders.rec_vae.draw_normal"
    monkeypatch.setattr(noise, lambda shape, seed: tf.zeros(shape))
    model = RecVAE(tiny_schema(), **SIZES)
    items = np.arange(2, 18)[None]
    whole = np.asarray(model.reconstruct(items)[0])
    off = [
        np.abs(np.asarray(model.reconstruct(items, training=True)[0]) - whole)[:, 2:].max()
        for _ in range(8)
    ]
    assert [one < 1e-5 for one in off] == [False, False, False, True] * 2


def test_divergence_by_hand(monkeypatch):
    """Before the first update the part of the epoch before is q itself."""
    noise = "kerasrec.models.autoencoders.rec_vae.draw_normal"
    monkeypatch.setattr(noise, lambda shape, seed: tf.ones(shape))
    model = RecVAE(tiny_schema(), **KWARGS, gamma=0.5)
    weights = np.float32([[1, 1, 1, 0]]) / np.sqrt(np.float32(3))
    mean, log_variance = (np.asarray(one)[0] for one in model.encoder(ITEMS[:1], weights))
    z = mean + np.exp(log_variance / 2)

    def density(m, v):
        return np.exp(-((z - m) ** 2) / 2 / v) / np.sqrt(2 * np.pi * v)

    own = density(mean, np.exp(log_variance))
    prior = 0.15 * density(0, 1) + 0.75 * own + 0.1 * density(0, np.exp(10))
    found = np.asarray(model.reconstruct(ITEMS[:1], training=True)[1])
    assert found == pytest.approx([0.5 * 3 * np.log(own / prior).sum()], rel=1e-4)


def test_the_prior_is_that_of_the_epoch_before():
    columns = {"user_id": np.repeat(np.arange(2, 8), 3), "item_id": np.arange(18) % 17 + 2}
    trainer = AutoencoderTrainer(RecVAE(tiny_schema(), **SIZES))
    model = trainer.model
    kept = []

    class Watch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            pairs = zip(model.encoder.weights, model.prior_encoder.weights, strict=True)
            kept.append(all(np.array_equal(one, two) for one, two in pairs))

        def on_train_batch_end(self, batch, logs=None):
            kept.append(np.array_equal(model.encoder.vectors, model.prior_encoder.vectors))

    trainer.compile("adam")
    rows = trainer.batches(columns, batch_size=3)
    trainer.fit(rows, epochs=2, callbacks=[Watch()], verbose=0)
    assert kept == [False, False, True] * 2
    assert not {*map(id, model.prior_encoder.weights)} & {*map(id, model.trainable_weights)}


def test_density_and_gate_by_hand():
    found = log_density(np.float32([1.0]), np.float32([0.0]), np.log(np.float32([4.0])))
    assert np.asarray(found).tolist() == pytest.approx([-np.log(2 * np.sqrt(2 * np.pi)) - 1 / 8])
    value = tf.constant([2.0, 3.0])
    for share in (0.0, 1.0):
        with tf.GradientTape() as tape:
            tape.watch(value)
            passed = through(value, share)
        assert passed.numpy().tolist() == [2, 3]
        assert tape.gradient(passed, value).numpy().tolist() == [share, share]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_units": 0}, "hidden_units must be an integer of at least 1"),
        ({"embedding_dim": 0}, "embedding_dim must be an integer of at least 1"),
        ({"dropout": 1}, "dropout must be a number from 0 to less than 1"),
        ({"gamma": -1}, "gamma must be a finite number of at least 0"),
        ({"prior_weights": (0.5, 0.5)}, "prior_weights must be three numbers that add up to 1"),
        ({"prior_weights": (1, 0, 0)}, "each of prior_weights must be a finite number above 0"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=f"RecVAE: {message}"):
        RecVAE(tiny_schema(), **options)
