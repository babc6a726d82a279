"""What is shown where: on a terminal (a pseudo-terminal here), and elsewhere."""

import io
import os
import pty
import re
import subprocess
import sys
import threading

import pytest

from kerasrec.cli import terminal

COLOUR = re.compile(rb"\x1b\[[\d;]*3[0-7][\d;]*m")


def on_terminal(arguments, **environment):
    """Exit code, and all that a person would see."""
    controller, screen = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "kerasrec.cli", *arguments],
        stdin=screen,
        stdout=screen,
        stderr=screen,
        env={**os.environ, "TERM": "xterm", **environment},
    )
    os.close(screen)
    seen = b""
    while True:
        try:
            part = os.read(controller, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        seen += part
    os.close(controller)
    return process.wait(), seen


@pytest.fixture(autouse=True)
def no_wish_of_the_caller(monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


def test_an_error_is_red_on_a_terminal_alone():
    code, seen = on_terminal(["audit", "nowhere.csv"])
    assert code == 2
    assert COLOUR.search(seen)
    assert b"nowhere.csv" in seen
    code, plain = on_terminal(["audit", "nowhere.csv"], NO_COLOR="1")
    assert code == 2
    assert not COLOUR.search(plain)
    assert b"nowhere.csv" in plain
    command = [sys.executable, "-m", "kerasrec.cli", "audit", "nowhere.csv"]
    piped = subprocess.run(command, capture_output=True, check=False)
    assert piped.returncode == 2
    assert b"\x1b" not in piped.stderr + piped.stdout


def test_a_step_moves_on_a_terminal(tmp_path):
    file = tmp_path / "ratings.csv"
    file.write_text("user_id,item_id,rating,timestamp\n1,2,3,4\n2,3,4,5\n")
    code, seen = on_terminal(["audit", str(file)])
    assert code == 0
    assert b"Reading" in seen and b"\x1b[" in seen
    assert b"rows          2" in seen


def test_a_short_step_is_silent(capsys, monkeypatch):
    monkeypatch.setattr(terminal, "SHOWN_AFTER", 3600.0)
    with terminal.step("Reading"):
        pass
    assert capsys.readouterr().err == ""


class Watched(io.StringIO):
    """A stream that can be waited for."""

    def __init__(self):
        super().__init__()
        self.written = threading.Event()

    def flush(self):
        self.written.set()


def test_a_long_step_is_announced_and_timed(monkeypatch):
    monkeypatch.setattr(terminal, "SHOWN_AFTER", 0.01)
    shown = Watched()
    with terminal.step("Reading", stream=shown):
        assert shown.written.wait(600)
    first, second = shown.getvalue().splitlines()
    assert first == "Reading ..."
    assert re.fullmatch(r"Reading: \d+\.\d s", second)


def test_a_failed_step_ends_its_line_too(monkeypatch):
    monkeypatch.setattr(terminal, "SHOWN_AFTER", 0.01)
    shown = Watched()
    with pytest.raises(ValueError, match="broken"), terminal.step("Reading", stream=shown):
        assert shown.written.wait(600)
        raise ValueError("broken")
    assert len(shown.getvalue().splitlines()) == 2


def test_errors_lose_their_line_breaks(capsys):
    terminal.say_error("one\n\n  two")
    assert capsys.readouterr().err == "kerasrec: one two\n"


LOAD = """
from kerasrec.cli import terminal

terminal.SHOWN_AFTER = 0
terminal.import_tensorflow(announced={})
"""


@pytest.mark.slow
@pytest.mark.parametrize("told, beginning", [(True, "Loading TensorFlow ..."), (False, "")])
def test_a_log_for_machines_is_not_told_that_tensorflow_is_loading(told, beginning):
    code = LOAD.format(told)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "" and done.stderr.startswith(beginning)
    assert bool(done.stderr) == told
