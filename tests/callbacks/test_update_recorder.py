"""What observers of updates compute."""

import numpy as np
import pytest
import tensorflow as tf

from kerasrec.callbacks.update_recorder import norm
from kerasrec.optimizers.clips import clip

GRADIENT = np.arange(-7, 8, dtype="float32").reshape(5, 3)


@pytest.mark.parametrize("compiled", [True, False])
def test_a_norm_is_computed_as_clipping_does_so_that_it_is_computed_once(compiled: bool) -> None:
    @tf.function(jit_compile=compiled)
    def both(gradient: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return clip([gradient], clipnorm=1.0)[0], norm(gradient)

    clipped, size = both(GRADIENT)
    np.testing.assert_allclose(size, np.sqrt(280), rtol=1e-6)
    np.testing.assert_allclose(clipped, GRADIENT / np.sqrt(280), rtol=1e-5)
    operations = both.get_concrete_function(GRADIENT).graph.get_operations()
    kinds = [operation.type for operation in operations]
    # Where they differ, a step under XLA sums the gradient once more, which costs a quarter of it.
    of_a_norm = {True: "MatMul", False: "L2Loss"}
    assert kinds.count(of_a_norm[compiled]) == 2
    assert of_a_norm[not compiled] not in kinds


def test_a_norm_of_half_precision_is_float32() -> None:
    size = norm(tf.fill((400, 400), tf.constant(200.0, "float16")))
    assert size.dtype == "float32"
    assert float(size) == pytest.approx(80_000)
