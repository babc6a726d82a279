"""What `first_use.py` types and shows, without the installation."""

import importlib
import re
import shlex
from pathlib import Path

import pytest

from kerasrec.cli.app import parse
from kerasrec.data import Interactions, read
from kerasrec.datasets.dataset import Dataset

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("first_use")


def test_ten_commands_that_the_command_line_takes(script):
    lines = script.commands(8501)
    assert len(lines) <= script.COMMANDS == 10
    assert lines[1] == "make install"
    assert "`make install`" in README
    for line in lines:
        if line.startswith("kerasrec "):
            parse(shlex.split(line.partition(" 2>")[0])[1:])


def test_a_shell_keeps_its_folder_and_says_how_a_command_ended(script, tmp_path):
    shell = script.Shell(tmp_path, {"PATH": "/usr/bin:/bin"})
    try:
        assert shell.run("mkdir films && cd films") == (0, "")
        assert shell.run("basename $PWD") == (0, "films\n")
        assert shell.run("printf 'no line end'") == (0, "no line end")
        assert shell.run("(exit 3)") == (3, "")
    finally:
        shell.close()
    assert shell.process.returncode is not None


def test_the_file_is_one_that_needs_flags(script, tmp_path, monkeypatch):
    table = {
        "user_id": [1, 2] * 5,
        "item_id": list(range(10)),
        "rating": [3.0] * 10,
        "timestamp": list(range(10)),
    }
    rows = Interactions.from_table(table)
    monkeypatch.setattr(script.datasets, "load", lambda name: Dataset(name, rows))
    path = tmp_path / "films.csv"
    assert script.write_own_file(path) == 11
    roles = dict(zip(*[iter(shlex.split(script.ROLES.replace("--", "")))] * 2, strict=True))
    with pytest.raises(ValueError, match="missing"):
        read(path, **roles)
    with pytest.raises(ValueError, match="repeat|twice|duplicate"):
        read(path, **roles, missing="drop")
    assert len(read(path, **roles, missing="drop", duplicates="keep")) == 10


def test_a_transcript_is_short_and_names_no_folder(script):
    text = "\n".join(f"/tmp/x/line {number}" for number in range(30))
    shown = script.shortened(text, "/tmp/x").splitlines()
    assert shown[0] == f"... ({30 - script.TAIL} lines)"
    assert len(shown) == script.TAIL + 1
    assert not re.search("/tmp", "".join(shown))
