"""Examples: an Arrow table of feature columns and labels, without users and items."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kerasrec._checks import check_choice, check_name
from kerasrec.data.examples.classes import Classes, label_column
from kerasrec.data.examples.joining import with_tables
from kerasrec.data.tables.aliases import nearest
from kerasrec.data.tables.arrow import columns_of, joined, to_arrow, to_float32, to_time

OWNER = "Examples"


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """Immutable rows of feature columns and a label. Create them with `from_table`.

    Feature columns hold numbers, text, truth values, dates, or lists of these, and may have gaps.
    `kerasrec.data.prepare_examples` finds out what they are.

    Args:
        table: labels, features, time and group.
        label: name of the label column, finite float32 numbers.
        features: names of the feature columns.
        time: name of the int64 column that orders the rows; None where there is none.
        group: name of the column of which a split by group keeps equal values together; None where
            there is none.
        kinds: kinds of features by column, as far as the file declares them.
        classes: names of the classes of the label, whose positions are then the labels; none where
            labels are numbers.
        other_labels: names of further label columns, of the same form. They are no features; models
            of one label learn `label`.
        tables: tables that were joined, by the column of their keys, so that exports can store
            them.

    Example:

    >>> rows = Examples.from_table({"age": [20.5, 31.0], "city": ["Rome", None], "click": [0, 1]},
    ...     label="click")
    >>> len(rows), rows.features, rows.labels.tolist()
    (2, ('age', 'city'), [0.0, 1.0])
    """

    table: pa.Table
    label: str
    features: tuple[str, ...]
    time: str | None = None
    group: str | None = None
    kinds: Mapping[str, str] = dataclasses.field(default_factory=dict)
    classes: tuple[str, ...] = ()
    other_labels: tuple[str, ...] = ()
    tables: Mapping[str, pa.Table] = dataclasses.field(default_factory=dict)

    @classmethod
    def from_table(
        cls,
        data: Any,
        *,
        label: str | Sequence[str] = "label",
        features: Sequence[str] | None = None,
        time: str | None = None,
        group: str | None = None,
        missing: Literal["error", "drop"] = "error",
        kinds: Mapping[str, str] | None = None,
        classes: Classes = False,
        tables: Mapping[str, Any] | None = None,
    ) -> "Examples":
        """Create from any table: Arrow, pandas, polars, DuckDB, or a dict of arrays.

        Args:
            data: an object of the Arrow C stream protocol, or a dict of columns.
            label: name of the label column, or of several, the first of which is learned by models
                of one label.
            features: names of the feature columns; None for all others but time and group.
            time: column that orders the rows, no feature; None where there is none.
            group: column whose equal values stay together in a split by group, no feature unless
                it is among `features`.
            missing: policy for rows without a label, time or group: raise an error, or drop them.
            kinds: kinds of features by column, if they are known.
            classes: whether the labels, text or whole numbers, name classes; None for text and a
                few whole numbers. Or the names of the classes of other rows.
            tables: tables whose columns become columns of the rows, or the paths of their files, by
                the name of the column that holds their keys: `{"item_id": "vectors.parquet"}`. The
                table has a column of that name too, with each key once. Rows of other keys lack
                its values. A name that is taken gets that of the key in front.

        Raises:
            ValueError: if there are no rows, a column is missing or named twice, a label is no
                finite number, or a table does not fit.
        """
        check_choice(OWNER, "missing", missing, ("error", "drop"))
        source = columns_of(data, OWNER)
        kept: dict[str, pa.Table] = {}
        if tables is not None:
            source, kept = with_tables(source, tables, OWNER)
        labels = label_names(OWNER, label)
        chosen = _features_of(list(source), labels, features, time, group)
        columns: dict[str, Any] = {}
        what = f"{OWNER}: column {labels[0]!r} (label)"
        columns[labels[0]], names = label_column(source[labels[0]], what, classes)
        for name in labels[1:]:
            columns[name] = to_float32(source[name], f"{OWNER}: column {name!r} (label)")
        if time is not None:
            columns[time] = to_time(source[time], f"{OWNER}: column {time!r} (time)")
        for name in (*chosen, *([group] if group is not None else [])):
            columns[name] = to_arrow(source[name], f"{OWNER}: column {name!r}")
        table = joined(columns, OWNER)
        if not table.num_rows:
            raise ValueError(
                f"{OWNER}: expected at least one row; received none with the columns "
                f"{list(source)}."
            )
        roles = [name for name in (*labels, time, group) if name is not None]
        gaps = {name: table[name].null_count for name in roles if table[name].null_count}
        if gaps and missing == "error":
            raise ValueError(
                f"{OWNER}: expected a value in every row of {roles}; of {table.num_rows} rows, the "
                f"columns lack {gaps}. Pass missing='drop' to leave these rows out."
            )
        for name in gaps:
            table = table.filter(pc.is_valid(table[name]))
        if not table.num_rows:
            raise ValueError(f"{OWNER}: no row has a value in all of {roles}. Fill them in.")
        for name in labels:
            finite = pc.is_finite(table[name])
            if not pc.all(finite).as_py():
                bad = pc.index(finite, False).as_py()
                raise ValueError(
                    f"{OWNER}: column {name!r} (label): expected finite numbers; received "
                    f"{table[name][bad].as_py()} in row {bad + 1}. Remove or correct these rows."
                )
        known = {name: kind for name, kind in (kinds or {}).items() if name in chosen}
        first, *others = labels
        found = table.combine_chunks()
        return cls(found, first, chosen, time, group, known, names, tuple(others), kept)

    def __len__(self) -> int:
        return self.table.num_rows

    def __repr__(self) -> str:
        return f"Examples({len(self):,} rows, label {self.label!r}, features {self.features})"

    @property
    def labels(self) -> np.ndarray:
        """Return the labels, float32 `(rows,)`."""
        return np.asarray(self.table[self.label].to_numpy())

    @property
    def times(self) -> np.ndarray | None:
        """Return the times, int64 `(rows,)`; None where there are none."""
        return None if self.time is None else np.asarray(self.table[self.time].to_numpy())

    def take(self, indices: Any) -> "Examples":
        """Return the rows at these positions, in this order.

        Args:
            indices: integer positions, or a boolean mask with one value per row.
        """
        positions = np.asarray(indices)
        if positions.dtype == bool:
            positions = np.flatnonzero(positions)
        return dataclasses.replace(
            self, table=self.table.take(pa.array(positions.astype(np.int64)))
        )


def label_names(owner: str, label: str | Sequence[str]) -> tuple[str, ...]:
    """Return the names of one label or of several.

    Raises:
        ValueError: if there is none.

    Example:

    >>> label_names("read", "click"), label_names("read", ["click", "buy"])
    (('click',), ('click', 'buy'))
    """
    names = (label,) if isinstance(label, str) else tuple(label or ())
    if not names:
        raise ValueError(
            f"{owner}: label needs the name of at least one column; received {label!r}. Name the "
            "column to learn."
        )
    return names


def _features_of(
    available: list[str],
    labels: Sequence[str],
    features: Sequence[str] | None,
    time: str | None,
    group: str | None,
) -> tuple[str, ...]:
    """Return the names of the feature columns, after checking all names."""
    if isinstance(features, str):
        raise ValueError(
            f"{OWNER}: features takes several column names; received the string {features!r}. "
            f"Write features=({features!r},)."
        )
    if isinstance(features, Mapping):
        raise ValueError(
            f"{OWNER}: features takes names of columns; received kinds too, {dict(features)}. Give "
            "them to prepare_examples(rows, features=...), which reads them."
        )
    roles = [*(("label", name) for name in labels), ("time", time), ("group", group)]
    given = [(role, name) for role, name in roles if name is not None]
    for role, name in given:
        check_name(f"{OWNER}: {role}", name)
    for role, name in [*given, *(("features", name) for name in features or ())]:
        if name not in available:
            raise ValueError(
                f"{OWNER}: expected a column {name!r} ({role}); received {available}. Pass {role}= "
                f"with the name of the right column.{nearest(str(name), available)}"
            )
    taken = [name for _, name in given]
    chosen = tuple(n for n in available if n not in taken) if features is None else tuple(features)
    fixed = [*labels, *([time] if time is not None else [])]
    repeated = sorted({n for n in (*fixed, *chosen) if (*fixed, *chosen).count(n) > 1})
    if repeated or group in fixed:
        raise ValueError(
            f"{OWNER}: every column has one role; received {repeated or [group]} twice. Name "
            "another column, or leave it out of features=."
        )
    if not chosen:
        raise ValueError(
            f"{OWNER}: expected at least one feature column beside the label {labels[0]!r}; "
            f"received {available}."
        )
    return chosen
