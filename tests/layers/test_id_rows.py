import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec.layers.id_rows import IdRows


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 9))))
def test_rows_come_back(pairs):
    layer = IdRows(6)
    rows, ids = np.array(pairs, int).reshape(-1, 2).T
    layer.assign(rows, ids)
    expected = [sorted({i for r, i in pairs if r == row}) for row in range(6)]
    found = layer(np.arange(6)).numpy().tolist()
    assert [[i for i in row if i] for row in found] == expected
    assert layer.size == sum(map(len, expected)) and layer.longest == max(map(len, expected))
    compiled = tf.function(layer, jit_compile=True)(tf.range(6)).numpy().tolist()
    assert compiled == found


def test_a_second_assignment_replaces_the_first():
    layer = IdRows(2)
    layer.assign(np.array([0, 0]), np.array([3, 4]))
    layer.assign(np.array([1]), np.array([5]))
    assert layer(np.array([0, 1])).numpy().tolist() == [[0], [5]]
    assert [tuple(weight.shape) for weight in layer.weights] == [(3,), (1,)]
    again = IdRows.from_config(layer.get_config())
    again.set_weights(layer.get_weights())
    assert again(np.array([0, 1])).numpy().tolist() == [[0], [5]]


@pytest.mark.parametrize("options", [{"num_rows": 0}, {"size": -1}, {"longest": 1.5}])
def test_bad_numbers(options):
    with pytest.raises(ValueError, match=f"IdRows: {next(iter(options))} must be an integer"):
        IdRows(**{"num_rows": 2, **options})
