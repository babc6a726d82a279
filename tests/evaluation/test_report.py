import subprocess
import sys

import numpy as np
import pytest

from kerasrec.evaluation import compare, evaluate, format_table, rank, rating_errors
from kerasrec.schema import Categorical, Numeric, Schema

TRAIN = {"user": np.array([2, 2, 3, 3]), "item": np.array([2, 3, 3, 4])}
TEST = {"user": np.array([2, 3]), "item": np.array([4, 5]), "rating": np.array([4.0, 3.0])}
TABLE = np.tile(np.arange(6.0), (4, 1))


def test_evaluate_joins_both(table_model):
    model = table_model(TABLE)
    result = evaluate(model, TEST, seen=TRAIN, k=(1, 2), ratings=True, clip=(1, 5))
    errors = rating_errors(model, TEST, clip=(1, 5))
    expected = {"rmse": errors["rmse"], "mae": errors["mae"]}
    assert result == expected | rank(model, TEST, seen=TRAIN, k=(1, 2)).summary()
    assert "rmse" not in evaluate(model, TEST, seen=TRAIN, k=1)


def test_clip_without_ratings(table_model):
    with pytest.raises(ValueError, match="Pass ratings=True"):
        evaluate(table_model(TABLE), TEST, seen=TRAIN, k=1, clip=(1, 5))


def test_compare_puts_popularity_beside(table_model):
    rows = compare({"table": table_model(TABLE)}, TEST, seen=TRAIN, k=1, ratings=True)
    assert [row["model"] for row in rows] == ["popularity", "table"]
    # Counts 1, 2, 1, 0 for items 2..5. User 2: 4 before 5. User 3: 2 before 5.
    assert (rows[0]["hr@1"], rows[0]["mrr"]) == (0.5, 0.75)
    assert "rmse" not in rows[0]
    assert rows[1]["rmse"] == pytest.approx(np.sqrt((0 + 4) / 2))


def test_popularity_counts_the_rows_that_the_models_learned_from(table_model):
    valid = {"user": np.array([2, 1]), "item": np.array([5, 5])}
    shared = {"seen": [TRAIN, valid], "k": 1}
    # Validation rows are seen by user 2, and counted only where the models have learned from them.
    rows = compare({"table": table_model(TABLE)}, TEST, **shared)
    assert rows[0]["mrr"] == 0.75
    assert rows == compare({"table": table_model(TABLE)}, TEST, train=TRAIN, **shared)
    rows = compare({"table": table_model(TABLE)}, TEST, train=[TRAIN, valid], **shared)
    assert rows[0]["mrr"] == 1.0  # item 5 now has two rows


@pytest.mark.parametrize("per", ["user", "row"])
def test_one_unit_and_one_popularity_whatever_the_models_read(table_ranker, per):
    test = {"user": np.array([2, 2, 3]), "item": np.array([4, 5, 2])}
    test["day"] = np.array([1.0, 2.0, 3.0], np.float32)
    daily = Schema(user=Categorical("user", 4), context=Numeric("day"), item=Categorical("item", 6))
    plain, contextual = table_ranker(TABLE), table_ranker(TABLE, daily)
    shared = {"seen": TRAIN, "k": (1, 2), "per": per}
    apart = [compare({"m": model}, test, **shared) for model in (plain, contextual)]
    assert apart[0] == apart[1]
    together = compare({"plain": plain, "contextual": contextual}, test, **shared)
    assert [row["queries"] for row in together] == [2 if per == "user" else 3] * 3
    assert {**together[1], "model": ""} == {**together[2], "model": ""}


def test_own_popularity_is_not_doubled(table_model):
    rows = compare({"Popularity": table_model(TABLE)}, TEST, seen=TRAIN, k=1)
    assert [row["model"] for row in rows] == ["Popularity"]


@pytest.mark.parametrize("models", [{}, [], None])
def test_compare_needs_models(models):
    with pytest.raises(ValueError, match="expected a dict of models by name"):
        compare(models, TEST, seen=TRAIN)


def test_compare_needs_seen_rows(table_model):
    with pytest.raises(ValueError, match="popularity counts the rows of `seen`; received none"):
        compare({"table": table_model(TABLE)}, TEST, seen=None, k=1)


def test_table():
    rows = [
        {"model": "popularity", "hr@10": 0.1, "users": 5, "seconds": 1},
        {"model": "mf", "rmse": 0.93, "hr@10": 0.25, "users": 5, "seconds": 12},
    ]
    assert format_table(rows).splitlines() == [
        "model         rmse   hr@10  seconds",
        "----------  ------  ------  -------",
        "popularity       -  0.1000        1",
        "mf          0.9300  0.2500       12",
        "users: 5",
    ]


def ranked_rows(k=(10,), models=("popularity", "MatrixFactorization"), recall=0.02):
    kinds = {"hr": 0.0, "recall": recall, "precision": 0.3, "ndcg": 0.04, "map": 0.05}
    facts = {"protocol": "full catalogue", "per": "user", "users": 943, "queries": 943}
    facts |= {"candidates": 1682, "test_rows": 943, "unknown_user_rows": 0, "repeated_rows": 0}
    return [
        {
            "model": model, "rmse": 0.9 + i,
            **{f"{n}@{at}": 0.5 + i / 10 + v + at / 1000 for n, v in kinds.items() for at in k},
            "mrr": 0.25, "map": 0.125, "auc": 0.875, **facts,
        }
        for i, model in enumerate(models)
    ]  # fmt: skip


@pytest.mark.parametrize("metrics", ["main", "all"])
@pytest.mark.parametrize("k", [(10,), (5, 10), (1, 2, 3, 5, 10, 20, 50)])
def test_a_table_holds_eighty_columns(k, metrics):
    text = format_table(ranked_rows(k, ("popularity", "a model of some length")), metrics=metrics)
    assert max(map(len, text.splitlines())) <= 80
    for at in k:
        assert f"ndcg@{at}" in text
    assert "candidates: 1682" in " ".join(text.split())


def test_three_metrics_unless_others_are_asked_for():
    header = format_table(ranked_rows()).splitlines()[0]
    assert header.split() == ["model", "rmse", "hr@10", "recall@10", "ndcg@10"]
    header = format_table(ranked_rows(), metrics=["auc", "map"]).splitlines()[0]
    assert header.split() == ["model", "rmse", "auc", "map"]
    with pytest.raises(ValueError, match=r"expected metrics among .*; received \['auc@3'\]"):
        format_table(ranked_rows(), metrics=["auc@3"])


def test_equal_columns_stand_once():
    lines = format_table(ranked_rows(recall=0.0)).splitlines()
    assert lines[0].split() == ["model", "rmse", "hr@10", "ndcg@10", "mrr"]
    assert lines[4].startswith("recall@10 = hr@10, protocol: full catalogue")
    # Where one of the models differs, both stay.
    rows = ranked_rows(recall=0.0)
    rows[1]["recall@10"] += 1e-4
    assert "recall@10" in format_table(rows).splitlines()[0]


@pytest.mark.parametrize("rows", [[], [{}]])
def test_table_needs_rows(rows):
    with pytest.raises(ValueError, match="expected rows"):
        format_table(rows)


def test_importing_and_using_needs_no_tensorflow():
    code = (
        "import sys, numpy as np\n"
        "from kerasrec.evaluation import rank, compare, format_table, rating_errors, evaluate\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_models_of_one_comparison_agree_on_what_a_hit_is(table_model):
    schema = Schema(Categorical("user", 4), Categorical("item", 6), label="rating", positive=">=4")
    models = {"any": table_model(TABLE), "liked": table_model(TABLE, schema)}
    with pytest.raises(ValueError, match="one rule.*'any': '>0', 'liked': '>=4'"):
        compare(models, TEST, seen=TRAIN, k=1)
    (popularity, liked) = compare({"liked": models["liked"]}, TEST, seen=TRAIN, k=1)
    assert popularity["queries"] == liked["queries"] == 1
