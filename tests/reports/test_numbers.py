import dataclasses
import importlib
import json

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from kerasrec.evaluation.statistics import Comparison, Interval
from kerasrec.reports import numbers, read_recorded


def read(*directories):
    return [read_recorded(directory) for directory in directories]


def test_means_intervals_and_tests(write, tmp_path):
    runs = read(write(tmp_path / "a"), write(tmp_path / "b", 0.1), write(tmp_path / "c", 0.0))
    report = numbers(runs)
    assert [m["name"] for m in report["models"]] == ["b", "a", "c", "popularity"]
    assert report["reference"] == "a"
    b, a, c, popularity = report["models"]
    found = a["metrics"]["ndcg@10"]
    assert found["mean"] == pytest.approx(0.375)
    assert found["low"] < 0.375 < found["high"]
    assert "against" not in a
    better = b["against"]["ndcg@10"]
    assert better["mean"] == pytest.approx(0.1, abs=1e-6)
    assert better["significant"] and better["p_holm"] >= better["p"]
    assert c["against"]["ndcg@10"]["p_holm"] == 1.0
    assert not c["against"]["ndcg@10"]["significant"]
    assert popularity["against"]["mrr"]["mean"] < 0
    assert a["errors"] == {"rmse": 0.91, "mae": 0.7}
    json.dumps(report, allow_nan=False)


def test_recall_is_no_second_column_of_the_hit_rate(write, tmp_path):
    runs = read(write(tmp_path / "a"), write(tmp_path / "b", 0.1))
    assert numbers(runs)["metrics"] == ["ndcg@10", "hr@10", "mrr"]
    table = runs[1].queries
    changed = pc.multiply(table["recall@10"], pa.scalar(0.5, pa.float32()))
    at = table.column_names.index("recall@10")
    runs[1] = dataclasses.replace(runs[1], queries=table.set_column(at, "recall@10", changed))
    assert numbers(runs)["metrics"] == ["ndcg@10", "hr@10", "recall@10", "mrr"]


def test_map_is_no_second_column_of_an_equal_mrr(write, tmp_path):
    run = read(write(tmp_path / "a"))[0]
    table = run.queries
    both = dataclasses.replace(run, queries=table.append_column("map", table["mrr"]))
    assert numbers([both])["metrics"] == ["ndcg@10", "hr@10", "mrr"]
    lower = pc.multiply(table["mrr"], pa.scalar(0.5, pa.float32()))
    other = dataclasses.replace(run, name="b", queries=table.append_column("map", lower))
    assert numbers([both, other])["metrics"] == ["ndcg@10", "hr@10", "mrr", "map"]


def test_a_column_that_is_left_out_has_no_chart(write, tmp_path):
    model = numbers(read(write(tmp_path / "a")))["models"][0]
    assert list(model["curves"]) == ["ndcg", "hr"]


def test_clicks_have_columns_and_their_best(write, tmp_path):
    def clicks(name, **values):
        run = read(write(tmp_path / name))[0]
        return dataclasses.replace(run, metrics=[{"model": "MatrixFactorization", **values}])

    low = clicks("low", log_loss=0.3, click_auc=0.6, calibration=0.8, gauc=None)
    high = clicks("high", log_loss=0.5, click_auc=0.7, calibration=1.1, gauc=None)
    report = numbers([low, high, read(write(tmp_path / "ratings"))[0]])
    best = report["best"]
    assert best["log_loss"] == ["low"] and best["click_auc"] == best["calibration"] == ["high"]
    assert "gauc" not in best and best["rmse"] == ["ratings"]
    assert next(m for m in report["models"] if m["name"] == "low")["errors"] == {
        "log_loss": 0.3, "click_auc": 0.6, "calibration": 0.8
    }  # fmt: skip


def test_runs_of_other_positives_are_not_compared(write, tmp_path):
    runs = read(
        write(tmp_path / "any", flags={"positive": ">0"}),
        write(tmp_path / "old"),
        write(tmp_path / "high", flags={"positive": ">=4"}),
    )
    assert len(numbers(runs[:2])["models"]) == 3
    with pytest.raises(ValueError, match="high counts other labels .* expected >0; received >=4"):
        numbers(runs)


def test_the_best_of_every_column_is_named(write, tmp_path):
    runs = read(write(tmp_path / "a"), write(tmp_path / "b", 0.1), write(tmp_path / "c", 0.1))
    best = numbers(runs)["best"]
    assert best["ndcg@10"] == best["mrr"] == ["b", "c"]
    assert set(best["rmse"]) == {"a", "b", "c"}


def test_p_holds_for_all_models_and_metrics_together(write, tmp_path, monkeypatch):
    """Each difference alone has p = 0.02, and none is left of the 6 once Holm has corrected."""
    module = importlib.import_module("kerasrec.reports.numbers")

    def compared(first, second, users, *, draws):
        return {name: Comparison(0.5, 0.25, Interval(0.25, 0.1, 0.4), 0.02, 0.02) for name in first}

    monkeypatch.setattr(module, "paired_comparison", compared)
    report = numbers(read(write(tmp_path / "a"), write(tmp_path / "b", 0.1)))
    tested = [m["against"] for m in report["models"] if m["name"] != "a"]
    count = sum(map(len, tested))
    assert count == 2 * len(report["metrics"]) == 6
    for found in (found for against in tested for found in against.values()):
        assert found["p"] == 0.02
        assert found["p_holm"] == pytest.approx(count * 0.02)
        assert not found["significant"]


def test_losses_of_two_kinds_are_told_apart(write, tmp_path):
    flags = [{"loss": "softmax", "negatives": 256}, {"loss": "mse", "negatives": None}, {}]
    runs = [write(tmp_path / f"run{n}", flags=some) for n, some in enumerate(flags)]
    losses = {m["name"]: m["loss"] for m in numbers(read(*runs))["models"]}
    expected = {"run0": "softmax, 256 negatives", "run1": "mse", "run2": "", "popularity": ""}
    assert losses == expected


def test_segments_curves_and_lists(write, tmp_path):
    model = numbers(read(write(tmp_path / "a")))["models"][0]
    assert model["curves"]["ndcg"]["k"] == [1, 5, 10]
    head, tail = model["segments"]["popularity"]
    assert head == {"segment": "head", "queries": 60, "ndcg@10": 0.5, "recall@10": 0.4}
    assert tail["recall@10"] is None
    assert model["lists"]["figures"] == {"coverage@10": 0.5, "gini@10": None, "novelty@10": 3.25}
    assert model["lists"]["train_rows"] == [0.0, 0.75, 1.0]


def test_a_diverged_history_is_still_json(write, tmp_path):
    run = write(tmp_path / "a", history={"loss": [1.0, float("nan"), float("inf")]})
    report = numbers(read(run))
    assert report["models"][0]["history"]["loss"] == [1.0, None, None]


def test_one_query(write, tmp_path):
    report = numbers(read(write(tmp_path / "a", users=1)))
    found = report["models"][0]["metrics"]["ndcg@10"]
    assert found == {"mean": 0.0, "low": 0.0, "high": 0.0}


def test_runs_that_cannot_be_compared(write, tmp_path):
    a = write(tmp_path / "a")
    with pytest.raises(ValueError, match="expected at least one run"):
        numbers([])
    with pytest.raises(ValueError, match=r"different names; received \['a', 'a'\]"):
        numbers(read(a, a))
    other = write(tmp_path / "b", split={"test": {"rows": 7}})
    with pytest.raises(ValueError, match="b was trained or tested on other rows than a"):
        numbers(read(a, other))


def test_directories_that_are_refused(write, tmp_path):
    with pytest.raises(ValueError, match="expected a directory that `kerasrec fit` wrote"):
        read_recorded(tmp_path)
    old = write(tmp_path / "old")
    (old / "run.json").unlink()
    with pytest.raises(
        ValueError, match=r"no \['run.json'\]; it was written before.*Train it again"
    ):
        read_recorded(old)
    newer = write(tmp_path / "newer", about={"version": 2})
    with pytest.raises(ValueError, match="has the version 2; this kerasrec reads 1"):
        read_recorded(newer)
    other = write(tmp_path / "other", about={"segments": {}})
    with pytest.raises(ValueError, match="not as `kerasrec fit` wrote them"):
        read_recorded(other)
    for name in ("run.json", "queries.parquet", "config.yaml"):
        broken = write(tmp_path / f"broken-{name}")
        (broken / name).write_text("{")
        with pytest.raises(ValueError, match="not as `kerasrec fit` wrote them.*Restore them"):
            read_recorded(broken)
