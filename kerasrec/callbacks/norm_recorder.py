"""Recorder of the latest gradient norms, in the graph."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerasrec.callbacks.watching import first_replica, norm, per_replica_variable
from kerasrec.optimizers.rows import Rows, scatter
from kerasrec.types import Tensor

# Updates whose norms are kept.
KEPT = 12
SLOTS = KEPT + 1


class NormRecorder:
    """Observer of updates (see `watch`) that keeps the last norms up to the first fault.

    A fault is a gradient whose norm is not finite. Recording stops there, so that the norms before
    the fault are still available after an execution of many steps. With an optimizer of
    `kerasrec.optimizers` the norm is that of the summed gradient before clipping. A stock optimizer
    shows the gradient of its first replica, with duplicates of a row as separate entries.

    Args:
        variables: weights whose gradients are recorded.
        strategy: the model's distribution strategy.
    """

    def __init__(self, variables: Sequence[keras.Variable], strategy: Any) -> None:
        self._strategy = strategy
        self._places = {id(variable): place for place, variable in enumerate(variables)}
        with strategy.scope():
            zeros = np.zeros((SLOTS, len(variables)))
            self._norms = per_replica_variable(zeros, "float32", "norms")
            self._count = per_replica_variable(0, "int32", "updates")
            self._fault = per_replica_variable(False, "bool", "fault")

    def before_update(self, variables: list[Any], summed: list[Any], clipped: list[Any]) -> None:
        """Write the norms of this update."""
        line = [tf.zeros(())] * len(self._places)
        for variable, gradient in zip(variables, summed, strict=True):
            if id(variable) in self._places:
                line[self._places[id(variable)]] = norm(_values(gradient))
        norms = tf.stack(line)
        # No branch, which would cost more. After a fault the next slot is overwritten each time.
        scatter(self._norms, tf.reshape(self._count % SLOTS, (1,)), norms[tf.newaxis])
        before = tf.convert_to_tensor(self._fault)
        self._count.assign_add(1 - tf.cast(before, "int32"))
        self._fault.assign(before | tf.logical_not(tf.math.is_finite(tf.reduce_sum(norms))))

    def after_update(self, variables: list[Any], clipped: list[Any], before: Any) -> None:
        """Do nothing."""

    def fault(self) -> Tensor:
        """Return whether a norm was not finite. For use in the graph, outside replicas."""
        return tf.convert_to_tensor(first_replica(self._strategy, self._fault))

    def forget(self) -> None:
        """Continue after a fault that did no harm."""
        with self._strategy.scope():
            self._fault.assign(False)

    def last(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the last updates' numbers, from 1, and norms `(updates, variables)`."""
        count = int(first_replica(self._strategy, self._count).numpy())
        numbers = np.arange(max(0, count - KEPT), count)
        return numbers + 1, first_replica(self._strategy, self._norms).numpy()[numbers % SLOTS]


def _values(gradient: Any) -> Tensor:
    if isinstance(gradient, Rows):
        return gradient.sums
    return gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient
