"""Progress output of a training: a line per epoch, and a bar on a terminal."""

import math
import sys
import time
from typing import Any

import keras

from kerasrec._progress import counting_bar
from kerasrec.runs.terminal import say


class Epochs(keras.callbacks.Callback):
    """Print a line on stderr after each epoch, with its losses and seconds.

    Args:
        epochs: largest number of epochs.
        monitor: figure by which the best epoch is marked.
        higher: whether a higher figure is better.

    Example:

    >>> import contextlib, io
    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> rows = keras.ops.ones((4, 1))
    >>> with contextlib.redirect_stderr(io.StringIO()) as shown:
    ...     fitted = model.fit(rows, rows, epochs=2, verbose=0, callbacks=[Epochs(2)])
    >>> [line.split()[:2] for line in shown.getvalue().splitlines()]
    [['epoch', '1/2'], ['epoch', '2/2']]
    """

    # The bar may advance many steps at once, see `FitModel.compile`.
    counts_batches = False

    def __init__(self, epochs: int, monitor: str = "val_loss", *, higher: bool = False) -> None:
        super().__init__()
        self.epochs, self.monitor, self.sign = epochs, monitor, -1 if higher else 1
        self.best, self.best_epoch = math.inf, 0
        self._bar: Any = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Draw the bar of the epoch on a terminal."""
        self._start = time.perf_counter()
        self._bar = None
        if sys.stderr.isatty():
            self._bar = counting_bar(f"epoch {epoch + 1}/{self.epochs}")
            self._task = self._bar.add_task("", total=self.params.get("steps"))
            self._bar.start()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Advance the bar."""
        if self._bar is not None:
            self._bar.update(self._task, completed=batch + 1)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Print the line of the epoch."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        logs = logs or {}
        shown = dict.fromkeys(("loss", "val_loss", self.monitor))  # the rest is in the history
        metrics = [f"{name} {logs[name]:.4f}" for name in shown if name in logs]
        figure = self.sign * logs.get(self.monitor, math.inf * self.sign)
        better = figure < self.best
        if better:
            self.best, self.best_epoch = figure, epoch + 1
        width = len(str(self.epochs))
        seconds = time.perf_counter() - self._start
        line = f"epoch {epoch + 1:>{width}}/{self.epochs}  {'  '.join(metrics)}  {seconds:.1f} s"
        say(line, style="bold" if better else "dim")

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Print which epoch was the best, if any."""
        if self._bar is not None:  # interrupted
            self._bar.stop()
        if self.best_epoch:
            figure = self.sign * self.best
            say(f"{self.monitor} was best after epoch {self.best_epoch}: {figure:.4f}")
