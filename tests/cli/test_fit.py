"""`kerasrec fit`: what becomes of a training that is broken off, diverges, or is done anew."""

import json
import re

import numpy as np
import pytest
import yaml

import kerasrec
from kerasrec import data
from kerasrec.cli import _fit, main
from kerasrec.runs import read_run
from kerasrec.runs.choosing import rules
from kerasrec.runs.choosing.successive_halving import with_changes
from kerasrec.runs.directory import changes
from kerasrec.runs.epochs import Epochs

FAST = ["--embedding_dim", "4", "--batch_size", "64", "--jit_compile", "false", "--epochs", "4"]


def fit(ratings, output, *flags):
    data = ["--data", str(ratings), "--output", str(output)]
    return main(["fit", "MatrixFactorization", *data, *FAST, *flags])


@pytest.fixture
def break_off(monkeypatch):
    """Breaks a training off at the beginning of an epoch."""

    def at(number, error=KeyboardInterrupt):
        def begin(self, epoch, logs=None):
            if epoch == number:
                raise error
            return begin_of_before(self, epoch, logs)

        begin_of_before = Epochs.on_epoch_begin
        monkeypatch.setattr(Epochs, "on_epoch_begin", begin)

    yield at
    monkeypatch.undo()


def test_an_interrupt_keeps_the_best_epoch_and_writes_the_run(ratings, tmp_path, break_off, capsys):
    break_off(2)
    assert fit(ratings, tmp_path / "mf") == 0
    shown = capsys.readouterr()
    assert re.search("Training was interrupted after epoch 2. Epoch [12] is kept", shown.err)
    assert "Warning: Training was interrupted after epoch 2" in shown.out
    history = json.loads((tmp_path / "mf" / "history.json").read_text())
    assert len(history["loss"]) == len(history["val_loss"]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["mf"]
    assert main(["recommend", str(tmp_path / "mf"), "--user", "u4", "--k", "3"]) == 0


def test_an_interrupt_before_the_first_epoch_leaves_nothing(ratings, tmp_path, break_off, capsys):
    break_off(0)
    assert fit(ratings, tmp_path / "mf") == 130
    assert list(tmp_path.iterdir()) == []


def test_a_killed_training_goes_on_with_resume(ratings, tmp_path, break_off, monkeypatch, capsys):
    assert fit(ratings, tmp_path / "whole") == 0
    break_off(2, RuntimeError("killed"))
    assert fit(ratings, tmp_path / "mf") == 1
    assert "Continue with --resume" in capsys.readouterr().err
    monkeypatch.undo()
    assert main(["evaluate", str(tmp_path / "mf")]) == 2
    assert "its training is not finished" in capsys.readouterr().err
    assert fit(ratings, tmp_path / "mf") == 2
    assert "an unfinished training of it lies in" in capsys.readouterr().err
    assert fit(ratings, tmp_path / "mf", "--resume", "--patience", "3") == 2
    assert "other flags: patience 3 (before None)" in capsys.readouterr().err
    assert fit(ratings, tmp_path / "mf", "--resume") == 0
    assert "epoch 1/4" not in capsys.readouterr().err
    whole, resumed = (json.loads((tmp_path / n / "history.json").read_text()) for n in
                      ("whole", "mf"))  # fmt: skip
    for name in ("loss", "val_loss"):
        np.testing.assert_allclose(resumed[name], whole[name], rtol=1e-5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mf", "whole"]


def diverge(monkeypatch, *, from_epoch):
    """Weights that are no numbers from an epoch on."""

    def begin(self, epoch, logs=None):
        if epoch == from_epoch:
            weight = self.model.trainable_variables[0]
            weight.assign(np.full(weight.shape, np.nan, np.float32))
        return begin_of_before(self, epoch, logs)

    begin_of_before = Epochs.on_epoch_begin
    monkeypatch.setattr(Epochs, "on_epoch_begin", begin)


def test_a_loss_that_is_nan_stops_with_the_diagnosis(ratings, tmp_path, monkeypatch, capsys):
    diverge(monkeypatch, from_epoch=0)
    assert fit(ratings, tmp_path / "mf") == 2
    out, error = capsys.readouterr()
    assert "TrainingDiagnostics" not in out and error.count("Try: ") == 1
    assert error.count("Gradient norms over the last updates:\n") == 1
    assert re.search("stopped at step 1 .* epoch 1: .* no weights", error.splitlines()[-1])
    assert list(tmp_path.iterdir()) == []


def test_the_epochs_before_a_nan_are_kept(ratings, tmp_path, monkeypatch, capsys):
    diverge(monkeypatch, from_epoch=2)
    assert fit(ratings, tmp_path / "mf") == 1
    out = capsys.readouterr().out
    assert re.search("Warning: .*in epoch 3: .*The weights after epoch [12] are kept", out)
    history = json.loads((tmp_path / "mf" / "history.json").read_text())
    assert len(history["loss"]) == 2 and np.isfinite(history["loss"]).all()
    for weight in read_run(tmp_path / "mf").model.weights:
        assert np.isfinite(weight.numpy()).all()


def test_refit_learns_from_all_rows(ratings, tmp_path, capsys):
    long = ["--learning_rate", "0.05", "--epochs", "12", "--patience", "12"]
    assert fit(ratings, tmp_path / "plain", *long) == 0
    figures = json.loads((tmp_path / "plain" / "history.json").read_text())["val_ndcg@10"]
    epochs = int(np.argmax(figures)) + 1
    assert fit(ratings, tmp_path / "all", "--refit", *long) == 0
    assert f"Training again on all 240 rows, for {epochs} epochs." in capsys.readouterr().err
    plain, refitted = read_run(tmp_path / "plain"), read_run(tmp_path / "all")
    counts = [run.vocabularies["user_id"].counts.sum() for run in (plain, refitted)]
    assert counts == [160, 240]
    metrics = [json.loads((tmp_path / n / "metrics.json").read_text()) for n in ("plain", "all")]
    for one, other in zip(*metrics, strict=True):  # of the model before
        assert one["ndcg@10"] == pytest.approx(other["ndcg@10"], abs=1e-6)
    notes = json.loads((tmp_path / "all" / "run.json").read_text())["notes"]
    assert f"trained again on all 240 rows for {epochs} epochs" in notes[-1]
    # The newest rows, which were test rows, have moved the scores.
    rows = [line.split(",") for line in ratings.read_text().splitlines()[1:]]
    newest = {user: int(item) for user, item, *_ in rows}
    ranks = []
    for run in (plain, refitted):
        items = run.vocabularies["item_id"]
        users = run.vocabularies["user_id"].encode(list(newest))
        every = np.broadcast_to(np.arange(2, items.num_ids, dtype=np.int32), (40, len(items)))
        scores = run.model.predict({"user_id": users, "item_id": every}, verbose=0)
        asked = items.encode(list(newest.values())) - 2
        mine = np.take_along_axis(scores, asked[:, None], axis=1)
        ranks.append((scores > mine).mean())
    assert ranks[1] < ranks[0]
    assert main(["recommend", str(tmp_path / "all"), "--user", "u4", "--k", "3"]) == 0
    assert main(["evaluate", str(tmp_path / "all")]) == 2
    assert "was trained again on all rows (--refit)" in capsys.readouterr().err
    assert fit(ratings, tmp_path / "x", "--refit", "--valid", "0", "--test", "0") == 2
    assert "Leave it out" in capsys.readouterr().err


@pytest.mark.parametrize("split", ["leave_last_out", "random", "temporal", "time"])
def test_nothing_held_out_means_all_rows(split, ratings, tmp_path, capsys):
    zero = ["--valid", "0", "--test", "0", "--split", split, "--epochs", "1"]
    assert fit(ratings, tmp_path / "mf", *zero, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["rows"] == {"train": 240, "valid": 0, "test": 0}
    assert document["metrics"] == [] and document["epochs"] == 1
    assert main(["recommend", str(tmp_path / "mf"), "--user", "u4", "--k", "3"]) == 0
    assert main(["evaluate", str(tmp_path / "mf")]) == 2
    assert "has no test rows" in capsys.readouterr().err
    assert main(["report", str(tmp_path / "mf"), "--output", str(tmp_path / "x.html")]) == 2
    assert "held out no test rows" in capsys.readouterr().err


def test_a_run_knows_where_its_data_lie(ratings, tmp_path, monkeypatch):
    monkeypatch.chdir(ratings.parent)
    assert fit(ratings.name, tmp_path / "mf", "--epochs", "1") == 0
    config = yaml.safe_load((tmp_path / "mf" / "config.yaml").read_text())
    assert config["data"] == str(ratings.resolve())
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", "mf"]) == 0


def test_warnings_of_the_training_are_lines(capsys):
    with _fit._said_warnings():
        import warnings

        warnings.warn("TrainingDiagnostics: all lists are the same.", UserWarning, stacklevel=1)
    assert capsys.readouterr().err == "Warning: TrainingDiagnostics: all lists are the same.\n"


def test_popularity_may_be_refitted(ratings, tmp_path):
    data = ["--data", str(ratings), "--output", str(tmp_path / "p"), "--refit"]
    assert main(["fit", "Popularity", *data]) == 0
    counts = kerasrec.data.load_vocabularies(tmp_path / "p")["item_id"].counts
    assert counts.sum() == 240


@pytest.fixture
def searched(monkeypatch):
    """Instead of short trainings, an answer, or an interrupt; counts how often it is asked."""
    asked = []

    def install(error=None):
        def search(model, ready, training, *, budget, **about):
            asked.append(budget)
            if error is not None:
                raise error
            base = kerasrec.runs.choose(model, ready, training, **about)
            return with_changes(base, {"learning_rate": 0.0123}, "searched")

        monkeypatch.setattr(kerasrec.runs, "search", search, raising=False)
        return asked

    return install


def test_an_interrupt_of_the_search_leaves_nothing(ratings, tmp_path, searched, capsys):
    searched(KeyboardInterrupt())
    assert fit(ratings, tmp_path / "mf", "--budget", "9s") == 130
    assert list(tmp_path.iterdir()) == [] and "interrupted" in capsys.readouterr().err


def test_what_was_searched_survives_an_interrupt_of_the_first_epoch(
    ratings, tmp_path, searched, break_off, monkeypatch, capsys
):
    asked = searched()
    break_off(0)
    assert fit(ratings, tmp_path / "mf", "--budget", "9s") == 130
    assert "Continue with --resume" in capsys.readouterr().err
    assert fit(ratings, tmp_path / "mf", "--budget", "8s", "--resume") == 2
    assert "other flags: budget '8s' (before '9s')" in capsys.readouterr().err
    monkeypatch.undo()
    assert fit(ratings, tmp_path / "mf", "--budget", "9s", "--resume") == 0
    assert asked == ["9s"]
    config = yaml.safe_load((tmp_path / "mf" / "config.yaml").read_text())
    assert config["learning_rate"] == 0.0123 and config["budget"] == "9s"


def test_resume_keeps_the_choices_of_before(ratings, tmp_path, break_off, monkeypatch, capsys):
    """Even if the rules would choose otherwise by now."""
    break_off(2, RuntimeError("killed"))
    assert fit(ratings, tmp_path / "mf") == 1
    (before,) = [line for line in capsys.readouterr().err.splitlines() if "Chosen for" in line]
    monkeypatch.undo()
    monkeypatch.setattr(rules, "retrieval", lambda facts: {"learning_rate": (0.5, "another")})
    assert fit(ratings, tmp_path / "mf", "--resume") == 0
    assert before in capsys.readouterr().err
    about = json.loads((tmp_path / "mf" / "run.json").read_text())
    assert about["choices"]["text"] == before and before in about["notes"]
    config = yaml.safe_load((tmp_path / "mf" / "config.yaml").read_text())
    assert f"learning_rate {config['learning_rate']:g}" in before
    assert about["choices"]["reasons"]["batch_size"] == "given" and config["batch_size"] == 64


def test_a_recipe_is_printed_edited_and_passed_back(ratings, tmp_path, capsys):
    data = ["fit", "MatrixFactorization", "--data", str(ratings)]
    assert main([*data, "--recipe", "--epochs", "2", "--jit_compile", "false"]) == 0
    text = capsys.readouterr().out
    assert "encoding" not in text  # as it is by default
    assert "\nloss: softmax  # " in text and "\nepochs: 2  # given\n" in text
    file = tmp_path / "recipe.yaml"
    file.write_text(text.replace("\nbatch_size: ", "\nbatch_size: 64 # was "))
    run = ["fit", "MatrixFactorization", "--config", str(file), "--output", str(tmp_path / "mf")]
    assert main(run) == 0
    assert "nothing was left to choose" in capsys.readouterr().err
    config = yaml.safe_load((tmp_path / "mf" / "config.yaml").read_text())
    edited = yaml.safe_load(file.read_text())
    assert edited["batch_size"] == 64 and config.items() >= edited.items()
    file.write_text(text.replace("learning_rate:", "learning_rat:"))
    assert main(run[:-1] + [str(tmp_path / "x")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "does not accept option 'learning_rat'" in error
    assert "Did you mean 'learning_rate'?" in error
    assert main([*data, "--recipe", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["embedding_dim"] == 128


def test_a_model_below_its_baseline_is_reported(tmp_path, write_ratings, capsys):
    """Item 29 is everybody's next one, and a rate of nothing learns nothing."""
    rows = write_ratings(tmp_path / "r.csv").read_text().splitlines()
    more = [f"u{user},{29 - user % 3},5,{9 + user % 3}" for user in range(40)]
    kept = [row for row in rows if row.split(",")[1] not in ("27", "28", "29")]
    again = [f"v{user},{29 - n},4,{n}" for user in range(40) for n in (0, 1, 2)]
    (tmp_path / "r.csv").write_text("\n".join([*kept, *more, *again]) + "\n")
    flags = ["--learning_rate", "1e-9", "--epochs", "1", "--split", "random"]
    assert fit(tmp_path / "r.csv", tmp_path / "ranks", *flags) == 0
    out = capsys.readouterr().out
    assert re.search(r"Warning: MatrixFactorization ranks worse than popularity: ndcg@10 0\.", out)
    assert "Try --budget 5m, or another model." in out
    notes = json.loads((tmp_path / "ranks" / "run.json").read_text())["findings"]
    assert any("worse than popularity" in note for note in notes)
    flags[1] = "9"
    assert fit(tmp_path / "r.csv", tmp_path / "rates", *flags, "--loss", "mse") == 0
    assert "predicts worse than the mean: RMSE" in capsys.readouterr().out


def test_checksums_of_tables_tell_another_table():
    table = {"user_id": [1, 1, 2], "item_id": ["a", "b", "a"], "rating": [4, 5, 3]}
    rows = data.Interactions.from_table(table, time=None)
    found = [
        _fit.table_checksums(
            data.prepare(rows.with_tables(items={"item_id": ["a", "b"], "price": p}))
        )
        for p in ([1.5, 2.5], [1.5, 3.5])
    ]
    assert changes(*found) == ["price of the items rows"]
    assert list(_fit.table_checksums(data.prepare(rows))["items"]["sha256"]) == ["item_id"]
