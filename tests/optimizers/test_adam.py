import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrec.layers import Embedding
from kerasrec.optimizers import Adam, AdamW, adam

STEPS = 200
# Largest difference of a weight from dense Adam after 200 steps at a rate of 0.01, weights being
# of size 0.5. Rows that have yet to make up for missed steps are looked up as if they had.
EXACT_BOUND, SMALL_TABLE_BOUND = 1e-5, 1e-5
# The same with the stock layer, which looks up rows as they lie.
STOCK_LAYER_BOUND = 5e-3


@pytest.fixture
def large_tables(monkeypatch):
    """Every table counts as large."""
    monkeypatch.setattr(adam, "SMALL_TABLE", 0)


def differences(twin, make, dense, layer=Embedding):
    """Largest and mean difference from dense Adam, on the same data."""
    ids, labels = twin.data(steps=STEPS)
    theirs = twin.train(twin.start(twin.TwoTables(dense=True)), dense, ids, labels)
    ours = twin.train(twin.start(twin.TwoTables(layer=layer)), make, ids, labels)
    gaps = [np.abs(a - b) for a, b in zip(ours, theirs, strict=True)]
    return max(gap.max() for gap in gaps), np.mean(np.concatenate([gap.ravel() for gap in gaps]))


@pytest.mark.parametrize("clip", [{}, {"clipnorm": 0.05}], ids=["unclipped", "clipnorm"])
def test_exact_follows_dense_adam_on_small_tables(twin, clip):
    largest, _ = differences(twin, Adam(0.01, **clip), keras.optimizers.Adam(0.01, **clip))
    assert largest < SMALL_TABLE_BOUND


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"clipnorm": 0.05},
        pytest.param({"amsgrad": True}, marks=pytest.mark.slow),
        pytest.param({"beta_1": 0.5}, marks=pytest.mark.slow),
        pytest.param({"beta_1": 0.0}, marks=pytest.mark.slow),
    ],
    ids=str,
)
@pytest.mark.usefixtures("large_tables")
def test_exact_follows_dense_adam_on_large_tables(twin, options):
    dense = keras.optimizers.Adam(0.01, **options)
    exact, exact_mean = differences(twin, Adam(0.01, **options), dense)
    dense = keras.optimizers.Adam(0.01, **options)
    lazy, lazy_mean = differences(twin, Adam(0.01, sparse="lazy", **options), dense)
    assert exact < lazy / 5
    assert exact < EXACT_BOUND
    assert exact_mean < lazy_mean


@pytest.mark.usefixtures("large_tables")
def test_with_the_stock_layer_exact_stays_closer_than_lazy(twin):
    dense, stock = keras.optimizers.Adam(0.01), keras.layers.Embedding
    exact, exact_mean = differences(twin, Adam(0.01), dense, stock)
    dense = keras.optimizers.Adam(0.01)
    lazy, lazy_mean = differences(twin, Adam(0.01, sparse="lazy"), dense, stock)
    assert exact < min(lazy / 5, STOCK_LAYER_BOUND)
    assert exact_mean < lazy_mean


@pytest.mark.usefixtures("large_tables")
def test_a_saved_layer_is_up_to_date(twin):
    ids, labels = twin.data(steps=20)
    model, optimizer = twin.start(twin.TwoTables()), Adam(0.01)
    dense = twin.train(
        twin.start(twin.TwoTables(dense=True)), keras.optimizers.Adam(0.01), ids, labels
    )
    optimizer.finalize_variable_values = lambda variables: None
    stale = twin.train(model, optimizer, ids, labels)
    store = {}
    model.users.save_own_variables(store)
    assert np.abs(stale[0] - dense[0]).max() > 1e-4
    assert np.abs(store["0"] - dense[0]).max() < EXACT_BOUND


def resting(optimizer, gradients, steps):
    """Row 1 gets the gradients of its steps, row 0 one in every step; the gradients are given."""
    table = keras.Variable(np.ones((3, 2)))
    optimizer.build([table])

    @tf.function(reduce_retracing=True)
    def apply(values, ids):
        optimizer.apply([tf.IndexedSlices(values, ids, tf.constant([3, 2]))], [table])

    for step in range(steps):
        ids = [0, 1] if step in gradients else [0]
        values = [[1.0, -1.0], gradients.get(step)][: len(ids)]
        apply(tf.constant(values, "float32"), tf.constant(ids))
    optimizer.finalize_variable_values([table])
    moments = optimizer._momentums[0], optimizer._velocities[0]
    return [np.asarray(variable) for variable in (table, *moments)]


@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.usefixtures("large_tables")
def test_given_the_gradients_exact_is_dense_adam(amsgrad):
    """Rows that rest for one step, for many and until the end, under a falling learning rate."""
    gradients = {3: [1.0, 2.0], 4: [0.5, 0.1], 9: [-1.0, 1.0], 90: [0.2, 0.3]}
    schedule = keras.optimizers.schedules.InverseTimeDecay(0.1, 10, 1.0)
    sparse = resting(Adam(schedule, amsgrad=amsgrad), gradients, 130)
    dense = resting(keras.optimizers.Adam(schedule, amsgrad=amsgrad), gradients, 130)
    for ours, theirs in zip(sparse, dense, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=1e-6)


@pytest.mark.usefixtures("large_tables")
def test_a_row_older_than_the_memory_takes_the_oldest_step_in_it(monkeypatch):
    monkeypatch.setattr(adam, "MEMORY", 50)
    gradients = {100: [1.0, 2.0], 230: [1.0, 1.0]}
    sparse, *_ = resting(Adam(0.1, 0.5, 0.9), gradients, 240)
    dense, *_ = resting(keras.optimizers.Adam(0.1, 0.5, 0.9), gradients, 240)
    np.testing.assert_allclose(sparse, dense, rtol=1e-4)


@pytest.mark.usefixtures("large_tables")
def test_lazy_lets_rows_rest():
    table, *_ = resting(Adam(0.1, sparse="lazy"), {0: [1.0, 2.0]}, 20)
    np.testing.assert_allclose(table[1], [0.9, 0.9], rtol=1e-5)
    np.testing.assert_allclose(table[2], 1.0)


@pytest.mark.usefixtures("large_tables")
def test_two_replicas_and_xla_catch_up_too(twin):
    ids, labels = twin.data(steps=20)
    one = twin.train(twin.start(twin.TwoTables()), Adam(0.01), ids, labels)
    compiled = twin.train(twin.start(twin.TwoTables()), Adam(0.01), ids, labels, jit_compile=True)
    assert twin.largest_difference(one, compiled) < 5e-6
    with twin.two_replicas().scope():
        model, optimizer = twin.start(twin.TwoTables()), Adam(0.01)
    two = twin.train(model, optimizer, ids, labels, replicas=2)
    assert twin.largest_difference(one, two) < 5e-6


def test_adamw_decays_touched_rows():
    optimizer = AdamW(0.1, weight_decay=0.5)
    table, *_ = resting(optimizer, {0: [0.0, 0.0]}, 2)
    np.testing.assert_allclose(table[1], 1 - 0.1 * 0.5)
    np.testing.assert_allclose(table[2], 1.0)
    assert isinstance(optimizer, keras.optimizers.AdamW)


def test_bad_arguments():
    with pytest.raises(ValueError, match='sparse must be "exact" or "lazy"; received \'dense\''):
        Adam(sparse="dense")
    with pytest.raises(ValueError, match="needs a momentum that fades"):
        Adam(beta_1=0.9999, beta_2=0.999)
    Adam(beta_1=0.9999, beta_2=0.999, sparse="lazy")
