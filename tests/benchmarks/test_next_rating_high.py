"""What a row's score may know in `next_rating_high.py`, on rows that are made up here."""

import dataclasses
import importlib
from pathlib import Path

import numpy as np
import pytest

from kerasrec.data import Interactions
from kerasrec.datasets.dataset import Dataset
from kerasrec.schema import Categorical, IdSequence, NumericSequence, Schema


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("next_rating_high")


@pytest.fixture
def rows(script):
    """Two users with 13 and 11 rows, of which the last 5 are the test, 5 before them validation."""
    counts = np.array([13, 11])
    users = np.repeat([2, 3], counts).astype("int32")
    position = np.concatenate([np.arange(count) for count in counts])
    from_end = np.repeat(counts, counts) - 1 - position
    part = np.where(from_end < 5, 2, np.where(from_end < 10, 1, 0))
    item = np.arange(2, 2 + len(users)).astype("int32")
    columns = {"user_id": users, "item_id": item, "event_rating": item * 1.0, "label": item % 2.0}
    numbers = NumericSequence("event_ratings", of="event_rating", max_length=20)
    history = IdSequence("history", of="item_id", max_length=20)
    schema = Schema((Categorical("user_id", 4), history, numbers), Categorical("item_id", 99))
    return script.Rows(columns, part, from_end, schema)


class Counting:
    """Says how many events it knows."""

    def step_logits(self, features, position, training=False):
        return position + 1


def test_scores_know_no_more_rows_than_they_are_given(script, rows):
    model = Counting()
    known = script.scores_of(model, rows, 2)
    assert known.tolist() == [8, 9, 10, 11, 12, 6, 7, 8, 9, 10]
    assert script.scores_of(model, rows, 1).tolist() == [3, 4, 5, 6, 7, 1, 2, 3, 4, 5]
    assert script.scores_of(model, rows, 2, known=0).tolist() == [3] * 5 + [1] * 5
    assert script.scores_of(model, rows, 2, known=1).tolist() == [8] * 5 + [6] * 5


def test_windows_end_anywhere_and_are_never_short(script, rows):
    ends = set()
    for seed in range(50):
        found = script.windows(rows, rows.part < 2, 4, seed)
        for user, count, shortest in ((2, 8, 5), (3, 6, 5)):
            items = found["item_id"][found["user_id"] == user]
            every = rows.columns["item_id"][rows.columns["user_id"] == user]
            assert items.tolist() == every[: len(items)].tolist()
            assert shortest <= len(items) <= count
            ends.add((user, len(items)))
    assert ends == {(2, 5), (2, 6), (2, 7), (2, 8), (3, 5), (3, 6)}


def test_resampled_users_keep_their_rows_together(script, monkeypatch):
    monkeypatch.setattr(script, "DRAWS", 200)
    labels = np.array([1, 0, 1, 0], np.float32)
    users = np.array([2, 2, 3, 3])
    # User 2 is ranked right and user 3 wrong, on scales that do not touch.
    scores = {"model": np.array([[2.0, 1.0, 3.0, 4.0]])}
    drawn = script.resampled(scores, labels, users)["model"]
    assert set(drawn.tolist()) == {0.0, 0.5, 1.0}


@pytest.mark.slow
def test_trainings_end_in_a_page(script, monkeypatch, tmp_path):
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(1, 31), 20)
    rows = Interactions.from_table(
        {
            "user_id": users,
            "item_id": np.concatenate([rng.permutation(np.arange(1, 40))[:20] for _ in range(30)]),
            "rating": rng.integers(1, 6, len(users)),
            "time_rank": np.tile(np.arange(20), 30),
        },
        label="rating",
        time="time_rank",
    )
    monkeypatch.setattr(script.datasets, "load", lambda name: Dataset(name, rows))
    monkeypatch.setattr(script, "DRAWS", 20)
    short = {"epochs": 2, "embedding_dim": 4, "batch_size": 8}
    tiny = {
        name: dataclasses.replace(
            settings, **short, hidden_units=settings.hidden_units and (6,),
            max_length=settings.max_length and 6,
        )
        for name, settings in script.MODELS.items()
    }  # fmt: skip
    monkeypatch.setattr(script, "MODELS", tiny)
    results = {
        name: [script.train(settings, seed, tmp_path / f"{name}{seed}") for seed in (0, 1)]
        for name, settings in tiny.items()
    }
    for name, runs in results.items():
        known = {"both", "train"} | ({"all"} if name == script.LSTM else set())
        assert all(known == set(run) & set(script.KNOWN) for run in runs)
        assert all(len(run[one]) == 150 for run in runs for one in known)
        assert all(run["epochs_trained"] == 2 for run in runs)
    # Models trained anew on more rows are others.
    assert results["EmbeddingMLP"][0]["both"] != results["EmbeddingMLP"][0]["train"]
    tried = {name: [runs[0]] * 3 for name, runs in results.items()}
    text = script.page(results, tried, [0, 1], "- Command: `x`")
    assert text.count("EmbeddingMLP, training and validation rows") == 3
    assert "| StackedLSTMClassifier, all rows before |" in text


def test_every_model_tries_as_many_rates_and_keeps_the_best(script):
    for settings in script.MODELS.values():
        assert len(script.trials(settings)) == len(script.FACTORS)
        tried = [{"validation": [{"auc": value}]} for value in (0.5, 0.6, 0.7)]
        assert script.chosen(settings, tried).learning_rate == 2 * settings.learning_rate
        assert script.chosen(settings, tried).epochs == settings.epochs


def test_levels_are_means_of_training_rows_drawn_to_the_mean_of_all(script):
    items = np.array([2, 2, 3, 3, 1])
    rating = np.array([5.0, 3.0, 1.0, 5.0, 5.0])
    train = np.array([True, True, True, False, False])
    found = script.item_levels(items, rating, train)
    assert found.tolist() == [(8 + 30) / 12] * 2 + [(1 + 30) / 11] * 2 + [3.0]
