"""Rows without users and items from the command line: columns in, a label out."""

import dataclasses
import json
import re
import urllib.request

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from kerasrec import data, serving
from kerasrec.cli import main
from kerasrec.cli.examples import all_rows, prepare_examples
from kerasrec.cli.settings import Source, Splitting
from kerasrec.runs.directory import read_run


def write_rows(path, count=400, seed=0, first=0):
    """Rows of ten numbers, a city with gaps and a constant; the target follows two of them."""
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=(count, 10)).round(3)
    city = rng.choice(["Rome", "Oslo", ""], size=count)
    target = (numbers[:, 0] + (city == "Rome") + 0.1 * rng.normal(size=count) > 0.3).astype(int)
    names = [f"x{number}" for number in range(10)]
    lines = [",".join([*names, "city", "constant", "day", "house", "target"])]
    for row in range(count):
        values = [*map(str, numbers[row]), city[row], "1", str(first + row), f"h{row // 4}"]
        lines.append(",".join([*values, str(target[row])]))
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return write_rows(tmp_path_factory.mktemp("data") / "rows.csv")


FAST = ["--jit_compile", "false", "--batch_size", "64", "--learning_rate", "0.02"]
LEARNED = [*FAST, "--label", "target", "--epochs", "8", "--time", "day"]


@pytest.fixture(scope="module")
def run(rows, tmp_path_factory):
    output = tmp_path_factory.mktemp("runs") / "mlp"
    flags = ["--hidden_units", "[16]", *LEARNED]
    assert main(["fit", "FeatureMLP", "--data", str(rows), "--output", str(output), *flags]) == 0
    return output


def fit(rows, output, *flags, model="FeatureMLP"):
    return main(["fit", model, "--data", str(rows), "--output", str(output), *FAST, *flags])


def test_columns_are_found_and_the_model_beats_the_mean(run):
    mean, own = json.loads((run / "metrics.json").read_text())
    assert (mean["model"], own["model"]) == ("mean label", "FeatureMLP")
    assert own["click_auc"] > 0.85 > mean["click_auc"] == 0.5
    assert own["log_loss"] < mean["log_loss"]
    names = [feature.name for feature in read_run(run).schema.features]
    assert names == [*(f"x{number}" for number in range(10)), "city", "house"]
    flags = yaml.safe_load((run / "config.yaml").read_text())
    assert (flags["label"], flags["loss"], flags["hidden_units"]) == ("target", "log_loss", [16])


def test_a_run_keeps_how_its_probabilities_are_calibrated(run):
    found = read_run(run)
    assert found.flags["calibration"] == found.model.calibration.method == "platt"
    notes = json.loads((run / "run.json").read_text())["notes"]
    assert f"Probabilities: {found.model.calibration.describe()}." in notes


def test_what_is_printed(rows, tmp_path, capsys):
    assert fit(rows, tmp_path / "run", "--label", "target", "--epochs", "1") == 0
    printed = capsys.readouterr()
    assert "Rows are examples of 'target', with 14 columns of features." in printed.err
    assert "'constant' is left out: all values are 1" in printed.err
    assert "split_examples('random'" in printed.err
    assert f"Next: kerasrec export {tmp_path / 'run'} DIRECTORY" in printed.out


def test_evaluate_repeats_the_metrics(run, capsys):
    assert main(["evaluate", str(run), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["metrics"] == json.loads((run / "metrics.json").read_text())


def test_evaluate_by_segment(run, capsys):
    assert main(["evaluate", str(run), "--segments", "city,day", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    own = found["metrics"][1]
    assert found["intervals"]["auc"]["mean"] == pytest.approx(own["click_auc"])
    assert found["intervals"]["auc"]["low"] < own["click_auc"] < found["intervals"]["auc"]["high"]
    city = {row["segment"]: row for row in found["segments"]["city"]}
    assert set(city) == {"Rome", "Oslo", "missing"} and sum(r["rows"] for r in city.values()) == 40
    assert city["Rome"]["positive_share"] > city["Oslo"]["positive_share"]
    assert len(found["segments"]["day"]) == 4  # 400 numbers, in parts
    assert main(["evaluate", str(run), "--segments", "city"]) == 0
    shown = capsys.readouterr().out
    assert "95 % from" in shown and re.search(r"^Rome +\d+ ", shown, re.M)
    assert main(["evaluate", str(run), "--segments", "town"]) == 2
    assert "--segments town: expected a column of the rows" in capsys.readouterr().err


def test_changed_rows_are_refused(run, tmp_path, capsys):
    other = write_rows(tmp_path / "rows.csv", seed=1)
    assert main(["evaluate", str(run), "--data", str(other)]) == 2
    assert "are not those of the training" in capsys.readouterr().err


def test_recommend_says_what_the_run_is(run, capsys):
    assert main(["recommend", str(run), "--user", "7"]) == 2
    assert "nothing to recommend" in capsys.readouterr().err


def test_a_report_of_predicted_clicks(run, tmp_path):
    output = tmp_path / "report.html"
    assert main(["report", str(run), "--output", str(output)]) == 0
    found = json.loads(output.with_suffix(".json").read_text())["clicks"]["models"][0]
    own = json.loads((run / "metrics.json").read_text())[1]
    assert found["metrics"]["auc"]["mean"] == pytest.approx(own["click_auc"])
    assert "city" in found["segments"]
    assert any("validation rows" in row["chosen"] for row in found["thresholds"])
    assert "Gain and lift" in output.read_text()


def test_files_of_the_parts(rows, tmp_path):
    files = {n: write_rows(tmp_path / f"{n}.csv", 80, seed) for n, seed in (("v", 1), ("t", 2))}
    flags = ["--valid_file", str(files["v"]), "--test_file", str(files["t"])]
    assert fit(rows, tmp_path / "run", *flags, "--label", "target", "--epochs", "1") == 0
    split = json.loads((tmp_path / "run" / "split.json").read_text())
    assert {name: part["rows"] for name, part in split.items()} == {
        "train": 400, "valid": 80, "test": 80,
    }  # fmt: skip
    assert main(["evaluate", str(tmp_path / "run")]) == 0


@pytest.mark.parametrize(
    ("flags", "rows_held"),
    [
        (["--split", "time", "--time", "day"], 40),
        (["--split", "group", "--group", "house"], 40),
        (["--valid", "0.2", "--test", "0.2"], 80),
    ],
)
def test_splits(flags, rows_held, rows, tmp_path):
    assert fit(rows, tmp_path / "run", *flags, "--label", "target", "--epochs", "1") == 0
    split = json.loads((tmp_path / "run" / "split.json").read_text())
    assert split["test"]["rows"] == split["valid"]["rows"] == rows_held


@pytest.mark.slow
def test_a_number_is_predicted_by_mse_and_a_rule_makes_it_a_label(rows, tmp_path, capsys):
    text = ["--label", "x0", "--features", "x1,city,target", "--epochs", "8"]
    assert fit(rows, tmp_path / "a", *text) == 2
    assert "so it is not clear what to predict" in capsys.readouterr().err
    assert fit(rows, tmp_path / "a", *text, "--loss", "mse") == 0
    mean, own = json.loads((tmp_path / "a" / "metrics.json").read_text())
    assert own["rmse"] < mean["rmse"]
    assert read_run(tmp_path / "a").model.output_kind == "rating"  # kept by the file
    assert fit(rows, tmp_path / "b", *text, "--positive", ">0.5") == 0
    assert "log_loss" in json.loads((tmp_path / "b" / "metrics.json").read_text())[1]


@pytest.mark.slow
def test_refit_trains_on_all_rows(rows, tmp_path):
    flags = ["--label", "target", "--epochs", "1", "--refit"]
    assert fit(rows, tmp_path / "run", *flags) == 0
    run = read_run(tmp_path / "run")
    assert run.model.calibration.method == "platt"  # of the first model
    everything = data.prepare_examples(data.read_examples(rows, label="target"))
    assert run.schema.feature("x0").mean == pytest.approx(everything.schema.feature("x0").mean)
    assert set(run.vocabularies["house"].ids) == set(everything.vocabularies["house"].ids)


@pytest.mark.parametrize(
    ("model", "flags", "message"),
    [
        ("FeatureMLP", [], "expected a column 'label'"),
        ("FeatureMLP", ["--label", "null"], "examples of their label"),
        ("FeatureMLP", ["--label", "target", "--split", "temporal"], "have no users"),
        ("FeatureMLP", ["--label", "target", "--k_core", "2"], "--k_core 2: it is about users"),
        ("FeatureMLP", ["--label", "target", "--group", "house"], "a split by group needs"),
        ("FeatureMLP", ["--label", "target", "--loss", "softmax"], "choose one of log_loss, mse"),
        ("FeatureMLP", ["--label", "target", "--window", "3"], "reads single rows"),
        (
            "FeatureMLP",
            ["--label", "target", "--valid", "0", "--calibration", "isotonic"],
            "--calibration isotonic is fitted to validation rows of both labels; received none",
        ),
        ("MatrixFactorization", ["--user", "null"], "needs users and items"),
        ("FeatureMLP", ["--label", "constant"], "all of 320 training rows"),
        ("FeatureMLP", ["--label", "target", "--test_file", "no.csv"], "no.csv"),
        (
            "FeatureMLP",
            ["--label", "target", "--test", "0.1", "--test_file", "no.csv"],
            "no.csv",
        ),
        (
            "MatrixFactorization",
            ["--label", "target", "--user", "null", "--item", "null"],
            "MatrixFactorization needs columns of users and items",
        ),
        ("MatrixFactorization", ["--label", "target"], "user"),
    ],
)
def test_bad_input(model, flags, message, rows, tmp_path, capsys):
    assert fit(rows, tmp_path / "run", *flags, model=model) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("value", "missing"), [("own", True), ("mean", False)])
def test_missing_values(value, missing, rows):
    source = Source(str(rows), label="target", missing_values=value)
    ready = prepare_examples("FeatureMLP", source, Splitting(valid=0, test=0), seed=0)
    assert ready.schema.feature("city").missing == missing
    assert sorted(set(ready.train["city"])) == ([0, 2, 3] if missing else [1, 2, 3])
    assert all_rows(ready, source).schema == ready.schema


def test_kinds_of_flags(rows):
    kinds = {"x0": "log", "x1": "numeric", "house": "hashed:32:3"}
    source = Source(str(rows), label="target", features=kinds)
    ready = prepare_examples("FeatureMLP", source, Splitting(valid=0, test=0), seed=0)
    *numbers, house = ready.schema.features
    assert [feature.log for feature in numbers] == [True, False]
    assert (house.kind, house.num_ids, house.max_length) == ("hashed", 34, 3)


def test_scaling(rows, tmp_path, capsys):
    source = Source(str(rows), label="target", scaling="minmax")
    ready = prepare_examples("FeatureMLP", source, Splitting(valid=0, test=0), seed=0)
    numbers = ready.train["x0"]
    feature = ready.schema.feature("x0")
    assert (feature.mean, feature.deviation) == pytest.approx((numbers.min(), np.ptp(numbers)))
    assert all_rows(ready, source).schema == ready.schema
    flags = ["--label", "target", "--scaling", "minmax", "--missing_values", "mean"]
    assert fit(rows, tmp_path / "run", *flags) == 2
    assert "--scaling minmax has its 0 at the lowest number" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags",
    [["--test_file", "x.csv"], ["--missing_values", "mean"], ["--scaling", "minmax"]],
)
def test_users_and_items_have_no_parts_of_their_own(flags, ratings, tmp_path, capsys):
    assert fit(ratings, tmp_path / "run", *flags, model="MatrixFactorization") == 2
    assert "it is for rows without users and items" in capsys.readouterr().err


@pytest.mark.slow
def test_vectors_are_joined_from_a_file(rows, tmp_path, capsys):
    rng = np.random.default_rng(0)
    file = tmp_path / "houses.parquet"
    vectors = rng.normal(size=(95, 3)).tolist()
    houses = pa.table({"house": [f"h{n}" for n in range(5, 100)], "vector": vectors})
    pq.write_table(houses, file)
    flags = ["--label", "target", "--tables", f"house={file}"]
    sides = ["--user", "null", "--item", "null"]
    assert main(["audit", str(rows), *sides, *flags]) == 0
    shown = capsys.readouterr().out
    assert "'vector' is vector: vectors of 3 numbers, missing in 20 rows" in shown
    run = tmp_path / "run"
    chosen = ["--features", "x0,city,vector", "--epochs", "1", "--test_file", str(rows)]
    assert fit(rows, run, *flags, *chosen) == 0
    found = read_run(run)
    assert found.schema.feature("vector").size == 3
    path = serving.export(found.model, tmp_path / "served", vocabularies=found.vocabularies)
    asked = {"x0": [0.5] * 2, "city": ["Rome"] * 2}
    sent = serving.load(path).predict({**asked, "vector": [vectors[5], [np.nan] * 3]})
    # The export of the run finds the vectors of these houses itself.
    assert main(["export", str(run), str(tmp_path / "by_key")]) == 0
    assert main(["verify", str(tmp_path / "by_key")]) == 0
    by_key = serving.load(tmp_path / "by_key").predict({**asked, "house": ["h10", "nowhere"]})
    np.testing.assert_allclose(by_key["probability"], sent["probability"], rtol=1e-5)
    assert "house" in found.tables and found.tables["house"].keys.ids[0] == "h5"
    # The file is read again, and its values are compared.
    pq.write_table(pa.table({"house": houses["house"], "vector": [[0.0, 0.5, 1.0]] * 95}), file)
    assert main(["evaluate", str(run)]) == 2
    assert "are not those of the training: other" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["houses.csv", "=houses.csv", "house=", "house=a.csv,house=b.csv"])
def test_tables_have_a_key(text, rows, tmp_path, capsys):
    assert fit(rows, tmp_path / "run", "--label", "target", "--tables", text) == 2
    assert "expected a column of keys and a file for it" in capsys.readouterr().err


def test_users_and_items_have_tables_of_their_own(ratings, tmp_path, capsys):
    tables = ["--tables", "item_id=items.csv"]
    assert fit(ratings, tmp_path / "run", *tables, model="MatrixFactorization") == 2
    assert "Pass their tables as --users and --items" in capsys.readouterr().err
    assert main(["audit", str(ratings), *tables]) == 2
    assert "Pass their tables as --users and --items" in capsys.readouterr().err


def write_events(path):
    """Three numbers of 30 users over 20 times; the target is 1 where the last two rise."""
    rng = np.random.default_rng(0)
    lines = ["id,t,feature1,feature2,feature3,target"]
    for user in range(30):
        numbers = rng.normal(size=(20, 3)).round(3)
        for time, (one, two, three) in enumerate(numbers):
            target = int(time > 0 and one > numbers[time - 1, 0])
            lines.append(f"{user},{time},{one},{two},{three},{target}")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_windows_follow_the_usual_name_of_times(tmp_path):
    """A file that is not in order, with the time under the default name and under another one."""
    text = write_events(tmp_path / "events.csv").read_text().splitlines()
    order = np.random.default_rng(1).permutation(len(text) - 1)
    made = []
    for name in ("timestamp", "t"):
        file = tmp_path / f"{name}.csv"
        head = text[0].replace(",t,", f",{name},")
        file.write_text("\n".join([head, *(text[1 + at] for at in order)]) + "\n")
        source = Source(
            str(file), user="id", time=name, label="target", features=["feature1"], window=3
        )
        ready = prepare_examples("StackedLSTMClassifier", source, Splitting(), seed=0)
        made.append(ready.split.train.table["feature1"].to_pylist())
    assert made[0] == made[1]


def test_windows_of_users_take_no_other_group(tmp_path, capsys):
    flags = ["--features", "feature1", "--label", "target", "--user", "id"]
    flags += ["--split", "group", "--group", "t"]
    events = write_events(tmp_path / "events.csv")
    assert fit(events, tmp_path / "run", *flags, model="StackedLSTMClassifier") == 2
    assert "--user id --group t: windows are of the rows of a user" in capsys.readouterr().err
    flags = [*flags[:-1], "id", "--epochs", "1", "--window", "2"]
    assert fit(events, tmp_path / "own", *flags, model="StackedLSTMClassifier") == 0


def test_a_label_is_the_column_that_is_named(tmp_path):
    file = tmp_path / "both.csv"
    file.write_text("x,rating,label\n" + "".join(f"{at}.5,{at % 2},1\n" for at in range(60)))
    for given, label in (
        (Source(str(file), label="rating"), "rating"),
        (Source(str(file)), "rating"),
    ):
        source = dataclasses.replace(given, user=None, item=None)
        assert prepare_examples("FeatureMLP", source, Splitting(), seed=0).schema.label == label


def test_tables_are_found_from_another_folder(rows, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sizes = "".join(f"h{at},{at % 7}.5\n" for at in range(100))
    (tmp_path / "houses.csv").write_text(f"house,size\n{sizes}")
    flags = ["--label", "target", "--tables", "house=houses.csv", "--features", "x0,size"]
    assert fit(rows, "run", *flags, "--epochs", "1") == 0
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    assert main(["evaluate", "../run"]) == 0


@pytest.mark.parametrize("users", [True, False])
def test_sequences_of_columns(users, tmp_path, capsys):
    data_ = write_events(tmp_path / "events.csv")
    flags = ["--features", "feature1,feature2,feature3", "--label", "target", "--window", "4"]
    flags += ["--user", "id", "--time", "t"] if users else ["--time", "null"]
    flags += ["--hidden_units", "[16,8]", "--epochs", "12", "--batch_size", "32"]
    run = tmp_path / "run"
    assert fit(data_, run, *flags, model="StackedLSTMClassifier") == 0
    said = capsys.readouterr().err
    assert f"Each reads the newest 4 rows of {'a user' if users else 'the file'}" in said
    found = read_run(run)
    assert [feature.shape for feature in found.schema.features] == [(4,)] * 3
    mean, own = json.loads((run / "metrics.json").read_text())
    assert own["click_auc"] > 0.8 > mean["click_auc"]
    assert main(["evaluate", str(run)]) == 0


def answers(exported, rows):
    """Return what an export answers to raw rows over REST, and in this process."""
    with serving.server.background(exported) as server:
        body = json.dumps({"signature_name": "predict", "instances": rows}).encode()
        with urllib.request.urlopen(server.url, body) as response:
            found = json.load(response)["predictions"]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return found, serving.load(exported).predict(columns)


@pytest.mark.slow
def test_ten_columns_to_sixteen_units_to_a_probability(tmp_path):
    rows = write_rows(tmp_path / "rows.csv")
    names = [f"x{number}" for number in range(10)]
    flags = ["--label", "target", "--features", ",".join(names), "--hidden_units", "[16]"]
    assert fit(rows, tmp_path / "run", *flags, "--epochs", "3") == 0
    assert read_run(tmp_path / "run").model.count_params() == 10 * 16 + 16 + 16 + 1
    exported = tmp_path / "served"
    assert main(["export", str(tmp_path / "run"), str(exported)]) == 0
    assert main(["verify", str(exported)]) == 0
    asked = [dict.fromkeys(names, 0.5), dict.fromkeys(names, -2.0)]
    found, expected = answers(exported, asked)
    assert [row["probability"] for row in found] == pytest.approx(expected["probability"])
    assert 0 < min(row["probability"] for row in found) < 1


@pytest.mark.slow
def test_three_columns_through_a_stacked_lstm_to_a_probability(tmp_path):
    rows, names = write_events(tmp_path / "events.csv"), ["feature1", "feature2", "feature3"]
    flags = ["--features", ",".join(names), "--label", "target", "--user", "id", "--time", "t"]
    flags += ["--window", "4", "--epochs", "2"]
    assert fit(rows, tmp_path / "run", *flags, model="StackedLSTMClassifier") == 0
    assert read_run(tmp_path / "run").model.hidden_units == (128, 64)
    exported = tmp_path / "served"
    assert main(["export", str(tmp_path / "run"), str(exported)]) == 0
    assert main(["verify", str(exported)]) == 0
    found, expected = answers(exported, [dict.fromkeys(names, [0.1, -0.5, 1.5])])
    assert found[0]["probability"] == pytest.approx(expected["probability"][0])


def test_audit_shows_labels_columns_and_what_looks_wrong(tmp_path, capsys):
    file = tmp_path / "rows.csv"
    lines = [f"{n % 7}.5,{'a' if n % 2 else ''},1,{n % 2},{n % 5}" for n in range(100)]
    file.write_text("\n".join(["x,city,same,paid,stars", *lines]) + "\n")
    sides = ["--user", "null", "--item", "null"]
    assert main(["audit", str(file), *sides, "--label", "stars", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["labels"] == {str(stars): 20 for stars in range(5)}
    assert found["missing"] == {"city": 50}
    assert "'same' is left out: all values are 1" in found["columns"]
    assert "the label 'stars' has 5 values: pass --positive" in found["problems"][0]
    lines = [f"{n % 7}.5,{'a' if n % 2 else 'b'},1,{n % 3},{n % 2}" for n in range(100)]
    file.write_text("\n".join(["x,city,same,paid,buys", *lines]) + "\n")
    assert main(["audit", str(file), *sides, "--label", "buys"]) == 0
    shown = capsys.readouterr().out
    assert "label         'buys': 0 50.0%, 1 50.0%" in shown
    assert "'city' alone tells the label 'buys'" in shown
    assert "problems      none" in shown
    assert main(["audit", str(file), "--user", "null", "--item", "null", "--label", "no"]) == 2
    assert "expected a column 'no' (label)" in capsys.readouterr().err


def chosen(rows, *flags, models=("LogisticRegression", "FeatureMLP")):
    return ["choose", *models, "--data", str(rows), "--label", "target", "--folds", "2", *flags]


def test_a_model_is_chosen_by_nested_cross_validation(rows, capsys):
    """The nearly linear target is learned in each fold; the table has the choice first."""
    flags = ["--features", "x0,x1,city", "--epochs", "2", "--metric", "log_loss"]
    assert main(chosen(rows, *flags, "--json")) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["metric"] == "log_loss"
    assert len(found["chosen"]) == len(found["valid"]["FeatureMLP"]) == 2
    assert [row["model"] for row in found["models"]] == [
        "as chosen", "LogisticRegression", "FeatureMLP"
    ]  # fmt: skip
    for at, name in enumerate(found["chosen"]):
        assert found["valid"][name][at] == min(values[at] for values in found["valid"].values())
    assert found["test"]["auc"]["low"] < found["test"]["auc"]["mean"] > 0.6
    assert "fold 2 of example_folds('random', valid=0.2, seed=0): FeatureMLP: log_loss" in err


def test_numbers_are_chosen_by_rmse_along_time(rows, capsys):
    flags = ["--by", "time", "--time", "day", "--loss", "mse", "--epochs", "1"]
    assert main(chosen(rows, *flags, models=["LogisticRegression"])) == 0
    out = capsys.readouterr().out
    assert "Test rows of 2 folds, mean rmse as chosen: 0." in out
    command = f"kerasrec fit LogisticRegression --data {rows} --label target --time day --loss mse"
    assert f"LogisticRegression was chosen in 2 of 2 folds: {command} --epochs 1 --split" in out


def test_the_command_of_a_choice_trains_on_the_same_rows(rows, capsys):
    flags = ["--features", "x0,city", "--min_count", "2", "--epochs", "1", "--user", "null"]
    assert main(chosen(rows, *flags, "--item", "null", models=["LogisticRegression"])) == 0
    (line,) = (one for one in capsys.readouterr().out.splitlines() if "kerasrec fit" in one)
    given = line.partition("kerasrec fit LogisticRegression ")[2]
    assert given == (
        f"--data {rows} --user null --item null --label target --features x0,city --min_count 2 "
        "--epochs 1"
    )


@pytest.mark.parametrize(
    ("models", "flags", "message"),
    [
        (["FeatureMLP", "FeatureMPL"], [], r"received \['FeatureMPL'\]"),
        (["FeatureMLP", "FeatureMLP"], [], r"each once; received \['FeatureMLP'\]"),
        (["MatrixFactorization"], [], "MatrixFactorization reads histories, or users and items"),
        (["StackedLSTMClassifier"], [], "StackedLSTMClassifier reads histories"),
        (["FeatureMLP"], ["--by", "group"], "--by group --group null: folds by group need"),
        (["FeatureMLP"], ["--group", "house"], "--by random --group house"),
        (["FeatureMLP"], ["--window", "5"], "--window 5: folds are of single rows"),
        (["FeatureMLP"], ["--folds", "1"], "folds"),
        (["FeatureMLP"], ["--label", "day"], r"'day' has \d+ values.*Pass --positive"),
        (["FeatureMLP"], ["--metric", "hits"], "hits"),
        (["FeatureMLP"], ["--by", "time"], "timestamp"),
    ],
)
def test_what_cannot_be_chosen_is_said(rows, capsys, models, flags, message):
    assert main(chosen(rows, *flags, models=models)) == 2
    out, err = capsys.readouterr()
    assert out == "" and re.search(message, err), err
