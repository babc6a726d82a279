"""Losses of replicas that have parts of different sizes of one batch."""

from typing import Any

import keras
import tensorflow as tf

# Reductions of Keras that divide by what a replica has, and so need its share of the batch.
MEANS = ("sum_over_batch_size", "mean", "mean_with_sample_weight")


def with_share(value: Any, own: Any) -> Any:
    """A loss or penalty of a replica as it is, with its part of the whole batch's gradient.

    Keras lets each of R replicas divide by its own rows, and then by R: right where all have as
    many. The gradient is multiplied here by n R / N, of n own rows among N of all replicas, so that
    the sum over the replicas is the gradient of the mean over the batch, also where one of them has
    no rows. Penalties that are sums over weights stay what they are, since all shares are R.

    Args:
        value: as Keras scales it, divided by the replicas.
        own: rows of this replica, or the sum of their weights.
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
    """The loss of a replica that Keras has computed, with its part of the whole batch's gradient.

    The loss that Keras shows is the mean over rows of what the replicas return: that is the loss of
    the batch if they divide by rows, and is made so here if they do not.

    Args:
        total: as Keras scales it, with penalties.
        penalty: the penalties alone.
        y_pred: what the model returned.
        sample_weight: weights of the rows, or None.
        compiled: the compiled loss.

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
