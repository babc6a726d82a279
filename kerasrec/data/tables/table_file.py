"""Files of tables: their form, found by name and first lines, and reading of some columns."""

import dataclasses
import os
import pathlib
import re
from collections.abc import Mapping, Sequence

import pyarrow as pa

from kerasrec._checks import check_choice
from kerasrec.data.tables.aliases import find_roles
from kerasrec.data.tables.arrow import ArrowColumn
from kerasrec.data.tables.delimited import Delimited
from kerasrec.data.tables.libfm import ROW, libfm_names, read_libfm
from kerasrec.data.tables.opening import SUFFIXES, head_of
from kerasrec.data.tables.typed_files import first_rows, open_parquet, read_json_lines
from kerasrec.data.tables.typed_text import ID_TYPES, IdType, typed

FORMATS = ("csv", "tsv", "movielens", "dat", "inter", "libfm", "jsonl", "parquet")

_SUFFIXES = {f".{kind}": kind for kind in ("csv", "tsv", "inter", "libfm", "jsonl", "parquet")}
_SUFFIXES |= {".libsvm": "libfm", ".ndjson": "jsonl", ".json": "jsonl", ".pq": "parquet"}
_SEPARATORS = {"csv": ",", "tsv": "\t", "movielens": "\t", "inter": "\t", "dat": ":", "libfm": " "}
_SNIFFED = ",;\t|"
_SEPARATOR_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "blanks"}
_RECBOLE_KINDS = {"token", "float", "token_seq", "float_seq"}


@dataclasses.dataclass(frozen=True)
class FileForm:
    """Format of a file, see `read`. Values of None are inferred from its name and first lines."""

    format: str | None = None
    columns: Sequence[str] | None = None
    separator: str | None = None
    quote: str | None = None
    encoding: str = "utf-8"
    decimal: str | None = None
    id_type: IdType = "auto"

    def __post_init__(self) -> None:
        for name in ("separator", "quote"):  # escapes for tabs and other controls, typed in a shell
            value = getattr(self, name)
            if isinstance(value, str) and re.fullmatch(r"\\t|\\x[0-7][\da-fA-F]", value):
                object.__setattr__(self, name, value.encode().decode("unicode_escape"))
        check_choice("read", "format", self.format, (None, *FORMATS))
        for name, value in (("separator", self.separator), ("quote", self.quote or None)):
            if value is not None and not (len(value) == 1 and value.isascii()):
                raise ValueError(f"read: {name} must be one character; received {value!r}.")
        check_choice("read", "decimal", self.decimal, (None, ".", ","))
        check_choice("read", "id_type", self.id_type, ID_TYPES)
        if isinstance(self.columns, str):
            raise ValueError(f"read: columns takes a sequence of names; received {self.columns!r}.")


@dataclasses.dataclass(frozen=True)
class TableFile:
    """File of known form, ready to read some of its columns."""

    path: pathlib.Path
    form: FileForm  # with known format and separator
    names: tuple[str, ...]  # of its columns, as roles use them
    text: Delimited | None = None  # None for formats with types

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        form: FileForm | None = None,
        roles: Mapping[str, str | None] | None = None,
    ) -> "TableFile":
        """Inspect a file. The roles name the columns of a format without header."""
        source, form, roles = pathlib.Path(path), form or FileForm(), roles or {}
        head = head_of(source, form.encoding)
        kind = form.format or detect_format(source, form.encoding)
        if (form.columns or form.separator or form.quote) and kind not in ("csv", "tsv"):
            raise ValueError(
                "read: columns, separator and quote are for csv and tsv files; "
                f"{source} is read as {kind}. Pass format='csv' as well."
            )
        form = dataclasses.replace(form, format=kind)
        if not head.strip():
            raise ValueError(f"{source}: the file is empty; expected a table of interactions.")
        if kind == "parquet":
            with open_parquet(source) as file:
                return cls(source, form, tuple(file.schema_arrow.names))
        if kind == "jsonl":
            keys = dict.fromkeys(key for row in first_rows(head, source) for key in row)
            return cls(source, form, tuple(keys))
        if kind == "libfm":
            return cls(source, form, libfm_names(source, head, roles))
        if kind in ("movielens", "dat"):
            mark = "::" if kind == "dat" else "\t"
            names = _positional(source, head, mark, roles)
            # Arrow separates at one character: "::" is two of them around an empty field.
            parts = [part for name in names for part in (name, f"{name}::")][:-1]
            text = Delimited(source, mark[0], "", False, form.encoding)
            text = text.with_names(parts if kind == "dat" else names)
            return cls(source, form, tuple(names), text)
        separator = form.separator or _sniff(kind, head, form.columns)
        form = dataclasses.replace(form, separator=separator)
        quote = ('"' if kind == "csv" else "") if form.quote is None else form.quote
        text = Delimited(source, separator, quote, form.quote is not None, form.encoding)
        text = text.with_names(form.columns) if form.columns else text.with_header()
        header = tuple(_recbole(source, text.names)) if kind == "inter" else text.names
        return cls(source, form, header, text)

    def roles(
        self, roles: Mapping[str, str | None], context: Sequence[str] = ()
    ) -> dict[str, str | None]:
        """Return the column of each role, found by common names for the default ones."""
        found = dict(roles)
        if self.form.format == "libfm":
            found["time"] = None
        try:
            return find_roles(self.names, found, context)
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}") from error

    def kinds(self, names: Sequence[str]) -> dict[str, str]:
        """Return the types that a RecBole header gives to columns."""
        if self.form.format != "inter" or self.text is None:
            return {}
        types = {n: t.rpartition(":")[2] for n, t in zip(self.names, self.text.names, strict=True)}
        return {name: types[name] for name in names if name in types}

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Read columns, by default all: text as it stands, other values with their types."""
        names = list(dict.fromkeys(self.names if columns is None else columns))
        if self.text is not None:
            table = self._read_text(self.text, names)
        elif self.form.format == "parquet":
            with open_parquet(self.path) as file:
                table = file.read(columns=names).select(names)
        elif self.form.format == "jsonl":
            sample = first_rows(head_of(self.path, self.form.encoding), self.path)
            table = read_json_lines(self.path, names, sample, self.form.encoding)
        else:
            table = read_libfm(self.path, self.names).select(names)
        if not table.num_rows:
            raise ValueError(
                f"{self.path}: the file has the header {list(self.names)} and no rows; expected at "
                "least one row."
            )
        return table

    def typed(self, column: ArrowColumn, kind: str, name: str) -> ArrowColumn:
        """Convert a column to the type of its role, see `typed_text.typed`."""
        # In formats with types, text is meant as text.
        declared = self.text is None and kind in ("user", "item", "any")
        if declared and self.form.id_type == "auto" or kind == "any" and self.text is None:
            return column
        return typed(
            column, kind, f"column {name!r}", id_type=self.form.id_type, decimal=self.form.decimal
        )

    def header_hint(self) -> str:
        """Return a hint for messages on missing columns, if the header looks wrong."""
        if self.form.format not in ("csv", "tsv") or self.form.columns:
            return ""
        if len(self.names) == 1:
            return " The first line has no separator: pass separator= with the right one."
        if any(re.fullmatch(r"-?\d+(\.\d+)?", name) for name in self.names):
            return (
                " The first line looks like a row: if the file has no header, pass columns= with a "
                "name for each field."
            )
        return ""

    def describe(self, roles: Mapping[str, str | None]) -> str:
        """Describe in one line how the file is read."""
        separator = self.form.separator
        form = f"{self.form.format}"
        if self.form.format in ("csv", "tsv") and separator:
            form += f" between {_SEPARATOR_NAMES.get(separator, repr(separator))}"
        columns = ", ".join(f"{role} {name!r}" for role, name in roles.items() if name is not None)
        return f"{self.path}: read as {form}, {self.form.encoding}; {columns}"

    def _read_text(self, text: Delimited, names: list[str]) -> pa.Table:
        if self.form.format == "dat":
            table = text.read()
            if any(table[name].null_count != table.num_rows for name in text.names[1::2]):
                raise ValueError(
                    f"{self.path}: expected '::' between all fields; found a single ':'."
                )
            return table.select(names)
        raw = dict(zip(self.names, text.names, strict=True))
        return text.read([raw[name] for name in names]).rename_columns(names)


def detect_format(path: str | os.PathLike[str], encoding: str = "utf-8") -> str:
    """Detect the format of a file, by its suffix or else by its first lines."""
    source = pathlib.Path(path)
    suffixes = [suffix.lower() for suffix in source.suffixes if suffix.lower() not in SUFFIXES]
    if suffixes and suffixes[-1] in _SUFFIXES and source.is_file():
        return _SUFFIXES[suffixes[-1]]
    head = head_of(source, encoding)
    if head.startswith("PAR1"):
        return "parquet"
    line = _first_line(head)
    if not line.strip():
        raise ValueError(f"{source}: the file is empty; expected a table of interactions.")
    if line.startswith("{"):
        return "jsonl"
    if ROW.match(line):
        return "libfm"
    if "::" in line:
        return "dat"
    if re.search(r":(token|float)(_seq)?(\t|$)", line):
        return "inter"
    if "\t" in line:
        return "movielens" if re.fullmatch(r"[-\d.eE+]+", line.split("\t")[-1]) else "tsv"
    if any(separator in line for separator in _SNIFFED):
        return "csv"
    raise ValueError(
        f"{source}: cannot tell the format from the name or from the first line {line[:80]!r}. "
        f"Pass format= one of {FORMATS}, and separator= for a csv file with another separator."
    )


def _first_line(head: str) -> str:
    return next((line for line in head.splitlines() if line.strip()), "")


def _sniff(kind: str, head: str, columns: Sequence[str] | None) -> str:
    """Detect the separator of a file, preferring the usual one of its format."""
    usual, line = _SEPARATORS[kind], _first_line(head)
    if kind == "inter":
        return usual
    if columns:
        if line.count(usual) == len(columns) - 1:
            return usual
        fitting = [mark for mark in _SNIFFED if line.count(mark) == len(columns) - 1 > 0]
        return fitting[0] if len(fitting) == 1 else usual
    counts = {mark: line.count(mark) for mark in _SNIFFED}
    most = max(counts.values())
    return usual if counts[usual] == most else max(counts, key=counts.__getitem__)


def _positional(
    path: pathlib.Path, head: str, separator: str, roles: Mapping[str, str | None]
) -> list[str]:
    """Return column names of a file without header: user, item, label, time."""
    names = [roles.get(role) or role for role in ("user", "item", "label", "time")]
    line = _first_line(head)
    count = line.count(separator) + 1
    if not 2 <= count <= len(names):
        raise ValueError(
            f"{path}: expected 2 to 4 fields a row (user, item, label, time) between "
            f"{separator!r}; received {count} in {line[:80]!r}. Pass format='csv' with columns= "
            "and separator= for another form."
        )
    return names[:count]


def _recbole(path: pathlib.Path, header: Sequence[str]) -> list[str]:
    parts = [name.rpartition(":") for name in header]
    if any(kind not in _RECBOLE_KINDS for _, _, kind in parts):
        raise ValueError(
            f"{path}: a RecBole header holds name:type with one of the types "
            f"{sorted(_RECBOLE_KINDS)}; received {list(header)}."
        )
    return [name for name, _, _ in parts]
