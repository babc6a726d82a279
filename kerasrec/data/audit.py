"""Audit: what a table of interactions holds and what is wrong with it, before any model sees it."""

import dataclasses
import datetime
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kerasrec.data.arrow import (
    ArrowColumn,
    check_ids,
    columns_of,
    is_text,
    joined,
    to_arrow,
    to_float32,
    to_ids,
    to_time,
)
from kerasrec.data.clean import missing_values
from kerasrec.data.interactions import Interactions, check_columns
from kerasrec.data.readers import FileForm, TableFile
from kerasrec.data.typed_text import IdType

_NUMBER = r"^[-+]?((\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|inf)$"
MAX_LISTED_LABELS = 20
HISTOGRAM_BINS = 10
BAR_WIDTH = 40


@dataclasses.dataclass(frozen=True)
class Audit:
    """The findings of `audit`; `str` makes the report.

    Args:
        source: what was looked at.
        rows: number of rows.
        users: number of distinct users.
        items: number of distinct items.
        density: share of all (user, item) pairs that occur.
        duplicates: rows whose (user, item) pair occurred before.
        missing: number of missing values by column, of all columns.
        labels: value (or range) and number of rows.
        time_range: first and last time.
        problems: what `Interactions` would refuse, or nothing could be learned from.
        leaks: columns that seem to give the label away, or to say nothing.
    """

    source: str
    rows: int
    users: int
    items: int
    density: float
    duplicates: int
    missing: Mapping[str, int]
    labels: tuple[tuple[str, int], ...]
    time_range: tuple[int, int] | None
    problems: tuple[str, ...]
    leaks: tuple[str, ...]

    def __str__(self) -> str:
        missing = [f"{name} {count:,}" for name, count in self.missing.items() if count]
        lines = [
            f"audit of {self.source}",
            f"rows          {self.rows:,}",
            f"users         {self.users:,} ({self.rows / max(self.users, 1):.1f} rows a user)",
            f"items         {self.items:,} ({self.rows / max(self.items, 1):.1f} rows an item)",
            f"density       {self.density:.2%} of all (user, item) pairs",
            f"duplicates    {self.duplicates:,} rows repeat a (user, item) pair",
            f"missing       {', '.join(missing) or 'none'}",
            f"time          {_describe_times(self.time_range)}",
            f"labels        {'' if self.labels else 'none'}".rstrip(),
        ]
        most = max((count for _, count in self.labels), default=1)
        width = max((len(value) for value, _ in self.labels), default=0)
        for value, count in self.labels:
            bar = "#" * round(BAR_WIDTH * count / most)
            lines.append(
                f"  {value:>{width}} {count:>12,} {count / self.rows:>7.2%} {bar}".rstrip()
            )
        for title, findings in (("problems", self.problems), ("likely leaks", self.leaks)):
            lines.append(f"{title:<13} {'' if findings else 'none'}".rstrip())
            lines.extend(f"  - {finding}" for finding in findings)
        return "\n".join(lines)


def audit(
    source: Any,
    *,
    format: str | None = None,
    columns: Sequence[str] | None = None,
    separator: str | None = None,
    quote: str | None = None,
    encoding: str = "utf-8",
    decimal: str | None = None,
    id_type: IdType = "auto",
    user: str = "user_id",
    item: str = "item_id",
    label: str | None = "rating",
    time: str | None = "timestamp",
) -> Audit:
    """Looks at rows without refusing them: finds what `Interactions` would refuse, and leaks.

    Args:
        source: a path, `Interactions` (whose own roles are used), or a table as `from_table` takes.
        format: format of the file, as in `read`.
        columns: names of all columns of a csv or tsv file that has no header.
        separator: the character between the fields of a csv or tsv file.
        quote: the character around quoted fields, as in `read`.
        encoding: of the text.
        decimal: mark of fractions, "." or ",".
        id_type: type of the user and item ids: "string", "integer" or "auto".
        user: column of user ids.
        item: column of item ids.
        label: column of ratings or clicks; None for implicit feedback.
        time: column that orders the rows; None where there is none.

    Raises:
        ValueError: if the source has no rows, cannot be read, or lacks the user or item column.

    Example:

    >>> report = audit({"user_id": ["a", "a", "b"], "item_id": [1, 1, 2], "rating": [4, 5, None]},
    ...     time=None)
    >>> report.rows, report.users, report.items, report.duplicates, report.missing["rating"]
    (3, 2, 2, 1, 1)
    """
    name, file = f"{type(source).__name__}", None
    if isinstance(source, Interactions):
        user, item, label, time = source.user, source.item, source.label, source.time
        raw: Mapping[str, Any] = columns_of(source.table)
    elif isinstance(source, str | os.PathLike):
        name = str(source)
        roles: dict[str, str | None] = {"user": user, "item": item, "label": label, "time": time}
        form = FileForm(format, columns, separator, quote, encoding, decimal, id_type)
        file = TableFile.open(source, form, roles)
        found = file.roles(roles)
        user, item, label, time = (
            str(found["user"]),
            str(found["item"]),
            found["label"],
            found["time"],
        )
        try:
            check_columns(list(file.names), {"user": user, "item": item})
        except ValueError as error:
            raise ValueError(f"{name}: {error}{file.header_hint()}") from error
        raw = columns_of(file.read())
    else:
        raw = columns_of(source)
        check_columns(list(raw), {"user": user, "item": item})
    arrays = {column: to_arrow(values, f"column {column!r}") for column, values in raw.items()}
    return _audit(joined(arrays), name, file, user, item, label, time)


def _audit(
    table: pa.Table,
    source: str,
    file: TableFile | None,
    user: str,
    item: str,
    label: str | None,
    time: str | None,
) -> Audit:
    rows = table.num_rows
    if not rows:
        raise ValueError(f"{source}: expected at least one row; received none.")
    problems: list[str] = []
    masks = {name: missing_values(table[name]) for name in table.column_names}
    ids = {}
    for name in (user, item):
        ids[name] = _ids(table[name], name, file, problems)
    user_codes, item_codes = (_codes(ids[name]) for name in (user, item))
    complete = ~(masks[user] | masks[item])
    users, items = (_count_distinct(codes[complete]) for codes in (user_codes, item_codes))
    pairs = (user_codes.astype(np.int64) * (item_codes.max() + 1) + item_codes)[complete]
    distinct = _count_distinct(pairs)
    if repeats := len(pairs) - distinct:
        problems.append(
            f"{repeats:,} rows repeat a (user, item) pair; deduplicate, or read with "
            "duplicates='keep' if repeats are meant"
        )
    for role, count in (("user", users), ("item", items)):
        if count < 2:
            problems.append(f"{count} {role}: nothing can be learned from fewer than two {role}s")
    values = _optional(table, label, "label", problems, file)
    moments = _optional(table, time, "time", problems, file)
    labels = values[np.isfinite(values)] if values is not None else np.empty(0)
    for column in (user, item, label, time):
        if column in masks and (count := int(masks[column].sum())):
            problems.append(f"column {column!r}: {count:,} of {rows:,} values are missing")
    times = moments[np.isfinite(moments)] if moments is not None else np.empty(0)
    return Audit(
        source=source,
        rows=rows,
        users=users,
        items=items,
        density=distinct / max(users * items, 1),
        duplicates=repeats,
        missing={name: int(mask.sum()) for name, mask in masks.items()},
        labels=_distribution(labels),
        time_range=(int(times.min()), int(times.max())) if times.size else None,
        problems=tuple(problems),
        leaks=tuple(
            _leaks(table, {user: user_codes, item: item_codes}, ids, values, times, label, time)
        ),
    )


def _ids(
    column: ArrowColumn, name: str, file: TableFile | None, problems: list[str]
) -> ArrowColumn:
    """The ids as far as they can be read, else their text; what is wrong goes to the problems."""
    owner = f"column {name!r}"
    try:
        ids = to_ids(file.typed(column, "user", name) if file else column, owner)
        check_ids(ids.drop_null(), owner)
    except ValueError as error:
        if pa.types.is_nested(column.type):
            raise
        problems.append(str(error))
        return column if is_text(column.type) else column.cast(pa.string())
    return ids


def _codes(column: ArrowColumn) -> np.ndarray:
    """Numbers from 0 by first appearance; missing values get one of their own."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.indices
    encoded = column.dictionary_encode(null_encoding="encode")
    return np.asarray(encoded.indices)


def _optional(
    table: pa.Table, name: str | None, role: str, problems: list[str], file: TableFile | None
) -> np.ndarray | None:
    """Label or time as floats (time to the microsecond), NaN where there is no number."""
    if name is None:
        return None
    try:
        check_columns(table.column_names, {role: name})
    except ValueError as error:
        problems.append(str(error))
        return None
    column, owner = table[name], f"column {name!r}"
    convert = to_float32 if role == "label" else to_time
    try:
        array = _numbers(convert(file.typed(column, role, name) if file else column, owner))
    except ValueError as error:
        problems.append(str(error))
        array = _numbers(column)
    if count := int((np.isnan(array) & ~missing_values(column)).sum()):
        problems.append(f"{owner}: {count:,} of {len(column):,} values are no number")
    if infinite := int(np.isinf(array).sum()):
        problems.append(f"{owner}: {infinite:,} of {len(array):,} values are infinite")
    return array


def _numbers(column: ArrowColumn) -> np.ndarray:
    """The values that are numbers, as floats; NaN for the others."""
    if is_text(column.type):
        text = column.cast(pa.string())
        column = pc.if_else(pc.match_substring_regex(text, _NUMBER), text, None)
    elif not (pa.types.is_primitive(column.type) or pa.types.is_decimal(column.type)):
        return np.full(len(column), np.nan)
    if pa.types.is_temporal(column.type):
        column = column.cast(pa.int64() if column.type.bit_width == 64 else pa.int32())
    return np.array(column.cast(pa.float64(), safe=False).to_numpy(), np.float64)


def _distribution(labels: np.ndarray) -> tuple[tuple[str, int], ...]:
    values, counts = np.unique(labels, return_counts=True)
    if len(values) <= MAX_LISTED_LABELS:
        return tuple((f"{value:g}", int(n)) for value, n in zip(values, counts, strict=True))
    counts, edges = np.histogram(labels, HISTOGRAM_BINS)
    ranges = [f"{low:.4g} .. {high:.4g}" for low, high in zip(edges[:-1], edges[1:], strict=True)]
    return tuple((text, int(n)) for text, n in zip(ranges, counts, strict=True))


def _leaks(
    table: pa.Table,
    codes: Mapping[str, np.ndarray],
    ids: Mapping[str, ArrowColumn],
    labels: np.ndarray | None,
    times: np.ndarray,
    label: str | None,
    time: str | None,
) -> list[str]:
    found = []
    for name, column in ids.items():
        if pa.types.is_integer(column.type) and len(column) > 2 and not column.null_count:
            first = column[0].as_py()
            if first in (0, 1) and (np.diff(column.to_numpy()) == 1).all():
                found.append(f"{name!r} is the number of the row, not an id")
    if len(times) > 1 and times.min() == times.max():
        found.append(f"{time!r} is the same in all rows: it orders nothing")
    if labels is None:
        return found
    known = np.isfinite(labels)
    values, label_codes, counts = np.unique(labels[known], return_inverse=True, return_counts=True)
    if len(values) < 2:
        found.append(f"{label!r} is the same in all rows: there is nothing to predict")
        return found
    if len(values) <= MAX_LISTED_LABELS and values[0] in (-1, 0) and counts[0] < 0.01 * len(labels):
        found.append(
            f"{label!r} is {values[0]:g} in {counts[0]:,} rows ({counts[0] / len(labels):.2%}): "
            "make sure that it is no code for 'unknown'"
        )
    for name in table.column_names:
        if name in (label, time):
            continue
        column = codes[name] if name in codes else _codes(table[name])
        if _determines(column[known], label_codes):
            found.append(f"{name!r} determines {label!r}: each of its values has one label alone")
        elif name not in codes and _correlation(table[name], labels) > 0.999:
            found.append(f"{name!r} is {label!r} in another scale (correlation above 0.999)")
    return found


def _determines(column: np.ndarray, labels: np.ndarray) -> bool:
    """Whether equal values always have equal labels, with two rows a value on average."""
    distinct = _count_distinct(column)
    if not 2 <= distinct <= len(column) / 2:
        return False
    joint = column.astype(np.int64) * (int(labels.max()) + 1) + labels
    return _count_distinct(joint) == distinct


def _count_distinct(numbers: np.ndarray) -> int:
    return int(pc.count_distinct(pa.array(numbers)).as_py())


def _correlation(column: ArrowColumn, labels: np.ndarray) -> float:
    numbers = _numbers(column)
    both = np.isfinite(numbers) & np.isfinite(labels)
    numbers, labels = numbers[both], labels[both]
    if len(labels) < 3 or not numbers.std() or not labels.std():
        return 0.0
    return abs(float(np.corrcoef(numbers, labels)[0, 1]))


def _describe_times(times: tuple[int, int] | None) -> str:
    """The range, with dates if the numbers look like seconds, milli- or microseconds since 1970."""
    if times is None:
        return "none"
    text = f"{times[0]} .. {times[1]}"
    for unit in (1, 10**3, 10**6):
        if times[0] / unit >= 10**8 and times[1] / unit < 10**10:
            first, last = (
                datetime.datetime.fromtimestamp(t / unit, datetime.UTC).isoformat(" ", "seconds")
                for t in times
            )
            return f"{text} ({first} .. {last})"
    return text
