import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrec.layers import Embedding
from kerasrec.optimizers import Adam, AdamW


def resting(optimizer, gradients, steps, start=1.0):
    """Row 1 gets the gradients of its steps, row 0 one in every step; the gradients are given."""
    table = keras.Variable(np.full((3, 2), start))
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


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "rows"])
def test_rows_without_a_gradient_rest_and_so_do_their_moments(layout, whole):
    layout(whole)
    table, *moments = resting(Adam(0.1), {0: [1.0, 2.0]}, 20)
    np.testing.assert_allclose(table[1], [0.9, 0.9], rtol=1e-5)
    np.testing.assert_allclose(table[2], 1.0)
    np.testing.assert_allclose(moments[0][1], [0.1, 0.2], rtol=1e-5)
    np.testing.assert_allclose(moments[1][1], [0.001, 0.004], rtol=1e-5)
    for moment in moments:
        np.testing.assert_array_equal(moment[2], 0)


@pytest.mark.parametrize("amsgrad", [False, True])
def test_a_row_with_a_gradient_in_each_step_is_that_of_keras(amsgrad):
    schedule = keras.optimizers.schedules.InverseTimeDecay(0.1, 10, 1.0)
    ours = resting(Adam(schedule, amsgrad=amsgrad), {}, 60)
    theirs = resting(keras.optimizers.Adam(schedule, amsgrad=amsgrad), {}, 60)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one[0], other[0], rtol=2e-5, atol=1e-6)


def test_two_replicas_and_xla_give_the_same(twin):
    ids, labels = twin.data(steps=20)
    one = twin.train(twin.start(twin.TwoTables()), Adam(0.01), ids, labels)
    compiled = twin.train(twin.start(twin.TwoTables()), Adam(0.01), ids, labels, jit_compile=True)
    assert twin.largest_difference(one, compiled) < 5e-6
    with twin.two_replicas().scope():
        model, optimizer = twin.start(twin.TwoTables()), Adam(0.01)
    two = twin.train(model, optimizer, ids, labels, replicas=2)
    assert twin.largest_difference(one, two) < 5e-6


@pytest.mark.parametrize("make", [Adam, AdamW])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_the_layout_does_not_matter(twin, layout, make, jit_compile):
    ids, labels = twin.data(steps=20)
    trained = []
    for whole in (True, False):
        layout(whole)
        model = twin.start(twin.TwoTables())
        trained.append(twin.train(model, make(0.01), ids, labels, jit_compile=jit_compile))
    assert twin.largest_difference(*trained) < 5e-6


def test_adamw_decays_touched_rows():
    optimizer = AdamW(0.1, weight_decay=0.5)
    table, *_ = resting(optimizer, {0: [0.0, 0.0]}, 2)
    np.testing.assert_allclose(table[1], 1 - 0.1 * 0.5)
    np.testing.assert_allclose(table[2], 1.0)
    assert isinstance(optimizer, keras.optimizers.AdamW)


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "rows"])
def test_decay_rest_is_the_product_over_the_steps_of_rest(layout, whole):
    """Gradients of zero at steps 2 and 9: what is left is the decay of all steps up to 9."""
    layout(whole)
    schedule = keras.optimizers.schedules.InverseTimeDecay(0.1, 3, 1.0)
    table, *_ = resting(AdamW(schedule, 0.5, decay_rest=True), {2: [0, 0], 9: [0, 0]}, 15, 7.0)
    expected = 7.0 * np.prod([1 - 0.5 * float(schedule(step)) for step in range(10)])
    np.testing.assert_allclose(table[1], expected, rtol=1e-6)
    np.testing.assert_array_equal(table[2], 7.0)


def test_decay_rest_does_not_get_lost_in_rounding():
    """A million decays by 4e-6, which a sum in float32 would miss by a tenth."""
    table = keras.Variable(np.ones((2, 1)))
    optimizer = AdamW(1e-3, 4e-3, decay_rest=True)
    optimizer.build([table])
    optimizer._log_decay.assign(999_999 * np.log1p(-4e-6))
    optimizer.apply([tf.IndexedSlices(tf.zeros((1, 1)), tf.constant([1]))], [table])
    np.testing.assert_allclose(table[1], np.exp(1e6 * np.log1p(-4e-6)), rtol=1e-6)


def test_decay_rest_leaves_out_what_is_excluded(tmp_path):
    table = keras.Variable(np.ones((2, 1)), name="table")
    optimizer = AdamW(0.1, 0.5, decay_rest=True)
    optimizer.exclude_from_weight_decay([table])
    for _ in range(3):
        optimizer.apply([tf.IndexedSlices(tf.zeros((1, 1)), tf.constant([1]))], [table])
    np.testing.assert_array_equal(table, 1.0)


def test_decay_rest_on_two_replicas_and_in_a_file(twin, tmp_path):
    ids, labels = twin.data(steps=7)
    options = {"learning_rate": 0.01, "weight_decay": 0.3, "decay_rest": True}
    one = twin.train(twin.start(twin.TwoTables()), AdamW(**options), ids, labels)
    with twin.two_replicas().scope():
        model, optimizer = twin.start(twin.TwoTables()), AdamW(**options)
    two = twin.train(model, optimizer, ids, labels, replicas=2)
    assert twin.largest_difference(one, two) < twin.TOLERANCE
    plain = twin.train(twin.start(twin.TwoTables()), AdamW(0.01, weight_decay=0.3), ids, labels)
    assert twin.largest_difference(one, plain) > 1e-3
    model = keras.Sequential([keras.Input((2,), dtype="int32"), Embedding(9, 3)])
    model.compile(AdamW(**options), "mse")
    fit = {"batch_size": 8, "verbose": 0, "shuffle": False}
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 9, (32, 2)), rng.normal(size=(32, 2, 3)).astype("float32")
    model.fit(x, y, **fit)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    for each in (model, again):
        each.fit(x, y, **fit)
    assert twin.largest_difference(model.get_weights(), again.get_weights()) == 0


def test_bad_arguments():
    with pytest.raises(ValueError, match="decay_rest must be True or False; received 'yes'"):
        AdamW(decay_rest="yes")
    with pytest.raises(ValueError, match="sparse"):
        Adam(sparse="exact")
