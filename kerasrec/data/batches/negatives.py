"""Negative sampling: vectorised draws of items that a user has not interacted with."""

import dataclasses

import numpy as np

from kerasrec.data.encoding import columns as check
from kerasrec.schema import FIRST_ID, UNKNOWN_ID, Schema
from kerasrec.types import Columns

# Up to 256 MiB, a bitmap of all (user, item) pairs is faster, by 10 to 25 times. Above that, sorted
# pairs of 8 bytes each are smaller, unless the interactions are almost dense.
BITMAP_BITS = 2**31
# Times that rejected draws are repeated. Then the few items that a user has not seen are listed.
MAX_REDRAWS = 16


@dataclasses.dataclass(frozen=True, eq=False)
class NegativeSampler:
    """Sampler of items with replacement, without those that the user has seen.

        P(item | user) = popularity(item) / sum of popularity over the items unseen by the user

    Candidates are the real ids, 2 to `num_ids - 1`. Whole arrays are drawn and tested, and rejected
    items are drawn again. The test is a look-up in a bitmap of users x items, or beyond 256 MiB a
    binary search in the sorted pairs.

    Args:
        schema: names and sizes of the user and item id.
        seen: columns with the user and item ids of the pairs never to draw; None to draw any item.
        popularity: non-negative weight of each real item `(num_ids - 2,)`, such as
            `vocabulary.counts ** 0.75`; None for equal weights.

    Raises:
        ValueError: if ids lie outside the schema, or the popularity has another length, a negative
            or no positive number.

    Example:

    >>> from kerasrec.schema import Categorical
    >>> schema = Schema(user=[Categorical("user", 4)], item=[Categorical("item", 6)])
    >>> seen = {"user": np.array([2, 2, 3]), "item": np.array([2, 3, 5])}
    >>> sampler = NegativeSampler(schema, seen=seen)
    >>> drawn = sampler.sample(np.array([2, 3]), 50, np.random.default_rng(0))
    >>> sorted(set(drawn[0].tolist())), sorted(set(drawn[1].tolist()))
    ([4, 5], [2, 3, 4])
    """

    schema: Schema
    seen: Columns | None = dataclasses.field(default=None, repr=False)
    popularity: np.ndarray | None = dataclasses.field(default=None, repr=False)
    _items: np.ndarray | None = dataclasses.field(init=False, repr=False)  # drawable ids, or all
    _mass: np.ndarray | None = dataclasses.field(init=False, repr=False)  # cumulative popularity
    _pairs: "_Pairs | None" = dataclasses.field(init=False, repr=False)
    _exhausted: np.ndarray = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        items = mass = pairs = None
        exhausted = np.empty(0, np.int64)
        if self.popularity is not None:
            weights = self._checked_popularity(self.popularity)
            items = np.flatnonzero(weights).astype(np.int32) + np.int32(FIRST_ID)
            mass = np.cumsum(weights[weights > 0])
        if self.seen is not None:
            keys = self._seen_keys(self.seen)
            pairs = _Pairs.of(keys, self.schema.user_id.num_ids * self.schema.item_id.num_ids)
            exhausted = self._exhausted_users(keys, items)
        found = {"_items": items, "_mass": mass, "_pairs": pairs, "_exhausted": exhausted}
        for name, value in found.items():
            object.__setattr__(self, name, value)

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        """Draw int32 ids of this shape for any user, seen or not."""
        if self._items is None or self._mass is None:
            return rng.integers(FIRST_ID, self.schema.item_id.num_ids, shape, dtype=np.int32)
        return _weighted(self._items, self._mass, shape, rng)

    def sample(self, users: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
        """Draw items that each user has not seen, with replacement.

        Args:
            users: int32 user ids `(rows,)`.
            count: items per user.
            rng: source of randomness.

        Returns:
            int32 item ids `(rows, count)`.

        Raises:
            ValueError: if one of the users has seen every item that can be drawn.
        """
        return self.replace_seen(users, self.draw((len(users), count), rng), rng)

    def is_seen(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Return whether the pairs of two arrays of one shape are among the seen ones."""
        if self._pairs is None:
            return np.zeros(np.shape(items), bool)
        return self._pairs.contain(_keys(users, items, self.schema.item_id.num_ids))

    def replace_seen(
        self, users: np.ndarray, items: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Draw again those items that the user of their row has seen.

        Args:
            users: see `sample`, as for what is raised.
            rng: see `sample`, as for what is raised.
            items: int32 item ids `(rows, count)`, the shape of the result.
        """
        if self._pairs is None or not items.size:
            return items
        self.check_users(users)
        owners = np.repeat(users, items.shape[1])
        drawn = items.ravel().copy()
        again = np.flatnonzero(self.is_seen(owners, drawn))
        for _ in range(MAX_REDRAWS):
            if not len(again):
                break
            drawn[again] = self.draw((len(again),), rng)
            again = again[self.is_seen(owners[again], drawn[again])]
        for user in np.unique(owners[again]):
            rows = again[owners[again] == user]
            drawn[rows] = self._draw_free(int(user), len(rows), rng)
        return drawn.reshape(items.shape)

    def check_users(self, users: np.ndarray) -> None:
        """Check that each of these int32 user ids has an unseen item left.

        Raises:
            ValueError: if one of the users has seen every item that can be drawn.
        """
        if not len(self._exhausted):
            return
        stuck = np.intersect1d(users, self._exhausted)
        if len(stuck):
            raise ValueError(
                f"NegativeSampler: {len(stuck)} users have seen all of the "
                f"{self._num_drawable(self._items)} items that can be drawn, so they have no "
                f"negatives: the encoded ids {stuck[:5].tolist()}"
                f"{'...' if len(stuck) > 5 else ''}"
                f"{' (1 stands for all unknown users)' if stuck[0] == UNKNOWN_ID else ''}. Leave "
                "their rows out, or allow seen items."
            )

    def _draw_free(self, user: int, count: int, rng: np.random.Generator) -> np.ndarray:
        items = self._items
        if items is None:
            items = np.arange(FIRST_ID, self.schema.item_id.num_ids, dtype=np.int32)
        free = ~self.is_seen(np.full(len(items), user, np.int32), items)
        if self._mass is None:
            return rng.choice(items[free], count)
        weights = np.diff(self._mass, prepend=0.0)
        return _weighted(items[free], np.cumsum(weights[free]), (count,), rng)

    def _checked_popularity(self, popularity: np.ndarray) -> np.ndarray:
        weights = np.asarray(popularity)
        expected = self.schema.item_id.num_ids - FIRST_ID
        if weights.shape != (expected,) or weights.dtype.kind not in "iuf":
            raise ValueError(
                f"NegativeSampler: popularity needs {expected} numbers, one for each real item "
                f"(as Vocabulary.counts); received shape {weights.shape} of {weights.dtype}."
            )
        weights = weights.astype(np.float64)
        if not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
            raise ValueError(
                "NegativeSampler: popularity needs finite numbers of at least 0, one of them "
                f"positive; received {weights.min()} to {weights.max()}."
            )
        return weights

    def _seen_keys(self, seen: Columns) -> np.ndarray:
        """Return the sorted distinct pairs of `seen`, without unknown items."""
        owner, schema = "NegativeSampler: seen", self.schema
        users = check.user_or_item(seen, schema.user_id, owner)
        items = check.user_or_item(seen, schema.item_id, owner)
        if len(users) != len(items):
            raise ValueError(
                f"{owner}: expected one item a user id; received {len(users)} user ids and "
                f"{len(items)} item ids."
            )
        real = items >= FIRST_ID
        # np.unique would hash int64 first, which takes 10 times as long.
        keys = np.sort(_keys(users[real], items[real], schema.item_id.num_ids))
        return keys[_firsts(keys)]

    def _exhausted_users(self, keys: np.ndarray, items: np.ndarray | None) -> np.ndarray:
        num_items = self.schema.item_id.num_ids
        if items is not None:
            drawable = np.zeros(num_items, bool)
            drawable[items] = True
            keys = keys[drawable[keys % num_items]]
        users = keys // num_items
        starts = np.flatnonzero(_firsts(users))
        counts = np.diff(starts, append=len(users))
        return users[starts[counts >= self._num_drawable(items)]]

    def _num_drawable(self, items: np.ndarray | None) -> int:
        return self.schema.item_id.num_ids - FIRST_ID if items is None else len(items)


@dataclasses.dataclass(frozen=True)
class _Pairs:
    """Sorted keys of pairs, or one bit for each key that there could be."""

    keys: np.ndarray
    bits: np.ndarray | None

    @classmethod
    def of(cls, keys: np.ndarray, num_bits: int) -> "_Pairs":
        if num_bits > BITMAP_BITS:
            return cls(keys, None)
        bits = np.zeros((num_bits + 7) // 8, np.uint8)
        np.bitwise_or.at(bits, keys >> 3, np.left_shift(1, keys & 7).astype(np.uint8))
        return cls(keys[:0], bits)

    def contain(self, keys: np.ndarray) -> np.ndarray:
        if self.bits is not None:
            return ((self.bits[keys >> 3] >> (keys & 7).astype(np.uint8)) & 1).view(bool)
        if not len(self.keys):
            return np.zeros(keys.shape, bool)
        positions = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return self.keys[positions] == keys


def _keys(users: np.ndarray, items: np.ndarray, num_items: int) -> np.ndarray:
    """Return one int64 per pair. It cannot overflow, because both ids fit in 31 bits."""
    keys = users.astype(np.int64)
    keys *= num_items
    keys += items
    return keys


def _firsts(values: np.ndarray) -> np.ndarray:
    """Mark the first of each run of equal values in a sorted array."""
    firsts = np.ones(len(values), bool)
    np.not_equal(values[1:], values[:-1], out=firsts[1:])
    return firsts


def _weighted(
    items: np.ndarray, mass: np.ndarray, shape: tuple[int, ...], rng: np.random.Generator
) -> np.ndarray:
    """Draw items by the inverse of their cumulative mass."""
    ranks = np.searchsorted(mass, rng.random(shape) * mass[-1], side="right")
    return items[np.minimum(ranks, len(items) - 1)]  # the product may round up to the whole mass
