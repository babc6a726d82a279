"""Description of a benchmark run for its page: command, hardware, versions, output."""

import importlib.metadata
import io
import os
import pathlib
import platform
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import TextIO

# Folders that benchmarks write to.
WRITTEN = ("benchmarks/results", "docs/benchmarks")


def command() -> str:
    """Return the command line, without the paths of other Pythons."""
    words = list(sys.argv)
    for option in ("--torch-python", "--peer-python"):
        if option in words:
            words[words.index(option) + 1] = "..."
    return f"python {shlex.join(words)}"


def machine() -> str:
    """Return the CPU model and the number of cores available to this process."""
    from kerasrec.runs.records import machine

    return machine()


def load(seconds: float = 2.0) -> str:
    """Return the load of the machine from other processes, measured while this one waits."""
    before = _core_times()
    time.sleep(seconds)
    idle, spent = (late - early for late, early in zip(_core_times(), before, strict=True))
    return f"cores {idle / max(spent, 1):.0%} idle before the start"


def _core_times() -> tuple[int, int]:
    """Return idle time and total time of the cores so far."""
    with open("/proc/stat", encoding="utf-8") as file:
        ticks = [int(word) for word in file.readline().split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)


def commit() -> str:
    """Return the commit, and whether the files differ from it. Written results do not count."""
    root = pathlib.Path(__file__).resolve().parents[1]

    def git(*words: str) -> str | None:
        done = subprocess.run(
            ["git", *words], cwd=root, capture_output=True, text=True, check=False
        )
        return None if done.returncode else done.stdout.strip()

    head = git("rev-parse", "--short=10", "HEAD")
    if head is None:
        return "no git checkout"
    changed = git("status", "--porcelain", "--", ".", *(f":!{path}" for path in WRITTEN))
    return f"{head} with {'changed files' if changed else 'a clean tree'}"


def versions(*packages: str, torch_python: str | None = None) -> str:
    """Return the versions of Python, kerasrec, its dependencies and other packages.

    Args:
        *packages: other packages that are installed here.
        torch_python: path of a Python with PyTorch, if it took part.
    """
    named = [f"Python {platform.python_version()}"]
    for package in ("kerasrec", "keras", "tensorflow", "numpy", *packages):
        try:
            named.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            named.append(f"{package} not installed")
    if torch_python is not None:
        program = "import torch; print(torch.__version__)"
        done = subprocess.run(
            [torch_python, "-c", program], capture_output=True, text=True, check=False
        )
        named.append(f"torch {done.stdout.strip() or 'not installed'}")
    return ", ".join(named)


def write(path: pathlib.Path, text: str) -> None:
    """Write a file completely or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
        file.write(text)
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)


class Tee(io.StringIO):
    """Output stream that prints and records text."""

    def __init__(self, screen: TextIO) -> None:
        super().__init__()
        self.screen = screen

    def write(self, text: str) -> int:
        """Print and record."""
        self.screen.write(text)
        self.screen.flush()
        return super().write(text)


def table_of(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
