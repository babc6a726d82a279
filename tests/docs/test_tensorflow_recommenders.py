"""The page of TensorFlow Recommenders is run from top to bottom, where `tf.keras` is Keras 2."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "guides" / "tensorflow_recommenders.md"


@pytest.mark.slow
def test_the_code_runs_from_top_to_bottom(ratings):
    code = "\n".join(re.findall(r"^```py\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S))
    (ratings / "program.py").write_text(code, "utf-8")
    path = os.pathsep.join([str(PAGE.parents[2]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "program.py"],
        env={**os.environ, "PYTHONPATH": path},
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "verified: every difference is within 1e-05" in done.stdout
    assert (ratings / "tfrs.keras").is_file()
