"""Random numbers that stay fast under XLA."""

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from kerasrec.types import Tensor


@keras.saving.register_keras_serializable("kerasrec")
class Dropout(keras.layers.Dropout):
    """`keras.layers.Dropout` that always uses the Philox generator.

    The stock layer lets TensorFlow choose the generator. Under XLA on a CPU that choice is about a
    hundred times slower. Without XLA, both layers draw the same mask from the same seed.

    The arguments are those of the stock layer: `rate`, the fraction of the inputs set to 0 in
    training, where the others are scaled by 1 / (1 - rate); `noise_shape`; `seed`; `name` and
    `dtype`.

    Input shape:
        Arbitrary.

    Output shape:
        Same as the input.

    Raises:
        ValueError: if `rate` is not between 0 and 1.

    Example:

    >>> import numpy as np
    >>> Dropout(0.5)(np.ones((2, 3)), training=False).numpy().tolist()
    [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
    """

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Return the inputs, with dropout applied in training."""
        if not training or self.rate == 0:
            return inputs
        shape = self.noise_shape
        if shape is not None:
            shape = [ops.shape(inputs)[i] if size is None else size for i, size in enumerate(shape)]
        return tf.nn.experimental.stateless_dropout(
            inputs,
            rate=self.rate,
            seed=ops.cast(self.seed_generator.next(), "int32"),
            rng_alg="philox",
            noise_shape=shape,
        )


def draw_normal(shape: Any, seed: keras.random.SeedGenerator) -> Tensor:
    """Draw standard normal numbers by the Philox generator, see `Dropout`.

    Args:
        shape: shape of the result.
        seed: generator of a new seed for each call.
    """
    return tf.random.stateless_normal(shape, ops.cast(seed.next(), "int32"), alg="philox")
