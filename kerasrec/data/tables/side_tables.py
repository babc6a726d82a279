"""Side tables: one row for each user or item, the kinds of their columns, and sides of others."""

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kerasrec._checks import check_choice
from kerasrec.data.tables.aliases import find_roles
from kerasrec.data.tables.arrow import (
    ArrowColumn,
    check_ids,
    columns_of,
    distinct_ids,
    is_text,
    joined,
    to_arrow,
    to_ids,
)
from kerasrec.data.tables.table_file import FileForm, TableFile

SEPARATOR = "|"
MAX_CODES = 32  # distinct integers that are taken for categories rather than for amounts
ROWS_A_VALUE = 2  # many texts with fewer rows each are names of single rows
EXACT = 2**53  # not all integers from here on are floats: they are names, and no amounts
# Probability below which a constant value per group is not attributed to chance.
_LUCK = 1e-6
_NUMBER = r"^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*$"
_DAY = 86_400_000_000  # microseconds

MissingSides = Literal["error", "unknown"]
FeatureKind = Literal["categorical", "bag", "numeric", "vector", "weights"]


def side_tables(
    ids: Mapping[str, tuple[str, ArrowColumn]],
    *,
    users: Any = None,
    items: Any = None,
    missing_sides: MissingSides = "error",
    form: FileForm,
) -> dict[str, pa.Table]:
    """Read and check tables about users and items.

    Args:
        ids: name of the column and raw ids of the interactions, of `"user"` and `"item"`.
        users: table of the users, or the path of its file; None for none.
        items: table of the items, likewise.
        missing_sides: policy for users and items without a row in their table: raise an error, or
            take their features as unknown.
        form: encoding of files that are not UTF-8, and their mark of fractions.

    Returns:
        The tables by name, `"users"` and `"items"`, with ids as in the interactions.

    Raises:
        ValueError: if a table has no column of ids, no other column or no rows, ids repeat, are
            missing or have another type than in the interactions, or some have no row.
    """
    check_choice("Interactions", "missing_sides", missing_sides, ("error", "unknown"))
    return {
        f"{role}s": _checked(role, *ids[role], source, missing_sides, form)
        for role, source in (("user", users), ("item", items))
        if source is not None
    }


def _checked(
    role: str, own: str, known: ArrowColumn, source: Any, missing_sides: str, form: FileForm
) -> pa.Table:
    owner = f"{role}s"
    if isinstance(source, str | os.PathLike):
        owner += f": {source}"
        try:
            table, name = _read(role, own, known, source, replace(form, encoding="utf-8"))
        except ValueError:
            table, name = _read(role, own, known, source, form)
    else:
        raw = columns_of(source)
        name = _id_column(list(raw), own, role, owner)
        table = joined({key: to_arrow(value, f"column {key!r}") for key, value in raw.items()})
    if table.num_columns < 2 or not table.num_rows:
        raise ValueError(
            f"{owner}: expected a table of at least one {role} with a column besides {name!r}; "
            f"received the columns {table.column_names} and {table.num_rows} rows. Leave "
            f"{role}s= out if there is nothing to tell about them."
        )
    what = f"{owner}: column {name!r}"
    ids = to_ids(table[name], what)
    check_ids(ids, what)
    _check_ids_fit(role, known, ids, what, missing_sides)
    ids = ids.cast(pa.large_string()) if pa.types.is_dictionary(ids.type) else ids
    return pa.table({own: ids} | {n: table[n] for n in table.column_names if n != name})


def _read(role: str, own: str, known: ArrowColumn, path: Any, form: FileForm) -> tuple[Any, str]:
    """Read a file, with the ids typed as in the interactions."""
    ids: Any = "integer" if pa.types.is_integer(known.type) else "string"
    file = TableFile.open(path, replace(form, id_type=ids))
    name = _id_column(list(file.names), own, role, f"{role}s: {path}")
    raw = file.read()
    kinds = {name: role}
    columns = {n: file.typed(raw[n], kinds.get(n, "any"), n) for n in raw.column_names}
    return pa.table(columns), name


def _id_column(names: list[str], own: str, role: str, owner: str) -> str:
    """Return the column of ids: named as in the interactions, or by a common name."""
    default = f"{role}_id"
    found = own if own in names else find_roles(names, {role: default})[role]
    if found not in names:
        raise ValueError(
            f"{owner}: expected a column {own!r} with the ids of the {role}s, as in the "
            f"interactions; received {names}. Rename the column of ids."
        )
    return str(found)


def _check_ids_fit(
    role: str, known: ArrowColumn, ids: ArrowColumn, what: str, missing_sides: str
) -> None:
    """Check that ids have the type of the interactions, occur once and cover all of them."""
    kinds = ["text" if pa.types.is_dictionary(c.type) else "integers" for c in (known, ids)]
    if kinds[0] != kinds[1]:
        raise ValueError(
            f"{what} holds {kinds[1]}, such as {ids[0].as_py()!r}; the interactions hold "
            f"{kinds[0]}, such as {known[0].as_py()!r}. Cast one of the two."
        )
    distinct, positions = distinct_ids(ids)
    counts = np.bincount(positions, minlength=len(distinct))
    if len(distinct) < len(ids):
        first = distinct[int(np.argmax(counts > 1))].as_py()
        raise ValueError(
            f"{what}: every {role} must have one row; {np.count_nonzero(counts > 1)} of "
            f"{len(distinct)} have several, such as {first!r}. Join their rows to one, with "
            f"several values in one cell separated by {SEPARATOR!r}."
        )
    wanted, _ = distinct_ids(known)
    left = wanted.filter(pc.invert(pc.is_in(wanted, value_set=distinct)))
    if len(left) and missing_sides == "error":
        raise ValueError(
            f"{what}: {len(left):,} of the {len(wanted):,} {role}s of the interactions have no row "
            f"there, such as {left[:3].to_pylist()}. Add their rows, or pass "
            "missing_sides='unknown' to take their features as unknown."
        )


class ColumnKind(NamedTuple):
    """Kind of feature that a column is taken for.

    Attributes:
        kind: "categorical", "bag", "numeric" or "vector"; None for a column that is left out.
        because: what the column holds, in a few words.
        values: the values in the form that this kind is encoded from: text or integers, lists of
            these, numbers, or lists of numbers of one length.
    """

    kind: FeatureKind | None
    because: str
    values: ArrowColumn


def kind_of_column(name: str, column: ArrowColumn) -> ColumnKind:
    """Infer the kind of feature that a column of a side table holds.

    | values | kind |
    |---|---|
    | numbers with fractions, dates, more than 32 distinct integers | numeric |
    | truth values, other integers, and those named as ids or codes | categorical |
    | text that repeats | categorical |
    | text separated by "|", lists of text or integers | bag |
    | lists of numbers with fractions, all of one length | vector |

    Columns of one value, of no value, of text that hardly repeats (titles, addresses), and of other
    types are left out.

    Example:

    >>> kind_of_column("age", pa.array([20.5, 30.0, None]))[:2]
    ('numeric', '2 numbers from 20.5 to 30')
    >>> kind_of_column("genres", pa.array(["Drama|War", "Drama", "War"]))[:2]
    ('bag', '2 values, up to 2 in a row')
    >>> kind_of_column("title", pa.array(["Heat", "Alien", "Up"]))[:2]
    (None, 'almost all values differ')
    """
    values = _plain(column, name)
    known = values.drop_null()
    if not len(known):
        return ColumnKind(None, "no row has a value", values)
    if pa.types.is_nested(values.type):
        return _kind_of_lists(values)
    if not (is_text(values.type) or pa.types.is_primitive(values.type)):
        return ColumnKind(None, f"values of type {values.type}", values)
    distinct = pc.count_distinct(known).as_py()
    if distinct == 1:
        return ColumnKind(None, f"all values are {known[0].as_py()!r}", values)
    if is_text(values.type):
        if pc.any(pc.match_substring(known, SEPARATOR)).as_py():
            return _kind_of_lists(_separated(values))
        return _categories(values, len(known), distinct)
    low, high = (getattr(pc, end)(known).as_py() for end in ("min", "max"))
    if pa.types.is_integer(values.type) and low >= 0:
        named = pa.types.is_boolean(column.type) or name.lower().endswith(("id", "code", "zip"))
        if named or (distinct <= MAX_CODES and len(known) >= ROWS_A_VALUE * distinct):
            return ColumnKind("categorical", f"{distinct} values", values)
    if pa.types.is_integer(values.type) and max(-low, high) >= EXACT:
        return _categories(values, len(known), distinct)
    numbers = values.cast(pa.float64(), safe=False)
    if not np.isfinite([low, high]).all():
        raise ValueError(
            f"column {name!r}: expected finite numbers; received {low} to {high}. Correct or empty "
            "these cells."
        )
    return ColumnKind("numeric", f"{distinct} numbers from {low:g} to {high:g}", numbers)


def _categories(values: ArrowColumn, count: int, distinct: int) -> ColumnKind:
    if are_names(count, distinct):
        return ColumnKind(None, "almost all values differ", values)
    return ColumnKind("categorical", f"{distinct} values", values)


def are_names(count: int, distinct: int) -> bool:
    """Return whether texts repeat too little to tell anything about other rows.

    Args:
        count: number of rows that have one.
        distinct: number of distinct texts.

    Example:

    >>> are_names(100, 60), are_names(100, 40), are_names(3, 2)
    (True, False, False)
    """
    return distinct == count or (distinct > MAX_CODES and count < ROWS_A_VALUE * distinct)


def note(side: str, name: str, found: ColumnKind, word: str | None = None) -> str:
    """Return a line about a column: what it is taken for, or why it is left out.

    Args:
        side: "user" or "item".
        name: name of the column.
        found: what it holds.
        word: word for its kind; None for the kind itself.

    >>> note("item", "price", ColumnKind("numeric", "3 numbers from 1 to 9", None))
    "item 'price' is numeric: 3 numbers from 1 to 9"
    """
    return f"{side} {name!r} is {word or found.kind or 'left out'}: {found.because}"


def audit_side_tables(
    rows: Any, users: Any = None, items: Any = None, **form: Any
) -> tuple[list[str], list[str]]:
    """Return a line for each column of the tables, and what is wrong with the tables.

    Args:
        rows: interactions; their own tables are looked at where none is given.
        users: table of the users, or its file.
        items: table of the items, or its file.
        **form: how files are read, see `Interactions.with_tables`.
    """
    lines, problems = [], []
    for side, source in (("user", users), ("item", items)):
        table = getattr(rows, f"{side}s")
        try:
            if source is not None:
                table = getattr(rows.with_tables(**{f"{side}s": source}, **form), f"{side}s")
        except ValueError as error:
            problems.append(str(error))
            try:
                other: Any = {f"{side}s": source, "missing_sides": "unknown", **form}
                table = getattr(rows.with_tables(**other), f"{side}s")
            except ValueError:
                continue
        own = rows.user if side == "user" else rows.item
        for name in table.column_names if table is not None else ():
            if name != own:
                lines.append(note(side, name, kind_of_column(name, table[name])))
    return lines, problems


def as_kind(name: str, column: ArrowColumn, kind: FeatureKind) -> ColumnKind:
    """Return the values of a column in the form of a kind that was asked for.

    Args:
        name: name of the column.
        column: its values.
        kind: "categorical", "bag", "numeric", "vector", or "weights" for the numbers of the ids of
            a bag.

    Raises:
        ValueError: if the values cannot be taken for this kind.
    """
    found = kind_of_column(name, column)
    if found.kind == kind:
        return found
    values = _plain(column, name)
    text, lists = is_text(values.type), _is_list(values.type)
    made: ArrowColumn = None
    if kind == "categorical" and (text or pa.types.is_integer(values.type)):
        made = values
    elif kind == "numeric" and not lists and not text:
        made = values.cast(pa.float64(), safe=False)
    elif kind in ("bag", "vector") and (text or lists):
        made = _separated(values) if text else values
        if kind == "bag" and is_text(made.type.value_type):
            made = _with_values(made, _plain(made.flatten(), name))  # "drama|" holds one value
        if pa.types.is_floating(made.type.value_type) != (kind == "vector"):
            made = None
    elif kind == "weights":
        made = _numbers_of(values, lists)
    if made is None or (
        kind == "vector" and pc.count_distinct(pc.list_value_length(made)).as_py() != 1
    ):
        raise ValueError(
            f"column {name!r} cannot be read as {kind}: {found.because}, of type {values.type}. "
            "Choose another kind, or convert the column."
        )
    return ColumnKind(kind, found.because, made)


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _plain(column: ArrowColumn, name: str) -> ArrowColumn:
    """Return values of few types: text, integers, floats, or lists of these."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    column = to_arrow(column, f"column {name!r}")
    kind = column.type
    if pa.types.is_boolean(kind) or pa.types.is_unsigned_integer(kind):
        if kind == pa.uint64() and (pc.max(column).as_py() or 0) >= 2**63:
            raise ValueError(
                f"column {name!r}: expected integers below 2^63; received more. Write them as text."
            )
        return column.cast(pa.int64())
    if is_text(kind):
        text = column.cast(pa.large_string())
        return pc.if_else(pc.equal(pc.utf8_trim_whitespace(text), ""), None, text)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        options = pc.CastOptions(pa.timestamp("us"), allow_time_truncate=True)
        micros = pc.cast(column, options=options).cast(pa.int64())
        return pc.divide(micros.cast(pa.float64()), float(_DAY))  # days since 1970
    if pa.types.is_decimal(kind):
        return column.cast(pa.float64())
    if pa.types.is_floating(kind):
        # pandas stores integers with gaps as floats.
        whole = pc.all(pc.equal(pc.floor(column), column), min_count=0).as_py()
        big = pc.max(pc.abs(column)).as_py()
        return column.cast(pa.int64()) if whole and big is not None and big < EXACT else column
    if pa.types.is_fixed_size_list(kind):
        return column.cast(pa.list_(kind.value_type))
    return column


def _separated(text: ArrowColumn) -> ArrowColumn:
    """Split text into lists, of numbers where all parts are numbers with fractions."""
    lists = pc.split_pattern(text, SEPARATOR)
    parts = lists.flatten()
    numbers = pc.all(pc.match_substring_regex(parts, _NUMBER), min_count=0).as_py()
    if numbers and pc.any(pc.match_substring_regex(parts, r"[.eE]")).as_py():
        return _with_values(lists, pc.utf8_trim_whitespace(parts).cast(pa.float64()))
    return _with_values(lists, pc.utf8_trim_whitespace(parts))


def _numbers_of(values: ArrowColumn, in_lists: bool) -> ArrowColumn:
    """Return lists of floats, None if the values are no numbers. A number is a list of one."""
    try:
        lists = values if in_lists else _separated(values.cast(pa.large_string()))
        return _with_values(lists, lists.flatten().cast(pa.float64()))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None


def _with_values(lists: ArrowColumn, values: ArrowColumn) -> ArrowColumn:
    sizes = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    mask = lists.is_null() if lists.null_count else None
    return pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), values, mask=mask)


def _kind_of_lists(lists: ArrowColumn) -> ColumnKind:
    if not _is_list(lists.type):
        return ColumnKind(None, f"values of type {lists.type}", lists)
    lengths = pc.list_value_length(lists)
    longest = pc.max(lengths).as_py()
    values = lists.flatten()
    if not pa.types.is_floating(values.type):
        values = _plain(values, "values of lists")
    known = values.drop_null()
    if not len(known):
        return ColumnKind(None, "no row has a value", lists)
    lists = _with_values(lists, values)
    if pa.types.is_floating(lists.flatten().type):
        if pc.count_distinct(lengths).as_py() > 1:
            return ColumnKind(None, f"lists of {pc.min(lengths)} to {longest} numbers", lists)
        return ColumnKind("vector", f"vectors of {longest} numbers", lists)
    if not (is_text(values.type) or pa.types.is_integer(values.type)):
        return ColumnKind(None, f"lists of {values.type}", lists)
    distinct = pc.count_distinct(known).as_py()
    if are_names(len(known), distinct):
        return ColumnKind(None, "almost all values differ", lists)
    return ColumnKind("bag", f"{distinct} values, up to {longest} in a row", lists)


def side_of(
    column: np.ndarray, users: np.ndarray, items: np.ndarray
) -> Literal["user", "item", "context"]:
    """Find what a column describes, by the groups within which it is constant.

    A column that is constant within users is known before an item is chosen. So it is the user's
    even if it is constant within items as well. One that is constant within items only reveals the
    item.

    Example:

    >>> rows = np.arange(40)
    >>> side_of(rows % 10 // 2, users=rows // 10, items=rows % 10)
    'item'
    """
    if _is_constant_within(column, users):
        return "user"
    return "item" if _is_constant_within(column, items) else "context"


def _is_constant_within(column: np.ndarray, groups: np.ndarray) -> bool:
    """Return whether all rows of each group share a value, beyond chance."""
    order = np.argsort(groups, kind="stable")
    group, value = groups[order], column[order]
    same_group = group[1:] == group[:-1]
    if (same_group & (value[1:] != value[:-1])).any():
        return False
    # Independent values with the shares p agree in a group of m rows with probability sum(p ** m).
    counts = np.bincount(value)
    most = counts.max()
    relative = counts[counts > 0] / most  # relative to the largest, so that powers do not vanish
    sizes, groups_of_size = np.unique(np.bincount(group), return_counts=True)
    luck = sum(
        number * (size * np.log(most / len(value)) + np.log((relative**size).sum()))
        for size, number in zip(sizes, groups_of_size, strict=True)
        if size > 1
    )
    return bool(luck < np.log(_LUCK))
