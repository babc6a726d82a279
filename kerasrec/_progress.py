"""Progress bars on stderr. They appear only on terminals and are removed at the end."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:  # at run time, only what draws pays for its import
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn


def console(stream: TextIO | None = None) -> "Console":
    """Return a rich console, on stderr by default, that does not highlight numbers and paths."""
    from rich.console import Console

    return Console(file=stream or sys.stderr, highlight=False, soft_wrap=True, markup=False)


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


def counting_bar(text: str) -> "Progress":
    """Return a bar with a text, the count and the remaining time."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    return bar(TextColumn(text), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())


@contextlib.contextmanager
def progress(text: str, total: int, *, shown: bool) -> Iterator[Callable[[int], None]]:
    """Draw a bar for as long as the block runs, which gets a function that advances it.

    Args:
        text: description of what runs, such as "ranking users".
        total: final count.
        shown: whether to draw, which only a terminal gets.

    Example:

    >>> with progress("adding", 3, shown=True) as advance:
    ...     advance(3)
    """
    if not (shown and sys.stderr.isatty()):
        yield lambda count: None
        return
    with counting_bar(text) as drawn:
        task = drawn.add_task("", total=total)
        yield lambda count: drawn.advance(task, count)
