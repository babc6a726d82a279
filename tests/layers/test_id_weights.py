import numpy as np
import pytest
import scipy.sparse
import tensorflow as tf

from kerasrec.layers.id_weights import IdWeights

RNG = np.random.default_rng(0)


def random_matrix(size=9, width=3):
    dense = np.zeros((size, size))
    for row in range(size):
        dense[row, RNG.choice(size, RNG.integers(0, width + 1), replace=False)] = RNG.normal()
    return dense


@pytest.mark.parametrize("compiled", [False, True])
def test_products_and_rows_are_those_of_a_dense_matrix(compiled):
    dense = random_matrix()
    layer = IdWeights(9, 3)
    layer.assign(scipy.sparse.csr_matrix(dense))
    right = RNG.normal(size=(9, 2))
    times = tf.function(layer.times, jit_compile=compiled)
    np.testing.assert_allclose(times(right.astype("float32")), dense @ right, atol=1e-5)
    ids, weights = map(np.asarray, layer(np.array([[2, 8]])))
    assert ids.shape == weights.shape == (1, 2, 3)
    for place, row in enumerate((2, 8)):
        kept = weights[0, place] != 0
        assert ids[0, place, kept].tolist() == np.flatnonzero(dense[row]).tolist()


def test_a_second_assign_forgets_the_first_and_config_keeps_the_sizes():
    layer = IdWeights(9, 3)
    layer.assign(scipy.sparse.csr_matrix(random_matrix()))
    layer.assign(scipy.sparse.csr_matrix((9, 9)))
    assert not np.asarray(layer.weights_of_ids).any()
    again = IdWeights.from_config(layer.get_config())
    assert (again.num_ids, again.neighbours) == (9, 3)
    assert IdWeights(2, 100).ids.shape == (2, 2)


def test_too_many_numbers_and_bad_sizes():
    with pytest.raises(ValueError, match="expected at most 1 numbers in a row; received 2"):
        IdWeights(3, 1).assign(scipy.sparse.csr_matrix(np.eye(3) + np.eye(3, k=1)))
    with pytest.raises(ValueError, match="IdWeights: neighbours must be an integer"):
        IdWeights(3, 0)
