"""Candidates for sampled protocols: each test row's positive among drawn items."""

from typing import Literal, Unpack

import numpy as np

from kerasrec._checks import check_choice, check_integer
from kerasrec.evaluation.columns import check_columns, check_ids
from kerasrec.evaluation.ranking.queries import SeenPairs, row_counts, seen_parts
from kerasrec.evaluation.ranking.task import Candidates, RankingTask, TaskOptions
from kerasrec.schema import FIRST_ID, PADDING_ID, Schema
from kerasrec.types import Columns

# Random numbers held at once.
_DRAWS = 1 << 21
# Rows are drawn item by item if at least _ENOUGH times the wanted items are left, for at most
# _ROUNDS rounds.
_ENOUGH = 2
_ROUNDS = 16


def sample_candidates(
    test: Columns | RankingTask,
    schema: Schema,
    *,
    negatives: int = 100,
    by: Literal["uniform", "popularity"] = "uniform",
    seed: int = 0,
    **options: Unpack[TaskOptions],
) -> Candidates:
    """Sample unseen items without repeats for every test row.

    A user's other test items are not drawn either. With `by="popularity"`, the next item is drawn
    with a probability proportional to its positives in `seen`. Both protocols occur in published
    tables. Their metrics are comparable neither with those of the full catalogue nor with those of
    another number of candidates (Krichene and Rendle, 2020, "On Sampled Metrics for Item
    Recommendation").

    Args:
        test: encoded test rows, or a task.
        schema: names of the user and item id.
        negatives: number of items for each row. Rows of users with fewer unseen items get padding.
        by: `"uniform"` or `"popularity"`.
        seed: seed of the draw.
        **options: the field `seen` of `RankingTask`. Popularity is counted in these rows too.

    Raises:
        ValueError: if a column is missing, `by` is neither of the two, `negatives` is not from 1 to
            the number of items, or there are no rows to count.

    Example:

    >>> import numpy as np
    >>> from kerasrec.schema import Categorical, Schema
    >>> schema = Schema(Categorical("user", 4), Categorical("item", 6))
    >>> test = {"user": np.array([2]), "item": np.array([3])}
    >>> seen = {"user": np.array([2]), "item": np.array([4])}
    >>> drawn = sample_candidates(test, schema, seen=seen, negatives=3)
    >>> sorted(drawn.ids[0].tolist()), drawn.method
    ([0, 2, 5], 'uniform (seed 0)')
    """
    num_items = schema.item_id.num_ids - FIRST_ID
    check_choice("sample_candidates", "by", by, ("uniform", "popularity"))
    hint = f"There are {num_items} items."
    check_integer("sample_candidates", "negatives", negatives, 1, num_items, numpy=True, hint=hint)
    task = RankingTask.of(test, options)
    seen = seen_parts(task.seen)
    names = (schema.user_id.name, schema.item_id.name)
    check_columns(task.test, names, what="sample_candidates: test")
    users = check_ids(task.test[names[0]], schema.user_id, what="sample_candidates: test")
    weight = np.ones(num_items)
    if by == "popularity":
        counts = row_counts(seen, schema.item_id, positives=schema)
        weight = counts[FIRST_ID:].astype(np.float64)
        if not weight.any():
            raise ValueError(
                "sample_candidates: popularity counts the rows of `seen`; got none with a "
                f"{schema.label!r} {schema.positive}. Pass the encoded training rows, or draw "
                "by='uniform'."
            )
    removed = SeenPairs.of([*seen, task.test], schema)
    rng = np.random.default_rng(seed)
    ids = np.full((len(users), negatives), PADDING_ID, np.int32)
    draw = _Draw(weight, removed, rng)
    step = max(1, _DRAWS // draw.width(negatives))
    for start in range(0, len(users), step):
        draw(users[start : start + step], ids[start : start + step])
    return Candidates(ids, f"{by} (seed {seed})")


class _Draw:
    """Sequential draw of items with chances proportional to their weights.

    Repeated items, and items that the user has, are discarded and drawn again. The result is a draw
    without replacement among the other items. If too few items are left for that, every item of the
    catalogue gets a random key, and the largest keys are taken (the Gumbel-max trick). This is the
    same draw, at the cost of the whole catalogue.

    Args:
        weight: `(items,)`, from the first known item on.
        removed: pairs that are not drawn.
        rng: random generator.
    """

    def __init__(self, weight: np.ndarray, removed: SeenPairs, rng: np.random.Generator) -> None:
        self._weight, self._removed, self._rng = weight, removed, rng
        self._uniform = weight.min() == weight.max()
        self._ends = np.cumsum(weight)

    @staticmethod
    def width(negatives: int) -> int:
        """Return how many items to draw at once for a row that needs `negatives`."""
        return negatives + negatives // 8 + 8

    def __call__(self, users: np.ndarray, ids: np.ndarray) -> None:
        """Fill `(users, negatives)` with item ids. Padding stays where there are too few.

        Args:
            users: user id of each row.
            ids: array to fill.
        """
        wanted = ids.shape[1]
        row, item = self._removed.items_of(users)
        drawable = self._weight > 0
        left = drawable.sum() - np.bincount(row, drawable[item - FIRST_ID], len(users))
        several = left >= _ENOUGH * wanted
        open_rows = np.flatnonzero(several)
        for _ in range(_ROUNDS):
            if not len(open_rows):
                break
            open_rows = self._add(users, ids, open_rows)
        rest = np.concatenate([np.flatnonzero(~several), open_rows])
        step = max(1, _DRAWS // len(self._weight))
        for start in range(0, len(rest), step):
            self._by_keys(users, ids, rest[start : start + step])

    def _add(self, users: np.ndarray, ids: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Draw once more for some rows. Return the rows that are still not full."""
        wanted = ids.shape[1]
        have = (ids[rows] != PADDING_ID).sum(axis=1)
        shape = len(rows), self.width(int(wanted - have.min()))
        drawn = self._items(shape) + FIRST_ID
        both = np.concatenate([ids[rows], drawn], axis=1)
        order = np.argsort(both, axis=1, kind="stable")  # an item precedes its repeats
        ranked = np.take_along_axis(both, order, axis=1)
        repeated = np.zeros(both.shape, bool)
        np.put_along_axis(repeated, order[:, 1:], ranked[:, 1:] == ranked[:, :-1], axis=1)
        good = ~repeated[:, wanted:] & ~self._removed.contains(users[rows, None], drawn)
        index = have[:, None] + np.cumsum(good, axis=1) - 1
        good &= index < wanted
        at, _ = np.nonzero(good)
        ids[rows[at], index[good]] = drawn[good]
        return rows[have + good.sum(axis=1) < wanted]

    def _items(self, shape: tuple[int, int]) -> np.ndarray:
        if self._uniform:
            return self._rng.integers(0, len(self._weight), shape)
        points = self._rng.random(shape) * self._ends[-1]
        # An item without weight has an empty interval, which side="right" skips.
        return np.minimum(np.searchsorted(self._ends, points, side="right"), len(self._weight) - 1)

    def _by_keys(self, users: np.ndarray, ids: np.ndarray, rows: np.ndarray) -> None:
        """Fill up some rows by random keys for all items."""
        with np.errstate(divide="ignore"):
            keys = np.log(self._weight) + self._rng.gumbel(size=(len(rows), len(self._weight)))
        row, item = self._removed.items_of(users[rows])
        keys[row, item - FIRST_ID] = -np.inf
        at, index = np.nonzero(ids[rows] != PADDING_ID)
        keys[at, ids[rows[at], index] - FIRST_ID] = np.inf  # drawn before, to be kept
        wanted = ids.shape[1]
        best = np.argpartition(-keys, wanted - 1, axis=1)[:, :wanted]
        drawable = np.take_along_axis(keys, best, axis=1) > -np.inf
        ids[rows] = np.where(drawable, best + FIRST_ID, PADDING_ID)
