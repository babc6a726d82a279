import re
import subprocess
import sys

import pytest

import kerasrec
from kerasrec.cli import main
from kerasrec.cli.app import COMMANDS, parse
from kerasrec.cli.settings import Source, Splitting, Training
from kerasrec.cli.signatures import model_names

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


def test_the_console_script_is_this():
    done = subprocess.run(
        [sys.executable, "-m", "kerasrec.cli", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == f"kerasrec {kerasrec.__version__}"
    assert done.stderr == ""


def test_help_lists_commands_and_models(capsys):
    for arguments, names in ((["--help"], COMMANDS), (["fit", "--help"], model_names())):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == 0
        out = capsys.readouterr().out
        assert all(f"    {name}" in out for name in names)


def test_flags_reach_the_constructor_and_the_settings():
    command = parse([*FIT, "--embedding_dim", "32", "--split", "time", "--epochs", "3"])
    model, hyperparameters, source, splitting, training = command.args
    assert model == "MatrixFactorization"
    assert hyperparameters == {
        "embedding_dim": 32,
        "use_bias": True,
        "initial_bias": 0.0,
        "stddev": 0.1,
        "l2": 0.0,
        "bias_l2": 0.0,
        "temperature": None,
        "dtype": None,
    }
    assert source == Source("ratings.csv")
    assert splitting == Splitting("time")
    assert training == Training(epochs=3)
    assert command.keywords == {"output": "out"}


def test_sequences_and_null():
    command = parse(
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
    command = parse(["fit", "MatrixFactorization", "--config", str(file), "--epochs", "5"])
    assert command.args[1]["embedding_dim"] == 32
    assert command.args[2].data == "ratings.csv"
    assert command.args[4].epochs == 5


def test_yaml_for_the_other_commands(tmp_path):
    file = tmp_path / "k.yaml"
    file.write_text("k: [5, 20]\n")
    assert parse(["evaluate", "runs/mf", "--config", str(file)]).keywords == {
        "run": "runs/mf",
        "k": [5, 20],
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], r'expected "command" to be one of \{audit.*kerasrec --help says what fits'),
        (["train"], "invalid choice: 'train' .choose from 'audit', 'fit'"),
        (["fit"], r'expected "model" to be one of .*MatrixFactorization.*kerasrec fit --help'),
        (["fit", "SVD"], "invalid choice: 'SVD' .choose from 'EmbeddingMLP'.*kerasrec fit --help"),
        ([*FIT, "--embedding_dim", "wide"], "embedding_dim.*Expected a <class 'int'>.*wide"),
        ([*FIT, "--hidden_units", "[8]"], "unrecognized arguments: --hidden_units"),
        ([*FIT, "--embed", "8"], "unrecognized arguments: --embed 8"),
        ([*FIT, "--loss", "hinge"], "loss.*softmax.*hinge"),
        (FIT[:4], "required: MatrixFactorization.output.*kerasrec fit MatrixFactorization --help"),
        ([*FIT, "--config", "nowhere.yaml"], "File does not exist.*nowhere.yaml"),
        (["recommend", "runs/mf"], "required: recommend.user"),
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
    for name in model_names():
        parse(["fit", name, "--data", "x", "--output", "y"])


def test_an_interrupt_is_no_traceback(monkeypatch, capsys):
    def interrupted(directory: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(COMMANDS, "verify", interrupted)
    assert run(["verify", "x"], capsys)[0] == 130
