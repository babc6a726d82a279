"""Synthetic ratings drawn from a known model."""

import numpy as np
import pyarrow as pa

from kerasrec._checks import check_integer, check_number
from kerasrec.data import Interactions
from kerasrec.datasets.dataset import Dataset
from kerasrec.datasets.optimum import Optimum

_FIRST_USER = 1000


def synthetic(
    *,
    num_users: int = 400,
    num_items: int = 250,
    ratings_per_user: int = 40,
    rank: int = 3,
    noise: float = 0.5,
    taste: float = 1.0,
    popularity: float = 0.8,
    seed: int = 0,
) -> Dataset:
    """Draw noisy low-rank ratings, more often of popular or liked items.

        expected(u, i) = 3.5 + b_u + b_i + <p_u, q_i>,  rating = expected + noise * normal
        P(u takes i next) ~ exp(affinity(u, i)) over the items that u has not taken,
        affinity(u, i) = taste * expected(u, i) - popularity * log(rank of i)

    Popularity ranks are drawn independently of the ratings. Ratings are not clipped to a range, so
    the best predictions are exactly `expected` and the least error is `noise`. Each user's rows are
    in the order in which items were taken, so sorting unseen items by `affinity` is the best
    ranking for leave-last-out. User ids are integers, item ids are strings, and there are more
    users than items, so that code which confuses them fails.

    Args:
        num_users: number of users.
        num_items: number of items.
        ratings_per_user: ratings each user gives; at least one item stays unrated.
        rank: length of p_u and q_i.
        noise: standard deviation of a rating around its expectation.
        taste: strength with which users prefer items they will like; 0 for none.
        popularity: exponent of the popularity; 0 makes all items equally popular.
        seed: seed of the data.

    Returns:
        A data set whose `optimum` is the generating model.

    Raises:
        ValueError: if a size is out of range.

    Example:

    >>> dataset = synthetic(num_users=6, num_items=5, ratings_per_user=2, noise=0.1)
    >>> len(dataset.interactions), dataset.optimum.expected.shape, dataset.optimum.rmse
    (12, (6, 5), 0.1)
    """
    sizes = {"num_users": num_users, "num_items": num_items, "ratings_per_user": ratings_per_user}
    for name, size in {**sizes, "rank": rank}.items():
        check_integer("synthetic", name, size, 1)
    if ratings_per_user >= num_items:
        raise ValueError(
            "synthetic: ratings_per_user must be below num_items, so that something is left to "
            f"recommend; received {ratings_per_user} and {num_items}."
        )
    for name, value in {"noise": noise, "taste": taste, "popularity": popularity}.items():
        check_number("synthetic", name, value, numpy=True)
    rng = np.random.default_rng(seed)
    users = rng.normal(size=(num_users, rank)) / np.sqrt(rank)
    items = rng.normal(size=(num_items, rank))
    biases = rng.normal(0, 0.3, (num_users, 1)) + rng.normal(0, 0.3, num_items)
    expected = 3.5 + biases + users @ items.T  # (users, items)

    # Draw without replacement: take the largest of affinity + Gumbel noise.
    affinity = taste * expected - popularity * np.log1p(rng.permutation(num_items))
    keys = affinity + rng.gumbel(size=expected.shape)
    chosen = np.argsort(-keys, axis=1)[:, :ratings_per_user]  # (users, ratings), in order of time
    row = np.repeat(np.arange(num_users), ratings_per_user)
    column = chosen.ravel()
    ratings = expected[row, column] + noise * rng.normal(size=len(row))

    user_ids = _FIRST_USER + np.arange(num_users)
    width = len(str(num_items - 1))
    item_ids = np.array([f"item-{number:0{width}d}" for number in range(num_items)], object)
    # Interleave the users as in a log, with each user's rows in the order of taking.
    order = np.argsort(np.sort(rng.random(chosen.shape), axis=1), axis=None)
    interactions = Interactions.from_table(
        {
            "user_id": user_ids[row][order],
            "item_id": item_ids[column][order],
            "rating": ratings.astype(np.float32)[order],
            "timestamp": np.arange(len(row)),
        }
    )
    return Dataset(
        "synthetic",
        interactions,
        items=pa.table({"item_id": item_ids, "title": [f"Item {n}" for n in range(num_items)]}),
        terms="Drawn from a random number generator; free for any use.",
        optimum=Optimum(user_ids, item_ids, expected, affinity, float(noise)),
    )
