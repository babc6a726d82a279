import numpy as np
import pytest
import tensorflow as tf

from kerasrec.layers.id_matrix import IdMatrix

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("compiled", [False, True])
def test_products_are_those_of_a_dense_matrix(compiled):
    dense = RNG.random((6, 9)) < 0.4
    dense[2] = False
    layer = IdMatrix(6, 9)
    layer.assign(*np.nonzero(dense))
    right, left = RNG.normal(size=(9, 2)), RNG.normal(size=(6, 2))
    times = tf.function(layer.times, jit_compile=compiled)
    transposed = tf.function(layer.transposed_times, jit_compile=compiled)
    np.testing.assert_allclose(times(right.astype("float32")), dense @ right, atol=1e-5)
    np.testing.assert_allclose(transposed(left.astype("float32")), dense.T @ left, atol=1e-5)


def test_an_empty_matrix_gives_zeros():
    layer = IdMatrix(2, 3)
    assert layer.times(np.ones((3, 1), "float32")).numpy().tolist() == [[0], [0]]
    again = IdMatrix.from_config(layer.get_config())
    assert (again.num_rows, again.num_columns) == (2, 3)


def test_bad_numbers():
    with pytest.raises(ValueError, match="IdMatrix: num_columns must be an integer"):
        IdMatrix(2, 0)
