"""The benchmark of the rules leaves each data set out of what its own figure rests on."""

import dataclasses
import importlib
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def recipes(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("recipes")


def one(valid, test, figure="ndcg@10", **more):
    measured = {"test": {figure: test}, "baseline": {figure: 0.05}}
    return {"figure": figure, "valid": valid, **measured, **more}


def table(recipes, figures, figure="ndcg@10", loss="ranking"):
    """Results by set and variant: the validation figure is also that of the test."""
    return {
        recipes.Task(name, "MatrixFactorization", loss, variant): one(
            value,
            value,
            figure,
            cpu=10.0,
            source=recipes.source(),
            commit="b",
            hardware="c",
            versions="d",
        )
        for name, values in figures.items()
        for variant, value in zip(recipes.VARIANTS, values, strict=True)
    }


def test_the_rule_of_a_set_is_the_best_of_the_others(recipes):
    # Interpolated, sparse, dense. On the first set alone, dense is best by far.
    held = table(
        recipes,
        {
            "movielens-100k": (0.10, 0.05, 0.40),
            "ml-latest-small": (0.10, 0.12, 0.11),
            "movietweetings-100k": (0.10, 0.12, 0.11),
        },
    )
    task = recipes.Task("movielens-100k", "MatrixFactorization", "ranking", "rules")
    others = ["ml-latest-small", "movietweetings-100k"]
    assert recipes.chosen_without(held, task, others) == "sparse"
    assert recipes.chosen_without(held, task, [*others, "movielens-100k"]) == "dense"
    (line,) = [row for row in recipes.lines(held) if row[0] == "movielens-100k"]
    # The figure of the sparse settings; those that are shipped; the best on the set; the share.
    assert line[4:8] == ["0.0500 (sparse)", "0.1000", "0.4000", "0.125"]


def test_tuned_is_the_best_of_the_ends_and_of_what_a_search_tries(recipes):
    held = table(recipes, {"movielens-100k": (0.10, 0.05, 0.08)})
    rules = next(iter(held))
    held[dataclasses.replace(rules, variant="second")] = {**held[rules], **one(0.2, 0.12, cpu=1.0)}
    (line,) = recipes.lines(held)
    assert line[4:8] == ["0.1000 (rules)", "0.1000", "0.1200", "0.833"]


def test_errors_are_better_when_lower(recipes):
    held = table(
        recipes,
        {"movielens-100k": (1.0, 0.9, 1.1), "ml-latest-small": (1.0, 0.8, 1.2)},
        "rmse",
        "mse",
    )
    task = recipes.Task("movielens-100k", "MatrixFactorization", "mse", "rules")
    assert recipes.chosen_without(held, task, ["ml-latest-small"]) == "sparse"
    (line,) = [row for row in recipes.lines(held) if row[0] == "movielens-100k"]
    assert line[4:8] == ["0.9000 (sparse)", "1.0000", "0.9000", "1.000"]


def test_a_set_where_the_rules_choose_an_end_needs_no_training_of_it(recipes):
    held = table(recipes, {"movielens-100k": (0.1, 0.1, 0.2)})
    rules, sparse, _ = held
    del held[sparse]
    held[rules]["is_sparse"] = True
    assert recipes.value(held, sparse) == 0.1
    text = recipes.page_of(held)
    assert sparse.name not in text.partition("still missing")[2]
    assert dataclasses.replace(rules, model="SASRec", loss="softmax").name in text


def test_a_set_where_nothing_else_was_tried_has_no_tuned_figure(recipes):
    held = table(recipes, {"movielens-100k": (0.1, 0.1, 0.2)})
    (line,) = recipes.lines({task: one for task, one in held.items() if task.variant == "rules"})
    assert line[5:8] == ["0.1000", "-", "-"]


def test_a_missing_training_is_named(recipes):
    held = table(
        recipes, {"movielens-100k": (0.10, 0.05, 0.20), "ml-latest-small": (0.10, 0.12, 0.11)}
    )
    del held[recipes.Task("movielens-100k", "MatrixFactorization", "ranking", "sparse")]
    (line,) = [row for row in recipes.lines(held) if row[0] == "movielens-100k"]
    assert line[4] == "0.1000 (rules, as sparse is missing)"


def test_results_of_other_code_make_no_page(recipes):
    held = table(recipes, {"movielens-100k": (0.1, 0.1, 0.2)})
    next(iter(held.values()))["source"] = "other"
    with pytest.raises(ValueError, match=r"other measuring code: \['other'\]"):
        recipes.page_of(held)


def test_every_training_is_listed_once_and_none_reads_an_order_that_is_not_there(recipes):
    tasks = recipes.tasks()
    assert len(set(tasks)) == len(tasks) == len({task.name for task in tasks})
    assert {task.data for task in tasks} == set(recipes.SETS) and len(recipes.SETS) == 7
    for task in tasks:
        assert task.data not in recipes.WITHOUT_ORDER or task.model not in recipes.ORDERED
