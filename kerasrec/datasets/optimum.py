"""Ground truth of synthetic data, to measure a model's distance from the optimum."""

import dataclasses

import numpy as np

from kerasrec.data import Interactions


@dataclasses.dataclass(frozen=True, eq=False)
class Optimum:
    """Expected rating of every pair, and the error of the best possible model.

    Args:
        user_ids: raw ids `(users,)`, ascending.
        item_ids: raw ids `(items,)`, ascending.
        expected: expected rating `(users, items)`, the prediction with the least squared error.
        affinity: log odds `(users, items)` that a user takes an item next. Ranking unseen items by
            it is optimal for next-item hits.
        rmse: standard deviation of the ratings around `expected`, which the root mean squared error
            of the best model approaches on many rows.

    Example:

    >>> from kerasrec.datasets import load
    >>> dataset = load("synthetic")
    >>> best = dataset.optimum.best_items(dataset.interactions)
    >>> dataset.optimum.regret(best, dataset.interactions)
    0.0
    """

    user_ids: np.ndarray
    item_ids: np.ndarray
    expected: np.ndarray
    affinity: np.ndarray
    rmse: float

    def expected_ratings(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Return the best prediction for each pair of raw ids, `(rows,)`.

        Raises:
            ValueError: if an id does not belong to the data set.
        """
        return self.expected[
            _positions(self.user_ids, users, "user"), _positions(self.item_ids, items, "item")
        ]

    def best_items(self, seen: Interactions) -> np.ndarray:
        """Return for each of `user_ids` the unseen item they would rate highest.

        Args:
            seen: rows whose items are not recommended to that user, usually the training rows.

        Returns:
            Raw item ids `(users,)`.

        Raises:
            ValueError: if an id does not belong to the data set, or a user has seen every item.
        """
        unseen = self._unseen(seen)
        return self.item_ids[np.argmax(unseen, axis=1)]

    def regret(self, recommended: np.ndarray, seen: Interactions) -> float:
        """Compute the mean gap in expected rating between best unseen and recommended items.

        Args:
            recommended: one raw item id for each of `user_ids`, `(users,)`.
            seen: see `best_items`.

        Returns:
            The mean over users. 0 is the optimum, and less means that seen items are recommended.

        Raises:
            ValueError: as in `best_items`, or if there is not one recommendation per user.
        """
        recommended = np.asarray(recommended)
        if recommended.shape != self.user_ids.shape:
            raise ValueError(
                f"regret expects one item id per user, of shape {self.user_ids.shape}; received "
                f"{recommended.shape}."
            )
        best = self._unseen(seen).max(axis=1)
        return float(np.mean(best - self.expected_ratings(self.user_ids, recommended)))

    def _unseen(self, seen: Interactions) -> np.ndarray:
        """Return the expected ratings `(users, items)`, -inf where seen."""
        unseen = self.expected.copy()
        users = _positions(self.user_ids, seen.column(seen.user), "user")
        items = _positions(self.item_ids, seen.column(seen.item), "item")
        unseen[users, items] = -np.inf
        full = np.isneginf(unseen).all(axis=1)
        if full.any():
            raise ValueError(
                f"user {self.user_ids[full][0]} has seen all {len(self.item_ids)} items, so "
                "there is no best recommendation. Draw fewer ratings per user."
            )
        return unseen


def _positions(ids: np.ndarray, wanted: np.ndarray, role: str) -> np.ndarray:
    wanted = np.asarray(wanted)
    found = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
    strange = ids[found] != wanted
    if strange.any():
        raise ValueError(
            f"Optimum: expected {role} ids of the synthetic data set such as {ids[0]}; received "
            f"{wanted[strange][0]}."
        )
    return found
