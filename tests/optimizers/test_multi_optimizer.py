"""Keras' MultiOptimizer over the sparse optimizers: each updates its variables as it does alone."""

import keras
import numpy as np
import pytest
from keras.optimizers import MultiOptimizer, OptimizerMap

from kerasrec.layers import Embedding
from kerasrec.optimizers import Adam, RowwiseAdagrad

RATES = (0.1, 0.01)


def tables_and_layers():
    """Row-wise Adagrad on the tables, Adam on the rest; both clip what they sum."""
    tables, layers = RowwiseAdagrad(RATES[0], clipnorm=0.5), Adam(RATES[1], clipnorm=0.5)
    return MultiOptimizer(OptimizerMap(layers, {".*embeddings": tables}))


def trained_alone(twin, ids, labels):
    """The same steps, in which two optimizers are applied to their variables by hand."""
    import tensorflow as tf

    model = twin.start(twin.TwoTables())
    parts = [
        (RowwiseAdagrad(RATES[0], clipnorm=0.5), model.trainable_variables[:2]),
        (Adam(RATES[1], clipnorm=0.5), model.trainable_variables[2:]),
    ]
    assert all(v.path.endswith("embeddings") for v in parts[0][1])
    for x, y in zip(ids, labels, strict=True):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(x, training=True) - y))
        grads = tape.gradient(loss, model.trainable_variables)
        for (optimizer, variables), some in zip(parts, (grads[:2], grads[2:]), strict=True):
            optimizer.apply(some, variables)
    return model.get_weights()


@pytest.mark.parametrize("replicas", [1, 2])
def test_each_part_is_that_of_its_optimizer_alone(twin, replicas):
    ids, labels = twin.data(steps=5)
    if replicas == 2:
        with twin.two_replicas().scope():
            model, optimizer = twin.start(twin.TwoTables()), tables_and_layers()
    else:
        model, optimizer = twin.start(twin.TwoTables()), tables_and_layers()
    before = model.get_weights()
    together = twin.train(model, optimizer, ids, labels, replicas=replicas)
    assert twin.largest_difference(together, trained_alone(twin, ids, labels)) < twin.TOLERANCE
    assert all(np.abs(a - b).max() > 0.01 for a, b in zip(before, together, strict=True))


def test_rows_out_of_the_batch_stay(twin):
    model, optimizer = twin.start(twin.TwoTables()), tables_and_layers()
    before = model.get_weights()
    ids, labels = np.full((1, twin.BATCH, 4), 3, "int32"), np.ones((1, twin.BATCH, 1), "float32")
    after = twin.train(model, optimizer, ids, labels)
    others = np.arange(twin.ROWS) != 3
    for table in (0, 1):
        np.testing.assert_array_equal(after[table][others], before[table][others])
        assert (after[table][3] != before[table][3]).all()


def test_keras_file_goes_on_where_it_stopped(twin, tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 9, (16, 2)), rng.normal(size=(16, 2, 1)).astype("float32")
    model = keras.Sequential(
        [keras.Input((2,), dtype="int32"), Embedding(9, 3), keras.layers.Dense(1)]
    )
    model.compile(tables_and_layers(), "mse")
    fit = {"batch_size": 8, "verbose": 0, "shuffle": False}
    model.fit(x, y, **fit)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert [type(one) for one in again.optimizer.optimizers] == [RowwiseAdagrad, Adam]
    for one in (model, again):
        one.fit(x, y, **fit)
    assert twin.largest_difference(model.get_weights(), again.get_weights()) == 0
