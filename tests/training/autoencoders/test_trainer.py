"""The loss by hand, what is drawn, and trainings that are continued or shared by replicas."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrec.callbacks import ExactResume
from kerasrec.models import EASE, MatrixFactorization, MultVAE
from kerasrec.schema import FIRST_ID, Categorical, Schema
from kerasrec.training import AutoencoderTrainer
from kerasrec.training.autoencoders.trainer import multinomial_loss

SCHEMA = Schema(user=Categorical("user_id", 9), item=Categorical("item_id", 12))
SIZES = {"embedding_dim": 3, "hidden_units": (5,)}
RNG = np.random.default_rng(0)
COLUMNS = {
    "user_id": np.repeat(np.arange(2, 9), 4).astype("int32"),
    "item_id": RNG.integers(2, 12, 28).astype("int32"),
}


def trainer_of(anneal_steps=0, **options):
    keras.utils.set_random_seed(0)
    return AutoencoderTrainer(
        MultVAE(SCHEMA, **{**SIZES, "dropout": 0.0, **options}), anneal_steps=anneal_steps
    )


def test_loss_is_the_multinomial_one():
    logits = RNG.normal(size=(2, 12)).astype("float32")
    logits[:, :FIRST_ID] = -1e9
    items = np.array([[3, 0, 7], [0, 0, 0]])
    exp = np.exp(logits[:, FIRST_ID:].astype("float64"))
    log_shares = np.log(exp / exp.sum(axis=1, keepdims=True))
    found = np.asarray(multinomial_loss(logits, items))
    assert found == pytest.approx([-log_shares[0, 1] - log_shares[0, 5], 0.0], rel=1e-5)


def test_validation_predicts_other_items_without_noise_and_penalty():
    trainer = trainer_of(dropout=0.5, beta=9.0)
    batch = {"items": np.array([[3, 4, 0]]), "targets": np.array([[7]])}
    once = np.asarray(trainer(batch))
    assert np.asarray(trainer(batch)).tolist() == once.tolist()
    logits, _ = trainer.model.reconstruct(batch["items"])
    expected = np.asarray(multinomial_loss(logits, batch["targets"]))
    np.testing.assert_allclose(once, expected)
    assert not np.allclose(np.asarray(trainer(batch, training=True)), once, rtol=1e-2)


def test_the_penalty_rises_by_steps_that_are_saved(tmp_path):
    trainer = trainer_of(anneal_steps=4, beta=1.0)
    items = np.array([[3, 4, 0]])
    # The noise of z is the same in all calls, so that the penalty alone changes.
    state = np.asarray(trainer.model.noise.state)
    losses = []
    for _ in range(6):
        trainer.model.noise.state.assign(state)
        losses.append(float(trainer({"items": items}, training=True)[0]))
    trainer.model.noise.state.assign(state)
    penalty = float(trainer.model.reconstruct(items, training=True)[1][0])
    rises = np.array(losses) - losses[0]
    np.testing.assert_allclose(rises, penalty * np.array([0, 0.25, 0.5, 0.75, 1, 1]), atol=1e-4)
    assert penalty > 0 and float(trainer.steps) == 6
    trainer.save(tmp_path / "trainer.keras")
    again = keras.models.load_model(tmp_path / "trainer.keras")
    assert float(again.steps) == 6 and again.anneal_steps == 4


def test_batches_let_the_model_know_its_users():
    trainer = trainer_of()
    asked = {"user_id": np.array([2, 3]), "item_id": np.array([4, 4])}
    one, two = np.asarray(trainer.model(asked))
    assert one == two  # nobody is known
    trainer.batches(COLUMNS, batch_size=4)
    one, two = np.asarray(trainer.model(asked))
    assert one != two


@pytest.mark.parametrize("jit_compile", [False, True])
def test_it_learns_groups_of_items(jit_compile):
    users = np.arange(40)
    pairs = [(user, item) for user in users for item in range(20) if item % 2 == user % 2]
    pairs = np.array([p for p in pairs if (p[0] + p[1] // 2) % 5])  # two in ten are held out
    schema = Schema(user=Categorical("user_id", 42), item=Categorical("item_id", 22))
    columns = {"user_id": pairs[:, 0] + FIRST_ID, "item_id": pairs[:, 1] + FIRST_ID}
    model = MultVAE(schema, embedding_dim=4, hidden_units=(16,))
    trainer = AutoencoderTrainer(model, anneal_steps=100)
    trainer.compile(keras.optimizers.Adam(0.01), jit_compile=jit_compile)
    history = trainer.fit(trainer.batches(columns, batch_size=10), epochs=30, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    every = np.broadcast_to(np.arange(20) + FIRST_ID, (40, 20))
    scores = np.asarray(model({"user_id": users + FIRST_ID, "item_id": every}))
    own = np.arange(20) % 2 == users[:, None] % 2
    assert np.where(own, scores, np.inf).min() > np.where(own, -np.inf, scores).max() - 5
    assert (np.where(own, scores, np.inf).min(1) > np.where(own, -np.inf, scores).max(1)).all()


def fit(path=None, epochs=4, keep=False):
    trainer = trainer_of(anneal_steps=10, dropout=0.5)
    trainer.compile(keras.optimizers.Adam(0.01))
    batches = trainer.batches(COLUMNS, batch_size=3)
    callbacks = [] if path is None else [ExactResume(path, batches, keep=keep)]
    losses = trainer.fit(batches, epochs=epochs, callbacks=callbacks, verbose=0).history["loss"]
    return trainer, losses


def test_a_training_that_is_continued_is_the_same(tmp_path):
    """With its dropout, its noise and the share of the penalty."""
    whole, losses = fit()
    fit(tmp_path / "state.npz", epochs=2, keep=True)
    again, rest = fit(tmp_path / "state.npz")
    assert rest == losses[2:] and float(again.steps) == float(whole.steps) == 12
    for ours, theirs in zip(again.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_two_replicas_share_the_users(monkeypatch):
    # Replicas draw other noise, so there is none.
    noise = "kerasrec.models.autoencoders.mult_vae.draw_normal"
    monkeypatch.setattr(noise, lambda shape, seed: tf.ones(shape))
    devices = [device.name for device in tf.config.list_logical_devices("CPU")][:2]
    strategy = tf.distribute.MirroredStrategy(
        devices, cross_device_ops=tf.distribute.ReductionToOneDevice()
    )
    one = trainer_of(anneal_steps=10)
    with strategy.scope():
        two = trainer_of(anneal_steps=10)
    losses = []
    for trainer in (one, two):
        with trainer.distribute_strategy.scope():
            trainer.compile(keras.optimizers.SGD(0.01))
        rows = trainer.batches(COLUMNS, batch_size=3)
        losses.append(trainer.fit(rows, epochs=2, verbose=0).history["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert np.array([one.steps.numpy(), two.steps.numpy()]).tolist() == [6, 6]
    for ours, theirs in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_allclose(theirs, ours, atol=1e-5)


def test_bad_input():
    for model in (MatrixFactorization(SCHEMA, embedding_dim=2), EASE(SCHEMA)):
        with pytest.raises(ValueError, match="AutoencoderTrainer: expected a model with reconst"):
            AutoencoderTrainer(model)
    with pytest.raises(ValueError, match="AutoencoderTrainer: anneal_steps must be an integer"):
        trainer_of(anneal_steps=-1)
    trainer = trainer_of()
    with pytest.raises(ValueError, match="the trainer has its own loss"):
        trainer.compile("adam", "mse")
    trainer.compile("adam", run_eagerly=True)
    with pytest.raises(ValueError, match="labels and sample weights would be ignored"):
        trainer.fit({"items": np.array([[3, 4]])}, np.ones(1), verbose=0)
