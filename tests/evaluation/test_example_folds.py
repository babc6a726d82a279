import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec.data import Examples
from kerasrec.evaluation import example_folds


def rows_of(count, seed=0, rate=0.3):
    rng = np.random.default_rng(seed)
    return Examples.from_table(
        {"id": np.arange(count) + 2**40, "label": (rng.random(count) < rate).astype(int),
         "day": rng.integers(0, 20, count), "house": rng.integers(0, 12, count)},
        time="day", group="house",
    )  # fmt: skip


def column(part, name):
    return part.table[name].to_numpy()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), folds=st.integers(2, 6), count=st.integers(60, 120))
def test_random_folds_hold_every_row_once_and_the_same_share_of_positives(seed, folds, count):
    rows = rows_of(count, seed)
    splits = list(example_folds(rows, folds=folds, seed=seed))
    tested = np.concatenate([column(split.test, "id") for split in splits])
    assert sorted(tested) == sorted(column(rows, "id"))
    for split in splits:
        parts = [column(part, "id") for part in split.parts.values()]
        assert sorted(np.concatenate(parts)) == sorted(column(rows, "id"))
        assert abs(split.test.labels.sum() - rows.labels.sum() / folds) < 1
        assert len(split.valid) == int(0.2 * (count - len(split.test)) + 1e-9)


def test_groups_stay_together_and_fill_the_folds_evenly():
    rows = rows_of(240)
    splits = list(example_folds(rows, "group", folds=4))
    for split in splits:
        houses = [set(column(part, "house")) for part in split.parts.values()]
        assert len(set.union(*houses)) == sum(map(len, houses)) == 12
        assert abs(len(split.test) - 60) < 15
    assert sum(len(split.test) for split in splits) == 240


def test_later_blocks_test_what_earlier_ones_trained():
    rows = rows_of(240)
    splits = list(example_folds(rows, "time", folds=3))
    for split in splits:
        train, valid, test = (column(part, "day") for part in split.parts.values())
        assert train.max() < valid.min() and valid.max() < test.min()
    assert max(column(splits[-1].test, "day")) == max(column(rows, "day"))
    assert sum(map(len, splits[-1].parts.values())) == 240


def test_seeds_differ_and_repeat():
    rows = rows_of(100)
    first, again, other = (next(example_folds(rows, seed=seed)) for seed in (1, 1, 2))
    assert column(first.test, "id").tolist() == column(again.test, "id").tolist()
    assert column(first.test, "id").tolist() != column(other.test, "id").tolist()
    assert not len(next(example_folds(rows, valid=0.0)).valid)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"by": "user"}, "by must be one of"),
        ({"folds": 1}, "folds must be an integer of at least 2"),
        ({"valid": 1.0}, "valid must be a number"),
        ({"by": "group", "folds": 13}, "13 folds by group need more different groups"),
        ({"by": "time", "folds": 40}, "40 folds by time need more different times"),
        ({"folds": 61}, "61 folds by random need more different rows"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        example_folds(rows_of(60), **arguments)


def test_a_column_that_lacks_is_named():
    rows = Examples.from_table({"x": [1, 2], "label": [0, 1]})
    with pytest.raises(ValueError, match="by='time' needs a column for it"):
        example_folds(rows, "time")
