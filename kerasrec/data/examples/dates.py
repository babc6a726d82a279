"""Dates and times of examples, encoded to whole hours since 1970."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kerasrec.data.encoding.scalers import Scaling, fitted_scale
from kerasrec.data.tables.arrow import ArrowColumn, is_text, to_arrow
from kerasrec.data.tables.side_tables import ColumnKind
from kerasrec.schema import Date

HOUR = 3600
# 2024-05-31, 2024-05-31 12:00, 2024-05-31T12:00:00.5Z, and with +02:00 behind.
_ISO = r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?)?$"


def date_seconds(name: str, column: ArrowColumn, *, integers: bool = False) -> ArrowColumn:
    """Return dates as seconds since 1970 in UTC, int64; None if the column holds no dates.

    Args:
        name: name of the column, for messages.
        column: Arrow dates or timestamps, or text in ISO 8601. Without a zone they count as UTC.
        integers: whether integers count as seconds since 1970.

    Raises:
        ValueError: if text has the form of dates that do not exist, or mixes zones and none.

    Example:

    >>> date_seconds("day", pa.array(["1970-01-01", None, "1970-01-02 00:00:30"])).to_pylist()
    [0, None, 86430]
    >>> date_seconds("city", pa.array(["Rome", "1970-01-02"])) is None
    True
    """
    values = to_arrow(column, f"column {name!r}")
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if integers and pa.types.is_integer(values.type):
        return values.cast(pa.int64())
    if is_text(values.type):
        text = pc.utf8_trim_whitespace(values.cast(pa.large_string()))
        text = pc.if_else(pc.equal(text, ""), None, text)
        if text.null_count == len(text):
            return pa.nulls(len(text), pa.int64())
        if not pc.all(pc.match_substring_regex(text, _ISO)).as_py():
            return None
        values = _parsed(name, text)
    if not (pa.types.is_timestamp(values.type) or pa.types.is_date(values.type)):
        return None
    zone = values.type.tz if pa.types.is_timestamp(values.type) else None
    options = pc.CastOptions(pa.timestamp("us", zone), allow_time_truncate=True)
    micros = pc.cast(values, options=options).cast(pa.int64()).to_numpy(zero_copy_only=False)
    missing = values.is_null().to_numpy(zero_copy_only=False)
    seconds = np.where(missing, 0, micros) // 1_000_000  # floors, before 1970 too
    return pa.array(seconds.astype(np.int64), mask=missing)


def _parsed(name: str, text: ArrowColumn) -> ArrowColumn:
    for zone in (None, "UTC"):
        try:
            return text.cast(pa.timestamp("us", zone))
        except pa.ArrowInvalid as error:
            found = error
    raise ValueError(
        f"column {name!r}: expected dates in ISO 8601 (2024-05-31 12:00:00), all with a zone or "
        f"all without; received text that cannot be read ({found}). Correct these rows, or choose "
        "the kind of the column by features=."
    )


def date_hours(seconds: ArrowColumn) -> np.ndarray:
    """Return whole hours since 1970, float32 `(rows,)`, NaN where a date is missing.

    Args:
        seconds: the result of `date_seconds`.

    Example:

    >>> date_hours(pa.array([0, 7199, -1, None])).tolist()
    [0.0, 1.0, -1.0, nan]
    """
    missing = seconds.is_null().to_numpy(zero_copy_only=False)
    values = seconds.fill_null(0).to_numpy(zero_copy_only=False)
    return np.where(missing, np.nan, values // HOUR).astype(np.float32)


def encode_dates(name: str, column: ArrowColumn) -> np.ndarray:
    """Encode a column to whole hours since 1970, float32 `(rows,)`.

    Args:
        name: name of the column, for messages.
        column: dates as `date_seconds` takes them, or seconds since 1970.

    Raises:
        ValueError: if the column holds other values.
    """
    if column.null_count == len(column):
        return np.full(len(column), np.nan, np.float32)
    seconds = date_seconds(name, column, integers=True)
    if seconds is None:
        raise ValueError(
            f"column {name!r}: expected dates, timestamps, text in ISO 8601 or integers of seconds "
            f"since 1970, as in the training rows; received {column.type}. Convert it."
        )
    return date_hours(seconds)


def fit_dates(
    name: str, column: ArrowColumn, kind: str | None, scaling: Scaling = "standard"
) -> tuple[Date, ColumnKind] | None:
    """Return the feature of a column of dates; None if it is none, or holds a single hour.

    Args:
        name: name of the column.
        column: values of the training rows.
        kind: "date" to take integers as seconds since 1970; None for dates and ISO text alone.
        scaling: scale of the hours, see `fitted_scale`.

    Raises:
        ValueError: if dates are asked for, and the column holds none.
    """
    seconds = date_seconds(name, column, integers=kind == "date")
    hours = np.empty(0) if seconds is None else date_hours(seconds)
    known = hours[~np.isnan(hours)]
    if not len(known) or known.min() == known.max():
        if kind == "date":
            raise ValueError(
                f"column {name!r} cannot be read as date: expected at least two hours, as dates, "
                "timestamps, text in ISO 8601 or integers of seconds since 1970; received "
                f"{column.type}. Choose another kind, or convert the column."
            )
        return None
    mean, deviation = fitted_scale(known, scaling=scaling)
    first, last = (np.datetime64(int(hour), "h") for hour in (known.min(), known.max()))
    days = [str(hour.astype("datetime64[D]")) for hour in (first, last)]
    found = ColumnKind("numeric", f"from {days[0]} to {days[1]}", seconds)
    return Date(name, mean=mean, deviation=deviation), found
