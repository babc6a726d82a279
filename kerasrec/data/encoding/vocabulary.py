"""Vocabularies from raw ids (strings or 64-bit integers) to the int32 ids of models."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from kerasrec._checks import check_integer
from kerasrec.data.encoding.id_table import IdTable, TextTable, hash_values
from kerasrec.data.tables.arrow import check_ids, distinct_ids, plain_text, to_ids
from kerasrec.schema import FIRST_ID, UNKNOWN_ID


@dataclasses.dataclass(frozen=True, eq=False)
class Vocabulary:
    """One-to-one map between raw ids and int32 ids.

        encode(ids[i]) = i + 2,   encode(padding) = 0,   encode(anything else) = 1

    Args:
        ids: distinct raw ids; int64 or strings (object array).
        counts: training occurrences of each id. For items only those with a positive label, which
            are their popularity (see `fit_vocabularies`).
        name: name of the ids for error messages, such as the column name.

    Raises:
        ValueError: if ids repeat, are not valid raw ids, or do not match the counts.

    Example:

    >>> vocabulary = Vocabulary.fit(["b", "a", "b"], name="item_id")
    >>> vocabulary.encode(["a", "b", "z"]).tolist()
    [3, 2, 1]
    >>> vocabulary.decode([3, 2]).tolist(), vocabulary.counts.tolist(), vocabulary.num_ids
    (['a', 'b'], [2, 1], 4)
    """

    ids: np.ndarray
    counts: np.ndarray
    name: str = "id"
    _values: pa.Array = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        owner = f"Vocabulary {self.name!r}"
        column = to_ids(self.ids, owner)
        check_ids(column, owner)
        distinct, positions = distinct_ids(column)
        values = distinct.take(pa.array(positions))
        counts = np.array(self.counts)
        if counts.shape != (len(values),) or counts.dtype.kind not in "iu" or (counts < 0).any():
            raise ValueError(
                f"{owner}: expected {len(values)} non-negative integer counts, one an id; received "
                f"shape {counts.shape} of {counts.dtype}."
            )
        if len(distinct) != len(values):
            raise ValueError(
                f"{owner}: every id must occur once; received {len(values)} ids of which "
                f"{len(distinct)} are distinct. Use Vocabulary.fit to count repeated values."
            )
        if len(values) + FIRST_ID > 2**31 - 1:
            raise ValueError(f"{owner}: {len(values)} ids do not fit in int32.")
        ids = np.array(values.to_numpy(zero_copy_only=False))
        for name, array in (("ids", ids), ("counts", counts.astype(np.int64))):
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        object.__setattr__(self, "_values", values)

    @classmethod
    def fit(cls, values: Any, name: str = "id") -> "Vocabulary":
        """Fit to the distinct values, in the order of their first appearance.

        Args:
            values: raw ids `(rows,)`: numpy, Arrow, list, or a pandas or polars series.
            name: name of the ids for error messages.

        Raises:
            ValueError: if there are no values or some are not valid raw ids.
        """
        owner = f"Vocabulary {name!r}"
        column = to_ids(values, owner)
        check_ids(column, owner)
        if not len(column):
            raise ValueError(f"{owner}: received no values; expected at least one training row.")
        distinct, positions = distinct_ids(column)
        return cls(distinct, np.bincount(positions, minlength=len(distinct)), name)

    def frequent(self, min_count: int) -> "Vocabulary":
        """Return the vocabulary of the ids that occur at least `min_count` times.

        Args:
            min_count: fewest training occurrences. Ids with fewer become unknown.

        Raises:
            ValueError: if it is not a positive integer, or no id occurs that often.
        """
        owner = f"Vocabulary {self.name!r}"
        check_integer(owner, "min_count", min_count, 1)
        kept = self.counts >= min_count
        if kept.all():
            return self
        if not kept.any():
            raise ValueError(
                f"{owner}: no id occurs {min_count} times; the most frequent one has "
                f"{self.counts.max()} rows. Pass a lower number as min_count=."
            )
        return Vocabulary(self.ids[kept], self.counts[kept], self.name)

    @property
    def dtype(self) -> str:
        """Return the type of the raw ids: "int64" or "string"."""
        return "int64" if pa.types.is_integer(self._values.type) else "string"

    @property
    def num_ids(self) -> int:
        """Return the number of int32 ids, padding and unknown included."""
        return len(self) + FIRST_ID

    def __len__(self) -> int:
        return len(self._values)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Compute a hash of the ids in their order, 32 hexadecimal digits.

        Two vocabularies have the same one if they encode every raw id alike, whatever their counts
        and names. Schemas, weights and runs store it, so that no other vocabulary decodes ids.

        Example:

        >>> one, other = Vocabulary.fit(["a", "b"]), Vocabulary.fit(["b", "a"])
        >>> one.fingerprint == Vocabulary.fit(["a", "b", "b"]).fingerprint
        True
        >>> one.fingerprint == other.fingerprint
        False
        """
        return hash_values(self.ids)[:32]

    def encode(self, values: Any) -> np.ndarray:
        """Encode raw ids to int32 ids. An id that is not in the vocabulary becomes 1.

        Args:
            values: raw ids `(rows,)` of this vocabulary's type.

        Returns:
            int32 array `(rows,)`.

        Raises:
            ValueError: if the type differs from the vocabulary's, or an id is not a valid raw id.
        """
        owner = f"Vocabulary {self.name!r}"
        if self.dtype == "string" and len(self):
            chunks = plain_text(values, owner)
            if chunks:
                return np.concatenate([self._find_texts(chunk, owner) for chunk in chunks])
        column = to_ids(values, owner)
        if not len(column):
            return np.empty(0, np.int32)
        check_ids(column, owner)
        text = pa.types.is_dictionary(column.type)
        if text != (self.dtype == "string"):
            example = column[0].as_py()
            raise ValueError(
                f"{owner}: it holds {self.dtype} ids; received "
                f"{'string' if text else column.type}, such as {example!r}. Cast the values to "
                f"{self.dtype}, or read all files with the same id_type."
            )
        if not len(self):
            return np.full(len(column), UNKNOWN_ID, np.int32)
        if not text:
            return self._table.find(column.to_numpy()) + np.int32(FIRST_ID)
        texts, rows = column.dictionary, np.asarray(column.indices)
        if len(texts) > len(rows):  # a few rows out of many
            texts, rows = distinct_ids(column)
        return (self._table.find(texts) + np.int32(FIRST_ID))[rows]

    def _find_texts(self, texts: pa.LargeStringArray, owner: str) -> np.ndarray:
        """Encode texts directly. Known ones are valid ids, so only others are checked."""
        positions = self._table.find(texts)
        unknown = np.flatnonzero(positions < 0)
        if len(unknown):
            check_ids(to_ids(texts.take(pa.array(unknown)), owner), owner)
        return np.asarray(positions + np.int32(FIRST_ID))

    @functools.cached_property
    def _table(self) -> Any:
        """Return the look-up table of the ids, built once."""
        return IdTable(self.ids) if self.dtype == "int64" else TextTable(self._values)

    def decode(self, ids: Any) -> np.ndarray:
        """Decode ids to raw ids.

        Args:
            ids: integers of any shape from 2 to `num_ids - 1`.

        Returns:
            int64 or object array of the same shape.

        Raises:
            ValueError: if an id is padding, unknown or out of range.
        """
        encoded = np.asarray(ids)
        if encoded.size and encoded.dtype.kind not in "iu":
            raise ValueError(
                f"Vocabulary {self.name!r}: decode expects integer ids; received {encoded.dtype}."
            )
        outside = (encoded < FIRST_ID) | (encoded >= self.num_ids)
        if outside.any():
            raise ValueError(
                f"Vocabulary {self.name!r}: decode expects ids from {FIRST_ID} to "
                f"{self.num_ids - 1} (0 is padding, 1 is unknown: neither has a raw id); received "
                f"{encoded[outside].ravel()[0]}. Mask these ids first."
            )
        return self.ids[encoded.astype(np.int64) - FIRST_ID]

    def to_table(self) -> pa.Table:
        """Return an Arrow table of `id` and `count`, with row i for the encoded id i + 2."""
        return pa.table({"id": self._values, "count": self.counts})

    @classmethod
    def from_table(cls, table: pa.Table, name: str = "id") -> "Vocabulary":
        """Create a vocabulary from the table of `to_table`.

        Raises:
            ValueError: if a column is missing or the values are not a vocabulary.
        """
        if not {"id", "count"} <= set(table.column_names):
            raise ValueError(
                f"Vocabulary {name!r}: expected the columns 'id' and 'count'; received "
                f"{table.column_names}."
            )
        return cls(table["id"], table["count"].to_numpy(), name)


@dataclasses.dataclass(frozen=True, eq=False)
class KeyedTable:
    """Encoded columns of a table that rows were joined to by a key.

    Args:
        keys: the keys of the table, whether or not a training row has them.
        columns: encoded values `(keys.num_ids, ...)` by feature, in the order of the keys' ids.
            Those of an unknown or missing key are missing.

    Raises:
        ValueError: if a column has another number of rows.

    Example:

    >>> keys = Vocabulary.fit(["a", "b"], name="shop")
    >>> table = KeyedTable(keys, {"size": np.float32([np.nan, np.nan, 9, 8])})
    >>> table.columns["size"][keys.encode(["b", "z"])].tolist()
    [8.0, nan]
    """

    keys: Vocabulary
    columns: Mapping[str, np.ndarray]

    def __post_init__(self) -> None:
        for name, column in self.columns.items():
            if len(column) != self.keys.num_ids:
                raise ValueError(
                    f"KeyedTable {self.keys.name!r}: column {name!r} needs a row for each of "
                    f"{self.keys.num_ids} ids, padding and the unknown key included; received "
                    f"{len(column)}."
                )
