"""Recorder of gradient norms, clipping and the size of updates, in the graph of `fit`."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from kerasrec._keras import all_layers, compiled_by_xla
from kerasrec.callbacks.observers import unwatch, watch, watched_optimizer
from kerasrec.optimizers.clips import sum_of_squares
from kerasrec.optimizers.rows import Rows, gather, scatter, sum_duplicates
from kerasrec.optimizers.sparse import SparseUpdates
from kerasrec.types import Tensor

# Observations kept from one `take` to the next, and norms kept for `last`: always the newest.
CAPACITY, KEPT = 1024, 12
# Values of an observation for each variable.
FIELDS = ("grad_norm", "clipped_norm", "update_norm", "weight_norm")


class Record(NamedTuple):
    """Values recorded since the last `take`.

    `looks`: a row for each observation, `(looks, variables, FIELDS)`. `learning_rate`: `(looks,)`.
    `steps`: updates before each observation, `(looks,)`. `clipped_share`: `(variables,)`, share of
    the updates or of the observations.
    """

    looks: np.ndarray
    learning_rate: np.ndarray
    steps: np.ndarray
    clipped_share: np.ndarray


class UpdateRecorder:
    """Observer of updates (see `watch`), whose values stay in the graph until they are read.

    With an interval it records all FIELDS of every `interval`-th update, for `take`. Between two of
    them a step costs little more than a comparison.

    Without one it records the gradient norms of every update, for `last`, up to the first that is
    not finite. Recording stops at this fault, so that the norms before it are still available after
    an execution of many steps. With an optimizer of `kerasrec.optimizers` the norm is that of the
    summed gradient before clipping. A stock optimizer shows the gradient of its first replica, with
    duplicates of a row as separate entries.

    Args:
        model: the compiled model.
        variables: the weights to observe, by name.
        interval: updates from one observation to the next; 0 for the norms of all updates.
    """

    def __init__(
        self,
        model: keras.Model,
        variables: Mapping[str, keras.Variable],
        interval: int = 0,
    ) -> None:
        self._model = model
        self._optimizer = watched_optimizer(model)
        self._strategy = model.distribute_strategy
        self._positions = {id(variable): at for at, variable in enumerate(variables.values())}
        self.interval = interval
        # Indices of the tables, whose weight norms are over touched rows. Other variables with a
        # sparse gradient are added once `fit` is traced, and so are the clipped variables.
        tables = embedding_tables(model)
        self.tables = {
            at for at, variable in enumerate(variables.values()) if id(variable) in tables
        }
        self.clipped: set[int] = set()
        self._sampled: set[int] = set()
        size = len(variables)
        # `last` must not read the slot that is overwritten after a fault, so there is one more.
        lines = (KEPT + 1, size) if not interval else (CAPACITY, size * len(FIELDS) + 1)
        with self._strategy.scope():
            self._count = _per_replica(0, "int32", "updates")
            self._next = _per_replica(0, "int32", "next_look")
            self._looks = _per_replica(0, "int32", "looks")
            self._flags = _per_replica(np.zeros(size), "int32", "clipped")
            self._fault = _per_replica(False, "bool", "fault")
            self._lines = _per_replica(np.zeros(lines), "float32", "lines")
        self._start: tuple[int, int, Any] = 0, 0, np.zeros(size, "int32")

    def attach(self) -> None:
        """Start to observe, in `on_train_begin` or later."""
        watch(self._model, self)

    def detach(self) -> None:
        """Stop to observe."""
        unwatch(self._model, self)

    def before_update(self, variables: list[Any], summed: list[Any], clipped: list[Any]) -> Any:
        """Compute the gradient norms, and keep the weights before the update."""
        if not self.interval:
            return self._record_norms(variables, summed)
        parts = [
            _Part(self._positions[id(variable)], variable.value, one, two)
            for variable, one, two in zip(variables, summed, clipped, strict=True)
            if id(variable) in self._positions
        ]
        self.tables |= {part.index for part in parts if part.is_sparse}
        changing = [part for part in parts if not _same(part.summed, part.clipped)]
        self.clipped |= {part.index for part in changing}
        scales = self._scales(changing, summed)
        if scales is None:
            # Only a comparison of the values shows clipping. It is made in observed steps alone.
            self._sampled |= {part.index for part in changing}
        else:
            self._flags.assign_add(self._integers({at: scale < 1 for at, scale in scales.items()}))
        # Norms and old weights are only computed in steps to observe.
        due = tf.equal(self._count, self._next)

        def look() -> Any:
            differ = {part.index: _differ(part.summed, part.clipped) for part in changing}
            norms = [tf.stack(part.norms((scales or {}).get(part.index))) for part in parts]
            differ = self._integers({} if scales else differ)
            return tf.stack(norms), differ, [part.before() for part in parts]

        def rest() -> Any:
            return tf.zeros((len(parts), 2)), self._integers({}), [part.nothing() for part in parts]

        # Under XLA keeping old values is free, but returning them from a branch is not.
        return due, parts, look if compiled_by_xla() else tf.cond(due, look, rest)

    def after_update(self, variables: list[Any], clipped: list[Any], before: Any) -> None:
        """Compute the size of the update and write the values of the observation."""
        if before is None:
            return
        # Called with the same step's result of `before_update`, which decides whether it is due.
        due, parts, found = before

        def write() -> None:
            norms, differ, old = found() if callable(found) else found
            # One line per observation: the FIELDS of each variable, then the learning rate.
            columns = [tf.fill((len(FIELDS),), np.nan)] * len(self._positions)
            for number, part in enumerate(parts):
                sizes = part.sizes(old[number], part.index in self.tables)
                columns[part.index] = tf.concat([norms[number], tf.stack(sizes)], axis=0)
            rate = tf.reshape(tf.cast(self._optimizer.learning_rate, "float32"), (1,))
            self._write(tf.concat([*columns, rate], axis=0))
            self._flags.assign_add(differ)
            self._looks.assign_add(1)
            self._next.assign_add(self.interval)

        tf.cond(due, write, lambda: None)
        self._count.assign_add(1)

    def _record_norms(self, variables: list[Any], summed: list[Any]) -> None:
        line = [tf.zeros(())] * len(self._positions)
        for variable, gradient in zip(variables, summed, strict=True):
            if id(variable) in self._positions:
                line[self._positions[id(variable)]] = norm(_values(gradient))
        norms = tf.stack(line)
        # No branch, which would cost more. After a fault the next slot is overwritten each time.
        self._write(norms)
        before = tf.convert_to_tensor(self._fault)
        self._looks.assign_add(1 - tf.cast(before, "int32"))
        self._fault.assign(before | tf.logical_not(tf.math.is_finite(tf.reduce_sum(norms))))

    def _write(self, line: Tensor) -> None:
        """Write a line to the ring. The caller counts it."""
        slot = self._looks % self._lines.shape[0]
        scatter(self._lines, tf.reshape(slot, (1,)), line[tf.newaxis])

    def _scales(self, changing: list["_Part"], summed: list[Any]) -> dict[int, Tensor] | None:
        """Return the clipping factor of each gradient if only a norm decides, else None.

        Clipping has computed these norms already, so they come at every step and at no cost.
        """
        optimizer = self._optimizer
        if not isinstance(optimizer, SparseUpdates) or not changing:
            return None
        limit = optimizer.clipnorm if optimizer.clipnorm is not None else optimizer.global_clipnorm
        if limit is None:
            return None
        if optimizer.global_clipnorm is not None:
            squares = [tf.square(norm(_values(gradient))) for gradient in summed]
            norms = [tf.sqrt(tf.add_n(squares))] * len(changing)
        else:
            norms = [norm(_values(part.summed)) for part in changing]
        return {
            part.index: limit / tf.maximum(size, limit)
            for part, size in zip(changing, norms, strict=True)
        }

    def _integers(self, flags: dict[int, Tensor]) -> Tensor:
        """Return flags of variables as integers, `(variables,)`."""
        size = self._flags.shape[0]
        if not flags:
            return tf.zeros((size,), "int32")
        return tf.stack([tf.cast(flags.get(at, False), "int32") for at in range(size)])

    def look_at_next(self) -> None:
        """Schedule a look at the next update."""
        # Assigned within the scope, so that all replicas observe the same update.
        with self._strategy.scope():
            self._next.assign(self._read(self._count))

    @property
    def updates(self) -> int:
        """Return the number of updates up to the last `take`."""
        return self._start[0]

    def take(self) -> Record:
        """Return the values recorded since the last call, or since the beginning."""
        count, looks = int(self._read(self._count)), int(self._read(self._looks))
        flags = self._read(self._flags)
        first, looked, flagged = self._start
        self._start = count, looks, flags
        steps = first + self.interval * np.arange(looks - looked)
        # The buffer is a ring with the last CAPACITY observations.
        kept = np.arange(looked, looks)[-CAPACITY:]
        found = self._read(self._lines)[kept % CAPACITY]
        # Shares are of all updates, or of observations if clipping is only sampled.
        of = np.full(len(flags), max(count - first, 1))
        of[list(self._sampled)] = max(looks - looked, 1)
        return Record(
            found[:, :-1].reshape(len(found), len(flags), len(FIELDS)),
            found[:, -1],
            steps[-CAPACITY:],
            (flags - flagged) / of,
        )

    def fault(self) -> Tensor:
        """Return whether a norm was not finite. For use in the graph, outside replicas."""
        return tf.convert_to_tensor(first_replica(self._strategy, self._fault))

    def forget(self) -> None:
        """Continue after a fault that did no harm."""
        with self._strategy.scope():
            self._fault.assign(False)

    def last(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the last updates' numbers, from 1, and norms `(updates, variables)`."""
        count = int(self._read(self._looks))
        numbers = np.arange(max(0, count - KEPT), count)
        return numbers + 1, self._read(self._lines)[numbers % (KEPT + 1)]

    def _read(self, variable: Any) -> np.ndarray:
        return first_replica(self._strategy, variable).numpy()


class _Part:
    """One variable in one update."""

    def __init__(self, index: int, table: tf.Variable, summed: Any, clipped: Any) -> None:
        self.index, self.table = index, table
        self.summed, self.clipped = summed, clipped
        self.is_sparse = isinstance(summed, Rows | tf.IndexedSlices)
        # XLA drops this unless `sizes` reads it. Without XLA it would be a copy in every step.
        self.old = self._read() if compiled_by_xla() else None

    def norms(self, scale: Tensor | None) -> list[Tensor]:
        """Return the gradient norms before and after clipping, using `scale` if it is given."""
        before = _norm_of(self._rows(self.summed))
        if scale is not None:
            return [before, before * scale]
        if _same(self.summed, self.clipped):
            return [before, before]
        return [before, _norm_of(self._rows(self.clipped))]

    def _rows(self, gradient: Any) -> Any:
        """Sum the duplicates of a sparse gradient. Return other gradients as they are."""
        if isinstance(gradient, tf.IndexedSlices):
            return sum_duplicates(gradient, self.table.shape[0])
        return gradient

    def before(self) -> list[Tensor]:
        """Return the weights that the update will change, with their ids where needed."""
        if not isinstance(self.summed, tf.IndexedSlices):
            return [self._read() if self.old is None else self.old]
        ids, _, count, _ = self._rows(self.summed)
        old = gather(self.table, ids) if self.old is None else tf.gather(self.old, ids)
        return [old, ids, count]

    def _read(self) -> Tensor:
        if isinstance(self.summed, Rows):
            return gather(self.table, self.summed.ids)
        # A copy, since the update would copy the variable if a reference to it were alive.
        return tf.identity(self.table)

    def nothing(self) -> list[Tensor]:
        """Return empty tensors of the same types."""
        old = tf.zeros([0] * len(self.table.shape), self.table.dtype)
        if not isinstance(self.summed, tf.IndexedSlices):
            return [old]
        return [old, tf.zeros([0], self.summed.indices.dtype), tf.zeros((), "int32")]

    def sizes(self, before: list[Tensor], is_table: bool) -> list[Tensor]:
        """Return the norms of the update and the old weights. Tables count touched rows only."""
        old, *named = before
        if self.is_sparse:
            ids, count = named or (self.summed.ids, self.summed.count)
            # `ids` is padded to a fixed size. Only the first `count` are rows.
            real = tf.range(tf.size(ids)) < count
            new = gather(self.table, ids)
        else:
            new = tf.convert_to_tensor(self.table)
            # A small table has a dense gradient, in which untouched rows are 0.
            axes = list(range(1, len(self.table.shape)))
            real = tf.reduce_any(tf.not_equal(self.summed, 0), axis=axes) if is_table else None
        old, new = tf.cast(old, "float32"), tf.cast(new, "float32")
        if real is not None:
            real = tf.reshape(real, [-1] + [1] * (len(self.table.shape) - 1))
            old, new = (tf.where(real, weights, 0.0) for weights in (old, new))
        return [norm(new - old), norm(old)]


def _values(gradient: Any) -> Tensor:
    """Return the values of a gradient."""
    if isinstance(gradient, Rows):
        return gradient.sums
    return gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient


def _same(one: Any, two: Any) -> bool:
    """Return whether clipping left a gradient alone."""
    # The same tensors, known at tracing: optimizers pass gradients on if they do not clip.
    if isinstance(one, Rows):
        return all(a is b for a, b in zip(one, two, strict=True))
    return one is two


def _differ(summed: Any, clipped: Any) -> Tensor:
    """Return whether clipping changed a gradient."""
    changed = tf.reduce_any(tf.not_equal(_values(summed), _values(clipped)))
    if isinstance(clipped, Rows):
        changed |= tf.reduce_any(clipped.scale < 1)
    return changed


def _norm_of(gradient: Any) -> Tensor:
    """Compute the norm of a tensor, or of `Rows` with the factor that clipping applies."""
    if isinstance(gradient, Rows):
        gradient = tf.cast(gradient.sums, "float32") * gradient.scale
    return norm(gradient)


def norm(values: Tensor) -> Tensor:
    """Compute the Euclidean norm in float32."""
    # The same expression as in the optimizers, so that the graph computes it only once.
    return tf.sqrt(sum_of_squares(values))


def _per_replica(value: Any, dtype: str, name: str) -> tf.Variable:
    """Create an unsaved variable per replica. Reading it gives the first replica's value."""
    # Replicas write without waiting for each other. With the gradients of our optimizers, which
    # are summed before, all of them write the same.
    return tf.Variable(
        value,
        dtype=dtype,
        trainable=False,
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        name=name,
    )


def first_replica(strategy: Any, variable: Any) -> tf.Variable:
    """Return the part of a distributed variable that the first replica holds."""
    return strategy.experimental_local_results(variable)[0]


def variable_names(
    model: keras.Model, only: Sequence[str] | None = None
) -> dict[str, keras.Variable]:
    """Return trainable variables by their path, without the model's own name.

    Args:
        model: a model with weights.
        only: parts of the paths of the variables to return; None for all.

    Raises:
        ValueError: if there is none.
    """
    found: dict[str, keras.Variable] = {}
    for variable in model.trainable_variables:
        path = variable.path.removeprefix(f"{model.name}/")
        if only is not None and not any(part in path for part in only):
            continue
        # Layers of the same name get a number.
        name, number = path, 2
        while name in found:
            name, number = f"{path}_{number}", number + 1
        found[name] = variable
    if not found:
        raise ValueError(
            f"GradientMonitor: no trainable variable fits only={only!r}; the model has "
            f"{[variable.path for variable in model.trainable_variables]}."
        )
    return found


def embedding_tables(model: keras.Model) -> set[int]:
    """Return the `id` of each embedding layer's variable."""
    layers = (layer for layer in all_layers(model) if isinstance(layer, keras.layers.Embedding))
    return {id(weight) for layer in layers for weight in layer.trainable_variables}
