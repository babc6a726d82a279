"""Validation of encoded columns for evaluation."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from kerasrec.data.encoding.columns import LazyColumn
from kerasrec.schema import FIRST_ID, Categorical
from kerasrec.types import Columns


def check_columns(columns: Columns, names: Iterable[str], *, what: str) -> int:
    """Validate that the named columns exist and have one length above 0. Return that length.

    Raises:
        ValueError: otherwise.
    """
    lengths = {}
    for name in names:
        if name not in columns:
            raise ValueError(
                f"{what}: expected a column {name!r}; received {sorted(columns)}. Encode the "
                "interactions with kerasrec.data.encode, or add the column yourself."
            )
        lengths[name] = len(columns[name])
    if len(set(lengths.values())) > 1:
        raise ValueError(f"{what}: expected columns of one length; received {lengths}.")
    rows = next(iter(lengths.values()))
    if not rows:
        raise ValueError(
            f"{what}: expected at least one row; received none. Is this part of the split empty?"
        )
    return rows


def check_ids(ids: np.ndarray, feature: Categorical, *, what: str) -> np.ndarray:
    """Validate encoded ids of a feature, and return them as int64.

    Raises:
        ValueError: if they are not integers or out of range.
    """
    ids = np.asarray(ids)
    if not np.issubdtype(ids.dtype, np.integer):
        raise ValueError(
            f"{what}: column {feature.name!r} expects encoded int32 ids; received {ids.dtype}. "
            "Encode the interactions with kerasrec.data.encode."
        )
    if ids.size and (ids.min() < 0 or ids.max() >= feature.num_ids):
        raise ValueError(
            f"{what}: column {feature.name!r} expects encoded ids from 0 to "
            f"{feature.num_ids - 1}; received {ids.min()} to {ids.max()}. The columns were encoded "
            "with other vocabularies than the model's schema, or not at all."
        )
    return ids.astype(np.int64)


def take_rows(column: Any, rows: np.ndarray) -> Any:
    """Return some rows of a column. A lazy column stays one."""
    return column.take(rows) if isinstance(column, LazyColumn) else np.asarray(column)[rows]


def known(ids: np.ndarray) -> np.ndarray:
    """Mark the ids that are neither padding nor unknown."""
    return ids >= FIRST_ID
