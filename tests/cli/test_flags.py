"""Flags as people type them, and errors in the words of the command line."""

import json

import pytest

from kerasrec.cli import main
from kerasrec.cli.app import parse
from kerasrec.cli.flags import in_flags

ROWS = [("007", "1", "4,5", "1700000000,5"), ("7", "2", "3", "1700000001"), ("8", "1", "1", "1")]


def audited(capsys, path, *flags):
    code = main(["audit", str(path), "--json", *flags])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return json.loads(captured.out), captured.err


def test_lists_need_no_brackets():
    assert parse(["evaluate", "run", "--k", "5,10"])[0].keywords["k"] == [5, 10]
    assert parse(["evaluate", "run", "--k=5"])[0].keywords["k"] == 5
    assert parse(["evaluate", "run", "--k", "[5, 10]"])[0].keywords["k"] == [5, 10]
    fit = ["fit", "EmbeddingMLP", "--data", "x", "--output", "y"]
    command, _ = parse([*fit, "--hidden_units", "64,32", "--context", "hour", "--columns", "7,a b"])
    assert list(command.args[1]["hidden_units"]) == [64, 32]
    assert list(command.args[2].context) == ["hour"]
    assert list(command.args[2].columns) == ["7", "a b"]


def test_what_excel_writes(tmp_path, capsys):
    path = tmp_path / "r.csv"
    lines = ["Benutzer;movieId;stars;ts", *(";".join(row) for row in ROWS)]
    path.write_bytes("\r\n".join(lines).encode("utf-16"))
    report, said = audited(capsys, path, "--encoding", "utf-16", "--user", "Benutzer")
    assert (report["rows"], report["users"], report["items"]) == (3, 3, 2)
    assert report["labels"] == [["1", 1], ["3", 1], ["4.5", 1]]
    assert report["problems"] == []
    assert said.count("\n") == 1
    assert "read as csv between semicolons, utf-16; user 'Benutzer', item 'movieId'" in said


@pytest.mark.parametrize("mark", ["|", "\t", "#"])
def test_a_file_without_header(tmp_path, capsys, mark):
    path = tmp_path / "r.csv"
    path.write_text("".join(mark.join(row) + "\n" for row in ROWS))
    flags = ["--columns", "user_id,item_id,rating,timestamp"]
    if mark == "#":
        flags += ["--separator", "#", "--decimal", ","]
    report, _ = audited(capsys, path, *flags)
    assert (report["rows"], report["users"], report["problems"]) == (3, 3, [])
    report, _ = audited(capsys, path, *flags, "--id_type", "string")
    assert report["users"] == 3


def test_quotes_by_flag(tmp_path, capsys):
    path = tmp_path / "r.csv"
    path.write_text('user_id,item_id,rating,timestamp,review\n1,2,3,4,"a\n2,3,4,5,b"\n3,4,5,6,c\n')
    assert main(["audit", str(path)]) == 2
    assert "Pass --quote '' if quotes are part of the text, or --quote" in capsys.readouterr().err
    assert audited(capsys, path, "--quote", "")[0]["rows"] == 3
    assert audited(capsys, path, "--quote", '"')[0]["rows"] == 2


@pytest.mark.parametrize(
    ("text", "flags", "message"),
    [
        ("usr,item_id\n1,2\n", [], "Pass --user with the name.*Did you mean 'usr'"),
        ("user_id,item_id\n1,2\n2,3\n", [], "--label null"),
        ("user_id,item_id,rating,timestamp\n1,2,3,4\n1,2,3,4\n", ["--label", "null"],
         "Pass --duplicates keep if repeats are meant, or --duplicates last or mean"),
        ("user_id,item_id,rating,timestamp\n1,2,,4\n1,3,3,4\n", [], "Pass --missing drop"),
        ("user_id,item_id\n1,2\n", ["--separator", "::"], "--separator must be one|separator must"),
        ("user_id,item_id\n1,2\n", ["--format", "xml"], "format must be one of"),
    ],
)  # fmt: skip
def test_errors_speak_of_flags(tmp_path, capsys, text, flags, message):
    import re

    (tmp_path / "r.csv").write_text(text)
    fit = ["fit", "Popularity", "--data", str(tmp_path / "r.csv"), "--output", str(tmp_path / "o")]
    assert main([*fit, *flags]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error)
    assert not re.search(r"\w=(None|')|Interactions:|kerasrec\.data", error)


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["evaluat", "x"], "Did you mean 'evaluate'?"),
        (["evaluate", "x", "--jsn"], "Did you mean --json?"),
        (["fit", "MatrixFactorisation", "--data", "x"], "Did you mean 'MatrixFactorization'?"),
        (["fit", "SASRec", "--data", "x", "--output", "y", "--epoch", "3"], "mean --epochs?"),
        (["fit", "SASRec", "--data", "x", "--output", "y", "--userid", "3"], "mean --user?"),
    ],
)
def test_did_you_mean(arguments, hint, capsys):
    assert main(arguments) == 2
    assert hint in capsys.readouterr().err


def test_repeats_can_be_kept(tmp_path):
    from kerasrec.cli.data import load
    from kerasrec.cli.settings import Source

    (tmp_path / "r.csv").write_text("userId,asin,score,ts\n1,2,True,4\n1,2,False,5\n2,3,True,6\n")
    rows = load(Source(str(tmp_path / "r.csv"), duplicates="keep")).interactions
    assert rows.column("score").tolist() == [1, 0, 1] and rows.user == "userId"
    assert len(load(Source(str(tmp_path / "r.csv"), duplicates="last")).interactions) == 2


def test_only_flags_of_the_command_are_replaced():
    text = "Pass user='a', x=3, f(user='b') and time=None."
    assert in_flags(text, ["user", "time"]) == "Pass --user a, x=3, f(user='b') and --time null."


def test_values_in_messages_can_be_pasted_into_a_shell():
    text = "Pass quote='\"', or positive='>=4'."
    assert in_flags(text, ["quote", "positive"]) == "Pass --quote '\"', or --positive '>=4'."
