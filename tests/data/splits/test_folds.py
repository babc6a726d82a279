import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec.data import Interactions, k_fold, repeated_k_fold, time_folds


def rows(times):
    count = len(times)
    return Interactions.from_table(
        {"user_id": np.arange(count) % 3, "item_id": np.arange(count), "timestamp": times},
        label=None,
    )


def items(part):
    return part.column("item_id").tolist()


def test_each_row_is_tested_once_a_repeat():
    data = rows(np.arange(11))
    splits = list(repeated_k_fold(data, folds=3, repeats=2, seed=4))
    tested = [items(split.test) for split in splits]
    assert [len(part) for part in tested] == [4, 4, 3, 4, 4, 3]
    for repeat in (0, 3):
        assert sorted(sum(tested[repeat : repeat + 3], [])) == list(range(11))
    assert tested[:3] != tested[3:]
    assert tested[3:] == [items(split.test) for split in k_fold(data, folds=3, seed=5)]


def test_a_window_moves_along_time():
    # 8 rows in 4 blocks of 2, whatever their order in the file.
    times = np.array([70, 10, 80, 30, 20, 60, 40, 50])
    found = [
        [np.sort(part.column("timestamp")).tolist() for part in (s.train, s.valid, s.test)]
        for s in time_folds(rows(times), folds=3)
    ]
    assert found == [
        [[10, 20], [], [30, 40]],
        [[10, 20, 30, 40], [], [50, 60]],
        [[10, 20, 30, 40, 50, 60], [], [70, 80]],
    ]
    found = [
        [np.sort(part.column("timestamp")).tolist() for part in (s.train, s.valid, s.test)]
        for s in time_folds(rows(times), folds=2, valid=True)
    ]
    assert found == [
        [[10, 20], [30, 40], [50, 60]],
        [[10, 20, 30, 40], [50, 60], [70, 80]],
    ]


@settings(max_examples=60, deadline=None)
@given(
    times=st.lists(st.integers(-5, 30), min_size=1, max_size=30),
    folds=st.integers(1, 5),
    valid=st.booleans(),
)
def test_nothing_is_learned_from_the_future(times, folds, valid):
    data = rows(np.array(times))
    try:
        splits = list(time_folds(data, folds=folds, valid=valid))
    except ValueError as error:
        assert "Use fewer folds" in str(error)
        return
    assert len(splits) == folds
    tested = []
    for split in splits:
        parts = [p for p in (split.train, split.valid, split.test) if len(p)]
        assert len(parts) == 2 + valid
        for earlier, later in zip(parts, parts[1:], strict=False):
            assert earlier.column("timestamp").max() < later.column("timestamp").min()
        tested += items(split.test)
    assert len(tested) == len(set(tested))


def test_messages():
    with pytest.raises(ValueError, match="2 folds need 3 blocks of different times; the 4 rows"):
        time_folds(rows(np.array([1, 1, 1, 2])), folds=2)
    with pytest.raises(ValueError, match="0 rows have 0 times"):
        time_folds(rows(np.array([1])).take([]), folds=2)
    with pytest.raises(ValueError, match="folds must be an integer of at least 1; received 0"):
        time_folds(rows(np.arange(4)), folds=0)
    with pytest.raises(ValueError, match="expected a time column"):
        time_folds(Interactions.from_table({"user_id": [1], "item_id": [2]}, label=None, time=None))
    with pytest.raises(ValueError, match="repeats must be an integer of at least 1; received 0"):
        repeated_k_fold(rows(np.arange(4)), repeats=0)
