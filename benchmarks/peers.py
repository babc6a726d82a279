"""Measurement of another library in a Python environment of its own."""

import json
import os
import subprocess
import sys
from typing import Any


def measure(python: str, script: str, *words: str, threads: int | None = None) -> Any:
    """Return the last line printed by `script --cell words`, parsed as JSON.

    Args:
        python: path of the Python of the environment.
        script: the benchmark itself, whose cell imports nothing of kerasrec.
        *words: arguments of the cell.
        threads: threads of its numeric libraries; None for their defaults.
    """
    limits = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    limited = {} if threads is None else dict.fromkeys(limits, str(threads))
    done = subprocess.run(
        [python, script, "--cell", *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **limited},
    )
    if done.returncode:
        sys.exit(f"{' '.join(words)}: {done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def versions(*packages: str) -> str:
    """Return the versions of packages in this environment."""
    import importlib.metadata

    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
