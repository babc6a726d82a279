"""Validation of encoded columns, which are dicts of numpy arrays with one row per interaction.

The checks run once, when a dataset is built. So bad input raises a readable error, and not a failed
gather in the middle of an epoch. The owner is the calling function, named in error messages.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from kerasrec.schema import UNKNOWN_ID, Categorical, Feature, Schema


@dataclasses.dataclass(frozen=True, eq=False)
class History:
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
        places = begin + np.arange(self.max_length, dtype=begin.dtype)
        # `end` is a row's own position, so the minimum is a valid index. Its value is masked.
        found = self.items[np.minimum(places, end)]
        real = (places < end).reshape(places.shape + (1,) * (found.ndim - 2))
        return np.where(real, found, self.dtype.type(np.nan if self.dtype.kind == "f" else 0))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Return all rows for numpy, so that evaluation takes a history as any column."""
        return self[np.arange(len(self))].astype(dtype or self.dtype, copy=False)

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
    columns: Mapping[str, Any], name: str, owner: str, shape: tuple[int, ...] = ()
) -> np.ndarray:
    """Return a column of finite numbers as float32: a label, a weight or a numeric feature."""
    values = column(columns, name, owner)
    _check_shape(values, name, shape, owner)
    if values.dtype.kind not in "biuf":
        raise ValueError(f"{owner}: column {name!r} must hold numbers; received {values.dtype}.")
    if bad := values.size - np.count_nonzero(np.isfinite(values)):
        raise ValueError(
            f"{owner}: column {name!r} holds {bad} values that are NaN or infinite; expected "
            "finite numbers. Drop these rows or fill them in."
        )
    with np.errstate(over="ignore"):
        result = values.astype(np.float32, copy=False)
    if not np.isfinite(result).all():
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
    user, item = schema.user_id, schema.item_id
    for feature in wanted:
        name = feature.name
        if isinstance(column(columns, name, owner), History):
            checked[name] = columns[name]
        elif feature.is_padded and not feature.has_ids:
            padding = np.isnan(columns[name]) if columns[name].dtype.kind == "f" else False
            filled = {name: np.where(padding, 0, columns[name])}
            values = numbers(filled, name, owner, feature.shape)
            checked[name] = np.where(padding, np.float32(np.nan), values)
        elif not feature.has_ids:
            checked[name] = numbers(columns, name, owner, feature.shape)
        elif feature in (user, item):
            checked[name] = user_or_item(columns, user if feature == user else item, owner)
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
