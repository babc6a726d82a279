"""Importing TensorFlow without its start-up messages."""

import os
import sys
import tempfile


def import_tensorflow() -> None:
    """Imports TensorFlow and keeps what its libraries write while they load, unless it fails.

    Some of these messages heed no setting, because they come before TensorFlow reads any. They
    would be the first thing a user sees: that there is no GPU, twice.
    """
    if "tensorflow" in sys.modules:
        return
    # The process is the command line's own; a user's setting is left as it is.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with tempfile.TemporaryFile() as messages:
        stderr = os.dup(2)
        os.dup2(messages.fileno(), 2)
        try:
            import tensorflow  # noqa: F401
        except BaseException:
            messages.seek(0)
            os.write(stderr, messages.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
