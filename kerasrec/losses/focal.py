"""Focal loss of logits of one label."""

import keras
from keras import ops

from kerasrec._checks import check_number
from kerasrec.types import Tensor


@keras.saving.register_keras_serializable("kerasrec")
class FocalCrossentropy(keras.losses.Loss):
    """Binary cross-entropy in which well predicted rows count little.

        loss = (1 - p)^gamma * -log p,   p = probability of the label given

    With gamma = 2, a row predicted with p = 0.9 counts a hundredth of what it does in the
    cross-entropy, which has gamma = 0 (Lin et al., 2017, "Focal Loss for Dense Object Detection").
    The minimum is not at the log odds: `kerasrec.calibration` corrects that.

    It is computed from logits, in which no gradient vanishes or overflows, unlike
    `keras.losses.BinaryFocalCrossentropy`, which clips probabilities.

    Args:
        gamma: exponent, at least 0.

    Raises:
        ValueError: if `gamma` is negative or no number.

    Example:

    >>> import numpy as np
    >>> loss = FocalCrossentropy(gamma=2.0)
    >>> found = float(loss(np.array([[1.0]]), np.array([[0.0]])))
    >>> round(found / np.log(2), 6).item()  # (1 - 1/2)^2
    0.25
    """

    def __init__(
        self,
        gamma: float = 2.0,
        reduction: str = "sum_over_batch_size",
        name: str = "focal_crossentropy",
        dtype: str | None = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        check_number(self, "gamma", gamma)
        self.gamma = gamma

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the loss of each row, the mean over the last axis.

        Args:
            y_true: labels, 0 or 1.
            y_pred: logits.
        """
        logits = ops.cast(y_pred, "float32")
        # The logit of the label given: -log p and -log(1 - p) are softplus of its two signs.
        own = (2.0 * ops.cast(y_true, "float32") - 1.0) * logits
        return ops.mean(ops.exp(-self.gamma * ops.softplus(own)) * ops.softplus(-own), axis=-1)

    def get_config(self) -> dict[str, object]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "gamma": self.gamma}
