"""Error paragraphs and progress of a step on the terminal; see also `kerasrec.runs.terminal`.

Results go to stdout, and all of this to stderr. Colours and progress bars appear only on terminals.
`NO_COLOR` and `TERM=dumb` are respected.
"""

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from typing import TextIO

from kerasrec.runs.terminal import bar, console

SHOWN_AFTER = 2.0
"""Seconds after which a step is announced outside of a terminal."""


def say_error(text: str) -> None:
    """Print an error as one paragraph, with the program name in red.

    Args:
        text: the message; line breaks and runs of spaces become one space.
    """
    paragraph = " ".join(text.split())
    if not sys.stderr.isatty():
        print(f"kerasrec: {paragraph}", file=sys.stderr)
        return
    from rich.text import Text

    console().print(Text("kerasrec: ", "bold red"), paragraph, sep="")


@contextlib.contextmanager
def step(text: str, *, stream: TextIO | None = None) -> Iterator[None]:
    """Show progress for as long as the block runs.

    On a terminal this is a line with a spinner and the seconds, removed at the end. Elsewhere it is
    a line once the step has taken two seconds, and another with its duration at the end.

    Args:
        text: description of the step, such as "Ranking the test rows".
        stream: stderr by default.

    Example:

    >>> with step("Adding"):
    ...     1 + 1
    2
    """
    stream = stream or sys.stderr
    if stream.isatty():
        from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

        text_column = TextColumn("{task.description}")
        with bar(SpinnerColumn(), text_column, TimeElapsedColumn(), stream=stream) as progress:
            progress.add_task(text, total=None)
            yield
        return
    start = time.perf_counter()
    told = threading.Event()

    def tell() -> None:
        told.set()
        print(f"{text} ...", file=stream, flush=True)

    timer = threading.Timer(SHOWN_AFTER, tell)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        if told.is_set():
            print(f"{text}: {time.perf_counter() - start:.1f} s", file=stream, flush=True)
