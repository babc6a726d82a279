"""Reader of delimited text: header, quotes and selected columns as Arrow text."""

import csv
import dataclasses
import io
import itertools
import pathlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import IO

import pyarrow as pa
import pyarrow.csv as pacsv

from kerasrec.data.tables.opening import HEAD_BYTES, UNREADABLE, open_text, without_mark
from kerasrec.data.tables.quoting import QuoteRules, Quotes, record_end, scan

# One row must fit into a block of Arrow's parser. If it does not, larger blocks are tried.
BLOCK_BYTES = (1 << 20, 1 << 24, 1 << 28)


@dataclasses.dataclass(frozen=True)
class Delimited:
    """Text file of separated fields."""

    path: pathlib.Path
    separator: str
    quote: str  # "" for none
    trusted: bool  # accept quoted line breaks even if the lines look like rows
    encoding: str
    names: tuple[str, ...] = ()
    begin: int = 0  # position of the first row, in bytes of UTF-8
    line: int = 1  # of the first row

    def with_header(self) -> "Delimited":
        """Return a copy with the column names of its first non-empty line."""
        rules = self._rules(2)
        with self._open() as file:
            data, end = b"", -1
            while end < 0:
                block = file.read(HEAD_BYTES)
                data += block
                begin = without_mark(data, self.path)
                lines = data[begin:].splitlines(keepends=True)
                begin += sum(map(len, itertools.takewhile(lambda line: not line.strip(), lines)))
                end = record_end(data, begin, rules, final=not block)
        try:
            header = data[begin:end].decode()
        except UnicodeDecodeError as error:
            raise self._undecodable(error) from error
        limit = csv.field_size_limit(len(header) + 1)
        try:
            rows = csv.reader(
                io.StringIO(header, newline=""),
                delimiter=self.separator,
                quotechar=self.quote or None,
                quoting=csv.QUOTE_MINIMAL if self.quote else csv.QUOTE_NONE,
            )
            names = next(rows, [])
        finally:
            csv.field_size_limit(limit)
        if len(set(names)) < len(names):
            raise ValueError(f"{self.path}: columns need different names; received {names}.")
        line = len(data[:end].splitlines()) + 1
        return dataclasses.replace(self, names=tuple(names), begin=end, line=line)

    def with_names(self, names: Sequence[str]) -> "Delimited":
        """Return a copy without a header, with the given column names."""
        if len(set(names)) < len(names):
            raise ValueError(f"{self.path}: columns need different names; received {list(names)}.")
        with self._open() as file:
            begin = without_mark(file.read(4), self.path)
        return dataclasses.replace(self, names=tuple(names), begin=begin)

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Read columns, by default all, as text with empty fields as null."""
        names = list(self.names if columns is None else columns)
        try:
            quotes = self._scan()
            for size in BLOCK_BYTES:
                try:
                    return self._parse(names, quotes, size)
                except pa.ArrowInvalid as error:
                    if "Empty CSV file" in str(error):
                        return pa.table({name: pa.array([], pa.string()) for name in names})
                    if "straddling" not in str(error) or size == BLOCK_BYTES[-1]:
                        raise
        except UnicodeError as error:
            raise self._undecodable(error) from error
        except (pa.ArrowException, *UNREADABLE) as error:
            if "UTF8" in str(error):
                raise self._undecodable(error) from error
            raise ValueError(
                f"{self.path}: not readable as rows of the columns {_some(self.names)} between "
                f"{self.separator!r}: {error}. Correct the file, or name its format and columns."
            ) from error
        raise AssertionError

    def _parse(self, names: list[str], quotes: Quotes, size: int) -> pa.Table:
        with self._open() as file:
            _skip(file, self.begin)
            return pacsv.read_csv(
                file,
                pacsv.ReadOptions(column_names=list(self.names), block_size=size),
                pacsv.ParseOptions(
                    delimiter=self.separator,
                    quote_char=self.quote if quotes.quoted else False,
                    newlines_in_values=quotes.breaks,
                ),
                pacsv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.string()),
                    include_columns=names,
                    null_values=[""],
                    strings_can_be_null=True,
                ),
            )

    def _scan(self) -> Quotes:
        rules = self._rules(len(self.names))
        if rules is None:
            return Quotes()
        with self._open() as file:
            _skip(file, self.begin)
            return scan(file, rules, path=self.path, line=self.line)

    def _rules(self, fields: int) -> QuoteRules | None:
        if not self.quote:
            return None
        return QuoteRules(self.separator.encode(), self.quote.encode(), fields, self.trusted)

    def _open(self) -> AbstractContextManager[IO[bytes]]:
        return open_text(self.path, self.encoding)

    def _undecodable(self, error: Exception) -> ValueError:
        return ValueError(
            f"{self.path}: the text is not {self.encoding}: {error}. Pass encoding= with the right "
            "one, such as 'latin-1', 'cp1252' or 'utf-16'."
        )


def _skip(file: IO[bytes], size: int) -> None:
    while size > 0:
        size -= len(file.read(size)) or size


def _some(names: Sequence[str]) -> str:
    shown = list(names[:12])
    return f"{shown}" if len(names) <= 12 else f"{shown} and {len(names) - 12} more"
