"""Popularity of items, and the baseline that ranks by it."""

import numpy as np

from kerasrec.evaluation.ranking.queries import SeenColumns, row_counts
from kerasrec.schema import Schema
from kerasrec.types import Features

POPULARITY = ("head", "mid", "tail")


def item_popularity(counts: np.ndarray) -> np.ndarray:
    """Label items by their number of rows: head, mid or tail, a third of all rows each.

    Items are sorted by descending number of rows. The head ends with the item that completes a
    third of all rows, and the mid with the one that completes two thirds. Items with equally many
    rows stay together, in the part of the first of them.

    Args:
        counts: `(item ids,)` positives of each item, such as
            `row_counts(train, schema.item_id, positives=schema)`.

    Returns:
        Names `(item ids,)`. Ids without rows, padding and unknown are tail.

    Raises:
        ValueError: if there are no rows.

    Example:

    >>> item_popularity(np.array([0, 0, 6, 4, 3, 3, 1, 1])).tolist()
    ['tail', 'tail', 'head', 'mid', 'mid', 'mid', 'tail', 'tail']
    """
    counts = np.asarray(counts)
    if counts.sum() <= 0:
        raise ValueError("item_popularity: expected rows of at least one item; received none.")
    order = np.argsort(-counts, kind="stable")
    before = np.cumsum(counts[order]) - counts[order]
    # The first of the items with equally many rows decides for all of them.
    first = np.searchsorted(-counts[order], -counts[order])
    part = np.minimum(3 * before[first] // counts.sum(), 2)
    part[counts[order] == 0] = 2
    names = np.empty(len(counts), np.int64)
    names[order] = part
    return np.array(POPULARITY)[names]


class MostSeen:
    """Popularity model that scores an item by the number of its positives.

    Args:
        schema: names of the user and the item id, and the rule for positives.
        seen: encoded rows. If they have a label, only positives are counted.

    Raises:
        ValueError: if there is no row to count.

    Example:

    >>> from kerasrec.schema import Categorical
    >>> seen = {"item": np.array([3, 2, 3, 4, 4, 4])}
    >>> model = MostSeen(Schema(Categorical("user", 4), Categorical("item", 5)), seen)
    >>> model({"item": np.array([2, 3, 4])}).tolist()
    [1.0, 2.0, 3.0]
    """

    def __init__(self, schema: Schema, seen: SeenColumns) -> None:
        self.schema = schema
        counts = row_counts(seen, schema.item_id, positives=schema)
        if not counts.any():
            raise ValueError(
                "popularity counts the rows of `seen`; received none with a "
                f"{schema.label!r} {schema.positive}. Pass the encoded training rows."
            )
        # Use the rank of a count, which is exact in float32 however large counts grow.
        self._rank = np.unique(counts, return_inverse=True)[1].astype(np.float32)

    def __call__(self, inputs: Features, training: bool = False) -> np.ndarray:
        """Return the scores of the items, the same for every user."""
        return self._rank[inputs[self.schema.item_id.name]]

    def query_embedding(self, inputs: Features) -> np.ndarray:
        """Return ones `(batch, 1)`."""
        return np.ones((len(inputs[self.schema.user_id.name]), 1), np.float32)

    def item_embedding(self, inputs: Features) -> np.ndarray:
        """Return the scores `(items, 1)`."""
        return self._rank[inputs[self.schema.item_id.name]][:, None]
