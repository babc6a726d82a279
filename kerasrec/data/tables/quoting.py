"""Scan of the quoted fields in delimited text, to report those that swallow rows.

Arrow's parser takes any text between two quotes as one field. So a stray quote silently swallows
all rows up to the next quote. This scan reads the bytes beforehand. It accepts the output of any
CSV writer and reports the line of anything else.
"""

import dataclasses
import functools
import re
from typing import Any

BLOCK_BYTES = 1 << 22
_LINE = re.compile(rb"[^\r\n]*+")


@dataclasses.dataclass
class Quotes:
    """Findings of a scan: whether some field is quoted, and whether some holds a line break."""

    quoted: bool = False
    breaks: bool = False


@dataclasses.dataclass(frozen=True)
class QuoteRules:
    """Quoting rules of a file."""

    separator: bytes
    quote: bytes
    fields: int  # of a row
    trusted: bool = False  # accept quoted line breaks even where the lines look like rows

    @functools.cached_property
    def field(self) -> re.Pattern[bytes]:
        """Return the pattern of one quoted field, quotes inside it doubled."""
        return self._pattern(rb"Q(?:[^Q]++|QQ)*+Q")

    @functools.cached_property
    def opening(self) -> re.Pattern[bytes]:
        """Return the pattern of a quote that begins a field."""
        return self._pattern(rb"(?<![^S\r\n])Q")

    @functools.cached_property
    def record(self) -> re.Pattern[bytes]:
        """Return the pattern of a record, without the line break at its end."""
        return self._pattern(
            rb"(?:[^Q\r\n]++|(?<=[^S\r\n])Q[^S\r\n]*+|(?<![^S\r\n])Q(?:[^Q]++|QQ)*+Q)*+"
        )

    @functools.cached_property
    def simple(self) -> re.Pattern[bytes]:
        """Return the pattern of text in which all quoted fields are closed and of one line."""
        return self._pattern(
            rb"(?:[^Q]++|(?<=[^S\r\n])Q[^S\r\n]*+"
            rb"|(?<![^S\r\n])Q(?:[^Q\r\n]++|QQ)*+Q(?![^S\r\n]))*+"
        )

    def _pattern(self, pattern: bytes) -> re.Pattern[bytes]:
        separator, quote = re.escape(self.separator), re.escape(self.quote)
        return re.compile(pattern.replace(b"S", separator).replace(b"Q", quote))


def record_end(data: bytes, start: int, rules: QuoteRules | None, final: bool) -> int:
    """Return the position after the line break of the record that begins at `start`.

    It is -1 if the record continues beyond the bytes, and these are not the final ones.
    """
    match = (rules.record if rules else _LINE).match(data, start)
    end = match.end() if match else start
    mark = data[end : end + 2]
    # A quote that is not closed, or a carriage return whose line feed may follow.
    if mark[:1] not in (b"\r", b"\n") or (mark == b"\r" and not final):
        return len(data) if final else -1
    return end + (2 if mark == b"\r\n" else 1)


def scan(stream: Any, rules: QuoteRules, *, path: Any, line: int) -> Quotes:
    """Read a file from the beginning of a row in that line, and check its quotes.

    Example:

    >>> import io
    >>> rules = QuoteRules(b",", b'"', fields=2)
    >>> scan(io.BytesIO(b'1,"a, b"\\n2,c\\n'), rules, path="ratings.csv", line=2)
    Quotes(quoted=True, breaks=False)
    """
    found = Quotes()
    data, size = b"", BLOCK_BYTES
    while True:
        block = stream.read(size)
        data += block
        final = not block
        end = _scan_block(data, rules, found, final, path, line)
        # A field longer than the data read so far is scanned again with twice as much data.
        size = BLOCK_BYTES if end else max(BLOCK_BYTES, len(data))
        line += _lines(data, end)
        data = data[end:]
        if final:
            return found


def _scan_block(
    data: bytes, rules: QuoteRules, found: Quotes, final: bool, path: Any, line: int
) -> int:
    """Check the whole records at the beginning of the bytes and return where they end.

    One pattern runs over all text that needs no attention, in which every line break ends a record.
    It stops at a quoted field that holds line breaks, is not closed, or has text after it.
    """
    position = end = 0
    while True:
        simple = rules.simple.match(data, position)
        stop = simple.end() if simple else position
        # The last byte is left for the next block, since its meaning depends on the byte after it.
        seen = stop if final else min(stop, len(data) - 1)
        end = max(end, *(data.rfind(mark, position, seen) + 1 for mark in (b"\n", b"\r")))
        end += data[end - 1 : end + 1] == b"\r\n"
        if stop == len(data):
            end = stop if final else end
            break
        field = rules.field.match(data, stop)
        if final and field is None:
            raise ValueError(
                f"{path}: the quote in line {line + _lines(data, stop)} begins a field that is not "
                "closed. Close it, or pass quote='' if quotes are part of the text."
            )
        if field is None or (field.end() == len(data) and not final):
            break
        position = field.end()
        if data[position : position + 1] not in (rules.separator, b"\n", b"\r", b""):
            shown = data[max(stop, position - 40) : position + 20].decode("utf-8", "replace")
            raise ValueError(
                f"{path}: line {line + _lines(data, position)}: text follows a closing quote: "
                f"{shown!r}. A field that begins with {rules.quote.decode()!r} ends with it, and "
                "quotes inside are doubled. Correct the file, or pass quote='' if quotes are part "
                "of the text."
            )
        found.breaks = True
        if not rules.trusted:
            _check_breaks(data, field, rules, path, line)
    found.quoted = found.quoted or rules.opening.search(data, 0, end) is not None
    return end


def _check_breaks(
    data: bytes, field: re.Match[bytes], rules: QuoteRules, path: Any, line: int
) -> None:
    """Check that the lines of a quoted field do not look like rows."""
    wanted = rules.fields - 1
    if not wanted:
        return
    begin = max(data.rfind(mark, 0, field.start()) for mark in (b"\n", b"\r")) + 1
    lines = re.split(rb"\r\n|\r|\n", data[begin : field.end()])
    rest = data[field.end() : record_end(data, field.end(), rules, True)]
    lines[-1] += rules.field.sub(b"", rest)  # separators of other quoted fields do not count
    if lines[0].count(rules.separator) < wanted:
        return
    for number, text in enumerate(lines[1:], 1):
        if text.count(rules.separator) == wanted:
            line += _lines(data, field.start())
            raise ValueError(
                f"{path}: the quote in line {line} begins a field that holds line "
                f"{line + number}, which looks like a row: "
                f"{text[:60].decode('utf-8', 'replace')!r}. Pass quote='' if quotes are part of "
                f"the text, or quote={rules.quote.decode()!r} if the field does hold line breaks."
            )


def _lines(data: bytes, end: int) -> int:
    """Count the line breaks before a position: \\n, \\r\\n or \\r."""
    some = data[:end]
    return some.count(b"\n") + some.count(b"\r") - some.count(b"\r\n")
