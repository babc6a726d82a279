"""Lines and bars of progress on stderr. Colours and bars appear only on terminals."""

import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:  # at run time, only what draws pays for its import
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn


def console(stream: TextIO | None = None) -> "Console":
    """Return a rich console, on stderr by default, that does not highlight numbers and paths."""
    from rich.console import Console

    return Console(file=stream or sys.stderr, highlight=False, soft_wrap=True, markup=False)


def say(text: str, *, style: str | None = None, stream: TextIO | None = None) -> None:
    """Print a line, on stderr by default, styled if it goes to a terminal."""
    stream = stream or sys.stderr
    if style is None or not stream.isatty():
        print(text, file=stream)
    else:
        console(stream).print(text, style=style)


def bar(*columns: "ProgressColumn", stream: TextIO | None = None) -> "Progress":
    """Return a transient progress bar for a terminal, on stderr by default."""
    from rich.progress import Progress

    return Progress(
        *columns,
        console=console(stream),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
