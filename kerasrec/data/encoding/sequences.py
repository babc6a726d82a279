"""Histories: the items a user interacted with before each row."""

import dataclasses
from collections.abc import Iterable

import numpy as np

from kerasrec._checks import check_integer
from kerasrec.data.encoding import columns as check
from kerasrec.data.encoding.columns import History, LazyColumn
from kerasrec.schema import IdSequence, NumericSequence, Schema
from kerasrec.types import Columns


def add_history(
    columns: Columns,
    schema: Schema,
    *,
    time: str | None = "",
    past: Columns | None = None,
    min_history: int = 0,
) -> dict[str, np.ndarray | LazyColumn]:
    """Add the user's earlier items for each `IdSequence` of the item id.

    A `NumericSequence` gets the values of its column in the same earlier rows, and NaN at padding.
    Scale the columns first, with a scaler fitted on training rows only.

    Earlier means before the row in the order of time, with ties in the order of the file (those of
    `past` before those of `columns`). A row never sees itself or anything later.

    Args:
        columns: encoded columns, one row per interaction.
        schema: has an `IdSequence` of the item id, or a `NumericSequence`, among its user or
            context features.
        time: name of the time column; "" for that of the schema, or "timestamp" if it names none.
            None if the rows of each user are in order already.
        past: columns of rows that count as history only, such as the rows before test rows.
        min_history: rows with fewer earlier items are left out.

    Returns:
        The columns, with a `History` under the name of each sequence feature.

    Raises:
        ValueError: if the schema has no such sequence, a column does not fit it, or no row has
            enough history.

    Example:

    >>> from kerasrec.schema import Categorical
    >>> history = IdSequence("history", of="item", max_length=2)
    >>> schema = Schema(user=[Categorical("user", 4), history], item=[Categorical("item", 9)])
    >>> columns = {"user": np.array([2, 3, 2, 2, 2]), "item": np.array([8, 7, 5, 6, 4])}
    >>> columns["timestamp"] = np.array([40, 10, 20, 30, 30])
    >>> add_history(columns, schema)["history"][np.arange(5)].tolist()
    [[6, 4], [0, 0], [0, 0], [5, 0], [5, 6]]
    """
    owner = "add_history"
    numeric = schema.number_histories
    features: list[IdSequence | NumericSequence] = [*numeric]
    if not numeric or schema.item_histories:
        features += history_features(schema, owner)
    check_integer(owner, "min_history", min_history, 0, numpy=True)
    parts = [columns] if past is None else [past, columns]
    order, users, items = in_order(parts, schema, time, owner, [f.of for f in numeric])
    total = len(order)
    position = np.empty(total, np.int32 if total < 2**31 else np.int64)
    position[order] = np.arange(total, dtype=position.dtype)
    starts = first_rows(users)
    begins = np.repeat(starts, np.diff(starts, append=total)).astype(position.dtype)

    end = position[total - check.check_rows(columns, columns, owner) :]
    history = History(items, begins[end], end, max_length=1)
    kept: dict[str, np.ndarray | LazyColumn] = dict(columns)
    if min_history:
        enough = np.flatnonzero(history.lengths >= min_history)
        if not len(enough):
            raise ValueError(
                f"{owner}: no row has {min_history} earlier items; the longest history has "
                f"{history.lengths.max()}. Lower min_history."
            )
        history = history.take(enough)
        kept = {
            name: values.take(enough) if isinstance(values, LazyColumn) else values[enough]
            for name, values in columns.items()
        }
    values = {f.name: event_numbers(parts, f, owner)[order] for f in numeric}
    for feature in features:
        kept[feature.name] = dataclasses.replace(
            history, items=values.get(feature.name, items), max_length=feature.max_length
        )
    return kept


def time_gaps(
    columns: Columns,
    schema: Schema,
    *,
    time: str = "",
    past: Columns | None = None,
    unit: float = 1.0,
) -> np.ndarray:
    """Compute the time since the user's previous row, 0 for the first.

    Args:
        columns: see `add_history`; no history is needed in the schema.
        schema: see `add_history`; no history is needed in the schema.
        past: see `add_history`; no history is needed in the schema.
        time: name of the time column; "" for that of the schema, or "timestamp" if it names none.
        unit: divisor of the times: 86,400 converts seconds to days.

    Returns:
        float32 `(rows,)`, in the order of `columns`; never negative.

    Raises:
        ValueError: if a column is missing, empty or of another length or dtype.

    Example:

    >>> from kerasrec.schema import Categorical
    >>> schema = Schema(user=[Categorical("user", 4)], item=[Categorical("item", 9)])
    >>> columns = {"user": np.array([2, 3, 2, 2]), "item": np.array([8, 7, 5, 6])}
    >>> columns["timestamp"] = np.array([40, 10, 20, 30])
    >>> time_gaps(columns, schema).tolist()
    [10.0, 0.0, 0.0, 10.0]
    """
    owner = "time_gaps"
    if not unit > 0:
        raise ValueError(f"{owner}: unit must be above 0; received {unit!r}.")
    time = str(time_column(schema, time))
    parts = [columns] if past is None else [past, columns]
    order, users, _ = in_order(parts, schema, time, owner)
    times = _times(parts, time, owner)[order].astype(np.float64)
    gaps = np.diff(times, prepend=times[:1]) / unit
    gaps[first_rows(users)] = 0
    found = np.empty(len(gaps), np.float32)
    found[order] = gaps
    return found[len(found) - len(columns[time]) :]


def event_numbers(parts: list[Columns], feature: NumericSequence, owner: str) -> np.ndarray:
    """Return the float32 column of a numeric sequence, of all parts concatenated."""
    shape = feature.shape[1:]
    return np.concatenate([check.numbers(part, feature.of, owner, shape) for part in parts])


def history_features(schema: Schema, owner: str) -> tuple[IdSequence, ...]:
    """Return the sequences of the item id on the query side."""
    item = schema.item_id.name
    if not schema.item_histories:
        raise ValueError(
            f"{owner}: expected a schema with a sequence of {item!r} among the user or context "
            f"features; received {[f.name for f in schema.query]}. Add "
            f"IdSequence('history', of={item!r}, max_length=50)."
        )
    return schema.item_histories


def in_order(
    parts: list[Columns],
    schema: Schema,
    time: str | None,
    owner: str,
    others: Iterable[str] = (),
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the order of rows by user and time, and the users and items in that order.

    Ties keep the order of the parts and of the file. Ids, times and the other columns need one
    number of rows in each part.
    """
    time = time_column(schema, time)
    names = [schema.user_id.name, schema.item_id.name, *([] if time is None else [time]), *others]
    for part in parts:
        for name in names:
            check.column(part, name, owner)
    for part in parts:
        check.check_rows(part, names, owner)
    users = np.concatenate([check.user_or_item(part, schema.user_id, owner) for part in parts])
    items = np.concatenate([check.user_or_item(part, schema.item_id, owner) for part in parts])
    if time is None:
        order = np.argsort(users, kind="stable")
    else:
        order = np.lexsort((_times(parts, time, owner), users))  # stable as well
    return order, users[order], items[order]


def time_column(schema: Schema, time: str | None) -> str | None:
    """Return the name of the time column, "" standing for that of the schema.

    >>> from kerasrec.schema import Categorical
    >>> schema = Schema(Categorical("user", 4), Categorical("item", 9), time="day")
    >>> time_column(schema, ""), time_column(schema, "hour"), time_column(schema, None)
    ('day', 'hour', None)
    """
    return (schema.time or "timestamp") if time == "" else time


def first_rows(users: np.ndarray) -> np.ndarray:
    """Return the position of the first row of each user, in sorted users."""
    return np.flatnonzero(np.concatenate([[True], users[1:] != users[:-1]]))


def _times(parts: list[Columns], name: str, owner: str) -> np.ndarray:
    columns = [part[name] for part in parts]
    kinds = {values.dtype.kind for values in columns}
    if any(values.ndim != 1 for values in columns) or not (kinds <= set("iuf") or kinds == {"M"}):
        raise ValueError(
            f"{owner}: time column {name!r} must hold one number a row, or one date; received "
            f"{' and '.join(f'{values.dtype} of shape {values.shape}' for values in columns)}."
        )
    times = np.concatenate(columns)
    missing = np.isnat(times) if times.dtype.kind == "M" else ~np.isfinite(times)
    if missing.any():
        raise ValueError(
            f"{owner}: time column {name!r} has {np.count_nonzero(missing)} missing or infinite "
            "values. Drop these rows or fill them in."
        )
    return times
