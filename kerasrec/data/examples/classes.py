"""Labels that name one of several classes: positions of names, and names of positions."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kerasrec.data.encoding.vocabulary import Vocabulary
from kerasrec.data.tables.arrow import ArrowColumn, is_text, to_arrow, to_float32
from kerasrec.schema import FIRST_ID

FEW = 20
"""Most whole numbers that are taken for classes unless somebody says so."""
MOST = 1000
"""Most classes of a label."""

# Whether a label names classes; None to find out; or the names that there are.
Classes = bool | Sequence[str] | None


def label_column(
    values: Any, what: str, classes: Classes
) -> tuple[ArrowColumn | pa.Array, tuple[str, ...]]:
    """Return a label as float32 numbers, and the names of classes whose positions they are.

    Args:
        values: the column. Text without a character is missing.
        what: description of the column for messages.
        classes: whether text and whole numbers name classes. None for text, and for 3 to `FEW`
            whole numbers. Or the names of the classes of other rows, in their order.

    Raises:
        ValueError: if labels are classes and neither text nor whole numbers, there are more than
            `MOST`, or one is not among the given names.

    Example:

    >>> column, names = label_column(["b", "a", None, "b"], "label", True)
    >>> column.to_pylist(), names
    ([1.0, 0.0, None, 1.0], ('a', 'b'))
    """
    if classes is False:
        return to_float32(values, what), ()
    column = to_arrow(values, what)
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    texts = is_text(column.type)
    if texts:
        column = column.cast(pa.string())
        column = pc.if_else(pc.equal(pc.utf8_length(column), 0), pa.scalar(None), column)
        names = sorted(pc.unique(column).drop_null().to_pylist())
    else:
        numbers = column.cast(pa.float64(), safe=False)
        distinct = np.unique(numbers.drop_null().to_numpy())
        whole = bool(np.all(distinct == np.floor(distinct)) and np.all(np.abs(distinct) < 2**53))
        if classes is None and not (whole and 2 < len(distinct) <= FEW):
            return to_float32(column, what), ()
        if not whole:
            wrong = distinct[(distinct != np.floor(distinct)) | (np.abs(distinct) >= 2**53)][0]
            raise ValueError(
                f"{what}: classes are text or whole numbers below 2**53; received {wrong:g}. Write "
                "the labels so, or leave classes= out to predict a number."
            )
        names = [str(int(value)) for value in distinct]
        column = numbers.cast(pa.int64()).cast(pa.string())
    if not isinstance(classes, bool | None):
        if unknown := [name for name in names if name not in classes]:
            raise ValueError(
                f"{what}: expected the classes {_shown(classes)} of the other rows; received "
                f"{_shown(unknown)}. Remove these rows, or read all rows from one file."
            )
        names = list(classes)
    if len(names) > MOST:
        raise ValueError(
            f"{what}: expected at most {MOST:,} classes; received {len(names):,}, such as "
            f"{_shown(names)}. Name the column of the label, or predict a number."
        )
    positions = pc.index_in(column, value_set=pa.array(names, pa.string()), skip_nulls=True)
    return positions.cast(pa.float32()), tuple(names)


def fit_classes(labels: np.ndarray, names: Sequence[str], label: str) -> Vocabulary:
    """Return the classes of training rows with their numbers of rows, in the order of the names.

    Args:
        labels: positions of the classes among the names.
        names: names of the classes of all rows.
        label: name of the label.

    Raises:
        ValueError: if there is one class alone.
    """
    counts = np.bincount(labels.astype(np.int64), minlength=len(names))
    found = [name for name, count in zip(names, counts, strict=True) if count]
    if len(found) < 2:
        raise ValueError(
            f"prepare_examples: all training rows have the {label!r} {found[0]!r}, so there is "
            "nothing to learn. Choose rows of several classes, or another label."
        )
    return Vocabulary(np.array(found, object), counts[counts > 0], label)


def class_positions(labels: np.ndarray, names: Sequence[str], vocabulary: Vocabulary) -> np.ndarray:
    """Return the position of each row's class among those of a vocabulary, float32; -1 for none.

    Args:
        labels: positions of the classes among the names.
        names: names of the classes of all rows.
        vocabulary: the classes of the training rows.

    Raises:
        ValueError: if the labels are numbers and no classes.
    """
    if not names:
        raise ValueError(
            f"prepare_examples: the vocabularies have classes of {vocabulary.name!r}; received "
            "rows with numbers as labels. Read them with classes=True."
        )
    found = vocabulary.encode(np.array(names, object)) - FIRST_ID
    return np.where(found < 0, -1, found).astype(np.float32)[labels.astype(np.int64)]


def _shown(names: Sequence[str]) -> str:
    some = ", ".join(repr(name) for name in names[:5])
    return some + (", ..." if len(names) > 5 else "")
