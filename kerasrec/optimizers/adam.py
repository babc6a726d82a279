"""Adam and AdamW, lazy or exact about rows that a batch does not touch."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from kerasrec.optimizers.rows import gather, scatter
from kerasrec.optimizers.sparse import SparseUpdates
from kerasrec.types import Tensor

# Tables of at most this many weights take the dense step when sparse="exact".
SMALL_TABLE = 2**19
# Steps whose effect on resting rows is remembered; older rows use the oldest.
MEMORY = 2**14
# A momentum that has faded to this share no longer moves a row.
FADED = 1e-8
# Rows caught up at a time when training ends.
CHUNK = 2**16


class RestingRows(NamedTuple):
    """What a table knows of the optimizer whose steps its resting rows have missed."""

    optimizer: "Adam"
    number: int

    def owed(self, ids: Tensor) -> Tensor:
        """What the rows have yet to make up for, `ids.shape + (dim,)`."""
        return self.optimizer.owed(self.number, ids)

    def catch_up(self) -> None:
        """Brings the rows of this table, and their state, up to date."""
        self.optimizer.catch_up_table(self.number)


@keras.saving.register_keras_serializable("kerasrec")
class Adam(SparseUpdates, keras.optimizers.Adam):
    """`keras.optimizers.Adam` whose sparse gradients are summed, then clipped, then applied.

        m = b1 m + (1 - b1) gradient,    v = b2 v + (1 - b2) gradient^2
        row = row - a_t m / (sqrt(v) + epsilon),    a_t = learning_rate sqrt(1 - b2^t) / (1 - b1^t)

    Dense Adam also moves rows that have no gradient, as long as their m fades. With

    - `sparse="lazy"` such rows, their m and their v rest. This is PyTorch's SparseAdam.
    - `sparse="exact"` they rest as well, but when a gradient comes they first make up for the
      steps s+1 ... t-1 that they missed,

          row = row - m / (sqrt(v) + epsilon) * sum_u a_u (b1 / sqrt(b2))^(u - s)
          m = m b1^(t-1-s),    v = v b2^(t-1-s)

      which is what dense Adam did in them (epsilon taken as fading with sqrt(v)).
      `kerasrec.layers.Embedding` adds what a row still owes when it is looked up in training, so
      that the gradients are those of dense Adam too: over 200 steps at a rate of 0.01 on weights
      of size 0.5 no weight was further than 1e-5 from it (lazy: 4e-2), which a test holds; 2e-5
      where gradients are as small as epsilon. A stock `Embedding` looks up rows that have yet to
      make up, and ends within 5e-3. Tables of at most 2^19 weights, where that is the faster way,
      take the dense step itself, to the same result.

    The tables themselves are brought up to date by `catch_up`: at the end of `fit`, when the model
    is saved, and, for the models of the zoo, whenever they are evaluated or their weights are read.
    A training loop of your own ends with
    `optimizer.finalize_variable_values(model.trainable_variables)`. With `weight_decay`, touched
    rows alone decay.

    Args:
        *args: as for `keras.optimizers.Adam`.
        sparse: `"exact"` or `"lazy"`, see above.
        **kwargs: as for `keras.optimizers.Adam`; and `skip_nonfinite`, to leave out updates that
            are not finite, see `SparseUpdates`.

    Raises:
        ValueError: if an argument is out of range, or a variable is not of a float dtype.

    Example:

    >>> optimizer = Adam(0.01, clipnorm=1.0, sparse="lazy")
    >>> optimizer.get_config()["sparse"]
    'lazy'
    """

    def __init__(self, *args: Any, sparse: str = "exact", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if sparse not in ("exact", "lazy"):
            raise ValueError(
                f'{type(self).__name__}: sparse must be "exact" or "lazy"; received {sparse!r}.'
            )
        self.sparse = sparse
        # With amsgrad the divisor of a resting row does not fade.
        self._fading = self.beta_1 / (1.0 if self.amsgrad else math.sqrt(self.beta_2))
        if sparse == "exact" and self._fading_steps >= MEMORY:
            raise ValueError(
                f'{type(self).__name__}: sparse="exact" needs a momentum that fades: beta_1 well '
                f"below sqrt(beta_2); received beta_1={self.beta_1}, beta_2={self.beta_2}. Lower "
                'beta_1, or take sparse="lazy".'
            )

    @property
    def _fading_steps(self) -> int:
        if self._fading >= 1:
            return MEMORY
        return math.ceil(math.log(FADED) / math.log(self._fading)) if self._fading > 0 else 1

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Creates m and v, and for `sparse="exact"` the step of each row's last gradient."""
        if self.built:
            return
        super().build(variables)
        self._last_steps = [
            self.add_row_variable(v, "last_step", "int32") if self._is_exact_table(v) else None
            for v in variables
        ]
        if any(step is not None for step in self._last_steps):
            self._missed = self.add_variable((MEMORY,), dtype="float32", name="missed")
        for number, variable in enumerate(variables):
            # For kerasrec.layers.Embedding and kerasrec.models; an earlier optimizer is forgotten.
            exact = self._last_steps[number] is not None
            variable.resting_rows = RestingRows(self, number) if exact else None

    def _is_exact_table(self, variable: Any) -> bool:
        is_table = len(variable.shape) > 0
        return self.sparse == "exact" and is_table and not self.prefers_dense(variable)

    def prefers_dense(self, variable: Any) -> bool:
        """Small tables, unless weight decay has to tell touched rows from others."""
        small = math.prod(variable.shape) <= SMALL_TABLE
        return self.sparse == "exact" and small and self.weight_decay is None

    def row_slots(self, index: int) -> list[keras.Variable]:
        """m, v, the largest v (amsgrad), and the step of the last gradient (exact)."""
        slots = [self._momentums[index], self._velocities[index]]
        if self.amsgrad:
            slots.append(self._velocity_hats[index])
        if self._last_steps[index] is not None:
            slots.append(self._last_steps[index])
        return slots

    def row_shared(self) -> tuple[Tensor, ...]:
        """The number of this step, and what rows have missed since each of the steps before."""
        step = tf.cast(self.iterations + 1, "int32")
        missed = getattr(self, "_missed", None)
        return (step,) if missed is None else (step, tf.convert_to_tensor(missed.value))

    def row_step(
        self,
        gradient: Tensor,
        row: Tensor,
        slots: tuple[Tensor, ...],
        learning_rate: Tensor,
        *shared: Tensor,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The formula, after the rows have caught up."""
        step, *missed = shared
        if missed:
            row, slots = self._caught_up(row, slots, step - 1, missed[0])
        momentum, velocity, *rest = slots
        momentum += (gradient - momentum) * (1 - self.beta_1)
        velocity += (tf.square(gradient) - velocity) * (1 - self.beta_2)
        largest = velocity
        if self.amsgrad:
            largest = rest[0] = tf.maximum(rest[0], velocity)
        if missed:
            rest[-1] = tf.fill(tf.shape(rest[-1]), step)
        alpha = tf.cast(self._alpha(learning_rate, step), row.dtype)
        row -= momentum * alpha / (tf.sqrt(largest) + self.epsilon)
        return row, (momentum, velocity, *rest)

    def dense_step(self, gradient: Tensor, variable: tf.Variable, learning_rate: Tensor) -> None:
        """The formula for a whole variable, in one fused operation of TensorFlow."""
        if self.amsgrad:
            super().dense_step(gradient, variable, learning_rate)
            return
        momentum, velocity = self.row_slots(self._get_variable_index(variable))[:2]
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

    def after_update(self, learning_rate: Tensor) -> None:
        """Adds this step to what every row has missed that does not get a gradient in it."""
        if getattr(self, "_missed", None) is None:
            return
        ages = np.arange(1, self._fading_steps + 1, dtype="int32")
        fading = (self._fading**ages).astype("float32")

        def add(missed: tf.Variable, alpha: Tensor, step: Tensor) -> None:
            change = tf.IndexedSlices(alpha * fading, (step - ages) % MEMORY)
            missed.scatter_add(change)
            scatter(missed, step % MEMORY, tf.zeros(()))

        def add_everywhere(strategy: Any, *args: Any) -> None:
            strategy.extended.update(self._missed.value, add, args=args, group=False)

        step = tf.cast(self.iterations + 1, "int32")
        self._everywhere(add_everywhere, self._alpha(learning_rate, step), step)

    def finalize_variable_values(self, var_list: Sequence[keras.Variable]) -> None:
        """Brings resting rows up to date. `fit` calls it when it ends."""
        self.catch_up()
        super().finalize_variable_values(var_list)

    def save_own_variables(self, store: Any) -> None:
        """Saves the state, in step with the tables, which are brought up to date first."""
        self.catch_up()
        super().save_own_variables(store)

    def catch_up(self) -> None:
        """Makes resting rows up for the steps they missed, in all tables; costs a pass over them.

        It changes no result: a row that has caught up owes nothing at its next gradient.
        """
        for number, last_step in enumerate(self._last_steps if self.built else []):
            if last_step is not None:
                self.catch_up_table(number)

    def catch_up_table(self, number: int) -> None:
        """`catch_up` for variable number `number` alone."""
        variable = self._trainable_variables[number]
        self._distribution_strategy.extended.update(
            getattr(variable, "value", variable), self._catch_up, args=(number,)
        )

    def owed(self, index: int, ids: Tensor) -> Tensor:
        """What rows of variable number `index` have yet to make up for, `ids.shape + (dim,)`."""
        flat = tf.reshape(ids, [-1])
        missed = tf.convert_to_tensor(self._missed.value)
        step = tf.cast(self.iterations, "int32")
        slots = tuple(gather(slot.value, flat) for slot in self.row_slots(index))
        if "_owed_kernel" not in self.__dict__:

            def kernel(slots: tuple[Tensor, ...], step: Tensor, missed: Tensor) -> Tensor:
                return self._caught_up(tf.zeros_like(slots[0]), slots, step, missed)[0]

            # Not an attribute that Keras would track and save.
            self.__dict__["_owed_kernel"] = tf.function(kernel, jit_compile=True)
        change = self.__dict__["_owed_kernel"](slots, step, missed)
        return tf.reshape(change, tf.concat([tf.shape(ids), tf.shape(change)[1:]], axis=0))

    def _catch_up(self, variable: tf.Variable, index: int) -> None:
        slots = [slot.value for slot in self.row_slots(index)]
        step = tf.cast(self.iterations, "int32")
        last_steps = tf.convert_to_tensor(slots[-1])
        resting = tf.where((last_steps > 0) & (last_steps < step))[:, 0]
        missed = tf.convert_to_tensor(self._missed.value)
        for start in range(0, int(tf.size(resting)), CHUNK):
            ids = resting[start : start + CHUNK]
            row, *old = (gather(table, ids) for table in (variable, *slots))
            row, new = self._caught_up(row, tuple(old), step, missed)
            constraint = self._row_constraint(variable)
            row = row if constraint is None else constraint(row)
            for table, updated in zip((variable, *slots), (row, *new), strict=True):
                scatter(table, ids, updated)

    def _caught_up(
        self, row: Tensor, slots: tuple[Tensor, ...], step: Tensor, missed: Tensor
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Rows and slots as they are after `step`, having had no gradient since their last."""
        momentum, velocity, *rest = slots
        last = rest[-1]
        shape = (-1,) + (1,) * (len(row.shape) - 1)
        oldest = tf.maximum(last, step + 1 - MEMORY) % MEMORY
        amount = tf.cast(tf.reshape(tf.gather(missed, oldest), shape), row.dtype)
        steps = tf.cast(tf.reshape(step - last, shape), row.dtype)
        largest = rest[0] if self.amsgrad else velocity
        row -= momentum / (tf.sqrt(largest) + self.epsilon) * amount
        momentum *= tf.pow(tf.cast(self.beta_1, row.dtype), steps)
        velocity *= tf.pow(tf.cast(self.beta_2, row.dtype), steps)
        return row, (momentum, velocity, *rest[:-1], tf.fill(tf.shape(last), step))

    def _alpha(self, learning_rate: Tensor, step: Tensor) -> Tensor:
        """The learning rate with Adam's correction for moments that start at zero."""
        step = tf.cast(step, "float32")
        correction = tf.sqrt(1 - tf.pow(self.beta_2, step)) / (1 - tf.pow(self.beta_1, step))
        return tf.cast(learning_rate, "float32") * correction

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "sparse": self.sparse}


@keras.saving.register_keras_serializable("kerasrec")
class AdamW(Adam, keras.optimizers.AdamW):
    """`Adam` with decoupled weight decay: dense weights decay at every step, touched rows too.

        row = row - learning_rate * weight_decay * row,    then as in Adam

    A row without a gradient does not decay, so frequent rows are decayed as often as they are
    trained, as with the L2 penalty on looked-up rows.

    Args:
        *args: as for `keras.optimizers.AdamW`.
        sparse: `"exact"` or `"lazy"`, see `Adam`.
        **kwargs: as for `keras.optimizers.AdamW`; and `skip_nonfinite`, to leave out updates that
            are not finite, see `SparseUpdates`.

    Raises:
        ValueError: if an argument is out of range, or a variable is not of a float dtype.

    Example:

    >>> AdamW(0.01, weight_decay=0.004).weight_decay
    0.004
    """
