"""FTRL, follow the regularised leader."""

import keras
import tensorflow as tf

from kerasrec.optimizers.sparse import SparseUpdates
from kerasrec.types import Tensor


@keras.saving.register_keras_serializable("kerasrec")
class Ftrl(SparseUpdates, keras.optimizers.Ftrl):
    """`keras.optimizers.Ftrl` whose sparse gradients are summed, then clipped, then applied.

        sum' = sum + gradient^2                                    (p = -learning_rate_power)
        linear = linear + gradient + 2 l2_shrinkage row - (sum'^p - sum^p) / learning_rate * row
        row = (clip(linear, -l1, l1) - linear) / ((sum'^p + beta) / learning_rate + 2 l2)

    A row is a function of its linear term and its sum, so a row without a gradient stays unchanged.
    The result equals that of the same model with dense gradients if the table starts at zeros, the
    learning rate is constant and there is no shrinkage. A dense first step sets all other initial
    weights to 0, even in rows without a gradient. Here, a row keeps its initial weights until its
    first gradient.

    Args:
        *args: as for `keras.optimizers.Ftrl`.
        skip_nonfinite: skip updates that are not finite, see `SparseUpdates`.
        **kwargs: as for `keras.optimizers.Ftrl`.

    Raises:
        ValueError: if an argument is out of range, or a variable is not of a float dtype.

    Example:

    >>> optimizer = Ftrl(0.1, l1_regularization_strength=0.01)
    >>> optimizer.get_config()["l1_regularization_strength"]
    0.01
    """

    def row_slots(self, index: int) -> list[keras.Variable]:
        """Return the sum of squared gradients and the linear term."""
        return [self.state("accumulator", index), self.state("linear", index)]

    def row_step(
        self,
        gradient: Tensor,
        row: Tensor,
        slots: tuple[Tensor, ...],
        learning_rate: Tensor,
        *shared: Tensor,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the updated rows and slots."""
        power = -self.learning_rate_power
        l1, l2 = self.l1_regularization_strength, self.l2_regularization_strength
        total, linear = slots
        new_total = total + tf.square(gradient)
        linear += (
            gradient
            + 2 * self.l2_shrinkage_regularization_strength * row
            - (tf.pow(new_total, power) - tf.pow(total, power)) / learning_rate * row
        )
        quadratic = (tf.pow(new_total, power) + self.beta) / learning_rate + 2 * l2
        return (tf.clip_by_value(linear, -l1, l1) - linear) / quadratic, (new_total, linear)
