"""What all models share: a schema, named inputs, weights before data, an exact config."""

from collections.abc import Mapping
from typing import Any, ClassVar

import keras
from keras import ops

from kerasrec.memory import keep_freed_memory
from kerasrec.schema import Schema, Sequence
from kerasrec.types import Features, Tensor

# A `fit` of at least this many steps is worth the seconds that XLA takes to compile it, and then
# runs so many steps at a time; see `Recommender.compile`.
LONG_FIT, STEPS_AT_ONCE = 1000, 16


class Recommender(keras.Model):
    """Base of the zoo. A subclass creates its layers, calls `build()`, and defines `call`.

    Args:
        schema: the features, see `kerasrec.schema.Schema`.
        name: name of the model.
        dtype: dtype or dtype policy, such as `"mixed_bfloat16"`.

    Raises:
        ValueError: if `schema` is not a Schema (or the dict made from one).
    """

    output_kind: ClassVar[str] = "score"
    built: bool
    steps_per_execution: int
    jit_compile: bool

    def __init__(
        self,
        schema: Schema | Mapping[str, Any],
        *,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        if not isinstance(schema, Schema):
            schema = Schema.from_dict(schema)
        self.schema = schema
        # Ids and floats travel in one dict: each layer casts what it uses.
        self.autocast = False

    def build(self, input_shape: Any = None) -> None:
        """Creates all weights from the schema; data is not needed."""
        if self.built:
            return
        inputs = {
            feature.name: keras.KerasTensor((None, *feature.shape), feature.dtype)
            for feature in self.schema.features
        }
        self.compute_output_spec(inputs)
        self.built = True

    def __call__(self, inputs: Features, *args: Any, **kwargs: Any) -> Tensor:
        """Checks the names of the inputs, then scores."""
        if not isinstance(inputs, Mapping):
            raise ValueError(
                f"{type(self).__name__} takes one dict of named tensors; received "
                f"{type(inputs).__name__}. The schema names {self._wanted()}."
            )
        missing = [name for name in self._wanted() if name not in inputs]
        if missing:
            raise ValueError(
                f"{type(self).__name__}: missing input {missing}; received {sorted(inputs)}, the "
                f"schema wants {self._wanted()}. Add the column, or leave it out of the schema."
            )
        inputs = {name: inputs[name] for name in self._wanted()}
        item = inputs[self.schema.item_id.name]
        if getattr(getattr(item, "shape", None), "rank", 0) is None:
            # Keras reuses one compiled function, and TensorFlow then generalises its shapes.
            raise ValueError(
                f"{type(self).__name__}: one compiled function was given item features "
                f"(batch,) and (batch, candidates) in turn. Call model.compile(...) again when "
                f"you change between them in fit, or model.make_predict_function(force=True) in "
                f"predict."
            )
        return super().__call__(inputs, *args, **kwargs)

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
        16 steps at a time, so that callbacks see every 16th batch; a shorter one is not, since
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

        From the first call on, the process keeps freed memory for the next step, see
        `kerasrec.memory.keep_freed_memory`.
        """
        keep_freed_memory()
        epochs_left = epochs - kwargs.get("initial_epoch", 0)
        steps = epochs_left * _steps_of(x, batch_size, kwargs.get("steps_per_epoch"))
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
            return super().fit(x, y, batch_size, epochs, *args, **kwargs)
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

    def _replicated(self) -> bool:
        strategy = getattr(self, "distribute_strategy", None)
        return strategy is not None and strategy.num_replicas_in_sync > 1

    def _stands_xla(self) -> bool:
        # XLA could not stop a training at the step at which too many gradients were not finite.
        return self.supports_jit and not getattr(self.optimizer, "skip_nonfinite", False)

    def _forget_functions(self) -> None:
        self.train_function = self.test_function = self.predict_function = None

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """`keras.Model.evaluate`, with all rows up to date, see `kerasrec.optimizers.Adam`."""
        self.catch_up()
        return super().evaluate(*args, **kwargs)

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """`keras.Model.predict`, with all rows up to date, see `kerasrec.optimizers.Adam`."""
        self.catch_up()
        return super().predict(*args, **kwargs)

    def get_weights(self) -> list[Any]:
        """`keras.Model.get_weights`, with all rows up to date, see `kerasrec.optimizers.Adam`."""
        self.catch_up()
        return super().get_weights()

    def catch_up(self) -> None:
        """Brings rows that an optimizer has let rest up to date, see `kerasrec.optimizers.Adam`.

        For what reads the towers or calls the model while it trains; `evaluate`, `predict` and
        `get_weights` do it themselves.
        """
        for weight in self.weights:
            resting = getattr(weight, "resting_rows", None)
            if resting is not None:
                resting.catch_up()

    def _wanted(self) -> list[str]:
        return [feature.name for feature in self.schema.features]

    def compute_loss(
        self,
        x: Any = None,
        y: Tensor = None,
        y_pred: Tensor = None,
        sample_weight: Tensor = None,
        training: bool = True,
    ) -> Tensor:
        """The compiled loss, with scores `(batch,)` as `(batch, 1)`.

        Keras 3 takes the mean of a loss over the last axis first. Of rank-1 scores that leaves a
        scalar, which cannot be weighted by `sample_weight` and is not divided by the replicas.
        """
        y, y_pred = _as_columns(y, y_pred)
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def compute_metrics(
        self, x: Any, y: Tensor, y_pred: Tensor, sample_weight: Tensor = None
    ) -> dict[str, Any]:
        """The compiled metrics, with scores `(batch,)` as `(batch, 1)`, see `compute_loss`."""
        y, y_pred = _as_columns(y, y_pred)
        return super().compute_metrics(x, y, y_pred, sample_weight)

    def get_build_config(self) -> None:
        """Nothing: the constructor builds."""

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments; a subclass adds its own."""
        return {**super().get_config(), "schema": self.schema.to_dict()}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "Recommender":
        """A new model with the config's architecture and fresh weights."""
        config = dict(config)
        trainable = config.pop("trainable", True)
        model = cls(**config)
        if not trainable:
            model.trainable = False
        return model


def check_size(model: keras.Model, argument: str, value: object) -> None:
    """Refuses what is no positive integer, under the name that the user gave it.

    Args:
        model: whose argument it is.
        argument: its name.
        value: what was received.

    Raises:
        ValueError: naming all three.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(
            f"{type(model).__name__}: {argument} must be an integer of at least 1; received "
            f"{value!r}."
        )


def item_history(model: Recommender) -> Sequence:
    """The history that a model reads: the first sequence of the item id on the query side.

    Args:
        model: whose schema is asked.

    Raises:
        ValueError: if there is none.
    """
    item = model.schema.item_id.name
    for feature in model.schema.query:
        if isinstance(feature, Sequence) and feature.of == item:
            return feature
    raise ValueError(
        f"{type(model).__name__}: expected a schema with a sequence of {item!r} among the user or "
        f"context features; received {[f.name for f in model.schema.query]}. Add "
        f"Sequence('history', of={item!r}, max_length=50)."
    )


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


def _as_columns(y: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
    if y is not None and len(y_pred.shape) == 1 and len(y.shape) == 1:
        return ops.expand_dims(y, -1), ops.expand_dims(y_pred, -1)
    return y, y_pred


def align(query: Tensor, items: Tensor) -> Tensor:
    """Query vectors `(batch, dim)` with a candidate axis if `items` have one."""
    if len(items.shape) == len(query.shape) + 1:
        return ops.expand_dims(query, 1)  # (batch, 1, dim)
    return query
