import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrec import data
from kerasrec.models import EmbeddingMLP, MatrixFactorization
from kerasrec.schema import Bag, Categorical, Schema
from kerasrec.training import SampledSoftmaxTrainer, fit_model

SCHEMA = Schema(user=Categorical("user_id", 5), item=Categorical("item_id", 9))
PAIRS = {
    "user_id": np.array([2, 3, 4, 2], np.int32),
    "item_id": np.array([2, 5, 8, 1], np.int32),
}


def drawn(trainer):
    """The items of the next call in training, told by the generator's state."""
    again = keras.random.SeedGenerator(0)
    again.state.assign(trainer.draws.state)
    return np.asarray(keras.random.randint((trainer.negatives,), 2, 9, dtype="int32", seed=again))


def test_logit_is_the_log_odds_in_the_softmax():
    model = MatrixFactorization(SCHEMA, embedding_dim=3, stddev=1.0)
    trainer = SampledSoftmaxTrainer(model, negatives=20)
    items = drawn(trainer)
    assert len(set(items)) > 3
    logits = np.asarray(trainer(PAIRS, training=True))
    assert logits.shape == (4,)
    for row in range(4):
        user = np.repeat(PAIRS["user_id"][row], 20)
        scores = np.asarray(model({"user_id": user, "item_id": items}))
        scores = scores[items != PAIRS["item_id"][row]]
        own = float(np.asarray(model({k: v[[row]] for k, v in PAIRS.items()}))[0])
        expected = own - np.log(np.exp(scores).sum())
        assert logits[row] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("weight", [None, np.float32([1.0, 0.0, 2.5, 0.5])], ids=str)
def test_a_step_is_one_on_the_softmax_by_hand(weight):
    """Loss and weights after a step, from the scores of each positive and of the drawn items."""
    trainer = SampledSoftmaxTrainer(
        MatrixFactorization(SCHEMA, embedding_dim=3, stddev=1.0), negatives=20
    )
    model = trainer.model
    items = np.tile(drawn(trainer), (4, 1))
    with tf.GradientTape() as tape:
        own = model(PAIRS)
        others = model({"user_id": PAIRS["user_id"], "item_id": items})
        real = np.float32(items != PAIRS["item_id"][:, None])
        total = tf.exp(own) + tf.reduce_sum(real * tf.exp(others), axis=1)
        losses = tf.math.log(total) - own
        loss = tf.reduce_mean(losses if weight is None else losses * weight)
    gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
    expected = [
        before.numpy() - 0.5 * tf.convert_to_tensor(gradient).numpy()
        for before, gradient in zip(model.trainable_variables, gradients, strict=True)
    ]
    trainer.compile(keras.optimizers.SGD(0.5))
    found = trainer.train_on_batch(PAIRS, sample_weight=weight)
    assert found == pytest.approx(float(loss), abs=1e-6)
    for ours, theirs in zip(model.trainable_variables, expected, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-6)


def test_drawn_items_stand_for_the_catalogue():
    model = MatrixFactorization(SCHEMA, embedding_dim=3, stddev=1.0)
    pairs = {name: ids[:3] for name, ids in PAIRS.items()}
    trainer = SampledSoftmaxTrainer(model, negatives=100_000, sampling_correction=True)
    logits = np.asarray(trainer(pairs))
    every = np.tile(np.arange(2, 9, dtype=np.int32), (3, 1))
    scores = np.asarray(model({"user_id": pairs["user_id"], "item_id": every}))
    own = every == pairs["item_id"][:, None]
    expected = scores[own] - np.log(np.where(own, 0, np.exp(scores)).sum(axis=1))
    np.testing.assert_allclose(logits, expected, atol=0.02)
    plain = SampledSoftmaxTrainer(model, negatives=100_000)
    difference = np.asarray(plain(pairs)) - logits
    np.testing.assert_allclose(difference, np.log(7 / 100_000), atol=1e-4)


def test_each_batch_draws_anew_and_the_seed_decides():
    def two(seed):
        keras.utils.set_random_seed(0)
        model = MatrixFactorization(SCHEMA, embedding_dim=3, stddev=1.0)
        trainer = SampledSoftmaxTrainer(model, negatives=6, seed=seed)
        return [np.asarray(trainer(PAIRS, training=True)) for _ in range(2)]

    first, second = two(0)
    assert not np.allclose(first, second)
    np.testing.assert_array_equal(two(0)[1], second)
    assert not np.allclose(two(1)[0], first)


def test_validation_draws_the_same_items_whatever_was_trained_before():
    model = MatrixFactorization(SCHEMA, embedding_dim=3, stddev=1.0)
    trainer = SampledSoftmaxTrainer(model, negatives=6)
    before = np.asarray(trainer(PAIRS))
    trainer(PAIRS, training=True)
    np.testing.assert_array_equal(np.asarray(trainer(PAIRS)), before)
    other = SampledSoftmaxTrainer(model, negatives=6, seed=1)
    assert not np.allclose(np.asarray(other(PAIRS)), before)


def test_only_the_positive_was_drawn():
    schema = Schema(user=Categorical("user_id", 5), item=Categorical("item_id", 3))
    trainer = SampledSoftmaxTrainer(MatrixFactorization(schema, embedding_dim=2), negatives=4)
    trainer.compile("sgd")
    pair = {"user_id": np.array([2]), "item_id": np.array([2])}  # the only real item
    assert np.isfinite(np.asarray(trainer(pair))).all()
    assert trainer.train_on_batch(pair) == pytest.approx(0, abs=1e-6)


def positives(users, rng):
    """Each user likes the items of the same remainder by 3."""
    user = np.repeat(np.arange(2, 2 + users), 4)
    item = user % 3 + 3 * rng.integers(0, 10, len(user))
    return {"user_id": user.astype(np.int32), "item_id": (item + 2).astype(np.int32)}


def test_keras_rs_does_not_mask_accidental_hits():
    """The reason for our own mask. Use the layer of keras-rs once this test fails."""
    import keras_rs

    layer = keras_rs.layers.RemoveAccidentalHits()
    scores = np.float32([[1, 2, 3]])
    masked = layer(scores, np.float32([[1, 0, 0]]), np.int32([7, 8, 7]))
    np.testing.assert_array_equal(masked, scores)  # 1e-40 is added to the 3


@pytest.mark.parametrize("jit_compile", [False, True])
def test_stock_fit_trains_the_model_inside(jit_compile):
    rng = np.random.default_rng(0)
    schema = Schema(user=Categorical("user_id", 62), item=Categorical("item_id", 32))
    model = MatrixFactorization(schema, embedding_dim=8)
    trainer = SampledSoftmaxTrainer(model, negatives=16)
    trainer.compile(keras.optimizers.Adam(0.05), jit_compile=jit_compile)
    pairs = positives(60, rng)
    losses = trainer.fit(pairs, batch_size=60, epochs=30, verbose=0).history["loss"]
    assert losses[-1] < 0.75 * losses[0]
    everything = np.tile(np.arange(2, 32, dtype=np.int32), (60, 1))
    users = np.arange(2, 62, dtype=np.int32)
    scores = np.asarray(model({"user_id": users, "item_id": everything}))
    liked = (everything - 2) % 3 == users[:, None] % 3
    assert scores[liked].mean() > scores[~liked].mean() + 1


def test_two_replicas_train():
    reduction = tf.distribute.ReductionToOneDevice()
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], cross_device_ops=reduction)
    with strategy.scope():
        trainer = SampledSoftmaxTrainer(MatrixFactorization(SCHEMA, embedding_dim=3), negatives=4)
        trainer.compile("sgd")
    batches = tf.data.Dataset.from_tensor_slices(PAIRS).batch(4)
    history = trainer.fit(batches, epochs=2, verbose=0).history["loss"]
    assert 0.5 < history[0] < 3  # log(5) = 1.6 for scores that say nothing


def test_saved_and_loaded(tmp_path):
    model = MatrixFactorization(SCHEMA, embedding_dim=3)
    trainer = SampledSoftmaxTrainer(model, negatives=4, sampling_correction=True, seed=3)
    trainer.compile("sgd")
    trainer.save(tmp_path / "trainer.keras")
    loaded = keras.saving.load_model(tmp_path / "trainer.keras")
    assert (loaded.negatives, loaded.sampling_correction, loaded.seed) == (4, True, 3)
    np.testing.assert_array_equal(np.asarray(loaded.model(PAIRS)), np.asarray(trainer.model(PAIRS)))


LABELLED = {
    "user_id": np.array([2, 3, 4, 2], np.int32),
    "item_id": np.array([2, 5, 8, 3], np.int32),
    "label": np.float32([5, 1, 4, 2]),
}


def test_its_batches_are_the_positives_without_labels():
    schema = Schema(user=Categorical("user_id", 5), item=Categorical("item_id", 9), positive=">=4")
    trainer = SampledSoftmaxTrainer(MatrixFactorization(schema, embedding_dim=2))
    by_hand = data.pointwise(data.positives(LABELLED, schema), schema, batch_size=1, seed=3)
    taken = trainer.batches(LABELLED, batch_size=1, seed=3)
    for _ in range(3):  # each pass in its own order
        expected = [x["item_id"].numpy()[0] for x, _ in by_hand]
        assert [x["item_id"].numpy()[0] for x in taken] == expected
    valid = trainer.batches(LABELLED, batch_size=2, seen=LABELLED)
    for _ in range(2):
        assert [x["item_id"].numpy().tolist() for x in valid] == [[2, 8]]


def test_batches_of_weights_without_labels():
    columns = {**LABELLED, "w": np.float32([1, 2, 0, 3])}
    batches = data.pointwise(columns, SCHEMA, batch_size=3, weight="w", shuffle=False)
    trainer = SampledSoftmaxTrainer(MatrixFactorization(SCHEMA, embedding_dim=2, stddev=1.0))
    trainer.compile("sgd")
    unlabelled = data.without_labels(batches)
    assert unlabelled.go_to_pass == batches.go_to_pass
    found = trainer.evaluate(unlabelled, verbose=0)
    pairs = {name: columns[name] for name in ("user_id", "item_id")}
    losses = np.log1p(np.exp(-np.asarray(trainer(pairs))))
    assert found == pytest.approx(np.mean(losses * columns["w"]), rel=1e-5)
    assert trainer.fit(unlabelled, verbose=0).epoch == [0]


def test_labels_and_losses_are_refused():
    trainer = SampledSoftmaxTrainer(MatrixFactorization(SCHEMA, embedding_dim=2))
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    with pytest.raises(ValueError, match=r"own loss; received loss=<Loss.*: compile\(optimizer"):
        trainer.compile("sgd", loss)
    trainer.compile("sgd")
    batches = data.pointwise(LABELLED, SCHEMA, batch_size=2)
    for rows in ((PAIRS, np.ones(4)), (batches,)):
        with pytest.raises(ValueError, match="labels would be ignored; received some. Fit it on"):
            trainer.fit(*rows, verbose=0)


class Tagged(MatrixFactorization):
    """A retriever that asks for all features."""

    @classmethod
    def narrow(cls, schema):
        return schema


def test_what_is_refused():
    with pytest.raises(ValueError, match="query_embedding.*received EmbeddingMLP.*shared_neg"):
        SampledSoftmaxTrainer(EmbeddingMLP(SCHEMA))
    tagged = Schema(
        user=Categorical("user_id", 5), item=[Categorical("item_id", 9), Bag("tags", 4, 2)]
    )
    with pytest.raises(ValueError, match=r"uses \['item_id', 'tags'\].*items="):
        SampledSoftmaxTrainer(Tagged(tagged))
    for wrong in (0, 2.5, True):
        with pytest.raises(ValueError, match=f"negatives must be an integer.*received {wrong}"):
            SampledSoftmaxTrainer(MatrixFactorization(SCHEMA), negatives=wrong)


def test_a_long_fit_of_the_trainer_runs_under_xla_as_that_of_a_model_does(monkeypatch):
    monkeypatch.setattr(fit_model, "LONG_FIT", 4)
    trainer = SampledSoftmaxTrainer(MatrixFactorization(SCHEMA, embedding_dim=2), negatives=4)
    trainer.compile("adam")
    seen = []
    look = keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: seen.append((trainer.steps_per_execution, trainer.jit_compile))
    )
    for epochs in (3, 4):
        trainer.fit(PAIRS, batch_size=4, epochs=epochs, verbose=0, callbacks=[look])
    assert seen == [(1, False), (32, True)]
