"""A training of next items that is broken off goes on as if it had not been."""

import dataclasses
import importlib
from pathlib import Path

import numpy as np
import pytest

from kerasrec import datasets


@pytest.fixture
def training(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("sequence_training")


@pytest.fixture
def sequences(training, monkeypatch, tmp_path):
    """40 users who each have 8 of 12 items, one after the other from a start of their own."""
    folder = tmp_path / "data" / "amazon-beauty-s3rec"
    folder.mkdir(parents=True)
    lines = [
        " ".join(map(str, [user, *(1 + (user + step) % 12 for step in range(8))]))
        for user in range(1, 41)
    ]
    (folder / "Beauty.txt").write_text("\n".join(lines) + "\n")
    monkeypatch.setenv("KERASREC_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(training, "load", datasets.load)
    monkeypatch.setattr(importlib.import_module("published_training"), "load", datasets.load)
    settings = training.SequenceSettings(
        embedding_dim=16, num_layers=1, dropout=0.1, max_length=8, learning_rate=0.02,
        warmup_steps=2, batch_size=8, epochs=4, every=2,
    )  # fmt: skip
    return "amazon-beauty-s3rec", settings


@pytest.mark.slow
def test_a_training_goes_on_where_it_stopped(training, sequences, tmp_path, monkeypatch):
    name, settings = sequences
    whole = training.fit_next_items(name, "split", settings, 1, tmp_path / "whole")
    assert whole["epochs_trained"] == 4
    losses = [figures["loss"] for figures in whole["validation"]]
    assert losses[1] < losses[0]

    broken, save = tmp_path / "broken", training.Checkpoint.save

    def stop_after(self, trainer):
        save(self, trainer)
        raise KeyboardInterrupt

    monkeypatch.setattr(training.Checkpoint, "save", stop_after)
    with pytest.raises(KeyboardInterrupt):
        training.fit_next_items(name, "split", settings, 1, broken)
    monkeypatch.setattr(training.Checkpoint, "save", save)
    again = training.fit_next_items(name, "split", settings, 1, broken)
    assert again["validation"][0] == whole["validation"][0]
    # To the digits that are kept, dropout included.
    assert again["validation"][1]["loss"] == pytest.approx(losses[1], abs=1e-4)
    # At most the weights of the last and of the best epoch are kept.
    assert len(list(broken.glob("*.weights.h5"))) <= 2
    # A checkpoint of other settings does not count.
    other = dataclasses.replace(settings, epochs=2)
    assert (
        training.Checkpoint(broken, {"settings": dataclasses.asdict(other), "seed": 1}).state[
            "epoch"
        ]
        == 0
    )


def test_it_stops_when_the_validation_gets_no_better(training, tmp_path):
    values = iter([0.1, 0.3, 0.2, 0.2, 0.5])

    class Counting:
        variables = ()

        def __init__(self):
            self.epochs, self.loaded = 0, None

        def fit(self, *arguments, **options):
            self.epochs += 1
            return dataclasses.make_dataclass("History", ["history"])({"loss": [1.0]})

        def save_weights(self, path):
            path.write_text(str(self.epochs))

        def load_weights(self, path):
            self.loaded = path.read_text()

    model = Counting()
    settings = training.SequenceSettings(epochs=10, every=2, patience=3)
    state = training.fit_with_early_stopping(
        model,
        lambda epoch: None,
        lambda: {"ndcg": next(values)},
        settings,
        training.Checkpoint(tmp_path, {}),
        "ndcg",
    )
    # 0.3 after 4 epochs; 8 are more than 3 later.
    assert (state["best"], state["epoch"], model.epochs, model.loaded) == (4, 8, 8, "4")


def test_the_test_item_comes_after_the_validation_item(training, sequences):
    name, settings = sequences
    split = training.load(name).split
    schema, (train, valid, test) = training.next_item_schema(
        name, 8, split.train, split.valid, split.test
    )

    class Successor:
        """Knows that the item after i is i + 1, where the items go round."""

        def __init__(self):
            self.schema = schema

        def __call__(self, inputs, training=False):
            history = np.asarray(inputs["history"])
            newest = history[np.arange(len(history)), (history > 0).sum(axis=1) - 1]
            item = np.asarray(inputs["item_id"])
            following = 2 + (newest - 1) % 12
            if item.ndim == 2:
                following = following[:, None]
            return (item == following).astype(np.float32)

    assert training.figures_of_test(Successor(), schema, train, valid, test, 1)["hr@1"] == 1.0
