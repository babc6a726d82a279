import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from kerasrec.data import recency_weights
from kerasrec.schema import Categorical, Schema

SCHEMA = Schema(user=[Categorical("user", 6)], item=[Categorical("item", 9)])


def rows(users, times):
    return {
        "user": np.asarray(users, np.int32),
        "item": np.full(len(users), 2, np.int32),
        "timestamp": np.asarray(times),
    }


def test_by_hand():
    weights = recency_weights(rows([2, 3, 2, 2], [1, 1, 3, 2]), SCHEMA, half_life=1, floor=0.2)
    expected = np.array([0.2 + 0.8 / 4, 1.0, 1.0, 0.2 + 0.8 / 2])
    np.testing.assert_allclose(weights, expected / expected.mean(), rtol=1e-6)


def test_equal_times_and_no_time_keep_the_order_of_the_rows():
    same = recency_weights(rows([2, 2, 2], [5, 5, 5]), SCHEMA)
    none = recency_weights(rows([2, 2, 2], [3, 2, 1]), SCHEMA, time=None)
    np.testing.assert_array_equal(same, none)
    assert (np.diff(same) > 0).all()


@hypothesis.given(
    st.lists(st.tuples(st.integers(2, 5), st.integers(0, 2**40)), min_size=1, max_size=40),
    st.floats(0.1, 1e6),
    st.floats(0, 1),
)
def test_the_newest_row_of_every_user_weighs_most(found, half_life, floor):
    users, times = map(np.array, zip(*found, strict=True))
    weights = recency_weights(rows(users, times), SCHEMA, half_life=half_life, floor=floor)
    assert weights.dtype == np.float32 and weights.mean() == pytest.approx(1, rel=1e-4)
    for user in np.unique(users):
        mine = users == user
        order = np.argsort(times[mine], kind="stable")
        assert (np.diff(weights[mine][order]) >= 0).all()
        # All users' newest rows weigh the same.
        assert weights[mine].max() == weights.max()


@pytest.mark.parametrize(
    "options", [{"half_life": 0}, {"half_life": float("nan")}, {"floor": -0.1}, {"floor": 1.5}]
)
def test_refuses(options):
    with pytest.raises(ValueError, match=f"recency_weights: {next(iter(options))} must be .*rece"):
        recency_weights(rows([2], [1]), SCHEMA, **options)


def test_says_what_is_missing():
    with pytest.raises(ValueError, match="recency_weights.*timestamp"):
        recency_weights({"user": np.array([2]), "item": np.array([2])}, SCHEMA)
