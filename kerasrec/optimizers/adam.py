"""Lazy Adam and AdamW, which update only the rows that a batch touches."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from kerasrec._checks import check_flag
from kerasrec.optimizers.sparse import SparseUpdates
from kerasrec.types import Tensor


@keras.saving.register_keras_serializable("kerasrec")
class Adam(SparseUpdates, keras.optimizers.Adam):
    """Adam that sums and clips sparse gradients and updates only the touched rows.

        m = b1 m + (1 - b1) gradient,    v = b2 v + (1 - b2) gradient^2
        row = row - a_t m / (sqrt(v) + epsilon),    a_t = learning_rate sqrt(1 - b2^t) / (1 - b1^t)

    A row without a gradient stays unchanged, and so do its m and v. Dense Adam would keep moving it
    until its m has decayed. These are the semantics of PyTorch's SparseAdam and of LazyAdam, for
    tables of any size. A variable with a dense gradient is updated as in Keras.

    Args:
        *args: as for `keras.optimizers.Adam`.
        **kwargs: as for `keras.optimizers.Adam` and `SparseUpdates`, such as `skip_nonfinite`.

    Raises:
        ValueError: if an argument is out of range, or a variable is not of a float dtype.

    Example:

    >>> table = keras.Variable(keras.ops.ones((3, 2)))
    >>> optimizer = Adam(0.1, clipnorm=1.0)
    >>> optimizer.apply([tf.IndexedSlices(tf.ones((2, 2)), tf.constant([1, 1]))], [table])
    >>> table.numpy().round(3)
    array([[1. , 1. ],
           [0.9, 0.9],
           [1. , 1. ]], dtype=float32)
    """

    def row_slots(self, index: int) -> list[keras.Variable]:
        """Return m, v and, with amsgrad, the largest v."""
        slots = [self.state("momentum", index), self.state("velocity", index)]
        return [*slots, self.state("velocity_hat", index)] if self.amsgrad else slots

    def row_shared(self) -> tuple[Tensor, ...]:
        """Return the step number."""
        return (tf.cast(self.iterations + 1, "int32"),)

    def row_step(
        self,
        gradient: Tensor,
        row: Tensor,
        slots: tuple[Tensor, ...],
        learning_rate: Tensor,
        *shared: Tensor,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the updated rows and slots."""
        step = tf.cast(shared[0], "float32")
        momentum, velocity, *rest = slots
        momentum += (gradient - momentum) * (1 - self.beta_1)
        velocity += (tf.square(gradient) - velocity) * (1 - self.beta_2)
        largest = velocity
        if self.amsgrad:
            largest = rest[0] = tf.maximum(rest[0], velocity)
        # Bias correction of moments that start at zero.
        correction = tf.sqrt(1 - tf.pow(self.beta_2, step)) / (1 - tf.pow(self.beta_1, step))
        alpha = tf.cast(tf.cast(learning_rate, "float32") * correction, row.dtype)
        row -= momentum * alpha / (tf.sqrt(largest) + self.epsilon)
        return row, (momentum, velocity, *rest)

    def dense_step(self, gradient: Tensor, variable: tf.Variable, learning_rate: Tensor) -> None:
        """Update a whole variable in one fused TensorFlow op."""
        if self.amsgrad:
            super().dense_step(gradient, variable, learning_rate)
            return
        momentum, velocity = self.row_slots(self.index_of(variable))[:2]
        step = tf.cast(self.iterations + 1, variable.dtype)
        beta_1, beta_2 = (tf.cast(beta, variable.dtype) for beta in (self.beta_1, self.beta_2))
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=momentum.value.handle,
            v=velocity.value.handle,
            beta1_power=tf.pow(beta_1, step),
            beta2_power=tf.pow(beta_2, step),
            lr=learning_rate,
            beta1=beta_1,
            beta2=beta_2,
            epsilon=tf.cast(self.epsilon, variable.dtype),
            grad=tf.cast(gradient, variable.dtype),
        )


@keras.saving.register_keras_serializable("kerasrec")
class AdamW(Adam, keras.optimizers.AdamW):
    """`Adam` with decoupled weight decay.

        row = row - learning_rate * weight_decay * row,    then as in Adam

    A row without a gradient does not decay. Frequent rows therefore decay as often as they are
    trained, as with the L2 penalty on looked-up rows. With `decay_rest=True` a touched row also
    decays for the skipped steps s+1 ... t-1 since its last update:

        row = row * product over u from s+1 to t of (1 - learning_rate_u * weight_decay)

    This is the decay that dense AdamW applies, delayed until the next gradient of the row. Dense
    weights decay at every step.

    Args:
        *args: as for `keras.optimizers.AdamW`.
        decay_rest: whether a row also decays for the steps without a gradient. It costs eight bytes
            per row.
        **kwargs: as for `keras.optimizers.AdamW` and `SparseUpdates`, such as `skip_nonfinite`.

    Raises:
        ValueError: if an argument is out of range, or a variable is not of a float dtype.

    Example:

    >>> AdamW(0.01, weight_decay=0.004).weight_decay
    0.004
    """

    def __init__(self, *args: Any, decay_rest: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        check_flag(self, "decay_rest", decay_rest)
        self.decay_rest = decay_rest

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Create m and v, and with `decay_rest` the decay already applied to each row."""
        if self.built:
            return
        super().build(variables)
        self._decayed: list[keras.Variable | None] = [None] * len(variables)
        if self.decay_rest:
            # Logarithms, since float32 could not resolve products so close to 1.
            self._log_decay = self.add_variable(
                (), dtype="float64", name="log_decay", aggregation="only_first_replica"
            )
            self._decayed = [self.add_row_variable(v, "decayed", "float64") for v in variables]

    def _decays_rest(self, index: int) -> bool:
        variable = self.trained[index]
        return self._decayed[index] is not None and self.has_decay(variable)

    def row_decay(self, index: int) -> float:
        """Return the decay that the kernel applies; 0 if `row_step` applies it."""
        return 0.0 if self._decays_rest(index) else super().row_decay(index)

    def row_slots(self, index: int) -> list[keras.Variable]:
        """Return the slots of Adam, and with `decay_rest` the decay already applied to each row."""
        slots = super().row_slots(index)
        return [*slots, self._decayed[index]] if self._decays_rest(index) else slots

    def row_shared(self) -> tuple[Tensor, ...]:
        """Return the step number and the logarithm of the total decay up to this step."""
        shared = super().row_shared()
        return (*shared, self._log_decay_now()) if self.decay_rest else shared

    def _log_decay_now(self) -> Tensor:
        share = tf.cast(self.learning_rate, "float64") * self.weight_decay
        return tf.convert_to_tensor(self._log_decay.value) + tf.math.log1p(-share)

    def row_step(
        self,
        gradient: Tensor,
        row: Tensor,
        slots: tuple[Tensor, ...],
        learning_rate: Tensor,
        *shared: Tensor,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the updated rows and slots, after the decay of the skipped steps."""
        if len(slots) == 2 + self.amsgrad:
            return super().row_step(gradient, row, slots, learning_rate, *shared)
        *slots_of_adam, decayed = slots
        factor = tf.reshape(tf.exp(shared[1] - decayed), (-1,) + (1,) * (len(row.shape) - 1))
        row *= tf.cast(factor, row.dtype)
        row, new = super().row_step(gradient, row, tuple(slots_of_adam), learning_rate, *shared)
        return row, (*new, tf.fill(tf.shape(decayed), shared[1]))

    def after_update(self, learning_rate: Tensor) -> None:
        """Accumulate the decay of this step."""
        if self.decay_rest:
            self._log_decay.assign(self._log_decay_now())

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "decay_rest": self.decay_rest}
