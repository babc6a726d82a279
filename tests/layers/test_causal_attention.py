"""Equal to the stock layer without the bias; what the bias does, by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrec.layers import CausalAttention
from kerasrec.layers.histories import seen_by_each

RNG = np.random.default_rng(0)
STEPS = RNG.normal(size=(2, 6, 8)).astype("float32")
POSITION = np.array([[0, 1, 2, 3, 0, 1], [0, 1, 0, 1, 2, 3]], "int32")


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("heads", [1, 2])
def test_values_and_gradients_of_the_stock_layer(heads, compiled):
    layer, stock = CausalAttention(heads, 6), keras.layers.MultiHeadAttention(heads, 8 // heads)
    layer.build(STEPS.shape)
    stock.build(STEPS.shape, STEPS.shape)
    kernel, bias = RNG.normal(0, 0.3, (8, 24)), RNG.normal(size=24)
    layer.inward.set_weights([kernel, bias])
    split = [stock.query_dense, stock.key_dense, stock.value_dense]
    for dense, w, b in zip(split, np.split(kernel, 3, axis=1), np.split(bias, 3), strict=True):
        dense.set_weights([w.reshape(8, heads, -1), b.reshape(heads, -1)])
    kernel, bias = RNG.normal(0, 0.3, (8, 8)), RNG.normal(size=8)
    layer.outward.set_weights([kernel, bias])
    stock.output_dense.set_weights([kernel.reshape(heads, -1, 8), bias])
    found = []
    for call in (
        lambda x: layer(x, POSITION),
        lambda x: stock(x, x, attention_mask=seen_by_each(POSITION)),
    ):

        @tf.function(jit_compile=compiled)
        def run(x, call=call):
            with tf.GradientTape() as tape:
                tape.watch(x)
                values = call(x)
                loss = tf.reduce_sum(values**2)
            return values, tape.gradient(loss, x)

        found.append(run(tf.constant(STEPS)))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def biased(*biases):
    """A layer without products of q and k, whose values are the inputs."""
    layer = CausalAttention(1, len(biases))
    layer.build((1, 4, 1))
    layer.inward.set_weights([np.array([[0.0, 0.0, 1.0]]), np.zeros(3)])
    layer.outward.set_weights([np.ones((1, 1)), np.zeros(1)])
    layer.bias.assign([biases])
    return layer


def test_a_bias_weighs_by_distance():
    # Each step back counts a third of the one after it.
    layer = biased(0.0, -np.log(3), -np.log(9), -np.log(27))
    steps = np.array([[[1.0], [2.0], [4.0], [8.0]]], "float32")
    found = layer(steps, np.array([[0, 1, 2, 0]]))
    wanted = [1, (1 + 3 * 2) / 4, (1 + 3 * 2 + 9 * 4) / 13, 8]
    np.testing.assert_allclose(found[0, :, 0], wanted, rtol=1e-6)


def test_larger_distances_share_the_last_bias():
    steps = np.array([[[1.0], [2.0], [4.0], [8.0]]], "float32")
    found = biased(0.0, -np.log(2))(steps, np.arange(4)[None])
    np.testing.assert_allclose(found[0, -1, 0], (8 + (1 + 2 + 4) / 2) / 2.5, rtol=1e-6)


def test_without_bias_and_output_projection():
    layer = CausalAttention(2, 6, distance_bias=False, output_projection=False)
    found = layer(STEPS, POSITION)
    assert [tuple(w.shape) for w in layer.weights] == [(8, 24), (24,)]
    query, key, value = np.split(STEPS @ layer.inward.kernel.numpy(), 3, axis=-1)
    # The third step of the first row, head by head, by hand: it sees three steps.
    for head in (slice(0, 4), slice(4, 8)):
        scores = np.exp(key[0, :3, head] @ query[0, 2, head] / 2)
        wanted = scores / scores.sum() @ value[0, :3, head]
        np.testing.assert_allclose(found[0, 2, head], wanted, rtol=1e-4)


def test_queries_of_their_own():
    layer = CausalAttention(2, 6)
    layer.build(STEPS.shape)
    layer.inward.bias.assign(RNG.normal(size=24))
    np.testing.assert_allclose(
        layer(STEPS, POSITION, STEPS), layer(STEPS, POSITION), rtol=1e-5, atol=1e-6
    )
    # Keys and values come from the inputs: one step finds its own value, whatever asks.
    one = layer(STEPS[:, :1], POSITION[:, :1], 5 * STEPS[:, 1:2])
    np.testing.assert_allclose(one, layer(STEPS[:, :1], POSITION[:, :1]), rtol=1e-5, atol=1e-6)
    other = layer(STEPS, POSITION, STEPS[::-1])
    assert not np.allclose(other[0, 3], layer(STEPS, POSITION)[0, 3], rtol=1e-2)


def test_dropout_of_the_softmax_weights():
    layer = CausalAttention(1, 6, output_projection=False, dropout=0.5)
    first = STEPS[:, :1].repeat(500, axis=0)
    kept = layer(first, POSITION[:1, :1])
    dropped = layer(first, POSITION[:1, :1], training=True).numpy()
    # The only weight is dropped or doubled.
    gone = (dropped == 0).all(axis=-1)
    assert 0.4 < gone.mean() < 0.6
    np.testing.assert_allclose(dropped[~gone], 2 * kept.numpy()[~gone], rtol=1e-5)


def test_heads_divide_the_width():
    with pytest.raises(ValueError, match="multiple of num_heads=3; received 8"):
        CausalAttention(3, 4).build((1, 2, 8))


def test_half_precision_hides_what_comes_later():
    layer = CausalAttention(2, 6, dtype="mixed_float16")
    before = layer(STEPS, POSITION)
    changed = STEPS.copy()
    changed[:, 3:] = 0
    np.testing.assert_array_equal(before[:, :3], layer(changed, POSITION)[:, :3])


def test_config():
    layer = CausalAttention(
        2, 6, distance_bias=False, output_projection=False, dropout=0.1, name="attention"
    )
    layer.build(STEPS.shape)
    again = CausalAttention.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    again.build(STEPS.shape)
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(again(STEPS, POSITION), layer(STEPS, POSITION))
