"""Queries of a test set, their positives, and the seen pairs."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from kerasrec.data.encoding.columns import History
from kerasrec.data.encoding.positives import is_positive, no_positive
from kerasrec.evaluation.columns import check_columns, check_ids, known, take_rows
from kerasrec.schema import Categorical, Schema
from kerasrec.types import Columns

SeenColumns = Columns | Sequence[Columns] | None
Per = Literal["user", "row"]


def seen_parts(seen: SeenColumns) -> list[Columns]:
    """Return the columns in `seen` that have rows.

    Raises:
        ValueError: if it holds anything other than columns.
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


def row_counts(
    rows: SeenColumns, feature: Categorical, *, positives: Schema | None = None
) -> np.ndarray:
    """Count the rows of each id: `(ids,)`, zero for padding and unknown.

    Args:
        rows: encoded rows, usually those of training. Counts of several sets are added.
        feature: the user or the item id of the schema.
        positives: schema by which only positives are counted, for the popularity of items. By
            default every row counts, whatever its label, for the activity of users.

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
        counted = known(ids)
        if positives is not None:
            counted &= is_positive(part, positives, "rows")
        counts += np.bincount(ids[counted], minlength=feature.num_ids)
    return counts


@dataclasses.dataclass(frozen=True, eq=False)
class SeenPairs:
    """Distinct (user, item) pairs of some rows.

    Args:
        keys: sorted distinct user * num_items + item, with a sentinel larger than all at the end.
        num_items: number of item ids.
    """

    keys: np.ndarray
    num_items: int

    @classmethod
    def of(cls, seen: SeenColumns, schema: Schema) -> "SeenPairs":
        """Collect the pairs of known users and items in one or several sets of columns."""
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
        """Return user and item of every pair."""
        users, items = np.divmod(self.keys[:-1], self.num_items)
        return users, items

    def contains(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Return which of the given pairs are included. The arrays broadcast."""
        keys = users * self.num_items + items
        return self.keys[np.searchsorted(self.keys, keys)] == keys

    def items_of(self, users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return index into `users`, and item, of every pair of those users."""
        start = np.searchsorted(self.keys, users * self.num_items)
        count = np.searchsorted(self.keys, (users + 1) * self.num_items) - start
        row = np.repeat(np.arange(len(users)), count)
        within = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
        return row, self.keys[np.repeat(start, count) + within] % self.num_items


@dataclasses.dataclass(frozen=True, eq=False)
class Queries:
    """Queries of a test set and their positives.

    Args:
        features: query side features, one row per query.
        test_row: `(queries,)` test row that provides the query's features.
        query: `(positives,)` index of the query, ascending.
        item: `(positives,)` item id.
        negative_rows: test rows left out because of their label.
        unknown_user_rows: test rows left out because of their user.
        repeated_rows: test rows of known users whose pair was seen before.
    """

    features: Columns
    test_row: np.ndarray
    query: np.ndarray
    item: np.ndarray
    negative_rows: int
    unknown_user_rows: int
    repeated_rows: int


def make_queries(
    test: Columns, schema: Schema, seen: SeenPairs, *, drop_repeats: bool, per: Per
) -> Queries:
    """Group test rows into queries: one per user, or one per row.

    Rows that are not positives make no query, and their items stay candidates.

    Raises:
        ValueError: if no row is left without other labels, unknown users and dropped repeats.
    """
    users = check_ids(test[schema.user_id.name], schema.user_id, what="rank: test")
    items = check_ids(test[schema.item_id.name], schema.item_id, what="rank: test")
    positive = is_positive(test, schema, "rank: test")
    if not positive.any():
        raise ValueError(no_positive(len(users), schema, "rank: test"))
    repeated = known(users) & seen.contains(users, items)
    asked = known(users) & positive
    kept = np.flatnonzero(asked & ~repeated if drop_repeats else asked)
    if not len(kept):
        raise ValueError(
            f"rank: expected a positive test row of a user with training rows; of {len(users)} "
            f"rows {(~known(users)).sum()} have an unknown user, {(~positive).sum()} are no "
            f"positives and {repeated.sum()} repeat a seen pair (drop_repeats={drop_repeats}). Use "
            "another split."
        )
    if per == "row":
        test_row, query, item = kept, np.arange(len(kept)), items[kept]
    else:
        test_row = _first_rows(test, schema, kept, users, items)
        group = np.searchsorted(users[test_row], users[kept])
        pairs = np.sort(group * schema.item_id.num_ids + items[kept])
        query, item = np.divmod(pairs, schema.item_id.num_ids)
        # Keep each pair once, except for unknown ids, which may be different items.
        once = (np.diff(pairs, prepend=-1) > 0) | ~known(item)
        query, item = query[once], item[once]
    return Queries(
        features={f.name: take_rows(test[f.name], test_row) for f in schema.query},
        test_row=test_row,
        query=query,
        item=item,
        negative_rows=int((~positive).sum()),
        unknown_user_rows=int((~known(users)).sum()),
        repeated_rows=int(repeated.sum()),
    )


def _first_rows(
    test: Columns, schema: Schema, kept: np.ndarray, users: np.ndarray, items: np.ndarray
) -> np.ndarray:
    """Return the first of the kept rows of each user, in the order of the users.

    The first row is the earliest one, if the test rows have the time of the schema. With histories
    it is otherwise the one with the shortest history, since a later row's history contains test
    items, which are the answers. Equal lengths, as after cutting to `max_length`, are resolved by
    the number of the user's test items in the history.
    """
    rows_of = np.bincount(users[kept])
    if rows_of.max() == 1:
        return kept[np.argsort(users[kept])]
    keys = [kept, users[kept]]
    for feature in schema.item_histories:
        column = test[feature.name]
        if isinstance(column, History):
            keys[1:1] = [column.lengths[kept]]
        else:
            history = np.asarray(column)[kept]
            answers = SeenPairs.of(
                {schema.user_id.name: users[kept], schema.item_id.name: items[kept]}, schema
            )
            held = answers.contains(users[kept, None], history.astype(np.int64))
            keys[1:1] = [held.sum(axis=1), known(history).sum(axis=1)]
    if schema.time is not None and schema.time in test:
        keys[-1:-1] = [np.asarray(test[schema.time])[kept]]
    order = np.lexsort(keys)
    first = np.diff(users[kept][order], prepend=-1) > 0
    return kept[order[first]]
