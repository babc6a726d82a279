"""File of the recorded requests of a version, read by `verify`, commands and the server's page."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

FILE_NAME = "assets.extra/requests.json"
FILE_VERSION = 2


def write(recorded: Mapping[str, Any], folder: pathlib.Path) -> None:
    """Write the result of `record` into the folder of a version."""
    path = folder / FILE_NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(recorded, ensure_ascii=False), encoding="utf-8")


def read(folder: pathlib.Path) -> dict[str, Any]:
    """Read the result of `record` from the folder of a version.

    Raises:
        ValueError: if the file is missing, damaged or has another format version.
    """
    path = folder / FILE_NAME
    try:
        recorded = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"expected recorded requests in {str(path)!r}: {error}. Export the model again."
        ) from error
    version = recorded.get("version") if isinstance(recorded, dict) else None
    if version != FILE_VERSION:
        raise ValueError(
            f"{str(path)!r}: this kerasrec reads version {FILE_VERSION} of recorded requests; "
            f"received version {version!r}. Export the model again."
        )
    if missing := sorted({"options", "rows", "requests"} - set(recorded)):
        raise ValueError(f"{str(path)!r} lacks {missing}. Export the model again.")
    return recorded
