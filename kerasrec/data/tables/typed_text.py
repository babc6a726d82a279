"""Conversion of text columns to ids, numbers and times."""

from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from kerasrec._checks import check_choice
from kerasrec.data.tables.arrow import ArrowColumn, is_text, to_arrow

IdType = Literal["auto", "string", "integer"]
ID_TYPES = ("auto", "string", "integer")

_INTEGER = r"^(0|-?[1-9]\d*)$"
_WHOLE_FLOAT = r"^(0|-?[1-9]\d*)\.0+$"
_DECIMAL_COMMA = r"^[-+]?\d*(,\d+)?$"
_THOUSANDS = r"^[-+]?\d{1,3}(,\d{3})+$"


def typed(
    column: ArrowColumn,
    kind: str,
    name: str,
    *,
    id_type: IdType = "auto",
    decimal: str | None = None,
) -> ArrowColumn:
    """Convert a column to the type of its role (or of a RecBole header).

    The kind is "user", "item", "token", "label", "float", "time" or "any".
    """
    if kind in ("user", "item", "token"):
        return to_id_type(column, name, id_type)
    if not pa.types.is_string(column.type):
        return column
    if kind in ("label", "float"):
        return _text_to_floats(column, name, decimal)
    if kind == "time":
        return _text_to_times(column, name, decimal)
    if kind != "any":
        raise ValueError(
            f"{name}: expected one value a row (token or float); received the type {kind}. Leave "
            "this column out of context."
        )
    ids = to_id_type(column, name, "auto", floats=False)
    coded = pc.match_substring_regex(column, r"^-?0\d")  # 02139 is a name, not a number
    if not pa.types.is_string(ids.type) or pc.any(coded).as_py():
        return ids
    try:
        return _with_points(column, decimal, name).cast(pa.float64())
    except pa.ArrowInvalid:
        return ids
    except ValueError:  # points where numbers have commas, which text and dates may hold
        if _all(pc.match_substring_regex(column, r"^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*$")):
            raise
        return ids


def to_id_type(
    column: ArrowColumn, name: str, id_type: IdType = "auto", *, floats: bool = True
) -> ArrowColumn:
    """Convert ids to the declared type.

    "string" keeps text and formats integers. "integer" accepts values written as integers or whole
    floats. "auto" converts text to integers if each value is written as one, or with `floats` each
    as a whole float ("7.0"), and keeps other types. Distinct values never become one id.

    Example:

    >>> to_id_type(pa.array(["007", "7"]), "user_id").to_pylist()
    ['007', '7']
    >>> to_id_type(pa.array(["7", "8"]), "user_id", "string").to_pylist()
    ['7', '8']
    """
    check_choice("read", "id_type", id_type, ID_TYPES)
    if not is_text(column.type):
        if id_type == "string" and pa.types.is_integer(column.type):
            return column.cast(pa.string())
        if id_type == "string" and not pa.types.is_dictionary(column.type):
            raise ValueError(
                f"{name}: id_type='string' takes text and integers; received the type "
                f"{column.type}. Write the ids as text."
            )
        if not pa.types.is_dictionary(column.type):
            return column
        return to_id_type(to_arrow(column, name), name, id_type, floats=floats)
    if id_type == "string":
        return column
    known = pc.if_else(pc.equal(pc.binary_length(column), 0), pa.scalar(None, column.type), column)
    integers = pc.match_substring_regex(known, _INTEGER)
    if _all(integers):
        return _to_integers(known, name)
    whole = pc.match_substring_regex(known, _WHOLE_FLOAT)
    if id_type == "integer" or floats:
        points = pc.replace_substring_regex(known, r"\.0+$", "")
        if id_type == "integer" and _all(pc.or_(integers, whole)) or _all(whole):
            return _to_integers(points, name)
        if id_type == "auto" and _all(pc.or_(integers, whole)):
            raise ValueError(
                f"{name}: some ids are written as integers and some as floats, such as "
                f"{_first(known, whole)!r}. Pass id_type='integer' if 7 and 7.0 are one id, or "
                "id_type='string' if they are two."
            )
    if id_type == "integer":
        row = pc.index(pc.fill_null(pc.or_(integers, whole), True), False).as_py()
        raise ValueError(
            f"{name}: id_type='integer' takes integers without leading zeros; received "
            f"{column[row].as_py()!r} in row {row + 1}. Pass id_type='string' to keep the ids as "
            "they are written."
        )
    return column


def _to_integers(column: ArrowColumn, name: str) -> ArrowColumn:
    if column.null_count == len(column):
        return column
    try:
        return column.cast(pa.int64())
    except pa.ArrowInvalid as error:
        raise ValueError(
            f"{name}: integer ids must lie in 0 .. 2**63 - 1; received a larger one ({error}). "
            "Pass id_type='string' to keep such ids as text."
        ) from error


def _all(mask: ArrowColumn) -> bool:
    return bool(pc.all(mask, min_count=0).as_py())


def _first(column: ArrowColumn, mask: ArrowColumn) -> str:
    return str(column[pc.index(mask, True).as_py()].as_py())


def _with_points(column: ArrowColumn, decimal: str | None, name: str) -> ArrowColumn:
    """Return text with a point as decimal mark.

    Without a declared mark, a comma counts as one if no number has a point and the commas cannot
    all be thousands separators.
    """
    if decimal == ".":
        return column
    if decimal is None:
        commas = pc.match_substring(column, ",")
        if not pc.any(commas).as_py() or not _all(pc.match_substring_regex(column, _DECIMAL_COMMA)):
            return column
        if _all(pc.match_substring_regex(column.filter(commas), _THOUSANDS)):
            return column
        return pc.replace_substring(column, ",", ".")
    points = pc.match_substring(column, ".")
    if pc.any(points).as_py():
        raise ValueError(
            f"{name}: decimal={decimal!r}: received {_first(column, points)!r}, which has a point. "
            "Write all numbers in one form."
        )
    return pc.replace_substring(column, decimal, ".")


def _text_to_floats(column: ArrowColumn, name: str, decimal: str | None) -> ArrowColumn:
    if _all(pc.match_substring_regex(column, "(?i)^(true|false)$")):
        return pc.equal(pc.utf8_lower(column), "true").cast(pa.float64())
    numbers = _with_points(column, decimal, name)
    try:
        return numbers.cast(pa.float64())
    except pa.ArrowInvalid as error:
        value = str(error).partition("'")[2].rpartition("'")[0]
        row = pc.index(numbers, value).as_py()
        fix = "Correct or remove such rows."
        if value.count(",") == 1 and value.replace(",", "").lstrip("+-").isdigit():
            fix = "If the comma is the mark of fractions, pass decimal=','."
        raise ValueError(
            f"{name}: expected numbers; received {column[row].as_py()!r} in row {row + 1}. {fix}"
        ) from error


def _text_to_times(column: ArrowColumn, name: str, decimal: str | None) -> ArrowColumn:
    numbers = _with_points(column, decimal, name)
    for values, kind in (
        (numbers, pa.int64()),
        (numbers, pa.float64()),
        (column, pa.timestamp("us")),
        (column, pa.timestamp("us", "UTC")),
    ):
        try:
            return values.cast(kind)
        except pa.ArrowInvalid:
            continue
    raise ValueError(
        f"{name}: expected times as numbers or in ISO 8601 (2024-05-31 12:00:00); received such as "
        f"{column.drop_null()[0].as_py()!r}, or several forms. Write all times in one form."
    )
