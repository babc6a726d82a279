"""Tables in fewer bytes: what they read, and what they weigh."""

import numpy as np
import pytest
import tensorflow as tf

from kerasrec.retrieval.vector_table import VectorTable


@pytest.mark.parametrize("dim", [8, 9])
@pytest.mark.parametrize("kind, bound", [("float32", 0), ("float16", 2**-11), ("int8", 1 / 3556)])
def test_rows_are_within_half_a_step(kind, bound, dim):
    """The last step of int8 is max |v| / 127 / 14, of float16 2^-10 of the number."""
    rng = np.random.default_rng(0)
    values = (rng.normal(size=(50, dim)) * rng.lognormal(size=(50, 1), sigma=3)).astype(np.float32)
    values[7] = 0
    table = VectorTable(values, kind)
    error = np.abs(table.numpy() - values)
    size = (
        np.maximum(np.abs(values), 2**-14)
        if kind == "float16"
        else np.abs(values).max(axis=1, keepdims=True)
    )
    assert (error <= bound * size * 1.001).all()
    picked = table.rows([[3, 7], [0, 3]])
    assert picked.shape == (2, 2, dim)
    np.testing.assert_array_equal(picked[0, 0], table.numpy()[3])


def test_dot_products_of_int8_read_the_8_bits_alone():
    values = np.float32([[1.0, -0.5, 0.25, 0.1, 0.0, 0.3, 0.6, 0.9]])
    table = VectorTable(values, "int8")
    query = np.eye(8, dtype=np.float32)
    steps = np.rint(values[0] * 127) / 127  # the scale is 1 / 127
    np.testing.assert_allclose(table.dot_products(query, 0, 1)[:, 0], steps, atol=1e-6)
    assert table.is_coarse and not VectorTable(values, "float16").is_coarse


def test_bytes_of_a_row():
    def size(kind, dim=64):
        table = VectorTable(np.random.default_rng(0).normal(size=(10, dim)), kind)
        return sum(np.asarray(v).nbytes for v in table.variables_stored) / 10

    assert [size(kind) for kind in ("float32", "float16", "int8")] == [256, 128, 100]
    assert size("int8", 2) == 8  # narrow tables stay float32


def test_works_in_a_graph_of_unknown_batch():
    table = VectorTable(np.random.default_rng(0).normal(size=(20, 8)), "int8")
    rows = tf.function(table.rows, input_signature=[tf.TensorSpec((None, None), tf.int32)])
    assert rows.get_concrete_function().output_shapes.as_list() == [None, None, 8]
    np.testing.assert_allclose(rows(tf.constant([[3]]))[0, 0], table.numpy()[3], rtol=1e-6)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="float16 holds numbers up to 65,504; received 70,000"):
        VectorTable(np.full((1, 8), 7e4), "float16")
    with pytest.raises(ValueError, match="kind must be one of .*received 'float8'"):
        VectorTable(np.ones((1, 8)), "float8")
