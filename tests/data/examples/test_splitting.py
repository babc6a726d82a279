import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec.data import Examples, ExampleSplit, split_examples


def rows_of(labels, **columns):
    return Examples.from_table(
        {"x": np.arange(len(labels)), "label": labels, **columns},
        **{name: name for name in columns},
    )


def positions(part):
    return part.table["x"].to_pylist()


@settings(max_examples=30)
@given(st.integers(20, 200), st.integers(0, 2**31), st.sampled_from([0.0, 0.1, 0.25]))
def test_every_row_is_in_one_part_and_parts_keep_the_order(count, seed, valid):
    labels = np.random.default_rng(seed).integers(0, 2, count)
    split = split_examples(rows_of(labels), valid=valid, test=0.2, seed=seed)
    found = [positions(part) for part in split.parts.values()]
    assert sorted(sum(found, [])) == list(range(count))
    assert all(part == sorted(part) for part in found)


def test_parts_have_the_same_share_of_positives():
    split = split_examples(rows_of([1] * 30 + [0] * 70), valid=0.2, test=0.1, seed=5)
    assert [len(part) for part in split.parts.values()] == [70, 20, 10]
    assert [round(float(part.labels.mean()), 3) for part in split.parts.values()] == [0.3] * 3


def test_the_newest_rows_are_held_out_and_equal_times_stay_together():
    rows = rows_of([0, 1] * 5, time=[3, 1, 2, 9, 8, 8, 8, 4, 5, 0])
    split = split_examples(rows, "time", valid=0.3, test=0.2)
    # The two newest rows are at 9 and 8, and all three at 8 go along; the next one is at 5.
    assert positions(split.test) == [3, 4, 5, 6]
    assert positions(split.valid) == [8]


def test_no_group_is_in_two_parts():
    groups = np.repeat(np.arange(20), 5)
    rows = rows_of(np.arange(100) % 2, group=groups)
    split = split_examples(rows, "group", valid=0.2, test=0.2, seed=1)
    parts = [set(part.table["group"].to_pylist()) for part in split.parts.values()]
    assert [len(part) for part in parts] == [12, 4, 4]
    assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]


def test_seeds_draw_other_rows_and_the_same_seed_the_same():
    rows = rows_of([0, 1] * 50)
    one, again, other = (split_examples(rows, seed=seed) for seed in (1, 1, 2))
    assert positions(one.test) == positions(again.test) != positions(other.test)


def test_given_parts():
    rows = rows_of([0, 1, 1])
    split = ExampleSplit(rows, test=rows.take([0]))
    assert len(split.valid) == 0
    assert "test             1 rows   mean label 0" in split.describe()
    with pytest.raises(ValueError, match=r"test needs the label and the features of train"):
        ExampleSplit(rows, test=Examples.from_table({"y": [1], "label": [0]}))
    with pytest.raises(ValueError, match="train has no rows"):
        ExampleSplit(rows.take([]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": "user"}, "by"),
        ({"by": "time"}, "by='time' needs a column"),
        ({"by": "group"}, "by='group' needs a column"),
        ({"valid": 0.6, "test": 0.5}, "must leave training rows"),
        ({"valid": -0.1}, "valid"),
        ({"test": 0.1}, "the test part of the 4 rows is empty"),
        ({"seed": -1}, "seed"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(ValueError, match=message):
        split_examples(rows_of([0, 1, 0, 1]), **{"valid": 0.0, **options})
