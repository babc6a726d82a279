"""Import of TensorFlow without its start-up messages."""

import contextlib
import importlib
import os
import sys
import tempfile

from kerasrec.cli.terminal import step


def import_tensorflow(*, told: bool = True) -> None:
    """Import TensorFlow, hiding its start-up messages unless the import fails.

    Some of these messages heed no setting, because they come before TensorFlow reads any. They
    would be the first thing a user sees: that there is no GPU, twice.

    Args:
        told: whether stderr says that it takes long; not where it is a log that machines read.
    """
    if "tensorflow" in sys.modules:
        return
    # The process is the command line's own; a user's setting is left as it is.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with contextlib.ExitStack() as stack:
        messages = stack.enter_context(tempfile.TemporaryFile())
        stderr = os.dup(2)
        stack.callback(os.close, stderr)
        screen = sys.stderr
        if screen is sys.__stderr__:  # what it writes to is about to lead elsewhere
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
