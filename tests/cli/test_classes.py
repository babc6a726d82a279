"""Labels of several classes from the command line: columns in, the names of classes out."""

import json
import re
import urllib.request

import numpy as np
import pytest

from kerasrec import serving
from kerasrec.cli import main
from kerasrec.runs.directory import read_run

NAMES = ["feature1", "feature2", "feature3"]
TEXTS = ("low", "né", "high")
FAST = ["--jit_compile", "false", "--batch_size", "32", "--learning_rate", "0.02"]
FAST += ["--features", ",".join(NAMES), "--label", "kind", "--window", "4"]


def write_events(path, names):
    """Three numbers of 30 users over 20 times; the kind follows the first of the last two."""
    rng = np.random.default_rng(0)
    lines = ["id,t,feature1,feature2,feature3,kind"]
    for user in range(30):
        numbers = rng.normal(size=(20, 3)).round(3)
        for time, (one, two, three) in enumerate(numbers):
            level = int(np.digitize(one + numbers[max(0, time - 1), 0], [-0.7, 0.7]))
            lines.append(f"{user},{time},{one},{two},{three},{names[level]}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def fit(file, output, *flags):
    data = ["--data", str(file), "--output", str(output), "--user", "id", "--time", "t"]
    return main(["fit", "StackedLSTMClassifier", *data, *FAST, *flags])


@pytest.mark.slow
def test_text_labels_are_learned_and_served_by_name(tmp_path, capsys):
    file, run, exported = write_events(tmp_path / "d.csv", TEXTS), tmp_path / "run", tmp_path / "s"
    assert fit(file, run, "--hidden_units", "[16]", "--cell", "gru", "--epochs", "12") == 0
    printed = capsys.readouterr().err
    assert "'kind' is one of 3 classes: high, low, né" in printed
    assert "num_classes 3" in printed
    shares, own = json.loads((run / "metrics.json").read_text())
    assert (shares["model"], own["model"]) == ("shares of classes", "StackedLSTMClassifier")
    assert own["accuracy"] > 0.7 > 0.55 > shares["accuracy"]
    assert own["log_loss"] < 0.8 * shares["log_loss"]
    assert own["macro_f1"] > 0.6 > shares["macro_f1"]
    assert main(["evaluate", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"] == [shares, own]
    assert read_run(run).model.num_classes == 3
    assert main(["export", str(run), str(exported)]) == 0
    assert main(["verify", str(exported)]) == 0
    rows = [{**dict.fromkeys(NAMES, [0.0]), "feature1": [0.1, x]} for x in (-3.0, 3.0)]
    with serving.server.background(exported) as server:
        body = json.dumps({"signature_name": "predict", "instances": rows}).encode()
        with urllib.request.urlopen(server.url, body) as response:
            found = json.load(response)["predictions"]
    assert [row["class"] for row in found] == ["low", "high"]
    for row in found:
        assert row["classes"] == ["high", "low", "né"]
        assert sum(row["probability"]) == pytest.approx(1.0, abs=1e-5)
        assert row["classes"][int(np.argmax(row["probability"]))] == row["class"]


@pytest.mark.slow
def test_whole_numbers_are_classes_and_refit_keeps_them(tmp_path, capsys):
    file = write_events(tmp_path / "d.csv", (7, 10, 9))
    flags = ["--hidden_units", "[4]", "--epochs", "1", "--refit"]
    assert fit(file, tmp_path / "run", *flags) == 0
    assert "'kind' is one of 3 classes: 7, 9, 10" in capsys.readouterr().err
    assert read_run(tmp_path / "run").vocabularies["kind"].ids.tolist() == ["7", "9", "10"]


@pytest.mark.parametrize(
    ("names", "flags", "message"),
    [
        (
            TEXTS,
            ["--loss", "mse"],
            "expected numbers; received 'low'|received 'né'|received 'high'",
        ),
        ((7, 10, 9), ["--num_classes", "4"], "num_classes=4|--num_classes 4"),
        (TEXTS, ["--positive", ">=4"], "expected numbers; received"),
    ],
)
def test_what_does_not_fit_classes_is_refused(names, flags, message, tmp_path, capsys):
    file = write_events(tmp_path / "d.csv", names)
    assert fit(file, tmp_path / "run", *flags) == 2
    assert re.search(message, capsys.readouterr().err)


def test_audit_counts_the_names(tmp_path, capsys):
    file = write_events(tmp_path / "d.csv", TEXTS)
    flags = ["--user", "null", "--item", "null", "--label", "kind", "--json"]
    assert main(["audit", str(file), *flags]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["labels"]) == ["high", "low", "né"]
    assert "one of 3 classes, which StackedLSTMClassifier predicts" in found["problems"][0]
