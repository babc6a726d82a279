"""Two replicas are one device, also where they have parts of different sizes of a batch."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec import data, optimizers
from kerasrec.models import MatrixFactorization, SASRec, StackedLSTMClassifier
from kerasrec.retrieval import NextItemTrainer
from kerasrec.schema import Categorical, IdSequence, Schema
from kerasrec.training import StepwiseTrainer
from kerasrec.training.replicas import loss_with_share, mean_over_replicas, with_share

SCHEMA = Schema(user=Categorical("user", 12), item=Categorical("item", 30))
HISTORY = Schema(
    user=[Categorical("user", 12), IdSequence("history", of="item", max_length=5)],
    item=Categorical("item", 30),
)


def mirrored():
    return tf.distribute.MirroredStrategy(
        ["CPU:0", "CPU:1"], cross_device_ops=tf.distribute.ReductionToOneDevice()
    )


def rows(count):
    rng = np.random.default_rng(1)
    return {
        "user": rng.integers(2, 12, count).astype("int32"),
        "item": rng.integers(2, 30, count).astype("int32"),
        "label": rng.integers(0, 2, count).astype("float32"),
        "w": rng.random(count).astype("float32") * 3,
    }


def trained(make, replicated, *callbacks):
    """Losses and weights after two epochs of what `make` returns: trainer, loss, batches."""
    keras.utils.set_random_seed(0)
    strategy = mirrored() if replicated else tf.distribute.get_strategy()
    with strategy.scope():
        trainer, loss, batches = make()
        options = {} if loss is None else {"loss": loss, "weighted_metrics": ["mae"]}
        trainer.compile(optimizers.SGD(0.5), **options)
    options = {"epochs": 2, "verbose": 0, "shuffle": False, "callbacks": list(callbacks)}
    history = trainer.fit(batches, **options).history
    return history, trainer.get_weights()


def same(make, atol=2e-6):
    (history, weights), (expected_history, expected) = trained(make, True), trained(make, False)
    for ours, theirs in zip(weights, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol)
    for name, values in expected_history.items():
        np.testing.assert_allclose(history[name], values, rtol=1e-5, err_msg=name)


class EachStep(keras.callbacks.Callback):
    """Keep the weights after every step; then go on from those in `start`, where given."""

    def __init__(self, start=()):
        super().__init__()
        self.start = start
        self.weights = []

    def on_train_batch_end(self, batch, logs=None):
        self.weights.append(self.model.get_weights())
        if self.start:
            self.model.set_weights(self.start[len(self.weights) - 1])


def same_steps(make, atol=2e-6):
    """Compare every step from the same weights: for what magnifies rounding from step to step."""
    one = EachStep()
    expected_history, _ = trained(make, False, one)
    two = EachStep(start=one.weights)
    history, _ = trained(make, True, two)
    assert len(two.weights) == len(one.weights) > 2
    for step, (found, expected) in enumerate(zip(two.weights, one.weights, strict=True)):
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol, err_msg=f"step {step}")
    for name, values in expected_history.items():
        np.testing.assert_allclose(history[name], values, rtol=1e-5, err_msg=name)


LOSS = keras.losses.BinaryCrossentropy(from_logits=True)


@pytest.mark.parametrize(("count", "batch"), [(51, 10), (30, 7)])
def test_odd_batches_and_empty_replicas(count, batch):
    def make():
        model = MatrixFactorization(SCHEMA, embedding_dim=3, l2=0.01)
        return model, LOSS, data.pointwise(rows(count), SCHEMA, batch_size=batch)

    same(make)


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "mean_with_sample_weight", "sum"])
def test_sample_weights_under_every_reduction(reduction):
    def make():
        loss = keras.losses.BinaryCrossentropy(from_logits=True, reduction=reduction)
        model = MatrixFactorization(SCHEMA, embedding_dim=3)
        return model, loss, data.pointwise(rows(23), SCHEMA, batch_size=5, weight="w")

    same(make)


def test_groups_that_cannot_be_shared_equally():
    def make():
        model = MatrixFactorization(SCHEMA, embedding_dim=3)
        positives = {**rows(23), "label": np.ones(23, "float32")}
        batches = data.with_negatives(positives, SCHEMA, batch_size=20, negatives=3)
        return model, LOSS, batches

    same(make)


@pytest.mark.slow
def test_a_classifier_at_every_step():
    def make():
        columns = rows(60)
        columns["label"] = columns["label"].astype("int32")
        model = StackedLSTMClassifier(HISTORY, embedding_dim=3, hidden_units=(4,), dropout=0.0)
        batches = data.next_labels(columns, HISTORY, batch_size=3, time=None)
        return StepwiseTrainer(model), None, batches

    same(make)


@pytest.mark.slow
def test_next_items_of_histories_that_cannot_be_shared_equally():
    def make():
        model = SASRec(HISTORY, embedding_dim=4, num_layers=1, dropout=0.0)
        batches = data.next_items(rows(60), HISTORY, batch_size=3, time=None)
        return NextItemTrainer(model), None, batches

    # Layer norms of nearly zero rows magnify: on one device, starting weights moved by one unit
    # in the last place (1e-7) end 9e-4 apart after these six steps.
    same_steps(make)


@functools.cache
def step_on_two():
    """One step on parts of any size: gradients of both ways to a loss, and the loss shown."""
    strategy = mirrored()

    @tf.function
    def step(first, second):
        def on_replica():
            number = tf.distribute.get_replica_context().replica_id_in_sync_group
            part = first if number == 0 else second
            slope = tf.constant(2.0)
            with tf.GradientTape(persistent=True) as tape:
                tape.watch(slope)
                rows = tf.cast(tf.size(part), "float32")
                mean = tf.math.divide_no_nan(tf.reduce_sum((slope * part) ** 2), rows) / 2
                mean = with_share(mean, rows)
                own = mean_over_replicas(tf.reduce_sum((slope * part) ** 2), rows)
            return tape.gradient(mean, slope), tape.gradient(own, slope), own

        found = strategy.run(on_replica)
        return [strategy.reduce("SUM", one, axis=None) for one in found]

    shape = tf.TensorSpec((None,))
    return step.get_concrete_function(shape, shape)


@settings(max_examples=50)
@given(st.integers(0, 6), st.integers(0, 6), st.integers(0, 2**31))
def test_gradients_add_up_to_those_of_the_whole_batch(first, second, seed):
    """Whatever the parts are, one of them may be empty; the loss shown is the mean."""
    values = np.random.default_rng(seed).normal(size=first + second).astype("float32")
    found = step_on_two()(tf.constant(values[:first]), tf.constant(values[first:]))
    mean = float(np.mean(values.astype("float64") ** 2)) if len(values) else 0.0
    np.testing.assert_allclose(found, [4 * mean, 4 * mean, 4 * mean], rtol=1e-5, atol=1e-7)


def test_losses_that_divide_by_different_things_are_refused():
    losses = {
        "a": keras.losses.MeanSquaredError(reduction="mean_with_sample_weight"),
        "b": keras.losses.MeanSquaredError(),
    }

    with pytest.raises(ValueError, match="must be reduced alike; received .*Give them one"):
        loss_with_share(tf.ones(()), tf.zeros(()), [tf.ones(3)] * 2, tf.ones(3), losses)
