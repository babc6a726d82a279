"""`kerasrec fit` trains the weights of Python, and on two replicas those of one, within 1e-4."""

import json

import keras
import numpy as np
import pytest
import yaml

from kerasrec import data, runs
from kerasrec.cli import main

SHORT = ["--embedding_dim", "4", "--epochs", "2", "--jit_compile", "false"]
# Clipped at every step, at a rate that falls: what depends on whole batches.
STEEP = ["--optimizer", "sgd", "--learning_rate", "1", "--clipnorm", "0.02", "--decay_rate", "1"]
PAIRS = [*SHORT, "--batch_size", "50"]
RECURRENT = ["--hidden_units", "8", "--dropout", "0"]
# Parts of a batch have no equal sizes: neither rows nor groups of rows divide by two.
CASES = {
    "drawn items": ("MatrixFactorization", [*PAIRS, "--negatives", "2"]),
    "shared items": ("EmbeddingMLP", [*PAIRS, "--loss", "softmax", "--negatives", "8"]),
    "retrieval": ("MatrixFactorization", [*PAIRS, "--loss", "softmax", "--negatives", "8"]),
    "clicks": ("NeuMF", [*PAIRS, "--loss", "log_loss", "--positive", ">=3"]),
    "ratings": ("MatrixFactorization", [*PAIRS, "--loss", "mse", "--l2", "0.1"]),
    "next item": ("SASRec", [*SHORT, "--batch_size", "7", "--dropout", "0"]),
    "drawn next item": ("GRU4Rec", [*SHORT, *RECURRENT, "--batch_size", "7", "--negatives", "4"]),
    "events": (
        "StackedLSTMClassifier",
        [*SHORT, *RECURRENT, "--batch_size", "7", "--positive", ">=3"],
    ),
}


def fit(model, ratings, output, *flags):
    return main(["fit", model, "--data", str(ratings), "--output", str(output), *flags])


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=() if case == "drawn items" else pytest.mark.slow) for case in CASES],
)
def test_two_replicas_train_the_weights_of_one_device(case, ratings, tmp_path, capsys):
    model, flags = CASES[case]
    assert fit(model, ratings, tmp_path / "one", *flags, *STEEP) == 0
    capsys.readouterr()
    assert fit(model, ratings, tmp_path / "two", *flags, *STEEP, "--replicas", "2") == 0
    assert "Each batch is shared by 2 parts of the CPU." in capsys.readouterr().err
    one, two = (runs.read_run(tmp_path / name) for name in ("one", "two"))
    for ours, theirs in zip(one.model.get_weights(), two.model.get_weights(), strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-4)
    losses = [json.loads((run.directory / "history.json").read_text()) for run in (one, two)]
    for name, values in losses[0].items():
        np.testing.assert_allclose(losses[1][name], values, rtol=0, atol=1e-4, err_msg=name)
    flags = yaml.safe_load((two.directory / "config.yaml").read_text())
    assert flags["replicas"] == 2


def test_python_trains_the_weights_of_the_command_line(ratings, tmp_path):
    choices = {"epochs": 2, "jit_compile": False}
    flags = [f"--{name}={str(value).lower()}" for name, value in choices.items()]
    assert fit("MatrixFactorization", ratings, tmp_path / "run", *flags) == 0
    keras.utils.set_random_seed(0)
    ready = data.prepare(data.leave_last_out(data.read(ratings)))
    found = runs.fit("MatrixFactorization", ready, verbose=0, **choices)
    model = runs.read_run(tmp_path / "run").model
    for ours, theirs in zip(found.model.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("model", "flags", "message"),
    [
        ("MatrixFactorization", ["--replicas", "1"], "replicas must be an integer of at least 2"),
        ("MatrixFactorization", ["--replicas", "many"], "replicas"),
        ("MatrixFactorization", ["--replicas", "64"], "64 are needed"),
        ("Popularity", ["--replicas", "2"], "--replicas 2: Popularity counts rows"),
    ],
)
def test_replicas_that_cannot_be_had_are_refused(model, flags, message, ratings, tmp_path, capsys):
    assert fit(model, ratings, tmp_path / "run", *flags) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
