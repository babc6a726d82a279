"""Readers: files of the usual formats to `Interactions`, plain or gzipped."""

import csv
import io
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import IO, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from kerasrec.data.arrow import ArrowColumn
from kerasrec.data.interactions import Interactions

HEAD_SIZE = 1 << 16
FORMATS = ("csv", "tsv", "movielens", "dat", "inter", "libfm", "parquet")

_SUFFIXES = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".inter": "inter",
    ".libfm": "libfm",
    ".libsvm": "libfm",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_SEPARATORS = {"csv": ",", "tsv": "\t", "movielens": "\t", "inter": "\t", "dat": ":", "libfm": " "}
_RECBOLE_KINDS = {"token", "float", "token_seq", "float_seq"}
_LIBFM_ROW = re.compile(r"^[+-]?[\d.eE+-]+( \d+:[+-]?[\d.eE+-]+)+\s*$")


def read(
    path: str | os.PathLike[str],
    *,
    format: str | None = None,
    columns: Sequence[str] | None = None,
    separator: str | None = None,
    user: str = "user_id",
    item: str = "item_id",
    label: str | None = "rating",
    time: str | None = "timestamp",
    context: Sequence[str] = (),
    missing: Literal["error", "drop"] = "error",
    duplicates: Literal["error", "keep"] = "error",
) -> Interactions:
    """Interactions from a file, plain or gzipped.

    | format | what it is | columns |
    |---|---|---|
    | csv, tsv | a header, then rows; quotes as usual | by the header, or `columns` without header |
    | movielens | `u.data`: tabs, no header | user, item, label, time in this order |
    | dat | `ratings.dat`: `::`, no header | user, item, label, time in this order |
    | inter | RecBole: tabs, header of `name:type` | by the header, types left out |
    | libfm | `label f:v f:v ...`, as many `f:v` in every row | see below |
    | parquet | Apache Parquet | by the schema |

    The format follows from the suffix or, where that says nothing, from the first lines. Text is
    UTF-8. An id column is read as integers only if each of its values is written as that integer
    (`42`, not `042`), else as strings, so that no two ids ever become one. Times may be written as
    numbers or in ISO 8601.

    libFM rows have no names: the first feature index is the user, the second the item, and the
    others are context columns `field_2`, `field_3`, ...: the index where all values are 1, the
    value where all indices are equal. Indices and labels are kept as they are, time is None.

    Args:
        path: the file.
        format: one of the formats above.
        columns: names of all columns of a csv or tsv file that has no header.
        separator: the character between the fields of a csv or tsv file, where it is another one.
        user: column of user ids; a format without header takes the roles as names.
        item: column of item ids.
        label: column of ratings or clicks; None for implicit feedback.
        time: column that orders the rows; None where there is none.
        context: columns that describe the moment.
        missing: "error", or "drop" to leave out rows with missing values.
        duplicates: "error", or "keep" to allow repeated (user, item) pairs.

    Raises:
        ValueError: if the file does not exist, is empty, has no rows, is not of the format, or
            `Interactions.from_table` refuses its values.

    Example:

    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "ratings.csv"
    >>> _ = file.write_text("user_id,item_id,rating\\nann,1,4.5\\nbob,2,3\\n")
    >>> read(file, time=None).column("user_id").tolist()
    ['ann', 'bob']
    """
    source = pathlib.Path(path)
    format = format or detect_format(source)
    if format == "libfm":
        time = None
    names = {"user": user, "item": item, "label": label, "time": time}
    table = read_table(source, format=format, columns=columns, separator=separator, roles=names)
    if format == "libfm":
        context = tuple(context) or tuple(table.column_names[3:])
    kinds = dict.fromkeys(context, "any")
    for field in table.schema:
        if field.name in kinds and field.metadata and b"kind" in field.metadata:
            kinds[field.name] = field.metadata[b"kind"].decode()
    kinds |= {name: role for role, name in names.items() if name is not None}
    try:
        return Interactions.from_table(
            {
                name: typed(table[name], kinds[name], f"column {name!r}")
                if format != "parquet" and name in kinds
                else table[name]
                for name in table.column_names
            },
            user=user,
            item=item,
            label=label,
            time=time,
            context=context,
            missing=missing,
            duplicates=duplicates,
        )
    except ValueError as error:
        raise ValueError(f"{source}: {error}{header_hint(table, format)}") from error


def read_table(
    path: str | os.PathLike[str],
    *,
    format: str,
    columns: Sequence[str] | None = None,
    separator: str | None = None,
    roles: Mapping[str, str | None] | None = None,
) -> pa.Table:
    """The raw columns of a file: text as it stands, but for Parquet and libFM.

    Args:
        path: the file.
        format: one of `FORMATS`.
        columns: names of all columns of a csv or tsv file that has no header.
        separator: the character between the fields of a csv or tsv file.
        roles: names for user, item, label and time in a file without header.

    Raises:
        ValueError: if the file does not exist, is empty, has no rows or is not of the format.
    """
    source = pathlib.Path(path)
    if format not in FORMATS:
        raise ValueError(f"read: format must be one of {FORMATS}; received {format!r}.")
    if (columns or separator) and format not in ("csv", "tsv"):
        raise ValueError(
            f"read: columns and separator are for csv and tsv files; {source} is read as {format}. "
            "Pass format='csv' as well."
        )
    head = _head(source)
    if not head.strip():
        raise ValueError(f"{source}: the file is empty; expected a table of interactions.")
    if format == "parquet":
        try:
            with _open(source) as file:
                packed = isinstance(file, pa.CompressedInputStream)
                table = pq.ParquetFile(pa.BufferReader(file.read()) if packed else source).read()
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{source}: not a readable Parquet file ({error}).") from error
    elif format == "libfm":
        table = _read_libfm(source, head, roles or {})
    else:
        if format in ("movielens", "dat"):
            columns = _positional(source, head, "::" if format == "dat" else "\t", roles or {})
        table = _read_text(source, format, columns, separator, head)
    if not table.num_rows:
        raise ValueError(
            f"{source}: the file has the header {table.column_names} and no rows; expected at "
            "least one row."
        )
    return table


def detect_format(path: str | os.PathLike[str]) -> str:
    """The format of a file, by its suffix or else by its first lines.

    Raises:
        ValueError: if the file does not exist, is empty, or looks like none of the formats.
    """
    source = pathlib.Path(path)
    head = _head(source)
    suffixes = [suffix.lower() for suffix in source.suffixes if suffix.lower() != ".gz"]
    if suffixes and suffixes[-1] in _SUFFIXES:
        return _SUFFIXES[suffixes[-1]]
    if head.startswith("PAR1"):
        return "parquet"
    line = head.lstrip("\ufeff").split("\n", 1)[0].rstrip("\r")
    if not line.strip():
        raise ValueError(f"{source}: the file is empty; expected a table of interactions.")
    if _LIBFM_ROW.match(line):
        return "libfm"
    if "::" in line:
        return "dat"
    if re.search(r":(token|float)(_seq)?(\t|$)", line):
        return "inter"
    if "\t" in line:
        return "movielens" if re.fullmatch(r"[-\d.eE+]+", line.split("\t")[-1]) else "tsv"
    if "," in line:
        return "csv"
    raise ValueError(
        f"{source}: cannot tell the format from the name or from the first line {line[:80]!r}. "
        f"Pass format= one of {FORMATS}, and separator= for a csv file with another separator."
    )


def _open(path: pathlib.Path) -> IO[bytes]:
    if not path.is_file():
        raise ValueError(
            f"{path}: {'this is a directory' if path.is_dir() else 'there is no such file'}; "
            "expected the path of a file of interactions."
        )
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return pa.input_stream(str(path), compression="gzip" if packed else None)


def _head(path: pathlib.Path) -> str:
    """The first bytes as text, decompressed."""
    try:
        with _open(path) as file:
            return file.read(HEAD_SIZE).decode("utf-8", "replace")
    except OSError as error:
        raise ValueError(f"{path}: cannot read the file: {error}.") from error


def _positional(
    path: pathlib.Path, head: str, separator: str, roles: Mapping[str, str | None]
) -> list[str]:
    """Column names of a file without header: user, item, label, time."""
    names = [roles.get(role) or role for role in ("user", "item", "label", "time")]
    line = head.lstrip("\ufeff").split("\n", 1)[0].rstrip("\r")
    count = line.count(separator) + 1
    if not 2 <= count <= len(names):
        raise ValueError(
            f"{path}: expected 2 to 4 fields a row (user, item, label, time) between "
            f"{separator!r}; received {count} in {line[:80]!r}. Pass format='csv' with columns= "
            "and separator= for another form."
        )
    return names[:count]


def _read_text(
    path: pathlib.Path, format: str, columns: Sequence[str] | None, separator: str | None, head: str
) -> pa.Table:
    """Every column as text; the type that a RecBole header gives goes to the field's metadata."""
    if separator is not None and len(separator) != 1:
        raise ValueError(f"read: separator must be one character; received {separator!r}.")
    delimiter = separator or _SEPARATORS[format]
    quote = '"' if format in ("csv", "tsv") else None
    if columns:
        names = list(columns)
        if format == "dat":
            # Arrow separates at one character: "::" is two of them around an empty field.
            names = [part for name in names for part in (name, f"{name}::")][:-1]
    else:
        quoting: Any = csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE
        header = io.StringIO(head.lstrip("\ufeff"))
        names = next(csv.reader(header, delimiter=delimiter, quoting=quoting))
        if len(set(names)) < len(names):
            raise ValueError(f"{path}: columns need different names; received {names}.")
        if len(head.splitlines()) == 1 and len(head) < HEAD_SIZE:
            return pa.table({name: pa.array([], pa.string()) for name in names})
    try:
        with _open(path) as file:
            table = pacsv.read_csv(
                file,
                pacsv.ReadOptions(column_names=names if columns else None),
                pacsv.ParseOptions(
                    delimiter=delimiter, quote_char=quote or False, newlines_in_values=bool(quote)
                ),
                pacsv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.string()),
                    null_values=[""],
                    strings_can_be_null=True,
                ),
            )
    except (pa.ArrowException, OSError) as error:
        raise ValueError(
            f"{path}: not a readable {format} file with the columns {names}: {error}. Correct the "
            "file (its text must be UTF-8), or name its format and columns."
        ) from error
    if format == "dat":
        if any(table[name].null_count != table.num_rows for name in names[1::2]):
            raise ValueError(f"{path}: expected '::' between all fields; found a single ':'.")
        return table.select(names[::2])
    if format == "inter":
        parts = [name.rpartition(":") for name in names]
        if any(kind not in _RECBOLE_KINDS for _, _, kind in parts):
            raise ValueError(
                f"{path}: a RecBole header holds name:type with one of the types "
                f"{sorted(_RECBOLE_KINDS)}; received {names}."
            )
        fields = [pa.field(name, pa.string(), metadata={"kind": kind}) for name, _, kind in parts]
        return pa.table(table.columns, schema=pa.schema(fields))
    return table


def _read_libfm(path: pathlib.Path, head: str, roles: Mapping[str, str | None]) -> pa.Table:
    line = head.lstrip("\ufeff").split("\n", 1)[0]
    count = line.count(":")
    if not _LIBFM_ROW.match(line) or count < 2:
        raise ValueError(
            f"{path}: expected libFM rows 'label f:v f:v ...' with at least two features (user, "
            f"item); received {line[:80]!r}."
        )
    types = {"label": pa.float64()}
    for position in range(count):
        types |= {f"index_{position}": pa.int64(), f"value_{position}": pa.float64()}
    try:
        with _open(path) as file:
            text = file.read().replace(b":", b" ")
        table = pacsv.read_csv(
            pa.BufferReader(re.sub(rb" +(?=\r?\n)|\s+\Z", b"", text)),
            pacsv.ReadOptions(column_names=list(types)),
            pacsv.ParseOptions(delimiter=" ", quote_char=False),
            pacsv.ConvertOptions(column_types=types, null_values=[]),
        )
    except (pa.ArrowException, OSError) as error:
        raise ValueError(
            f"{path}: expected libFM rows 'label f:v f:v ...' with {count} features each, like the "
            f"first row; received another form: {error}. Rows of different lengths hold bags of "
            "features, which have no place in Interactions."
        ) from error
    label, user, item = (roles.get(role) or role for role in ("label", "user", "item"))
    names = [user, item] + [f"field_{position}" for position in range(2, count)]
    columns: dict[str, ArrowColumn] = dict.fromkeys((user, item, label), table["label"])
    for position, name in enumerate(names):
        index, value = table[f"index_{position}"], table[f"value_{position}"]
        if pc.all(pc.equal(value, 1.0)).as_py():
            columns[name] = index
        elif position >= 2 and pc.min(index) == pc.max(index):
            columns[name] = value
        else:
            raise ValueError(
                f"{path}: feature {position} ({name!r}) must be one-hot (index:1)"
                f"{' or one index with a number (index:value)' if position >= 2 else ''}; its "
                "indices and values both vary."
            )
    return pa.table(columns)


def typed(column: ArrowColumn, kind: str, name: str) -> ArrowColumn:
    """Text to the type that its role (or RecBole) asks for."""
    if not pa.types.is_string(column.type):
        return column
    if kind in ("user", "item", "token"):
        return _text_to_ids(column, name)
    if kind in ("label", "float"):
        return _text_to_floats(column, name)
    if kind == "time":
        return _text_to_times(column, name)
    if kind != "any":
        raise ValueError(
            f"{name}: expected one value a row (token or float); received the type {kind}. Leave "
            "this column out of context."
        )
    ids = _text_to_ids(column, name)
    coded = pc.match_substring_regex(column, r"^-?0\d")  # 02139 is a name, not a number
    if not pa.types.is_string(ids.type) or pc.any(coded).as_py():
        return ids
    try:
        return column.cast(pa.float64())
    except pa.ArrowInvalid:
        return ids


def _text_to_ids(column: ArrowColumn, name: str) -> ArrowColumn:
    """Integers if that loses nothing, else the text."""
    if not _all(pc.ascii_is_decimal(column)):
        if _all(pc.match_substring_regex(column, r"^\d+\.0+$")) and column.null_count < len(column):
            raise ValueError(
                f"{name}: integer ids are written as floats, such as "
                f"{column.drop_null()[0].as_py()!r}. Write them as integers; in pandas, drop the "
                "missing ones and cast with astype('int64')."
            )
        if not _all(pc.match_substring_regex(column, r"^-?[1-9]\d*$|^0$")):
            return column
    elif not _all(pc.invert(pc.match_substring_regex(column, r"^0\d"))):
        return column
    try:
        return column.cast(pa.int64())
    except pa.ArrowInvalid as error:
        raise ValueError(
            f"{name}: integer ids must lie in 0 .. 2**63 - 1; received a larger one ({error}). "
            "Give such ids a letter in front, so that they are read as strings."
        ) from error


def _all(mask: ArrowColumn) -> bool:
    return bool(pc.all(mask, min_count=0).as_py())


def _text_to_floats(column: ArrowColumn, name: str) -> ArrowColumn:
    try:
        return column.cast(pa.float64())
    except pa.ArrowInvalid as error:
        value = str(error).partition("'")[2].rpartition("'")[0]
        row = pc.index(column, value).as_py() + 1
        raise ValueError(
            f"{name}: expected numbers; received {value!r} in row {row}. Correct or remove such "
            "rows."
        ) from error


def _text_to_times(column: ArrowColumn, name: str) -> ArrowColumn:
    kinds = (pa.int64(), pa.float64(), pa.timestamp("us"), pa.timestamp("us", "UTC"))
    for kind in kinds:
        try:
            return column.cast(kind)
        except pa.ArrowInvalid:
            continue
    raise ValueError(
        f"{name}: expected times as numbers or in ISO 8601 (2024-05-31 12:00:00); received such as "
        f"{column.drop_null()[0].as_py()!r}, or several forms. Write all times in one form."
    )


def header_hint(table: pa.Table, format: str) -> str:
    """What to add to the message about a missing column, if the header looks like none."""
    names = table.column_names
    if format in ("csv", "tsv") and len(names) == 1:
        return " The first line has no separator: pass separator= with the right one."
    if format in ("csv", "tsv") and any(re.fullmatch(r"-?\d+(\.\d+)?", name) for name in names):
        return (
            " The first line looks like a row: if the file has no header, pass columns= with a "
            "name for each field."
        )
    return ""
