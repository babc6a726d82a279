"""Expansion of a path, several paths or a folder to files."""

import os
import pathlib
from collections.abc import Sequence

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def files(owner: str, paths: Paths, pattern: str) -> list[pathlib.Path]:
    """Return the files of a path, of several, or of a folder in alphabetical order.

    Args:
        owner: calling function, named in the error message.
        paths: a file, several, or a folder.
        pattern: pattern of file names in a folder.

    Raises:
        ValueError: if there are none, or one is missing.
    """
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
