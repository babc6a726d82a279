"""A small model with two tables, and the same model written with one-hot matrix products."""

import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrec.layers import Embedding
from kerasrec.optimizers import rows

ROWS, DIM, STEPS, BATCH = 12, 3, 50, 16
# The same update from sums in another order: float32 rounding, on numbers of about 1.
TOLERANCE = 1e-6


class OneHot(keras.layers.Layer):
    """An embedding as a dense product, whose gradient is a dense matrix."""

    def __init__(self, rows, dim):
        super().__init__()
        self.rows, self.dim = rows, dim

    def build(self, input_shape=None):
        self.table = self.add_weight(shape=(self.rows, self.dim))
        self.built = True

    def call(self, ids):
        return tf.tensordot(tf.one_hot(ids, self.rows), self.table, 1)


class TwoTables(keras.Model):
    """w . mean over the bag of u_i * v_j: two tables, and a dense weight."""

    def __init__(self, dense=False, dim=DIM, layer=Embedding):
        super().__init__()
        self.users, self.items = (OneHot if dense else layer)(ROWS, dim), layer(ROWS, dim)
        if dense:
            self.items = OneHot(ROWS, dim)
        self.out = keras.layers.Dense(1)
        for part in (self.users, self.items):
            part.build(None)
        self.out.build((None, dim))
        self.built = True

    def call(self, inputs, training=None):
        users, items = inputs[:, :1], inputs[:, 1:]
        return self.out(tf.reduce_mean(self.users(users) + self.items(items), axis=1))


def data(seed=0, every_row=False, steps=STEPS):
    """(steps, batch, 4) ids, few of them often, and labels."""
    rng = np.random.default_rng(seed)
    ids = (ROWS * rng.random((steps, BATCH, 4)) ** 2).astype("int32")
    if every_row:
        ids[:, :ROWS, :] = np.arange(ROWS)[:, None]
    return ids, rng.normal(size=(steps, BATCH, 1)).astype("float32")


def start(model, tables_at_zero=False, seed=3):
    """The same weights for every model."""
    rng = np.random.default_rng(seed)
    weights = [rng.normal(scale=0.5, size=w.shape).astype("float32") for w in model.get_weights()]
    if tables_at_zero:
        weights = [w if w.shape[0] != ROWS else np.zeros_like(w) for w in weights]
    model.set_weights(weights)
    return model


def train(model, optimizer, ids, labels, replicas=1, jit_compile=False, batch=BATCH):
    """One step for each batch, a share of it on each replica; returns the weights."""
    strategy = model.distribute_strategy

    def replica_step(x, y):
        share = tf.distribute.get_replica_context().replica_id_in_sync_group
        x, y = x[share::replicas], y[share::replicas]
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(model(x, training=True) - y)) / batch
            loss = optimizer.scale_loss(loss)
        variables = model.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)

    @tf.function(jit_compile=jit_compile)
    def step(x, y):
        strategy.run(replica_step, args=(x, y))

    with strategy.scope():
        optimizer.build(model.trainable_variables)
    for x, y in zip(ids, labels, strict=True):
        step(x, y)
    optimizer.finalize_variable_values(model.trainable_variables)
    return model.get_weights()


def two_replicas():
    devices = [device.name for device in tf.config.list_logical_devices("CPU")][:2]
    return tf.distribute.MirroredStrategy(
        devices, cross_device_ops=tf.distribute.ReductionToOneDevice()
    )


def largest_difference(ours, theirs):
    return max(np.abs(a - b).max() for a, b in zip(ours, theirs, strict=True))


@pytest.fixture(scope="session")
def twin():
    """This module: test files cannot import each other."""
    return sys.modules[__name__]


@pytest.fixture
def layout(monkeypatch):
    """A function that says whether sparse gradients update whole tables or their touched rows."""

    def choose(whole):
        limits = ("ROWS_PER_ID", "ROWS_PER_ID_IN_XLA", "SMALL_TABLE", "SMALL_TABLE_IN_XLA")
        for limit in limits:
            monkeypatch.setattr(rows, limit, 2**40 if whole else 0)

    return choose
