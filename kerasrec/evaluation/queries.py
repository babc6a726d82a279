"""What a ranking evaluation asks: the queries of a test set, their positives, the seen pairs."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kerasrec import schema as kinds
from kerasrec.evaluation.columns import check_columns, check_ids, known
from kerasrec.schema import Categorical, Schema
from kerasrec.types import Columns

SeenColumns = Columns | Sequence[Columns] | None


def seen_parts(seen: SeenColumns) -> list[Columns]:
    """The columns in `seen` that have rows.

    Raises:
        ValueError: if it holds something else than columns.
    """
    parts: list[Any] = (
        list(seen) if isinstance(seen, list | tuple) else [] if seen is None else [seen]
    )
    for part in parts:
        if not isinstance(part, Mapping):
            raise ValueError(
                "seen expects encoded columns (a dict of arrays), a list of those, or None; "
                f"received {type(part).__name__}."
            )
    return [part for part in parts if any(len(values) for values in part.values())]


def row_counts(rows: SeenColumns, feature: Categorical) -> np.ndarray:
    """How many rows each id has: `(ids,)`, zero for padding and unknown.

    Args:
        rows: encoded rows, usually those of training; several columns are added up.
        feature: the user or the item id of the schema.

    Raises:
        ValueError: if a column is missing or badly encoded.

    Example:

    >>> row_counts({"item": np.array([2, 4, 4, 1])}, Categorical("item", 5)).tolist()
    [0, 0, 1, 0, 2]
    """
    counts = np.zeros(feature.num_ids, np.int64)
    for part in seen_parts(rows):
        check_columns(part, [feature.name], what="rows")
        ids = check_ids(part[feature.name], feature, what="rows")
        counts += np.bincount(ids[known(ids)], minlength=feature.num_ids)
    return counts


@dataclasses.dataclass(frozen=True, eq=False)
class SeenPairs:
    """The (user, item) pairs of some rows.

    Args:
        keys: sorted user * num_items + item, each once; at the end one larger than all.
        num_items: number of item ids.
    """

    keys: np.ndarray
    num_items: int

    @classmethod
    def of(cls, seen: SeenColumns, schema: Schema) -> "SeenPairs":
        """The pairs of known users and items in some columns, or in several."""
        keys = [np.array([np.iinfo(np.int64).max])]
        for part in seen_parts(seen):
            check_columns(part, (schema.user_id.name, schema.item_id.name), what="seen")
            users = check_ids(part[schema.user_id.name], schema.user_id, what="seen")
            items = check_ids(part[schema.item_id.name], schema.item_id, what="seen")
            both = known(users) & known(items)
            keys.append(users[both] * schema.item_id.num_ids + items[both])
        ordered = np.sort(np.concatenate(keys))  # np.unique takes twenty times as long
        new = np.ones(len(ordered), bool)
        new[1:] = ordered[1:] != ordered[:-1]
        return cls(ordered[new], schema.item_id.num_ids)

    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """User and item of every pair."""
        users, items = np.divmod(self.keys[:-1], self.num_items)
        return users, items

    def contains(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Which pairs are among them; the arrays broadcast."""
        keys = users * self.num_items + items
        return self.keys[np.searchsorted(self.keys, keys)] == keys

    def items_of(self, users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Index into `users`, and item, of every pair of those users."""
        start = np.searchsorted(self.keys, users * self.num_items)
        count = np.searchsorted(self.keys, (users + 1) * self.num_items) - start
        row = np.repeat(np.arange(len(users)), count)
        within = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
        return row, self.keys[np.repeat(start, count) + within] % self.num_items


@dataclasses.dataclass(frozen=True, eq=False)
class Queries:
    """The queries of a test set and their positives.

    Args:
        features: query side features, one row per query.
        test_row: `(queries,)` a test row of each query.
        query: `(positives,)` index of the query, ascending.
        item: `(positives,)` item id.
        unknown_user_rows: test rows that were left out for their user.
        repeated_rows: test rows of known users whose pair was seen before.
    """

    features: Columns
    test_row: np.ndarray
    query: np.ndarray
    item: np.ndarray
    unknown_user_rows: int
    repeated_rows: int

    @property
    def num_positives(self) -> np.ndarray:
        """`(queries,)` positives of each query."""
        return np.bincount(self.query, minlength=len(self.test_row))


def make_queries(
    test: Columns, schema: Schema, seen: SeenPairs, *, drop_repeats: bool, one_per_row: bool
) -> Queries:
    """Groups test rows into queries: one per combination of features, or one per row.

    Raises:
        ValueError: if no row is left once unknown users and dropped repeats are out.
    """
    users = check_ids(test[schema.user_id.name], schema.user_id, what="ranking: test")
    items = check_ids(test[schema.item_id.name], schema.item_id, what="ranking: test")
    repeated = known(users) & seen.contains(users, items)
    kept = np.flatnonzero(known(users) & ~repeated if drop_repeats else known(users))
    if not len(kept):
        raise ValueError(
            f"ranking: expected a test row of a user with training rows; of {len(users)} rows "
            f"{(~known(users)).sum()} have an unknown user and {repeated.sum()} repeat a seen pair "
            f"(drop_repeats={drop_repeats}). Use another split."
        )
    if one_per_row:
        test_row, query, item = kept, np.arange(len(kept)), items[kept]
    else:
        group = np.zeros(len(kept), np.int64)
        for feature in schema.query:
            values = _canonical(np.asarray(test[feature.name])[kept], feature)
            _, code = np.unique(values, axis=0, return_inverse=True)
            _, group = np.unique(group * (code.max() + 1) + code.ravel(), return_inverse=True)
        test_row = kept[np.unique(group, return_index=True)[1]]
        pairs = np.sort(group * schema.item_id.num_ids + items[kept])
        query, item = np.divmod(pairs, schema.item_id.num_ids)
        # Once each; but rows with the unknown id may be different items.
        once = (np.diff(pairs, prepend=-1) > 0) | ~known(item)
        query, item = query[once], item[once]
    return Queries(
        features={f.name: np.asarray(test[f.name])[test_row] for f in schema.query},
        test_row=test_row,
        query=query,
        item=item,
        unknown_user_rows=int((~known(users)).sum()),
        repeated_rows=int(repeated.sum()),
    )


def _canonical(values: np.ndarray, feature: kinds.Feature) -> np.ndarray:
    """Return the values of a feature so that rows that mean the same are equal.

    Padding of a history may stand anywhere, and NaN, the padding of numbers, equals nothing.
    """
    if not isinstance(feature, kinds.Sequence | kinds.NumericSequence):
        return values
    padding = values == 0 if isinstance(feature, kinds.Sequence) else np.isnan(values)
    if not padding.any():
        return values
    empty = padding.reshape(*padding.shape[:2], -1).all(axis=-1)
    order = np.argsort(empty, axis=1, kind="stable")
    order = order.reshape(*order.shape, *[1] * (values.ndim - 2))
    packed = np.take_along_axis(values, order, axis=1)
    return np.where(np.isnan(packed), np.inf, packed) if packed.dtype.kind == "f" else packed
