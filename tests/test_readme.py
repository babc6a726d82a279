"""The README is run: its script exactly as printed, its commands line by line."""

import json
import re
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kerasrec.cli import main

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.M | re.S)


@pytest.fixture
def ratings(tmp_path, monkeypatch):
    """A folder with the `ratings.csv` that the README speaks of: 60 users, 40 items."""
    rng = np.random.default_rng(0)
    lines = ["user_id,item_id,rating,timestamp"]
    for user in range(170, 230):
        items = rng.choice(np.arange(user % 2, 40, 2), size=8, replace=False)
        lines += [f"{user},{item},{1 + item % 5},{time}" for time, item in enumerate(items)]
    (tmp_path / "ratings.csv").write_text("\n".join(lines) + "\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_script_of_20_lines_goes_from_a_data_frame_to_a_verified_export(ratings, capsys):
    (script,) = blocks("python")
    assert len([line for line in script.splitlines() if line.strip()]) <= 20
    exec(compile(script, "README.md", "exec"), {})
    assert (ratings / "served/mf/1/saved_model.pb").is_file()
    assert "verified" in capsys.readouterr().out


def test_the_commands_of_the_readme_run_in_this_order(ratings, capsys):
    (yaml,) = blocks("yaml")
    (ratings / "mlp.yaml").write_text(yaml)
    (commands,) = (block for block in blocks("sh") if block.startswith("kerasrec "))
    for line in commands.splitlines():
        program, *arguments = shlex.split(line)
        assert program == "kerasrec"
        # Compilation takes longer than some epochs on some hundred rows.
        plain = ["--jit_compile", "false"] if arguments[0] == "fit" else []
        assert main([*arguments, *plain]) == 0, capsys.readouterr().err
    assert "verified" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_what_is_served_answers_as_the_readme_asks(ratings):
    (serve, curl) = (line for block in blocks("bash") for line in block.splitlines())
    flags = ["--data", "ratings.csv", "--output", "runs/mf", "--epochs", "1"]
    assert main(["fit", "MatrixFactorization", *flags, "--jit_compile", "false"]) == 0
    assert main(["export", "runs/mf", "served/cli"]) == 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    program, *arguments = shlex.split(serve.replace("8501", port))
    assert program == "kerasrec"
    command = [sys.executable, "-m", "kerasrec.cli", *arguments, "--grpc_port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert any('"event": "ready"' in line for line in server.stderr)
            asked = shlex.split(curl.replace("8501", port))
            done = subprocess.run([*asked, "-s"], capture_output=True, check=True)
            assert len(json.loads(done.stdout)["outputs"]["item_id"][0]) == 10
        finally:
            server.terminate()


def test_the_make_targets_of_the_readme_exist():
    makefile = (Path(__file__).parent.parent / "Makefile").read_text("utf-8")
    for target in set(re.findall(r"\bmake (\w+)", README)):
        assert re.search(rf"^{target}:", makefile, re.M), target
