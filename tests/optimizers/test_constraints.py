import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec.layers import Embedding
from kerasrec.optimizers import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    ClippyAdagrad,
    ClipWeights,
    Ftrl,
    RowwiseAdagrad,
)
from kerasrec.optimizers.constraints import is_row_wise

MaxNorm, UnitNorm = keras.constraints.MaxNorm, keras.constraints.UnitNorm
EVERY = [SGD, Adagrad, RowwiseAdagrad, Adam, AdamW, ClippyAdagrad, Ftrl]
ROW_WISE = {
    "max_norm": MaxNorm(0.6, axis=1),
    "unit_norm": UnitNorm(axis=-1),
    "non_neg": keras.constraints.NonNeg(),
    "clip_weights": ClipWeights(0.3),
}


class Halve(keras.constraints.Constraint):
    """Counts how often a row was constrained."""

    row_wise = True

    def __call__(self, w):
        return w / 2


def test_clip_weights_by_hand():
    clip = ClipWeights(0.5)
    np.testing.assert_allclose(
        clip(tf.constant([[0.2, -3.0], [0.5, 1e30]])), [[0.2, -0.5], [0.5, 0.5]]
    )
    again = keras.constraints.deserialize(keras.constraints.serialize(clip))
    assert isinstance(again, ClipWeights)
    assert again.limit == 0.5


def test_clip_weights_constrains_a_dense_layer_of_keras():
    layer = keras.layers.Dense(3, kernel_constraint=ClipWeights(0.1))
    model = keras.Sequential([keras.Input((2,)), layer])
    model.compile(keras.optimizers.SGD(10.0), "mse")
    model.fit(np.ones((4, 2)), np.ones((4, 3)), verbose=0)
    assert np.abs(layer.kernel).max() == np.float32(0.1)


@pytest.mark.parametrize("limit", [0, -1.0, float("nan"), float("inf"), True, "1"])
def test_clip_weights_refuses(limit):
    with pytest.raises(ValueError, match="ClipWeights: limit must be a finite number above 0"):
        ClipWeights(limit)


@pytest.mark.parametrize(
    ("constraint", "rank", "row_wise"),
    [
        (MaxNorm(1.0), 2, False),
        (MaxNorm(1.0, axis=None), 2, False),
        (MaxNorm(1.0, axis=-2), 2, False),
        (MaxNorm(1.0, axis=1), 1, False),
        (UnitNorm(axis=-1), 1, False),
        (UnitNorm(axis=[1, 2]), 3, True),
        (UnitNorm(axis=[0, 1]), 3, False),
        (keras.constraints.MinMaxNorm(axis=1), 2, True),
        (keras.constraints.NonNeg(), 1, True),
        (keras.constraints.Constraint(), 2, False),
        (lambda w: w, 2, False),
        (Halve(), 2, True),
    ],
)
def test_is_row_wise(constraint, rank, row_wise):
    assert is_row_wise(constraint, rank) == row_wise


@pytest.mark.parametrize("name", ROW_WISE)
@pytest.mark.parametrize("replicas", [1, 2])
def test_fifty_steps_equal_the_dense_model(twin, name, replicas):
    """Keras constrains all rows of the dense model; every row here satisfies it from the start."""
    ids, labels = twin.data()

    def start(dense=False):
        model = twin.start(twin.TwoTables(dense=dense))
        for table in model.trainable_variables:
            if table.shape[0] == twin.ROWS:
                table.assign(ROW_WISE[name](table))
        return model

    dense = start(dense=True)
    for table in dense.trainable_variables:
        if table.shape[0] == twin.ROWS:
            table.constraint = ROW_WISE[name]
    untrained = start().get_weights()
    dense = twin.train(dense, keras.optimizers.SGD(0.3), ids, labels)
    strategy = twin.two_replicas() if replicas == 2 else tf.distribute.get_strategy()
    with strategy.scope():
        model, optimizer = start(), SGD(0.3, row_constraint=ROW_WISE[name])
    sparse = twin.train(model, optimizer, ids, labels, replicas=replicas)
    # Keras' norms shrink a row by 1e-7 whenever they look at it, and rows here are looked at less.
    assert twin.largest_difference(sparse, dense) < twin.STEPS * 1e-7 + twin.TOLERANCE
    free = twin.train(start(), SGD(0.3), ids, labels)
    assert twin.largest_difference(sparse, free) > 0.01
    assert twin.largest_difference(sparse, untrained) > 0.01


def train_table(optimizer, table, batches, constraint=None, jit_compile=False, rank=2):
    """Gradients of one, of the given rows, in each step."""
    variable = keras.Variable(np.asarray(table, "float32"))
    variable.constraint = constraint
    optimizer.build([variable])

    @tf.function(jit_compile=jit_compile, reduce_retracing=True)
    def step(ids):
        values = tf.ones((tf.size(ids), *variable.shape[1:]))
        optimizer.apply([tf.IndexedSlices(values, ids)], [variable])

    for ids in batches:
        step(tf.constant(ids, "int32"))
    optimizer.finalize_variable_values([variable])
    return np.asarray(variable)


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_touched_rows_alone_are_constrained_once_a_step(own, jit_compile):
    where = {"constraint": Halve()} if own else {}
    optimizer = SGD(0.0, row_constraint=None if own else Halve())
    batches = [[1, 1, 3], [1, 0]]
    table = train_table(optimizer, np.ones((5, 2)), batches, jit_compile=jit_compile, **where)
    np.testing.assert_allclose(table[:, 0], [1 / 2, 1 / 4, 1, 1 / 2, 1])


def test_a_constraint_of_its_own_comes_before_row_constraint():
    optimizer = SGD(1.0, row_constraint=Halve())
    table = train_table(optimizer, np.zeros((3, 2)), [[1]], ClipWeights(0.2))
    np.testing.assert_allclose(table[:, 0], [0, -0.2, 0])


def test_one_that_needs_the_whole_table_gets_it_as_in_keras():
    start = np.arange(6.0).reshape(3, 2)
    ours = train_table(SGD(0.1), start, [[1], [0, 0]], UnitNorm(axis=0))
    theirs = train_table(keras.optimizers.SGD(0.1), start, [[1], [0, 0]], UnitNorm(axis=0))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(ours, axis=0), 1, rtol=1e-5)


def test_dense_gradients_are_constrained_as_in_keras():
    for optimizer in (SGD(0.1, row_constraint=Halve()), keras.optimizers.SGD(0.1)):
        kernel, free = keras.Variable(np.ones((2, 2))), keras.Variable(np.ones((2, 2)))
        kernel.constraint = MaxNorm(0.5, axis=0)
        optimizer.apply([tf.ones((2, 2))] * 2, [kernel, free])
        np.testing.assert_allclose(np.linalg.norm(kernel, axis=0), 0.5, rtol=1e-5)
        np.testing.assert_allclose(free, 0.9)


@pytest.mark.parametrize("name", ROW_WISE)
@pytest.mark.parametrize("make", [lambda **kw: SGD(0.5, **kw), lambda **kw: Adam(0.5, **kw)])
@pytest.mark.parametrize("whole", [False, True], ids=["rows", "whole"])
def test_touched_rows_satisfy_it_and_others_stay(layout, name, make, whole):
    """Row 2 rests after the first step."""
    layout(whole)
    start = np.array([[0.0, 0.0], [-2.0, 2.0], [0.9, -0.1], [3.0, -3.0]])
    optimizer = make(row_constraint=ROW_WISE[name])
    table = train_table(optimizer, start, [[1, 2], [1], [], [1], [1]])
    np.testing.assert_array_equal(table[[0, 3]], start[[0, 3]])
    touched = table[[1, 2]]
    np.testing.assert_allclose(ROW_WISE[name](touched), touched, rtol=1e-5)
    assert not np.allclose(touched, start[[1, 2]])


@pytest.mark.parametrize("name", ROW_WISE)
def test_the_layout_does_not_matter(layout, name):
    start, tables = np.linspace(-1, 1, 8).reshape(4, 2), []
    for whole in (False, True):
        layout(whole)
        optimizer = Adam(0.1, row_constraint=ROW_WISE[name])
        tables.append(train_table(optimizer, start, [[0, 1, 3, 3], [1, 2]] * 10))
    np.testing.assert_allclose(*tables, atol=2e-5)


@pytest.mark.parametrize("name", ["max_norm", "unit_norm"])
def test_rows_of_zeros_stay_finite(name):
    table = train_table(SGD(0.0, row_constraint=ROW_WISE[name]), np.zeros((3, 2)), [[0, 1]])
    np.testing.assert_array_equal(table, 0)


@pytest.mark.parametrize("whole", [False, True], ids=["rows", "whole"])
def test_accumulated_rows_are_constrained(layout, whole):
    layout(whole)
    optimizer = Adam(0.5, row_constraint=ClipWeights(0.1), gradient_accumulation_steps=2)
    table = train_table(optimizer, np.ones((4, 2)), [[0], [2, 2]])
    np.testing.assert_allclose(table[:, 0], [0.1, 1, 0.1, 1])


@settings(max_examples=10)
@given(
    st.lists(st.lists(st.integers(0, 5), max_size=6), min_size=1, max_size=4),
    st.sampled_from(sorted(ROW_WISE)),
    st.sampled_from([SGD, Adagrad, RowwiseAdagrad, Adam, ClippyAdagrad]),
    st.integers(1, 3),
)
def test_what_holds_once_holds_for_good(batches, name, make, dim):
    """A row ever touched satisfies the constraint, and one never touched is as it was."""
    start = np.random.default_rng(dim).normal(size=(6, dim)).astype("float32")
    optimizer = make(0.3, row_constraint=ROW_WISE[name])
    variable = keras.Variable(start)
    for ids in batches:
        gradient = tf.IndexedSlices(tf.ones((len(ids), dim)), tf.constant(ids, "int32"))
        optimizer.apply([gradient], [variable])
    touched = np.unique(np.concatenate(batches)).astype(int)
    table, rest = np.asarray(variable), np.setdiff1d(np.arange(6), touched)
    np.testing.assert_array_equal(table[rest], start[rest])
    satisfied = np.asarray(ROW_WISE[name](table[touched]))
    np.testing.assert_allclose(satisfied, table[touched], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("make", EVERY)
def test_every_optimizer_takes_and_keeps_it(make, tmp_path):
    model = keras.Sequential([keras.Input((2,), dtype="int32"), Embedding(9, 3)])
    model.compile(make(0.5, row_constraint=ClipWeights(0.01)), "mse")
    model.fit(np.full((8, 2), 4), np.ones((8, 2, 3)), verbose=0)
    assert np.abs(model.get_weights()[0][4]).max() <= np.float32(0.01)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras").optimizer
    assert isinstance(again.row_constraint, ClipWeights)
    assert again.get_config() == model.optimizer.get_config()


def test_no_operation_makes_a_tensor_of_table_size(layout):
    layout(whole=False)
    rows = 7919  # a number that no other shape has
    table, optimizer = keras.Variable(np.ones((rows, 2))), SGD(0.1, adaptive_clip=0.1)
    table.constraint = MaxNorm(1.0, axis=1)
    optimizer.build([table])

    @tf.function
    def step(values, ids):
        optimizer.apply([tf.IndexedSlices(values, ids)], [table])

    specs = tf.TensorSpec((None, 2)), tf.TensorSpec((None,), tf.int32)
    for op in step.get_concrete_function(*specs).graph.get_operations():
        for output in op.outputs:
            assert rows not in list(output.shape or ()), op


@pytest.mark.parametrize(
    "constraint", [MaxNorm(1.0), "unit_norm", keras.constraints.Constraint(), lambda w: w]
)
def test_row_constraint_must_be_row_wise(constraint):
    with pytest.raises(ValueError, match="SGD: row_constraint must apply to each row"):
        SGD(row_constraint=constraint)


def test_row_constraint_must_fit_the_table():
    with pytest.raises(ValueError, match=r"MaxNorm .* does not fit the table .* of shape \(4,\)"):
        train_table(SGD(row_constraint=MaxNorm(1.0, axis=1)), np.ones(4), [[1]])
    with pytest.raises(ValueError, match="Could not interpret constraint identifier"):
        SGD(row_constraint="unit norm")
