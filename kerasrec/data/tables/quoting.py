"""Scan of the quoted fields in delimited text, to report those that swallow rows.

Arrow's parser takes any text between two quotes as one field. So a stray quote silently swallows
all rows up to the next quote. This scan reads the bytes beforehand. It accepts the output of any
CSV writer and reports the line of anything else.
"""

import dataclasses
import re
from typing import Any

import numpy as np

BLOCK_BYTES = 1 << 22
_NEWLINES = b"\r\n"


@dataclasses.dataclass
class Quotes:
    """Findings of a scan so far.

    Args:
        quoted: some field is quoted.
        breaks: some quoted field holds a line break.
    """

    quoted: bool = False
    breaks: bool = False


@dataclasses.dataclass(frozen=True)
class QuoteRules:
    """Quoting rules of a file.

    Args:
        separator: the byte between two fields.
        quote: the byte around a quoted field.
        fields: number of fields of a row.
        trusted: accept quoted line breaks even where the lines look like rows.
    """

    separator: bytes
    quote: bytes
    fields: int
    trusted: bool = False

    def field(self) -> re.Pattern[bytes]:
        """Return the pattern of one quoted field, quotes inside it doubled."""
        quote = re.escape(self.quote)
        return re.compile(rb"%b(?:[^%b]+|%b%b)*+%b" % (quote, quote, quote, quote, quote))


def record_end(data: bytes, start: int, rules: QuoteRules | None, final: bool) -> int:
    """Return the position after the line break of the record that begins at `start`.

    Args:
        data: bytes of a file, starting at some record.
        start: position of the record.
        rules: quoting rules, None if fields are not quoted.
        final: whether the file ends with these bytes.

    Returns:
        The position, or -1 if the record continues beyond the bytes.
    """
    stop = re.compile(b"[%b]" % _NEWLINES)
    position = start
    while True:
        found = stop.search(data, position)
        end = found.start() if found else len(data)
        opening = -1 if rules is None else _opening(data, position, end, rules)
        if rules is not None and opening >= 0:
            match = rules.field().match(data, opening)
            if match is None or (match.end() == len(data) and not final):
                return len(data) if final else -1
            position = match.end()
            continue
        if not found:
            return len(data) if final else -1
        if data[end : end + 1] == b"\r" and end + 1 == len(data) and not final:
            return -1  # the line feed that belongs to it may follow
        return end + (2 if data[end : end + 2] == b"\r\n" else 1)


def _opening(data: bytes, begin: int, end: int, rules: QuoteRules) -> int:
    """Return the position of the first quote in a range that begins a field, else -1."""
    at = data.find(rules.quote, begin, end)
    while at >= 0:
        if at == 0 or data[at - 1 : at] in (rules.separator, b"\n", b"\r"):
            return at
        at = data.find(rules.quote, at + 1, end)
    return -1


def scan(stream: Any, rules: QuoteRules, *, path: Any, line: int) -> Quotes:
    """Read all rows of a file and check its quotes.

    Args:
        stream: binary file, positioned at the beginning of a row.
        rules: quoting rules.
        path: the file, named in error messages.
        line: number of the next line.

    Returns:
        Whether fields are quoted, and whether line breaks are.

    Raises:
        ValueError: if text follows a closing quote, a quote is not closed, or a quoted field holds
            lines that look like rows.

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
        if rules.quote in data:
            end = _scan_block(data, rules, found, final, path, line)
        else:
            end = len(data) if final else max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
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

    Every second quote opens a field. If each opening quote is at the beginning of a field and each
    closing quote at its end, then no other reading is possible. numpy checks this for all quotes at
    once. Otherwise they are followed one by one.
    """
    bytes_ = np.frombuffer(data, np.uint8)
    quotes = np.flatnonzero(bytes_ == rules.quote[0])
    bounds = np.zeros(256, bool)
    bounds[[rules.separator[0], *_NEWLINES]] = True
    before = np.append(True, bounds[bytes_[:-1]])[quotes]
    after = np.append(bounds[bytes_[1:]], True)[quotes]
    adjacent = np.diff(quotes) == 1
    opens, closes = quotes[0::2], quotes[1::2]
    # Quotes 1 and 2, 3 and 4, ... of an adjacent pair are one quote inside a field.
    doubled = adjacent[1::2]
    opened = before[0::2].copy()
    opened[1:][doubled[: len(opened) - 1]] = True
    closed = after[1::2].copy()
    closed[: len(doubled)][doubled] = True
    if not opened.all() or not closed.all():
        return _follow(data, rules, found, final, path, line)
    breaks = np.flatnonzero((bytes_ == 10) | (bytes_ == 13))
    inside = (np.searchsorted(quotes, breaks) % 2).astype(bool)
    if len(opens) > len(closes) and final:
        raise _unclosed(path, line + _lines(data, int(opens[-1])))
    outside = breaks[~inside]
    if final:
        end = len(data)
    else:
        # The last byte is left for the next block, since its meaning depends on the byte after it.
        outside = outside[outside < len(data) - 1]
        end = int(outside[-1]) + 1 if len(outside) else 0
    found.quoted |= bool(len(quotes) and quotes[0] < end)
    inner = breaks[inside]
    inner = inner[inner < end]
    if len(inner):
        found.breaks = True
        if not rules.trusted:
            # The second of a doubled pair opens no field. Go back to the quote that does.
            numbers = np.arange(len(opens))
            numbers[1:][doubled[: len(opens) - 1]] = 0
            begins = opens[np.maximum.accumulate(numbers)]
            for opening in np.unique(begins[np.searchsorted(opens, inner) - 1]):
                _check_breaks(data, int(opening), rules, path, line)
    return end


def _follow(
    data: bytes, rules: QuoteRules, found: Quotes, final: bool, path: Any, line: int
) -> int:
    """Check quotes one by one, for files in which some are plain text."""
    stop = re.compile(b"[%b]" % re.escape(rules.separator + _NEWLINES))
    pattern = rules.field()
    position = end = 0
    while True:
        at = data.find(rules.quote, position)
        limit = len(data) if at < 0 else at
        cut = max(data.rfind(b"\n", position, limit), data.rfind(b"\r", position, limit)) + 1
        end = max(end, cut)
        if at < 0:
            return len(data) if final else end
        if at and data[at - 1 : at] not in (rules.separator, b"\n", b"\r"):
            following = stop.search(data, at)
            if following is None:
                return len(data) if final else end
            position = following.start()
            continue
        match = pattern.match(data, at)
        if match is None or (match.end() == len(data) and not final):
            if final:
                raise _unclosed(path, line + _lines(data, at))
            return end
        position = match.end()
        if data[position : position + 1] not in (rules.separator, b"\n", b"\r", b""):
            raise ValueError(
                f"{path}: line {line + _lines(data, position)}: text follows a closing quote: "
                f"{_shown(data, at, position + 20)}. A field that begins with {_text(rules.quote)} "
                "ends with it, and quotes inside are doubled. Correct the file, or pass quote='' "
                "if quotes are part of the text."
            )
        found.quoted = True
        if b"\n" in match[0] or b"\r" in match[0]:
            found.breaks = True
            if not rules.trusted:
                _check_breaks(data, at, rules, path, line)


def _check_breaks(data: bytes, opening: int, rules: QuoteRules, path: Any, line: int) -> None:
    """Check that the lines of a quoted field do not look like rows."""
    match = rules.field().match(data, opening)
    if match is None or rules.fields < 2:
        return
    wanted = rules.fields - 1
    begin = max(data.rfind(b"\n", 0, opening), data.rfind(b"\r", 0, opening)) + 1
    lines = re.split(rb"\r\n|\r|\n", data[begin : match.end()])
    rest = data[match.end() : record_end(data, match.end(), rules, True)]
    lines[-1] += rules.field().sub(b"", rest)  # separators of other quoted fields do not count
    if lines[0].count(rules.separator) < wanted:
        return
    for number, text in enumerate(lines[1:], 1):
        if text.count(rules.separator) == wanted:
            raise ValueError(
                f"{path}: the quote in line {line + _lines(data, opening)} begins a field that "
                f"holds line {line + _lines(data, opening) + number}, which looks like a row: "
                f"{text[:60].decode('utf-8', 'replace')!r}. Pass quote='' if quotes are part of "
                f"the text, or quote={_text(rules.quote)} if the field does hold line breaks."
            )


def _unclosed(path: Any, line: int) -> ValueError:
    return ValueError(
        f"{path}: the quote in line {line} begins a field that is not closed. Close it, or pass "
        "quote='' if quotes are part of the text."
    )


def _lines(data: bytes, end: int) -> int:
    """Count the line breaks before a position: \\n, \\r\\n or \\r."""
    some = data[:end]
    return some.count(b"\n") + some.count(b"\r") - some.count(b"\r\n")


def _shown(data: bytes, begin: int, end: int) -> str:
    return repr(data[max(begin, end - 60) : end].decode("utf-8", "replace"))


def _text(quote: bytes) -> str:
    return repr(quote.decode())
