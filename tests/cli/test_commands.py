"""The commands in a row, on a few made rows: fit, evaluate, recommend, export, verify."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import kerasrec
from kerasrec import models
from kerasrec.cli import main
from kerasrec.types import is_computed


def lines(capsys):
    return capsys.readouterr().out.splitlines()


def test_fit_records_losses_and_figures(run):
    history = json.loads((run / "history.json").read_text())
    assert len(history["loss"]) == len(history["val_loss"]) == 3
    metrics = json.loads((run / "metrics.json").read_text())
    assert [row["model"] for row in metrics] == ["popularity", "MatrixFactorization"]
    split = json.loads((run / "split.json").read_text())
    assert {name: part["rows"] for name, part in split.items()} == {
        "train": 160,
        "valid": 40,
        "test": 40,
    }


def test_a_run_repeats_itself(run, tmp_path):
    config = ["--config", str(run / "config.yaml"), "--output", str(tmp_path / "again")]
    assert main(["fit", "MatrixFactorization", *config]) == 0
    for name in ("split.json", "history.json", "metrics.json"):
        expected, received = (json.loads((d / name).read_text()) for d in (run, tmp_path / "again"))
        if name == "history.json":
            np.testing.assert_allclose(received["loss"], expected["loss"], rtol=1e-5)
        elif name == "split.json":
            assert received == expected


@pytest.mark.parametrize(
    ("model", "flags"),
    [
        ("EmbeddingMLP", ["--hidden_units", "[8]", "--jit_compile", "false"]),
        ("MatrixFactorization", ["--loss", "mse", "--split", "random"]),  # compiled by XLA
        ("MatrixFactorization", ["--loss", "softmax", "--valid", "0", "--jit_compile", "false"]),
        ("Popularity", []),
        ("EASE", []),
        ("SparseEASE", ["--neighbours", "5"]),
        ("ImplicitALS", ["--embedding_dim", "4"]),
        ("MultVAE", ["--hidden_units", "[8]", "--jit_compile", "false"]),
        pytest.param(
            "SASRec", ["--negatives", "8", "--jit_compile", "false"], marks=pytest.mark.slow
        ),
        pytest.param(
            "GRU4Rec",
            ["--loss", "binary_crossentropy", "--valid", "0", "--jit_compile", "false"],
            marks=pytest.mark.slow,
        ),
    ],
)
def test_other_models_losses_and_splits(model, flags, ratings, tmp_path, capsys):
    fixed = ["--data", str(ratings), "--output", str(tmp_path / "run"), "--epochs", "1"]
    assert main(["fit", model, *fixed, *flags]) == 0
    shown = capsys.readouterr()
    assert "hr@10" in shown.out
    assert ("rmse" in shown.out) == ("mse" in flags)
    assert ("No validation rows" in shown.err) == ("--valid" in flags)
    assert ("epoch 1/1  loss " in shown.err) == (not is_computed(getattr(models, model)))


EVENTS = ["--embedding_dim", "8", "--max_length", "4", "--jit_compile", "false"]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["SASRec", "StackedLSTMClassifier"])
def test_a_model_of_histories_from_fit_to_export(model, ratings, tmp_path, capsys):
    run, served = str(tmp_path / "run"), str(tmp_path / "served")
    flags = [*EVENTS, "--epochs", "2"]
    if model == "StackedLSTMClassifier":
        flags = [*EVENTS, "--epochs", "20", "--patience", "20", "--hidden_units", "[8]"]
        flags += ["--positive", ">=4", "--learning_rate", "0.03", "--batch_size", "8"]
    assert main(["fit", model, "--data", str(ratings), "--output", run, *flags]) == 0
    history = json.loads((tmp_path / "run" / "history.json").read_text())
    config = (tmp_path / "run" / "config.yaml").read_text()
    popularity, learned = metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    if model == "SASRec":
        assert len(history["loss"]) == len(history["val_loss"]) == 2
        assert history["loss"][0] == pytest.approx(np.log(30), abs=0.3)  # guessing one of 30 items
        assert "loss: softmax\n" in config
        assert "batch_size: 256\n" in config  # 1024 events, 4 a row
    else:  # whether the next rating is high, which the item decides
        assert "loss: log_loss\n" in config and "click_auc" not in popularity
        assert learned["click_auc"] > 0.9 and learned["log_loss"] < 0.5
        assert "gauc" not in learned  # each user has one test row
        assert main(["report", run, "--output", str(tmp_path / "report.html")]) == 0
    capsys.readouterr()
    assert main(["evaluate", run, "--json"]) == 0
    again = json.loads(capsys.readouterr().out)["metrics"]
    for name in {"ndcg@10", "click_auc"} & {*learned}:
        assert again[-1][name] == pytest.approx(learned[name])
    assert [row["ndcg@10"] for row in again] == pytest.approx([row["ndcg@10"] for row in metrics])
    assert main(["recommend", run, "--user", "u3", "--k", "2", "--json"]) == 0
    mine = json.loads(capsys.readouterr().out)["items"]
    assert main(["export", run, served, "--k", "2"]) == 0
    # The server finds the same items after the same history.
    rows = [line.split(",") for line in ratings.read_text().splitlines()[1:]]
    items = [int(item) for user, item, *_ in rows if user == "u3"]
    (answer,) = (
        kerasrec.serving.load(served)
        .recommend({"user_id": ["u3"], "history": [items[-4:]]}, exclude=[items])
        .rows()
    )
    assert [item for item, _ in answer] == [row["item"] for row in mine]
    assert [score for _, score in answer] == pytest.approx([row["score"] for row in mine], rel=1e-4)


@pytest.mark.parametrize(
    ("model", "flags", "message"),
    [
        ("SASRec", ["--split", "random"], "--split random: SASRec learns from the order"),
        ("GRU4Rec", ["--loss", "mse"], "--loss mse: GRU4Rec predicts the next item"),
        ("SASRec", ["--max_length", "0"], "max_length must be"),
        ("StackedLSTMClassifier", [], "nothing to learn.*--positive"),
        (
            "StackedLSTMClassifier",
            ["--num_classes", "5"],
            "several logits ranks no items.*--num_classes out",
        ),
    ],
)
def test_what_models_of_histories_refuse(model, flags, message, ratings, tmp_path, capsys):
    fixed = ["--data", str(ratings), "--output", str(tmp_path / "run")]
    assert main(["fit", model, *fixed, *flags]) == 2
    assert re.search(message, capsys.readouterr().err.splitlines()[-1])
    assert list(tmp_path.iterdir()) == []


def test_evaluate_at_one_k(run, capsys):
    assert main(["evaluate", str(run), "--k", "5"]) == 0
    assert "hr@5" in capsys.readouterr().out
    assert main(["evaluate", str(run), "--k", "5000"]) == 2
    assert "--k 5000 exceeds the" in capsys.readouterr().err


def test_evaluate_gives_the_figures_of_the_training(run, capsys):
    assert main(["evaluate", str(run), "--k", "[5, 10]"]) == 0
    table = lines(capsys)
    row = dict(zip(table[0].split(), table[3].split(), strict=True))
    expected = json.loads((run / "metrics.json").read_text())[1]
    assert row["model"] == "MatrixFactorization"
    assert float(row["ndcg@10"]) == pytest.approx(expected["ndcg@10"], abs=1e-4)
    assert "hr@5" in row


def test_a_split_that_leaks_is_said_beside_the_figures(run, tmp_path, capsys, write_ratings):
    assert main(["evaluate", str(run)]) == 0
    said = [line for line in lines(capsys) if line.startswith("Warning: ")]
    # The times of every user are 0 to 5, of which leave_last_out trains on 0 to 3.
    assert said == []
    rows = write_ratings(tmp_path / "late.csv").read_text().splitlines()
    late = [
        f"{line},{number}" for number, line in enumerate(r.rpartition(",")[0] for r in rows[1:])
    ]
    (tmp_path / "late.csv").write_text("\n".join([rows[0], *late]) + "\n")
    again = ["--data", str(tmp_path / "late.csv"), "--output", str(tmp_path / "run")]
    assert main(["fit", "Popularity", *again]) == 0
    fitted = [line for line in lines(capsys) if line.startswith("Warning: ")]
    # Users come one after the other, six rows each: all of user 1 to 39 is later than the first
    # validation row, number 4, and than the first test row, number 5.
    assert [text.split(" follow")[0] for text in fitted] == ["Warning: 98% of training rows"]
    assert len(fitted[0]) <= 80
    assert main(["evaluate", str(tmp_path / "run")]) == 0
    assert [line for line in lines(capsys) if line.startswith("Warning: ")] == fitted


def test_softmax_of_a_retriever_is_one_product(ratings, tmp_path, monkeypatch):
    def refused(*arguments, **options):
        raise AssertionError("pairs were drawn one by one")

    flags = ["--data", str(ratings), "--loss", "softmax", "--negatives", "8", "--epochs", "2"]
    flags += ["--jit_compile", "false", "--batch_size", "64", "--embedding_dim", "4"]
    assert main(["fit", "EmbeddingMLP", *flags, "--output", str(tmp_path / "mlp")]) == 0
    monkeypatch.setattr(kerasrec.data, "shared_negatives", refused)
    flags += ["--temperature", "null"]
    assert main(["fit", "MatrixFactorization", *flags, "--output", str(tmp_path / "mf")]) == 0
    # Scores start at 0: the positive is one of 9 like items. Those of the retriever, one product
    # with items drawn by popularity, stand for the whole catalogue of 30.
    for name, items in {"mf": 30, "mlp": 9}.items():
        history = json.loads((tmp_path / name / "history.json").read_text())
        assert history["loss"][0] == pytest.approx(np.log(items), abs=0.3)
        assert len(history["val_loss"]) == 2
    # What is written is the model, not what trained it.
    assert main(["recommend", str(tmp_path / "mf"), "--user", "u4", "--k", "3"]) == 0


def test_export_of_some_signatures_in_fewer_bytes(run, tmp_path, capsys):
    served = tmp_path / "small"
    options = ["--k", "[3,5]", "--quantize", "float16"]
    options += ["--signatures", "[recommend_3,recommend_5,score]"]
    assert main(["export", str(run), str(served), *options]) == 0
    names = sorted(file.stem for file in (served / "1" / "requests").iterdir())
    assert names == ["recommend_3", "recommend_5", "score", "serving_default"]
    assert main(["export", str(run), str(served), "--quantize", "int4"]) == 2
    assert "int4" in capsys.readouterr().err


def test_export_then_verify(run, tmp_path, capsys):
    served = tmp_path / "served"
    assert main(["export", str(run), str(served), "--k", "5"]) == 0
    assert (served / "1" / "saved_model.pb").is_file()
    assert main(["export", str(run), str(served), "--version", "1"]) == 2
    assert "1" in capsys.readouterr().err
    assert main(["verify", str(served)]) == 0
    assert "verified" in capsys.readouterr().out


def test_versions_are_kept_described_and_rolled_back(run, tmp_path, capsys):
    served = tmp_path / "served"
    for _ in range(3):
        assert main(["export", str(run), str(served), "--keep", "1", "--licence", "MIT"]) == 0
    assert kerasrec.serving.list_versions(served) == [2, 3]
    card = (served / "3" / "model_card.md").read_text("utf-8")
    assert "## Licence\n\nMIT" in card and "- train rows: 160" in card
    row = json.loads((run / "metrics.json").read_text())[1]
    assert f"{row['ndcg@10']:.4g}" in card
    assert main(["rollback", str(served)]) == 0
    assert f"{served}/2 is the newest version now" in capsys.readouterr().out
    assert main(["rollback", str(served), "--to", "9"]) == 2
    assert "received 9" in capsys.readouterr().err


def test_nothing_to_verify(tmp_path, capsys):
    assert main(["verify", str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("seed", "number of"),
        ("users", r"other user_id of the train rows, user_id of the valid rows, user_id of the"),
        ("ratings", r"other rating of the train rows, rating of the valid rows, rating of the te"),
        ("times", r"other timestamp of the train rows, timestamp of the valid rows"),
        ("order", r"other user_id of the train rows, item_id of the train rows"),
    ],
)
def test_data_that_changed_since_the_training_are_refused(
    change, message, run, tmp_path, capsys, write_ratings
):
    copy = shutil.copytree(run, tmp_path / "mf")
    other = write_ratings(tmp_path / "ratings.csv")
    header, *rows = other.read_text().splitlines()
    cells = [row.split(",") for row in rows]
    rows = {
        "seed": [",".join(c) for c in cells[6:]],
        "users": [f"other{u},{i},{r},{t}" for u, i, r, t in cells],
        "ratings": [f"{u},{i},{6 - int(r)},{t}" for u, i, r, t in cells],
        "times": [f"{u},{i},{r},{int(t) + 1}" for u, i, r, t in cells],
        "order": rows[::-1],
    }[change]
    other.write_text("\n".join([header, *rows]) + "\n")
    config = (copy / "config.yaml").read_text().splitlines()
    changed = [f"data: {other}" if line.startswith("data:") else line for line in config]
    (copy / "config.yaml").write_text("\n".join(changed))
    assert main(["evaluate", str(copy)]) == 2
    assert re.search(f"are not those of the training: .*{message}", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--data", "nothing.csv"], "'nothing.csv' is neither a data set nor a file"),
        (["--data", "synthetic", "--user", "person"], "'synthetic' takes"),
        (["--item", "film"], "film"),
        (
            ["--optimizer", "adem"],
            "--optimizer adem: there is no such optimizer; expected one of adam,",
        ),
        (["--batch_size", "0"], "batch_size must be"),
        (["--valid", "0.1"], "valid must be an integer"),
        (["--embedding_dim", "-3"], "-3"),
    ],
)
def test_bad_settings(flags, message, ratings, tmp_path, capsys):
    fixed = ["fit", "MatrixFactorization", "--output", str(tmp_path / "run")]
    data = [] if "--data" in flags else ["--data", str(ratings)]
    assert main([*fixed, *data, *flags]) == 2
    err = capsys.readouterr().err.splitlines()[-1]  # the rows that were read stand above it
    assert err.startswith("kerasrec: ")
    assert re.search(message, err)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("user_id,item_id,rating,timestamp\n", "no rows"),
        ("user_id,item_id,timestamp\na,1,1\n", "rating"),
        ("user_id,item_id,rating,timestamp\na,1,good,1\n", "good"),
        ("user_id,item_id,rating,timestamp\na,1,nan,1\n", "rating"),
        ("user_id,item_id,rating,timestamp\na,1,5,1\na,1,4,2\n", "--duplicates|duplicates="),
        ("user_id,item_id,rating,timestamp\na,9223372036854775808,5,1\n", "2..63"),
    ],
)
def test_bad_files(text, message, tmp_path, capsys):
    file = tmp_path / "bad.csv"
    file.write_text(text)
    assert main(["fit", "Popularity", "--data", str(file), "--output", str(tmp_path / "r")]) == 2
    err = capsys.readouterr().err
    assert re.search(message, err)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.csv"]


def test_audit_of_a_file_with_other_names(tmp_path, capsys):
    file = tmp_path / "own.csv"
    file.write_text("who,what,stars\nann,a,4\nbob,b,5\nann,b,3\n")
    assert main(["audit", str(file)]) == 2
    assert "none among ['who', 'what', 'stars']" in capsys.readouterr().err
    roles = ["--user", "who", "--item", "what", "--label", "stars", "--time", "null"]
    assert main(["audit", str(file), *roles]) == 0
    assert "users         2" in capsys.readouterr().out


def test_audit(ratings, capsys):
    assert main(["audit", str(ratings)]) == 0
    out = capsys.readouterr().out
    assert "240" in out
    assert "40" in out


@pytest.mark.slow
def test_json_of_the_commands_in_a_row(run, ratings, tmp_path, capsys):
    def document(*arguments):
        capsys.readouterr()
        assert main([*arguments, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    assert document("audit", str(ratings))["rows"] == 240
    fitted = document("fit", "Popularity", "--data", str(ratings), "--output", str(tmp_path / "p"))
    assert fitted["rows"] == {"train": 160, "valid": 40, "test": 40}
    assert Path(fitted["run"]) == tmp_path / "p"
    assert [row["model"] for row in fitted["metrics"]] == ["Popularity"]
    evaluated = document("evaluate", str(run), "--k", "5")
    assert {row["model"] for row in evaluated["metrics"]} == {"popularity", "MatrixFactorization"}
    assert 0 <= evaluated["metrics"][1]["hr@5"] <= 1
    found = document("recommend", str(run), "--user", "u4", "--k", "3")
    assert found["known"] is True
    assert [set(row) for row in found["items"]] == [{"item", "score", "title"}] * 3
    served = document("export", str(run), str(tmp_path / "served"))
    assert served["version"] == 1
    verified = document("verify", str(tmp_path / "served"))
    assert verified["problems"] == []
    assert "recommend" in {check["signature"] for check in verified["signatures"]}
    document("export", str(run), str(tmp_path / "served"))
    assert document("rollback", str(tmp_path / "served"))["version"] == 1
    page = tmp_path / "page.html"
    shown = document("report", str(run), str(tmp_path / "p"), "--output", str(page))
    assert Path(shown["page"]) == page and Path(shown["numbers"]).is_file()


@pytest.mark.slow
def test_a_failed_verification_is_exit_code_1(run, tmp_path, capsys):
    served = tmp_path / "served"
    assert main(["export", str(run), str(served)]) == 0
    requests = served / "1" / "assets.extra" / "requests.json"
    spoilt = re.sub(r'("score": \[+)(-?[\d.e-]+)', r"\g<1>99.5", requests.read_text(), count=1)
    requests.write_text(spoilt)
    sums = served / "1" / "SHA256SUMS"
    digest = hashlib.sha256(requests.read_bytes()).hexdigest()
    sums.write_text(
        re.sub(r"^\w{64}(?=  assets.extra/requests.json)", digest, sums.read_text(), flags=re.M)
    )
    capsys.readouterr()
    assert main(["verify", str(served)]) == 1
    assert "WRONG" in capsys.readouterr().out
