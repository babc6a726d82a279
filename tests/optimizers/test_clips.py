import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec.optimizers import SGD, Adagrad, Adam, AdamW, ClippyAdagrad, Ftrl, RowwiseAdagrad
from kerasrec.optimizers.clips import FLOOR, clip_by_weights

EVERY = [SGD, Adagrad, RowwiseAdagrad, Adam, AdamW, ClippyAdagrad, Ftrl]
LIMIT = 0.02


class DenseSGD(keras.optimizers.SGD):
    """Adaptive clipping written for a dense model: tables, of ROWS rows, are clipped by row."""

    def __init__(self, rows, **kwargs):
        super().__init__(**kwargs)
        self.rows = rows

    def update_step(self, gradient, variable, learning_rate):
        axis = 1 if variable.shape[0] == self.rows else 0

        def norm(x):
            return tf.sqrt(tf.reduce_sum(x * x, axis=axis, keepdims=True))

        limits = LIMIT * tf.maximum(norm(variable), 1e-3)
        gradient = tf.where(norm(gradient) > limits, gradient * limits / norm(gradient), gradient)
        super().update_step(gradient, variable, learning_rate)


def by_hand(gradient, weights, limit):
    """One unit, in float64."""
    gradient, weights = gradient.astype("float64"), weights.astype("float64")
    longest = limit * max(np.linalg.norm(weights), FLOOR)
    length = np.linalg.norm(gradient)
    return gradient * (longest / length) if length > longest else gradient


@settings(max_examples=40)
@given(
    st.lists(st.integers(1, 4), max_size=3),
    st.floats(1e-3, 10),
    st.floats(-6, 6),
    st.booleans(),
)
def test_units_by_hand(shape, limit, exponent, by_row):
    rng = np.random.default_rng(len(shape))
    gradient = (10**exponent * rng.normal(size=shape)).astype("float32")
    weights = rng.normal(size=shape).astype("float32")
    if by_row and not shape:
        return
    found = clip_by_weights(tf.constant(gradient), tf.constant(weights), limit, by_row=by_row)
    if len(shape) < 2 and not by_row:
        expected = by_hand(gradient, weights, limit)
    elif by_row:
        expected = np.stack([by_hand(g, w, limit) for g, w in zip(gradient, weights, strict=True)])
    else:
        units = zip(np.moveaxis(gradient, -1, 0), np.moveaxis(weights, -1, 0), strict=True)
        expected = np.moveaxis(np.stack([by_hand(g, w, limit) for g, w in units]), 0, -1)
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("replicas", [1, 2])
def test_fifty_steps_equal_the_dense_model(twin, replicas):
    ids, labels = twin.data()
    dense = twin.start(twin.TwoTables(dense=True))
    dense = twin.train(dense, DenseSGD(twin.ROWS, learning_rate=0.5), ids, labels)
    strategy = twin.two_replicas() if replicas == 2 else tf.distribute.get_strategy()
    with strategy.scope():
        model, optimizer = twin.start(twin.TwoTables()), SGD(0.5, adaptive_clip=LIMIT)
    sparse = twin.train(model, optimizer, ids, labels, replicas=replicas)
    assert twin.largest_difference(sparse, dense) < twin.TOLERANCE
    unclipped = twin.train(twin.start(twin.TwoTables()), SGD(0.5), ids, labels)
    assert twin.largest_difference(sparse, unclipped) > 0.01


def step_of(optimizer, table, ids, values):
    variable = keras.Variable(np.asarray(table, "float32"))
    slices = tf.IndexedSlices(tf.constant(values, "float32"), tf.constant(ids, "int32"))
    optimizer.apply([slices], [variable])
    return np.asarray(variable)


@pytest.mark.parametrize("whole", [False, True])
def test_tables_are_clipped_by_row_whatever_their_size(layout, whole):
    """Row 1 moves alone in norm; what row 0 does must not depend on it."""
    layout(whole)
    table = np.array([[3.0, 4.0], [0.3, 0.4], [1.0, 1.0]])
    optimizer = Adam(1.0, adaptive_clip=0.1)
    step_of(optimizer, table, [1, 0, 1], [[5.0, 0.0], [0.1, 0.1], [5.0, 0.0]])
    momentum = np.asarray(optimizer.row_slots(0)[0])
    np.testing.assert_allclose(momentum, [[0.01, 0.01], [0.005, 0.0], [0.0, 0.0]], rtol=1e-5)


def test_a_table_at_zero_starts_to_move():
    moved = step_of(SGD(1.0, adaptive_clip=0.1), np.zeros((3, 2)), [1], [[0.0, 7.0]])
    np.testing.assert_allclose(moved, [[0, 0], [0, -0.1 * FLOOR], [0, 0]], rtol=1e-6)


@pytest.mark.parametrize("options", [{}, {"gradient_accumulation_steps": 2}], ids=str)
def test_xla_gives_the_same(twin, options):
    ids, labels = twin.data(steps=6)
    plain, compiled = (
        twin.train(
            twin.start(twin.TwoTables()),
            SGD(0.5, adaptive_clip=LIMIT, **options),
            ids,
            labels,
            jit_compile=jit_compile,
        )
        for jit_compile in (False, True)
    )
    assert twin.largest_difference(plain, compiled) < twin.TOLERANCE


def test_accumulated_steps_are_clipped_once(twin):
    ids, labels = twin.data(steps=12)
    wide = ids.reshape(4, -1, 4), labels.reshape(4, -1, 1)
    once = twin.start(twin.TwoTables())
    once = twin.train(once, SGD(0.5, adaptive_clip=LIMIT), *wide, batch=48)
    optimizer = SGD(0.5, adaptive_clip=LIMIT, gradient_accumulation_steps=3)
    parts = twin.train(twin.start(twin.TwoTables()), optimizer, ids, labels)
    assert twin.largest_difference(once, parts) < 2 * twin.TOLERANCE


@pytest.mark.parametrize("make", EVERY)
def test_every_optimizer_takes_and_keeps_it(make):
    optimizer = make(0.5, adaptive_clip=0.01)
    moved = step_of(optimizer, np.ones((4, 2)), [2, 2], 1e6 * np.ones((2, 2)))
    assert np.isfinite(moved).all()
    assert (moved[[0, 1, 3]] == 1).all()
    assert (moved[2] != 1).all()
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert again.adaptive_clip == 0.01


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"adaptive_clip": 0.0}, "adaptive_clip must be a finite number above 0"),
        ({"adaptive_clip": -0.01}, "adaptive_clip must be"),
        ({"adaptive_clip": float("nan")}, "adaptive_clip must be"),
        ({"adaptive_clip": True}, "adaptive_clip must be .* received True"),
        ({"adaptive_clip": 0.1, "clipnorm": 1.0}, "Only one of .* can be set; received"),
        ({"adaptive_clip": 0.1, "clipvalue": 1.0}, "Only one of"),
        ({"adaptive_clip": 0.1, "global_clipnorm": 1.0}, "Only one of"),
    ],
)
@pytest.mark.parametrize("make", EVERY)
def test_bad_arguments(make, arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)
