"""NegativeSampler: what is drawn, what is never drawn, and that it always ends."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec.data.batches import negatives
from kerasrec.data.batches.negatives import NegativeSampler
from kerasrec.schema import Categorical, Schema


def schema_of(num_users: int, num_items: int) -> Schema:
    return Schema(user=[Categorical("user", num_users)], item=[Categorical("item", num_items)])


def pairs(*rows: tuple[int, int]) -> dict[str, np.ndarray]:
    users, items = zip(*rows, strict=True) if rows else ((), ())
    return {"user": np.array(users, np.int32), "item": np.array(items, np.int32)}


@pytest.fixture(params=["bitmap", "sorted pairs"])
def membership(request, monkeypatch):
    """Runs a test with each way of testing membership."""
    if request.param == "sorted pairs":
        monkeypatch.setattr(negatives, "BITMAP_BITS", 0)
    return request.param


def test_never_a_seen_item_nor_padding_nor_unknown(membership):
    rng = np.random.default_rng(0)
    users, items = rng.integers(1, 30, 400), rng.integers(1, 50, 400)
    sampler = NegativeSampler(schema_of(30, 50), seen={"user": users, "item": items})
    drawn = sampler.sample(users, 20, rng)
    assert drawn.shape == (400, 20) and drawn.dtype == np.int32
    assert drawn.min() >= 2 and drawn.max() <= 49
    assert not set(zip(users, items, strict=True)) & set(
        zip(np.repeat(users, 20), drawn.ravel(), strict=True)
    )


def test_is_seen_is_set_membership(membership):
    sampler = NegativeSampler(schema_of(5, 9), seen=pairs((2, 3), (2, 3), (4, 8), (1, 2)))
    users, items = np.divmod(np.arange(45), 9)
    seen = sampler.is_seen(users.astype(np.int32), items.astype(np.int32))
    assert [(u, i) for u, i, s in zip(users, items, seen, strict=True) if s] == [
        (1, 2),
        (2, 3),
        (4, 8),
    ]


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 7)), min_size=1, max_size=40),
    bits=st.sampled_from([0, 2**31]),
    weighted=st.booleans(),
    seed=st.integers(0, 9),
)
def test_any_pairs_give_unseen_items_or_say_who_has_none(rows, bits, weighted, seed):
    popularity = np.array([1e-9, 1.0, 0.0, 5.0, 1.0, 100.0]) if weighted else None
    drawable = {2, 3, 5, 6, 7} if weighted else {2, 3, 4, 5, 6, 7}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(negatives, "BITMAP_BITS", bits)
        sampler = NegativeSampler(schema_of(6, 8), seen=pairs(*rows), popularity=popularity)
    free = {user: drawable - {i for u, i in rows if u == user} for user, _ in rows}
    for user, items in free.items():
        asked = np.array([user, user], np.int32)
        if not items:
            with pytest.raises(ValueError, match="have seen all of the"):
                sampler.sample(asked, 3, np.random.default_rng(seed))
        else:
            drawn = sampler.sample(asked, 30, np.random.default_rng(seed))
            assert set(drawn.ravel().tolist()) <= items


def test_uniform_over_the_unseen():
    sampler = NegativeSampler(schema_of(4, 7), seen=pairs((2, 3), (2, 6)))
    drawn = sampler.sample(np.full(1000, 2, np.int32), 30, np.random.default_rng(1))
    shares = np.bincount(drawn.ravel(), minlength=7) / drawn.size
    # Three items are left: 30,000 draws have a standard error of 0.0027.
    np.testing.assert_allclose(shares, [0, 0, 1 / 3, 0, 1 / 3, 1 / 3, 0], atol=0.011)


def test_popularity_weights_the_unseen():
    sampler = NegativeSampler(
        schema_of(4, 6), seen=pairs((2, 5)), popularity=np.array([1, 0, 3, 96])
    )
    drawn = sampler.sample(np.full(1000, 2, np.int32), 30, np.random.default_rng(1))
    shares = np.bincount(drawn.ravel(), minlength=6) / drawn.size
    np.testing.assert_allclose(shares, [0, 0, 1 / 4, 0, 3 / 4, 0], atol=0.011)
    everyone = sampler.draw((30_000,), np.random.default_rng(2))
    np.testing.assert_allclose(
        np.bincount(everyone, minlength=6) / 30_000, [0, 0, 0.01, 0, 0.03, 0.96], atol=0.005
    )


def test_one_item_left_of_many_is_found(membership):
    """Redrawing alone would need 100,000 rounds; the free items are listed instead."""
    num_items = 100_002
    items = np.delete(np.arange(2, num_items), 777).astype(np.int32)
    seen = {"user": np.full(len(items), 2, np.int32), "item": items}
    sampler = NegativeSampler(schema_of(4, num_items), seen=seen)
    drawn = sampler.sample(np.array([2, 3], np.int32), 4, np.random.default_rng(0))
    assert drawn[0].tolist() == [779] * 4


@pytest.mark.parametrize("popularity", [None, (1, 2, 5)])
def test_draws_for_users_with_few_free_items_are_as_independent_as_any(membership, popularity):
    """Three items of 100,000 are free, so they are listed: each draw is a new one all the same."""
    num_items, free = 100_002, np.array([40, 777, 99_999])
    seen_items = np.setdiff1d(np.arange(2, num_items), free).astype(np.int32)
    seen = {"user": np.full(len(seen_items), 2, np.int32), "item": seen_items}
    weights, shares = None, np.full(3, 1 / 3)
    if popularity:
        weights = np.ones(num_items - 2)
        weights[free - 2] = popularity
        shares = np.array(popularity) / sum(popularity)
    sampler = NegativeSampler(schema_of(4, num_items), seen=seen, popularity=weights)
    drawn = sampler.sample(np.full(3000, 2, np.int32), 2, np.random.default_rng(0))
    first, second = np.searchsorted(free, drawn).T
    np.testing.assert_array_equal(free[np.stack([first, second], 1)], drawn)
    both = np.bincount(first * 3 + second, minlength=9).reshape(3, 3) / 3000
    # The share of each pair is the product of two shares; the standard error is below 0.01.
    np.testing.assert_allclose(both, np.outer(shares, shares), atol=0.035)
    # Rows are independent too: the item of a row says nothing of that of the next.
    following = np.bincount(first[:-1] * 3 + first[1:], minlength=9).reshape(3, 3) / 2999
    np.testing.assert_allclose(following, np.outer(shares, shares), atol=0.035)


def test_who_has_seen_everything_is_named():
    sampler = NegativeSampler(schema_of(4, 4), seen=pairs((3, 2), (3, 3), (2, 2)))
    assert sampler.sample(np.array([2], np.int32), 2, np.random.default_rng(0)).tolist() == [[3, 3]]
    with pytest.raises(ValueError, match=r"1 users have seen all of the 2 items.*\[3\].*Leave"):
        sampler.sample(np.array([2, 3], np.int32), 1, np.random.default_rng(0))
    with pytest.raises(ValueError, match="1 stands for all unknown users"):
        NegativeSampler(schema_of(4, 3), seen=pairs((1, 2))).check_users(np.array([1]))
    # What an item without popularity adds to the seen ones changes nothing.
    sampler = NegativeSampler(schema_of(4, 4), seen=pairs((3, 2)), popularity=np.array([1, 0]))
    with pytest.raises(ValueError, match="all of the 1 items"):
        sampler.check_users(np.array([3]))


def test_unknown_items_in_seen_count_for_nothing():
    sampler = NegativeSampler(schema_of(4, 4), seen=pairs((2, 1), (2, 2)))
    drawn = sampler.sample(np.array([2], np.int32), 3, np.random.default_rng(0))
    assert drawn.tolist() == [[3, 3, 3]]


def test_without_seen_any_item_is_drawn():
    sampler = NegativeSampler(schema_of(4, 3))
    assert sampler.sample(np.array([2, 3], np.int32), 2, np.random.default_rng(0)).tolist() == [
        [2, 2],
        [2, 2],
    ]
    assert not sampler.is_seen(np.array([2]), np.array([2])).any()


def test_the_same_generator_state_gives_the_same_items(membership):
    seen = pairs((2, 3), (3, 5), (3, 6))
    draws = [
        NegativeSampler(schema_of(4, 9), seen=seen).sample(
            np.array([2, 3, 3], np.int32), 5, np.random.default_rng(7)
        )
        for _ in range(2)
    ]
    np.testing.assert_array_equal(*draws)


def test_memory_does_not_grow_with_users_times_items():
    """10^8 users x 10^8 items would be 10^16 bits."""
    num = 10**8
    schema = schema_of(num, num)
    seen = pairs((num - 1, num - 1), (2, 2), (num - 1, 5))
    sampler = NegativeSampler(schema, seen=seen)
    assert sampler._pairs.bits is None
    assert sampler.is_seen(np.array([num - 1, 2]), np.array([num - 1, 3])).tolist() == [True, False]
    drawn = sampler.sample(np.array([num - 1, 2], np.int32), 1000, np.random.default_rng(0))
    assert drawn.max() > num // 2 and drawn.min() >= 2


def test_the_callers_arrays_are_left_alone(membership):
    seen = pairs((2, 3), (2, 2))
    items = np.array([[2, 3, 4]], np.int32)
    popularity = np.array([1.0, 2.0, 3.0])
    sampler = NegativeSampler(schema_of(4, 5), seen=seen, popularity=popularity)
    assert sampler.replace_seen(
        np.array([2], np.int32), items, np.random.default_rng(0)
    ).tolist() == [[4, 4, 4]]
    assert items.tolist() == [[2, 3, 4]] and seen["item"].tolist() == [3, 2]
    assert popularity.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("popularity", "message"),
    [
        (np.ones(3), r"needs 2 numbers.*received shape \(3,\)"),
        (np.array(["a", "b"]), "needs 2 numbers"),
        (np.array([1.0, -1.0]), "at least 0.*received -1.0 to 1.0"),
        (np.array([1.0, np.nan]), "finite"),
        (np.zeros(2), "one of them positive"),
    ],
)
def test_bad_popularity(popularity, message):
    with pytest.raises(ValueError, match=message):
        NegativeSampler(schema_of(4, 4), popularity=popularity)


@pytest.mark.parametrize(
    ("seen", "message"),
    [
        ({"user": np.array([2])}, "expected a column 'item'; received the columns"),
        (pairs((2, 4)), "column 'item' must hold ids from 1 to 3; received ids from 4 to 4"),
        (pairs((0, 2)), "column 'user' must hold ids from 1 to 3"),
        ({"user": np.array([2]), "item": np.array([2.0])}, "int32 ids; received float64"),
        ({"user": np.array([2, 3]), "item": np.array([2])}, "2 user ids and 1 item ids"),
        ([(2, 2)], "must be a dict of numpy arrays by name; received list"),
    ],
)
def test_bad_seen(seen, message):
    with pytest.raises(ValueError, match=message):
        NegativeSampler(schema_of(4, 4), seen=seen)


def test_no_seen_rows_at_all(membership):
    sampler = NegativeSampler(schema_of(4, 3), seen=pairs())
    assert sampler.sample(np.array([2], np.int32), 2, np.random.default_rng(0)).tolist() == [[2, 2]]
