"""Import of TensorFlow without its start-up messages."""

import contextlib
import importlib
import os
import sys
import tempfile

from kerasrec.cli.terminal import step


def import_tensorflow(*, told: bool = True) -> None:
    """Import TensorFlow, hiding its start-up messages unless the import fails.

    Some of these messages ignore all settings, because they are written before TensorFlow reads
    any. Without this, the first thing a user sees is that there is no GPU, twice.

    Args:
        told: whether to announce a slow import on stderr. False where stderr is a log for machines.
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
                step("Loading TensorFlow", stream=screen) if told else contextlib.nullcontext()
            )
            with waiting:
                importlib.import_module("tensorflow")
        except BaseException:
            messages.seek(0)
            os.write(stderr, messages.read())
            raise
