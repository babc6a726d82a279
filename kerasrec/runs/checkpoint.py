"""Callback of `kerasrec fit` that keeps the best epoch and resumes an interrupted training."""

import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from kerasrec.callbacks import Resume


class Checkpoint(Resume):
    """Keep the best epoch, stop early, and save the state after each epoch.

    With `--resume` a later process continues from the file. The best epoch and the patience are
    then recomputed from the saved losses.

    Args:
        folder: where the state is written.
        batches: the training rows, see `Resume`.
        patience: epochs without a better validation loss before training stops.
        name: start of the names of the files.
    """

    def __init__(self, folder: Path, batches: Any, *, patience: int, name: str = "state") -> None:
        super().__init__(folder / f"{name}.npz", batches, keep=True)
        self.patience = patience
        self.best_epoch: int | None = None
        self._best: list[np.ndarray] | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Restore the state, if there is one."""
        super().on_train_begin(logs)
        done = len(self.history.get("loss", ()))
        if not done:
            return
        self.best_epoch = done - 1
        if losses := self.history.get("val_loss"):
            self.best_epoch = int(np.argmin(losses))
            with np.load(self._best_file(self.best_epoch), allow_pickle=False) as held:
                self._best = [held[str(at)] for at in range(len(held))]
            if self._is_over(done - 1):
                self.model._initial_epoch = self.params["epochs"]
        else:
            self._best = self.model.get_weights()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Keep the weights if they are the best, and write the state. Skip non-finite epochs.

        The weights are written before the state, so that a saved state always finds its weights.
        """
        logs = logs or {}
        if not all(math.isfinite(logs.get(name, 0.0)) for name in ("loss", "val_loss")):
            return
        losses = self.history.get("val_loss", [])
        if "val_loss" not in logs or logs["val_loss"] < min(losses, default=math.inf):
            self.best_epoch, self._best = epoch, self.model.get_weights()
            if "val_loss" in logs:
                self._write_best(epoch)
        super().on_epoch_end(epoch, logs)
        if "val_loss" in logs:
            for file in self.path.parent.glob("best-*.npz"):
                if self.best_epoch is None or file != self._best_file(self.best_epoch):
                    file.unlink()
            if self._is_over(epoch):
                self.model.stop_training = True

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Restore the weights of the best epoch."""
        super().on_train_end(logs)
        if self._best is not None:
            self.model.set_weights(self._best)

    def _is_over(self, epoch: int) -> bool:
        return self.best_epoch is not None and epoch - self.best_epoch >= max(1, self.patience)

    def _best_file(self, epoch: int) -> Path:
        return self.path.parent / f"best-{epoch + 1}.npz"

    def _write_best(self, epoch: int) -> None:
        final = self._best_file(epoch)
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary = final.with_name(f".{final.name}.partial")
        with open(temporary, "wb") as file:
            # Types unknown to numpy (bfloat16) would be saved as anonymous bytes.
            arrays: dict[str, Any] = {
                str(at): value if value.dtype.kind in "biuf" else value.astype(np.float32)
                for at, value in enumerate(self._best or ())
            }
            np.savez(file, **arrays)
        os.replace(temporary, final)
