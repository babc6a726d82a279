"""Lists for a user, for many and for an item, from what a run remembers."""

import json
import re

import numpy as np
import pyarrow.parquet as pq
import pytest

from kerasrec.cli import main
from kerasrec.runs import read_run


def lines(capsys):
    return capsys.readouterr().out.splitlines()


def test_recommend_leaves_out_what_was_seen(run, ratings, capsys):
    seen = {
        line.split(",")[1] for line in ratings.read_text().splitlines() if line.startswith("u4,")
    }
    assert main(["recommend", str(run), "--user", "u4", "--k", "24"]) == 0
    first, *rows = lines(capsys)
    assert first == "User u4:"
    items = [row.split()[1] for row in rows]
    assert len(set(items)) == 24
    assert not seen & set(items)
    scores = [float(row.split()[0]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert main(["recommend", str(run), "--user", "u4", "--k", "30", "--exclude", "none"]) == 0
    assert seen < {row.split()[1] for row in lines(capsys)[1:]}


def test_an_unknown_user_gets_popular_items_marked_so(run, capsys):
    assert main(["recommend", str(run), "--user", "zoé", "--k", "3"]) == 0
    first, *rows = lines(capsys)
    assert first == "User zoé is unknown. The most popular items, with their training rows:"
    counts = [float(row.split()[0]) for row in rows]
    assert len(counts) == 3
    assert counts == sorted(counts, reverse=True)


@pytest.mark.parametrize(("k", "limit"), [("25", "24"), ("0", "24")])
def test_k_beyond_the_items_that_are_left(k, limit, run, capsys):
    assert main(["recommend", str(run), "--user", "u4", "--k", k]) == 2
    assert f"--k {k}: expected 1 to {limit}" in capsys.readouterr().err


@pytest.fixture
def users(tmp_path):
    file = tmp_path / "users.csv"
    file.write_text("name,user_id\nb,u7\na,u4\nb,u7\nz,nobody\n")
    return file


@pytest.fixture
def titles(tmp_path):
    file = tmp_path / "items.csv"
    file.write_text("item_id,title\n" + "".join(f"{i},The {i}th\n" for i in range(0, 30, 2)))
    return file


def seen_by(ratings, user):
    rows = (line.split(",") for line in ratings.read_text().splitlines())
    return {int(item) for one, item, *_ in list(rows)[1:] if one == user}


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_file_of_users_gives_a_file_of_lists(
    suffix, run, users, titles, ratings, tmp_path, capsys
):
    output = tmp_path / f"lists{suffix}"
    flags = ["--users", str(users), "--items", str(titles), "--output", str(output), "--k", "4"]
    assert main(["recommend", str(run), *flags]) == 0
    assert lines(capsys) == [f"3 lists are in {output}."]
    if suffix == ".csv":
        from pyarrow import csv

        rows = csv.read_csv(output).to_pylist()
    else:
        rows = pq.read_table(output).to_pylist()
    assert list(rows[0]) == ["user_id", "known", "rank", "item_id", "score", "title"]
    assert [row["user_id"] for row in rows] == ["u7"] * 4 + ["u4"] * 4 + ["nobody"] * 4
    assert [row["rank"] for row in rows] == [1, 2, 3, 4] * 3
    for row in rows:
        even = row["item_id"] % 2 == 0
        assert (row["title"] or None) == (f"The {row['item_id']}th" if even else None)
        assert row["known"] == (row["user_id"] != "nobody")
    # The same as one user at a time.
    for user in ("u7", "u4", "nobody"):
        capsys.readouterr()
        assert main(["recommend", str(run), "--user", user, "--k", "4", "--json"]) == 0
        alone = json.loads(capsys.readouterr().out)["items"]
        mine = [row for row in rows if row["user_id"] == user]
        assert [row["item_id"] for row in mine] == [row["item"] for row in alone]
        scores = [row["score"] for row in alone]
        np.testing.assert_allclose([row["score"] for row in mine], scores, rtol=1e-5)
        assert not {row["item_id"] for row in mine} & seen_by(ratings, user)


def test_lists_of_many_are_shorter_where_fewer_items_are_left(run, users, ratings, capsys):
    assert main(["recommend", str(run), "--users", str(users), "--k", "30", "--json"]) == 0
    found = {row["user"]: row for row in json.loads(capsys.readouterr().out)["users"]}
    assert [len(found[user]["items"]) for user in ("u4", "nobody")] == [24, 30]
    listed = {row["item"] for row in found["u4"]["items"]}
    assert listed == set(range(30)) - seen_by(ratings, "u4")


def test_items_like_an_item(run, titles, capsys):
    flags = ["--item", "3", "--k", "29", "--items", str(titles), "--json"]
    assert main(["recommend", str(run), *flags]) == 0
    found = json.loads(capsys.readouterr().out)
    scores = [row["score"] for row in found["items"]]
    assert scores == sorted(scores, reverse=True) and abs(max(scores)) <= 1 + 1e-5
    assert {row["item"] for row in found["items"]} == set(range(30)) - {3}
    read = read_run(run)
    (asked, best, worst) = read.vocabularies["item_id"].encode(
        [3, found["items"][0]["item"], found["items"][-1]["item"]]
    )
    vectors = np.asarray(read.model.item_embedding({"item_id": np.array([asked, best, worst])}))
    whole = np.asarray(read.model.item_embedding({"item_id": np.arange(2, 32)}))
    vectors = vectors[:, (whole != whole[:1]).any(axis=0)]  # a constant says nothing of an item
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors[1:] @ vectors[0], [scores[0], scores[-1]], rtol=1e-4)


def test_newer_rows_count_as_seen_and_are_warned_of(run, ratings, tmp_path, capsys):
    newer = tmp_path / "newer.csv"
    text = ratings.read_text()
    free = min(set(range(30)) - seen_by(ratings, "u4"))
    newer.write_text(text + f"u4,{free},5,99\nsomeone,3,5,99\nu4,77,5,100\n")
    flags = ["--user", "u4", "--k", "23", "--data", str(newer)]
    assert main(["recommend", str(run), *flags]) == 0
    shown = capsys.readouterr()
    listed = {int(line.split()[1]) for line in shown.out.splitlines()[1:]}
    assert listed == set(range(30)) - seen_by(ratings, "u4") - {free}
    assert "has 3 rows that the training did not have; 1 rows are of users that" in shown.err
    assert "the run does not know, 1 of other items" in shown.err
    assert main(["recommend", str(run), "--user", "u4", "--k", "24", "--data", str(newer)]) == 2
    assert "--k 24: expected 1 to 23" in capsys.readouterr().err


def test_the_data_of_the_training_are_not_needed(run, ratings, tmp_path, capsys):
    kept = ratings.read_bytes()
    try:
        ratings.unlink()
        assert main(["recommend", str(run), "--user", "u4", "--k", "24"]) == 0
        assert main(["evaluate", str(run)]) == 2
        assert "no longer exist. Give their path with --data" in capsys.readouterr().err
        (tmp_path / "moved.csv").write_bytes(kept)
        assert main(["evaluate", str(run), "--data", str(tmp_path / "moved.csv")]) == 0
    finally:
        ratings.write_bytes(kept)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "expected one of .*--user.*--users.*--item.*received none of them"),
        (["--user", "u4", "--item", "3"], "received --user, --item"),
        (["--user", "u4", "--k", "0"], "--k 0: expected 1 to 24"),
        (["--user", "u4", "--output", "lists.txt"], "ends in .csv or .parquet"),
        (["--user", "u4", "--output", "no/where/lists.csv"], "is not a writable folder"),
        (["--users", "nowhere.csv"], "--users .*nowhere.csv"),
        (["--item", "99"], "--item 99: no training row has it"),
        (["--item", "three"], "--item three: item ids are numbers in this run"),
        (["--item", "3", "--k", "30"], "--k 30: expected 1 to 29, the other items"),
        (["--user", "u4", "--items", "nowhere.csv"], "--items nowhere.csv"),
        (["--user", "u4", "--data", "nowhere.csv"], "is neither a data set nor a file"),
    ],
)
def test_arguments_are_refused_before_tensorflow_is_loaded(
    flags, message, run, monkeypatch, capsys
):
    def loaded():
        raise AssertionError("TensorFlow was loaded")

    monkeypatch.setattr("kerasrec.cli.recommend.import_tensorflow", loaded)
    assert main(["recommend", str(run), *flags]) == 2
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("person,age\nu4,7\n", r"expected a column 'user_id' of user ids; received \['person'"),
        ("user_id,age\nu4,7\n,8\n", "1 of the 2 ids in 'user_id' are missing"),
    ],
)
def test_bad_files_of_users(text, message, run, users, capsys):
    users.write_text(text)
    assert main(["recommend", str(run), "--users", str(users)]) == 2
    assert re.search(message, capsys.readouterr().err)


def test_ids_of_users_are_read_by_declaration(run, tmp_path, capsys):
    (tmp_path / "users.csv").write_text("user_id\n007\n7\n")
    flags = ["--users", str(tmp_path / "users.csv"), "--json", "--k", "1"]
    assert main(["recommend", str(run), *flags]) == 0
    found = json.loads(capsys.readouterr().out)["users"]
    assert [row["user"] for row in found] == ["007", "7"]


def test_only_some_of_many_lists_are_printed(run, tmp_path, capsys):
    (tmp_path / "users.csv").write_text("user_id\n" + "".join(f"u{i}\n" for i in range(25)))
    assert main(["recommend", str(run), "--users", str(tmp_path / "users.csv"), "--k", "1"]) == 0
    found = lines(capsys)
    assert len([line for line in found if line.startswith("User ")]) == 20
    assert found[-1] == "... and 5 more lists; --output FILE writes all."


def test_a_file_of_newer_rows_alone_adds_to_the_rows_of_the_training(
    run, ratings, tmp_path, capsys
):
    free = min(set(range(30)) - seen_by(ratings, "u4"))
    (header, *_) = ratings.read_text().splitlines()
    newer = tmp_path / "newer.csv"
    newer.write_text(f"{header}\nu4,{free},5,99\nu4,{free},4,100\n")
    flags = ["--user", "u4", "--k", "23", "--data", str(newer)]
    assert main(["recommend", str(run), *flags]) == 0
    shown = capsys.readouterr()
    listed = {int(line.split()[1]) for line in shown.out.splitlines()[1:]}
    assert listed == set(range(30)) - seen_by(ratings, "u4") - {free}
    assert "has 2 rows that the training did not have; 0 rows are of users" in shown.err
