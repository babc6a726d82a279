"""Output of a command: text for people, or one JSON document for programs."""

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Report:
    """Result of a command.

    Args:
        document: mapping of plain values, numpy numbers, paths, sequences and mappings, for JSON.
        text: the same as text for people.
        code: exit code of the command.
    """

    document: Mapping[str, Any]
    text: str
    code: int = 0

    def json(self) -> str:
        """Return the document as JSON.

        >>> print(Report({"hr@10": 0.1}, "HR@10 is 0.1").json())
        {
          "hr@10": 0.1
        }
        """
        return json.dumps(plain(self.document), indent=2, allow_nan=False)


def plain(value: Any) -> Any:
    """Convert a value to JSON types. NaN and infinity become null.

    Raises:
        TypeError: if there is something else in it.

    Example:

    >>> import numpy as np
    >>> plain({"loss": (np.float32(0.5), float("nan")), 3: np.arange(2)})
    {'loss': [0.5, None], '3': [0, 1]}
    """
    if hasattr(value, "tolist"):  # numpy
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(name): plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    raise TypeError(f"{type(value).__name__} is not a JSON type: {value!r:.80}")
