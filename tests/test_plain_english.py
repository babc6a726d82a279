"""Reads docstrings, messages and documents, and holds them to the words of the field."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "kerasrec").rglob("*.py"))
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "docs/guides/*.md", "notebooks/*.py", "notebooks/*.ipynb")
    for path in ROOT.glob(pattern)
    if path.name not in ("CHANGELOG.md", "README.zh-CN.md")
)
# A docstring says what a function does: "Return whether ...", "Validate ...".
OPENINGS = {"What", "Whether", "Lets", "How", "Refuses", "Who", "Which", "Where", "Makes", "Tells"}
# Names of variables, arguments and functions that a reader of Keras would not expect.
NAMES = {"told", "tell", "teller", "room", "owed", "resting", "place", "one_pass"}
# Phrase, and what a reader expects instead.
PHRASES = {
    r"was not foreseen": "unexpected error",
    r"\bis wanted\b": "missing or invalid",
    r"\btells? a class\b": "predicts a class",
    r"\btells? the next item\b": "predicts the next item",
    r"no equal part has room": "do not divide evenly",
    r"\bwhat lies beside\b": "sidecar files",
    r"\bis no port number\b": "not a TCP port",
}


def docstrings(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield getattr(node, "lineno", 1), text


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings_open_with_what_is_done(path):
    wrong = [
        f"{path.name}:{line}: {text.splitlines()[0]}"
        for line, text in docstrings(path)
        if text.split()[0].rstrip(",.:") in OPENINGS
    ]
    assert not wrong, "Open with a verb in the imperative, or a noun:\n" + "\n".join(wrong)


@pytest.mark.parametrize(
    "path", [*SOURCES, *DOCUMENTS], ids=lambda path: str(path.relative_to(ROOT))
)
def test_phrases_are_those_of_the_field(path):
    # Lines are joined: a phrase may be broken.
    text = re.sub(r"\s+", " ", path.read_text("utf-8"))
    for phrase, better in PHRASES.items():
        found = re.search(phrase, text, re.IGNORECASE)
        assert not found, f"{path.name}: {found.group()!r}; write: {better}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_names_are_those_of_the_field(path):
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        found |= {getattr(node, name, None) for name in ("id", "arg", "attr", "name")}
    assert not found & NAMES, path.name


def test_a_wrong_opening_is_found(tmp_path):
    path = tmp_path / "module.py"
    path.write_text('def f():\n    """Whether it holds."""\n')
    with pytest.raises(AssertionError, match=r"module.py:1: Whether it holds"):
        test_docstrings_open_with_what_is_done(path)
