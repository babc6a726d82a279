"""Access to the batches that stock `fit` trains on, for callbacks."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerasrec.types import Tensor


class BatchTap:
    """Tap that passes batches of `fit` to Python when a condition in the graph holds.

    It is a part of a train function, see `kerasrec.training.train_function`. It runs outside of the
    XLA-compiled code and inside the loop of `steps_per_execution`. So it sees every step with its
    batch. A batch that is not passed on costs a single comparison. The parts of a batch on several
    replicas arrive as one.

    Args:
        strategy: the model's distribution strategy.
        fault: returns the condition. Called in the graph after the step.
        receive: called with the number of the step (from 1), whether the condition or a non-finite
            loss is the reason, the running mean of the loss, and the columns by name.
    """

    def __init__(
        self,
        strategy: Any,
        fault: Callable[[], Tensor],
        receive: Callable[[int, bool, float, dict[str, np.ndarray]], None],
    ) -> None:
        self._strategy, self._fault, self._receive = strategy, fault, receive
        self._steps = tf.Variable(0, trainable=False, dtype="int64")
        # True while batches without a fault are wanted, too.
        self.wanted = tf.Variable(True, trainable=False)
        # True once the train function calls `wrap_step`. A model with a custom
        # `make_train_function` may never do so.
        self.attached = False

    def wrap_step(self, step: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Return the step, followed by a look at its batch."""
        self.attached = True

        # `step` is compiled by XLA, which cannot call Python. What follows it is not compiled.
        def tapped(data: Any) -> Any:
            outputs = step(data)
            self._look(data, outputs)
            return outputs

        # The type of the decorator is not known.
        wrapped: Callable[[Any], Any] = tf.autograph.experimental.do_not_convert(tapped)
        return wrapped

    def _look(self, data: Any, outputs: Any) -> None:
        # With one step per call, Keras 3.16 runs this outside of a graph. There an assignment
        # returns the variable, which `numpy_function` does not accept.
        step = tf.convert_to_tensor(self._steps.assign_add(1, read_value=True))
        loss = outputs.get("loss") if isinstance(outputs, dict) else None
        loss = tf.zeros(()) if loss is None else tf.cast(tf.reduce_mean(loss), "float32")
        # A non-finite loss is a fault too.
        fault = self._fault() | tf.logical_not(tf.math.is_finite(loss))
        named = _named(data)
        names = list(named)

        def receive(step: Any, fault: Any, loss: Any, *columns: Any) -> None:
            # Copy, since the arrays share memory with tensors that may be reused.
            arrays = [np.array(column) for column in columns]
            found = dict(zip(names, arrays, strict=True))
            self._receive(int(step), bool(fault), float(loss), found)

        def send() -> Tensor:
            columns = [self._whole(column) for column in named.values()]
            tf.numpy_function(receive, [step, fault, loss, *columns], [])
            return tf.constant(0)

        # Only a faulty or wanted batch leaves the graph.
        tf.cond(fault | self.wanted, send, lambda: tf.constant(0))

    def _whole(self, column: Any) -> Tensor:
        """Concatenate the parts of all replicas. Ragged and sparse columns give their values."""
        parts = [
            part.flat_values if isinstance(part, tf.RaggedTensor) else getattr(part, "values", part)
            for part in self._strategy.experimental_local_results(column)
        ]
        return parts[0] if len(parts) == 1 else tf.concat(parts, axis=0)


def _named(data: Any) -> dict[str, Any]:
    """Return the tensors of a batch by name: the features, then `label` and `weight`."""
    x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
    found: dict[str, Any] = {}
    # Features come first and keep their names, even one that is called "label".
    for kind, part in (("", x), ("label", y), ("weight", weight)):
        for path, value in _leaves(part):
            name = "/".join(([kind] if kind else []) + path) or "input"
            found[name if name not in found else f"{name} (label)"] = value
    return found


def _leaves(part: Any) -> list[tuple[list[str], Any]]:
    if part is None:
        return []
    if isinstance(part, dict):
        pairs = [(str(name), value) for name, value in part.items()]
    elif isinstance(part, list | tuple):
        pairs = [(str(number), value) for number, value in enumerate(part)]
    else:
        return [([], part)]
    return [([name, *path], value) for name, below in pairs for path, value in _leaves(below)]
