"""Files as byte streams: decompressed, and text of any declared encoding as UTF-8."""

import codecs
import contextlib
import lzma
import os
import pathlib
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from typing import IO

import pyarrow as pa

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

SUFFIXES = (".gz", ".bz2", ".zst", ".xz", ".lz4", ".zip")
HEAD_BYTES = 1 << 16
_BOM = codecs.BOM_UTF8
_ARROW = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bz2",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
}
UNREADABLE = (OSError, EOFError, lzma.LZMAError, zipfile.BadZipFile, zlib.error)


def is_packed(path: pathlib.Path) -> bool:
    """Return whether a file is compressed, judged by its first bytes."""
    start = _start(path)
    return start.startswith((*_ARROW, b"\xfd7zXZ\x00", b"PK\x03\x04"))


@contextlib.contextmanager
def open_bytes(path: pathlib.Path) -> Iterator[IO[bytes]]:
    """Open a file, decompressed: gzip, bzip2, Zstandard, LZ4, xz, or a zip archive of one file."""
    start = _start(path)
    if start.startswith(b"\xfd7zXZ\x00"):
        with lzma.open(path) as file:
            yield file
    elif start.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(path) as archive:
            members = [info for info in archive.infolist() if not info.is_dir()]
            if len(members) != 1:
                raise ValueError(
                    f"{path}: expected an archive of one file; it holds "
                    f"{[info.filename for info in members]}. Unpack it and name the file."
                )
            with archive.open(members[0]) as file:
                yield file
    else:
        packed = next((name for mark, name in _ARROW.items() if start.startswith(mark)), None)
        with pa.input_stream(str(path), compression=packed) as file:
            yield file


@contextlib.contextmanager
def open_text(path: pathlib.Path, encoding: str) -> Iterator[IO[bytes]]:
    """Open a text file as UTF-8 bytes without a byte order mark."""
    try:
        name = codecs.lookup(encoding).name
    except (LookupError, TypeError) as error:
        raise ValueError(
            f"read: encoding must be the name of one, such as 'utf-8', 'latin-1' or 'cp1252'; "
            f"received {encoding!r}."
        ) from error
    with open_bytes(path) as file:
        if name in ("utf-8", "utf-8-sig"):
            yield file
        else:
            native = file if isinstance(file, pa.NativeFile) else pa.PythonFile(file, "r")
            yield pa.transcoding_input_stream(native, name, "utf-8")


def without_mark(head: bytes, path: pathlib.Path) -> int:
    """Return the length in bytes of the byte order mark of UTF-8 text."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError(
            f"{path}: the file begins with the byte order mark of UTF-16; expected UTF-8. Pass "
            "encoding='utf-16'."
        )
    return len(_BOM) if head.startswith(_BOM) else 0


def head_of(path: pathlib.Path, encoding: str = "utf-8") -> str:
    """Read the first characters of a file, decompressed and decoded."""
    try:
        with open_text(path, encoding) as file:
            head = file.read(HEAD_BYTES)
    except (*UNREADABLE, UnicodeError) as error:
        raise ValueError(f"{path}: cannot read the file: {error}.") from error
    if head.startswith(b"PAR1"):
        return "PAR1"
    return head[without_mark(head, path) :].decode("utf-8", "replace")


def _start(path: pathlib.Path) -> bytes:
    if not path.is_file():
        raise ValueError(
            f"{path}: {'this is a directory' if path.is_dir() else 'there is no such file'}; "
            f"expected the path of a file of interactions.{_nearest(path)}"
        )
    try:
        with path.open("rb") as file:
            return file.read(6)
    except OSError as error:
        raise ValueError(f"{path}: cannot read the file: {error}.") from error


def _nearest(path: pathlib.Path) -> str:
    """Return a "Did you mean ...?" question with a similarly named file in the folder."""
    import difflib

    with contextlib.suppress(OSError):
        names = [entry.name for entry in os.scandir(path.parent) if entry.is_file()]
        if found := difflib.get_close_matches(path.name, names, 1):
            return f" Did you mean {str(path.parent / found[0])!r}?"
    return ""


def files(owner: str, paths: Paths, pattern: str) -> list[pathlib.Path]:
    """Return the files of a path, of several, or of a folder in alphabetical order."""
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    found: list[pathlib.Path] = []
    for path in map(pathlib.Path, given):
        inside = sorted(path.glob(pattern)) if path.is_dir() else [path]
        if not inside or not inside[0].is_file():
            raise ValueError(
                f"{owner}: expected a file, or a folder with files named {pattern}; there is none "
                f"at {str(path)!r}."
            )
        found += inside
    if not found:
        raise ValueError(f"{owner}: received no paths.")
    return found
