import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import kerasrec
from kerasrec.cli import main
from kerasrec.cli.app import COMMANDS, parse
from kerasrec.cli.model_flags import MODELS
from kerasrec.cli.output import Report
from kerasrec.cli.settings import Source, Splitting
from kerasrec.runs import Training

FIT = ["fit", "MatrixFactorization", "--data", "ratings.csv", "--output", "out"]


def run(arguments, capsys):
    code = main(arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["fit", "--help"], ["fit", "EmbeddingMLP", "--help"], ["recommend", "--help"]],
    ids=" ".join,
)
def test_help_imports_nothing_heavy(arguments):
    code = f"""
import sys
from kerasrec.cli import main
try:
    main({arguments!r})
except SystemExit as end:
    assert not end.code
print(sorted({{"tensorflow", "keras", "pyarrow", "scipy"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("module", ["kerasrec", "kerasrec.cli"])
def test_the_console_script_is_this(module):
    done = subprocess.run(
        [sys.executable, "-m", module, "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == f"kerasrec {kerasrec.__version__}"
    assert done.stderr == ""


def test_help_lists_commands_and_models(capsys):
    for arguments, names in ((["--help"], COMMANDS), (["fit", "--help"], MODELS)):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == 0
        out = capsys.readouterr().out
        assert all(f"    {name}" in out for name in names)


def test_flags_reach_the_constructor_and_the_settings():
    command, as_json = parse(
        [*FIT, "--embedding_dim", "32", "--split", "time", "--epochs", "3", "--json"]
    )
    assert as_json is True
    model, hyperparameters, source, splitting, training = command.args
    assert model == "MatrixFactorization"
    assert hyperparameters == {"embedding_dim": 32}  # the rules may choose the others
    assert source == Source("ratings.csv")
    assert splitting == Splitting("time")
    assert training == Training(epochs=3)
    flags = ("recipe", "resume", "refit")
    plain = {"output": "out", "budget": None, "replicas": None, **dict.fromkeys(flags, False)}
    assert command.keywords == plain
    command, _ = parse([*FIT, "--resume", "--refit", "--recipe", "--budget", "5m"])
    assert command.keywords == {**plain, "budget": "5m", **dict.fromkeys(flags, True)}


def test_what_is_given_is_what_differs_from_a_default_or_from_the_choice_of_the_rules():
    flags = ["--l2", "0", "--temperature", "null", "--use_bias", "true", "--embedding_dim", "auto"]
    command, _ = parse([*FIT, *flags])
    assert command.args[1] == {"l2": 0.0, "temperature": None}
    command, _ = parse([*FIT, "--use_bias", "false"])
    assert command.args[1] == {"use_bias": False}


def test_sequences_and_null():
    command, _ = parse(
        ["fit", "EmbeddingMLP", "--data", "x", "--output", "y", "--hidden_units", "[8, 4]"]
        + ["--context", "[hour]", "--time", "null", "--dtype", "mixed_bfloat16"]
    )
    assert list(command.args[1]["hidden_units"]) == [8, 4]
    assert command.args[1]["dtype"] == "mixed_bfloat16"
    assert list(command.args[2].context) == ["hour"]
    assert command.args[2].time is None


def test_one_yaml_file_holds_the_same_names_and_flags_come_after_it(tmp_path):
    file = tmp_path / "mf.yaml"
    file.write_text("data: ratings.csv\nembedding_dim: 32\nepochs: 3\noutput: out\n")
    command, _ = parse(["fit", "MatrixFactorization", "--config", str(file), "--epochs", "5"])
    assert command.args[1]["embedding_dim"] == 32
    assert command.args[2].data == "ratings.csv"
    assert command.args[4].epochs == 5


def test_yaml_for_the_other_commands(tmp_path):
    file = tmp_path / "k.yaml"
    file.write_text("k: [5, 20]\n")
    command, as_json = parse(["evaluate", "runs/mf", "--config", str(file)])
    assert command.keywords == {"run": "runs/mf", "k": [5, 20], "data": None, "segments": None}
    assert as_json is False


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train"], "invalid choice: 'train' .choose from 'audit', 'fit'"),
        (["fit"], r'expected "model" to be one of .*AutoInt.*kerasrec fit --help'),
        (["fit", "SVD"], "invalid choice: 'SVD' .choose from 'AutoInt'.*kerasrec fit --help"),
        ([*FIT, "--embedding_dim", "wide"], "embedding_dim.*Expected a <class 'int'>.*wide"),
        ([*FIT, "--hidden_units", "[8]"], "unrecognized arguments: --hidden_units"),
        ([*FIT, "--embed", "8"], "unrecognized arguments: --embed 8"),
        ([*FIT, "--loss", "hinge"], "loss.*softmax.*hinge"),
        (FIT[:4], "--output: expected the directory to write; received none"),
        ([*FIT, "--budget", "0"], "--budget 0: expected a time above 0, such as '90s'"),
        ([*FIT, "--budget", "5x"], "--budget 5x: expected a time above 0"),
        ([*FIT, "--config", "nowhere.yaml"], "File does not exist.*nowhere.yaml"),
        (["recommend"], "required: recommend.run"),
        (["evaluate", "nowhere"], "nowhere: expected a directory that `kerasrec fit` wrote"),
    ],
)
def test_bad_flags(arguments, message, capsys):
    code, out, err = run(arguments, capsys)
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert re.search(message, err)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: [\n", "Problems parsing config.*in the YAML file, line 2"),
        ("just text\n", "Unexpected config: just text"),
        ("embeddingdim: 3\n", "does not accept option 'embeddingdim'"),
        ("embedding_dim: wide\n", "embedding_dim.*wide"),
        ("model: Popularity\n", "MatrixFactorization.*Popularity"),
    ],
)
def test_bad_yaml(text, message, tmp_path, capsys):
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    code, out, err = run([*FIT, "--config", str(file)], capsys)
    assert code == 2
    assert out == ""
    assert re.search(message, err)


def test_the_flags_of_models_and_of_training_are_different_ones():
    """They stand side by side, so that one name must mean one thing."""
    options = {field.name for field in dataclasses.fields(Training)}
    for name, (_, flags) in MODELS.items():
        assert not options & {flag.name for flag in flags}, name


def test_an_interrupt_is_no_traceback(monkeypatch, capsys):
    def interrupted(directory: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(COMMANDS, "verify", interrupted)
    assert run(["verify", "x"], capsys)[0] == 130


def test_no_arguments_help(capsys):
    with pytest.raises(SystemExit) as end:
        main([])
    assert end.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith("usage: kerasrec command ...")
    assert all(f"    {name}" in out for name in COMMANDS)


def test_usage_names_the_command(capsys):
    for call in (["evaluate"], ["fit", "EmbeddingMLP"]):
        with pytest.raises(SystemExit):
            main([*call, "--help"])
        assert capsys.readouterr().out.startswith(f"usage: kerasrec {' '.join(call)} [--config")


def test_every_command_that_reports_has_json(capsys):
    for name in COMMANDS:
        call = ["fit", "Popularity"] if name == "fit" else [name]
        with pytest.raises(SystemExit):
            main([*call, "--help"])
        assert ("--json" in capsys.readouterr().out) == (name not in ("serve", "demo"))


def raising(error):
    def command(directory: str) -> None:
        raise error

    return command


def test_an_error_is_one_paragraph(monkeypatch, capsys):
    monkeypatch.setitem(COMMANDS, "verify", raising(ValueError("Received 3.\n\n  Expected 4.")))
    assert run(["verify", "x"], capsys) == (2, "", "kerasrec: Received 3. Expected 4.\n")


def test_an_unexpected_error_is_one_paragraph_too_and_a_traceback_on_demand(monkeypatch, capsys):
    monkeypatch.setitem(COMMANDS, "verify", raising(RuntimeError("the graph\nis odd")))
    monkeypatch.delenv("KERASREC_TRACEBACK", raising=False)
    code, out, err = run(["verify", "x"], capsys)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("kerasrec: RuntimeError: the graph is odd. Unexpected error.")
    monkeypatch.setenv("KERASREC_TRACEBACK", "1")
    with pytest.raises(RuntimeError, match="is odd"):
        main(["verify", "x"])


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path):
    file = tmp_path / "ratings.csv"
    file.write_text("user_id,item_id,rating,timestamp\n1,2,3,4\n2,3,4,5\n")
    program = f"""
import os, sys
read, write = os.pipe()
os.close(read)
os.dup2(write, 1)
from kerasrec.cli import terminal
terminal.SHOWN_AFTER = 1e6
from kerasrec.cli import main
os._exit(main(["audit", {str(file)!r}]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (141, b"")


def test_json_is_all_that_goes_to_stdout(monkeypatch, capsys):
    def talkative(directory: str) -> Report:
        print("a data set's terms")
        return Report({"path": Path(directory), "loss": float("nan")}, "text", code=1)

    monkeypatch.setitem(COMMANDS, "verify", talkative)
    code, out, err = run(["verify", "here", "--json"], capsys)
    assert (code, json.loads(out), err) == (
        1,
        {"path": "here", "loss": None},
        "a data set's terms\n",
    )
    assert run(["verify", "here"], capsys) == (1, "a data set's terms\ntext\n", "")
