"""Compressed tables of floats: half precision, or 8 bits plus 4 bits for rescoring."""

from typing import Any

import numpy as np
import tensorflow as tf

from kerasrec._checks import check_choice
from kerasrec._repeats import find_repeats
from kerasrec.types import Tensor

KINDS = ("float32", "float16", "int8")
NARROW = 8
"""Tables with fewer columns stay float32, since one scale per row would outweigh the gain."""


class VectorTable(tf.Module):
    """Table that is read as float32 and stored in one of three formats.

        float32   4 bytes a number
        float16   2 bytes, 11 significant bits
        int8      1.5 bytes and a float a row:  v = s (q + r / 14),  s = max |v| / 127,
                  q = round(v / s) from -127 to 127,  r = round(14 (v / s - q)) from -7 to 7

    With int8, q alone is enough to find candidates: `dot_products` reads q only. `rows` reads q and
    r, which is 14 times as precise. Two values of r share a byte.

    Equal rows have equal products, wherever they stand: `shared_products` computes them once.

    Args:
        values: `(rows, dim)`.
        kind: "float32", "float16" or "int8"; tables of fewer than 8 columns stay float32.
        name: name of the variables.

    Raises:
        ValueError: if the kind is unknown, or a number does not fit in float16.

    Example:

    >>> values = np.float32([np.arange(8), -np.arange(8)]) / 7
    >>> table = VectorTable(values, "int8")
    >>> float(np.abs(table.rows([[1]]) - values[1]).max()) < 1 / 127 / 28 + 1e-7
    True
    """

    def __init__(self, values: np.ndarray, kind: str = "float32", *, name: str = "table") -> None:
        super().__init__(name=name)
        check_choice(self, "kind", kind, KINDS)
        values = np.asarray(values, np.float32)
        self.dim = values.shape[1]
        self.kind = kind if self.dim >= NARROW else "float32"
        if self.kind == "int8":
            scales = np.abs(values).max(axis=1) / 127
            steps = values / np.where(scales > 0, scales, 1)[:, None]
            whole = np.rint(steps)
            rest = np.rint(14 * (steps - whole)).astype(np.int16) + 8  # 1 to 15
            rest = np.pad(rest, [(0, 0), (0, self.dim % 2)])
            self.scales = _variable(scales.astype(np.float32), f"{name}_scales")
            self.whole = _variable(whole.astype(np.int8), f"{name}_whole")
            packed = (rest[:, ::2] | rest[:, 1::2] << 4).astype(np.uint8)
            self.rest = _variable(packed, f"{name}_rest")
            self._find_repeats(np.column_stack([scales, whole, rest]))
            return
        if self.kind == "float16" and np.abs(values).max(initial=0) > np.finfo(np.float16).max:
            raise ValueError(
                f"{name}: float16 holds numbers up to {np.finfo(np.float16).max:,.0f}; received "
                f"{np.abs(values).max():,.0f}. Use int8, which has a scale for each row."
            )
        self.values = _variable(values.astype(self.kind), name)
        self._find_repeats(values.astype(self.kind))

    def _find_repeats(self, stored: np.ndarray) -> None:
        """Number the rows that stand in the table more than once; None if there are none."""
        self.repeated: tf.Variable | None = None
        self.slots: tf.Variable | None = None
        repeats, originals = find_repeats(np.ascontiguousarray(stored + 0.0, np.float32))
        if not len(repeats):
            return
        first = np.unique(originals)
        slots = np.full(len(stored), -1, np.int32)
        slots[first] = np.arange(len(first))
        slots[repeats] = np.searchsorted(first, originals)
        self.repeated = _variable(first.astype(np.int32), f"{self.name}_repeated")
        self.slots = _variable(slots, f"{self.name}_slots")

    @property
    def variables_stored(self) -> list[tf.Variable]:
        """Return the variables that hold the table."""
        repeats = [] if self.repeated is None else [self.repeated, self.slots]
        if self.kind == "int8":
            return [self.whole, self.rest, self.scales, *repeats]
        return [self.values, *repeats]

    @property
    def is_coarse(self) -> bool:
        """Return whether `dot_products` is less precise than `rows`."""
        return self.kind == "int8"

    def rows(self, ids: Tensor) -> Tensor:
        """Return rows by number.

        Args:
            ids: integers of any shape.

        Returns:
            float32, the shape of the ids with `dim` appended.
        """
        if self.kind != "int8":
            return tf.cast(tf.nn.embedding_lookup(self.values, ids), tf.float32)
        whole = tf.cast(tf.nn.embedding_lookup(self.whole, ids), tf.float32)
        packed = tf.nn.embedding_lookup(self.rest, ids)
        pairs = [tf.bitwise.bitwise_and(packed, 15), tf.bitwise.right_shift(packed, 4)]
        shape = tf.concat([tf.shape(packed)[:-1], [-1]], axis=0)
        rest = tf.reshape(tf.stack(pairs, axis=-1), shape)[..., : self.dim]
        rest = (tf.cast(rest, tf.float32) - 8) / 14
        rows = (whole + rest) * tf.nn.embedding_lookup(self.scales, ids)[..., None]
        return tf.ensure_shape(rows, (*whole.shape[:-1], self.dim))

    def shared_products(self, queries: Tensor) -> Tensor | None:
        """Return the products with the rows that stand in the table more than once.

        Args:
            queries: float32 `(batch, dim)`.

        Returns:
            float32 `(batch, different repeated rows)` for `dot_products`, None if there are none.
        """
        return None if self.repeated is None else self._products(queries, self.repeated)

    def dot_products(
        self, queries: Tensor, start: Tensor, stop: Tensor, shared: Tensor | None = None
    ) -> Tensor:
        """Return the products with the rows from `start` to `stop`; for int8, with q only.

        Args:
            queries: float32 `(batch, dim)`.
            start: first row.
            stop: the row after the last.
            shared: the result of `shared_products` for these queries, taken for equal rows.

        Returns:
            float32 `(batch, stop - start)`.
        """
        found = self._products(queries, slice(start, stop))
        if shared is None or self.slots is None:
            return found
        slots = self.slots[start:stop]
        return tf.where(slots < 0, found, tf.gather(shared, tf.maximum(slots, 0), axis=1))

    def _products(self, queries: Tensor, rows: Any) -> Tensor:
        def take(table: Any) -> Any:
            return table[rows] if isinstance(rows, slice) else tf.gather(table, rows)

        if self.kind != "int8":
            return tf.matmul(queries, tf.cast(take(self.values), tf.float32), transpose_b=True)
        block = tf.cast(take(self.whole), tf.float32)
        return tf.matmul(queries, block, transpose_b=True) * take(self.scales)

    def numpy(self) -> np.ndarray:
        """Return the values that `rows` reads, for all rows: `(rows, dim)`."""
        total = self.variables_stored[0].shape[0]
        parts = [
            self.rows(np.arange(start, min(start + 2**16, total))).numpy()
            for start in range(0, total, 2**16)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, self.dim), np.float32)


def _variable(value: Any, name: str) -> tf.Variable:
    return tf.Variable(value, trainable=False, name=name)
