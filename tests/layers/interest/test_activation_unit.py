import numpy as np
import pytest
import tensorflow as tf

from kerasrec.layers.interest.activation_unit import ActivationUnit

RNG = np.random.default_rng(0)
STEPS = RNG.normal(size=(2, 3, 4)).astype("float32")
REAL = np.array([[1, 1, 1], [1, 0, 0]], "float32")
STEPS *= REAL[..., None]
CANDIDATES = RNG.normal(size=(2, 5, 4)).astype("float32")


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("softmax", [False, True])
def test_one_after_the_other_the_steps_weigh_as_together(softmax, compiled):
    layer = ActivationUnit((6, 5), softmax=softmax)
    together = layer(STEPS, REAL, CANDIDATES, training=True)

    @tf.function(jit_compile=compiled)
    def apart(steps, real, candidates):
        return layer(steps, real, candidates)

    found = apart(*map(tf.constant, (STEPS, REAL, CANDIDATES)))
    np.testing.assert_allclose(found, together, rtol=1e-5, atol=1e-6)
    alone = np.stack([layer(STEPS, REAL, CANDIDATES[:, i : i + 1])[:, 0] for i in range(5)], 1)
    np.testing.assert_allclose(alone, together, rtol=1e-5, atol=1e-6)


def test_padding_and_empty_histories_add_nothing():
    for softmax in (False, True):
        layer = ActivationUnit((6,), softmax=softmax)
        found = layer(STEPS, REAL, CANDIDATES)
        short = layer(STEPS[1:, :1], REAL[1:, :1], CANDIDATES[1:])
        np.testing.assert_allclose(found[1:], short, rtol=1e-5, atol=1e-6)
        assert not np.any(layer(STEPS * 0, REAL * 0, CANDIDATES))
        if softmax:  # of one step the weight is 1
            np.testing.assert_allclose(found[1, 0], STEPS[1, 0], rtol=1e-6)


def test_a_config_makes_the_same_layer():
    layer = ActivationUnit((6, 5), softmax=True, name="unit")
    assert ActivationUnit.from_config(layer.get_config()).get_config() == layer.get_config()


def test_without_hidden_units_it_is_refused():
    with pytest.raises(ValueError, match="ActivationUnit: each of hidden_units must be.*0"):
        ActivationUnit(())
