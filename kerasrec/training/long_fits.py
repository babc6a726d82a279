"""Settings of `compile` and `fit` under which long trainings are fast."""

from typing import Any

import keras

from kerasrec.training.arguments import check_size
from kerasrec.training.memory import keep_freed_memory
from kerasrec.training.multi_worker import batch_spec, own_part, with_an_axis

# A `fit` of at least this many steps is worth the seconds that XLA takes to compile it, and then
# runs so many steps at a time; see `LongFits.compile`.
LONG_FIT, STEPS_AT_ONCE = 1000, 32

# Place of that argument among those of `keras.Model.fit` after `epochs`.
VALIDATION_DATA = 3


class LongFits(keras.Model):
    """Base of what is trained by `fit`: long trainings run under XLA and keep their memory.

    Under `tf.distribute.MultiWorkerMirroredStrategy`, where `fit` of Keras 3 fails, it works.

    Raises:
        ValueError: in `compile`, if `steps_per_execution` is neither "auto" nor a positive integer.
    """

    built: bool
    steps_per_execution: int
    jit_compile: bool

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int | str = "auto",
        jit_compile: bool | str = "auto",
        auto_scale_loss: bool = True,
    ) -> None:
        """`keras.Model.compile`, with other defaults of the two arguments that decide on speed.

        By default a `fit` of at least 1,000 steps (all epochs together) is compiled by XLA and runs
        32 steps at a time, so that callbacks see every 32nd batch; a shorter one is not, since
        compiling takes seconds. With several replicas, or if the number of steps is not known,
        Keras' own defaults hold; with `skip_nonfinite` XLA is left out. `evaluate` and `predict`
        outside of `fit` are as in Keras.

        Args:
            optimizer: as in Keras, like all but the following two.
            loss: see there.
            loss_weights: see there.
            metrics: see there.
            weighted_metrics: see there.
            run_eagerly: see there.
            steps_per_execution: batches that run before Python does something again, or "auto".
            jit_compile: whether XLA compiles the step, or "auto".
            auto_scale_loss: see there.

        Raises:
            ValueError: if `steps_per_execution` is neither "auto" nor an integer of at least 1.
        """
        self._auto_steps = steps_per_execution == "auto"
        self._auto_xla = jit_compile == "auto"
        if not self._auto_steps:
            check_size(self, "steps_per_execution", steps_per_execution)
        super().compile(
            optimizer,
            loss,
            loss_weights,
            metrics,
            weighted_metrics,
            run_eagerly,
            1 if self._auto_steps else steps_per_execution,
            jit_compile,
            auto_scale_loss,
        )

    def get_compile_config(self) -> Any:
        """The arguments of `compile`, as they were given."""
        config = super().get_compile_config()
        if config and self._auto_steps:
            config["steps_per_execution"] = "auto"
        if config and self._auto_xla:
            config["jit_compile"] = "auto"
        return config

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles as `get_compile_config` says."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.optimizer.build(self.trainable_variables)

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """`keras.Model.fit`; see `compile` for how many steps run at a time.

        Under several workers, `x` and `validation_data` may be each worker's own part of the rows,
        as `shard` of `kerasrec.data.stream_parquet` makes them.

        From the first call on, the process keeps freed memory for the next step, see
        `kerasrec.training.keep_freed_memory`.
        """
        keep_freed_memory()
        epochs_left = epochs - kwargs.get("initial_epoch", 0)
        steps = epochs_left * _steps_of(x, batch_size, kwargs.get("steps_per_epoch"))
        x, others = self._own_part(x), list(args)
        if len(others) > VALIDATION_DATA:
            others[VALIDATION_DATA] = self._own_part(others[VALIDATION_DATA])
        if "validation_data" in kwargs:
            kwargs["validation_data"] = self._own_part(kwargs["validation_data"])
        before = self.steps_per_execution, self.jit_compile
        if self.compiled and steps >= LONG_FIT and not self.run_eagerly and not self._replicated():
            if self._auto_steps:
                self.steps_per_execution = STEPS_AT_ONCE
            if self._auto_xla and self._stands_xla():
                self.jit_compile = True
        changed = before != (self.steps_per_execution, self.jit_compile)
        if changed:
            self._forget_functions()
        try:
            return super().fit(x, y, batch_size, epochs, *others, **kwargs)
        except Exception as error:
            if changed and "Detected unsupported operations" in str(error):
                raise ValueError(
                    f"{type(self).__name__}: XLA, which long trainings use by default, cannot "
                    f"compile the loss or a metric; it says: {error}. Call compile(..., "
                    "jit_compile=False)."
                ) from error
            raise
        finally:
            if changed:
                self.steps_per_execution, self.jit_compile = before
                self._forget_functions()

    def evaluate(self, x: Any = None, *args: Any, **kwargs: Any) -> Any:
        """`keras.Model.evaluate`; several workers may each bring their own part of the rows."""
        return super().evaluate(self._own_part(x), *args, **kwargs)

    def get_metrics_result(self) -> dict[str, Any]:
        """`keras.Model.get_metrics_result`, in a form that Keras can take over workers."""
        return with_an_axis(super().get_metrics_result())

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        # Under a strategy Keras reads a batch to learn its shapes. That uses up a pass over the
        # rows, so that a training would draw other negatives than on one device; and over several
        # workers it would take the mean of their batches, and fails. The shapes are known before.
        if iterator is not None and self._distribute_strategy is not None:
            iterator, data_batch = None, batch_spec(iterator._distributed_dataset)
        super()._maybe_symbolic_build(iterator=iterator, data_batch=data_batch)

    def _own_part(self, data: Any) -> Any:
        return own_part(getattr(self, "distribute_strategy", None), data)

    def _replicated(self) -> bool:
        strategy = getattr(self, "distribute_strategy", None)
        return strategy is not None and strategy.num_replicas_in_sync > 1

    def _stands_xla(self) -> bool:
        # XLA could not stop a training at the step at which too many gradients were not finite.
        return self.supports_jit and not getattr(self.optimizer, "skip_nonfinite", False)

    def _forget_functions(self) -> None:
        self.train_function = self.test_function = self.predict_function = None


def _steps_of(x: Any, batch_size: int | None, steps_per_epoch: int | None) -> int:
    """Steps of an epoch of `fit`; 0 if that is not known beforehand."""
    if steps_per_epoch:
        return steps_per_epoch
    if hasattr(x, "cardinality"):
        return max(0, int(x.cardinality()))
    if isinstance(x, keras.utils.PyDataset):
        return x.num_batches or 0
    arrays = keras.tree.flatten(x)
    if not arrays or not hasattr(arrays[0], "__len__"):
        return 0
    return -(-len(arrays[0]) // (batch_size or 32))
