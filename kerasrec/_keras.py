"""The private names of Keras and TensorFlow that this library uses. No other file names one.

Each stands behind a function, a hook or an alias that says why the public interface will not do.
`tests/test_keras.py` touches them all, and a version that lacks one is refused by name where it is
needed. Keras and TensorFlow are imported on use, since some of this runs without Keras.
"""

import pathlib
from collections.abc import Callable
from typing import Any

# As setup.cfg has it.
SUPPORTED = "keras>=3.15,<3.17"

# The method of a model that wraps a step outside of what XLA compiles, while `fit` makes its
# function: nothing public stands between the data and the compiled step.
STEP_HOOK = "_autoconvert_optionals"
# The methods in which a stock optimizer clips, decays and updates, in the order in which it calls
# them: nothing public sees a gradient before and after it is clipped.
UPDATE_HOOKS = ("_clip_gradients", "_apply_weight_decay", "_backend_update_step")
# Where an optimizer keeps its state, a list with a place for each variable.
STATES = {
    "momentum": "_momentums",
    "velocity": "_velocities",
    "velocity_hat": "_velocity_hats",
    "accumulator": "_accumulators",
    "linear": "_linears",
    "accumulated_gradient": "_accumulated_gradients",
}


def need(owner: Any, name: str) -> Any:
    """Return a private attribute.

    Raises:
        ValueError: if the installed version has none of that name.
    """
    try:
        return getattr(owner, name)
    except AttributeError as error:
        import keras

        raise ValueError(
            f"Keras {keras.__version__} has no {name}, a private name that kerasrec uses. Install "
            f"a version that it was tested with: pip install '{SUPPORTED}'."
        ) from error


class FitHooks:
    """Mix-in of a Keras model, named before it, for two moments of `fit` that Keras keeps private.

    A subclass overrides `begin_epochs` and `epoch_logs`.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in ("_maybe_symbolic_build", "_get_metrics_result_or_logs"):
            need(super(), name)

    def begin_epochs(self, iterator: Any) -> None:
        """Get hold of what `fit` or `evaluate` goes through, before it takes the first batch."""

    def epoch_logs(self, logs: Any) -> Any:
        """Return the logs of an epoch, given those of its last step."""
        return logs

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        if iterator is not None:
            self.begin_epochs(iterator)
            # Under a strategy, Keras reads a batch to learn its shapes. That uses up a pass over
            # the rows, so that a training would draw other negatives than on one device. Over
            # several workers it would also average their batches, and fails. The shapes are known
            # in advance.
            if need(self, "_distribute_strategy") is not None:
                data_batch = batch_spec(need(iterator, "_distributed_dataset"))
        need(super(), "_maybe_symbolic_build")(iterator=None, data_batch=data_batch)

    def _get_metrics_result_or_logs(self, logs: Any) -> Any:
        return need(super(), "_get_metrics_result_or_logs")(self.epoch_logs(logs))


def batch_spec(dataset: Any) -> Any:
    """Return shapes and types of the batches of the first replica in this process.

    The public `element_spec` is that of all replicas together.
    """
    import tensorflow as tf

    return tf.nest.map_structure(
        lambda spec: getattr(spec, "_value_specs", (spec,))[0], dataset.element_spec
    )


def replace_enumeration(iterator: Any, function: Callable[..., Any]) -> Any:
    """Have an iterator of `fit` count its steps by another function; return the one it had.

    The numbers that callbacks see are made there, and nowhere else.
    """
    before = need(iterator, "_enumerate_iterator")
    iterator._enumerate_iterator = function
    return before


def begin_at_epoch(model: Any, epoch: int | None) -> None:
    """Let `fit`, which has read its argument already, begin with an epoch, or with its default."""
    need(model, "_initial_epoch")
    model._initial_epoch = epoch


def replica_penalty(model: Any, loss: Any) -> Any:
    """Return a penalty as `compute_loss` scales it for a replica, which it does inside."""
    return need(model, "_aggregate_additional_loss")(loss)


def has_weighted_metrics(model: Any) -> bool:
    """Return whether `compile` was given weighted metrics. `metrics` holds them among others."""
    compiled = need(model, "_compile_metrics")
    return compiled is not None and bool(need(compiled, "_user_weighted_metrics"))


def all_layers(model: Any) -> list[Any]:
    """Return all layers below a model. `layers` holds those of the first level."""
    return list(need(model, "_flatten_layers")(include_self=False, recursive=True))


def profiles_batches(callback: Any) -> bool:
    """Return whether a TensorBoard callback traces some batches, which it does not say."""
    return bool(getattr(callback, "_should_trace", False))


def set_embeddings(layer: Any, table: Any) -> None:
    """Give an embedding layer its table. `embeddings` can only be read."""
    layer._embeddings = table


def replace_weight(layer: Any, name: str, value: Any) -> None:
    """Replace an untrained weight by one of another shape. A layer that is built takes no new ones.

    Args:
        layer: a layer without layers of its own.
        name: attribute and name of the weight.
        value: the new value, a NumPy array.
    """
    tracker = need(layer, "_tracker")
    delattr(layer, name)
    tracker.unlock()
    weight = layer.add_weight(
        shape=value.shape,
        dtype=str(value.dtype),
        initializer="zeros",
        trainable=False,
        name=name,
        autocast=False,
    )
    setattr(layer, name, weight)
    tracker.lock()
    weight.assign(value)


def set_num_batches(dataset: Any, count: int) -> None:
    """Tell a dataset that a strategy makes from a function how many batches it has."""
    need(dataset, "_cardinality")
    dataset._cardinality = count


class OptimizerHooks:
    """Mix-in of a Keras optimizer, named before it: its update, and what an update has to know."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        need(super(), "_backend_apply_gradients")

    def update_variables(self, grads: list[Any], variables: list[Any]) -> None:
        """Update the variables; called on each replica, before gradients are clipped."""
        raise NotImplementedError

    # `apply` comes before the loss is unscaled, `update_step` after gradients are clipped.
    def _backend_apply_gradients(self, grads: list[Any], trainable_variables: list[Any]) -> None:
        self.update_variables(grads, trainable_variables)

    def sum_over_replicas(self, pairs: Any) -> list[Any]:
        """Return pairs of (gradient, variable) summed over replicas, as Keras does too late."""
        summed: list[Any] = need(self, "_all_reduce_sum_gradients")(pairs)
        return summed

    def for_each_replica(self, function: Callable[..., None], *args: Any) -> None:
        """Call `function(strategy, *args)` as Keras calls its updates.

        `merge_call` would do so for a strategy that needs no merging, too, where it is slower.
        """
        import tensorflow as tf

        merge = tf.__internal__.distribute.interim.maybe_merge_call
        merge(function, need(self, "_distribution_strategy"), *args)

    def update_each(self, pairs: Any, learning_rate: Any) -> None:
        """Call `update_step` for each (gradient, variable), where the variable lies."""
        self.for_each_replica(need(self, "_distributed_tf_update_step"), pairs, learning_rate)

    def beside(self, variable: Any) -> Any:
        """Return the scope in which a new variable lies where another one does."""
        return need(self, "_distribution_strategy").extended.colocate_vars_with(variable)

    def index_of(self, variable: Any) -> int:
        """Return the number of a variable, which is that of its state."""
        index: int = need(self, "_get_variable_index")(variable)
        return index

    @property
    def trained(self) -> list[Any]:
        """The variables that are trained. `variables` holds the state."""
        variables: list[Any] = need(self, "_trainable_variables")
        return variables

    def has_decay(self, variable: Any) -> bool:
        """Return whether a variable decays, which `exclude_from_weight_decay` decides."""
        return bool(need(self, "_use_weight_decay")(variable))

    @property
    def step_counter(self) -> Any:
        """The variable that counts steps. `iterations` counts updates, by a division."""
        return need(self, "_iterations")

    def state(self, name: str, index: int) -> Any:
        """Return a state of variable number `index`, one of `STATES`. Most have no public name."""
        return need(self, STATES[name])[index]

    def update_averages(self) -> None:
        """Update the moving averages of `use_ema`, which Keras does within its own update."""
        need(self, "_update_model_variables_moving_average")(self.trained)

    def overwrite_with_averages(self) -> None:
        """Overwrite the variables with their averages, which is public for the end of `fit`."""
        need(self, "_overwrite_model_variables_with_average_value")(self.trained)


def compiled_by_xla() -> bool:
    """Return whether the code being traced will be compiled by XLA, where all shapes are static."""
    import tensorflow as tf

    return tf.__internal__.get_enclosing_xla_context() is not None


def text_file_initializer(*args: Any, **options: Any) -> Any:
    """Make a `tf.lookup.TextFileInitializer` whose table has a name of its own.

    The stock name is derived from the path. Two exports loaded in one process could then share a
    table, and the path on the training machine would be exported.
    """
    import tensorflow as tf

    class TextFile(tf.lookup.TextFileInitializer):
        _shared_name = None

    return TextFile(*args, **options)


def saved_model_message(content: bytes) -> Any:
    """Read the message of a `saved_model.pb`, whose class TensorFlow does not export.

    Raises:
        google.protobuf.message.DecodeError: if it is none.
    """
    from tensorflow.core.protobuf import saved_model_pb2

    return saved_model_pb2.SavedModel.FromString(content)


def write_fingerprint(folder: pathlib.Path) -> None:
    """Write the fingerprint of a SavedModel anew, after its file was changed."""
    from tensorflow.python.saved_model import fingerprinting_utils

    fingerprinting_utils.write_fingerprint(str(folder))
