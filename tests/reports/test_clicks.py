import dataclasses
import json

import numpy as np
import pytest

from kerasrec.evaluation import click_intervals, compare_clicks
from kerasrec.reports import numbers, page, read_recorded


def read(*directories):
    return [read_recorded(directory) for directory in directories]


def test_metrics_intervals_and_tests(write_clicks, predicted, tmp_path):
    report = numbers(read(write_clicks(tmp_path / "a", 1.5), write_clicks(tmp_path / "b", 0.5)))
    json.dumps(report, allow_nan=False)
    clicks = report["clicks"]
    assert [m["name"] for m in clicks["models"]] == ["b", "a"]  # by log loss
    assert [m["name"] for m in report["models"]] == ["b", "a"]
    assert clicks["reference"] == "a" and clicks["best"]["auc"] == ["b"]
    better, reference = clicks["models"]
    assert "against" not in reference
    expected = click_intervals(predicted(0.5))["auc"]
    assert better["metrics"]["auc"] == {
        "mean": expected.mean, "low": expected.low, "high": expected.high
    }  # fmt: skip
    against = better["against"]["log_loss"]
    compared = compare_clicks(predicted(0.5), predicted(1.5))
    assert against["p"] == compared["log_loss"].p
    assert against["mean"] < 0 and against["better"] and against["significant"]
    assert against["p_holm"] == pytest.approx(compared["log_loss"].p_holm)
    assert clicks["baseline"] == {"auc": 0.5, "log_loss": 0.69}
    assert (clicks["rows"], clicks["users"]) == (400, None)


def test_curves_thresholds_and_segments(write_clicks, predicted, tmp_path):
    model = numbers(read(write_clicks(tmp_path / "a")))["clicks"]["models"][0]
    assert model["gain"]["gain"][-1] == 1.0 and len(model["gain"]["lift"]) == 10
    assert model["precision_recall"]["recall"][-1] == 1.0
    assert sum(model["calibration"]["rows"]) == 400
    chosen = [row for row in model["thresholds"] if row["chosen"] != "given"]
    assert [(row["threshold"], row["chosen"]) for row in chosen] == [
        (0.4375, "best F1 of the validation rows")
    ]
    assert {row["segment"] for row in model["segments"]["city"]} == {"Rome", "<Oslo>"}
    assert len(model["segments"]["age"]) == 4


def test_users_are_drawn_where_there_are_some(write_clicks, predicted, tmp_path):
    users = np.arange(400) // 10
    clicks = numbers(read(write_clicks(tmp_path / "a", users=users)))["clicks"]
    assert clicks["users"] == 40
    expected = click_intervals(predicted(0.5), users)["auc"]
    assert clicks["models"][0]["metrics"]["auc"]["low"] == expected.low


def test_the_page(write_clicks, predicted, tmp_path):
    text = page(numbers(read(write_clicks(tmp_path / "a", 1.5), write_clicks(tmp_path / "b", 0.5))))
    for title in ("Models", "Gain and lift", "Precision, recall and calibration", "Thresholds",
                  "Segments of the rows", "Learning curves", "Runs", "Data"):  # fmt: skip
        assert f"<h2>{title}</h2>" in text
    assert "&lt;Oslo&gt;" in text and "<Oslo>" not in text.split("<script")[0]
    assert "▲" in text and "A &lt;finding&gt;" in text and "mean label" in text
    assert "best F1 of the validation rows" in text and "minus a" in text
    alone = page(numbers(read(tmp_path / "a")))
    assert "▲" not in alone and "Differences" not in alone


def test_rows_of_one_label_have_a_page(write_clicks, predicted, tmp_path):
    report = numbers(read(write_clicks(tmp_path / "a", found=predicted(0.5, 20, positives=False))))
    json.dumps(report, allow_nan=False)
    model = report["clicks"]["models"][0]
    assert model["metrics"]["auc"]["mean"] is None and model["gain"] == {}
    assert "All test rows have the same label." in page(report)


def test_runs_that_cannot_be_compared(write_clicks, predicted, tmp_path):
    runs = [
        write_clicks(tmp_path / "a"),
        write_clicks(tmp_path / "b", found=predicted(0.5, 400, False)),
    ]
    with pytest.raises(ValueError, match="b predicted other rows than a"):
        numbers(read(*runs))
    with pytest.raises(ValueError, match="expected runs of one kind; .*'a': 'labels', 'r': 'rank"):
        numbers([*read(runs[0]), dataclasses.replace(read(runs[0])[0], name="r", about={})])
    numbers_only = write_clicks(tmp_path / "mse", loss="mse")
    (numbers_only / "predictions.parquet").unlink()
    with pytest.raises(ValueError, match=r"predicts numbers \(--loss mse\)"):
        read_recorded(numbers_only)
    old = write_clicks(tmp_path / "old")
    (old / "predictions.parquet").unlink()
    with pytest.raises(ValueError, match=r"no predictions.parquet; it was written before"):
        read_recorded(old)
    (runs[0] / "predictions.parquet").write_text("{")
    with pytest.raises(ValueError, match="not as `kerasrec fit` wrote them"):
        read_recorded(runs[0])
