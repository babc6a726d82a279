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


def test_affinity_is_the_best_ranking_of_the_last_item():
    dataset = synthetic(num_users=3000, num_items=60, ratings_per_user=10)
    rows, optimum = dataset.interactions, dataset.optimum
    users = np.searchsorted(optimum.user_ids, rows.column("user_id"))
    items = np.searchsorted(optimum.item_ids, rows.column("item_id"))
    last = np.zeros(len(rows), bool)
    last[[np.flatnonzero(users == user)[-1] for user in range(3000)]] = True
    seen = np.zeros(optimum.affinity.shape, bool)
    seen[users[~last], items[~last]] = True

    def hit_rate(scores):
        scores = np.where(seen, -np.inf, scores)
        target = scores[users[last], items[last]]
        return np.mean((scores[users[last]] > target[:, None]).sum(axis=1) < 5)

    odds = np.where(seen, 0.0, np.exp(optimum.affinity))
    chance = np.sort(odds / odds.sum(axis=1, keepdims=True))[:, -5:].sum(axis=1).mean()
    best = hit_rate(optimum.affinity)
    assert best == pytest.approx(chance, abs=4 * 0.5 / np.sqrt(3000))
    counts = np.bincount(items[~last], minlength=60)
    assert best > hit_rate(counts[None, :]) + 0.05
    assert best > hit_rate(optimum.expected)


def test_seeds():
    first, again, other = (synthetic(seed=seed).interactions.table for seed in (1, 1, 2))
    assert first.equals(again)
    assert not first.equals(other)


INDIFFERENT = {"num_users": 2000, "num_items": 100, "ratings_per_user": 10, "taste": 0.0}


def test_popularity_is_skewed_and_says_nothing_of_quality():
    dataset = synthetic(**INDIFFERENT, popularity=1.0)
    names, counts = np.unique(dataset.interactions.column("item_id"), return_counts=True)
    assert np.sort(counts)[-10:].sum() > 2 * np.sort(counts)[:50].sum()
    quality = dataset.optimum.expected.mean(axis=0)[
        np.searchsorted(dataset.optimum.item_ids, names)
    ]
    assert abs(np.corrcoef(counts, quality)[0, 1]) < 0.4
    flat = synthetic(**INDIFFERENT, popularity=0.0)
    counts = np.unique(flat.interactions.column("item_id"), return_counts=True)[1]
    assert counts.max() < 2 * counts.min()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_users": 0}, "num_users must be an integer of at least 1; received 0"),
        ({"rank": 1.5}, "rank must be an integer"),
        ({"num_items": 5, "ratings_per_user": 5}, "below num_items.*received 5 and 5"),
        ({"noise": -1.0}, "noise must be a finite number of at least 0; received -1.0"),
        ({"taste": float("nan")}, "taste must be "),
        ({"popularity": float("inf")}, "popularity must be "),
    ],
)
def test_bad_sizes(options, message):
    with pytest.raises(ValueError, match=message):
        synthetic(**options)
