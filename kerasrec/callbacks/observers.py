"""Observers of optimizer updates during one `fit`, for our optimizers and stock Keras ones."""

import threading
from typing import Any

import keras
import tensorflow as tf

from kerasrec._keras import UPDATE_HOOKS, need
from kerasrec.optimizers.sparse import SparseUpdates
from kerasrec.training.train_function import train_function_of


class Observers:
    """Group of observers of one optimizer, as a part of a train function."""

    def __init__(self, optimizer: keras.optimizers.Optimizer) -> None:
        self.optimizer = optimizer
        # An observer attached by the user stays a member.
        self._previous = optimizer.__dict__.get("_observer")
        self.members: list[Any] = [] if self._previous is None else [self._previous]
        if isinstance(optimizer, SparseUpdates):
            optimizer.watch(self)
        else:
            # Instance attributes shadow the methods, so `close` only has to delete them.
            optimizer.__dict__.update(_stock_hooks(optimizer, self))

    def close(self) -> None:
        """Restore the optimizer."""
        if isinstance(self.optimizer, SparseUpdates):
            self.optimizer.watch(self._previous)
        else:
            for name in UPDATE_HOOKS:
                del self.optimizer.__dict__[name]

    def is_watched(self) -> bool:
        """Return whether there are observers besides the one present before."""
        return any(member is not self._previous for member in self.members)

    def before_update(self, *args: Any) -> list[Any]:
        """Call each observer."""
        return [member.before_update(*args) for member in self.members]

    def after_update(self, variables: Any, clipped: Any, results: list[Any]) -> None:
        """Pass each observer the value it returned."""
        for member, result in zip(self.members, results, strict=True):
            member.after_update(variables, clipped, result)


def watch(model: keras.Model, observer: Any) -> None:
    """Attach an observer to a model's optimizer, and have `fit` traced again.

    An optimizer of this library passes gradients summed over replicas and duplicates. A stock one
    clips before it sums. There the observer sees the gradient of its own replica, and the gradient
    of a gathered table is `tf.IndexedSlices` with duplicates.

    Args:
        model: a compiled model, in `on_train_begin` or later.
        observer: see `kerasrec.optimizers.SparseUpdates.watch`.

    Raises:
        ValueError: if the model has no Keras optimizer.
    """
    optimizer = watched_optimizer(model)
    function = train_function_of(model)
    # An optimizer takes one observer, so all share one `Observers`. They are called while
    # the step is traced, hence each new member needs a new trace.
    for part in function.parts:
        if isinstance(part, Observers) and part.optimizer is optimizer:
            part.members.append(observer)
            function.make()
            return
    observers = Observers(optimizer)
    observers.members.append(observer)
    function.add(observers)


def unwatch(model: keras.Model, observer: Any) -> None:
    """Detach an observer. After the last one, `fit` is what it was before.

    Args:
        model: the model.
        observer: the observer given to `watch`. One that is not attached is ignored.
    """
    function = train_function_of(model)
    for part in function.parts:
        if isinstance(part, Observers) and observer in part.members:
            part.members.remove(observer)
            if part.is_watched():
                function.make()
            else:
                function.remove(part)
            return


def watched_optimizer(model: keras.Model) -> keras.optimizers.Optimizer:
    """Return the optimizer that updates the weights, unwrapped from a LossScaleOptimizer.

    Raises:
        ValueError: if the model has no Keras optimizer.
    """
    optimizer = getattr(model, "optimizer", None)
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise ValueError(
            f"{type(model).__name__}: gradients can be watched in a model that is compiled with a "
            f"Keras optimizer; received {type(optimizer).__name__}. Call "
            "model.compile(optimizer, loss) first."
        )
    return optimizer


def _stock_hooks(optimizer: keras.optimizers.Optimizer, observers: Observers) -> dict[str, Any]:
    """Return the clip and update methods, with calls of the observers around the update."""
    clip, decay, update = (need(optimizer, name) for name in UPDATE_HOOKS)
    # Each replica is traced in its own thread, one at a time.
    seen = threading.local()

    # Keras calls the three in this order. Only the first gets the gradients before clipping. The
    # second is the last to see the weights before they change, by decay or by the update, and
    # Keras calls it for optimizers without decay too. The third ends with the new weights.
    def clip_gradients(grads: list[Any]) -> list[Any]:
        seen.summed, seen.clipped = grads, clip(grads)
        return seen.clipped

    def apply_weight_decay(variables: list[Any]) -> None:
        seen.before = observers.before_update(variables, seen.summed, seen.clipped)
        decay(variables)

    def update_step(grads: list[Any], variables: list[Any], learning_rate: Any) -> None:
        update(grads, variables, learning_rate)
        observers.after_update(variables, grads, seen.before)

    hooks = (clip_gradients, apply_weight_decay, update_step)
    return {
        name: tf.autograph.experimental.do_not_convert(hook)
        for name, hook in zip(UPDATE_HOOKS, hooks, strict=True)
    }
