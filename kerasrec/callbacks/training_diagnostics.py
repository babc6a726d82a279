"""Callback that diagnoses failed training."""

import os
import warnings
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerasrec._checks import check_flag
from kerasrec.callbacks import symptoms
from kerasrec.callbacks.batch_tap import BatchTap
from kerasrec.callbacks.exact_resume import save_arrays
from kerasrec.callbacks.update_recorder import UpdateRecorder, embedding_tables, variable_names
from kerasrec.schema import Schema
from kerasrec.training.train_function import train_function_of
from kerasrec.types import Ranker

# Rows that are checked for suspicious columns, and the fewest that allow a verdict.
ROWS, FEWEST_ROWS = 8192, 16
# Users and items whose lists are compared, the fewest users that suffice, and the list length.
USERS, ITEMS, FEWEST_USERS, LIST = 128, 256, 16, 10
# Variables whose norms are printed.
SHOWN = 8

# The step (None if unknown), the loss and the columns of the batch at which training failed.
Case = tuple[int | None, float, dict[str, np.ndarray]]


class TrainingDiagnostics(keras.callbacks.Callback):
    """Stop stock `fit` at the first non-finite loss or weight, and report the cause.

    The diagnosis is printed and kept in `diagnosis`. It names the step, the faulty feature of the
    batch (NaN or infinity, an id outside of the schema, an extreme value), the first variables with
    a non-finite gradient or weight, the gradient norms of the last steps, and suggested fixes. The
    batch is saved to a `.npz` file with a column for each feature, the label and the weight.

    The callback works for any Keras model, with numpy arrays and datasets, `jit_compile`,
    `steps_per_execution` and `MirroredStrategy`. It reads batches inside the loop of `fit`, so
    nothing has to be wrapped or replayed, and the file holds the very rows of the step. With
    `steps_per_execution=n` training stops up to n - 1 steps later. Message and file are still those
    of the first bad step.

    Every loss and every gradient is checked. All weights are checked before `fit`, at the end of
    each epoch, and after a non-finite gradient. A gradient that overflows but does no harm, as with
    clipping or `skip_nonfinite`, does not stop training. A non-finite loss does.

    After the first rows the callback warns (`UserWarning`) if the label is constant. For models
    with a schema it also warns if nearly all ids are unknown or all sequences are padding. At the
    end of training it warns of popularity collapse, that is, most users get the same list. Labels
    are not checked where they are constant by design: under `SparseCategoricalCrossentropy`, and
    for a trainer around a model with a schema, such as `SampledSoftmaxTrainer`.

    If a model's own `make_train_function` does not call that of Keras, its batches cannot be seen.
    Then the returned loss and the gradients are checked after each call, and no file is written.

    Not covered are training with several workers, and ids outside of a table for which TensorFlow
    raises an error (on a CPU without XLA). If `train_step` does not return its loss, only the
    gradients are checked. With a stock optimizer these are the gradients of the first replica.

    Args:
        restore_weights: whether to restore the weights and the optimizer's state from the beginning
            of the epoch. Keeps a copy of both.
        batch_path: where to save the batch, `.npz`. None to save nothing.

    Raises:
        ValueError: if an argument is out of range. From `fit`, if the model has no Keras optimizer,
            or its weights do not exist yet or are not finite before the first step.

    Example:

    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, name="out")])
    >>> model.compile("sgd", "mse")
    >>> doctor = TrainingDiagnostics(restore_weights=True, batch_path=None)
    >>> rows = np.array([[1.0], [2.0], [np.nan], [4.0]])
    >>> fitted = model.fit(rows, np.arange(4), 2, shuffle=False, verbose=0, callbacks=[doctor])
    ... # doctest: +ELLIPSIS
    TrainingDiagnostics: training stopped at step 2 ...
    >>> doctor.step, bool(np.isfinite(model.get_weights()[0]).all())
    (2, True)
    """

    # Its checks run in the graph of each step, see `FitModel.compile`.
    counts_batches = False

    def __init__(
        self,
        *,
        restore_weights: bool = False,
        batch_path: str | os.PathLike[str] | None = "offending_batch.npz",
    ) -> None:
        super().__init__()
        check_flag(self, "restore_weights", restore_weights)
        if batch_path is not None and not os.fspath(batch_path).endswith(".npz"):
            raise ValueError(
                "TrainingDiagnostics: batch_path must end in .npz, or be None; received "
                f"{batch_path!r}."
            )
        self.restore_weights = restore_weights
        self.batch_path = batch_path
        self.diagnosis: str | None = None
        self.step: int | None = None
        self._tap: BatchTap | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        """Start watching the model."""
        # The previous `fit` may have ended with an exception.
        self._leave()
        self.diagnosis = self.step = None
        self._case: Case | None = None
        self._samples: list[dict[str, np.ndarray]] = []
        self._rows, self._judged = 0, False
        self._kept: list[tuple[keras.Variable, Any]] = []
        self._epoch = 0
        if not self.model.trainable_variables:
            raise ValueError(
                f"TrainingDiagnostics: {type(self.model).__name__} has no weights to train yet. "
                "Build it before fit: call it once on a batch, or model.build(input_shape)."
            )
        self._named = variable_names(self.model)
        if bad := self._nonfinite_weights():
            raise ValueError(
                "TrainingDiagnostics: weights are not finite before the first step: "
                f"{', '.join(bad)}. Create or load the model again."
            )
        self._recorder = UpdateRecorder(self.model, self._named)
        self._tap = BatchTap(self.model.distribute_strategy, self._recorder.fault, self._receive)
        # The recorder runs inside of the step and the tap after it, whichever is added first. So
        # the tap sees the fault of the very batch that it holds.
        self._recorder.attach()
        train_function_of(self.model).add(self._tap)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Copy the weights, which are finite at this point."""
        self._epoch = epoch
        # Copies stay on the device. After a fault the weights would not be worth keeping.
        if self.restore_weights and self.diagnosis is None:
            self._kept = [(v, tf.identity(v.value)) for v in self._state()]

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Examine the batch that was handed over, if any."""
        if self._tap is not None and not self._tap.attached:
            self._look_from_outside(logs)
        # Keras calls this after an execution of several steps, which may all have run already.
        if self._case is not None:
            self._examine()
        if not self._judged and self._rows >= ROWS:
            self._judge()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Check all weights."""
        if not self._judged:
            self._judge()
        if self.diagnosis is None and (bad := self._nonfinite_weights()):
            self._stop(None, bad)

    def on_train_end(self, logs: Any = None) -> None:
        """Compare the lists of some users, and restore the model's train function."""
        self._leave()
        if self.diagnosis is None:
            self._compare_lists()
        self._samples, self._kept = [], []

    def _leave(self) -> None:
        if self._tap is not None:
            train_function_of(self.model).remove(self._tap)
            self._recorder.detach()
            self._tap = None

    def _receive(self, step: int, fault: bool, loss: float, columns: dict[str, np.ndarray]) -> None:
        """Store a batch. Called from the graph of `fit`."""
        # Of several faulty batches in an execution, the first is the one to report.
        if not fault:
            self._samples.append(columns)
            self._rows += len(next(iter(columns.values())))
        elif self._case is None:
            self._case = step, loss, columns

    def _look_from_outside(self, logs: Any) -> None:
        """Check loss and gradients after a call, if the train function shows no batches."""
        loss = float(np.mean((logs or {}).get("loss", 0.0)))
        if self._case is None and (bool(self._recorder.fault()) or not np.isfinite(loss)):
            numbers, _ = self._recorder.last()
            self._case = int(numbers[-1]) if len(numbers) else None, loss, {}

    def _examine(self) -> None:
        """Stop training, unless the gradient was non-finite but did no harm."""
        if self.diagnosis is None and self._case is not None:
            bad = self._nonfinite_weights()
            if bad or not np.isfinite(self._case[1]):
                self._stop(self._case, bad)
                return
        # The gradient did no harm, or training has been stopped already.
        self._case = None
        self._recorder.forget()

    def _stop(self, case: Case | None, bad: list[str]) -> None:
        self.model.stop_training = True
        # Without a case, the weights broke outside of the steps that were seen.
        step, loss, columns = case or (None, 0.0, {})
        self.step = step
        schema, _ = self._schema()
        tables = embedding_tables(self.model)
        sizes = [int(v.shape[0]) for v in self.model.trainable_variables if id(v) in tables]
        guilty = symptoms.blame(columns, schema, max(sizes, default=None))
        numbers, norms = self._recorder.last()
        what = "a weight is not finite" if np.isfinite(loss) else f"the loss is {loss:g}"
        epoch = f"epoch {self._epoch + 1}"
        when = "at the end of" if step is None else f"at step {step} of this fit, in"
        lines = [f"TrainingDiagnostics: training stopped {when} {epoch}: {what}."]
        if case is None and len(numbers):
            lines = [f"{lines[0][:-1]}; the loss and the gradients were finite at every step."]
        if guilty:
            lines += [f"Cause in the batch: {sentence}." for sentence in guilty]
        elif case and not columns:
            lines.append(
                f"The batch is not available: {type(self.model).__name__} makes its own train "
                "function."
            )
        elif case:
            lines.append("The batch is not to blame: no NaN, no id outside, no extreme value.")
        lines.append(self._first(numbers, norms, bad))
        lines += _table(list(self._named), numbers, norms)
        lines.append("Try: " + "; ".join(_advice(guilty, norms)) + ".")
        if columns and self.batch_path is not None:
            save_arrays(self.batch_path, columns)
            lines.append(f"The batch is in {os.fspath(self.batch_path)}.")
        if self.restore_weights:
            for variable, value in self._kept:
                variable.assign(value)
            lines.append(f"Weights and optimizer are those of the beginning of {epoch}.")
        self.diagnosis = "\n".join(lines)
        print(self.diagnosis)

    def _first(self, numbers: np.ndarray, norms: np.ndarray, bad: list[str]) -> str:
        """Name the first variables with non-finite values."""
        # The first update with a non-finite norm, and the variables that have it.
        broken = ~np.isfinite(norms)
        parts = []
        if broken.any():
            update = int(np.argmax(broken.any(axis=1)))
            names = np.array(list(self._named))[broken[update]]
            if 1 < len(names) == len(self._named):
                shown = f"those of all {len(names)} variables"
            else:
                shown = ", ".join(names[:SHOWN])
            parts.append(f"first non-finite gradients at update {numbers[update]}: {shown}")
        if bad:
            parts.append(f"weights that are not finite now: {', '.join(bad[:SHOWN])}")
        if len(norms) > 1 and np.isfinite(norms).any():
            finite = np.where(np.isfinite(norms), norms, 0).max(axis=0)
            parts.append(f"largest gradient before: {list(self._named)[int(finite.argmax())]}")
        line = "; ".join(parts) or "all gradients and weights are finite: the loss itself is not"
        return line[0].upper() + line[1:] + "."

    def _state(self) -> list[keras.Variable]:
        # A LossScaleOptimizer lists the variables of the optimizer in it, too.
        found = [*self.model.weights, *self.model.optimizer.variables]
        return list({id(variable): variable for variable in found}.values())

    def _nonfinite_weights(self) -> list[str]:
        """Return the names of non-finite weights, with the number of rows affected."""
        found = []
        names = {id(variable): name for name, variable in self._named.items()}
        for variable in self.model.weights:
            if not tf.as_dtype(variable.dtype).is_floating:
                continue
            # Reduce on the device first. Only a faulty variable is copied.
            finite = tf.math.is_finite(variable.value)
            if bool(tf.reduce_all(finite)):
                continue
            good = finite.numpy()
            rows = good.reshape(len(good), -1).all(axis=1) if good.ndim else good[None]
            name = names.get(id(variable), variable.path)
            found.append(f"{name} ({(~rows).sum():,} of {len(rows):,} rows)")
        return found

    def _schema(self) -> tuple[Schema | None, Any]:
        """Return the schema of the model, or of the model it wraps, and that model."""
        for model in (self.model, getattr(self.model, "model", None)):
            schema = getattr(model, "schema", None)
            if isinstance(schema, Schema):
                return schema, model
        return None, None

    def _judge(self) -> None:
        """Warn about columns that carry nothing to learn."""
        self._judged = True
        if self._tap is not None:
            # From now on only faulty batches leave the graph.
            self._tap.wanted.assign(False)
        if self._rows < FEWEST_ROWS:
            return
        whole = _joined(self._samples)
        schema, model = self._schema()
        # In a batch of `shared_negatives` the label is the position of the positive, always 0.
        names = [str(getattr(loss, "name", loss)) for loss in tf.nest.flatten(self.model.loss)]
        by_design = model not in (None, self.model) or any(
            "sparse_categorical" in name or "SparseCategorical" in name for name in names
        )
        for sentence in symptoms.suspicions(whole, schema, label=None if by_design else "label"):
            warnings.warn(f"TrainingDiagnostics: {sentence}.", UserWarning, stacklevel=2)

    def _compare_lists(self) -> None:
        """Warn if most users would be shown the same items."""
        schema, model = self._schema()
        if schema is None or not self._samples or not isinstance(model, Ranker):
            return
        if not schema.user or not schema.item:
            return
        columns = _joined(self._samples)
        user, item = schema.user_id.name, schema.item_id.name
        # In batches of sequences the user id is repeated at every step, so rows are not queries.
        if user not in columns or item not in columns or columns[user].ndim != 1:
            return
        # One row of each user and of each item, since features are repeated with them.
        users = np.unique(columns[user], return_index=True)[1][:USERS]
        flat = columns[item].reshape(-1)
        items = np.unique(flat, return_index=True)[1][:ITEMS]
        if len(users) < FEWEST_USERS or len(items) < 5 * LIST:
            return
        inputs = {f.name: columns[f.name][users] for f in schema.query}
        for feature in schema.item:
            values = columns[feature.name]
            values = values.reshape(len(flat), *values.shape[columns[item].ndim :])[items]
            inputs[feature.name] = np.broadcast_to(values, (len(users), *values.shape))
        scores = np.asarray(keras.ops.convert_to_numpy(model(inputs, training=False)))
        if scores.shape != (len(users), len(items)) or not np.isfinite(scores).all():
            return
        share = symptoms.collapse(scores, LIST)
        if share > symptoms.MOST:
            warnings.warn(
                f"TrainingDiagnostics: {share:.0%} of {len(users)} users would be shown the same "
                f"{LIST} of {len(items)} items: the model ranks by popularity alone. Train longer, "
                "with a smaller l2 or larger embedding_dim, or draw negatives by popularity.",
                UserWarning,
                stacklevel=2,
            )


def _joined(samples: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Concatenate the rows of all batches. Where shapes differ, keep the first batch."""
    joined = {}
    for name, first in samples[0].items():
        parts = [sample[name] for sample in samples]
        same = all(part.shape[1:] == first.shape[1:] and part.ndim for part in parts)
        joined[name] = np.concatenate(parts) if same else first
    return joined


def _table(names: list[str], numbers: np.ndarray, norms: np.ndarray) -> list[str]:
    """Format the gradient norms of the last updates, largest first."""
    if not len(numbers):
        return []
    order = np.argsort(-np.where(np.isfinite(norms), norms, -1).max(axis=0), kind="stable")[:SHOWN]
    width = max(len("update"), *(len(names[at]) for at in order))
    rows = [("update", [f"{number:>9}" for number in numbers])]
    rows += [(names[at], [f"{norm:>9.2e}" for norm in norms[:, at]]) for at in order]
    title = "Gradient norms over the last updates"
    left = f" (the {SHOWN} largest of {len(names)} variables)" if len(names) > SHOWN else ""
    return [f"{title}{left}:", *(f"  {name:<{width}}{''.join(cells)}" for name, cells in rows)]


def _advice(guilty: list[str], norms: np.ndarray) -> list[str]:
    """Return suggestions, most likely cause first."""
    text = " ".join(guilty)
    found = []
    if "NaN" in text or "infinity" in text:
        found.append("drop or fill the rows that are not finite (kerasrec.data.clean)")
    if "outside" in text:
        found.append("encode ids with the vocabulary the schema was made from")
    if "extreme" in text:
        found.append("scale the column, or clip its outliers")
    finite = np.where(np.isfinite(norms), norms, np.nan)
    sizes = np.nanmax(np.where(np.isnan(finite), 0, finite), axis=1) if norms.size else np.zeros(0)
    sizes = sizes[sizes > 0]
    if len(sizes) > 1 and sizes.max() > 10 * sizes[0]:
        found.append(
            "the gradients grew: a smaller learning rate, clipnorm=1.0, a warm-up or a "
            "row_constraint (kerasrec.optimizers)"
        )
    if not found:
        found.append(
            "a smaller learning rate and clipnorm; look for log, division or sqrt of 0 in the "
            "model, and for a loss that takes logits (from_logits=True) but is given probabilities"
        )
    return found
