"""Tables of users and items on the command line: read once, kept with the run and the export."""

import json
import re

import numpy as np
import pytest

import kerasrec
from kerasrec.cli import main
from kerasrec.runs import read_run

FAST = ["--embedding_dim", "4", "--hidden_units", "8", "--epochs", "1", "--jit_compile", "false"]


def files(folder, write_ratings):
    write_ratings(folder / "ratings.csv")
    users = [f"u{user},{20.5 + user},{'fm'[user % 2]},EU" for user in range(40)]
    (folder / "users.csv").write_text("\n".join(["user_id,age,gender,region", *users]))
    genres = ("drama", "war|drama", "comedy")
    items = [f"{item},Film {item},{genres[item % 3]}" for item in range(30)]
    (folder / "items.csv").write_text("\n".join(["item_id,title,genres", *items]))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory, write_ratings):
    return files(tmp_path_factory.mktemp("features"), write_ratings)


def fit(folder, model="EmbeddingMLP", *flags, output="run", tables=("users", "items")):
    files = [flag for name in tables for flag in (f"--{name}", str(folder / f"{name}.csv"))]
    data = ["--data", str(folder / "ratings.csv"), "--output", str(folder / output)]
    return main(["fit", model, *data, *files, *(FAST if model == "EmbeddingMLP" else []), *flags])


@pytest.fixture(scope="module")
def run(tmp_path_factory, write_ratings):
    folder = files(tmp_path_factory.mktemp("run"), write_ratings)
    assert fit(folder) == 0
    for name in ("users", "items"):  # nothing reads them again
        (folder / f"{name}.csv").unlink()
    return folder / "run"


def test_a_run_keeps_what_its_model_reads(run):
    found = read_run(run)
    assert [f.name for f in found.schema.features] == [
        *("user_id", "age", "gender"), *("item_id", "genres"),
    ]  # fmt: skip
    assert list(found.users) == ["user_id", "age", "gender"]
    assert list(found.items) == ["item_id", "genres"] and found.items["genres"].shape == (32, 2)
    assert found.vocabularies["genres"].ids.tolist() == ["drama", "war", "comedy"]
    ages = found.users["age"][found.vocabularies["user_id"].encode(["u0", "u39"])]
    assert ages.tolist() == [20.5, 59.5] and np.isnan(found.users["age"][:2]).all()
    notes = json.loads((run / "run.json").read_text())["notes"]
    assert "user 'region' is left out: all values are 'EU'" in notes
    assert found.titles()["title"][0].as_py() == "Film 0"


def test_it_is_evaluated_without_the_files(run, capsys):
    assert main(["evaluate", str(run), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)["metrics"]
    first = json.loads((run / "metrics.json").read_text())
    assert [row["model"] for row in again] == [row["model"] for row in first]
    for old, new in zip(first, again, strict=True):
        assert new["ndcg@10"] == pytest.approx(old["ndcg@10"])


@pytest.mark.slow
def test_the_export_answers_by_id_alone_as_recommend_does(run, tmp_path, capsys):
    served = str(tmp_path / "served")
    assert main(["export", str(run), served, "--k", "5", "--filter_by", "genres"]) == 0
    assert main(["verify", served]) == 0
    capsys.readouterr()
    assert main(["recommend", str(run), "--user", "u3", "--k", "5", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["items"]
    seen = read_run(run).seen()
    mine = seen["user_id"] == read_run(run).vocabularies["user_id"].encode(["u3"])[0]
    exclude = read_run(run).vocabularies["item_id"].decode(seen["item_id"][mine])
    model = kerasrec.serving.load(served)
    assert set(model.inputs("recommend")) == {"user_id", "exclude", "allow"}
    (answer,) = model.recommend({"user_id": ["u3"]}, exclude=[exclude.tolist()]).rows()
    assert [item for item, _ in answer] == [row["item"] for row in shown]
    assert [score for _, score in answer] == pytest.approx([row["score"] for row in shown], 1e-4)
    (wars,) = model.recommend({"user_id": ["u3"]}, allow=[["war"]]).rows()
    assert {item % 3 for item, _ in wars} == {1}


@pytest.mark.parametrize(
    ("model", "flags"), [("MatrixFactorization", []), ("EmbeddingMLP", ["--features", "none"])]
)
def test_a_model_of_ids_keeps_no_tables(model, flags, folder, request):
    fast = ["--epochs", "1", "--jit_compile", "false", "--embedding_dim", "4"]
    output = f"ids-{model}"
    assert fit(folder, model, *fast, *flags, output=output) == 0
    found = read_run(folder / output)
    assert [f.name for f in found.schema.features] == ["user_id", "item_id"]
    assert found.users is found.items is None


def test_features_and_their_kinds_are_chosen(folder):
    flags = ["--features", "{age: buckets, genres: bag}"]
    assert fit(folder, "EmbeddingMLP", *flags, output="chosen") == 0
    found = read_run(folder / "chosen")
    assert [f.name for f in found.schema.features] == ["user_id", "age", "item_id", "genres"]
    assert found.vocabularies["age"].dtype == "float32" and found.users["age"].dtype == np.int32


def test_audit_says_what_the_columns_are_taken_for(folder, capsys):
    files = [
        flag for name in ("users", "items") for flag in (f"--{name}", str(folder / f"{name}.csv"))
    ]
    assert main(["audit", str(folder / "ratings.csv"), *files]) == 0
    text = capsys.readouterr().out
    assert "genres" in text and "bag" in text and "region" in text


@pytest.mark.parametrize(
    ("name", "table", "flags", "message"),
    [
        ("items", "item_id,genres\n1,a\n2,b\n", [], r"2\d of the 30 items .* --missing_sides"),
        ("items", None, [], "items.*there is no such file"),
        ("users", "name,age\nu1,3\n", [], "expected a column 'user_id'"),
        ("users", "user_id,age\nu1,3\nu1,4\n", [], "every user must have one row"),
        ("users", None, ["--features", "shoes"], r"there are no features \['shoes'\]"),
    ],
)
def test_tables_that_do_not_fit_are_refused(
    name, table, flags, message, folder, tmp_path, write_ratings, capsys
):
    write_ratings(tmp_path / "ratings.csv")
    if table is not None:
        (tmp_path / f"{name}.csv").write_text(table)
    elif flags:
        (tmp_path / "users.csv").write_text((folder / "users.csv").read_text())
    assert fit(tmp_path, "EmbeddingMLP", *flags, tables=[name]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "run").exists()
