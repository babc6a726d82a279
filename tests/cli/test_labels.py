"""Training from the command line: which rows are positives, and what a loss on labels measures."""

import json

import numpy as np
import pytest

from kerasrec.cli import main


@pytest.fixture
def ratings(tmp_path):
    """40 users who rate every third item, 6 rows each, out of 30, from 0 to 4."""
    rng = np.random.default_rng(0)
    lines = ["user_id,item_id,rating,timestamp"]
    for user in range(40):
        items = rng.choice(np.arange(user % 3, 30, 3), size=6, replace=False)
        lines += [f"u{user},{item},{item % 5},{time}" for time, item in enumerate(items)]
    path = tmp_path / "ratings.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def write_clicks(path):
    """80 users who were shown 20 of 30 items in random order, and click every third item."""
    rng = np.random.default_rng(0)
    lines = ["user_id,item_id,click,timestamp"]
    for user in range(80):
        shown = rng.permutation(30)[:20]
        lines += [f"u{user},{i},{int(i % 3 == user % 3)},{time}" for time, i in enumerate(shown)]
    path.write_text("\n".join(lines) + "\n")
    return path


FAST = [
    "--embedding_dim",
    "8",
    "--batch_size",
    "64",
    "--jit_compile",
    "false",
    "--split",
    "temporal",
]


@pytest.mark.parametrize("loss", ["binary_crossentropy", "softmax"])
def test_what_was_not_clicked_is_no_hit_and_not_learned(loss, tmp_path, capsys):
    flags = [*FAST, "--label", "click", "--loss", loss, "--epochs", "30", "--patience", "30"]
    flags += ["--learning_rate", "0.02", "--negatives", "4", "--test", "0.4", "--valid", "0"]
    data = ["--data", str(write_clicks(tmp_path / "clicks.csv"))]
    assert main(["fit", "MatrixFactorization", *data, *flags, "--output", str(tmp_path / "r")]) == 0
    assert "have a click >0" in capsys.readouterr().err
    metrics = json.loads((tmp_path / "r" / "metrics.json").read_text())
    assert 0 < metrics[0]["negative_rows"] < metrics[0]["test_rows"]
    # What was shown is drawn by lot, so that who learns that is at chance.
    assert metrics[1]["auc"] > 0.65 > 0.6 > metrics[0]["auc"]


def test_a_loss_on_the_labels_given_measures_clicks(tmp_path, capsys):
    flags = [*FAST, "--label", "click", "--loss", "log_loss", "--epochs", "30", "--patience", "30"]
    data = ["--data", str(write_clicks(tmp_path / "clicks.csv")), "--learning_rate", "0.02"]
    flags += ["--test", "0.4"]
    assert main(["fit", "MatrixFactorization", *data, *flags, "--output", str(tmp_path / "r")]) == 0
    popularity, learned = json.loads((tmp_path / "r" / "metrics.json").read_text())
    assert "log_loss" not in popularity
    assert learned["click_auc"] > 0.8 and learned["gauc"] > 0.8
    assert learned["log_loss"] < 0.6 and learned["normalized_entropy"] < 0.95
    history = json.loads((tmp_path / "r" / "history.json").read_text())
    assert history["loss"][0] == pytest.approx(np.log(2), abs=0.1)
    capsys.readouterr()
    by = ["--segments", "timestamp"]
    assert main(["evaluate", str(tmp_path / "r"), "--json", *by]) == 0
    found = json.loads(capsys.readouterr().out)
    again, interval = found["metrics"][1], found["intervals"]["auc"]
    assert interval["low"] < interval["mean"] == pytest.approx(learned["click_auc"])
    rows = sum(row["rows"] for row in found["segments"]["timestamp"])
    assert rows == learned["test_rows"]
    output = tmp_path / "report.html"
    assert main(["report", str(tmp_path / "r"), "--output", str(output)]) == 0
    clicks = json.loads(output.with_suffix(".json").read_text())["clicks"]
    assert clicks["models"][0]["metrics"]["auc"]["low"] == pytest.approx(interval["low"])
    assert clicks["users"] > 1 and "Predicted clicks" in output.read_text()
    for name in ("click_auc", "gauc", "log_loss", "calibration", "ndcg@10"):
        assert again[name] == pytest.approx(learned[name], rel=1e-5)


def test_ratings_that_reach_down_to_0_train_and_say_what_counts(ratings, tmp_path, capsys):
    zeros = sum(line.split(",")[2] == "0" for line in ratings.read_text().splitlines())
    fixed = ["--data", str(ratings), "--epochs", "1", "--jit_compile", "false", "--valid", "0"]
    assert main(["fit", "EmbeddingMLP", *fixed, "--output", str(tmp_path / "any")]) == 0
    assert f"Positives: {240 - zeros} of 240 rows have a rating >0;" in capsys.readouterr().err
    liked = ["--positive", ">=3", "--output", str(tmp_path / "liked")]
    assert main(["fit", "Popularity", *fixed, *liked]) == 0
    metrics = json.loads((tmp_path / "liked" / "metrics.json").read_text())
    assert metrics[0]["negative_rows"] > 0
    capsys.readouterr()
    assert main(["evaluate", str(tmp_path / "liked"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"][0]["ndcg@10"] == metrics[0]["ndcg@10"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--positive", "4"], "--positive 4: expected '>' or '>=' and a number"),
        (["--positive", ">4"], "none of 160 training rows has such a 'rating'; the highest is 4"),
    ],
)
def test_positives_that_are_none(flags, message, ratings, tmp_path, capsys):
    fixed = ["fit", "Popularity", "--data", str(ratings), "--output", str(tmp_path / "run")]
    assert main([*fixed, *flags]) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_a_column_of_the_item_is_refused_as_context(ratings, tmp_path, capsys):
    first, *rows = ratings.read_text().splitlines()
    genres = [f"{row},genre {int(row.split(',')[1]) % 4}" for row in rows]
    ratings.write_text("\n".join([f"{first},genre", *genres]) + "\n")
    flags = ["--data", str(ratings), "--context", "[genre]", "--output", str(tmp_path / "run")]
    assert main(["fit", "EmbeddingMLP", *flags]) == 2
    assert "the context columns ['genre'] have one value in all rows" in capsys.readouterr().err
    assert main(["audit", str(ratings)]) == 0
    assert "- 'genre' is the same in all rows of each 'item_id'" in capsys.readouterr().out
