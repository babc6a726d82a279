"""Click metrics by segment of the rows, such as the countries of a column."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kerasrec._checks import check_integer
from kerasrec.evaluation.clicks.intervals import click_intervals
from kerasrec.evaluation.clicks.predictions import ClickPredictions

MISSING, OTHERS = "missing", "others"
MOST = 12
PARTS = 4
"""Parts of equally many rows in which numbers of many values are cut."""


def segment_names(values: Any, *, most: int = MOST, what: str = "segment_names") -> np.ndarray:
    """Return the name of each row's segment, from a column of any kind.

    Columns of few values have a segment for each. Numbers and dates of more values are cut in four
    parts of about equally many rows, and of other values the most frequent ones keep their names.

    Args:
        values: a column of numbers, text, truth values or dates: an Arrow array, or what becomes
            one. Missing values and NaN are a segment of their own.
        most: largest number of segments, `missing` not counted.
        what: name of the column, for messages.

    Raises:
        ValueError: if the column holds lists or mixed values, or `most` is less than 2.

    Example:

    >>> segment_names(["fr", None, "de", "fr"]).tolist()
    ['fr', 'missing', 'de', 'fr']
    >>> np.unique(segment_names(np.arange(100))).tolist()
    ['0 to 24', '25 to 49', '50 to 74', '75 to 99']
    """
    check_integer("segment_names", "most", most, 2)
    column = _column(values, what)
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    held = pc.value_counts(column.drop_null())
    kinds, counts = held.field("values"), held.field("counts").to_numpy()
    ordered = pa.types.is_temporal(column.type) or pa.types.is_floating(column.type)
    ordered = ordered or pa.types.is_integer(column.type) or pa.types.is_decimal(column.type)
    if len(kinds) <= most:
        names = [_text(value) for value in kinds.to_pylist()]
    elif ordered:
        names = _parts(kinds, counts)
    else:
        # Equally frequent values in the order of their names, whatever the order of the rows.
        texts = [_text(value) for value in kinds.to_pylist()]
        order = sorted(range(len(texts)), key=lambda at: (-counts[at], texts[at]))
        kept = set(order[: most - 1])
        names = [text if at in kept else OTHERS for at, text in enumerate(texts)]
    code = pc.index_in(column, value_set=kinds).fill_null(len(kinds)).to_numpy(zero_copy_only=False)
    return np.array([*names, MISSING], object)[code].astype(str)


def click_segments(
    found: ClickPredictions,
    segments: Any,
    groups: np.ndarray | None = None,
    *,
    level: float = 0.95,
    most: int = MOST,
) -> list[dict[str, float | int | str]]:
    """Compute the click metrics of every segment with intervals, as rows for `format_table`.

    A segment of few rows has a wide interval: look at it before the metric. Log loss and PR-AUC
    depend on the share of positives, and are no quality to compare segments by where it differs.
    AUC, normalized entropy and calibration are.

    Args:
        found: labels and predictions, from `predict_clicks`.
        segments: a column with a value for each row, see `segment_names`.
        groups: see `click_intervals`.
        level: see `click_intervals`.
        most: largest number of segments. Numbers of more values are cut in four parts, of others
            the rarest are one segment, `others`.

    Returns:
        A row for each segment, largest first: `segment`, `rows`, `positive_share`, and each metric
        of `click_intervals` with its ends, as in `auc`, `auc_low`, `auc_high`.

    Raises:
        ValueError: see `click_intervals`. Also if the column has another length, or holds lists.

    Example:

    >>> labels = np.array([1, 0, 1, 0, 0])
    >>> found = ClickPredictions.from_probabilities(labels, np.array([0.8, 0.4, 0.3, 0.2, 0.1]))
    >>> rows = click_segments(found, ["fr", "fr", "de", "de", "de"])
    >>> [(row["segment"], row["rows"], row["auc"]) for row in rows]
    [('de', 3, 1.0), ('fr', 2, 1.0)]
    """
    names = segment_names(segments, most=most, what="click_segments: segments")
    if len(names) != len(found.labels):
        raise ValueError(
            f"click_segments: expected a value for each of the {len(found.labels)} rows; received "
            f"{len(names)}. Pass the column of the same rows."
        )
    kinds, code, counts = np.unique(names, return_inverse=True, return_counts=True)
    rows: list[dict[str, float | int | str]] = []
    for at in np.argsort(-counts, kind="stable"):
        chosen = code == at
        some = found.take(chosen)
        of_groups = None if groups is None else np.asarray(groups)[chosen]
        row: dict[str, float | int | str] = {
            "segment": str(kinds[at]),
            "rows": int(counts[at]),
            "positive_share": float(some.labels.mean()),
        }
        for name, interval in click_intervals(some, of_groups, level=level).items():
            row |= {name: interval.mean, f"{name}_low": interval.low, f"{name}_high": interval.high}
        rows.append(row)
    return rows


def _column(values: Any, what: str) -> pa.Array:
    """Return one Arrow array of single values."""
    try:
        column = values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ValueError(
            f"{what}: expected a column of numbers, text, truth values or dates; received values "
            f"of several kinds ({error})."
        ) from error
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_nested(column.type):
        raise ValueError(
            f"{what}: expected one value in each row; received {column.type}. Choose a column of "
            "single values."
        )
    return column


def _parts(kinds: pa.Array, counts: np.ndarray) -> list[str]:
    """Name for each distinct value the part of the rows that it lies in."""
    order = pc.sort_indices(kinds).to_numpy()
    counts = counts[order]
    middle = np.cumsum(counts) - (counts + 1) / 2
    part = (middle / counts.sum() * PARTS).astype(int)
    texts = [_text(value) for value in kinds.take(pa.array(order)).to_pylist()]
    names = [""] * len(texts)
    for number in np.unique(part):
        inside = np.flatnonzero(part == number)
        low, high = texts[inside[0]], texts[inside[-1]]
        for at in inside:
            names[order[at]] = low if low == high else f"{low} to {high}"
    return names


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def segment_table(rows: Sequence[Mapping[str, float | int | str]]) -> list[dict[str, Any]]:
    """Return what fits in a line of a table: AUC, with its interval as text, and calibration.

    Args:
        rows: result of `click_segments`.

    Example:

    >>> found = ClickPredictions.from_probabilities(np.array([1, 0] * 9), np.full(18, 0.5))
    >>> segment_table(click_segments(found, ["fr"] * 18))[0]["auc 95 %"]
    '0.500 to 0.500'
    """
    return [
        {
            **{name: row[name] for name in ("segment", "rows", "positive_share", "auc")},
            "auc 95 %": f"{row['auc_low']:.3f} to {row['auc_high']:.3f}",
            "calibration": row["calibration"],
        }
        for row in rows
    ]
