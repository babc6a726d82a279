"""Rows of the flags: what a run's YAML file says, and which rows are held out."""

import pytest

from kerasrec.cli.data import load, prepare
from kerasrec.cli.settings import Source, Splitting


def test_a_named_set_takes_the_empty_list_of_a_yaml_file():
    rows = load(Source("synthetic", context=[])).interactions
    assert len(rows) == len(load(Source("synthetic")).interactions) > 0


@pytest.mark.parametrize("split", ["leave_last_out", "random", "temporal", "time"])
def test_the_flags_name_the_split(split):
    dataset, ready = prepare(Source("synthetic"), Splitting(split), seed=1)
    parts = [ready.split.train, ready.split.valid, ready.split.test]
    assert sum(map(len, parts)) == len(dataset.interactions) and all(map(len, parts))
    _, whole = prepare(Source("synthetic"), Splitting(split, valid=0, test=0), seed=1)
    assert len(whole.split.train) == len(dataset.interactions)
    assert whole.split.describe().startswith("all rows are training rows")
