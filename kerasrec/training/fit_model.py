"""`compile` and `fit` with XLA and several steps per execution for long runs."""

import inspect
from typing import Any

import keras
from keras import ops

from kerasrec._checks import check_integer
from kerasrec._keras import FitHooks, has_weighted_metrics, replica_penalty
from kerasrec.training.class_weights import by_element, losses_by_element
from kerasrec.training.epoch_steps import EpochSteps
from kerasrec.training.kept_functions import NAMES, KeptFunctions
from kerasrec.training.multi_worker import own_part, with_an_axis
from kerasrec.training.replicas import loss_with_share
from kerasrec.training.steps_at_once import steps_at_once
from kerasrec.training.train_function import train_function_of

# A `fit` of at least this many steps is worth the seconds of XLA compilation, and then runs up to
# this many steps per execution; see `FitModel.compile`.
LONG_FIT, STEPS_AT_ONCE = 1000, 32

FIT = inspect.signature(keras.Model.fit)


class FitModel(FitHooks, keras.Model):
    """Base class of trainable models, with default options that speed up long runs.

    Long trainings run under XLA with many steps per execution. Training also works under
    `tf.distribute.MultiWorkerMirroredStrategy`, where `fit` of Keras 3 fails. Under any strategy, a
    step equals that of one device, even if the replicas hold parts of different sizes of a batch.

    Raises:
        ValueError: in `compile`, if `steps_per_execution` is neither "auto" nor a positive integer.
    """

    built: bool
    steps_per_execution: int
    jit_compile: bool
    # Set during `fit`, see `kerasrec.training.epoch_steps`.
    _epoch_steps: EpochSteps | None = None
    _fits = False

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
        """Compile as in Keras, with other defaults of the two arguments that decide on speed.

        By default, a `fit` of at least 1,000 steps over all epochs is compiled by XLA and runs up
        to 32 steps per execution. A shorter one is not, since compiling takes seconds. It runs one
        step per execution if a callback counts batches: if it overrides a batch hook, or has a
        frequency in batches, such as `ModelCheckpoint(save_freq=100)`. A callback whose batch hooks
        also work on every n-th batch declares this with the attribute `counts_batches = False`.
        With `steps_per_epoch` or `validation_steps`, it runs their largest common divisor up to 32
        per execution.

        With several replicas, or if the number of steps is unknown, the defaults of Keras apply.
        With `skip_nonfinite`, XLA is not used. `evaluate` and `predict` outside of `fit` are as in
        Keras. Compiled functions are kept for the next `fit`, until `compile` is called again.

        Args:
            optimizer: as in Keras, like all arguments that are not listed here.
            steps_per_execution: number of batches per execution, or "auto".
            jit_compile: whether XLA compiles the step, or "auto".

        Raises:
            ValueError: if `steps_per_execution` is neither "auto" nor an integer of at least 1.
        """
        self._auto_steps = steps_per_execution == "auto"
        self._auto_xla = jit_compile == "auto"
        if not self._auto_steps:
            check_integer(self, "steps_per_execution", steps_per_execution, 1)
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
        # Set without Keras tracking and saving it.
        self.__dict__["_kept_functions"] = KeptFunctions()

    def get_compile_config(self) -> Any:
        """Return the arguments of `compile`, as given."""
        config = super().get_compile_config()
        if config and self._auto_steps:
            config["steps_per_execution"] = "auto"
        if config and self._auto_xla:
            config["jit_compile"] = "auto"
        return config

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile with the result of `get_compile_config`."""
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
        """Train as in Keras; see `compile` for the number of steps per execution.

        Under several workers, `x` and `validation_data` may be each worker's own part of the rows,
        as created with `shard` of `kerasrec.data.stream_parquet`. Datasets and generators shuffle
        themselves, so `shuffle` is False for them unless it is given.

        With labels that have a candidate or step axis, `class_weight` applies to each label and
        multiplies the sample weight. Other labels are weighted by Keras, one weight per row.

        Raises:
            ValueError: if XLA cannot compile the loss or a metric, or `class_weight` cannot be
                applied to the data.
        """
        given = FIT.bind(self, x, y, batch_size, epochs, *args, **kwargs)
        if _shuffles_itself(x):
            # Keras would warn that it cannot shuffle the rows, which nobody has asked for.
            given.arguments.setdefault("shuffle", False)
        given.apply_defaults()
        options = {name: value for name, value in given.arguments.items() if name != "self"}
        settings = self._settings_of(options) if self.compiled else None
        if self.compiled:
            options = by_element(options, getattr(self, "loss", None))
        for name in ("x", "validation_data"):
            options[name] = self._own_part(options[name])
        before = self.steps_per_execution, self.jit_compile
        changed = settings is not None and settings != before
        if settings is not None and changed:
            self.__dict__["_kept_functions"].exchange(self, *settings)
        self._fits, self._epoch_steps = True, None
        try:
            return super().fit(**options)
        except Exception as error:
            if changed and "Detected unsupported operations" in str(error):
                raise ValueError(
                    f"{type(self).__name__}: XLA, which long trainings use by default, cannot "
                    f"compile the loss or a metric; it says: {error}. Call compile(..., "
                    "jit_compile=False)."
                ) from error
            raise
        finally:
            self._fits, self._epoch_steps = False, None
            train_function_of(self).clear()
            if changed:
                self.__dict__["_kept_functions"].exchange(self, *before)

    def _settings_of(self, options: dict[str, Any]) -> tuple[int, bool]:
        """Return the steps per execution of this `fit`, and whether to use XLA."""
        own, xla = self.steps_per_execution, self.jit_compile
        steps_per_epoch = options["steps_per_epoch"]
        steps = _steps_of(options["x"], options["batch_size"], steps_per_epoch)
        steps *= options["epochs"] - options["initial_epoch"]
        if steps < LONG_FIT or self.run_eagerly or self._replicated():
            return own, xla
        if self._auto_steps:
            counts = [steps_per_epoch, options["validation_steps"]]
            counts.append(keras.config.max_steps_per_epoch())
            own = steps_at_once(STEPS_AT_ONCE, options["callbacks"], counts)
        return own, xla or (self._auto_xla and self._stands_xla())

    def forget_functions(self) -> None:
        """Trace compiled functions anew when they are next used, after a weight was replaced."""
        for name in NAMES:
            setattr(self, name, None)
        if self.compiled:
            self.__dict__["_kept_functions"] = KeptFunctions()

    def evaluate(self, x: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Evaluate as in Keras. Several workers may each pass their own part of the rows.

        Raises:
            ValueError: if there are no rows, for which Keras returns a loss of 0.
        """
        _check_some_rows(self, "evaluate", x)
        return super().evaluate(self._own_part(x), *args, **kwargs)

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Predict as in Keras.

        Raises:
            ValueError: if there are no rows, for which Keras fails with an internal error.
        """
        _check_some_rows(self, "predict", x)
        return super().predict(x, *args, **kwargs)

    def get_metrics_result(self) -> dict[str, Any]:
        """Return the metric results, in a form that Keras can reduce over workers."""
        return with_an_axis(super().get_metrics_result())

    def begin_epochs(self, iterator: Any) -> None:
        """Number the steps of `fit` or `evaluate`, see `EpochSteps`."""
        steps = EpochSteps(iterator)
        # The first iterator of a `fit` is that of its training rows.
        if self._fits and self._epoch_steps is None:
            self._epoch_steps = steps

    def epoch_logs(self, logs: Any) -> Any:
        """Return the logs. A resumed epoch with no steps left reports the restored results."""
        return logs or self.get_metrics_result()

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Return the loss, where the replicas of a strategy share that of the whole batch.

        Labels, scores and weights of the same shape `(batch, n)` are weighted elementwise.
        """
        columns = losses_by_element(y, y_pred, sample_weight)
        total = super().compute_loss(x, *columns, sample_weight, training)
        if not training or not self._replicated():
            return total
        # Collected before replicas take turns: the losses of a layer are those of the current
        # replica.
        penalty = self._penalty(self.losses)
        compiled = getattr(self, "loss", None)
        return loss_with_share(total, penalty, y_pred, sample_weight, compiled)

    def _penalty(self, losses: list[Any]) -> Any:
        """Return the regularisation losses as Keras scales them for a replica."""
        return sum((replica_penalty(self, one) for one in losses), ops.zeros(()))

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Update the metrics; see `compute_loss` for weights."""
        if has_weighted_metrics(self):
            y, y_pred = losses_by_element(y, y_pred, sample_weight)
        return super().compute_metrics(x, y, y_pred, sample_weight)

    def _own_part(self, data: Any) -> Any:
        return own_part(getattr(self, "distribute_strategy", None), data)

    def _replicated(self) -> bool:
        strategy = getattr(self, "distribute_strategy", None)
        return strategy is not None and strategy.num_replicas_in_sync > 1

    def _stands_xla(self) -> bool:
        # XLA could not stop a training at the step with too many non-finite gradients.
        return self.supports_jit and not getattr(self.optimizer, "skip_nonfinite", False)


def _check_some_rows(model: keras.Model, method: str, x: Any) -> None:
    """Refuse arrays and datasets that are known to hold nothing."""
    if hasattr(x, "cardinality"):  # a method of `tf.data`, a number once it is distributed
        empty = int(x.cardinality() if callable(x.cardinality) else x.cardinality) == 0
    else:
        shapes = [tuple(getattr(part, "shape", ())) for part in keras.tree.flatten(x)]
        empty = any(shape[:1] == (0,) for shape in shapes)
    if empty:
        raise ValueError(
            f"{type(model).__name__}.{method}: received no rows; expected at least one. Look at "
            "the filter or the split that made this input."
        )


def _shuffles_itself(x: Any) -> bool:
    """Return whether Keras cannot shuffle the rows of `fit`: of datasets and generators."""
    if isinstance(x, keras.utils.PyDataset):
        return x.num_batches is None
    return not all(hasattr(part, "shape") for part in keras.tree.flatten(x) if part is not None)


def _steps_of(x: Any, batch_size: int | None, steps_per_epoch: int | None) -> int:
    """Return the steps per epoch of `fit`; 0 if unknown in advance."""
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
