"""Readers of files with typed values: Parquet and JSON lines."""

import contextlib
import json
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.json as pajson
import pyarrow.parquet as pq

from kerasrec.data.tables.opening import UNREADABLE, is_packed, open_bytes, open_text

SAMPLE_ROWS = 1000


def first_rows(head: str, path: pathlib.Path) -> list[dict[str, object]]:
    """Parse the complete lines at the beginning of a file to objects."""
    lines = [line for line in head.split("\n") if line.strip()]
    found: list[dict[str, object]] = []
    for line in lines[:SAMPLE_ROWS]:
        try:
            value = json.loads(line)
        except ValueError as error:
            if found:  # the last line may be cut; other errors are reported on reading
                break
            raise _no_object(path, line) from error
        if not isinstance(value, dict):
            raise _no_object(path, line)
        found.append(value)
    return found


def read_json_lines(
    path: pathlib.Path, columns: Sequence[str], sample: Sequence[dict[str, object]], encoding: str
) -> pa.Table:
    """Read some columns of a file of JSON lines. Missing keys and null are missing values.

    Arrow would parse text that looks like a time, so the types are declared from the first rows.
    Integers are widened to floats if a later value requires it.
    """
    kinds = {name: _kind([row.get(name) for row in sample]) for name in columns}
    wide = {n: pa.float64() if kind == pa.int64() else kind for n, kind in kinds.items()}
    read = pajson.ReadOptions(block_size=1 << 24)
    for types in (kinds, wide):
        parse = pajson.ParseOptions(
            explicit_schema=pa.schema(list(types.items())), unexpected_field_behavior="ignore"
        )
        try:
            with open_text(path, encoding) as file:
                return pajson.read_json(file, read, parse)
        except (pa.ArrowException, *UNREADABLE, UnicodeError) as error:
            if types != wide:
                continue
            kinds_text = {name: str(kind) for name, kind in types.items()}
            raise ValueError(
                f"{path}: not readable as JSON lines with the columns {kinds_text}: {error}. Write "
                "one object a line, and all values of a column as text or all as numbers."
            ) from error
    raise AssertionError


def _kind(values: Sequence[object]) -> pa.DataType:
    for kind, type_ in ((str, pa.string()), (bool, pa.bool_()), (float, pa.float64())):
        if any(isinstance(value, kind) for value in values):
            return type_
    return pa.int64() if any(isinstance(value, int) for value in values) else pa.string()


def _no_object(path: pathlib.Path, line: str) -> ValueError:
    return ValueError(
        f"{path}: expected JSON lines, one object a line such as "
        f'{{"user_id": 1, "item_id": 2}}; received {line[:80]!r}. Write an array as lines.'
    )


@contextlib.contextmanager
def open_parquet(path: pathlib.Path, owner: str = "") -> Iterator[pq.ParquetFile]:
    """Open a Parquet file, compressed as a whole or not."""
    try:
        source: Any = path
        if is_packed(path):
            with open_bytes(path) as packed:
                source = pa.BufferReader(packed.read())
        with pq.ParquetFile(source) as file:
            yield file
    except (pa.ArrowException, *UNREADABLE) as error:
        name = f"{owner}: {path}" if owner else f"{path}"
        raise ValueError(f"{name} is not a readable Parquet file ({error}).") from error
