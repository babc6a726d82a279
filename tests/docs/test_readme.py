"""The README is run as printed, its figures are looked up, and the Chinese one is held to it."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kerasrec.cli import main

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
CHINESE = (ROOT / "README.zh-CN.md").read_text("utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.M | re.S)


def test_a_script_of_12_lines_goes_from_data_frames_to_a_verified_export(ratings, capsys):
    (script,) = blocks("python")
    assert len([line for line in script.splitlines() if line.strip()]) <= 12
    names = {}
    exec(compile(script, "README.md", "exec"), names)
    assert (ratings / "served/mlp/1/saved_model.pb").is_file()
    assert "verified" in capsys.readouterr().out
    assert [f.name for f in names["model"].schema.features] == [
        *("user_id", "age", "gender"), *("item_id", "genres"),
    ]  # fmt: skip


def test_the_commands_of_the_readme_run_in_this_order(ratings, capsys):
    (commands,) = blocks("sh")
    for line in commands.splitlines():
        program, *arguments = shlex.split(line)
        assert program == "kerasrec"
        # Compilation takes longer than some epochs on some hundred rows.
        plain = ["--jit_compile", "false"] if arguments[0] == "fit" else []
        assert main([*arguments, *plain]) == 0, capsys.readouterr().err
    assert "verified" in capsys.readouterr().out


def test_the_commands_on_visits_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = [f"{n % 9}.5,{'ab'[n % 2]},{int(n % 9 + n % 2 > 5)}" for n in range(200)]
    (tmp_path / "visits.csv").write_text("\n".join(["seconds,country,bought", *rows]) + "\n")
    _, commands = blocks("bash")
    for line in commands.splitlines():
        _, *arguments = shlex.split(line)
        plain = ["--jit_compile", "false", "--epochs", "2"] if arguments[0] == "fit" else []
        assert main([*arguments, *plain]) == 0, capsys.readouterr().err
    assert (tmp_path / "served/visits/1/saved_model.pb").is_file()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_what_is_served_answers_as_the_readme_asks(ratings, free_ports):
    served, _ = blocks("bash")
    serve, curl = served.splitlines()
    flags = ["--data", "ratings.csv", "--output", "runs/mf", "--epochs", "1"]
    assert main(["fit", "MatrixFactorization", *flags, "--jit_compile", "false"]) == 0
    assert main(["export", "runs/mf", "served/cli"]) == 0
    port = str(free_ports(1)[0])
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
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in set(re.findall(r"\bmake (\w+)", README)):
        assert re.search(rf"^{target}:", makefile, re.M), target


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_figures_are_those_of_the_pages_they_link_to(name, documentation):
    assert not documentation.unmeasured(ROOT / name)


def rows_of(text):
    """Cells of the table rows that begin with a name in code, by that name."""
    lines = re.findall(r"^\| `(\w+)` \|(.*)\|$", text, re.M)
    return {name: [cell.strip() for cell in cells.split("|")] for name, cells in lines}


@pytest.mark.parametrize("text", [README, CHINESE], ids=["English", "Chinese"])
def test_the_table_of_models_is_that_of_the_benchmark(text):
    measured = rows_of((ROOT / "docs/benchmarks/zoo.md").read_text("utf-8"))
    shown = rows_of(text)
    assert set(measured) <= set(shown)
    for name, cells in shown.items():
        expected = [cell.split(" ")[0] for cell in measured.get(name, ["", ""])[:2]]
        assert cells[-2:] == expected, name


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md", "CONTRIBUTING.md"])
def test_links_and_named_files_exist(name):
    text = (ROOT / name).read_text("utf-8")
    links = re.findall(r"\]\(([^)#\s]+)\)", text)
    named = re.findall(r"`((?:docs|benchmarks|export|tests|kerasrec)/[\w./-]*)`", text)
    for path in [link for link in links if "://" not in link] + named:
        assert (ROOT / path).exists(), path


def structure(text):
    """What does not change with the language: levels of headings, rows of tables, lists, code."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    return {
        "headings": re.findall(r"^(#+) ", prose, re.M),
        "code": re.findall(r"^```.*?^```$", text, re.M | re.S),
        "columns": [line.count("|") for line in prose.splitlines() if line.startswith("|")],
        "list items": len(re.findall(r"^- ", prose, re.M)),
        "paragraphs": len(re.findall(r"\n\n", prose)),
        "named in code": sorted(re.findall(r"`[^`]+`", prose)),
        "addresses": re.findall(r"\]\(((?!README)[^)]+)\)", prose),
        "numbers": sorted(re.findall(r"\d[\d.,]*\d|\d", re.sub(r"（|）|，|。|；", " ", prose))),
    }


def test_the_chinese_readme_is_in_step():
    english, chinese = structure(README), structure(CHINESE)
    for part, expected in english.items():
        assert chinese[part] == expected, part
    assert len(re.findall(r"[\u4e00-\u9fff]", CHINESE)) > 800
