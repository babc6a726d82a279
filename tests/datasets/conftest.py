import os
import pathlib

import pytest


@pytest.fixture
def data():
    """The folder of real data sets."""
    root = os.environ.get("KERASREC_DATA")
    if not root or not pathlib.Path(root).is_dir():
        pytest.skip("needs real data: set KERASREC_DATA to a folder of data sets")
    return pathlib.Path(root)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and no folder of the user's own."""
    monkeypatch.delenv("KERASREC_DATA", raising=False)
    monkeypatch.setenv("KERASREC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
