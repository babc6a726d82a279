"""Damped biases of users and items, from which the training of ratings starts."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from kerasrec.data import PreparedData

DAMPING = 5.0
"""Rows with a bias of 0 that are added to those of each item and user."""


def damped_biases(ready: "PreparedData") -> tuple[float, np.ndarray, np.ndarray]:
    """Return the mean label of the training rows, and the biases of users and items.

        b_i = sum_u (r_ui - mu) / (5 + n_i),    b_u = sum_i (r_ui - mu - b_i) / (5 + n_u)

    The sums are over the n_i rows of an item and the n_u rows of a user (Koren, 2010, "Factor in
    the Neighbors", decoupled estimates). Unknown users and items have those of their rows.

    Args:
        ready: the rows.

    Returns:
        The mean, and float32 biases by encoded user id and item id, `(num_ids,)` each.
    """
    schema, train = ready.schema, ready.train
    labels = np.asarray(train[schema.label], np.float64)
    user, item = train[schema.user_id.name], train[schema.item_id.name]
    mean = float(labels.mean())
    of_item = _damped(labels - mean, item, schema.item_id.num_ids)
    of_user = _damped(labels - mean - of_item[item], user, schema.user_id.num_ids)
    return mean, of_user.astype(np.float32), of_item.astype(np.float32)


def _damped(values: np.ndarray, ids: np.ndarray, num_ids: int) -> np.ndarray:
    sums = np.bincount(ids, values, num_ids)
    return np.asarray(sums / (DAMPING + np.bincount(ids, minlength=num_ids)))
