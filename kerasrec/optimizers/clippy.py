"""Adagrad with steps that are bounded relative to the weights."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from kerasrec._checks import check_number
from kerasrec.optimizers.rows import Rows, Table, gather
from kerasrec.optimizers.sparse import SparseUpdates
from kerasrec.types import Tensor


@keras.saving.register_keras_serializable("kerasrec")
class ClippyAdagrad(SparseUpdates, keras.optimizers.Adagrad):
    """Adagrad with Clippy: one factor per variable keeps the step of every weight within bounds.

        p = 1 / sqrt(accumulator + epsilon)
        step = learning_rate * gradient * p
        bound = variable_relative_threshold * |w| + accumulator_relative_threshold * p
                + absolute_threshold
        w = w - factor * step,    factor = min(1, min over the variable of bound / |step|)
        accumulator = accumulator + gradient^2

    See Tang et al., 2023, "Improving Training Stability for Multitask Ranking Models in Recommender
    Systems". Arguments and results are those of `tfrs.experimental.optimizers.ClippyAdagrad`, for
    Keras 3. A weight without a gradient takes no step and does not bound the factor. The factor of
    a table therefore depends on its touched rows only, and the result equals that of the same model
    with dense gradients. As in all optimizers here, gradients are summed over replicas and
    duplicate ids, then clipped if `clipnorm` or a similar argument is set, and then used in the
    formula.

    Args:
        learning_rate: number or schedule; the paper uses 1.
        initial_accumulator_value: initial value of the accumulators.
        variable_relative_threshold: largest step, as a fraction of the weight.
        accumulator_relative_threshold: largest step, as a fraction of p.
        absolute_threshold: largest step of a weight at zero. With 0, a weight at zero that has a
            gradient blocks all further updates of its variable.
        epsilon: keeps the root positive.
        export_clipping_factors: store each variable's factor of the last step in
            `clipping_factors`.
        clip_accumulator_update: whether the factor also applies to the gradient that is added to
            the accumulator.
        use_standard_accumulator_update: update the accumulator before it is used, as in Adagrad;
            not together with `clip_accumulator_update`.
        **kwargs: as for the other optimizers, see `SparseUpdates`.

    Raises:
        ValueError: if an argument is out of range, or a variable is not of a float dtype.

    Example:

    >>> w = keras.Variable([1.0, 2.0])
    >>> ClippyAdagrad(1.0).apply([tf.constant([100.0, -100.0])], [w])
    >>> w.numpy().round(4)
    array([0.9, 2.1], dtype=float32)
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        initial_accumulator_value: float = 0.1,
        variable_relative_threshold: float = 0.1,
        accumulator_relative_threshold: float = 0.0,
        absolute_threshold: float = 1e-7,
        epsilon: float = 1e-7,
        export_clipping_factors: bool = False,
        clip_accumulator_update: bool = False,
        use_standard_accumulator_update: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            learning_rate=learning_rate,
            initial_accumulator_value=initial_accumulator_value,
            epsilon=epsilon,
            **kwargs,
        )
        self.variable_relative_threshold = variable_relative_threshold
        self.accumulator_relative_threshold = accumulator_relative_threshold
        self.absolute_threshold = absolute_threshold
        self.export_clipping_factors = export_clipping_factors
        self.clip_accumulator_update = clip_accumulator_update
        self.use_standard_accumulator_update = use_standard_accumulator_update
        for argument in (
            "initial_accumulator_value",
            "variable_relative_threshold",
            "accumulator_relative_threshold",
            "absolute_threshold",
            "epsilon",
        ):
            check_number(self, argument, getattr(self, argument), numpy=True)
        if clip_accumulator_update and use_standard_accumulator_update:
            raise ValueError(
                "ClippyAdagrad: clip_accumulator_update and use_standard_accumulator_update cannot "
                "both be True: the factor is only known after the accumulator has been used."
            )

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Create an accumulator per weight, and the factors if they are exported."""
        if self.built:
            return
        super().build(variables)
        self.clipping_factors = [
            self.add_variable((), "ones", name="clipping_factor", aggregation="only_first_replica")
            for _ in variables
            if self.export_clipping_factors
        ]

    def row_slots(self, index: int) -> list[keras.Variable]:
        """Return the accumulator."""
        return [self.state("accumulator", index)]

    def row_step(
        self,
        gradient: Tensor,
        row: Tensor,
        slots: tuple[Tensor, ...],
        learning_rate: Tensor,
        *shared: Tensor,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the updated rows and slots."""
        step, factor, accumulator = self._step(gradient, row, slots[0], learning_rate)
        if not self.use_standard_accumulator_update:
            accumulator += tf.square(gradient * (factor if self.clip_accumulator_update else 1))
        return row - factor * step, (accumulator,)

    def dense_step(self, gradient: Tensor, variable: tf.Variable, learning_rate: Tensor) -> None:
        """Update a whole variable."""
        (accumulator,) = self.row_slots(self.index_of(variable))
        gradient = tf.cast(gradient, variable.dtype)
        weights, (sums,) = self.row_step(
            gradient, tf.identity(variable), (tf.identity(accumulator.value),), learning_rate
        )
        accumulator.assign(sums)
        variable.assign(weights)

    def _step(
        self, gradient: Tensor, weights: Tensor, accumulator: Tensor, learning_rate: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the unscaled step, its factor and the accumulator that it used."""
        if self.use_standard_accumulator_update:
            accumulator += tf.square(gradient)
        scale = tf.math.rsqrt(accumulator + self.epsilon)
        step = learning_rate * gradient * scale
        bound = (
            self.variable_relative_threshold * tf.abs(weights)
            + self.accumulator_relative_threshold * scale
            + self.absolute_threshold
        )
        # NaN where bound and step are both 0: these weights must not reduce the factor.
        ratio = tf.where(step == 0, tf.ones_like(step), bound / tf.abs(step))
        return step, tf.minimum(tf.reduce_min(ratio), 1), accumulator

    def update_step(self, gradient: Any, variable: tf.Variable, learning_rate: Tensor) -> None:
        """Update one variable, and store its factor if factors are exported."""
        if self.export_clipping_factors:
            index = self.index_of(variable)
            self.clipping_factors[index].assign(self._factor(gradient, variable, learning_rate))
        super().update_step(gradient, variable, learning_rate)

    def _factor(self, gradient: Any, variable: tf.Variable, learning_rate: Tensor) -> Tensor:
        """Return the factor of the next update."""
        weights = [variable, self.state("accumulator", self.index_of(variable)).value]
        if isinstance(gradient, Rows):
            weights, gradient = [gather(v, gradient.ids) for v in weights], gradient.gradients()
        elif isinstance(gradient, Table):
            gradient = gradient.gradient
        row, accumulator = (tf.convert_to_tensor(v) for v in weights)
        learning_rate = tf.cast(learning_rate, row.dtype)
        if self.weight_decay is not None and self.has_decay(variable):
            row -= row * (self.weight_decay * learning_rate)
        return self._step(tf.cast(gradient, row.dtype), row, accumulator, learning_rate)[1]

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "variable_relative_threshold": self.variable_relative_threshold,
            "accumulator_relative_threshold": self.accumulator_relative_threshold,
            "absolute_threshold": self.absolute_threshold,
            "export_clipping_factors": self.export_clipping_factors,
            "clip_accumulator_update": self.clip_accumulator_update,
            "use_standard_accumulator_update": self.use_standard_accumulator_update,
        }
