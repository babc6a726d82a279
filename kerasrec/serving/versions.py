"""Numbered version directories that appear whole or not at all.

    directory/1/  directory/2/  ...      versions, as TensorFlow Serving scans them
    directory/.export-<random>/          an export in progress, or what a dead one left
    directory/.export.lock               held (shared) by every living export

A version is written elsewhere in the same directory, flushed to disk and renamed, which is one
step for every reader. The kernel frees the lock of a process that dies, however it dies: whoever
gets the lock for itself alone knows that every `.export-*` is a leftover.
"""

import contextlib
import errno
import fcntl
import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator

StrPath = str | os.PathLike[str]

_LOCK = ".export.lock"
_STAGING = ".export-"
_LARGEST = 2**63 - 1
_GRAPH = "saved_model.pb"


def list_versions(directory: StrPath) -> list[int]:
    """The versions of a directory, oldest first.

    Args:
        directory: the folder that holds the version folders; it need not exist.

    Example:

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("2", "10", ".export-x", "notes"):
    ...         pathlib.Path(folder, name).mkdir()
    ...     list_versions(folder)
    [2, 10]
    """
    return sorted(_versions(pathlib.Path(directory)))


def find_version(directory: StrPath) -> pathlib.Path:
    """The folder of a SavedModel: the given one, or its newest version.

    Args:
        directory: a version folder, or the folder that holds the versions.

    Raises:
        ValueError: if there is no SavedModel there.
    """
    path = pathlib.Path(directory)
    if (path / _GRAPH).is_file():
        return path
    if not path.is_dir():
        raise ValueError(
            f"expected an exported directory; {str(path)!r} is not a directory. "
            "Write one with kerasrec.serving.export."
        )
    versions = _versions(path)
    if not versions:
        raise ValueError(
            f"expected numbered versions, or {_GRAPH}, in {str(path)!r}; there are none. "
            "Write one with kerasrec.serving.export."
        )
    newest = versions[max(versions)]
    if not (newest / _GRAPH).is_file():
        raise ValueError(
            f"version {str(newest)!r} holds no {_GRAPH}: it is not a SavedModel or it is damaged. "
            "Remove it, or export the model again."
        )
    return newest


def check_version(directory: StrPath, version: int | None) -> None:
    """Refuses a version that is no version number or that exists.

    Args:
        directory: the folder that holds the versions; it need not exist.
        version: a number, or None for the next one.

    Raises:
        ValueError: if the version exists or is not an integer from 0 to 2**63 - 1, or the directory
            is a file.
    """
    path = pathlib.Path(directory)
    if path.exists() and not path.is_dir():
        raise ValueError(f"export: expected a directory; {str(path)!r} is a file.")
    if version is None:
        return
    if isinstance(version, bool) or not isinstance(version, int) or not 0 <= version <= _LARGEST:
        raise ValueError(
            "export: version must be an integer from 0 to 2**63 - 1, or None for the next one; "
            f"received {version!r}."
        )
    if version in (versions := list_versions(path)):
        raise ValueError(
            f"export: version {version} exists in {str(path)!r}, which holds {versions}. Exports "
            "are never overwritten: choose another number, or version=None for the next one."
        )


def write_version(
    directory: StrPath, version: int | None, write: Callable[[pathlib.Path], None]
) -> pathlib.Path:
    """Publishes what `write` puts into the folder it is given.

    Args:
        directory: the folder that holds the versions; made if it does not exist.
        version: a number, or None for the highest plus one.
        write: fills a new empty folder `model` inside a scratch folder of its own; may use its
            parent for files that are not published.

    Returns:
        Path of the version.

    Raises:
        ValueError: as for `check_version`.
        OSError: if the disk refuses; nothing of the version is left then.

    Example:

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_version(folder, None, lambda new: (new / "a").touch())
    ...     path.name, [file.name for file in path.iterdir()]
    ('1', ['a'])
    """
    check_version(directory, version)
    base = pathlib.Path(directory)
    base.mkdir(parents=True, exist_ok=True)
    with _living(base):
        staging = pathlib.Path(tempfile.mkdtemp(dir=base, prefix=_STAGING))
        try:
            model = staging / "model"
            model.mkdir()
            write(model)
            _flush(model)
            return _publish(model, base, version)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def _versions(base: pathlib.Path) -> dict[int, pathlib.Path]:
    if not base.is_dir():
        return {}
    names = (path for path in base.iterdir() if re.fullmatch(r"[0-9]+", path.name))
    return {int(path.name): path for path in names if path.is_dir()}


@contextlib.contextmanager
def _living(base: pathlib.Path) -> Iterator[None]:
    """Marks this export as alive; removes the leftovers of dead ones if no other lives."""
    with open(base / _LOCK, "a") as lock:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for leftover in base.glob(f"{_STAGING}*"):
                shutil.rmtree(leftover, ignore_errors=True)
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield


def _publish(model: pathlib.Path, base: pathlib.Path, version: int | None) -> pathlib.Path:
    while True:
        number = max(list_versions(base), default=0) + 1 if version is None else version
        path = base / str(number)
        try:
            # A folder that is not empty is never replaced, so a concurrent export cannot be lost.
            os.rename(model, path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            check_version(base, version)
            continue
        _flush_one(base)
        return path


def _flush(folder: pathlib.Path) -> None:
    """Waits until a folder and all it holds lie on the disk."""
    for parent, _, files in os.walk(folder, topdown=False):
        for name in files:
            _flush_one(os.path.join(parent, name))
        _flush_one(parent)


def _flush_one(path: StrPath) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
