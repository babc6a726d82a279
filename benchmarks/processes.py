"""One side of a comparison, measured in a process of its own."""

import json
import os
import pathlib
import subprocess
import sys
from typing import Any


def measure(script: str, side: str, folder: str, torch_python: str, *more: str) -> Any:
    """Return what `script --cell side folder` prints on its last line, as JSON.

    Args:
        script: the benchmark itself.
        side: its name; one that begins with "torch" runs under `torch_python`.
        folder: where the benchmark has put its data.
        torch_python: the Python that has PyTorch.
        *more: further words of the cell.
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
