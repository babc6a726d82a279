"""Equal to the stock layers where there is one sequence a row; a packed row equals its parts."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrec.layers import Recurrent

STOCK = {"gru": keras.layers.GRU, "lstm": keras.layers.LSTM}


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_states_and_gradients_of_the_stock_layer(cell, compiled):
    steps = tf.constant(np.random.default_rng(0).normal(size=(3, 7, 5)).astype("float32"))
    position = tf.range(7)[None, :]
    layer, stock = Recurrent(4, cell=cell), STOCK[cell](4, return_sequences=True)
    layer.build(steps.shape)
    stock.build(steps.shape)
    rng = np.random.default_rng(1)
    stock.set_weights([rng.normal(size=w.shape) for w in stock.get_weights()])
    layer.set_weights(stock.get_weights())
    found = []
    for call, model in ((lambda: layer(steps, position), layer), (lambda: stock(steps), stock)):

        @tf.function(jit_compile=compiled and model is layer)
        def run(call=call, model=model):
            with tf.GradientTape() as tape:
                states = call()
                loss = tf.reduce_sum(states**2)
            return states, tape.gradient(loss, [w.value for w in model.trainable_weights])

        found.append(tf.nest.flatten(run()))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_unknown_cell():
    with pytest.raises(ValueError, match=r"one of 'gru', 'lstm'; received 'elman'"):
        Recurrent(4, cell="elman")
