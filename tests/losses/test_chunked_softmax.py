"""Loss and gradients of the plain form, in chunks of every size, and no array of its size."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec.losses import full_softmax_crossentropy


def plain(vectors, items, targets):
    real = targets >= 0
    logits = tf.matmul(vectors, items, transpose_b=True)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.maximum(targets, 0), logits)
    return tf.reduce_sum(tf.where(real, losses, 0.0))


def with_gradients(loss, vectors, items, targets):
    with tf.GradientTape() as tape:
        tape.watch([vectors, items])
        value = 3.0 * loss(vectors, items, targets)
    return [value, *map(tf.convert_to_tensor, tape.gradient(value, [vectors, items]))]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 20), st.integers(1, 9), st.integers(1, 25), st.integers(0, 99))
def test_equals_the_plain_form(rows, items, chunk_rows, seed):
    rng = np.random.default_rng(seed)
    vectors = tf.constant(rng.normal(size=(rows, 3)).astype("float32") * 3)
    table = tf.constant(rng.normal(size=(items, 3)).astype("float32") * 3)
    targets = tf.constant(rng.integers(-2, items, rows).astype("int32"))
    found = with_gradients(
        lambda *given: full_softmax_crossentropy(*given, chunk_rows), vectors, table, targets
    )
    for ours, theirs in zip(found, with_gradients(plain, vectors, table, targets), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("compiled", [False, True])
def test_large_logits_and_compilation(compiled):
    rng = np.random.default_rng(0)
    vectors = tf.constant(rng.normal(size=(40, 4)).astype("float32") * 30)
    items = tf.constant(rng.normal(size=(11, 4)).astype("float32") * 30)
    targets = tf.constant(rng.integers(-1, 11, 40).astype("int32"))
    run = tf.function(
        lambda: with_gradients(
            lambda *g: full_softmax_crossentropy(*g, 16), vectors, items, targets
        ),
        jit_compile=compiled,
    )
    for ours, theirs in zip(run(), with_gradients(plain, vectors, items, targets), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(("rows", "items"), [(8, 100_000), (3000, 3), (600, 5000)])
def test_half_precision_neither_overflows_nor_loses_small_shares(rows, items, compiled):
    rng = np.random.default_rng(0)
    # All alike and large: undivided shares add up to the number of items, or of rows.
    vectors = tf.constant(rng.normal(1, 0.1, (rows, 4)), tf.float16)
    table = tf.constant(rng.normal(2, 0.1, (items, 4)), tf.float16)
    targets = tf.constant(rng.integers(-1, items, rows).astype("int32"))
    run = tf.function(with_gradients, jit_compile=compiled)
    found = run(full_softmax_crossentropy, vectors, table, targets)
    wide = [tf.cast(values, tf.float32) for values in (vectors, table)]
    wanted = with_gradients(plain, *wide, targets)
    for ours, theirs in zip(found, wanted, strict=True):
        error = np.abs(np.float32(ours) - theirs).max()
        assert error <= 0.02 * np.abs(theirs).max(), error


def test_no_array_of_positions_times_items():
    def run(vectors, items, targets):
        return with_gradients(full_softmax_crossentropy, vectors, items, targets)

    rows, items = 1 << 14, 1 << 12
    program = tf.function(run, jit_compile=True).experimental_get_compiler_ir(
        tf.zeros((rows, 2)), tf.zeros((items, 2)), tf.zeros((rows,), tf.int32)
    )(stage="optimized_hlo")
    assert f"[{rows},{items}]" not in program and f"[512,{items}]" in program


def test_shapes_must_fit():
    with pytest.raises(ValueError, match=r"received \(3, 2\), \(4, 5\) and \(3,\)"):
        full_softmax_crossentropy(np.zeros((3, 2)), np.zeros((4, 5)), np.zeros(3, "int32"))
