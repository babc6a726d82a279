import keras
import numpy as np
import pytest

from kerasrec.layers.interest.candidate_transformer import CandidateTransformer

RNG = np.random.default_rng(0)
REAL = np.array([[1, 1, 1], [1, 0, 0], [0, 0, 0]], "float32")
STEPS = RNG.normal(size=(3, 3, 4)).astype("float32") * REAL[..., None]
CANDIDATES = RNG.normal(size=(3, 5, 4)).astype("float32")


def test_it_is_the_stock_attention_read_at_the_candidate():
    layer = CandidateTransformer(2, 3)
    layer.build(STEPS.shape)
    for weight in layer.weights:
        weight.assign(RNG.normal(0, 0.5, weight.shape))
    found = np.asarray(layer(STEPS, REAL, CANDIDATES))
    stock = keras.layers.MultiHeadAttention(2, 2)
    stock.build((None, 4, 4), (None, 4, 4))
    keys, values = np.split(layer.keys_values.kernel.numpy(), 2, axis=1)
    kernels = (layer.query.kernel.numpy(), keys, values)
    denses = (stock.query_dense, stock.key_dense, stock.value_dense)
    for dense, kernel, bias in zip(
        denses, kernels, (0, layer.keys_values, layer.keys_values), strict=True
    ):
        dense.set_weights([kernel.reshape(4, 2, 2), np.zeros((2, 2))])
        assert bias == 0 or not bias.use_bias
    stock.output_dense.set_weights(
        [layer.outward.kernel.numpy().reshape(2, 2, 4), layer.outward.bias.numpy()]
    )
    places = layer.places.numpy()
    for row, count in enumerate((3, 1, 0)):
        for at in range(5):
            x = np.concatenate([CANDIDATES[row, at][None], STEPS[row, :count]])
            x = (x + places[[0, *range(count, 0, -1)]])[None]
            y = layer.attention_norm(x[:, :1] + stock(x[:, :1], x))
            z = layer.forward_norm(y + layer.outer(keras.ops.leaky_relu(layer.inner(y))))
            np.testing.assert_allclose(found[row, at], z[0, 0], rtol=1e-4, atol=1e-5)


def test_a_config_makes_the_same_layer():
    layer = CandidateTransformer(2, 3, dropout=0.1, name="one")
    assert CandidateTransformer.from_config(layer.get_config()).get_config() == layer.get_config()


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="multiple of num_heads=3; received 4"):
        CandidateTransformer(3, 3).build((None, 3, 4))
