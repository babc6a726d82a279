"""Losses of replicas that have parts of different sizes of one batch."""

from typing import Any

import keras
import tensorflow as tf

# Reductions of Keras that divide by what a replica has, and so need its share of the batch.
MEANS = ("sum_over_batch_size", "mean", "mean_with_sample_weight")


def with_share(y_pred: Any, sample_weight: Any, loss: Any) -> Any:
    """Predictions as they are, whose gradient is that of the loss of the whole batch.

    Keras lets each of R replicas divide by its own rows, and then by R: right where all have as
    many. The gradient is multiplied here by n R / N, of n own rows among N of all replicas, so that
    the sum over the replicas is the gradient of the mean over the batch, also where one of them has
    no rows. The value of the loss stays the mean over the own rows, of which Keras' metrics take
    the mean over rows.

    Args:
        y_pred: what the model returned.
        sample_weight: weights of the batch, or None.
        loss: as compiled.

    Raises:
        ValueError: if some of several losses divide by rows and others by weights or not at all.
    """
    tensors = keras.tree.flatten(y_pred)
    if not tensors or tf.distribute.in_cross_replica_context() or _even(tensors):
        return y_pred
    reductions = {getattr(one, "reduction", MEANS[0]) for one in keras.tree.flatten(loss)}
    if not reductions & {*MEANS}:
        return y_pred
    by_weight = MEANS[2] in reductions and sample_weight is not None
    if not reductions <= {*MEANS} or (by_weight and len(reductions) > 1):
        raise ValueError(
            "fit: under several replicas all losses must be reduced alike; received "
            f"{sorted(map(str, reductions))}. Give them one reduction."
        )
    if by_weight:
        own = sum(tf.reduce_sum(tf.cast(w, "float32")) for w in keras.tree.flatten(sample_weight))
    else:
        own = tf.cast(tf.shape(tensors[0])[0], "float32")
    context = tf.distribute.get_replica_context()
    everything = context.all_reduce(tf.distribute.ReduceOp.SUM, own)
    share = tf.math.divide_no_nan(own * float(context.num_replicas_in_sync), everything)

    @tf.custom_gradient
    def shared(values: Any) -> Any:
        return tf.identity(values), lambda gradient: gradient * tf.cast(share, gradient.dtype)

    def with_mask(values: Any) -> Any:
        made = shared(values)
        if (mask := getattr(values, "_keras_mask", None)) is not None:
            made._keras_mask = mask
        return made

    return keras.tree.map_structure(with_mask, y_pred)


def mean_over_replicas(total: Any, count: Any) -> Any:
    """The mean over a batch of which each replica holds a part, as Keras expects it of a replica.

    Its gradients, summed over the replicas, are those of the mean over the whole batch. Its value
    is that mean divided by the number of replicas, on each of them, so that the loss that Keras
    shows is the mean.

    Args:
        total: sum of the losses of the replica.
        count: what it is divided by: number of losses, or sum of their weights.
    """
    if tf.distribute.get_strategy().num_replicas_in_sync == 1:
        return tf.math.divide_no_nan(total, count)
    context = tf.distribute.get_replica_context()
    count = context.all_reduce(tf.distribute.ReduceOp.SUM, tf.stop_gradient(count))
    own = tf.math.divide_no_nan(total, count)
    value = tf.stop_gradient(own)
    mean = context.all_reduce(tf.distribute.ReduceOp.SUM, value) / context.num_replicas_in_sync
    return own + (mean - value)


def _even(tensors: list[Any]) -> bool:
    """Tell whether all replicas have as many rows: batches of one size that is known beforehand."""
    shape = tensors[0].shape
    return not shape.rank or (not tf.executing_eagerly() and shape[0] is not None)
