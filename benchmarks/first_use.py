"""Time of a first use: fresh clone, custom data file, served model.

    python benchmarks/first_use.py            # writes docs/benchmarks/first_use.md

The script clones this repository into a temporary folder and runs the commands of the README there,
one by one, as a shell would. Apart from the clone, only Python, make, git, curl and pip's cache are
used. The file is MovieLens in the form a user might have: other column names, dates instead of
numbers, one missing rating, one duplicate row.
"""

import argparse
import csv
import datetime
import json
import os
import pathlib
import resource
import shlex
import subprocess
import sys
import tempfile
import time
import urllib.request
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pages
import ports

from kerasrec import datasets

ROOT = pathlib.Path(__file__).parents[1]
MINUTES, COMMANDS, TAIL = 10, 10, 14
# pip's messages about its package sources are specific to this machine.
PLACES = ("Collecting", "Downloading", "Looking in", "Processing", "Requirement already")
PLACES += ("Stored in", "Created wheel", "Using cached", "WARNING: Location", "━")
ROLES = "--user who --item film --label stars --time day"


def write_own_file(path: pathlib.Path) -> int:
    """Write the user's file and return its number of rows."""
    rows = datasets.load("movielens-100k").interactions
    names = ("user_id", "item_id", "rating", "timestamp")
    columns = [rows.column(name).tolist() for name in names]
    lines = [
        [user, film, f"{stars:g}", datetime.datetime.fromtimestamp(when, datetime.UTC).isoformat()]
        for user, film, stars, when in zip(*columns, strict=True)
    ]
    lines[7][2] = ""
    lines.append(lines[0])
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["who", "film", "stars", "day"], *lines])
    return len(lines)


def commands(port: int) -> list[str]:
    """Return the commands that the user types."""
    fit = "--missing drop --duplicates last"
    ask = f"http://localhost:{port}/v1/models/films:predict"
    return [
        f"git clone --quiet {ROOT} kerasrec && cd kerasrec",
        "make install",
        "source .venv/bin/activate",
        f"kerasrec audit ../films.csv {ROLES}",
        f"kerasrec fit MatrixFactorization --data ../films.csv {ROLES} {fit} --output runs/films",
        "kerasrec evaluate runs/films",
        "kerasrec export runs/films served/films",
        "kerasrec verify served/films",
        f"kerasrec serve served/films --rest_port {port} --grpc_port 0 2> server.log &",
        f"curl -s -d @served/films/1/requests/recommend.json {ask}",
    ]


def wait_for(port: int, seconds: float = 120) -> None:
    """Wait until the server answers.

    Raises:
        TimeoutError: if it does not.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"http://localhost:{port}/v1/models/films") as answer:
                if "AVAILABLE" in answer.read().decode():
                    return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(f"the server did not answer at port {port} within {seconds:g} s")


class Shell:
    """A bash process that receives all commands, as at a prompt."""

    def __init__(self, folder: pathlib.Path, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            ["bash"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, line: str) -> tuple[int, str]:
        """Return exit code and output of a command."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(f'{line}\necho " <<$?>>"\n')
        self.process.stdin.flush()
        shown = ""
        for text in self.process.stdout:
            if text.rstrip().endswith(">>") and " <<" in text:
                shown += text[: text.rindex(" <<")]
                return int(text.rstrip()[:-2].rpartition("<<")[2]), shown
            shown += text
        raise EOFError(shown)

    def close(self) -> None:
        """Stop the shell and the server that it started."""
        self.process.stdin.write("kill $(jobs -p); wait; exit\n")
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()


def shortened(text: str, folder: str) -> str:
    """Return the end of an output, without machine-specific paths and addresses."""
    lines = text.replace(folder, "~").replace(str(ROOT), "URL").rstrip().splitlines()
    lines = [line for line in lines if not line.strip().startswith(PLACES)]
    lines = [line if len(line) <= 150 else line[:150] + " ..." for line in lines]
    if len(lines) > TAIL:
        lines = [f"... ({len(lines) - TAIL} lines)", *lines[-TAIL:]]
    return "\n".join(lines)


def main() -> None:
    """Run the walk-through and write the transcript."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    pages.add_options(parser)
    made = pages.Page("first_use", __file__, {}, remake=parser.parse_args().page)
    made.write(page(made.result("way", walk), made))


def walk() -> dict[str, Any]:
    """Run all commands in a fresh clone; return the transcript and the times."""
    outside = {"PYTHONPATH", "VIRTUAL_ENV", "PYTHONHOME"}
    environment = {name: value for name, value in os.environ.items() if name not in outside}
    # A plain shell: the environment of the caller is not that of a new user.
    own = pathlib.Path(sys.prefix) / "bin"
    places = [place for place in environment["PATH"].split(":") if place != str(own)]
    environment["PATH"] = ":".join(places)
    with tempfile.TemporaryDirectory() as folder:
        count = write_own_file(pathlib.Path(folder) / "films.csv")
        port = ports.free_ports(1)[0]
        shell = Shell(pathlib.Path(folder), environment)
        parts, total = [], 0.0
        try:
            for line in commands(port):
                start = time.perf_counter()
                code, shown = shell.run(line)
                if line.endswith("&"):
                    wait_for(port)
                seconds = time.perf_counter() - start
                total += seconds
                print(f"$ {line}\n{shown}[{seconds:.1f} s, exit code {code}]", flush=True)
                if code:
                    raise SystemExit(f"{shlex.split(line)[0]} ended with exit code {code}.")
                typed = line.replace(str(ROOT), "URL")
                text = shortened(shown, folder)
                parts.append(f"$ {typed}\n{text}\n[{seconds:.1f} s]".replace("\n\n", "\n"))
            answer = json.loads(shown)["outputs"]["item_id"]
        finally:
            shell.close()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "parts": parts,
        "total": total,
        "cpu": used.ru_utime + used.ru_stime,
        "rows": count,
        "answer": [len(answer), len(answer[0])],
    }


def page(way: dict[str, Any], made: pages.Page) -> str:
    """Return the whole page."""
    parts, total, answer = way["parts"], way["total"], way["answer"]
    reached = "reached" if total <= 60 * MINUTES and len(parts) <= COMMANDS else "**missed**"
    return f"""# First use, timed

Written by `benchmarks/first_use.py`; run it again instead of editing this page.

A fresh clone, the README's command, a file of {way["rows"]:,} rows with columns of its own
names (dates, a rating that is missing, a row that stands there twice), a model trained, evaluated,
exported, verified, served, and asked: {len(parts)} commands, {total / 60:.1f} minutes.

- Goal: at most {MINUTES} minutes and {COMMANDS} commands: {reached}
- CPU time of all commands: {way["cpu"] / 60:.1f} minutes
{made.bullets()}
- Answered: lists of {answer[1]} items for {answer[0]} users

The clone comes from a local folder, and packages from an index or cache nearby: on a slow line the
installation takes as long as its downloads.

```text
{chr(10).join(parts)}
```
"""


if __name__ == "__main__":
    main()
