import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec.layers import Embedding


def table(rows=6, dim=3):
    return np.arange(rows * dim, dtype="float32").reshape(rows, dim)


def layer(**kwargs):
    made = Embedding(6, 3, **kwargs)
    made.build()
    made.embeddings.assign(table())
    return made


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 5), min_size=0, max_size=20), st.sampled_from(["int32", "int64"]))
def test_rows_are_the_rows_of_the_table(ids, dtype):
    found = np.asarray(layer()(np.array(ids, dtype)))
    np.testing.assert_array_equal(found, table()[np.array(ids, int)])


def test_same_as_the_stock_layer_with_float_ids_and_any_shape():
    stock = keras.layers.Embedding(6, 3, weights=table())
    for ids in (np.array([[1.0, 5.0]]), np.zeros((2, 3, 4), "int32"), np.array(2)):
        np.testing.assert_array_equal(np.asarray(layer()(ids)), np.asarray(stock(ids)))


def test_gradient_stays_sparse_and_no_op_reads_the_table():
    made = layer()
    table_read = []

    @tf.function
    def gradient(ids):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(made(ids))
        found = tape.gradient(loss, made.embeddings.value)
        assert isinstance(found, tf.IndexedSlices)
        return found.values

    graph = gradient.get_concrete_function(tf.TensorSpec((None,), tf.int32)).graph
    table_read = [op for op in graph.get_operations() if op.type == "ReadVariableOp"]
    assert not table_read
    assert gradient(tf.constant([1, 1])).shape == (2, 3)


def test_under_xla_an_id_outside_the_table_is_loud():
    compiled = tf.function(layer(), jit_compile=True)
    rows = np.asarray(compiled(tf.constant([5, 6, -1])))
    np.testing.assert_array_equal(np.isnan(rows).all(axis=1), [False, True, True])


def test_mixed_precision_casts_rows_and_not_the_table():
    made = Embedding(6, 3, dtype="mixed_bfloat16")

    class Outer(keras.Model):
        def __init__(self):
            super().__init__(dtype="mixed_bfloat16")
            self.rows = made

        def call(self, ids):
            return self.rows(ids)

    model = Outer()
    graph = (
        tf.function(lambda ids: model(ids))
        .get_concrete_function(tf.TensorSpec((None,), tf.int32))
        .graph
    )
    assert not [op for op in graph.get_operations() if op.type == "ReadVariableOp"]
    assert made.embeddings.dtype == "float32"
    assert model(np.array([1])).dtype == tf.bfloat16


def test_l2_is_the_mean_squared_norm_of_the_rows_looked_up():
    made = layer(l2=0.5)
    made(np.array([1, 1, 2]))
    norms = (table() ** 2).sum(axis=1)
    assert float(sum(made.losses)) == pytest.approx(0.5 * (2 * norms[1] + norms[2]) / 3)


def test_l2_leaves_padding_out():
    made = layer(l2=0.5)
    made(np.array([[2, 0], [0, 0]]))
    assert float(sum(made.losses)) == pytest.approx(0.5 * (table()[2] ** 2).sum())
    made(np.zeros((2, 2), "int32"))
    assert float(sum(made.losses)) == 0.0


def test_mask_regularizer_and_constraint_of_the_stock_layer_work():
    made = layer(mask_zero=True, embeddings_regularizer=keras.regularizers.L2(1.0))
    assert np.asarray(made.compute_mask(np.array([0, 3]))).tolist() == [False, True]
    made(np.array([1]))
    assert float(sum(made.losses)) == pytest.approx((table() ** 2).sum())


def test_config_and_keras_file(tmp_path):
    model = keras.Sequential([keras.Input((2,), dtype="int32"), layer(l2=0.1)])
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.layers[0].l2 == 0.1
    ids = np.array([[1, 5]])
    np.testing.assert_array_equal(np.asarray(again(ids)), np.asarray(model(ids)))


def test_lora_of_the_stock_layer_works():
    made = layer()
    made.enable_lora(1)
    assert made(np.array([1])).shape == (1, 3)
    assert [w.path for w in made.trainable_weights] != []


@pytest.mark.parametrize("l2", [-0.1, float("nan"), float("inf"), "a", True, None])
def test_bad_l2(l2):
    with pytest.raises(ValueError, match="l2 must be a finite number of at least 0"):
        Embedding(6, 3, l2=l2)
