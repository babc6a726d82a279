"""SHA-256 checksums of all files of a version, in the format of `sha256sum --check`."""

import hashlib
import pathlib

FILE_NAME = "SHA256SUMS"


def write(folder: pathlib.Path) -> None:
    """Write the checksums of all files in the folder.

    Args:
        folder: a version whose other files are complete.
    """
    own = folder / FILE_NAME
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != own)
    lines = [f"{_digest(path)}  {path.relative_to(folder).as_posix()}\n" for path in files]
    own.write_text("".join(lines), encoding="utf-8")


def check_checksums(folder: pathlib.Path) -> None:
    """Check that no file of a version is missing or changed.

    Args:
        folder: a version that `export` wrote.

    Raises:
        ValueError: naming the missing or changed files.
    """
    try:
        lines = (folder / FILE_NAME).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{str(folder)!r} has no readable {FILE_NAME} ({error}). Export the model again."
        ) from error
    wrong = []
    for line in lines:
        digest, _, name = line.partition("  ")
        path = folder / name
        if not name or not path.is_file():
            wrong.append(f"{name or line} is missing")
        elif _digest(path) != digest:
            wrong.append(f"{name} has changed")
    if wrong or not lines:
        raise ValueError(
            f"{str(folder)!r} is damaged: {'; '.join(wrong) or f'{FILE_NAME} is empty'}. Restore "
            "it, or export the model again."
        )


def _digest(path: pathlib.Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
