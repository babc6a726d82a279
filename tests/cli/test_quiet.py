"""What is seen while TensorFlow is loaded."""

import subprocess
import sys

import pytest

LOAD = """
import kerasrec.cli.terminal
from kerasrec.cli.quiet import import_tensorflow

kerasrec.cli.terminal.SHOWN_AFTER = 0
import_tensorflow(told={})
"""


@pytest.mark.slow
@pytest.mark.parametrize("told, beginning", [(True, "Loading TensorFlow ..."), (False, "")])
def test_a_log_for_machines_is_not_told_that_tensorflow_is_loading(told, beginning):
    code = LOAD.format(told)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "" and done.stderr.startswith(beginning)
    assert bool(done.stderr) == told
