"""The page of other tools is run from top to bottom, offline; see also test_guides.py."""

import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "guides" / "integrations.md"
BLOCK = re.compile(r"^```(python|py)\n(.*?)^```$", re.M | re.S)


def blocks(tool=None):
    """Code of the page, with that of one tool of those that are not installed with the others."""
    found = []
    for language, block in BLOCK.findall(PAGE.read_text("utf-8")):
        if language == "python" or (tool and f"import {tool}\n" in block):
            found.append(block)
    return found


def run(code, folder):
    """In a process of its own: these tools start threads and servers, and warn."""
    program = folder / "program.py"
    program.write_text("\n".join(code), "utf-8")
    (folder / "runs").mkdir(exist_ok=True)
    root = str(PAGE.parents[2])
    environment = {
        **os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]),
        "WANDB_MODE": "offline", "WANDB_SILENT": "true", "TF_CPP_MIN_LOG_LEVEL": "3",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, str(program)], cwd=folder, env=environment, text=True, capture_output=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture
def folder(tmp_path):
    """A folder with the file that the page speaks of: 60 users, 40 items."""
    rng = np.random.default_rng(0)
    lines = ["user_id,item_id,rating,timestamp"]
    for user in range(60):
        items = rng.choice(40, size=8, replace=False)
        lines += [f"{user},{item},{1 + item % 5},{time}" for time, item in enumerate(items)]
    (tmp_path / "ratings.csv").write_text("\n".join(lines) + "\n", "utf-8")
    return tmp_path


@pytest.mark.slow
def test_tables_and_tensorboard(folder):
    pytest.importorskip("tensorboard", reason="needs tensorboard")
    for package in ("duckdb", "polars", "pandas"):
        pytest.importorskip(package, reason=f"needs {package}")
    run(blocks(), folder)
    events = list((folder / "runs" / "tensorboard").rglob("events*"))
    assert events
    text = b"".join(path.read_bytes() for path in events)
    # Validation figures of a callback are among those of the epoch.
    assert b"ndcg@10" in text and b"grad_norm/user_vectors" in text


@pytest.mark.slow
def test_weights_and_biases(folder):
    pytest.importorskip("wandb", reason='needs wandb: pip install "kerasrec[integrations]"')
    output = run(blocks("wandb"), folder)
    assert 0 <= float(output.strip().splitlines()[-1]) <= 1
    assert list((folder / "runs" / "wandb").glob("offline-run-*"))


@pytest.mark.slow
def test_mlflow(folder):
    pytest.importorskip("mlflow", reason='needs mlflow: pip install "kerasrec[integrations]"')
    output = run(blocks("mlflow"), folder)
    assert 0 <= float(output.strip().splitlines()[-1]) <= 1
    assert (folder / "runs" / "mlflow.db").stat().st_size
