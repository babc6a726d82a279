import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrec.layers import Dropout


def ones():
    return np.ones((200, 50), "float32")


def test_same_mask_as_the_stock_layer():
    ours, stock = Dropout(0.3, seed=5), keras.layers.Dropout(0.3, seed=5)
    for _ in range(2):  # the second call draws anew, in both
        np.testing.assert_array_equal(
            np.asarray(ours(ones(), training=True)), np.asarray(stock(ones(), training=True))
        )


def test_drops_the_rate_and_scales_the_rest():
    out = np.asarray(Dropout(0.3, seed=1)(ones(), training=True))
    assert set(np.unique(out).tolist()) == {0.0, float(np.float32(1 / 0.7))}
    assert (out == 0).mean() == pytest.approx(0.3, abs=0.03)


def test_calm_outside_training_and_at_rate_0():
    for layer, training in ((Dropout(0.9), False), (Dropout(0.0), True)):
        np.testing.assert_array_equal(np.asarray(layer(ones(), training=training)), ones())


def test_the_graph_asks_for_philox():
    layer = Dropout(0.5, seed=3)
    graph = (
        tf.function(lambda x: layer(x, training=True))
        .get_concrete_function(tf.TensorSpec((None, 50), tf.float32))
        .graph
    )
    (draw,) = [op for op in graph.get_operations() if op.type == "StatelessRandomUniformV2"]
    assert int(tf.get_static_value(draw.inputs[3])) == tf.random.Algorithm.PHILOX.value


def test_under_xla():
    layer = Dropout(0.5, seed=3)
    draw = tf.function(lambda x: layer(x, training=True), jit_compile=True)
    first, second = draw(tf.constant(ones())).numpy(), draw(tf.constant(ones())).numpy()
    assert (first == 0).mean() == pytest.approx(0.5, abs=0.03)
    assert not np.array_equal(first, second)


def test_noise_shape_drops_whole_rows():
    out = np.asarray(Dropout(0.5, noise_shape=(None, 1), seed=2)(ones(), training=True))
    assert (np.ptp(out, axis=1) == 0).all()
    assert 0 < (out[:, 0] == 0).mean() < 1


def test_config_round_trip():
    layer = Dropout(0.25, seed=4, name="here")
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    assert type(again) is Dropout
    assert again.get_config() == layer.get_config()


def test_bad_rate():
    with pytest.raises(ValueError, match="1.5"):
        Dropout(1.5)
