import keras
import numpy as np
import pytest

from kerasrec.layers.mlp import MLP


def test_two_layers_by_hand():
    layer = MLP((2, 1))
    layer.build((None, 2))
    layer.hidden[0].kernel.assign([[1.0, 2.0], [1.0, -1.0]])
    layer.hidden[0].bias.assign([0.5, 0.0])
    layer.hidden[1].kernel.assign([[7.0], [2.0]])
    # relu(3 - 5 + 0.5) = 0 and relu(6 + 5) = 11
    assert float(layer(np.array([[3.0, -5.0]]))[0, 0]) == 7 * 0 + 2 * 11


def test_without_layers_it_returns_its_input():
    x = np.ones((2, 3), "float32")
    np.testing.assert_array_equal(MLP(())(x), x)


def test_batch_normalisation_comes_before_the_activation_and_replaces_the_bias():
    layer = MLP((1,), activation="linear", batch_normalization=True)
    layer.build((None, 1))
    assert [tuple(weight.shape) for weight in layer.trainable_weights] == [(1, 1), (1,), (1,)]
    layer.hidden[0].kernel.assign([[10.0]])
    x = np.array([[1.0], [3.0]], "float32")
    np.testing.assert_allclose(layer(x, training=True), [[-1.0], [1.0]], rtol=1e-4)
    assert float(layer.norms[0].moving_mean[0]) == pytest.approx(0.01 * 20)
    # Candidates are normalised together with the rows.
    np.testing.assert_allclose(layer(x[None], training=True), [[[-1.0], [1.0]]], rtol=1e-4)


def test_factorized_layers_multiply_two_maps():
    layer = MLP((2,), factorized=True, batch_normalization=False)
    layer.build((None, 1))
    layer.hidden[0].kernel.assign([[1.0, -1.0, 5.0, 7.0]])
    layer.hidden[0].bias.assign([1.0, 0.0, 0.5, 0.0])
    # a = (3 * 1 + 1, -3) and c = (3 * 5 + 0.5, 21)
    np.testing.assert_allclose(layer(np.array([[3.0]])), [[4 + 4 * 15.5, 0]])
    normed = MLP((2,), factorized=True, batch_normalization=True)
    assert normed(np.ones((4, 3))).shape == (4, 2) and normed.count_params() == 4 * 4 + 4 * 2


def test_dropout_acts_in_training_only():
    layer = MLP((32,), dropout=0.5)
    x = np.ones((4, 3), "float32")
    assert np.array_equal(layer(x), layer(x))
    assert not np.array_equal(layer(x, training=True), layer(x, training=True))


def test_penalties_are_of_the_products_alone():
    layer = MLP((1,), l1=0.1, l2=0.01)
    layer.build((None, 2))
    layer.hidden[0].kernel.assign([[3.0], [-4.0]])
    layer.hidden[0].bias.assign([100.0])
    assert float(sum(layer.losses)) == pytest.approx(0.1 * 7 + 0.01 * 25)


def test_config_round_trip():
    layer = MLP((4, 2), activation="gelu", dropout=0.1, batch_normalization=True, l1=0.1)
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    assert again.get_config() == layer.get_config()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_units": (4, 0)}, "each of hidden_units must be an integer of at least 1.*0"),
        ({"hidden_units": (4,), "dropout": 1.0}, r"dropout must be .* less than 1; received 1.0"),
        ({"hidden_units": (4,), "l2": -1.0}, r"l2 must be .* received -1.0"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        MLP(**options)
