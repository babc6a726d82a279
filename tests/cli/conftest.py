import pytest

from kerasrec.cli import terminal


@pytest.fixture(autouse=True)
def steps_are_silent(monkeypatch):
    """What is printed must not depend on how busy the machine is."""
    monkeypatch.setattr(terminal, "SHOWN_AFTER", 1e6)
