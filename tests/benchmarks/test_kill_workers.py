"""When `kill_workers.py` kills."""

import importlib
from pathlib import Path

import pytest


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("kill_workers")


@pytest.mark.parametrize("seed", range(5))
def test_kills_are_drawn_over_all_epochs_in_the_order_of_time(script, seed):
    kills = script.drawn(10, 12, seed)
    assert len(kills) == 10 and kills == sorted(kills)
    assert all(0 <= epoch < 12 and 0 <= moment <= script.STEPS + 1 for epoch, moment, _ in kills)
    writing = [kill for kill in kills if kill[1] >= script.STEPS]
    # The first worker writes the file.
    assert len(writing) == 3 and all(worker == 0 for *_, worker in writing)


def test_other_seeds_kill_at_other_moments(script):
    drawn = [script.drawn(10, 12, seed) for seed in range(20)]
    assert drawn[0] == script.drawn(10, 12, 0)
    assert len({str(kills) for kills in drawn}) == 20
    epochs = {epoch for kills in drawn for epoch, *_ in kills}
    assert epochs == set(range(12))


def test_the_target_takes_every_kill_and_equal_weights(script):
    kills = [{"worker": 1, "codes": [1, -9]}, {"worker": 0, "codes": [-9, 1]}]
    found = {"kills": kills, "codes": [0, 0], "difference": 0.0}
    assert script.reached(found)
    assert not script.reached({**found, "difference": 1e-9})
    assert not script.reached({**found, "codes": [0, 1]})
    missed = [{"worker": 1, "codes": [0, 0]}]  # ended before it was killed
    assert not script.reached({**found, "kills": missed})
