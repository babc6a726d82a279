import numpy as np
import pytest

from kerasrec.datasets import load, synthetic


def test_the_best_error_is_the_noise():
    dataset = synthetic(num_users=800, noise=0.7, seed=3)
    rows = dataset.interactions
    best = dataset.optimum.expected_ratings(rows.column("user_id"), rows.column("item_id"))
    error = np.sqrt(np.mean((rows.column("rating") - best) ** 2))
    assert error == pytest.approx(0.7, abs=0.7 * 4 / np.sqrt(2 * len(rows)))
    assert dataset.optimum.rmse == 0.7


def test_sizes_and_ids():
    dataset = load("synthetic", num_users=7, num_items=5, ratings_per_user=3)
    rows = dataset.interactions
    assert (len(rows), rows.num_users) == (21, 7)
    assert rows.column("user_id").dtype == np.int64
    assert set(rows.column("item_id")) <= set(dataset.items["item_id"].to_pylist())
    assert len(np.unique(rows.pairs())) == 21  # nobody rates an item twice
    assert rows.column("timestamp").tolist() == list(range(21))


def test_seeds():
    first, again, other = (synthetic(seed=seed).interactions.table for seed in (1, 1, 2))
    assert first.equals(again)
    assert not first.equals(other)


def test_popularity_is_skewed_and_says_nothing_of_quality():
    dataset = synthetic(num_users=2000, num_items=100, ratings_per_user=10, popularity=1.0)
    names, counts = np.unique(dataset.interactions.column("item_id"), return_counts=True)
    assert np.sort(counts)[-10:].sum() > 2 * np.sort(counts)[:50].sum()
    quality = dataset.optimum.expected.mean(axis=0)[
        np.searchsorted(dataset.optimum.item_ids, names)
    ]
    assert abs(np.corrcoef(counts, quality)[0, 1]) < 0.4
    flat = synthetic(num_users=2000, num_items=100, ratings_per_user=10, popularity=0.0)
    counts = np.unique(flat.interactions.column("item_id"), return_counts=True)[1]
    assert counts.max() < 2 * counts.min()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_users": 0}, "num_users expects an integer of at least 1; received 0"),
        ({"rank": 1.5}, "rank expects an integer"),
        ({"num_items": 5, "ratings_per_user": 5}, "below num_items.*received 5 and 5"),
        ({"noise": -1.0}, "noise and popularity expect numbers of at least 0"),
        ({"noise": float("nan")}, "noise and popularity"),
    ],
)
def test_bad_sizes(options, message):
    with pytest.raises(ValueError, match=message):
        synthetic(**options)
