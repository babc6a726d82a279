"""`kerasrec report`: comparison of runs on one page."""

import json
from collections.abc import Sequence
from pathlib import Path

import kerasrec
from kerasrec._files import new_file
from kerasrec.cli.output import Report
from kerasrec.cli.terminal import step

RUNS = "directories that kerasrec fit wrote, of one data set and split; the first is the reference"


def report(runs: Sequence[str], *, output: str = "report.html") -> Report:
    """Compare runs on one self-contained HTML page, with its numbers in a JSON file.

    Args:
        runs: directories written by `kerasrec fit`, of one data set and split. The others are
            tested against the first.
        output: the page. The numbers go to the same name with .json.

    Raises:
        ValueError: if a directory is no run or holds no records, the runs have different rows, or
            the output does not end in .html.
    """
    path = Path(output)
    if path.suffix != ".html":
        raise ValueError(f"--output {output}: expected a name that ends in .html.")
    with step("Comparing the runs"):
        numbers = kerasrec.reports.figures([kerasrec.reports.read_recorded(run) for run in runs])
        texts = {
            path.with_suffix(".json"): json.dumps(numbers, indent=2, allow_nan=False) + "\n",
            path: kerasrec.reports.page(numbers),
        }
    for file, text in texts.items():
        with new_file(file) as temporary:
            temporary.write_text(text, encoding="utf-8")
    numbers_path = path.with_suffix(".json")
    return Report({"page": path, "numbers": numbers_path}, f"Written to {path} and {numbers_path}.")
