"""Measurement of one side of a comparison in a separate process."""

import json
import os
import pathlib
import subprocess
import sys
from typing import Any


def measure(script: str, side: str, folder: str, torch_python: str, *more: str) -> Any:
    """Return the last line printed by `script --cell side folder`, parsed as JSON.

    Args:
        script: the benchmark itself.
        side: its name; one that begins with "torch" runs under `torch_python`.
        folder: folder with the data of the benchmark.
        torch_python: path of a Python with PyTorch.
        *more: further arguments of the cell.
    """
    python = torch_python if side.startswith("torch") else sys.executable
    done = subprocess.run(
        [python, script, "--cell", side, folder, *more],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "PYTHONPATH": str(pathlib.Path(script).parent.parent),
        },
    )
    if done.returncode:
        sys.exit(f"{side}: {done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])
