"""What `fit` of Keras 3 lacks under `MultiWorkerMirroredStrategy`."""

from typing import Any

import keras
import tensorflow as tf


def spans_workers(strategy: Any) -> bool:
    """Whether the strategy trains in several processes.

    Args:
        strategy: of `tf.distribute`, or None.
    """
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return False
    resolver = strategy.cluster_resolver
    spec = resolver.cluster_spec().as_dict() if resolver is not None else {}
    return sum(map(len, spec.values())) > 1


def first_local(strategy: Any, batch: Any) -> Any:
    """The part of a distributed batch that the first replica of this process gets.

    Args:
        strategy: of `tf.distribute`.
        batch: nested tensors or `PerReplica` values.
    """
    return keras.tree.map_structure(
        lambda value: strategy.experimental_local_results(value)[0], batch
    )


def with_an_axis(results: dict[str, Any]) -> dict[str, Any]:
    """Numbers that a step returns, as `(1,)` where several workers train.

    Keras takes their mean over the workers along the first axis, which a number has not.

    Args:
        results: values of metrics by name.
    """
    strategy = tf.distribute.get_strategy()
    if tf.distribute.in_cross_replica_context() or not spans_workers(strategy):
        return results
    return {name: tf.reshape(value, [-1]) for name, value in results.items()}
