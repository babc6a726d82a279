"""Errors, progress of a step, and a silent import of TensorFlow. See also `kerasrec._progress`.

Results go to stdout, and all of this to stderr. Colours and progress bars appear only on terminals.
`NO_COLOR` and `TERM=dumb` are respected.
"""

import contextlib
import importlib
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import TextIO

from kerasrec._progress import bar, console

SHOWN_AFTER = 2.0
"""Seconds after which a step is announced outside of a terminal."""


def say_error(text: str) -> None:
    """Print an error as one paragraph, with the program name in red."""
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
    announced = threading.Event()

    def announce() -> None:
        announced.set()
        print(f"{text} ...", file=stream, flush=True)

    timer = threading.Timer(SHOWN_AFTER, announce)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        if announced.is_set():
            print(f"{text}: {time.perf_counter() - start:.1f} s", file=stream, flush=True)


def import_tensorflow(*, announced: bool = True) -> None:
    """Import TensorFlow, hiding its start-up messages unless the import fails.

    Some of these messages ignore all settings, because they are written before TensorFlow reads
    any. Without this, the first thing a user sees is that there is no GPU, twice.

    Args:
        announced: announce a slow import on stderr. False where stderr is a log for machines.
    """
    if "tensorflow" in sys.modules:
        return
    # The command line owns the process, so it may set this. A user's setting takes precedence.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with contextlib.ExitStack() as stack:
        messages = stack.enter_context(tempfile.TemporaryFile())
        stderr = os.dup(2)
        stack.callback(os.close, stderr)
        screen = sys.stderr
        if screen is sys.__stderr__:  # its file descriptor is about to be redirected
            screen = stack.enter_context(open(os.dup(stderr), "w", encoding="utf-8"))
        os.dup2(messages.fileno(), 2)
        stack.callback(os.dup2, stderr, 2)
        try:
            waiting = (
                step("Loading TensorFlow", stream=screen) if announced else contextlib.nullcontext()
            )
            with waiting:
                importlib.import_module("tensorflow")
        except BaseException:
            messages.seek(0)
            os.write(stderr, messages.read())
            raise
