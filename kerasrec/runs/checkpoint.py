"""Callback of a training that is saved after each epoch, and continued in another process."""

from pathlib import Path
from typing import Any

import numpy as np

from kerasrec._keras import begin_at_epoch
from kerasrec.callbacks.exact_resume import ExactResume, save_arrays
from kerasrec.runs.best_epoch import BestEpoch, is_finite


class Checkpoint(ExactResume):
    """Save the state and the best weights after each epoch.

    A later process continues from the files. The best epoch and the patience are then recomputed
    from the saved history.

    Args:
        folder: where the state is written.
        batches: the training rows, see `ExactResume`.
        best: the callback that finds the best epoch, which stands before this one.
        name: start of the names of the files.
    """

    def __init__(self, folder: Path, batches: Any, best: BestEpoch, *, name: str = "state") -> None:
        super().__init__(folder / f"{name}.npz", batches, keep=True)
        self.best = best

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Restore the state, if there is one."""
        super().on_train_begin(logs)
        done = len(self.history.get("loss", ()))
        if not done:
            return
        best = self.best
        best.history = {name: list(values) for name, values in self.history.items()}
        best.best_epoch = best.best_of_history()
        if best.monitor in self.history:
            with np.load(self._best_file(best.best_epoch), allow_pickle=False) as held:
                best.weights = [held[str(at)] for at in range(len(held))]
            if best.is_over(done - 1):
                begin_at_epoch(self.model, self.params["epochs"])
        else:
            best.weights = self.model.get_weights()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Write the weights if they are the best, and the state. Skip non-finite epochs.

        The weights are written before the state, so that a saved state always finds its weights.
        """
        logs = logs or {}
        if not is_finite(logs):
            return
        if self.best.monitor in logs and self.best.best_epoch == epoch:
            weights = {str(at): value for at, value in enumerate(self.best.weights or ())}
            save_arrays(self._best_file(epoch), weights)
        super().on_epoch_end(epoch, logs)
        if self.best.monitor in logs:
            for file in self.path.parent.glob("best-*.npz"):
                if self.best.best_epoch is None or file != self._best_file(self.best.best_epoch):
                    file.unlink()

    def _best_file(self, epoch: int) -> Path:
        return self.path.parent / f"best-{epoch + 1}.npz"
