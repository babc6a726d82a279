"""Numbered version directories that appear completely or not at all.

    directory/1/  directory/2/  ...      versions, as TensorFlow Serving scans them
    directory/.withdrawn-3/              a version that `rollback` took out of service
    directory/.export-<random>/          an export in progress, or the remains of a dead one
    directory/.export.lock               held (shared) by every living export

A version is written elsewhere in the same directory, flushed to disk and renamed, which is atomic
for every reader. The kernel frees the lock of a process however it dies. A process that holds the
lock exclusively therefore knows that every `.export-*` is a leftover.
"""

import contextlib
import fcntl
import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator

from kerasrec._checks import check_integer
from kerasrec._files import flush, flush_all, rename_new

StrPath = str | os.PathLike[str]

_LOCK = ".export.lock"
_STAGING = ".export-"
_WITHDRAWN = ".withdrawn-"
_LARGEST = 2**63 - 1
_GRAPH = "saved_model.pb"


def list_versions(directory: StrPath) -> list[int]:
    """List the versions of a directory, oldest first.

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
    """Return the folder of a SavedModel: the given one, or its newest version.

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
            "Write one with `kerasrec export` or kerasrec.serving.export."
        )
    versions = _versions(path)
    if not versions:
        raise ValueError(
            f"expected numbered versions, or {_GRAPH}, in {str(path)!r}; there are none. "
            "Write one with `kerasrec export` or kerasrec.serving.export."
        )
    newest = versions[max(versions)]
    if not (newest / _GRAPH).is_file():
        raise ValueError(
            f"version {str(newest)!r} holds no {_GRAPH}: it is not a SavedModel or it is damaged. "
            "Remove it, or export the model again."
        )
    return newest


def check_version(directory: StrPath, version: int | None) -> None:
    """Check that a version number is valid and not taken.

    Args:
        directory: the folder that holds the versions; it need not exist.
        version: a number, or None for the next one.

    Raises:
        ValueError: if the version exists or is not an integer between 0 and 2**63 - 1, or the
            directory is a file.
    """
    path = pathlib.Path(directory)
    if path.exists() and not path.is_dir():
        raise ValueError(f"export: expected a directory; {str(path)!r} is a file.")
    if version is None:
        return
    check_integer("export", "version", version, 0, _LARGEST, hint="None stands for the next one.")
    if version in (versions := list_versions(path)):
        raise ValueError(
            f"export: version {version} exists in {str(path)!r}, which holds {versions}. Exports "
            "are never overwritten: choose another number, or version=None for the next one."
        )


def check_keep(keep: int | None) -> None:
    """Check the number of versions to keep.

    Args:
        keep: a number, or None for all.

    Raises:
        ValueError: if it is not an integer, or below 1.
    """
    if keep is None:
        return
    hint = "One stays to go back to; None keeps all."
    check_integer("export", "keep", keep, 1, hint=hint)


def write_version(
    directory: StrPath,
    version: int | None,
    write: Callable[[pathlib.Path], None],
    *,
    keep: int | None = None,
) -> pathlib.Path:
    """Publish the files that `write` puts into the folder it receives.

    Args:
        directory: the folder that holds the versions; created if needed.
        version: a number, or None for the highest plus one.
        write: function that fills a new empty folder `model` inside a scratch folder. It may use
            the parent for files that are not published.
        keep: number of other versions to keep, the highest ones; None for all.

    Returns:
        Path of the version.

    Raises:
        ValueError: as for `check_version` and `check_keep`.
        OSError: if writing fails; nothing of the version is then left.

    Example:

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_version(folder, None, lambda new: (new / "a").touch())
    ...     path.name, [file.name for file in path.iterdir()]
    ('1', ['a'])
    """
    check_version(directory, version)
    check_keep(keep)
    base = pathlib.Path(directory)
    base.mkdir(parents=True, exist_ok=True)
    with _living(base):
        staging = pathlib.Path(tempfile.mkdtemp(dir=base, prefix=_STAGING))
        try:
            model = staging / "model"
            model.mkdir()
            write(model)
            flush_all(model)
            path = _publish(model, base, version)
            if keep is not None:
                _prune(base, int(path.name), keep, staging)
            return path
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def rollback(directory: StrPath, *, to: int | None = None) -> pathlib.Path:
    """Make an older version the newest one, which TensorFlow Serving then serves.

    Newer versions are withdrawn: renamed to `.withdrawn-<version>`, which servers ignore. Nothing
    is lost: `to` may name a withdrawn version, which is then restored. The newest version is
    renamed last, so that no version in between is served meanwhile. Numbers of withdrawn versions
    are not reused.

    Args:
        directory: the folder that holds the versions.
        to: the version to return to; the second newest if None.

    Returns:
        Path of the version that is now the newest.

    Raises:
        ValueError: if there is no such version.

    Example:

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for _ in range(3):
    ...         path = write_version(folder, None, lambda new: (new / "saved_model.pb").touch())
    ...     rollback(folder).name, list_versions(folder), rollback(folder, to=3).name
    ('2', [1, 2], '3')
    """
    base = pathlib.Path(directory)
    versions, withdrawn = _versions(base), _versions(base, _WITHDRAWN)
    older = sorted(versions)[:-1]
    if to is None and older:
        to = older[-1]
    if to not in versions and to not in withdrawn:
        raise ValueError(
            f"rollback: {str(base)!r} holds the versions {sorted(versions)} and the withdrawn ones "
            f"{sorted(withdrawn)}; "
            + ("there is none to go back to." if to is None else f"received {to}.")
        )
    with _living(base):
        if to not in versions:
            os.rename(withdrawn[to], base / str(to))
        for number in sorted(number for number in versions if number > to):
            os.rename(versions[number], base / f"{_WITHDRAWN}{number}")
        flush(base)
    return find_version(base)


def _versions(base: pathlib.Path, prefix: str = "") -> dict[int, pathlib.Path]:
    if not base.is_dir():
        return {}
    pattern = re.compile(re.escape(prefix) + r"([0-9]+)")
    found = ((pattern.fullmatch(path.name), path) for path in base.iterdir())
    return {int(match[1]): path for match, path in found if match and path.is_dir()}


def _prune(base: pathlib.Path, new: int, keep: int, staging: pathlib.Path) -> None:
    """Remove all but the new version and the `keep` highest others."""
    others = sorted((number for number in list_versions(base) if number != new), reverse=True)
    for number in others[keep:]:
        # Hidden in one step. Another export may have removed it first.
        with contextlib.suppress(FileNotFoundError):
            os.rename(base / str(number), staging / str(number))


@contextlib.contextmanager
def _living(base: pathlib.Path) -> Iterator[None]:
    """Mark this export as alive. Remove the leftovers of dead exports if no other is alive."""
    with open(base / _LOCK, "a") as lock:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for leftover in base.glob(f"{_STAGING}*"):
                shutil.rmtree(leftover, ignore_errors=True)
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield


def _publish(model: pathlib.Path, base: pathlib.Path, version: int | None) -> pathlib.Path:
    while True:
        number = _next(base) if version is None else version
        path = base / str(number)
        try:
            # A non-empty folder is never replaced, so a concurrent export cannot be lost.
            rename_new(model, path)
        except FileExistsError:
            check_version(base, version)
            continue
        flush(base)
        return path


def _next(base: pathlib.Path) -> int:
    return max([*_versions(base), *_versions(base, _WITHDRAWN)], default=0) + 1
