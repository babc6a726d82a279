"""Lines on stderr, coloured on terminals only. See also `kerasrec._progress`."""

import sys
from typing import TextIO

from kerasrec._progress import console


def say(text: str, *, style: str | None = None, stream: TextIO | None = None) -> None:
    """Print a line, on stderr by default, styled if it goes to a terminal."""
    stream = stream or sys.stderr
    if style is None or not stream.isatty():
        print(text, file=stream)
    else:
        console(stream).print(text, style=style)
