"""`tf.distribute` strategies by name, and the batch sizes they imply."""

import dataclasses
import json
import os
import re
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from kerasrec._checks import check_choice, check_integer
from kerasrec.training.multi_worker import place_of

KINDS = ("auto", "cpu", "mirrored", "multiworker", "tpu")


def strategy(
    kind: str = "auto",
    *,
    replicas: int | None = None,
    workers: Sequence[str] | None = None,
    index: int | None = None,
    tpu: str | None = None,
) -> tf.distribute.Strategy:
    """Create the strategy whose `scope()` holds building, compiling and fitting a model.

        "cpu"          `replicas` logical CPUs of this machine, for tests
        "mirrored"     the GPUs of this machine (the first `replicas` of them)
        "multiworker"  one process a machine, the same script on each; from `workers` and `index`,
                       or from `TF_CONFIG`
        "tpu"          the TPU named by `tpu` or found in the environment
        "auto"         "multiworker" if `TF_CONFIG` names several workers, "tpu" if `TPU_NAME` is
                       set, "mirrored" if there are several GPUs, else one device

    Batches are global. A batch of 8,192 is cut into one part for each replica. Losses, clipping and
    updates are those of the whole batch, even if the parts of the last batch differ in size or one
    is empty; see `batches`. Call this function first in the script, since TensorFlow cannot divide
    CPUs or connect workers once it has run anything.

    Args:
        kind: one of the above.
        replicas: number of devices to use, for "cpu" (at least 2) and "mirrored".
        workers: `host:port` of every worker, in the same order on each, for "multiworker".
        index: the index of this process in `workers`, from 0.
        tpu: name or address of the TPU.

    Returns:
        A `tf.distribute.Strategy`. With "auto" and one device, the default strategy.

    Raises:
        ValueError: if the hardware is missing, TensorFlow has already run, or the arguments do not
            fit together.

    Example:

    >>> strategy("auto").num_replicas_in_sync
    1
    """
    check_choice("strategy", "kind", kind, KINDS)
    given = {
        "replicas": (replicas, ("cpu", "mirrored")),
        "workers": (workers, ("multiworker",)),
        "index": (index, ("multiworker",)),
        "tpu": (tpu, ("tpu",)),
    }
    for name, (value, kinds) in given.items():
        if value is not None and kind not in kinds:
            raise ValueError(
                f"strategy: {name} is for {' and '.join(map(repr, kinds))}; received {name}="
                f"{value!r} with {kind!r}."
            )
    if kind == "auto":
        kind = _found()
    if kind == "cpu":
        return _cpu(2 if replicas is None else replicas)
    if kind == "mirrored":
        return _mirrored(replicas)
    if kind == "multiworker":
        return _multiworker(workers, index)
    if kind == "tpu":
        return _tpu(tpu)
    return tf.distribute.get_strategy()


@dataclasses.dataclass(frozen=True)
class Batches:
    """Batch sizes under a strategy.

    Attributes:
        replicas: copies of the model that train together.
        workers: processes that hold them.
        global_batch: rows of one step of the optimizer.
        replica_batch: rows of a step on each replica.
    """

    replicas: int
    workers: int
    global_batch: int
    replica_batch: int

    def __str__(self) -> str:
        """Return one line for a log."""
        return (
            f"{self.global_batch:,} rows a step: {self.replica_batch:,} for each of "
            f"{self.replicas} replicas on {self.workers} worker{'s' * (self.workers > 1)}"
        )


def batches(strategy: tf.distribute.Strategy, global_batch: int) -> Batches:
    """Compute how a global batch, the `batch_size` of kerasrec's batches, is divided.

    Args:
        strategy: as made by `strategy`.
        global_batch: rows of one step of the optimizer.

    Raises:
        ValueError: if the replicas cannot have equal parts. `fit` of this library also trains
            correctly on unequal parts, but replicas with fewer rows then wait at each step.

    Example:

    >>> print(batches(tf.distribute.get_strategy(), 4096))
    4,096 rows a step: 4,096 for each of 1 replicas on 1 worker
    """
    replicas = strategy.num_replicas_in_sync
    check_integer("batches", "global_batch", global_batch, 1)
    if global_batch % replicas:
        lower = global_batch - global_batch % replicas
        raise ValueError(
            f"batches: {global_batch} rows cannot be cut into equal parts for {replicas} replicas. "
            f"Take {lower or replicas} or {lower + replicas}."
        )
    return Batches(replicas, shard(strategy)[1], global_batch, global_batch // replicas)


def shard(strategy: tf.distribute.Strategy) -> tuple[int, int]:
    """Return this process' place among the workers, and the number of workers.

    The result is the `shard` argument of `kerasrec.data.stream_parquet`. Replicas of one process
    share the rows it reads, so with one process it is `(0, 1)`.

    Args:
        strategy: as made by `strategy`.

    Example:

    >>> shard(tf.distribute.get_strategy())
    (0, 1)
    """
    return place_of(strategy)


def _found() -> str:
    if len(_workers_of(os.environ.get("TF_CONFIG"))) > 1:
        return "multiworker"
    if os.environ.get("TPU_NAME"):
        return "tpu"
    return "mirrored" if len(tf.config.list_physical_devices("GPU")) > 1 else "one"


def _cpu(replicas: int) -> tf.distribute.Strategy:
    check_integer("strategy", "replicas", replicas, 2)
    cpu = tf.config.list_physical_devices("CPU")[0]
    held = tf.config.get_logical_device_configuration(cpu) or ()
    if len(held) < replicas:
        try:
            tf.config.set_logical_device_configuration(
                cpu, [tf.config.LogicalDeviceConfiguration()] * replicas
            )
        except RuntimeError as error:
            raise ValueError(
                f"strategy: TensorFlow is already running, with {max(1, len(held))} CPU device; "
                f"{replicas} are needed. Call strategy('cpu') before anything else."
            ) from error
    # The default reduction can hang with several tables on logical CPUs.
    return tf.distribute.MirroredStrategy(
        [f"CPU:{number}" for number in range(replicas)],
        cross_device_ops=tf.distribute.ReductionToOneDevice(),
    )


def _mirrored(replicas: int | None) -> tf.distribute.Strategy:
    gpus = tf.config.list_logical_devices("GPU")
    if replicas is not None:
        check_integer("strategy", "replicas", replicas, 1)
    if len(gpus) < (replicas or 1):
        raise ValueError(
            f"strategy: 'mirrored' needs {replicas or 1} GPU(s); TensorFlow sees {len(gpus)}. "
            "Check the driver with `nvidia-smi` and the installation of tensorflow[and-cuda], or "
            "try things out with strategy('cpu')."
        )
    return tf.distribute.MirroredStrategy([gpu.name for gpu in gpus[:replicas]])


def _multiworker(workers: Sequence[str] | None, index: int | None) -> tf.distribute.Strategy:
    resolver = None  # stands for TF_CONFIG
    if workers is None:
        text = os.environ.get("TF_CONFIG")
        if index is not None or not text:
            raise ValueError(
                "strategy: 'multiworker' needs workers=['host:port', ...] and index=, or the "
                f"environment variable TF_CONFIG; received index={index!r} and no workers."
            )
        _workers_of(text)
    else:
        names = list(workers)
        wrong = [w for w in names if not re.fullmatch(r"[^\s:]+:\d+|\[.+\]:\d+", str(w))]
        if isinstance(workers, str) or not names or wrong or len(set(names)) < len(names):
            raise ValueError(
                "strategy: workers must be a list of different 'host:port', one for each worker; "
                f"received {workers!r}."
            )
        hint = f"It is the place of this process among the {len(names)} workers."
        check_integer("strategy", "index", index, 0, len(names) - 1, hint=hint)
        resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
            tf.train.ClusterSpec({"worker": names}),
            task_type="worker",
            task_id=index,
            rpc_layer="grpc",
        )
    try:
        return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
    except RuntimeError as error:
        raise ValueError(
            "strategy: TensorFlow is already running and can no longer connect to other workers. "
            f"Call strategy('multiworker') before anything else. TensorFlow says: {error}"
        ) from error


def _tpu(name: str | None) -> tf.distribute.Strategy:
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=name or "")
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, RuntimeError, OSError, tf.errors.OpError) as error:
        where = f"no TPU of the name {name!r}" if name else "no TPU"
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"strategy: {where} can be reached ({reason}). Run on a TPU machine, or pass its name "
            "or address as tpu=."
        ) from error
    return tf.distribute.TPUStrategy(resolver)


def _workers_of(text: str | None) -> list[str]:
    """Return the workers that a TF_CONFIG names, its chief included."""
    if not text:
        return []
    try:
        config: Any = json.loads(text)
        cluster, task = config["cluster"], config["task"]
        names = [*cluster.get("chief", ()), *cluster.get("worker", ())]
        position = int(task["index"])
        known = len(cluster[task["type"]])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            "strategy: TF_CONFIG must be JSON like {'cluster': {'worker': ['host:port', ...]}, "
            f"'task': {{'type': 'worker', 'index': 0}}}}; received {text!r}."
        ) from error
    if not 0 <= position < known:
        raise ValueError(
            f"strategy: TF_CONFIG gives this process the index {position} among {known} of the "
            f"type {task['type']!r}. Give each process its own, from 0."
        )
    return names
