"""The benchmark of killed exports and servers, with few kills."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "kill.py"


@pytest.mark.slow
def test_few_kills_leave_a_directory_that_loads():
    done = subprocess.run(
        [sys.executable, SCRIPT, "--kills", "2", "--seed", "1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert re.search(r"^exports  2 killed", done.stdout, re.M)
    assert re.search(r"^servers  2 killed", done.stdout, re.M)
