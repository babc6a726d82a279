"""Base class of the sparse optimizers: from a gradient to the rows that it updates."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from kerasrec._keras import OptimizerHooks, compiled_by_xla
from kerasrec.optimizers.clips import CLIPS, check_clips, clip, clip_adaptively
from kerasrec.optimizers.constraints import get_row_constraint, row_constraint_of
from kerasrec.optimizers.rows import (
    Rows,
    Slices,
    Table,
    add,
    flagged,
    is_small_table,
    scatter,
    sum_duplicates,
    sum_into_table,
    touched_rows,
)
from kerasrec.types import Tensor

# Consecutive skips for skip_nonfinite=True.
SKIPPED_IN_A_ROW = 10


class SparseUpdates(OptimizerHooks, keras.optimizers.Optimizer):
    """Mixin that gives a Keras optimizer sparse updates. List it before the Keras class.

        sum over replicas -> sum duplicate rows -> clip -> update the touched rows only

    Stock Keras 3 clips before it sums, on each replica and for each duplicate, and then updates the
    whole table. Here, clipping and norms apply to the gradient that a dense model would have.
    Variables with a dense gradient are updated by the Keras class itself.

    Updates are lazy: a row without a gradient stays unchanged, and so does its state. No update is
    deferred, so the variable is up to date after every step for any reader: another optimizer, a
    moving average, a checkpoint, an export. The size of a table decides how the update is computed,
    by rows or as a whole with a mask, but never the result.

    A subclass lists its per-row state in `row_slots` and its formula in `row_step`.

    Weight decay of a table applies to touched rows only. With `gradient_accumulation_steps`, the
    rows touched in any of the steps are updated. `use_ema` averages whole tables, as in Keras.

    A row-wise constraint on a table (`ClipWeights`, `NonNeg`, norms along other axes than the
    first) is applied after each update to the touched rows, whatever the size of the table. Rows
    that are never touched stay as initialised. Other constraints apply to the whole table after
    every step, as in Keras, at the cost of the whole table.

    Args:
        *args: as for the Keras class.
        adaptive_clip: clip the gradient of each row, and of the weights that lead to each output of
            a dense variable, to this fraction of the norm of the weights, see `clip_by_weights`;
            0.01 is usual. It replaces `clipnorm` and similar arguments.
        row_constraint: constraint of all variables that have a sparse gradient and no constraint
            of their own, such as `keras.constraints.MaxNorm(1.0, axis=1)` or `ClipWeights(0.5)`.
        skip_nonfinite: skip updates whose gradient holds a NaN or an infinity: weights, state and
            `iterations` stay unchanged, and `skipped` counts them. An integer is the number of
            consecutive skips at which training stops with `tf.errors.InvalidArgumentError`; True
            means 10. Under XLA, `fit` raises a ValueError when it ends instead.
        **kwargs: as for the Keras class.

    Raises:
        ValueError: if an argument is out of range, or a variable is not of a float dtype.
    """

    def __init__(
        self,
        *args: Any,
        adaptive_clip: float | None = None,
        row_constraint: Any = None,
        skip_nonfinite: bool | int = False,
        **kwargs: Any,
    ) -> None:
        name = type(self).__name__
        if not isinstance(skip_nonfinite, bool | int) or skip_nonfinite < 0:
            raise ValueError(
                f"{name}: skip_nonfinite must be True, False or the number of non-finite "
                f"gradients in a row at which training stops; received {skip_nonfinite!r}."
            )
        super().__init__(*args, **kwargs)
        self.skip_nonfinite = skip_nonfinite
        self.adaptive_clip = adaptive_clip
        self.row_constraint = get_row_constraint(name, row_constraint)
        check_clips(name, {argument: getattr(self, argument) for argument in CLIPS})

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Create the state of the optimizer, one or more slots per variable."""
        if self.built:
            return
        for variable in variables:
            if not keras.backend.is_float_dtype(keras.backend.standardize_dtype(variable.dtype)):
                raise ValueError(
                    f"{type(self).__name__} can only train variables of a float dtype; "
                    f"{variable.name!r} is {variable.dtype}. Make it trainable=False."
                )
        super().build(variables)
        if self.skip_nonfinite:
            options = {"dtype": "int32", "aggregation": "only_first_replica"}
            self._skipped = self.add_variable((), name="skipped", **options)
            self._skipped_in_a_row = self.add_variable((), name="skipped_in_a_row", **options)
        if self.gradient_accumulation_steps:
            self._touched = [self.add_row_variable(v, "touched", "bool") for v in variables]

    def add_row_variable(
        self, reference: keras.Variable, name: str, dtype: str, initializer: Any = "zeros"
    ) -> keras.Variable | None:
        """Create one number per row of a variable, `(rows,)`; None for a scalar."""
        if not reference.shape:
            return None
        variable = getattr(reference, "value", reference)
        with self.beside(variable):
            return self.add_variable(
                reference.shape[:1],
                initializer=initializer,
                dtype=dtype,
                name=f"{getattr(reference, 'path', reference.name).replace('/', '_')}_{name}",
            )

    def watch(self, observer: Any) -> None:
        """Set an observer of every update, called once by each function traced from now on.

        Args:
            observer: None, or an object with two methods that are called on each replica:
                `before_update(variables, summed, clipped)`, whose gradients are tensors or `Rows`,
                and `after_update(variables, clipped, result)`, with the result of the first.
        """
        # Set without Keras tracking and saving it.
        self.__dict__["_observer"] = observer

    @property
    def skipped(self) -> int:
        """Return the number of updates skipped so far because the gradient was not finite."""
        return (
            int(tf.convert_to_tensor(self._skipped.value))
            if self.skip_nonfinite and self.built
            else 0
        )

    def row_slots(self, index: int) -> list[keras.Variable]:
        """Return the state of variable number `index`, with its rows along the first axis."""
        raise NotImplementedError

    def row_shared(self) -> tuple[Tensor, ...]:
        """Return what `row_step` needs besides the rows and the learning rate."""
        return ()

    def row_step(
        self,
        gradient: Tensor,
        row: Tensor,
        slots: tuple[Tensor, ...],
        learning_rate: Tensor,
        *shared: Tensor,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return new rows and new slots, `(rows, ...)`. Subclasses define the formula here."""
        raise NotImplementedError

    def row_decay(self, index: int) -> float:
        """Return the weight decay of variable number `index`, 0 for none."""
        decays = self.has_decay(self.trained[index])
        return self.weight_decay if self.weight_decay and decays else 0.0

    def is_linear(self) -> bool:
        """Return whether `row_step` only adds a multiple of the gradient to the row."""
        return False

    def dense_step(self, gradient: Tensor, variable: tf.Variable, learning_rate: Tensor) -> None:
        """Update a whole variable with the formula of the Keras class."""
        super().update_step(gradient, variable, learning_rate)

    def after_update(self, learning_rate: Tensor) -> None:
        """Run once after all variables have been updated."""

    # From here on: the order of work, in the hooks that Keras offers its backends.

    @tf.autograph.experimental.do_not_convert
    def apply(
        self, grads: Sequence[Any], trainable_variables: Sequence[keras.Variable] | None = None
    ) -> None:
        """Update the variables, see `keras.optimizers.Optimizer.apply`."""
        grads = [
            Slices(g.values, g.indices, g.dense_shape) if isinstance(g, tf.IndexedSlices) else g
            for g in grads
        ]
        super().apply(grads, trainable_variables)

    def update_variables(self, grads: list[Any], variables: list[Any]) -> None:
        """Update the variables, each replica with its gradients."""
        pairs = self.sum_over_replicas(zip(grads, variables, strict=True))
        grads = [gradient for gradient, _ in pairs]
        finite = self._count_nonfinite(grads) if self.skip_nonfinite else None
        if self.gradient_accumulation_steps:
            last = tf.equal((self.step_counter + 1) % self.gradient_accumulation_steps, 0)
            last = last if finite is None else last & finite
            self._when(finite, self._accumulate, grads, variables)
            self._when(last, self._update_accumulated, grads, variables)
        else:
            self._when(finite, self._update, grads, variables)
        if finite is not None:
            # Keras increments `iterations` right after this.
            self.step_counter.assign_add(tf.cast(finite, self.step_counter.dtype) - 1)
        if self.use_ema:
            self.update_averages()
            if self.ema_overwrite_frequency:
                last = tf.equal((self.iterations + 1) % self.ema_overwrite_frequency, 0)
                tf.distribute.get_replica_context().merge_call(self._average_if, args=(last,))
        # Keras constrains whole variables right after this: those still in this list.
        variables[:] = [
            v
            for g, v in zip(grads, variables, strict=True)
            if not isinstance(g, tf.IndexedSlices) or self._row_constraint(v) is None
        ]

    def _average_if(self, strategy: Any, condition: Any) -> None:
        """Overwrite the variables with their moving averages, on all replicas together."""
        together = _any_replica(strategy, condition)
        tf.cond(together, self.overwrite_with_averages, lambda: None)

    def _when(
        self,
        condition: Tensor | None,
        function: Callable[[list[Any], list[Any]], None],
        grads: list[Any],
        variables: list[Any],
    ) -> None:
        """Call the function on every replica if the condition holds."""
        if condition is None:
            function(grads, variables)
            return

        def all_replicas(strategy: Any, condition: Any, grads: Any) -> None:
            def call() -> None:
                strategy.extended.call_for_each_replica(
                    lambda grads: function(grads, variables), args=(grads,)
                )

            tf.cond(_any_replica(strategy, condition), call, lambda: None)

        tf.distribute.get_replica_context().merge_call(all_replicas, args=(condition, grads))

    def _update(self, grads: list[Any], variables: list[Any]) -> None:
        """Sum duplicates, clip and update, on one replica with the sum over all replicas."""
        summed = [self._summed(g, v) for g, v in zip(grads, variables, strict=True)]
        touched = [
            touched_rows(g, v.shape[0]) if is_small_table(g, v.shape) else None
            for g, v in zip(grads, variables, strict=True)
        ]
        self._clip_and_update(summed, variables, touched)

    def _clip_and_update(
        self, grads: list[Any], variables: list[Any], touched: list[Tensor | None]
    ) -> None:
        """Clip and update, given the touched rows of the small tables."""
        if self.adaptive_clip is None:
            clipped = clip(grads, self.clipnorm, self.clipvalue, self.global_clipnorm)
        else:
            by_row, values = [rows is not None for rows in touched], [v.value for v in variables]
            clipped = clip_adaptively(grads, values, self.adaptive_clip, by_row)
        pairs = [
            (g if rows is None else Table(g, rows), v.value)
            for g, v, rows in zip(clipped, variables, touched, strict=True)
        ]
        learning_rate = tf.convert_to_tensor(self.learning_rate)
        observer = self.__dict__.get("_observer")
        before = observer.before_update(variables, grads, clipped) if observer else None
        self.update_each(pairs, learning_rate)
        self.after_update(learning_rate)
        if observer:
            observer.after_update(variables, clipped, before)

    def _adds_unsummed(self, variable: Any) -> bool:
        """Return whether duplicates may be added one by one, since nothing needs their sum."""
        looks = [getattr(self, argument) for argument in CLIPS]
        looks += [self.gradient_accumulation_steps, self.__dict__.get("_observer")]
        looks.append(self._row_constraint(variable))
        looks.append(self.row_decay(self.index_of(variable)) or None)
        return self.is_linear() and all(look is None for look in looks)

    def _row_constraint(self, variable: Any) -> Any:
        """Return the constraint on touched rows for a sparse gradient, or None."""
        variable = self.trained[self.index_of(variable)]
        return row_constraint_of(variable, self.row_constraint)

    def _summed(self, gradient: Any, variable: Any) -> Any:
        if not isinstance(gradient, tf.IndexedSlices):
            return gradient
        gradient = tf.IndexedSlices(tf.cast(gradient.values, variable.dtype), gradient.indices)
        if is_small_table(gradient, variable.shape):
            return sum_into_table(gradient, variable.shape[0])
        if self._adds_unsummed(variable):
            return gradient
        return sum_duplicates(gradient, variable.shape[0])

    def update_step(self, gradient: Any, variable: tf.Variable, learning_rate: Tensor) -> None:
        """Update one variable: the whole of it, or the touched rows."""
        learning_rate = tf.cast(learning_rate, variable.dtype)
        index = self.index_of(variable)
        if isinstance(gradient, tf.IndexedSlices):
            add(variable, gradient.indices, -learning_rate * gradient.values)
            return
        if not isinstance(gradient, Rows | Table):
            if decay := SparseUpdates.row_decay(self, index):
                variable.assign_sub(variable * (decay * learning_rate))
            self.dense_step(gradient, variable, learning_rate)
            return
        slots = [slot.value for slot in self.row_slots(index)]
        new = self._compiled_step(
            gradient,
            *(gradient.read(table) for table in (variable, *slots)),
            decay=self.row_decay(index),
            rate=learning_rate,
            shared=self.row_shared(),
            constraint=self._row_constraint(variable),
        )
        for table, updated in zip((variable, *slots), new, strict=True):
            gradient.write(table, updated)

    def _compiled_step(
        self, gradient: Rows | Table, *rows: Tensor, **options: Any
    ) -> tuple[Tensor, ...]:
        """Return the formula as one XLA kernel that does not access the variables itself."""
        if "_kernel" not in self.__dict__:

            def step(
                gradient: Any, rows: Any, decay: float, rate: Tensor, shared: Any, constraint: Any
            ) -> tuple[Tensor, ...]:
                row, *slots = rows
                if decay:
                    row -= row * (decay * rate)
                row, slots = self.row_step(gradient.gradients(), row, tuple(slots), rate, *shared)
                row = row if constraint is None else constraint(row)
                return gradient.only_touched((row, *slots), rows)

            # Set without Keras tracking and saving it.
            self.__dict__["_kernel"] = tf.function(step, jit_compile=True)
        return self.__dict__["_kernel"](gradient, rows, **options)

    def _accumulate(self, grads: list[Any], variables: list[Any]) -> None:
        def accumulate(accumulator: tf.Variable, gradient: Any, touched: Any) -> None:
            if isinstance(gradient, tf.IndexedSlices):
                values = tf.cast(gradient.values, accumulator.dtype)
                accumulator.scatter_add(tf.IndexedSlices(values, gradient.indices))
                scatter(touched, gradient.indices, tf.ones_like(gradient.indices, "bool"))
            else:
                accumulator.assign_add(tf.cast(gradient, accumulator.dtype))

        def add_all(strategy: Any, grads: list[Any]) -> None:
            for gradient, variable in zip(grads, variables, strict=True):
                accumulator, touched = self._accumulators_of(variable)
                arguments = gradient, touched
                strategy.extended.update(accumulator, accumulate, args=arguments, group=False)

        self.for_each_replica(add_all, grads)

    def _accumulators_of(self, variable: Any) -> tuple[Any, Any]:
        index = self.index_of(variable)
        touched = self._touched[index]
        return self.state(
            "accumulated_gradient", index
        ).value, None if touched is None else touched.value

    def _update_accumulated(self, grads: list[Any], variables: list[Any]) -> None:
        """Update with the mean of the accumulated gradients and reset the accumulators."""
        steps = self.gradient_accumulation_steps
        means: list[Any] = []
        small: list[Tensor | None] = []
        for gradient, variable in zip(grads, variables, strict=True):
            accumulator, touched = self._accumulators_of(variable)
            small.append(None)
            if is_small_table(gradient, variable.shape):
                small[-1] = tf.convert_to_tensor(touched)
                means.append(accumulator / steps)
            elif isinstance(gradient, tf.IndexedSlices):
                means.append(flagged(tf.convert_to_tensor(touched), accumulator, steps))
            else:
                means.append(accumulator / steps)
        self._clip_and_update(means, variables, small)

        def empty(accumulator: tf.Variable, gradient: Any, touched: Any) -> None:
            if isinstance(gradient, Rows):
                scatter(accumulator, gradient.ids, tf.zeros_like(gradient.sums))
            else:
                accumulator.assign(tf.zeros_like(accumulator))
            if touched is not None:
                touched.assign(tf.zeros_like(touched))

        def empty_all(strategy: Any, means: list[Any]) -> None:
            for mean, variable in zip(means, variables, strict=True):
                accumulator, touched = self._accumulators_of(variable)
                strategy.extended.update(accumulator, empty, args=(mean, touched), group=False)

        self.for_each_replica(empty_all, means)

    def _count_nonfinite(self, grads: list[Any]) -> Tensor:
        """Return whether all gradients are finite; stop after too many failures in a row."""
        values = [getattr(gradient, "values", gradient) for gradient in grads]
        finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(v)) for v in values])
        bad = tf.cast(~finite, "int32")
        in_a_row = (self._skipped_in_a_row + bad) * bad
        self._skipped.assign_add(bad)
        self._skipped_in_a_row.assign(in_a_row)
        if not compiled_by_xla():
            tf.debugging.Assert(in_a_row < self._skip_limit, [self._skip_message])
        return finite

    @property
    def _skip_limit(self) -> int:
        return SKIPPED_IN_A_ROW if self.skip_nonfinite is True else int(self.skip_nonfinite)

    @property
    def _skip_message(self) -> str:
        return (
            f"{type(self).__name__}: {self._skip_limit} gradients in a row held a NaN or an "
            "infinity. The weights are those before the first of them. Look for NaN in the "
            "inputs, lower the learning rate, or clip (clipnorm=1.0)."
        )

    def finalize_variable_values(self, var_list: Sequence[keras.Variable]) -> None:
        """Finalise the variables when `fit` ends; see `skip_nonfinite`."""
        super().finalize_variable_values(var_list)
        if (
            self.skip_nonfinite
            and self.built
            and int(tf.convert_to_tensor(self._skipped_in_a_row.value)) >= self._skip_limit
        ):
            raise ValueError(self._skip_message)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "adaptive_clip": self.adaptive_clip,
            "row_constraint": keras.constraints.serialize(self.row_constraint),
            "skip_nonfinite": self.skip_nonfinite,
        }


def _any_replica(strategy: Any, condition: Any) -> Tensor:
    """Return a condition equal on all replicas, since it comes from the sum over them."""
    return strategy.experimental_local_results(condition)[0]
