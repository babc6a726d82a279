"""Beyond-accuracy metrics: coverage, novelty, diversity, popularity bias, serendipity.

There are two kinds of metrics. Some describe all lists together (coverage, Gini, entropy,
popularity lift). The others exist for every list, as `(queries,)` arrays that `bootstrap_intervals`
and `segment_rows` accept like the values of a ranking. Padding is ignored, and a list without items
has NaN.
"""

from typing import NamedTuple

import numpy as np

from kerasrec.data.encoding.positives import is_positive
from kerasrec.evaluation.baseline import MostSeen, item_popularity
from kerasrec.evaluation.ranking.queries import SeenColumns, SeenPairs
from kerasrec.evaluation.ranking.recommend import Recommendations, recommend
from kerasrec.schema import PADDING_ID, Categorical, Schema
from kerasrec.types import Columns

# Floats in the vectors of listed items that are held at once.
_FLOATS = 1 << 22


class ListFacts(NamedTuple):
    """Recommended lists and what they are compared with, from which every list metric follows.

    Args:
        lists: the result of `recommend`.
        schema: names of the user and the item id.
        train: encoded training rows.
        test: encoded test rows, or None.
        vectors: `(item ids, dim)` embeddings or features, or None.
        positives: user and item of the training rows that are positives.
        counts: `(item ids,)` users with a positive of each item.
        users: number of users with positives.
    """

    lists: Recommendations
    schema: Schema
    train: SeenColumns
    test: Columns | None
    vectors: np.ndarray | None
    positives: list[Columns]
    counts: np.ndarray
    users: int


def coverage(lists: Recommendations) -> float:
    """Compute the share of the catalogue that is in at least one list.

    Ge et al. (2010), "Beyond Accuracy: Evaluating Recommender Systems by Coverage and
    Serendipity", catalogue coverage.
    """
    return float((_exposure(lists) > 0).mean())


def gini(lists: Recommendations) -> float:
    """Compute the Gini index of item exposure: 0 if all items are listed equally, 1 if only one is.

        sum over i of (2 i - n - 1) x_i / ((n - 1) * sum of x),  x ascending

    Shani and Gunawardana (2011), "Evaluating Recommendation Systems". The sum over shares is
    divided by n - 1, so that a single listed item gives 1. NaN for a catalogue of one item.
    """
    x = np.sort(_exposure(lists))
    n = len(x)
    if n == 1 or not x.any():
        return float("nan")
    return float((2 * np.arange(1, n + 1) - n - 1) @ x / ((n - 1) * x.sum()))


def entropy(lists: Recommendations) -> float:
    """Compute the Shannon entropy in bits of the item at a random place of a random list.

        -sum of p log2 p,  p the share of the places that an item holds

    Shannon (1948); over recommendations, Shani and Gunawardana (2011). From 0 (one item) to the
    logarithm of the size of the catalogue.
    """
    x = _exposure(lists)
    p = x[x > 0] / x.sum()
    return float(-(p * np.log2(p)).sum() + 0.0)


def novelty(lists: Recommendations, counts: np.ndarray, users: int) -> np.ndarray:
    """Compute the mean self-information in bits of the items in each list.

        mean of log2(users / users of the item)

    Zhou et al. (2010), "Solving the Apparent Diversity-Accuracy Dilemma of Recommender Systems".
    An item without users counts as having one.

    Args:
        lists: the lists.
        counts: `(item ids,)` users with a training row of each item.
        users: number of users with training rows.
    """
    information = np.log2(users / np.maximum(counts, 1))
    return _list_mean(lists, information[lists.items])


def diversity(lists: Recommendations, vectors: np.ndarray) -> np.ndarray:
    """Compute the mean distance of two items of each list, 1 - cosine of their vectors.

        sum over pairs i < j of (1 - cos(v_i, v_j)) / (n (n - 1) / 2)

    Intra-list diversity: Smyth and McClave (2001), "Similarity vs. Diversity"; Ziegler et al.
    (2005), "Improving Recommendation Lists Through Topic Diversification". A vector of zeros has
    the cosine 0 with all others. NaN for lists of fewer than two items.

    Args:
        lists: the lists.
        vectors: `(item ids, dim)`: embeddings, or features such as genres as 0 and 1.

    Raises:
        ValueError: if an item has no vector, or a vector is not finite.
    """
    vectors = np.asarray(vectors, np.float64)
    if vectors.ndim != 2 or len(vectors) <= lists.items.max(initial=0):
        raise ValueError(
            "diversity: expected vectors of shape (item ids, dim) with a row for every id up to "
            f"{lists.items.max(initial=0)}; received {vectors.shape}. Row i belongs to the encoded "
            "id i; those of padding and unknown do not count."
        )
    size = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(size[np.unique(lists.items)]).all():
        raise ValueError("diversity: expected finite vectors; received NaN or infinity.")
    unit = vectors / np.where(size > 0, size, 1.0)
    unit[PADDING_ID] = 0.0
    n = (lists.items != PADDING_ID).sum(axis=1)
    # The cosines of all ordered pairs sum to |sum of v|^2. Those of items with themselves are own.
    total, own = np.empty(len(n)), np.empty(len(n))
    step = max(1, _FLOATS // (lists.k * vectors.shape[1]))
    for start in range(0, len(n), step):
        listed = unit[lists.items[start : start + step]]
        total[start : start + step] = (listed.sum(axis=1) ** 2).sum(axis=1)
        own[start : start + step] = (listed**2).sum(axis=(1, 2))
    pairs = n * (n - 1.0)
    return np.where(pairs > 0, 1 - (total - own) / np.maximum(pairs, 1), np.nan)


def popularity_lift(
    lists: Recommendations, counts: np.ndarray, schema: Schema, train: SeenColumns
) -> float:
    """Compute by how much the listed items are more popular than those in the histories.

        (GAP_q - GAP_p) / GAP_p

    GAP_q is the mean over the lists of the mean count of their items. GAP_p is the mean over their
    users of the mean count of the items in the history. Abdollahpouri et al. (2020), "The
    Connection Between Popularity Bias, Calibration, and Fairness in Recommendation", define it for
    a group of users and divide the means of the group. This differs from the mean of each user's
    ratio, which users with rare histories would dominate. For a group, pass the lists of its users.

    Args:
        lists: the lists.
        counts: `(item ids,)` training rows of each item.
        schema: names of the user and the item id.
        train: encoded training rows, the histories.

    Returns:
        The lift, 0 if lists are as popular as the users' choices. Users without a history or
        without a list count in neither mean. NaN if no user has both.

    Example:

    >>> schema = Schema(Categorical("user", 4), Categorical("item", 6))
    >>> lists = Recommendations(np.array([2, 3]), np.array([[4], [5]]), np.arange(2, 6))
    >>> train = {"user": np.array([2, 3]), "item": np.array([2, 3])}
    >>> counts = np.array([0, 0, 1, 9, 5, 10])
    >>> popularity_lift(lists, counts, schema, train)  # (5 + 10) / 2 over (1 + 9) / 2, less 1
    0.5
    """
    row, item = SeenPairs.of(train, schema).items_of(lists.users.astype(np.int64))
    number = np.bincount(row, minlength=len(lists.users))
    total = np.bincount(row, counts[item], len(lists.users))
    history = np.where(number > 0, total / np.maximum(number, 1), np.nan)
    listed = _list_mean(lists, counts[lists.items].astype(np.float64))
    both = ~np.isnan(history) & ~np.isnan(listed)
    if not history[both].any():
        return float("nan")
    return float(listed[both].mean() / history[both].mean() - 1)


def long_tail_share(lists: Recommendations, counts: np.ndarray) -> np.ndarray:
    """Compute the share of tail items in each list.

    The tail consists of the least popular items, which together have a third of the training rows;
    see `item_popularity`. Abdollahpouri et al. (2019), "Managing Popularity Bias in Recommender
    Systems with Personalized Re-ranking", average percentage of long tail items.

    Args:
        lists: the lists.
        counts: `(item ids,)` training rows of each item.
    """
    tail = item_popularity(counts) == "tail"
    return _list_mean(lists, tail[lists.items].astype(np.float64))


def serendipity(
    lists: Recommendations, schema: Schema, *, train: SeenColumns, test: Columns
) -> np.ndarray:
    """Compute the share of each list that is relevant and missing from a popularity list.

        |listed, in the user's test rows, not among the k most popular unseen items| / |listed|

    Only test rows that are positives by `Schema.positive` count.

    Ge et al. (2010), "Beyond Accuracy: Evaluating Recommender Systems by Coverage and
    Serendipity", with popularity as the primitive model.

    Args:
        lists: the lists.
        schema: names of the user and the item id.
        train: encoded training rows.
        test: encoded test rows.

    Raises:
        ValueError: if a column is missing or badly encoded.
    """
    popular = recommend(
        MostSeen(
            Schema(
                (schema.user_id,), (schema.item_id,), label=schema.label, positive=schema.positive
            ),
            train,
        ),
        {schema.user_id.name: lists.users},
        seen=train,
        k=lists.k,
        candidates=lists.catalogue,
    )
    obvious = SeenPairs.of(
        {
            schema.user_id.name: np.repeat(np.arange(len(lists.users)), lists.k) + 2,
            schema.item_id.name: popular.items.ravel(),
        },
        Schema((Categorical(schema.user_id.name, len(lists.users) + 2),), (schema.item_id,)),
    )
    users = lists.users.astype(np.int64)[:, None]
    chosen = is_positive(test, schema, "serendipity: test")
    ids = {f.name: np.asarray(test[f.name])[chosen] for f in (schema.user_id, schema.item_id)}
    right = SeenPairs.of(ids, schema).contains(users, lists.items)
    expected = obvious.contains(np.arange(len(users))[:, None] + 2, lists.items)
    return _list_mean(lists, (right & ~expected).astype(np.float64))


def _exposure(lists: Recommendations) -> np.ndarray:
    """Count the lists that each item of the catalogue is in."""
    counts = np.bincount(lists.items.ravel(), minlength=int(lists.catalogue.max()) + 1)
    return counts[lists.catalogue]


def _list_mean(lists: Recommendations, values: np.ndarray) -> np.ndarray:
    """Average over the items of each list without padding. NaN for empty lists."""
    real = lists.items != PADDING_ID
    number = real.sum(axis=1)
    total = np.where(real, values, 0.0).sum(axis=1)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)
