"""Conversion of columns to the Arrow types of interactions and vocabularies."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# From here on, neighbouring integers share a float.
MAX_WHOLE = 2.0**53
MICROSECONDS = 1_000_000

# Text ids are dictionary-encoded, so that each distinct text is stored once.
# Offsets have 64 bits, because 60 million UUIDs exceed 32-bit offsets.
TEXT_IDS = pa.dictionary(pa.int32(), pa.large_string())

_TEXT = {pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary()}

ArrowColumn: TypeAlias = Any  # pa.Array | pa.ChunkedArray: Arrow carries no types for mypy


def to_arrow(values: Any, name: str) -> ArrowColumn:
    """Convert one column to an Arrow array, with dictionaries decoded and NaN as missing."""
    values = _as_arrow(values, name)
    try:
        if pa.types.is_dictionary(values.type):
            values = values.cast(values.type.value_type)
        if pa.types.is_string_view(values.type):
            # polars uses this type, for which Arrow has fewer functions.
            values = values.cast(pa.large_string())
        if pa.types.is_floating(values.type):
            values = pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
    except pa.ArrowException as error:
        raise _not_one_type(values, name, error) from error
    return values


def _as_arrow(values: Any, name: str) -> ArrowColumn:
    try:
        if isinstance(values, pa.Array | pa.ChunkedArray):
            return values
        if hasattr(values, "__arrow_c_stream__"):
            return pa.chunked_array(values)
        return pa.array(values, from_pandas=True)
    except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
        raise _not_one_type(values, name, error) from error


def _not_one_type(values: Any, name: str, error: Exception) -> ValueError:
    return ValueError(
        f"{name}: expected one column of values of one type; received {type(values).__name__}, "
        f"which Arrow rejects: {error}. Convert every value to a string, or every value to an "
        "integer below 2**63."
    )


def to_ids(values: Any, name: str) -> ArrowColumn:
    """Convert raw ids to int64 or `TEXT_IDS`. Empty strings and null stay missing.

    Bytes are read as UTF-8, whole floats as integers.
    """
    column = _as_arrow(values, name)
    kind = column.type
    if pa.types.is_dictionary(kind) and is_text(kind.value_type):
        return _text_ids(column, name)
    column = to_arrow(column, name)
    kind = column.type
    if pa.types.is_integer(kind):
        try:
            return column.cast(pa.int64())
        except pa.ArrowInvalid as error:
            raise ValueError(
                f"{name}: integer ids must lie in 0 .. 2**63 - 1; received "
                f"{pc.max(column).as_py()}. Pass such ids as strings."
            ) from error
    if is_text(kind):
        return _text_ids(column, name)
    if pa.types.is_null(kind):
        return _text_ids(column.cast(pa.large_string()), name)
    if pa.types.is_floating(kind):
        return _whole(column, name)
    raise ValueError(
        f"{name}: ids must be integers or strings; received the type {kind}. Cast the column to "
        "int64 or to string."
    )


def _text_ids(column: ArrowColumn, name: str) -> pa.DictionaryArray:
    """Convert text to one array of `TEXT_IDS`, with empty texts as missing."""
    if isinstance(column, pa.Array):
        column = pa.chunked_array([column])
    if column.type == TEXT_IDS and column.num_chunks == 1:
        only: pa.DictionaryArray = column.chunk(0)
        if pc.index(only.dictionary, "").as_py() < 0:
            return only
    try:
        if pa.types.is_dictionary(column.type):
            column = column.unify_dictionaries()
            chunks = [_recoded(chunk) for chunk in column.chunks]
        else:
            column = column.cast(pa.large_string()).dictionary_encode()
            chunks = column.chunks
    except pa.ArrowInvalid as error:
        raise ValueError(f"{name}: expected UTF-8 text; received other bytes ({error}).") from error
    # All chunks have one dictionary now.
    texts = chunks[0].dictionary if chunks else pa.array([], pa.large_string())
    numbers = pa.chunked_array([chunk.indices for chunk in chunks], pa.int32()).combine_chunks()
    if (empty := pc.index(texts, "").as_py()) >= 0:
        numbers = pc.if_else(pc.equal(numbers, empty), pa.scalar(None, pa.int32()), numbers)
    return pa.DictionaryArray.from_arrays(numbers, texts)


def _recoded(chunk: pa.DictionaryArray) -> pa.DictionaryArray:
    """Convert a dictionary to `TEXT_IDS` with distinct texts."""
    texts = chunk.dictionary.cast(pa.large_string()).dictionary_encode()
    numbers = texts.indices.take(chunk.indices)
    return pa.DictionaryArray.from_arrays(numbers, texts.dictionary)


def distinct_ids(ids: ArrowColumn) -> tuple[pa.Array, np.ndarray]:
    """Return the distinct values by first appearance, and each row's int32 position among them.

    Example:

    >>> values, positions = distinct_ids(to_ids(["b", "a", "b"], "user_id"))
    >>> values.to_pylist(), positions.tolist()
    (['b', 'a'], [0, 1, 0])
    """
    column = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
    if not pa.types.is_dictionary(column.type):
        encoded = column.dictionary_encode()
        return encoded.dictionary, np.asarray(encoded.indices)
    encoded = column.indices.dictionary_encode()
    return column.dictionary.take(encoded.dictionary), np.asarray(encoded.indices)


def _whole(column: ArrowColumn, name: str) -> ArrowColumn:
    """Convert whole floats to integers, since pandas stores integers with gaps as floats."""
    wrong = pc.or_(
        pc.not_equal(pc.floor(column), column), pc.greater_equal(pc.abs(column), MAX_WHOLE)
    )
    if pc.any(wrong).as_py():
        value = column.filter(pc.fill_null(wrong, False))[0].as_py()
        raise ValueError(
            f"{name}: ids must be integers or strings; received the type {column.type} with "
            f"{value!r}, and only whole numbers below 2**53 are certain. Cast the column to int64 "
            "or to string."
        )
    return column.cast(pa.int64())


def is_text(kind: pa.DataType) -> bool:
    """Return whether an Arrow type holds text or bytes."""
    return kind in _TEXT


def check_ids(ids: ArrowColumn, name: str) -> None:
    """Validate ids: none missing, negative or with a line break."""
    if ids.null_count:
        raise ValueError(
            f"{name}: {ids.null_count} of {len(ids)} ids are missing (null, NaN or empty string). "
            "Drop these rows or fill them in."
        )
    if not len(ids):
        return
    if pa.types.is_integer(ids.type):
        lowest = pc.min(ids).as_py()
        if lowest < 0:
            raise ValueError(
                f"{name}: integer ids must lie in 0 .. 2**63 - 1 (-1 pads served inputs); received "
                f"{lowest}. Drop these rows, or pass the ids as strings."
            )
        return
    texts = ids
    if pa.types.is_dictionary(ids.type):
        texts = (ids.chunk(0) if isinstance(ids, pa.ChunkedArray) else ids).dictionary
    if any(pc.any(pc.match_substring(texts, mark)).as_py() for mark in "\n\r"):
        texts, _ = distinct_ids(ids)  # without texts of the dictionary that no row has
        if len(broken := texts.filter(pc.match_substring_regex(texts, "[\n\r]"))):
            raise ValueError(
                f"{name}: ids must be one line of text; received {broken[0].as_py()!r}. Remove the "
                "line break."
            )


def plain_text(values: Any, name: str) -> list[pa.LargeStringArray] | None:
    """Return text as arrays of large_string, or None if some is encoded, missing or empty."""
    column = _as_arrow(values, name)
    if not is_text(column.type) or column.null_count:
        return None
    if isinstance(column, pa.Array):
        column = pa.chunked_array([column])
    try:
        chunks = list(column.cast(pa.large_string()).chunks)
    except pa.ArrowInvalid:
        return None
    shortest = [pc.min(pc.binary_length(chunk)).as_py() for chunk in chunks]
    return None if 0 in shortest else chunks


def columns_of(data: Any, owner: str = "Interactions") -> Mapping[str, Any]:
    """Return columns by name, from a dict or any table of the Arrow protocol."""
    if isinstance(data, Mapping):
        return data
    if not isinstance(data, pa.Table | pa.RecordBatch) and not hasattr(data, "__arrow_c_stream__"):
        raise ValueError(
            f"{owner}: expected a dict of columns or a table of the Arrow protocol (pyarrow, "
            f"pandas, polars, DuckDB); received {type(data).__name__}. Use kerasrec.data.read for "
            "a file."
        )
    try:
        table = pa.table(data)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"{owner}: the {type(data).__name__} cannot become an Arrow table: "
            f"{'; '.join(map(str, error.args))}. A column mixes types: cast it to string, or pass "
            "only the columns that are needed."
        ) from error
    repeated = sorted({n for n in table.column_names if table.column_names.count(n) > 1})
    if repeated:
        raise ValueError(
            f"{owner}: columns need different names; received {repeated} more than once."
        )
    # pandas adds its index unless it is the default row number.
    pairs = zip(table.column_names, table.columns, strict=True)
    return {name: column for name, column in pairs if not name.startswith("__index_level_")}


def joined(columns: Mapping[str, ArrowColumn], owner: str = "Interactions") -> pa.Table:
    """Join columns to one table."""
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) != 1:
        raise ValueError(f"{owner}: columns must have one length; received {lengths}.")
    return pa.table(dict(columns))


def to_float32(values: Any, name: str) -> ArrowColumn:
    """Convert labels and numeric features to float32. Missing values stay missing."""
    column = to_arrow(values, name)
    kind = column.type
    if is_text(kind):
        raise ValueError(
            f"{name}: expected numbers; received text such as {_example(column)!r}. Convert the "
            "column to numbers first."
        )
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_decimal(kind):
        column = column.cast(pa.float64())
    if not (pa.types.is_floating(column.type) or pa.types.is_null(kind)):
        raise ValueError(f"{name}: expected numbers; received the type {kind}.")
    return column.cast(pa.float32(), safe=False)


def to_time(values: Any, name: str) -> ArrowColumn:
    """Convert times to int64: numbers keep their unit, dates become microseconds since 1970.

    If any number has a fraction, the numbers are taken as seconds, as most systems log them, and
    become microseconds too.
    """
    column = to_arrow(values, name)
    kind = column.type
    fractions = pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        zone = kind.tz if pa.types.is_timestamp(kind) else None
        options = pc.CastOptions(pa.timestamp("us", zone), allow_time_truncate=True)
        try:
            column = pc.cast(column, options=options).cast(pa.int64())
        except pa.ArrowInvalid as error:
            raise ValueError(
                f"{name}: times must lie within 290,000 years of 1970; received {error}. Correct "
                "these rows."
            ) from error
    elif fractions or pa.types.is_integer(kind) or pa.types.is_null(kind):
        try:
            if fractions:
                column = column.cast(pa.float64(), safe=False)
                if pc.any(pc.not_equal(pc.floor(column), column)).as_py():
                    column = pc.round(pc.multiply(column, float(MICROSECONDS)))
            column = column.cast(pa.int64())
        except pa.ArrowInvalid as error:
            raise ValueError(
                f"{name}: times must be numbers below 2**63, with a fraction below 2**63 / 1e6; "
                f"received {error}. Correct these rows."
            ) from error
    else:
        raise ValueError(
            f"{name}: expected integers, timestamps or dates; received {kind} such as "
            f"{_example(column)!r}. Parse the column first, for example with pandas.to_datetime."
        )
    return column


def _example(column: ArrowColumn) -> Any:
    return next(iter(column.drop_null()[:1].to_pylist()), None)


def to_context(values: Any, name: str) -> ArrowColumn:
    """Convert floats to float32 (a numeric feature) and other values to ids (a category)."""
    column = to_arrow(values, name)
    if pa.types.is_floating(column.type) or pa.types.is_decimal(column.type):
        return to_float32(column, name)
    if pa.types.is_boolean(column.type):
        return column.cast(pa.int64())
    return to_ids(column, name)
