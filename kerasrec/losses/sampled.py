"""Losses of a positive item against sampled negatives."""

from keras import ops

from kerasrec._checks import check_share
from kerasrec.types import Tensor


def sampled_softmax(positive: Tensor, negatives: Tensor) -> Tensor:
    """Return the softmax cross-entropy of the positive among the sampled negatives.

        loss = log(exp(s+) + sum_j exp(s_j)) - s+

    See Jean et al., 2015, "On Using Very Large Target Vocabulary". A masked negative has a score so
    low that its probability is 0.

    Args:
        positive: scores `(rows,)`.
        negatives: scores `(rows, negatives)`.

    Returns:
        float32 `(rows,)`.

    Example:

    >>> import numpy as np
    >>> sampled_softmax(np.zeros(1, "float32"), np.zeros((1, 3), "float32")).numpy()  # log(4)
    array([1.3862944], dtype=float32)
    """
    positive, negatives = ops.cast(positive, "float32"), ops.cast(negatives, "float32")
    return ops.softplus(ops.logsumexp(negatives, axis=-1) - positive)


def gbce_loss(
    positive: Tensor, negatives: Tensor, *, sampling_rate: float = 1.0, calibration: float = 0.0
) -> Tensor:
    """Return the binary cross-entropy, or its generalised form of gSASRec.

        loss = -1/(k+1) (beta log sigma(s+) + sum_j log(1 - sigma(s_j)))
        beta = a (t (1 - 1/a) + 1/a)

    With k sampled items out of N, the sampling rate is a = k / (N - 1). A calibration t of 0 gives
    beta = 1, the binary cross-entropy of SASRec, which overestimates all positives when few items
    are sampled. A calibration of 1 gives beta = a, which fully compensates for the sampling (Petrov
    and Macdonald, 2023, "gSASRec: Reducing Overconfidence in Sequential Recommendation Trained with
    Negative Sampling"; they use 0.75). The paper sums over the items. The mean taken here keeps the
    best learning rate independent of k.

    Args:
        positive: scores `(rows,)`.
        negatives: scores `(rows, negatives)`.
        sampling_rate: a, greater than 0 and at most 1.
        calibration: t, between 0 and 1.

    Returns:
        float32 `(rows,)`.

    Raises:
        ValueError: if a number is out of range.

    Example:

    >>> import numpy as np
    >>> loss = gbce_loss(np.zeros(1, "float32"), np.zeros((1, 3), "float32"))
    >>> round(float(loss[0]), 4)  # log(2)
    0.6931
    """
    check_share("gbce_loss", "sampling_rate", sampling_rate, zero=False, numpy=True)
    check_share("gbce_loss", "calibration", calibration, numpy=True)
    beta = sampling_rate * (calibration * (1 - 1 / sampling_rate) + 1 / sampling_rate)
    positive, negatives = ops.cast(positive, "float32"), ops.cast(negatives, "float32")
    total = beta * ops.softplus(-positive) + ops.sum(ops.softplus(negatives), axis=-1)
    return total / (1 + negatives.shape[-1])
