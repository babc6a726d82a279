"""Storage of data sets: the user's own folder, then the cache."""

import contextlib
import gzip
import os
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from kerasrec._files import new_folder
from kerasrec.data import Interactions


def cache_dir() -> pathlib.Path:
    """Return `$KERASREC_CACHE`, `$XDG_CACHE_HOME/kerasrec` or `~/.cache/kerasrec`."""
    if own := os.environ.get("KERASREC_CACHE"):
        return pathlib.Path(own).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (pathlib.Path(shared) if shared else pathlib.Path.home() / ".cache") / "kerasrec"


def folders(name: str) -> list[pathlib.Path]:
    """Return the folders to search for a data set, in order."""
    own = os.environ.get("KERASREC_DATA")
    roots = [pathlib.Path(own).expanduser()] if own else []
    return [root / name for root in [*roots, cache_dir()]]


def find_file(folder: pathlib.Path, name: str) -> pathlib.Path | None:
    """Return the file of that name, plain or with `.gz`, if the folder has it."""
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    return None


def find_files(
    name: str, how: str, *wanted: tuple[str, ...], folder: str | None = None
) -> list[pathlib.Path]:
    """Return a file for each tuple of possible names, all from one folder, by default `name`.

    Raises:
        ValueError: if no folder has all of them. `how` says how to get them.
    """
    for root in folders(folder or name):
        found = [next(filter(None, (find_file(root, n) for n in names)), None) for names in wanted]
        if all(found):
            return [path for path in found if path]
    raise not_found(name, f". {how}", folders(folder or name))


def not_found(name: str, how: str, looked: Sequence[pathlib.Path]) -> ValueError:
    """Return the error of a data set that is in none of the folders."""
    return ValueError(f"{name} is not in {' and '.join(map(str, looked))}{how} {looked[-1]}.")


def read_lines(path: pathlib.Path, *, encoding: str) -> list[str]:
    """Read the non-empty lines of a text file, plain or gzipped.

    Raises:
        ValueError: if the file cannot be read as such text.
    """
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding=encoding) as file:
            return [line.rstrip("\r\n") for line in file if line.strip()]
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: expected {encoding} text; {error}. Replace the file.") from error


def read_fields(
    path: pathlib.Path, *, separator: str, fields: int, encoding: str
) -> list[list[str]]:
    """Read the fields of every line, stripped of surrounding spaces.

    Raises:
        ValueError: if a line has another number of fields.
    """
    rows = [
        [field.strip() for field in line.split(separator)]
        for line in read_lines(path, encoding=encoding)
    ]
    for number, row in enumerate(rows, 1):
        if len(row) != fields:
            raise ValueError(
                f"{path}: expected {fields} fields between {separator!r}; received {len(row)} in "
                f"line {number}: {separator.join(row):.80}. Replace the file."
            )
    return rows


def side_table(
    interactions: Interactions, name: str, rows: Iterable[Sequence[Any]], columns: Sequence[str]
) -> pa.Table:
    """Return a side table of rows that begin with an id, typed as in the interactions."""
    ids, *values = (list(column) for column in zip(*rows, strict=True))
    kind = interactions.table[name].type
    kind = kind if pa.types.is_integer(kind) else pa.string()
    table = {name: pa.array(ids).cast(kind)}
    for column, value in zip(columns, values, strict=True):
        # A type of its own where no row has a genre.
        lists = pa.list_(pa.string()) if isinstance(value[0], list) else None
        table[column] = pa.array(value, lists)
    return pa.table(table)


def year_of(title: str) -> int | None:
    """Return the year in brackets at the end of a title.

    >>> year_of("Toy Story (1995)"), year_of("unknown")
    (1995, None)
    """
    found = re.search(r"\((\d{4})\)\s*$", title)
    return int(found[1]) if found else None


def install(name: str, files: Mapping[str, bytes]) -> pathlib.Path:
    """Write a data set's folder to the cache atomically.

    The files are written to a temporary folder, which is then renamed. If several processes do so
    at once, the first wins and the others use its files.

    Raises:
        ValueError: if the cache cannot be written.
    """
    folder = cache_dir() / name
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError), new_folder(folder) as staging:
            for file, content in files.items():
                (staging / file).write_bytes(content)
    except OSError as error:
        raise ValueError(
            f"cannot write the data set {name!r} to the cache {folder.parent}: {error}. Free space "
            "there, or name another folder in the environment variable KERASREC_CACHE."
        ) from error
    missing = [file for file in files if not (folder / file).is_file()]
    if missing:
        raise ValueError(
            f"{folder} is there but lacks {missing}. Remove that folder and try again."
        )
    return folder
