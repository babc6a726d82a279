import dataclasses
import warnings

import numpy as np
import pytest

from kerasrec.evaluation import (
    Candidates,
    ProtocolWarning,
    RankingTask,
    check_ranking,
    compare,
    evaluate,
    rank,
    recommend,
    sample_candidates,
)
from kerasrec.schema import Categorical, Numeric, Schema


def columns(pairs):
    pairs = np.array(pairs, np.int32).reshape(-1, 2)
    return {"user": pairs[:, 0], "item": pairs[:, 1]}


TRAIN = columns([(2, 2), (2, 3), (3, 4), (4, 5), (4, 6)])
TEST = columns([(2, 5), (2, 6), (3, 2), (4, 2), (1, 3), (2, 2)])
TABLE = np.random.default_rng(0).permutation(5 * 9).reshape(5, 9)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"k": (1, 3)},
        {"per": "row", "drop_repeats": True},
        {"items": {"item": np.array([2, 5, 3, 7])}, "k": 2},
        {"candidates": np.tile([2, 3, 7], (6, 1)), "k": 2, "max_memory_mb": 1},
    ],
)
def test_one_task_serves_every_model_as_its_fields_do(table_model, options):
    options = {"k": 5, **options}
    task = RankingTask(TEST, TRAIN, **options)
    plain = table_model(TABLE)
    day = Schema(Categorical("user", 5), Categorical("item", 9), Numeric("day"), label="rating")
    for model in (plain, table_model(-TABLE), table_model(TABLE, day)):
        rows = {**TEST, "day": np.zeros(6)}
        expected = rank(model, rows, seen=TRAIN, **options)
        assert rank(model, dataclasses.replace(task, test=rows)).summary() == expected.summary()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ProtocolWarning)
        row = rank(plain, task).summary()
        assert evaluate(plain, task) == evaluate(plain, TEST, seen=TRAIN, **options) == row
        assert compare({"a": plain}, task)[1] == {"model": "a", **row}
        found = check_ranking(plain.schema, task)
        assert found == check_ranking(plain.schema, TEST, seen=TRAIN, **options)


def test_options_replace_fields_of_a_task(table_model):
    task, model = RankingTask(TEST, TRAIN, k=2), table_model(TABLE)
    changed = rank(model, task, k=(3, 1), seen=None)
    assert changed.cutoffs == (1, 3)
    assert changed.summary() == rank(model, TEST, seen=None, k=(1, 3)).summary()
    assert task.k == 2 and task.seen is TRAIN
    with pytest.raises(dataclasses.FrozenInstanceError):
        task.k = 3


def test_a_task_keeps_the_columns_it_was_given(table_model):
    """No copies of rows or of the catalogue are held."""
    items = {"item": np.arange(2, 9)}
    task = RankingTask(TEST, [TRAIN], items=items, k=1)
    rank(table_model(TABLE), task)
    assert task.test is TEST and task.seen[0] is TRAIN and task.items is items
    assert set(vars(task)) == {field.name for field in dataclasses.fields(task)}


def test_lists_of_a_task_are_those_of_its_queries(table_model):
    task, model = RankingTask(TEST, TRAIN, k=(1, 3)), table_model(TABLE)
    queries = rank(model, task).queries
    found, expected = recommend(model, task), recommend(model, queries, seen=TRAIN, k=3)
    assert found.users.tolist() == [2, 3, 4]
    np.testing.assert_array_equal(found.items, expected.items)
    assert recommend(model, task, k=2).k == 2
    with pytest.raises(
        ValueError, match="expected a task without candidates by row.*received candidates"
    ):
        recommend(model, task, candidates=np.full((6, 2), 3))


def test_candidates_are_drawn_for_a_task():
    schema = Schema(Categorical("user", 5), Categorical("item", 9))
    drawn = sample_candidates(RankingTask(TEST, TRAIN), schema, negatives=2, seed=3)
    assert isinstance(drawn, Candidates)
    expected = sample_candidates(TEST, schema, seen=TRAIN, negatives=2, seed=3)
    np.testing.assert_array_equal(drawn.ids, expected.ids)


def test_messages(table_model):
    model = table_model(TABLE)
    with pytest.raises(ValueError, match=r"rank: expected `seen`.*received none.*\[train, valid\]"):
        rank(model, TEST)
    with pytest.raises(ValueError, match="rank: test expects encoded columns.*received list"):
        RankingTask([TEST], None)
    with pytest.raises(TypeError, match="'sen'"):
        rank(model, TEST, seen=None, sen=TRAIN)
    with pytest.raises(ValueError, match="rank: k must be an integer of at least 1; received None"):
        RankingTask(TEST, None, k=None)
    with pytest.raises(ValueError, match="rank: k must be an integer of at least 1; received '10'"):
        RankingTask(TEST, None, k="10")
