"""Batches of the items of users, one row per user."""

import numpy as np
import tensorflow as tf

from kerasrec.data.batches.examples import row_batches
from kerasrec.data.encoding.positive_ids import positive_ids
from kerasrec.schema import FIRST_ID, Schema
from kerasrec.types import Columns

ITEMS, TARGETS = "items", "targets"
"""Names of the features with the items that are read, and with other ones to predict."""


def user_profiles(
    columns: Columns,
    schema: Schema,
    *,
    batch_size: int,
    seen: Columns | None = None,
    shuffle: bool = True,
    seed: int = 0,
) -> tf.data.Dataset:
    """Batch the positive items of users, each item once, one row per user.

    Memory follows the number of rows and not users times items: only the rows of a few batches are
    padded at a time. Rows of unknown users and items are left out.

    Args:
        columns: encoded rows, see `kerasrec.data.positives`.
        schema: names and sizes of the ids, and which labels are positives.
        batch_size: users of a batch, over all replicas of a distribution strategy.
        seen: None where the items of `columns` are read and predicted. Else the rows of the items
            that are read; those of `columns` are predicted, and users without any of either are
            left out.
        shuffle: whether to reorder the users in each epoch.
        seed: seed of the order.

    Returns:
        Dataset of dicts of int32 `items` `(batch, width)`, padded with 0, and with `seen`
        `targets` likewise, with known cardinality.

    Raises:
        ValueError: if a column is missing or holds ids outside the schema, no user has an item, or
            an argument is out of range.

    Example:

    >>> from kerasrec.schema import Categorical
    >>> schema = Schema(user=Categorical("user", 5), item=Categorical("item", 9))
    >>> columns = {"user": np.array([2, 4, 2, 2]), "item": np.array([7, 5, 6, 7])}
    >>> batch = next(iter(user_profiles(columns, schema, batch_size=2, shuffle=False)))
    >>> batch["items"].numpy().tolist()
    [[6, 7], [5, 0]]
    """
    owner = "user_profiles"
    parts = {ITEMS: _Rows(owner, columns, schema)}
    if seen is not None:
        parts = {ITEMS: _Rows(owner, seen, schema), TARGETS: parts[ITEMS]}
    lengths = np.stack([part.lengths for part in parts.values()])
    users = np.flatnonzero(lengths.all(axis=0))
    if not len(users):
        raise ValueError(
            f"{owner}: no user has known items to read and to predict. Pass rows of the users "
            "that the vocabularies were fitted on."
        )

    def make(rows: np.ndarray, rng: np.random.Generator, batches: int) -> dict[str, np.ndarray]:
        return {name: part.padded(users[rows]) for name, part in parts.items()}

    return row_batches(owner, make, len(users), batch_size, shuffle, seed, False)


class _Rows:
    """Sorted items of each user, stored one after the other."""

    def __init__(self, owner: str, columns: Columns, schema: Schema) -> None:
        features = (schema.user_id, schema.item_id)
        users, items = positive_ids(owner, schema, columns, features)
        known = (users >= FIRST_ID) & (items >= FIRST_ID)
        pairs = np.unique(users[known].astype(np.int64) * schema.item_id.num_ids + items[known])
        self.items = np.append(pairs % schema.item_id.num_ids, 0).astype(np.int32)
        users = pairs // schema.item_id.num_ids
        self.starts = np.searchsorted(users, np.arange(schema.user_id.num_ids + 1))
        self.lengths = np.diff(self.starts)
        self.width = max(1, int(self.lengths.max()))

    def padded(self, users: np.ndarray) -> np.ndarray:
        """Return the items of some users `(users, width)`, padded with 0."""
        position = self.starts[users][:, None] + np.arange(self.width)
        inside = position < self.starts[users + 1][:, None]
        return np.where(inside, self.items[np.minimum(position, len(self.items) - 1)], 0)
