"""Audit of interactions before training: counts, problems and likely leaks."""

import dataclasses
import datetime
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kerasrec.data.tables.arrow import (
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
from kerasrec.data.tables.clean import missing_values
from kerasrec.data.tables.interactions import Interactions, check_columns
from kerasrec.data.tables.side_tables import audit_side_tables, side_of
from kerasrec.data.tables.table_file import FileForm, TableFile
from kerasrec.data.tables.typed_text import IdType

_NUMBER = r"^[-+]?((\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|inf)$"
MAX_LISTED_LABELS = 20
HISTOGRAM_BINS = 10
BAR_WIDTH = 40


@dataclasses.dataclass(frozen=True)
class Audit:
    """Findings of `audit`. `str` formats the report.

    Args:
        source: name of the audited data.
        rows: number of rows.
        users: number of distinct users.
        items: number of distinct items.
        density: share of all (user, item) pairs that occur.
        duplicates: rows whose (user, item) pair occurred before.
        missing: number of missing values of every column.
        labels: value (or range) and number of rows.
        time_range: first and last time.
        problems: what `Interactions` would reject, or what makes learning impossible.
        leaks: columns that seem to reveal the label or the item, or that carry no information.
        features: further columns that describe the user, not the moment.
        sides: what each column of the tables of users and items is taken for.
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
    features: tuple[str, ...] = ()
    sides: tuple[str, ...] = ()

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
        found = [("problems", self.problems), ("likely leaks", self.leaks)]
        more = [("features", self.features), ("side tables", self.sides)]
        for title, findings in found + [section for section in more if section[1]]:
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
    users: Any = None,
    items: Any = None,
) -> Audit:
    """Check rows without rejecting them, and report problems and likely leaks.

    Columns are checked one at a time, and those of a Parquet file are read one at a time. So memory
    holds a few numbers per row, however wide the rows are.

    Args:
        source: a path, `Interactions` (whose own roles are used), or a table as `from_table` takes.
        format: form of a file, see `read`.
        columns: form of a file, see `read`.
        separator: form of a file, see `read`.
        quote: form of a file, see `read`.
        encoding: form of a file, see `read`.
        decimal: form of a file, see `read`.
        id_type: form of a file, see `read`.
        user: columns of these roles, see `Interactions`.
        item: columns of these roles, see `Interactions`.
        label: columns of these roles, see `Interactions`.
        time: columns of these roles, see `Interactions`.
        users: table of the users, or its file, see `Interactions.with_tables`.
        items: table of the items, or its file.

    Raises:
        ValueError: if the source has no rows, cannot be read, or lacks the user or item column.

    Example:

    >>> report = audit({"user_id": ["a", "a", "b"], "item_id": [1, 1, 2], "rating": [4, 5, None]},
    ...     time=None)
    >>> report.rows, report.users, report.items, report.duplicates, report.missing["rating"]
    (3, 2, 2, 1, 1)
    """
    name, file = f"{type(source).__name__}", None
    if isinstance(source, str | os.PathLike):
        name = str(source)
        roles: dict[str, str | None] = {"user": user, "item": item, "label": label, "time": time}
        form = FileForm(format, columns, separator, quote, encoding, decimal, id_type)
        file = TableFile.open(source, form, roles)
        roles = file.roles(roles)
        try:
            check_columns(list(file.names), {"user": roles["user"], "item": roles["item"]})
        except ValueError as error:
            raise ValueError(f"{name}: {error}{file.header_hint()}") from error
        # A Parquet file is read column by column. Text is read at once.
        table = None if file.form.format == "parquet" else file.read()
        rows = _Rows(name, file.names, table, file)
    else:
        if isinstance(source, Interactions):
            user, item, label, time = source.user, source.item, source.label, source.time
        raw = columns_of(source.table if isinstance(source, Interactions) else source)
        roles = {"user": user, "item": item, "label": label, "time": time}
        check_columns(list(raw), {"user": user, "item": item})
        table = joined({key: to_arrow(values, f"column {key!r}") for key, values in raw.items()})
        rows = _Rows(name, tuple(table.column_names), table, None)
    own = str(roles["user"]), str(roles["item"])
    report = _audit(rows, *own, roles["label"], roles["time"])
    has_tables = isinstance(source, Interactions) and (source.users or source.items)
    if users is None and items is None and not has_tables:
        return report
    if not isinstance(source, Interactions):
        kinds = zip(own, ("user", "item"), strict=True)
        ids = {column: rows.typed(rows.column(column)[0], role, column) for column, role in kinds}
        named = dict(zip(("user", "item"), own, strict=True))
        roles_of_ids: Any = {**named, "label": None, "time": None}
        source = Interactions.from_table(ids, **roles_of_ids, missing="drop", duplicates="keep")
    form_of_tables = {"encoding": encoding, "decimal": decimal}
    lines, problems = audit_side_tables(source, users, items, **form_of_tables)
    return dataclasses.replace(report, sides=tuple(lines), problems=(*report.problems, *problems))


@dataclasses.dataclass
class _Rows:
    """Columns that are read one at a time to bound memory, and findings about them."""

    source: str
    names: tuple[str, ...]
    table: pa.Table | None  # None to read each column of the file on request
    file: TableFile | None
    missing: dict[str, int] = dataclasses.field(default_factory=dict)
    sides: dict[str, str] = dataclasses.field(default_factory=dict)  # of further columns

    def column(self, name: str) -> tuple[ArrowColumn, np.ndarray]:
        """Return a column and the mask of its missing values."""
        if self.table is not None:
            column = self.table[name]
        elif self.file is not None:
            column = to_arrow(self.file.read([name])[name], f"column {name!r}")
        mask = missing_values(column)
        self.missing[name] = int(np.count_nonzero(mask))
        return column, mask

    def typed(self, column: ArrowColumn, role: str, name: str) -> ArrowColumn:
        """Convert a column of a file to the type of its role."""
        return column if self.file is None else self.file.typed(column, role, name)


def _audit(rows: _Rows, user: str, item: str, label: str | None, time: str | None) -> Audit:
    problems: list[str] = []
    leaks: list[str] = []
    codes: dict[str, np.ndarray] = {}
    complete = np.ones(1, bool)
    for name in (user, item):
        column, mask = rows.column(name)
        if not len(column):
            raise ValueError(f"{rows.source}: expected at least one row; received none.")
        ids = _ids(rows, column, name, problems)
        if _counts_rows(ids):
            leaks.append(f"{name!r} is the number of the row, not an id")
        codes[name] = _codes(ids)
        complete = complete & ~mask
    del column, mask, ids
    users, items = (_count_codes(codes[name][complete]) for name in (user, item))
    pairs = _joint(codes[user], codes[item])[complete]
    count, total = len(pairs), len(complete)
    distinct = _count_distinct(pairs)
    del pairs, complete
    if repeats := count - distinct:
        problems.append(
            f"{repeats:,} rows repeat a (user, item) pair; deduplicate, or read with "
            "duplicates='keep' if repeats are meant"
        )
    for role, count in (("user", users), ("item", items)):
        if count < 2:
            problems.append(f"{count} {role}: nothing can be learned from fewer than two {role}s")
    labels = _optional(rows, label, "label", problems)
    moments = _optional(rows, time, "time", problems)
    for looked_at in (user, item, label, time):
        if looked_at is not None and (count := rows.missing.get(looked_at, 0)):
            problems.append(f"column {looked_at!r}: {count:,} of {total:,} values are missing")
    times = None
    if moments is not None and np.isfinite(moments).any():
        known = moments if np.isfinite(moments).all() else moments[np.isfinite(moments)]
        times = int(known.min()), int(known.max())
        if len(known) > 1 and times[0] == times[1]:
            leaks.append(f"{time!r} is the same in all rows, so it gives no order")
    del moments
    leaks += _leaks(rows, codes, labels, label, time)
    features = []
    for name, side in rows.sides.items():
        if side == "user":
            features.append(f"{name!r} is the same in all rows of each {user!r}: a user feature")
        elif side == "item":
            leaks.append(
                f"{name!r} is the same in all rows of each {item!r}: an item feature, which as "
                "context would reveal the item"
            )
    finite = np.empty(0) if labels is None else labels[np.isfinite(labels)]
    return Audit(
        source=rows.source,
        rows=total,
        users=users,
        items=items,
        density=distinct / max(users * items, 1),
        duplicates=repeats,
        missing={name: rows.missing[name] for name in rows.names},
        labels=_distribution(finite),
        time_range=times,
        problems=tuple(problems),
        leaks=tuple(leaks),
        features=tuple(features),
    )


def _ids(rows: _Rows, column: ArrowColumn, name: str, problems: list[str]) -> ArrowColumn:
    """Convert ids where possible, else return their text and record the problem."""
    owner = f"column {name!r}"
    try:
        ids = to_ids(rows.typed(column, "user", name), owner)
        check_ids(ids.drop_null(), owner)
    except ValueError as error:
        if pa.types.is_nested(column.type):
            raise
        problems.append(str(error))
        return column if is_text(column.type) else column.cast(pa.string())
    return ids


def _counts_rows(ids: ArrowColumn) -> bool:
    if not pa.types.is_integer(ids.type) or len(ids) <= 2 or ids.null_count:
        return False
    return ids[0].as_py() in (0, 1) and bool((np.diff(ids.to_numpy()) == 1).all())


def _codes(column: ArrowColumn) -> np.ndarray:
    """Return codes from 0 by first appearance. Missing values get a code of their own."""
    if isinstance(column, pa.ChunkedArray) and pa.types.is_dictionary(column.type):
        column = column.combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.indices
    encoded = column.dictionary_encode(null_encoding="encode")
    chunks = encoded.chunks if isinstance(encoded, pa.ChunkedArray) else [encoded]
    return np.concatenate([np.asarray(chunk.indices) for chunk in chunks] or [np.empty(0, int)])


def _optional(rows: _Rows, name: str | None, role: str, problems: list[str]) -> np.ndarray | None:
    """Return label or time as floats (time to the microsecond), NaN where not a number."""
    if name is None:
        return None
    try:
        check_columns(list(rows.names), {role: name})
    except ValueError as error:
        problems.append(str(error))
        return None
    (column, mask), owner = rows.column(name), f"column {name!r}"
    convert = to_float32 if role == "label" else to_time
    try:
        array = _numbers(convert(rows.typed(column, role, name), owner))
    except ValueError as error:
        problems.append(str(error))
        array = _numbers(column)
    if count := int((np.isnan(array) & ~mask).sum()):
        problems.append(f"{owner}: {count:,} of {len(column):,} values are not numbers")
    if infinite := int(np.isinf(array).sum()):
        problems.append(f"{owner}: {infinite:,} of {len(array):,} values are infinite")
    return array


def _numbers(column: ArrowColumn) -> np.ndarray:
    """Return the values that are numbers as floats, NaN for the others."""
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
    rows: _Rows,
    codes: Mapping[str, np.ndarray],
    labels: np.ndarray | None,
    label: str | None,
    time: str | None,
) -> list[str]:
    found = []
    known: Any = slice(None) if labels is None or np.isfinite(labels).all() else np.isfinite(labels)
    values, counts = np.unique(np.empty(0) if labels is None else labels[known], return_counts=True)
    constant = labels is not None and len(values) < 2
    if labels is not None and constant:
        found.append(f"{label!r} is the same in all rows: there is nothing to predict")
    elif labels is not None and len(values) <= MAX_LISTED_LABELS and values[0] in (-1, 0):
        share = counts[0] / len(labels)
        if share < 0.01:
            found.append(
                f"{label!r} is {values[0]:g} in {counts[0]:,} rows ({share:.2%}): make sure that "
                "it does not mean 'unknown'"
            )
    # With a constant label, columns are only checked for missing values.
    label_codes = None
    if labels is not None and not constant:
        label_codes = np.searchsorted(values, labels[known]).astype(np.int32)
    for name in rows.names:
        if name in (label, time) and name in rows.missing:
            continue
        column = None if name in codes else rows.column(name)[0]
        if column is not None and pa.types.is_nested(column.type):  # lists have no numbers
            continue
        numbers = _codes(column) if column is not None else codes[name]
        if column is not None:
            rows.sides[name] = side_of(numbers, *codes.values())
        if labels is None or label_codes is None:
            continue
        if _determines(numbers[known], label_codes):
            found.append(f"{name!r} determines {label!r}: each of its values has only one label")
        elif column is not None and _correlation(column, labels) > 0.999:
            found.append(f"{name!r} is {label!r} in another scale (correlation above 0.999)")
    return found


def _determines(column: np.ndarray, labels: np.ndarray) -> bool:
    """Return whether equal values have equal labels, with two rows per value on average."""
    distinct = _count_codes(column)
    if not 2 <= distinct <= len(column) / 2:
        return False
    return _count_distinct(_joint(column, labels)) == distinct


def _joint(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Combine two codes to one number for each row, `(rows,)` int64."""
    joint = first.astype(np.int64)
    joint *= int(second.max()) + 1
    joint += second
    return joint


def _count_codes(codes: np.ndarray) -> int:
    """Count the distinct codes, which are numbers from 0."""
    return int(np.count_nonzero(np.bincount(codes)))


def _count_distinct(numbers: np.ndarray) -> int:
    """Count the distinct values. Sorts the array in place to save memory."""
    numbers.sort()
    return int(len(numbers) > 0) + int(np.count_nonzero(numbers[1:] != numbers[:-1]))


def _correlation(column: ArrowColumn, labels: np.ndarray) -> float:
    numbers = _numbers(column)
    both = np.isfinite(numbers) & np.isfinite(labels)
    numbers, labels = numbers[both], labels[both]
    if len(labels) < 3 or not numbers.std() or not labels.std():
        return 0.0
    return abs(float(np.corrcoef(numbers, labels)[0, 1]))


def _describe_times(times: tuple[int, int] | None) -> str:
    """Format a time range, with dates if it looks like (milli- or micro-)seconds since 1970."""
    if times is None:
        return "none"
    text = f"{times[0]} .. {times[1]}"
    for unit in (1, 10**3, 10**6):
        if times[0] / unit >= 10**8 and times[1] / unit < 10**10:
            first, last = (
                f"{datetime.datetime.fromtimestamp(t / unit, datetime.UTC):%Y-%m-%d %H:%M:%S}"
                for t in times
            )
            return f"{text}\n              {first} .. {last} UTC"  # one line would be wider than 80
    return text
