"""Callback that keeps the best epoch in memory and stops a training in time."""

import math
from typing import Any

import keras
import numpy as np


class BestEpoch(keras.callbacks.Callback):
    """Keep the weights of the best epoch, and stop after some epochs that were no better.

    The best epoch is the one with the lowest validation loss, or the last one without validation
    rows. Epochs with a non-finite loss are left out, so that a training that breaks keeps the
    weights before. At the end, the model has the weights of the best epoch.

    Args:
        patience: epochs without a better validation loss before training stops.

    Example:

    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> rows, best = np.ones((4, 1)), BestEpoch(patience=2)
    >>> fitted = model.fit(rows, rows, epochs=3, verbose=0, callbacks=[best])
    >>> best.best_epoch, len(best.history["loss"])
    (2, 3)
    """

    def __init__(self, patience: int) -> None:
        super().__init__()
        self.patience = patience
        self.history: dict[str, list[float]] = {}
        self.best_epoch: int | None = None
        self.weights: list[np.ndarray] | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Forget an earlier training."""
        self.history, self.best_epoch, self.weights = {}, None, None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Keep the weights if they are the best. Skip epochs with a non-finite loss."""
        logs = logs or {}
        if not is_finite(logs):
            return
        if "val_loss" not in logs or logs["val_loss"] < min(
            self.history.get("val_loss", []), default=math.inf
        ):
            self.best_epoch, self.weights = epoch, self.model.get_weights()
        for name, value in logs.items():
            self.history.setdefault(name, []).append(float(value))
        if "val_loss" in logs and self.is_over(epoch):
            self.model.stop_training = True

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Restore the weights of the best epoch."""
        if self.weights is not None:
            self.model.set_weights(self.weights)

    def is_over(self, epoch: int) -> bool:
        """Return whether patience has run out after an epoch."""
        return self.best_epoch is not None and epoch - self.best_epoch >= max(1, self.patience)


def is_finite(logs: dict[str, Any]) -> bool:
    """Return whether the losses of an epoch are finite."""
    return all(math.isfinite(logs.get(name, 0.0)) for name in ("loss", "val_loss"))
