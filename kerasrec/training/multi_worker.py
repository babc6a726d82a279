"""Support for `MultiWorkerMirroredStrategy`, where `fit` of Keras 3 fails."""

from typing import Any

import tensorflow as tf

from kerasrec._keras import set_num_batches


def spans_workers(strategy: Any) -> bool:
    """Return whether the strategy, if any, trains in several processes."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return False
    resolver = strategy.cluster_resolver
    spec = resolver.cluster_spec().as_dict() if resolver is not None else {}
    return sum(map(len, spec.values())) > 1


def with_an_axis(results: dict[str, Any]) -> dict[str, Any]:
    """Add an axis to the scalars that a step returns if several workers train.

    Keras averages them over the workers along the first axis, which a scalar does not have.
    """
    strategy = tf.distribute.get_strategy()
    if tf.distribute.in_cross_replica_context() or not spans_workers(strategy):
        return results
    return {name: tf.reshape(value, [-1]) for name, value in results.items()}


def own_part(strategy: Any, data: Any) -> Any:
    """Return a dataset of this worker's part of the rows, which the strategy does not shard again.

    By default, the strategy takes every dataset for the whole data and would train on a part of the
    part.

    Args:
        strategy: a strategy of `tf.distribute`, or None.
        data: the training data; anything but a dataset with `shard` set in `kerasrec.data` is
            returned unchanged.

    Raises:
        ValueError: if the part belongs to another worker, its batches cannot be split evenly, or a
            TPU would get batches of more than one shape.
    """
    if on_tpu(strategy) and isinstance(data, tf.data.Dataset):
        check_static(data)
    part = getattr(data, "part", None)
    if part is None or part.count == 1 or not spans_workers(strategy):
        return data
    if (part.index, part.count) != place_of(strategy):
        index, count = place_of(strategy)
        raise ValueError(
            f"fit: the batches are those of worker {part.index} of {part.count}; this is worker "
            f"{index} of {count}. Pass shard=kerasrec.distribute.shard(strategy)."
        )
    return from_part(strategy, data)


def on_tpu(strategy: Any) -> bool:
    """Return whether the strategy, if any, trains on TPUs."""
    return isinstance(strategy, tf.distribute.TPUStrategy)


def check_static(data: tf.data.Dataset) -> None:
    """Check that all batches have one static shape, as a TPU requires.

    Raises:
        ValueError: if a shape is not known in advance.
    """
    shapes = [spec.shape for spec in tf.nest.flatten(data.element_spec)]
    if not all(shape.is_fully_defined() for shape in shapes):
        raise ValueError(
            "fit: on a TPU all batches must have the same static shape; received "
            f"{data.element_spec}. Pass drop_remainder=True where the batches are made."
        )


def from_part(strategy: Any, data: Any) -> Any:
    """Distribute the batches of one worker, which have a `part`, among its replicas.

    Raises:
        ValueError: if the batches cannot be split evenly.
    """
    batch = data.part.own_batch
    replicas = strategy.num_replicas_in_sync // place_of(strategy)[1]
    if batch % replicas:
        raise ValueError(
            f"fit: the {batch} rows of a step on this worker cannot be split evenly among "
            f"its {replicas} replicas. Use a batch_size that the replicas can share evenly."
        )
    if replicas == 1:
        return strategy.distribute_datasets_from_function(lambda context: data)
    shared = data.rebatch(batch // replicas)
    made = strategy.distribute_datasets_from_function(lambda context: shared)
    # Keras reads the number of steps here. Each step has `replicas` elements.
    set_num_batches(made, data.cardinality().numpy())
    return made


def place_of(strategy: Any) -> tuple[int, int]:
    """Return the index of this process among the workers, with the chief at 0, and their number."""
    if not spans_workers(strategy):
        return 0, 1
    resolver = strategy.cluster_resolver
    spec = resolver.cluster_spec().as_dict()
    chiefs = len(spec.get("chief", ()))
    before = 0 if resolver.task_type == "chief" else chiefs
    return before + resolver.task_id, chiefs + len(spec.get("worker", ()))
