"""Table of predicted clicks that a run keeps, from which its report follows."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from kerasrec.evaluation.clicks.predictions import ClickPredictions
from kerasrec.evaluation.clicks.segments import MOST, segment_names

USER, SEGMENT = "user", "segment: "
SEGMENTS = 4
"""Columns that are kept as segments: those whose share of positives varies most."""


class RecordedClicks(NamedTuple):
    """Predicted clicks of a run, with the users and the segments of the rows.

    Args:
        found: labels and predictions.
        users: `(rows,)` user of each row; None without users.
        segments: by column, the segment of each row.
    """

    found: ClickPredictions
    users: np.ndarray | None
    segments: dict[str, np.ndarray]


def to_table(
    found: ClickPredictions, columns: Mapping[str, Any], users: np.ndarray | None = None
) -> pa.Table:
    """Return predictions, users and the segments of some columns as a table.

    Args:
        found: labels and predictions.
        columns: raw columns of the rows, which may become segments. Lists, columns of one value and
            text of many values are left out.
        users: `(rows,)` user of each row; None without users.

    Example:

    >>> found = ClickPredictions.from_probabilities(np.array([1, 0]), np.array([0.5, 0.5]))
    >>> to_table(found, {"country": ["fr", "de"]}).column_names
    ['label', 'logit', 'probability', 'log_odds', 'segment: country']
    """
    made: dict[str, Any] = {
        "label": found.labels.astype(np.uint8),
        "logit": found.logits,
        "probability": found.probabilities,
        "log_odds": found.log_odds,
    }
    if users is not None:
        made[USER] = np.unique(users, return_inverse=True)[1].astype(np.int32)
    held: dict[str, tuple[float, np.ndarray]] = {}
    for name, column in columns.items():
        names = _segments(column)
        if names is None:
            continue
        _, code = np.unique(names, return_inverse=True)
        counts = np.bincount(code)
        rates = np.bincount(code, found.labels) / counts
        varies = float((counts * np.square(rates - found.labels.mean())).sum())
        held[name] = varies, names
    for name in sorted(held, key=lambda name: -held[name][0])[:SEGMENTS]:
        made[SEGMENT + name] = pa.array(held[name][1]).dictionary_encode()
    return pa.table(made)


def from_table(table: pa.Table) -> RecordedClicks:
    """Read the table of `to_table`.

    Raises:
        KeyError: if it lacks a column.
    """
    names = ("label", "logit", "probability", "log_odds")
    found = ClickPredictions(*(table[name].to_numpy().astype(np.float64) for name in names))
    users = table[USER].to_numpy() if USER in table.column_names else None
    segments = {
        name.removeprefix(SEGMENT): np.array(table[name].to_pylist())
        for name in table.column_names
        if name.startswith(SEGMENT)
    }
    return RecordedClicks(found, users, segments)


def _segments(column: Any) -> np.ndarray | None:
    """Return the segments of a column; None if it makes none of use."""
    values = column if isinstance(column, pa.Array | pa.ChunkedArray) else pa.array(column)
    if pa.types.is_nested(values.type):
        return None
    text = pa.types.is_string(values.type) or pa.types.is_large_string(values.type)
    if text and len(values.unique()) > MOST + 1:  # ids and titles
        return None
    names = segment_names(values)
    return None if len(np.unique(names)) < 2 else names
