"""Recorder of gradients, clipping and updates, in the graph."""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from kerasrec._keras import compiled_by_xla
from kerasrec.callbacks.watching import (
    first_replica,
    gradient_norm,
    norm,
    per_replica_variable,
    touched_rows,
)
from kerasrec.optimizers.rows import Rows, gather, scatter
from kerasrec.optimizers.sparse import SparseUpdates
from kerasrec.types import Tensor

# Observations kept from one `take` to the next. If there are more, the last ones are kept.
CAPACITY = 1024
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


class GradientRecorder:
    """Observer of updates (see `watch`) that records every `interval`-th update.

    Between two observations a step costs little more than a comparison. The values stay in
    variables until `take` fetches them, so that nothing leaves the graph during an epoch.

    Args:
        optimizer: the optimizer that updates.
        variables: the weights to observe.
        tables: indices of embedding tables among them. Their weight norms are over touched rows.
            Other variables with a sparse gradient are added.
        interval: updates from one observation to the next.
        strategy: the model's distribution strategy.
    """

    def __init__(
        self,
        optimizer: keras.optimizers.Optimizer,
        variables: Sequence[keras.Variable],
        tables: Collection[int],
        interval: int,
        strategy: Any,
    ) -> None:
        self.tables = set(tables)
        self.interval = interval
        # Indices of clipped variables, known once `fit` is traced.
        self.clipped: set[int] = set()
        self._sampled: set[int] = set()
        self._optimizer = optimizer
        self._strategy = strategy
        self._places = {id(variable): place for place, variable in enumerate(variables)}
        size = len(variables)
        with strategy.scope():
            self._count = per_replica_variable(0, "int32", "updates")
            self._next = per_replica_variable(0, "int32", "next_look")
            self._looks = per_replica_variable(0, "int32", "looks")
            self._flags = per_replica_variable(np.zeros(size), "int32", "clipped")
            columns = np.zeros((CAPACITY, size * len(FIELDS) + 1))
            self._found = per_replica_variable(columns, "float32", "found")
        self._start: tuple[int, int, Any] = 0, 0, np.zeros(size, "int32")

    def before_update(self, variables: list[Any], summed: list[Any], clipped: list[Any]) -> Any:
        """Compute the gradient norms, and keep the weights before the update."""
        parts = [
            _Part(self._places[id(variable)], variable.value, one, two)
            for variable, one, two in zip(variables, summed, clipped, strict=True)
            if id(variable) in self._places
        ]
        self.tables |= {part.place for part in parts if part.is_sparse}
        changing = [part for part in parts if not _same(part.summed, part.clipped)]
        self.clipped |= {part.place for part in changing}
        scales = self._scales(changing, summed)
        if scales is None:
            self._sampled |= {part.place for part in changing}
        else:
            clipped_now = {place: scale < 1 for place, scale in scales.items()}
            self._flags.assign_add(self._placed(clipped_now))
        # Norms and old weights are only computed in steps to observe.
        due = tf.equal(self._count, self._next)

        def look() -> Any:
            differ = {part.place: _differ(part.summed, part.clipped) for part in changing}
            norms = [tf.stack(part.norms((scales or {}).get(part.place))) for part in parts]
            differ = self._placed({} if scales else differ)
            return tf.stack(norms), differ, [part.before() for part in parts]

        def rest() -> Any:
            return tf.zeros((len(parts), 2)), self._placed({}), [part.nothing() for part in parts]

        # Under XLA keeping old values is free, but returning them from a branch is not.
        return due, parts, look if compiled_by_xla() else tf.cond(due, look, rest)

    def after_update(self, variables: list[Any], clipped: list[Any], before: Any) -> None:
        """Compute the size of the update and write the values of the look."""
        due, parts, found = before

        def write() -> None:
            norms, differ, old = found() if callable(found) else found
            # One line per observation: the FIELDS of each variable, then the learning rate.
            columns = [tf.fill((len(FIELDS),), np.nan)] * self._flags.shape[0]
            for number, part in enumerate(parts):
                sizes = part.sizes(old[number], part.place in self.tables)
                columns[part.place] = tf.concat([norms[number], tf.stack(sizes)], axis=0)
            rate = tf.reshape(tf.cast(self._optimizer.learning_rate, "float32"), (1,))
            line = tf.concat([*columns, rate], axis=0)
            scatter(self._found, tf.reshape(self._looks % CAPACITY, (1,)), line[tf.newaxis])
            self._flags.assign_add(differ)
            self._looks.assign_add(1)
            self._next.assign_add(self.interval)

        tf.cond(due, write, lambda: None)
        self._count.assign_add(1)

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
            part.place: limit / tf.maximum(size, limit)
            for part, size in zip(changing, norms, strict=True)
        }

    def _placed(self, flags: dict[int, Tensor]) -> Tensor:
        """Return flags of variables as integers, `(variables,)`."""
        size = self._flags.shape[0]
        if not flags:
            return tf.zeros((size,), "int32")
        return tf.stack([tf.cast(flags.get(place, False), "int32") for place in range(size)])

    def look_at_next(self) -> None:
        """Schedule a look at the next update."""
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
        found = self._read(self._found)[kept % CAPACITY]
        # Shares are of all updates, or of observations if clipping is only sampled.
        of = np.full(len(flags), max(count - first, 1))
        of[list(self._sampled)] = max(looks - looked, 1)
        return Record(
            found[:, :-1].reshape(len(found), len(flags), len(FIELDS)),
            found[:, -1],
            steps[-CAPACITY:],
            (flags - flagged) / of,
        )

    def _read(self, variable: Any) -> np.ndarray:
        return first_replica(self._strategy, variable).numpy()


class _Part:
    """One variable in one update."""

    def __init__(self, place: int, table: tf.Variable, summed: Any, clipped: Any) -> None:
        self.place, self.table = place, table
        self.summed, self.clipped = summed, clipped
        self.is_sparse = isinstance(summed, Rows | tf.IndexedSlices)
        # Without XLA, a live reference to the old value would make the update copy the variable.
        self.old = None
        if compiled_by_xla():
            by_row = isinstance(summed, Rows)
            self.old = gather(table, summed.ids) if by_row else tf.convert_to_tensor(table)

    def norms(self, scale: Tensor | None) -> list[Tensor]:
        """Return the gradient norms before and after clipping, using `scale` if it is given."""
        before = gradient_norm(self._rows(self.summed))
        if scale is not None:
            return [before, before * scale]
        if _same(self.summed, self.clipped):
            return [before, before]
        return [before, gradient_norm(self._rows(self.clipped))]

    def _rows(self, gradient: Any) -> Any:
        return touched_rows(gradient, self.table.shape[0]) if self.is_sparse else gradient

    def before(self) -> list[Tensor]:
        """Return the weights that the update will change, with their ids where needed."""
        if not isinstance(self.summed, tf.IndexedSlices):
            if self.old is not None:
                return [self.old]
            by_row = isinstance(self.summed, Rows)
            return [gather(self.table, self.summed.ids) if by_row else tf.identity(self.table)]
        ids, _, count, _ = self._rows(self.summed)
        old = gather(self.table, ids) if self.old is None else tf.gather(self.old, ids)
        return [old, ids, count]

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
    if isinstance(one, Rows):
        return all(a is b for a, b in zip(one, two, strict=True))
    return one is two


def _differ(summed: Any, clipped: Any) -> Tensor:
    """Return whether clipping changed a gradient."""
    changed = tf.reduce_any(tf.not_equal(_values(summed), _values(clipped)))
    if isinstance(clipped, Rows):
        changed |= tf.reduce_any(clipped.scale < 1)
    return changed
