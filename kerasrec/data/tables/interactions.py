"""Interactions: a validated Arrow table of (user, item) rows with named roles."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kerasrec._checks import check_choice
from kerasrec.data.tables.aliases import nearest
from kerasrec.data.tables.arrow import (
    TEXT_IDS,
    ArrowColumn,
    check_ids,
    columns_of,
    distinct_ids,
    is_text,
    joined,
    to_context,
    to_float32,
    to_ids,
    to_time,
)
from kerasrec.data.tables.side_tables import side_tables
from kerasrec.data.tables.table_file import FileForm


@dataclasses.dataclass(frozen=True, eq=False)
class Interactions:
    """Immutable, validated rows of `(user, item[, label][, time][, context...])`.

    | role | type in the table | what may be given to `from_table` |
    |---|---|---|
    | user, item | int64 or text | integers 0 .. 2**63 - 1, strings, UTF-8 bytes, categories |
    | label | float32, finite | integers, floats, decimals, booleans |
    | time | int64 | integers, floats, timestamps and dates |
    | context | int64, text or float32 | as an id (a category), or floats (a numeric feature) |

    Text is stored once for each distinct value, as an Arrow dictionary. Whole numbers in the time
    column keep their unit. Timestamps, dates, and numbers with a fraction (taken as seconds) become
    microseconds since 1970 (UTC if the column has a time zone).

    Args:
        table: the columns named by the roles, of the types above. Other columns are ignored.
        user: column of user ids.
        item: column of item ids.
        label: column of ratings or clicks; None for implicit feedback, where each row counts as 1.
        time: column that orders the rows; None where there is none.
        context: columns that describe the moment (hour, device), or the user.
        users: table of the users, one row each, with their ids in the column `user`; None for none.
            Create it with `from_table` or `with_tables`, which check it.
        items: table of the items, likewise.

    Raises:
        ValueError: if a column is missing, has another type, or holds invalid values.

    Example:

    >>> rows = Interactions.from_table(
    ...     {"user_id": [7, 7, 9], "item_id": ["a", "b", "a"], "rating": [4, 5, 1]}, time=None)
    >>> len(rows), rows.num_users, rows.num_items
    (3, 2, 2)
    >>> rows.take([0, 2]).column("rating").tolist()
    [4.0, 1.0]
    """

    table: pa.Table
    user: str = "user_id"
    item: str = "item_id"
    label: str | None = "rating"
    time: str | None = "timestamp"
    context: tuple[str, ...] = ()
    users: pa.Table | None = None
    items: pa.Table | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "context", _check_roles(self.roles, self.context))
        if not isinstance(self.table, pa.Table):
            raise ValueError(
                f"Interactions: table must be a pyarrow.Table; received "
                f"{type(self.table).__name__}. Use Interactions.from_table for other data."
            )
        check_columns(self.table.column_names, self.roles, self.context)
        table = self.table.select(self.columns)
        for position, name in enumerate(self.columns):
            kind = table.schema.types[position]
            if is_text(kind) or pa.types.is_dictionary(kind):
                table = table.set_column(position, name, to_ids(table[name], name))
        object.__setattr__(self, "table", table.combine_chunks())
        for name in self.columns:
            self._check_column(name, self.table[name])

    @classmethod
    def from_table(
        cls,
        data: Any,
        *,
        user: str = "user_id",
        item: str = "item_id",
        label: str | None = "rating",
        time: str | None = "timestamp",
        context: Sequence[str] = (),
        missing: Literal["error", "drop"] = "error",
        duplicates: Literal["error", "keep"] = "error",
        users: Any = None,
        items: Any = None,
        missing_sides: Literal["error", "unknown"] = "error",
    ) -> "Interactions":
        """Create from any table: Arrow, pandas, polars, DuckDB, or a dict of arrays.

        Args:
            data: an object of the Arrow C stream protocol, or a dict of columns.
            user: columns of these roles, see `Interactions`.
            item: columns of these roles, see `Interactions`.
            label: columns of these roles, see `Interactions`.
            time: columns of these roles, see `Interactions`.
            context: columns of these roles, see `Interactions`.
            missing: policy for rows with a null, NaN or empty string: raise an error, or drop them.
            duplicates: policy for a repeated (user, item) pair: raise an error, or keep all rows.
                `kerasrec.data.deduplicate` then takes the last or the mean.
            users: table about the users, see `with_tables`.
            items: table about the items, see `with_tables`.
            missing_sides: see `with_tables`.

        Raises:
            ValueError: if the data are empty, lack a column, or hold invalid values, or
                `with_tables` rejects a table.
        """
        check_choice("Interactions", "missing", missing, ("error", "drop"))
        check_choice("Interactions", "duplicates", duplicates, ("error", "keep"))
        roles = {"user": user, "item": item, "label": label, "time": time}
        context = _check_roles(roles, context)
        source = columns_of(data)
        check_columns(list(source), roles, context)
        named = [(name, role) for role, name in roles.items() if name is not None]
        columns: dict[str, ArrowColumn] = {
            name: _CONVERT[role](source[name], f"Interactions: column {name!r} ({role})")
            for name, role in [*named, *((name, "context") for name in context)]
        }
        table = joined(columns)
        rows_given = table.num_rows
        gaps = {name: table[name].null_count for name in columns if table[name].null_count}
        if gaps and missing == "error":
            raise ValueError(
                f"Interactions: expected no missing values (null, NaN or empty string); of "
                f"{table.num_rows} rows, the columns lack {gaps}. Pass missing='drop' to leave "
                "these rows out, or fill them in."
            )
        if gaps:
            table = table.drop_null()
            if not table.num_rows:
                raise ValueError(
                    f"Interactions: each of the {rows_given} rows has a missing "
                    f"value in one of the columns {list(columns)}. Fill them in."
                )
        if not table.num_rows:
            raise ValueError(
                f"Interactions: expected at least one row; received a table with the columns "
                f"{list(source)} and no rows."
            )
        rows = cls(table, user, item, label, time, context)
        if duplicates == "error":
            rows.refuse_duplicates()
        return rows.with_tables(users=users, items=items, missing_sides=missing_sides)

    @property
    def roles(self) -> dict[str, str | None]:
        """Return the column of each role except context: user, item, label, time."""
        return {"user": self.user, "item": self.item, "label": self.label, "time": self.time}

    @property
    def columns(self) -> list[str]:
        """Return the names of the columns: user, item, label, time, then context."""
        return [name for name in self.roles.values() if name is not None] + list(self.context)

    def __len__(self) -> int:
        return self.table.num_rows

    def __repr__(self) -> str:
        return (
            f"Interactions({len(self):,} rows, {self.num_users:,} users, {self.num_items:,} items, "
            f"columns {self.columns})"
        )

    @property
    def num_users(self) -> int:
        """Return the number of distinct users."""
        return len(self.distinct(self.user))

    @property
    def num_items(self) -> int:
        """Return the number of distinct items."""
        return len(self.distinct(self.item))

    def column(self, name: str) -> np.ndarray:
        """Return a column as numpy array `(rows,)`: int64, float32, or strings as objects.

        Raises:
            ValueError: if there is no such column.
        """
        return self._values(name).to_numpy()

    def codes(self, name: str) -> np.ndarray:
        """Return a column as codes from 0 by first appearance, `(rows,)` int32.

        Raises:
            ValueError: if there is no such column.
        """
        return distinct_ids(self._values(name))[1]

    def distinct(self, name: str) -> pa.Array:
        """Return the distinct values of a column in the order of their first appearance.

        Row r holds the value at index `codes(name)[r]`.

        Raises:
            ValueError: if there is no such column.
        """
        return distinct_ids(self._values(name))[0]

    def _values(self, name: str) -> pa.ChunkedArray:
        if name not in self.columns:
            raise ValueError(f"Interactions have no column {name!r}; they have {self.columns}.")
        return self.table[name]

    def _role(self, name: str) -> str:
        return next((role for role, column in self.roles.items() if column == name), "context")

    def pairs(self) -> np.ndarray:
        """Return one number for each row's (user, item) pair, `(rows,)` int64."""
        return self.codes(self.user).astype(np.int64) * self.num_items + self.codes(self.item)

    def take(self, indices: Any) -> "Interactions":
        """Return the rows at these positions, in this order.

        Args:
            indices: integer positions, or a boolean mask with one value per row.

        Raises:
            ValueError: if a position is outside the rows, or the mask has another length.
        """
        positions = np.asarray(indices)
        if positions.dtype == bool:
            if positions.shape != (len(self),):
                raise ValueError(
                    f"Interactions.take: expected a mask of shape ({len(self)},); received "
                    f"{positions.shape}."
                )
            positions = np.flatnonzero(positions)
        elif not positions.size:
            positions = np.empty(0, np.int64)
        if positions.dtype.kind not in "iu" or positions.ndim != 1:
            raise ValueError(
                f"Interactions.take: expected integer positions of one dimension; received "
                f"{positions.dtype} of shape {positions.shape}."
            )
        if positions.size and (positions.min() < 0 or positions.max() >= len(self)):
            raise ValueError(
                f"Interactions.take: positions must lie in 0 .. {len(self) - 1}; received "
                f"{positions.min()} .. {positions.max()}."
            )
        return dataclasses.replace(self, table=self.table.take(pa.array(positions)))

    def with_column(self, name: str, values: Any) -> "Interactions":
        """Return a copy with other values in one column, for example a scaled label.

        Args:
            name: one of the columns.
            values: the new values `(rows,)`.

        Raises:
            ValueError: if there is no such column, or the values do not fit its role.
        """
        self._values(name)
        return dataclasses.replace(self, table=self._replaced(name, self._role(name), values))

    def with_time(self, values: Any, name: str = "timestamp") -> "Interactions":
        """Return a copy with a time column, for example row numbers of a sorted file.

        Args:
            values: the times `(rows,)`.
            name: the name of the time column.

        Raises:
            ValueError: if the values are not times, or another role has this name.
        """
        return dataclasses.replace(self, table=self._replaced(name, "time", values), time=name)

    def with_tables(
        self,
        *,
        users: Any = None,
        items: Any = None,
        missing_sides: Literal["error", "unknown"] = "error",
        encoding: str = "utf-8",
        decimal: str | None = None,
    ) -> "Interactions":
        """Return a copy with tables about the users and the items, joined by id.

        `kerasrec.data.prepare` makes features of their columns. They hold one row for each user or
        item, with ids of the type of the interactions, in a column named as there or by a common
        name.

        Args:
            users: a table as `from_table` takes, or the path of a file; None to keep what there is.
            items: likewise.
            missing_sides: policy for users and items of the interactions without a row in their
                table: raise an error, or take their features as unknown.
            encoding: of files that are not UTF-8, see `kerasrec.data.read`.
            decimal: mark of fractions in files, see `kerasrec.data.read`.

        Raises:
            ValueError: if a table has no column of ids, no other column or no rows, ids repeat, are
                missing or have another type, or users or items have no row.

        Example:

        >>> rows = Interactions.from_table({"user_id": [7, 9], "item_id": ["a", "b"]},
        ...     label=None, time=None)
        >>> rows.with_tables(items={"item_id": ["b", "a"], "price": [2.5, 1.0]}).items.to_pylist()
        [{'item_id': 'b', 'price': 2.5}, {'item_id': 'a', 'price': 1.0}]
        """
        ids = {role: (n, self.table[n]) for role, n in (("user", self.user), ("item", self.item))}
        form = FileForm(encoding=encoding, decimal=decimal)
        sources: Any = {"users": users, "items": items, "missing_sides": missing_sides}
        found: Any = side_tables(ids, **sources, form=form)
        return dataclasses.replace(self, **found) if found else self

    def _replaced(self, name: str, role: str, values: Any) -> pa.Table:
        column = _CONVERT[role](values, f"Interactions: column {name!r} ({role})")
        if len(column) != len(self):
            raise ValueError(
                f"Interactions: column {name!r} needs {len(self)} values, one a row; received "
                f"{len(column)}."
            )
        table = self.table.drop_columns([name]) if name in self.table.column_names else self.table
        return table.append_column(name, column)

    def _check_column(self, name: str, column: pa.ChunkedArray) -> None:
        role = self._role(name)
        owner = f"Interactions: column {name!r} ({role})"
        kinds = {
            "label": (pa.float32(),),
            "time": (pa.int64(),),
            "context": (pa.int64(), TEXT_IDS, pa.float32()),
        }.get(role, (pa.int64(), TEXT_IDS))
        if column.type not in kinds:
            raise ValueError(
                f"{owner} must be of type {' or '.join(map(str, kinds))}; received {column.type}. "
                "Interactions.from_table converts other types."
            )
        if column.type in (pa.int64(), TEXT_IDS) and role != "time":
            check_ids(column, owner)
            return
        if column.null_count:
            raise ValueError(
                f"{owner}: {column.null_count} of {len(column)} values are missing (null or NaN). "
                "Drop these rows (missing='drop' in from_table) or fill them in."
            )
        if column.type == pa.float32() and not pc.all(pc.is_finite(column), min_count=0).as_py():
            bad = pc.index(pc.is_finite(column), False).as_py()
            raise ValueError(
                f"{owner}: values must be finite float32 numbers; received {column[bad].as_py()} "
                f"in row {bad + 1}. Remove or correct these rows."
            )

    def refuse_duplicates(self) -> None:
        """Check that every (user, item) pair occurs once.

        Raises:
            ValueError: if one occurs more often.
        """
        pairs = self.pairs()
        order = np.argsort(pairs, kind="stable")
        repeats = np.flatnonzero(np.diff(pairs[order]) == 0)
        if repeats.size:
            row = int(order[repeats + 1].min())
            user, item = (self.table[name][row].as_py() for name in (self.user, self.item))
            raise ValueError(
                f"Interactions: every (user, item) pair must occur once; {repeats.size} of "
                f"{len(self)} rows repeat an earlier pair, first ({user!r}, {item!r}) in row "
                f"{row + 1}. Pass duplicates='keep' if repeats are meant, or then apply "
                "kerasrec.data.deduplicate(interactions, policy='last') or 'mean'."
            )


def _check_roles(roles: Mapping[str, str | None], context: Sequence[str]) -> tuple[str, ...]:
    if isinstance(context, str):
        raise ValueError(
            f"Interactions: context takes a sequence of column names; received the string "
            f"{context!r}. Write context=({context!r},)."
        )
    context = tuple(context)
    names: list[Any] = [
        *context,
        *(name for role, name in roles.items() if name is not None or role in ("user", "item")),
    ]
    for name in names:
        if not isinstance(name, str) or not name:
            raise ValueError(f"Interactions: a role takes a column name; received {name!r}.")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(
            f"Interactions: every role needs a column of its own; received {repeated} twice."
        )
    return context


def check_columns(
    available: list[str], roles: Mapping[str, str | None], context: Sequence[str] = ()
) -> None:
    """Check that the column of each role exists."""
    wanted = [(role, name) for role, name in roles.items() if name is not None]
    for role, name in wanted + [("context", name) for name in context]:
        count = available.count(name)
        if count == 1:
            continue
        fix = f"Pass {role}= with the name of the right column"
        if role in ("label", "time"):
            fix += f", or {role}=None if there is none"
        hint = "" if count else nearest(name, available)
        raise ValueError(
            f"Interactions: expected one column {name!r} ({role}); received "
            f"{count or 'none'} among {available}. {fix}.{hint}"
        )


_CONVERT = {"user": to_ids, "item": to_ids, "label": to_float32, "time": to_time}
_CONVERT["context"] = to_context
