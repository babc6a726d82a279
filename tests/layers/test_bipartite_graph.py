import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrec.layers.bipartite_graph import BipartiteGraph

RNG = np.random.default_rng(0)


def drawn():
    dense = RNG.random((6, 9)) < 0.4
    dense[2], dense[:, 0], dense[:, 4] = False, False, False
    layer = BipartiteGraph(6, 9)
    layer.assign(*np.nonzero(dense))
    degrees = dense.sum(axis=1, keepdims=True) * dense.sum(axis=0)
    return layer, dense / np.sqrt(np.maximum(degrees, 1))


@pytest.mark.parametrize("compiled", [False, True])
def test_steps_and_gradients_are_those_of_a_dense_matrix(compiled):
    layer, matrix = drawn()
    rows, columns = RNG.normal(size=(6, 2)), RNG.normal(size=(9, 2))
    weights = tf.constant(RNG.normal(size=(15, 2)), tf.float32)

    def run(rows, columns, steps):
        with tf.GradientTape() as tape:
            tape.watch([rows, columns])
            layers = steps(rows, columns)
            total = sum(layers[1:], start=layers[0])
            picked = tf.gather(total, [0, 3, 14])  # whose gradient is made of slices
            loss = tf.reduce_sum(total * weights) + tf.reduce_sum(picked**2)
        return layers, tape.gradient(loss, [rows, columns])

    def sparse(rows, columns):
        return [tf.concat(pair, axis=0) for pair in layer.steps(rows, columns, 3)]

    def dense(rows, columns):
        link = tf.constant(matrix, tf.float32)
        pairs = [(rows, columns)]
        for _ in range(3):
            rows, columns = link @ columns, tf.transpose(link) @ rows
            pairs.append((rows, columns))
        return [tf.concat(pair, axis=0) for pair in pairs]

    given = tf.constant(rows, tf.float32), tf.constant(columns, tf.float32)
    found = tf.function(lambda *of: run(*of, sparse), jit_compile=compiled)(*given)
    expected = run(*given, dense)
    for ours, theirs in zip(*map(tf.nest.flatten, (found, expected)), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_an_empty_graph_has_no_neighbours():
    layer = BipartiteGraph(2, 3)
    (rows, columns), last = layer.steps(np.ones((2, 1), "float32"), np.ones((3, 1), "float32"), 1)
    assert np.all(rows == 1) and np.all(columns == 1)
    assert not np.any(last[0]) and not np.any(last[1])


def test_weights_keep_their_order_when_they_are_replaced():
    layer, _ = drawn()
    again = BipartiteGraph.from_config(layer.get_config())
    assert [w.shape for w in again.weights] == [w.shape for w in layer.weights]
    again.set_weights(layer.get_weights())
    ones = [np.ones((n, 1), "float32") for n in (6, 9)]
    for one, two in zip(layer.steps(*ones, 1)[1], again.steps(*ones, 1)[1], strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_registered_name():
    assert keras.saving.get_registered_name(BipartiteGraph) == "kerasrec>BipartiteGraph"
