"""Vocabularies of Parquet files larger than memory, counted piece by piece."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from kerasrec.data.encoding.vocabulary import Vocabulary
from kerasrec.data.tables.arrow import check_ids, distinct_ids, to_ids
from kerasrec.data.tables.opening import Paths, files
from kerasrec.data.tables.typed_files import open_parquet

OWNER = "fit_vocabularies"
SLICE_ROWS = 1 << 17


class IdCounter:
    """Counter of distinct ids of a column, in the order of their first appearance.

    Memory holds the distinct ids of all pieces, and those of recent pieces a second time.

    Example:

    >>> counter = IdCounter("user_id")
    >>> counter.add(["b", "a"])
    >>> counter.add(["c", "b"])
    >>> vocabulary = counter.vocabulary()
    >>> vocabulary.ids.tolist(), vocabulary.counts.tolist()
    (['b', 'a', 'c'], [2, 1, 1])
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._ids: list[pa.Array] = []
        self._counts: list[np.ndarray] = []

    def add(self, values: Any) -> None:
        """Count the ids of a piece."""
        owner = f"{OWNER}: column {self._name!r}"
        column = to_ids(values, owner)
        check_ids(column, owner)
        ids, positions = distinct_ids(column)
        if self._ids and ids.type != self._ids[0].type:
            raise ValueError(
                f"{owner}: ids must be of one type in all files; received "
                f"{self._ids[0].type} and {ids.type}. Write all as text, or all as integers."
            )
        self._ids.append(ids)
        self._counts.append(np.bincount(positions, minlength=len(ids)))
        if sum(map(len, self._ids[1:])) > max(SLICE_ROWS, len(self._ids[0])):
            self._merge()

    def _merge(self) -> None:
        ids, positions = distinct_ids(pa.concat_arrays(self._ids))
        counts = np.bincount(positions, np.concatenate(self._counts), len(ids))
        self._ids, self._counts = [ids], [counts.astype(np.int64)]

    def vocabulary(self) -> Vocabulary:
        """Return the vocabulary of all ids so far."""
        if not self._ids:
            raise ValueError(f"{OWNER}: column {self._name!r} has no rows; expected some.")
        self._merge()
        return Vocabulary(self._ids[0], self._counts[0], self._name)


def vocabularies_of_files(paths: Paths, columns: Sequence[str]) -> dict[str, Vocabulary]:
    """Build a vocabulary for each of some columns of Parquet files."""
    if isinstance(columns, str) or not columns:
        raise ValueError(f"{OWNER}: columns takes names of columns; received {columns!r}.")
    counters = {name: IdCounter(name) for name in columns}
    for path in files(OWNER, paths, "*.parquet"):
        with open_parquet(path, OWNER) as file:
            if missing := [name for name in columns if name not in file.schema_arrow.names]:
                raise ValueError(
                    f"{OWNER}: {path}: expected the columns {missing}; the file has "
                    f"{file.schema_arrow.names}."
                )
            for piece in file.iter_batches(SLICE_ROWS, columns=list(columns)):
                for name, counter in counters.items():
                    counter.add(piece[name])
    return {name: counter.vocabulary() for name, counter in counters.items()}
