"""The table of metrics: one entry is all that a metric needs."""

import keras
import numpy as np
import pytest

from kerasrec import evaluation
from kerasrec.callbacks import RankingValidation
from kerasrec.data import Interactions, leave_last_out, prepare
from kerasrec.datasets import Dataset
from kerasrec.evaluation import metrics
from kerasrec.evaluation.metrics import CLICKS, LISTS, RANKING, RATINGS, Metric
from kerasrec.models import MatrixFactorization
from kerasrec.reports.numbers import Recorded, numbers
from kerasrec.runs.records import label_metrics, record


@pytest.fixture(scope="module")
def ready():
    rng = np.random.default_rng(0)
    users, items = np.repeat(np.arange(8), 6), rng.permuted(np.tile(np.arange(14), (8, 1)), axis=1)
    rows = Interactions.from_table(
        {"user_id": users, "item_id": items[:, :6].ravel(), "timestamp": np.arange(48),
         "rating": rng.integers(1, 6, 48)}
    )  # fmt: skip
    return prepare(leave_last_out(rows))


@pytest.fixture
def model(ready):
    return MatrixFactorization(ready.schema, embedding_dim=2)


def misses(blocks, k):
    """Share of the positives that are not among the first k: lower is better."""
    return 1 - metrics.RANKING["recall@k"].formula(blocks, k)


def test_a_metric_added_to_the_table_is_everywhere(ready, model, monkeypatch):
    monkeypatch.setitem(RANKING, "misses@k", Metric(misses, best=0, priority=-1))
    monkeypatch.setitem(RANKING, "last", Metric(lambda blocks: 1 / blocks.negatives))
    task = evaluation.RankingTask(ready.test, [ready.train, ready.valid], k=(2, 3))
    result = evaluation.rank(model, task)
    assert {"misses@2", "misses@3", "last"} <= result.values.keys()
    assert result["misses@3"] == pytest.approx(1 - result["recall@3"])

    rows = evaluation.compare({"mf": model}, task)
    assert {"misses@2", "misses@3"} < set(evaluation.format_table(rows).split())
    assert "last" in evaluation.format_table(rows, metrics="all")
    part = evaluation.segment_rows(result, queries=np.zeros(len(result.users)))
    assert part[0]["last"] == result["last"]

    model.compile("adam", "mse")
    callback = RankingValidation(ready.valid, seen=ready.train, k=2)
    history = model.fit(ready.train, np.ones(len(ready.train["item_id"])), verbose=0,
                        callbacks=[callback]).history  # fmt: skip
    assert {"val_misses@2", "val_last"} <= history.keys()

    worse = evaluation.rank(Reversed(model), task)
    assert worse["misses@3"] != result["misses@3"]
    records = record({"mf": model, "popularity": Reversed(model)}, ready,
                     Dataset("rows", ready.split.train), losses={})  # fmt: skip
    at = records.about["list_length"]
    assert f"misses@{at}" in records.metrics[0] and "last" in records.queries.column_names
    run = Recorded(
        "run", records.about | {"seconds": {"training": 0.0, "evaluation": 0.0}},
        {"model": "mf", "data": "rows", "seed": 0}, {}, records.metrics, {}, records.queries,
    )  # fmt: skip
    page = numbers([run])
    assert page["metrics"][0] == f"misses@{at}" and "last" in page["metrics"]
    means = {m["name"]: m["metrics"][f"misses@{at}"]["mean"] for m in page["models"]}
    assert page["best"][f"misses@{at}"] == [n for n in means if means[n] == min(means.values())]
    assert page["models"][0]["name"] in page["best"][f"misses@{at}"]
    assert page["models"][0]["curves"]["misses"]["k"]


class Reversed:
    """The scores of a model with the other sign."""

    def __init__(self, model):
        self.model, self.schema = model, model.schema

    def __call__(self, inputs, training=False):
        return -keras.ops.convert_to_numpy(self.model(inputs))


def test_metrics_of_labels_and_lists_are_added_likewise(ready, model, monkeypatch):
    monkeypatch.setitem(RATINGS, "bias", Metric(lambda errors: float(errors.mean()), best=0))
    monkeypatch.setitem(CLICKS, "rate", Metric(lambda rows: float(rows.labels.mean())))
    monkeypatch.setitem(LISTS, "users@k", Metric(lambda of, k: float(len(of.lists.users))))
    assert "bias" in label_metrics(model, ready, loss="mse")
    assert label_metrics(model, ready, loss="log_loss")["rate"] == 1.0
    task = evaluation.RankingTask(ready.test, ready.train, k=3)
    row = evaluation.evaluate(model, task, ratings=True)
    assert list(row)[:3] == ["rmse", "mae", "bias"]
    found, _ = evaluation.beyond_accuracy(
        evaluation.recommend(model, task), ready.schema, train=ready.train
    )
    assert found["users@3"] == 8.0


def test_the_order_of_tables_and_the_names_of_reports():
    assert list(metrics.by_priority()) == [
        "ndcg@k", "hr@k", "recall@k", "mrr", "map@k", "map", "precision@k", "auc",
    ]  # fmt: skip
    assert list(metrics.beside_ranking(RATINGS | CLICKS)) == [
        "rmse", "mae", "click_auc", "pr_auc", "gauc", "log_loss", "normalized_entropy",
        "calibration",
    ]  # fmt: skip


def test_quality_is_higher_for_better_values():
    assert RANKING["ndcg@k"].quality(0.3) > RANKING["ndcg@k"].quality(0.2)
    assert RATINGS["rmse"].quality(0.9) > RATINGS["rmse"].quality(1.0)
    calibration = CLICKS["calibration"]
    assert calibration.quality(1.1) > max(calibration.quality(0.8), calibration.quality(1.3))
