"""Losses of replicas that hold parts of different sizes of one batch."""

from typing import Any

import keras
import tensorflow as tf

# Keras reductions that divide by the size of a replica's part, and so need its share of the batch.
MEANS = ("sum_over_batch_size", "mean", "mean_with_sample_weight")


def with_share(value: Any, own: Any) -> Any:
    """Keep the loss of a replica, and scale its gradient to its share of the whole batch.

    Keras divides the loss of each of R replicas by its own rows, and then by R. This is correct if
    all replicas have the same number of rows. Here the gradient is multiplied by n R / N, with n
    own rows among N rows of all replicas. The sum over the replicas is then the gradient of the
    mean over the batch, even if one of them has no rows. Regularisation losses, which are sums over
    weights, are unaffected, since all shares add up to R.

    Args:
        value: the loss as scaled by Keras, divided by the number of replicas.
        own: number of rows of this replica, or the sum of their weights.
    """
    if tf.distribute.get_strategy().num_replicas_in_sync == 1:
        return value
    share = _share_of(own)

    @tf.custom_gradient
    def shared(value: Any) -> Any:
        return tf.identity(value), lambda gradient: gradient * tf.cast(share, gradient.dtype)

    return shared(value)


def loss_with_share(
    total: Any, penalty: Any, y_pred: Any, sample_weight: Any, compiled: Any
) -> Any:
    """Scale a replica's loss from Keras to its share of the whole batch.

    The loss that Keras reports is the mean over rows of the values that the replicas return. That
    is the loss of the batch if they divide by rows. Otherwise it is corrected here. `total` is the
    loss as scaled by Keras, with the regularisation losses, which are `penalty`.

    Raises:
        ValueError: if some of several losses divide by rows and others by weights or not at all.
    """
    rows = tf.shape(keras.tree.flatten(y_pred)[0])[0]
    kinds = {getattr(one, "reduction", MEANS[0]) or "none" for one in keras.tree.flatten(compiled)}
    by_weight = MEANS[2] in kinds and sample_weight is not None
    if kinds & {*MEANS} and (not kinds <= {*MEANS} or (by_weight and len(kinds) > 1)):
        raise ValueError(
            "fit: under several replicas all losses must be reduced alike; received "
            f"{sorted(map(str, kinds))}. Give them one reduction."
        )
    if kinds & {*MEANS} and not by_weight:
        return with_share(total, rows)
    data_loss = total - penalty
    value, share = tf.stop_gradient(data_loss), tf.ones(())
    if by_weight:
        own = tf.add_n([tf.reduce_sum(w) for w in keras.tree.flatten(sample_weight)])
        data_loss, share = with_share(data_loss, own), _share_of(own)
    context = tf.distribute.get_replica_context()
    everything = context.all_reduce(tf.distribute.ReduceOp.SUM, value * share)
    shown = everything / context.num_replicas_in_sync
    return data_loss + (shown - value) + with_share(penalty, rows)


def _share_of(own: Any) -> Any:
    context = tf.distribute.get_replica_context()
    own = tf.cast(own, "float32")
    everything = context.all_reduce(tf.distribute.ReduceOp.SUM, own)
    return tf.math.divide_no_nan(own * float(context.num_replicas_in_sync), everything)


def mean_over_replicas(total: Any, count: Any) -> Any:
    """Return the mean over a distributed batch, in the form Keras expects from a replica.

    Its gradients, summed over the replicas, are those of the mean over the whole batch. Its value
    on each replica is that mean divided by the number of replicas, so that Keras reports the mean.

    Args:
        total: sum of the replica's losses.
        count: its divisor: number of losses, or sum of their weights.
    """
    if tf.distribute.get_strategy().num_replicas_in_sync == 1:
        return tf.math.divide_no_nan(total, count)
    context = tf.distribute.get_replica_context()
    count = context.all_reduce(tf.distribute.ReduceOp.SUM, tf.stop_gradient(count))
    own = tf.math.divide_no_nan(total, count)
    value = tf.stop_gradient(own)
    mean = context.all_reduce(tf.distribute.ReduceOp.SUM, value) / context.num_replicas_in_sync
    return own + (mean - value)
