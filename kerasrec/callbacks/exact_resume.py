"""Callback that continues an interrupted training exactly."""

import copy
import json
import os
import pathlib
import re
import zipfile
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerasrec._checks import check_integer
from kerasrec._files import new_file
from kerasrec._keras import begin_at_epoch
from kerasrec.training.epoch_steps import skip_steps
from kerasrec.training.train_function import train_function_of

HISTORY, METRIC = "history", "metric"


class ExactResume(keras.callbacks.Callback):
    """Save the full state of a training, so that the same script continues after a crash.

    The file holds the weights, the state of the optimizer (slots and step counter), the state of
    the dropout seeds, the losses so far, and the position in the data. `fit` in a new process then
    starts with the next epoch, or within an epoch if `save_freq` is a number. It sees the same rows
    in the same order with the same negatives, and ends with the weights of an uninterrupted
    training. The file is written under a temporary name and then renamed, so that a process killed
    at any moment leaves the previous file intact.

    An `ExactResume` may be copied with `copy.deepcopy`, as tuners do. Its copies share `batches`.

    To continue within an epoch, the batches already done are generated again and discarded, since
    later ones depend on the same random numbers. Other callbacks, wherever they are in the list,
    see only the remaining steps, numbered as in the epoch. In a Keras model outside this library
    they also see the skipped steps, with empty logs.

    With several workers the first one writes and all read, so `path` must be on a shared disk. If
    one of them dies, the others stop with an error; start all of them again. The state of other
    callbacks, such as the patience of `EarlyStopping`, is not saved.

    Args:
        path: file to write, ending in ".npz". It is removed when `fit` completes.
        batches: the dataset passed to `fit`, exactly as `kerasrec.data` returned it. None for data
            that are the same in every epoch.
        keep: whether to keep the file when `fit` ends, to train more epochs later.
        save_freq: "epoch", or a number of steps after which to write within an epoch as well. With
            `steps_per_execution`, at the end of the next execution.

    Raises:
        ValueError: if `path`, `batches` or `save_freq` are invalid. From `fit`, if the file is
            damaged or belongs to another model, optimizer or data.

    Example:

    >>> import tempfile
    >>> from kerasrec import data, models
    >>> from kerasrec.schema import Categorical, Schema
    >>> schema = Schema(user=Categorical("user", 4), item=Categorical("item", 6))
    >>> columns = {
    ...     "user": np.array([2, 3], np.int32),
    ...     "item": np.array([4, 5], np.int32),
    ...     "label": np.array([5, 1], np.float32),
    ... }
    >>> folder = tempfile.TemporaryDirectory()
    >>> def train(epochs):
    ...     model = models.MatrixFactorization(schema, embedding_dim=2)
    ...     model.compile("adam", "mse")
    ...     batches = data.pointwise(columns, schema, batch_size=2)
    ...     resume = ExactResume(f"{folder.name}/training.npz", batches, keep=True)
    ...     options = {"verbose": 0, "shuffle": False, "callbacks": [resume]}
    ...     return model.fit(batches, epochs=epochs, **options).epoch
    >>> train(2), train(3)
    ([0, 1], [2])
    >>> folder.cleanup()
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        batches: Any = None,
        *,
        keep: bool = False,
        save_freq: int | str = "epoch",
    ) -> None:
        super().__init__()
        self.path = pathlib.Path(path)
        if self.path.suffix != ".npz":
            raise ValueError(f"ExactResume: path must end in '.npz'; received {str(path)!r}.")
        if batches is not None and not hasattr(batches, "go_to_pass"):
            raise ValueError(
                "ExactResume: batches must be a dataset as kerasrec.data returns it, before map, "
                "cache or take, since its epochs are counted; received "
                f"{type(batches).__name__}. Pass None if the data are the same in every epoch."
            )
        if save_freq != "epoch":
            hint = 'It counts steps; "epoch" stands for the end of each epoch.'
            check_integer(self, "save_freq", save_freq, 1, hint=hint)
        self.batches = batches
        self.keep = keep
        self.save_freq = save_freq
        self.history: dict[str, list[float]] = {}
        self._epoch = self._saved_step = 0
        self._begin: _FirstEpoch | None = None
        self._held: tuple[int, list[np.ndarray], list[np.ndarray]] = 0, [], []

    def __deepcopy__(self, memo: dict[int, Any]) -> "ExactResume":
        """Return a copy that shares the batches. Tuners copy callbacks for each trial."""
        copied: ExactResume = type(self).__new__(type(self))
        memo[id(self)] = copied
        # A dataset cannot be copied, and each trial sets its own model.
        shared = ("batches", "_model")
        for name, value in self.__dict__.items():
            copied.__dict__[name] = value if name in shared else copy.deepcopy(value, memo)
        return copied

    @property
    def counts_batches(self) -> bool:
        """Return whether it writes within an epoch; see `kerasrec.training.FitModel.compile`."""
        return self.save_freq != "epoch"

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Read the file, if there is one."""
        done, step = self._read() if self.path.is_file() else (0, 0)
        # Keras calls this after it has read `initial_epoch` and before it asks for the first
        # batch. So all of the following is in time, wherever the callback is in the list.
        if done:
            # A part of the train function is closed even if `fit` ends with an exception.
            self._begin = _FirstEpoch(self.model, done)
            train_function_of(self.model).add(self._begin)
        if self.batches is not None:
            # Order, negatives and the rest follow from the seed and this number alone.
            self.batches.go_to_pass(done)
        self._saved_step = step
        # Within an epoch, metrics are restored after the skipped steps.
        if step:
            self._skip(step)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Note the number of the epoch."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Write the file when `save_freq` steps have passed."""
        # With several steps per execution, `batch` is the last of them.
        step = batch + 1
        if isinstance(self.save_freq, int) and step - self._saved_step >= self.save_freq:
            self._saved_step = step
            self._write(self._epoch, step)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Write the file."""
        # Metrics start anew in the next epoch, so only a file within an epoch holds their sums.
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(float(value))
        self._saved_step = 0
        self._write(epoch + 1, 0)

    def _skip(self, step: int) -> None:
        """Make `fit` start after the steps already done."""
        at_once = self.model.steps_per_execution
        if step % at_once and step != (self.params or {}).get("steps"):
            raise ValueError(
                f"ExactResume: {str(self.path)!r} was written after step {step} of an epoch, where "
                f"steps_per_execution={at_once} does not stop. Compile as before."
            )
        skip_steps(self.model, step, self._put_back_metrics)

    def _put_back_metrics(self, batch: Any) -> None:
        """Restore the running sums of the metrics within the epoch."""
        strategy = self.model.distribute_strategy
        # Metrics have no variables before the first step. The step that creates them may draw
        # random numbers, so the variables are restored after it.
        tf.function(lambda data: strategy.run(self.model.test_step, args=(data,)))(batch)
        step, arrays, running = self._held
        for variable, array in zip(self._variables(), arrays, strict=True):
            variable.assign(array)
        metrics = self.model.metrics_variables
        if [tuple(m.shape) for m in metrics] != [array.shape for array in running]:
            raise ValueError(
                f"ExactResume: {str(self.path)!r} was written after step {step} of an epoch by a "
                f"model with other metrics ({len(running)} variables, here {len(metrics)}). "
                "Compile as before."
            )
        for variable, array in zip(metrics, running, strict=True):
            variable.assign(array)
        self._held = 0, [], []

    def _write(self, epochs: int, step: int) -> None:
        # Every worker reads the variables, since reading one may be a collective operation.
        arrays: dict[str, Any] = {
            _key(at): _value(variable) for at, variable in enumerate(self._variables())
        }
        running = self.model.metrics_variables if step else []
        arrays |= {_key(at, METRIC): _value(variable) for at, variable in enumerate(running)}
        if not self._writes():
            return
        note = {"epochs": epochs, "names": self._names(), "history": self.history}
        note |= {"step": step, "metrics": len(running)}
        arrays[HISTORY] = np.array(json.dumps(note))
        try:
            save_arrays(self.path, arrays)
        except OSError as error:
            raise ValueError(
                f"ExactResume: {str(self.path)!r} could not be written: {error.strerror}. Free "
                "some space or choose another path; the file before is whole."
            ) from error

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Remove the file, since the next `fit` is a new training."""
        train_function_of(self.model).remove(self._begin)
        if not self.keep and self._writes():
            self.path.unlink(missing_ok=True)

    def _read(self) -> tuple[int, int]:
        """Restore every variable. Return the epochs done, and the steps of the next epoch."""
        try:
            with open(self.path, "rb") as file, np.load(file, allow_pickle=False) as held:
                note = json.loads(str(held[HISTORY]))
                arrays = [held[_key(at)] for at in range(len(note["names"]))]
                running = [held[_key(at, METRIC)] for at in range(note["metrics"])]
            done, step, names = int(note["epochs"]), int(note["step"]), list(note["names"])
            self.history = {name: list(values) for name, values in note["history"].items()}
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"ExactResume: {str(self.path)!r} is not a file of this callback, or damaged "
                f"({type(error).__name__}). Remove it to train from the start."
            ) from error
        # Compare names, shapes and types before any variable is set.
        mine = self._names()
        if names != mine:
            other = next((n for n in (*names, *mine) if n not in names or n not in mine), names[0])
            raise ValueError(
                f"ExactResume: {str(self.path)!r} belongs to another model or optimizer: {other!r} "
                "is not in both. Use one file for each training, or remove it to train from the "
                "start."
            )
        for variable, array in zip(self._variables(), arrays, strict=True):
            variable.assign(array)
        # Metrics may have no variables yet, see `_put_back_metrics`.
        self._held = step, arrays, running
        return done, step

    def _variables(self) -> list[Any]:
        optimizer = self.model.optimizer
        # Its slots appear with the first step otherwise, too late to restore them.
        if not optimizer.built:
            with self.model.distribute_strategy.scope():
                optimizer.build(self.model.trainable_variables)
        return [*self.model.variables, *optimizer.variables]

    def _names(self) -> list[str]:
        """Return path, shape and type of every variable, without numbers added by Keras."""
        # The second model of a process has `dense_1` where the first has `dense`.
        return [
            f"{re.sub(r'_[0-9]+', '', variable.path)} {tuple(variable.shape)} {variable.dtype}"
            for variable in self._variables()
        ]

    def _writes(self) -> bool:
        """Return whether this is the only worker, or the first of several."""
        return bool(self.model.distribute_strategy.extended.should_checkpoint)


class _FirstEpoch:
    """Part of a train function that makes `fit` start at another epoch once."""

    def __init__(self, model: Any, epoch: int) -> None:
        self._model = model
        begin_at_epoch(model, epoch)

    def close(self) -> None:
        """Let the next `fit` start at its own initial epoch."""
        begin_at_epoch(self._model, None)


def _key(at: int, kind: str = "variable") -> str:
    return f"{kind}{at:05d}"


def _value(variable: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(tf.convert_to_tensor(variable.value)))


def save_arrays(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays to a `.npz` file atomically, text as unicode."""
    known: dict[str, Any] = dict(arrays)
    for name, array in arrays.items():
        if array.dtype == object:  # text, which would be pickled
            known[name] = array.astype("S").astype("U")
        elif array.dtype.kind not in "biufSU":
            # Types unknown to numpy (bfloat16) would be saved as anonymous bytes.
            known[name] = array.astype(np.float32)
    # An open file, since numpy adds a suffix to names without one.
    with new_file(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **known)
