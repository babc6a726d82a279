"""Files and folders that appear in one rename, whole or not at all.

They are written beside their place, under a name that begins with a dot. What they hold is flushed
to the disk before the rename, and the rename itself after it: whatever breaks, power included, the
place has the old content or the new. Only the standard library is used here.
"""

import contextlib
import errno
import os
import pathlib
import shutil
import uuid
from collections.abc import Iterator

StrPath = str | os.PathLike[str]


@contextlib.contextmanager
def new_file(path: StrPath) -> Iterator[pathlib.Path]:
    """Give a path to write to, which then replaces the file at `path`. Its folder is made."""
    final = pathlib.Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(final)
    try:
        yield temporary
        flush(temporary)
        os.replace(temporary, final)
        flush(final.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def new_folder(path: StrPath) -> Iterator[pathlib.Path]:
    """Give a folder to fill, which then becomes the one at `path`. Those above it are made.

    Raises:
        FileExistsError: at the end, if it is there by now and not empty.
    """
    final = pathlib.Path(path)
    temporary = _beside(final)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        flush_all(temporary)
        rename_new(temporary, final)
        flush(final.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def rename_new(folder: StrPath, path: StrPath) -> None:
    """Rename a folder to a path where there is none, or an empty one.

    Raises:
        FileExistsError: if that folder is there and not empty, whatever the system calls it.
    """
    try:
        os.rename(folder, path)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from error
        raise


def flush_all(folder: StrPath) -> None:
    """Wait until a folder and all that it holds lie on the disk."""
    for parent, _, files in os.walk(folder, topdown=False):
        for name in files:
            flush(os.path.join(parent, name))
        flush(parent)


def flush(path: StrPath) -> None:
    """Wait until a file, or the list of names of a folder, lies on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _beside(path: pathlib.Path) -> pathlib.Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
