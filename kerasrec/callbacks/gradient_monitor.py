"""Callback that logs gradient statistics to History, TensorBoard and a plot."""

import importlib.util
import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerasrec._checks import check_integer
from kerasrec.callbacks.observers import watched_optimizer
from kerasrec.callbacks.update_recorder import (
    FIELDS,
    UpdateRecorder,
    first_replica,
    variable_names,
)
from kerasrec.optimizers.rows import gather

# Rows of a table that are read at a time.
CHUNK = 2**16


class GradientMonitor(keras.callbacks.Callback):
    """Record gradient norms, clipping and update sizes of each variable in stock `fit`.

    Each variable is observed at every `interval`-th update. At the end of an epoch the logs, and
    with them `History`, `CSVLogger` and Keras' `TensorBoard`, have for each variable `v`

        grad_norm/v        norm of the gradient before clipping, mean over the observations
        clipped_norm/v     norm of the gradient after clipping, mean over the observations
        clipped_share/v    share of updates whose gradient was clipped
        update_ratio/v     ||new weights - old weights|| / ||old weights||, mean over mean
        untouched_rows/v   rows of a table unchanged since `fit` began
        learning_rate      mean over the observations

    `clipped_*` exist if the optimizer clips. The first update of an epoch is always observed. For
    an embedding table, and any other variable with a sparse gradient, the ratio is over the touched
    rows. `observations` has the values of each observation. Norms that overflow or are not finite
    are recorded as they are.

    The optimizers of `kerasrec.optimizers` sum gradients over replicas and duplicate ids before
    they clip, and the norms are those of the sums. With `clipnorm` or `global_clipnorm` the share
    of clipped updates counts all updates, otherwise the observed ones. A stock optimizer clips
    first. Then the norms are those of the first replica, duplicates are summed only for the norm,
    weight decay moves untouched rows too, and the share counts observed updates. Updates skipped by
    `skip_nonfinite` or a LossScaleOptimizer are not observed.

    Put it before callbacks that read its logs (`CSVLogger`, `TensorBoard`).

    Args:
        interval: updates from one observation to the next.
        only: parts of variable paths; None for all trainable variables.
        log_dir: where to write TensorBoard scalars of each observation, under the same names. Needs
            `pip install "kerasrec[plots]"`.

    Raises:
        ValueError: if an argument is out of range, `only` fits no variable, or the model has no
            Keras optimizer.
        ImportError: if `log_dir` is given and the extra is missing.

    Example:

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="out")])
    >>> model.compile(keras.optimizers.SGD(0.1, clipnorm=1.0), "mse")
    >>> monitor = GradientMonitor(interval=2)
    >>> fitted = model.fit(np.ones((64, 2)), np.ones(64), verbose=0, callbacks=[monitor])
    >>> "grad_norm/out/kernel" in fitted.history
    True
    >>> monitor.observations["learning_rate"].round(3)
    array([0.1], dtype=float32)
    """

    def __init__(
        self,
        interval: int = 50,
        *,
        only: Sequence[str] | None = None,
        log_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__()
        check_integer(self, "interval", interval, 1)
        if isinstance(only, str) or (
            only is not None and not all(isinstance(p, str) for p in only)
        ):
            raise ValueError(
                "GradientMonitor: only must be a list of parts of variable paths, such as "
                f'["user_vectors"]; received {only!r}.'
            )
        if log_dir is not None and importlib.util.find_spec("tensorboard") is None:
            raise ImportError(
                'GradientMonitor: log_dir needs TensorBoard: pip install "kerasrec[plots]"'
            )
        self.interval = interval
        self.only = only
        self.log_dir = log_dir
        self._recorder: Any = None
        self._reset()

    def _reset(self) -> None:
        self._observations: dict[str, list[np.ndarray]] = {}
        self._epochs: list[dict[str, float]] = []

    def on_train_begin(self, logs: Any = None) -> None:
        """Start watching the model's optimizer."""
        self._stop_watching()
        self._reset()
        named = variable_names(self.model, self.only)
        self._names, self._variables = list(named), list(named.values())
        self._recorder = UpdateRecorder(self.model, named, self.interval)
        self._recorder.attach()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Request a look at the first update."""
        # Not in `on_train_begin`, since `ExactResume` may restore weights there.
        if not self._epochs:
            self._note_beginning()
        self._recorder.look_at_next()

    def _note_beginning(self) -> None:
        """Note the initial weights and step, which a later `ExactResume` may have set."""
        iterations = watched_optimizer(self.model).iterations
        self._first_step = int(tf.convert_to_tensor(getattr(iterations, "value", iterations)))
        # Ids of rows that are untouched so far, and the fingerprints of these rows.
        self._untouched = {
            index: (ids := np.arange(v.shape[0], dtype=np.int32), self._fingerprints(index, ids))
            for index, v in enumerate(self._variables)
            if len(v.shape) > 1
        }

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Fetch the recorded values and add them to the logs."""
        record = self._recorder.take()
        found = {name: record.looks[:, :, index] for index, name in enumerate(FIELDS)}
        observed = {"step": self._first_step + record.steps, "learning_rate": record.learning_rate}
        summary: dict[str, float] = {}
        for index, name in enumerate(self._names):
            old, update = found["weight_norm"][:, index], found["update_norm"][:, index]
            values = {"grad_norm": found["grad_norm"][:, index]}
            if index in self._recorder.clipped:
                values["clipped_norm"] = found["clipped_norm"][:, index]
            observed |= {f"{field}/{name}": numbers for field, numbers in values.items()}
            observed[f"update_ratio/{name}"] = _ratio(update, old)
            summary |= {f"{field}/{name}": _mean(numbers) for field, numbers in values.items()}
            if index in self._recorder.clipped:
                summary[f"clipped_share/{name}"] = float(record.clipped_share[index])
            summary[f"update_ratio/{name}"] = float(_ratio(_mean(update), _mean(old)))
            if index in self._recorder.tables and index in self._untouched:
                summary[f"untouched_rows/{name}"] = float(self._count_untouched(index))
        summary["learning_rate"] = _mean(record.learning_rate)
        for name, numbers in observed.items():
            self._observations.setdefault(name, []).append(numbers)
        self._epochs.append({"step": self._first_step + self._recorder.updates, **summary})
        self._write(observed, self._epochs[-1])
        if logs is not None:
            logs.update(summary)

    def on_train_end(self, logs: Any = None) -> None:
        """Stop watching the optimizer."""
        self._stop_watching()

    def _stop_watching(self) -> None:
        if self._recorder is not None:
            self._recorder.detach()

    @property
    def observations(self) -> dict[str, np.ndarray]:
        """Return the values of each look by log name, and `step`, the updates before it."""
        return {name: np.concatenate(parts) for name, parts in self._observations.items()}

    @property
    def epochs(self) -> dict[str, np.ndarray]:
        """Return the values of each epoch by log name, and `step`, the updates at its end."""
        names = self._epochs[0] if self._epochs else {}
        return {name: np.array([epoch[name] for epoch in self._epochs]) for name in names}

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Plot gradient norms, clipping, update ratios and untouched rows by update.

        Args:
            path: where to save the plot. The suffix decides the file format.

        Returns:
            The `matplotlib.figure.Figure`.

        Raises:
            ImportError: if matplotlib is missing: `pip install "kerasrec[plots]"`.
            ValueError: if nothing was recorded yet.
        """
        from kerasrec.callbacks.gradient_plot import draw

        if not self._epochs:
            raise ValueError(
                "GradientMonitor: nothing is recorded yet. Pass it to model.fit(callbacks=[...]) "
                "for an epoch or more first."
            )
        return draw(self.observations, self.epochs, path)

    def _fingerprints(self, index: int, ids: np.ndarray) -> np.ndarray:
        table = first_replica(self.model.distribute_strategy, self._variables[index].value)
        return fingerprints(table, ids)

    def _count_untouched(self, index: int) -> int:
        ids, marks = self._untouched[index]
        # Rows only leave the set, so later checks read fewer rows.
        same = self._fingerprints(index, ids) == marks
        self._untouched[index] = ids[same], marks[same]
        return int(same.sum())

    def _write(self, observed: dict[str, np.ndarray], epoch: dict[str, float]) -> None:
        """Write TensorBoard scalars of each look, and the epoch values that looks lack."""
        if self.log_dir is None:
            return
        writer = tf.summary.create_file_writer(os.fspath(self.log_dir))
        with writer.as_default():
            for name, numbers in observed.items():
                for step, number in zip(observed["step"], numbers, strict=True):
                    if name != "step":
                        tf.summary.scalar(name, number, step=int(step))
            for name in epoch.keys() - observed.keys():
                tf.summary.scalar(name, epoch[name], step=int(epoch["step"]))
        writer.close()


def fingerprints(table: tf.Variable, ids: np.ndarray) -> np.ndarray:
    """Compute a fingerprint of each of some rows: `(ids,)`.

    A change of one weight always changes it. A change of several is missed in one case of 2^64.
    """
    size = int(np.prod(table.shape[1:]))
    odd = np.random.default_rng(0).integers(0, 2**63, size, dtype=np.uint64) * 2 + 1
    marks = np.empty(len(ids), np.uint64)
    for start in range(0, len(ids), CHUNK):
        part = ids[start : start + CHUNK]
        block = np.ascontiguousarray(gather(table, part).numpy()).reshape(len(part), size)
        # Read each row as the widest words that divide it.
        width = next(w for w in (8, 4, 2, 1) if block.itemsize * size % w == 0)
        bits = block.view(f"u{width}")
        # Products with odd numbers modulo 2^64: a change of one word always changes the sum.
        marks[start : start + CHUNK] = np.einsum(
            "nw,w->n", bits.astype(np.uint64, copy=False), odd[: bits.shape[1]]
        )
    return marks


def _mean(numbers: np.ndarray) -> float:
    return float(np.mean(numbers, dtype=np.float64)) if len(numbers) else float("nan")


def _ratio(update: Any, weights: Any) -> np.ndarray:
    """Return the quotient, 0 if nothing moved."""
    update, weights = np.asarray(update, np.float64), np.asarray(weights, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(update == 0, 0.0, update / weights)
