"""Callback that keeps the best epoch in memory and stops a training in time."""

import math
from typing import Any

import keras
import numpy as np

from kerasrec.callbacks.symptoms import is_broken


class BestEpoch(keras.callbacks.Callback):
    """Keep the weights of the best epoch, and stop after some epochs that were no better.

    The best epoch is the one with the best figure on the validation rows, or the last one where
    there is none. Epochs with a non-finite loss or weight are left out, so that a training that
    breaks keeps the weights before. At the end, the model has the weights of the best epoch.

    Args:
        patience: epochs without a better figure before training stops.
        monitor: name of the figure in the logs.
        higher: whether a higher figure is better.

    Example:

    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> rows, best = np.ones((4, 1)), BestEpoch(patience=2)
    >>> fitted = model.fit(rows, rows, epochs=3, verbose=0, callbacks=[best])
    >>> best.best_epoch, len(best.history["loss"])
    (2, 3)
    """

    def __init__(self, patience: int, monitor: str = "val_loss", *, higher: bool = False) -> None:
        super().__init__()
        self.patience, self.monitor, self.higher = patience, monitor, higher
        self.history: dict[str, list[float]] = {}
        self.best_epoch: int | None = None
        self.weights: list[np.ndarray] | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Forget an earlier training."""
        self.history, self.best_epoch, self.weights = {}, None, None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Keep the weights if they are the best. Skip epochs that broke the model."""
        logs = logs or {}
        if not is_finite(logs) or is_broken(self.model):
            return
        for name, value in logs.items():
            self.history.setdefault(name, []).append(float(value))
        if self.best_of_history() == len(self.history["loss"]) - 1:
            self.best_epoch, self.weights = epoch, self.model.get_weights()
        if self.monitor in logs and self.is_over(epoch):
            self.model.stop_training = True

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Restore the weights of the best epoch."""
        if self.weights is not None:
            self.model.set_weights(self.weights)

    def best_of_history(self) -> int:
        """Return the position of the best epoch in the history, the first of equal ones."""
        figures = self.history.get(self.monitor)
        if not figures:
            return len(self.history["loss"]) - 1
        return int(np.argmax(figures) if self.higher else np.argmin(figures))

    def is_over(self, epoch: int) -> bool:
        """Return whether patience has run out after an epoch."""
        return self.best_epoch is not None and epoch - self.best_epoch >= max(1, self.patience)


def is_finite(logs: dict[str, Any]) -> bool:
    """Return whether the losses of an epoch are finite."""
    return all(math.isfinite(logs.get(name, 0.0)) for name in ("loss", "val_loss"))
