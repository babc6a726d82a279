import re
import shlex
import sys
from contextlib import nullcontext, redirect_stdout

import numpy as np
import pytest

from kerasrec.cli import main

BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```$", re.M | re.S)
LINK = re.compile(r"\]\(([\w./-]*benchmarks/[\w-]+\.md)\)")
# Measured figures have decimals; what is set (rates, bounds) stands in code.
FIGURE = re.compile(
    r"(?<![\w.@])\d[\d,]*\.\d+(?:e[+-]\d+)?|(?<![\w.,@])\d{1,3}(?:,\d{3})+(?![\d.])"
)


def run(text, name):
    """Runs the blocks in their order: Python in one namespace, commands as on a command line."""
    namespace = {"__name__": name}
    for language, block in BLOCK.findall(text):
        if language == "python":
            exec(compile(block, name, "exec"), namespace)
            continue
        for line in block.splitlines():
            program, *arguments = shlex.split(line, comments=True)
            assert program == "kerasrec", line
            file = None
            if ">" in arguments:
                *arguments, _, file = arguments
            # Compilation takes longer than some epochs on some hundred rows.
            plain = ["--jit_compile", "false"] if arguments[0] == "fit" else []
            with open(file, "w") if file else nullcontext(sys.stdout) as out, redirect_stdout(out):
                assert main([*arguments, *plain]) == 0, line
    return namespace


def paragraphs(text):
    """Paragraphs, and rows of tables, without code."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    for paragraph in text.split("\n\n"):
        if paragraph.startswith("|"):
            yield from paragraph.splitlines()
        else:
            yield paragraph


def numbers(text):
    return [match.replace(",", "") for match in FIGURE.findall(text)]


def is_among(figure, measured):
    """Whether a measured number is, or rounds to, the figure."""
    value, digits = float(figure), len(figure.partition(".")[2])
    if "e" in figure:
        return any(float(number) == value for number in measured)
    return any(f"{float(number):.{digits}f}" == figure for number in measured)


def unmeasured(page):
    """Figures of paragraphs with links to benchmark pages that none of these pages has."""
    wrong = []
    for paragraph in paragraphs(page.read_text("utf-8")):
        measured = []
        for link in LINK.findall(paragraph):
            measured += numbers((page.parent / link).read_text("utf-8"))
        prose = re.sub(r"`[^`]*`|\$[^$]*\$", "", paragraph)
        if measured:
            wrong += [f"{f} in {prose:.80}" for f in numbers(prose) if not is_among(f, measured)]
    return wrong


@pytest.fixture
def documentation():
    """The functions above, for the tests of pages."""

    class Functions:
        pass

    for function in (run, numbers, is_among, unmeasured):
        setattr(Functions, function.__name__, staticmethod(function))
    return Functions


@pytest.fixture
def ratings(tmp_path, monkeypatch):
    """A folder with the files that the documentation speaks of: 60 users, 40 items."""
    rng = np.random.default_rng(0)
    lines = ["user_id,item_id,rating,timestamp"]
    for user in range(170, 230):
        items = rng.choice(np.arange(user % 2, 40, 2), size=8, replace=False)
        lines += [f"{user},{item},{1 + item % 5},{time}" for time, item in enumerate(items)]
    (tmp_path / "ratings.csv").write_text("\n".join(lines) + "\n")
    items = [f"{item},{'odd|tricky' if item % 2 else 'even'}" for item in range(40)]
    (tmp_path / "items.csv").write_text("\n".join(["item_id,genres", *items]) + "\n")
    users = [f"{user},{20 + user % 50},{'fm'[user % 2]}" for user in range(170, 230)]
    (tmp_path / "users.csv").write_text("\n".join(["user_id,age,gender", *users]) + "\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path
