import keras
import numpy as np
import tensorflow as tf

from kerasrec.layers.id_bag import sum_rows

TABLE = np.random.default_rng(0).normal(size=(9, 4)).astype("float32")
IDS = np.array([[3, 0, 8, 2], [0, 0, 0, 0], [0, 5, 0, 0]], "int32")
WEIGHTS = np.float32([[1, 0, -2, 0.5], [0, 0, 0, 0], [0, 3, 0, 0]])


def dense(ids, weights):
    bags = np.zeros((len(ids), 9), np.float32)
    for row in range(len(ids)):
        bags[row, ids[row]] += weights[row]
    return bags


def test_is_the_product_with_a_sparse_matrix():
    expected = dense(IDS, WEIGHTS) @ TABLE
    assert (expected[1] == 0).all()
    compiled = tf.function(sum_rows, jit_compile=True)
    for found in (sum_rows(TABLE, IDS, WEIGHTS), compiled(TABLE, IDS, WEIGHTS)):
        np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-6, atol=1e-6)


def test_gradients_are_those_of_the_product():
    weight = np.random.default_rng(1).normal(size=(3, 4)).astype("float32")
    table = keras.Variable(TABLE)
    for jit_compile in (False, True):

        @tf.function(jit_compile=jit_compile)
        def gradient():
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(sum_rows(table, IDS, WEIGHTS) * weight)
            return tape.gradient(loss, table.value)

        expected = dense(IDS, WEIGHTS).T @ weight
        np.testing.assert_allclose(np.asarray(gradient()), expected, rtol=1e-5, atol=1e-6)


def test_bags_without_ids_and_batches_of_any_size():
    assert not np.asarray(sum_rows(TABLE, IDS[:, :0], WEIGHTS[:, :0])).any()
    spec = [tf.TensorSpec((None, None), "int32"), tf.TensorSpec((None, None), "float32")]
    free = tf.function(lambda ids, weights: sum_rows(TABLE, ids, weights), input_signature=spec)
    for rows in (1, 3):
        found = free(IDS[:rows], WEIGHTS[:rows])
        np.testing.assert_allclose(
            np.asarray(found), dense(IDS, WEIGHTS)[:rows] @ TABLE, rtol=1e-6, atol=1e-6
        )
