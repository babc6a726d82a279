"""Windows: the newest rows up to each row, as sequences of numbers."""

import dataclasses

import numpy as np
import pyarrow as pa

from kerasrec._checks import check_integer
from kerasrec.data.examples.examples import Examples
from kerasrec.data.tables.arrow import distinct_ids
from kerasrec.data.tables.side_tables import kind_of_column

OWNER = "windows"
WINDOW = "window"
"""Kind of a column of windows."""


def windows(examples: Examples, length: int) -> Examples:
    """Return the rows with each number replaced by its values in the newest rows up to this one.

    The rows of one group are a sequence, in the order of their times, or of the file where times
    are equal or there are none. Without groups, all rows are one sequence. The first rows of a
    sequence have shorter windows. Labels stay those of the row itself.

    Args:
        examples: rows whose features are all single numbers.
        length: number of rows of a window, the row itself included.

    Raises:
        ValueError: if a feature is no number, or the length is not positive.

    Example:

    >>> rows = Examples.from_table({"heat": [1.5, 2.5, 3.5, 9.5], "id": list("aaab"),
    ...     "label": [0, 0, 1, 1]}, group="id")
    >>> windows(rows, 2).table["heat"].to_pylist()
    [[1.5], [1.5, 2.5], [2.5, 3.5], [9.5]]
    """
    check_integer(OWNER, "length", length, 1)
    count = len(examples)
    group = np.zeros(count, np.int32)
    if examples.group is not None:
        group = distinct_ids(examples.table[examples.group])[1]
    keys = [group] if examples.times is None else [examples.times, group]
    order = np.lexsort([np.arange(count), *keys])
    rank = np.empty(count, np.int64)
    rank[order] = np.arange(count)
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    first = np.repeat(starts, np.diff(starts, append=count))[rank]
    begin = np.maximum(first, rank - length + 1)
    sizes = rank - begin + 1
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    inside = np.arange(offsets[-1]) - np.repeat(offsets[:-1], sizes)
    taken = order[np.repeat(begin, sizes) + inside]
    table = examples.table
    for name in examples.features:
        values = _numbers(examples, name)[taken]
        column = pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(values))
        table = table.set_column(table.column_names.index(name), name, column)
    kinds = dict.fromkeys(examples.features, WINDOW)
    return dataclasses.replace(examples, table=table, kinds=kinds, tables={})


def _numbers(examples: Examples, name: str) -> np.ndarray:
    """Return a column of numbers, NaN where one is missing, float32 `(rows,)`."""
    found = kind_of_column(name, examples.table[name])
    values = found.values
    if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
        raise ValueError(
            f"{OWNER}: a window holds numbers; the column {name!r} has {found.because}. Leave it "
            "out of features=, or write it as numbers."
        )
    numbers: np.ndarray = values.cast(pa.float32(), safe=False).to_numpy(zero_copy_only=False)
    return numbers
