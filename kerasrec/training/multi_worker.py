"""What `fit` of Keras 3 lacks under `MultiWorkerMirroredStrategy`."""

from typing import Any

import tensorflow as tf

from kerasrec._keras import set_num_batches


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


def own_part(strategy: Any, data: Any) -> Any:
    """A dataset of this worker's part of the rows, as the strategy takes it without cutting it up.

    Left to itself, the strategy takes every dataset for that of the whole training and would train
    on a part of the part.

    Args:
        strategy: of `tf.distribute`, or None.
        data: what is fitted; anything but a dataset with `shard` set in `kerasrec.data` is
            returned as it is.

    Raises:
        ValueError: if the part is another worker's, its batches cannot be shared out evenly, or a
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
    """Whether the strategy trains on TPUs.

    Args:
        strategy: of `tf.distribute`, or None.
    """
    return isinstance(strategy, tf.distribute.TPUStrategy)


def check_static(data: tf.data.Dataset) -> None:
    """Refuses batches that a TPU would compile a step of its own for, or none.

    Args:
        data: what is fitted.

    Raises:
        ValueError: if a shape is not known beforehand.
    """
    shapes = [spec.shape for spec in tf.nest.flatten(data.element_spec)]
    if not all(shape.is_fully_defined() for shape in shapes):
        raise ValueError(
            "fit: on a TPU all batches must have one shape that is known beforehand; received "
            f"{data.element_spec}. Pass drop_remainder=True to what makes the batches."
        )


def from_part(strategy: Any, data: Any) -> Any:
    """Batches of one worker, shared out among its own replicas.

    Args:
        strategy: of `tf.distribute`.
        data: dataset with the attribute `part`.

    Raises:
        ValueError: if the batches cannot be shared out evenly.
    """
    batch = data.part.own_batch
    replicas = strategy.num_replicas_in_sync // place_of(strategy)[1]
    if batch % replicas:
        raise ValueError(
            f"fit: the {batch} rows of a step on this worker cannot be cut into equal parts for "
            f"its {replicas} replicas. Take a batch_size that all replicas can share."
        )
    if replicas == 1:
        return strategy.distribute_datasets_from_function(lambda context: data)
    shared = data.rebatch(batch // replicas)
    made = strategy.distribute_datasets_from_function(lambda context: shared)
    # Keras reads the number of steps here; there are `replicas` elements to each.
    set_num_batches(made, data.cardinality().numpy())
    return made


def place_of(strategy: Any) -> tuple[int, int]:
    """Place of this process among the workers, from 0 with the chief first, and their number.

    Args:
        strategy: of `tf.distribute`.
    """
    if not spans_workers(strategy):
        return 0, 1
    resolver = strategy.cluster_resolver
    spec = resolver.cluster_spec().as_dict()
    chiefs = len(spec.get("chief", ()))
    before = 0 if resolver.task_type == "chief" else chiefs
    return before + resolver.task_id, chiefs + len(spec.get("worker", ()))
