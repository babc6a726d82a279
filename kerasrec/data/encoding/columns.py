"""Validation of encoded columns, which are dicts of numpy arrays with one row per interaction.

The checks run once, when a dataset is built. So bad input raises a readable error, and not a failed
gather in the middle of an epoch. The owner is the calling function, named in error messages.
"""

import abc
import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from kerasrec.schema import UNKNOWN_ID, Categorical, Feature, Schema


class LazyColumn(abc.ABC):
    """Column whose rows are made on request: `column[rows]` is an array."""

    @abc.abstractmethod
    def take(self, rows: np.ndarray) -> "LazyColumn":
        """Return the column of some of the rows."""

    @abc.abstractmethod
    def __len__(self) -> int: ...

    @abc.abstractmethod
    def __getitem__(self, rows: Any) -> np.ndarray: ...

    @property
    @abc.abstractmethod
    def dtype(self) -> np.dtype:
        """Return the dtype of the values."""

    @property
    @abc.abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Return rows, and the shape of one value."""

    @property
    def ndim(self) -> int:
        """Return the number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Return the number of values."""
        return math.prod(self.shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Return all rows for numpy, so that evaluation takes it as any column."""
        return self[np.arange(len(self))].astype(dtype or self.dtype, copy=False)


@dataclasses.dataclass(frozen=True, eq=False)
class SideColumn(LazyColumn):
    """Column of a feature of the user or the item, gathered by id on request.

    It takes no memory beyond the ids, which it shares with the column of ids.
    """

    table: np.ndarray  # `(num_ids, ...)`
    ids: np.ndarray  # `(rows,)`

    @property
    def dtype(self) -> np.dtype:
        """Return the dtype of the values."""
        return self.table.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Return rows, and the shape of one value."""
        return len(self), *self.table.shape[1:]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, rows: Any) -> np.ndarray:
        return np.asarray(self.table[self.ids[rows]])

    def take(self, rows: np.ndarray) -> "SideColumn":
        """Return the column of some of the rows."""
        return dataclasses.replace(self, ids=self.ids[rows])


@dataclasses.dataclass(frozen=True, eq=False)
class History(LazyColumn):
    """Column of histories, cut from one sorted array on request.

    It takes at most 20 bytes per row instead of `max_length` ids, so it fits in memory whenever the
    interactions do. `history[rows]` is an array `(rows, max_length)`, newest item last, padded on
    the right with 0, or with NaN if it holds numbers.

    """

    # Sorted by user, time and order in the file: int32 ids, or float32 numbers of one axis or two.
    items: np.ndarray
    begin: np.ndarray  # for each row, the position where its user's items begin
    end: np.ndarray  # for each row, its own position, which is the exclusive end of its history
    max_length: int  # number of newest items to keep

    @property
    def dtype(self) -> np.dtype:
        """Return the dtype of the items."""
        return self.items.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Return rows, max_length, and the shape of one item."""
        return len(self), self.max_length, *self.items.shape[1:]

    @property
    def lengths(self) -> np.ndarray:
        """Return the number of earlier items of each row, beyond max_length too."""
        return self.end - self.begin

    def __len__(self) -> int:
        return len(self.end)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        if not isinstance(rows, slice) and np.ndim(rows) == 0:
            # One row; without this, iteration would take numpy's IndexError for the end.
            return self[np.asarray([rows])][0]
        end = self.end[rows][:, None]
        begin = np.maximum(self.begin[rows][:, None], end - self.max_length)
        positions = begin + np.arange(self.max_length, dtype=begin.dtype)
        # `end` is a row's own position, so the minimum is a valid index. Its value is masked.
        found = self.items[np.minimum(positions, end)]
        real = (positions < end).reshape(positions.shape + (1,) * (found.ndim - 2))
        return np.where(real, found, self.dtype.type(np.nan if self.dtype.kind == "f" else 0))

    def take(self, rows: np.ndarray) -> "History":
        """Return the history column of some of the rows."""
        return dataclasses.replace(self, begin=self.begin[rows], end=self.end[rows])


def column(columns: Mapping[str, Any], name: str, owner: str) -> Any:
    """Return the column of that name."""
    if not hasattr(columns, "keys"):
        raise ValueError(
            f"{owner}: columns must be a dict of numpy arrays by name; received "
            f"{type(columns).__name__}. kerasrec.data.encode makes one."
        )
    if name not in columns:
        raise ValueError(
            f"{owner}: expected a column {name!r}; received the columns {sorted(columns)}."
        )
    values = columns[name]
    if not (hasattr(values, "shape") and hasattr(values, "dtype")) or not values.shape:
        raise ValueError(
            f"{owner}: column {name!r} must be a numpy array of one row per interaction; received "
            f"{type(values).__name__}. Convert it with numpy.asarray."
        )
    return values


def check_rows(columns: Mapping[str, Any], names: Iterable[str], owner: str) -> int:
    """Return the number of rows that all the named columns share, at least one."""
    lengths = {name: len(columns[name]) for name in names}
    if len(set(lengths.values())) != 1:
        raise ValueError(
            f"{owner}: all columns need the same number of rows; received {lengths}. Take the same "
            "rows of each."
        )
    rows = next(iter(lengths.values()))
    if not rows:
        raise ValueError(f"{owner}: received no rows (columns {sorted(lengths)}); expected some.")
    return rows


def ids(
    columns: Mapping[str, Any], feature: Feature, num_ids: int, owner: str, least: int = 0
) -> np.ndarray:
    """Return the ids of a feature as int32, from `least` to below `num_ids`."""
    values = column(columns, feature.name, owner)
    _check_shape(values, feature.name, feature.shape, owner)
    if values.dtype.kind not in "iu":
        raise ValueError(
            f"{owner}: column {feature.name!r} must hold int32 ids; received {values.dtype}. Raw "
            "ids are turned into them by kerasrec.data.encode."
        )
    if len(values) and (values.min() < least or values.max() >= num_ids):
        raise ValueError(
            f"{owner}: column {feature.name!r} must hold ids from {least} to {num_ids - 1}; "
            f"received ids from {values.min()} to {values.max()}. Encode it with the vocabulary "
            "that made the schema (0 is padding, 1 is unknown, real ids start at 2)."
        )
    return values.astype(np.int32, copy=False)


def user_or_item(columns: Mapping[str, Any], feature: Categorical, owner: str) -> np.ndarray:
    """Return the user or item ids of the rows as `ids`, without padding."""
    return ids(columns, feature, feature.num_ids, owner, least=UNKNOWN_ID)


def numbers(
    columns: Mapping[str, Any],
    name: str,
    owner: str,
    shape: tuple[int, ...] = (),
    *,
    missing: bool = False,
) -> np.ndarray:
    """Return a column of finite numbers as float32: a label, a weight or a numeric feature.

    With `missing`, some may be NaN.
    """
    values = column(columns, name, owner)
    _check_shape(values, name, shape, owner)
    if values.dtype.kind not in "biuf":
        raise ValueError(f"{owner}: column {name!r} must hold numbers; received {values.dtype}.")
    good = np.isfinite(values) | np.isnan(values) if missing else np.isfinite(values)
    if bad := values.size - np.count_nonzero(good):
        raise ValueError(
            f"{owner}: column {name!r} holds {bad} values that are "
            f"{'' if missing else 'NaN or '}infinite; expected finite numbers. Drop these rows or "
            "fill them in."
        )
    with np.errstate(over="ignore"):
        result = values.astype(np.float32, copy=False)
    if np.isinf(result).any():
        raise ValueError(
            f"{owner}: column {name!r} must fit in float32; received values up to "
            f"{np.abs(values).max()}. Scale it first."
        )
    return result


def weights(columns: Mapping[str, Any], name: str, owner: str) -> np.ndarray:
    """Return a column of sample weights: `numbers` of at least 0."""
    values = numbers(columns, name, owner)
    if len(values) and values.min() < 0:
        raise ValueError(
            f"{owner}: weights must be at least 0; column {name!r} goes down to {values.min()}."
        )
    return values


def features(
    columns: Mapping[str, Any], wanted: Iterable[Feature], schema: Schema, owner: str
) -> dict[str, Any]:
    """Return the validated columns of some features. A `History` is already validated."""
    checked: dict[str, Any] = {}
    id_features = [
        getattr(schema, f"{role}_id") for role in ("user", "item") if getattr(schema, role)
    ]
    for feature in wanted:
        name = feature.name
        values = column(columns, name, owner)
        if isinstance(values, History):
            checked[name] = values
        elif isinstance(values, SideColumn):
            table = features({name: values.table}, [feature], schema, owner)[name]
            checked[name] = dataclasses.replace(values, table=table)
        elif not feature.has_ids:  # NaN is padding, or a missing value
            checked[name] = numbers(columns, name, owner, feature.shape, missing=True)
        elif feature in id_features and isinstance(feature, Categorical):
            checked[name] = user_or_item(columns, feature, owner)
        else:
            checked[name] = ids(columns, feature, schema.num_ids(name), owner)
    return checked


def _check_shape(values: Any, name: str, shape: tuple[int, ...], owner: str) -> None:
    if tuple(values.shape[1:]) != shape:
        wanted = ", ".join(["rows", *map(str, shape)])
        raise ValueError(
            f"{owner}: column {name!r} must have the shape ({wanted}); received "
            f"{tuple(values.shape)}."
        )
