"""The lists a model would show: the first k items for every query, seen items left out."""

import dataclasses

import numpy as np

from kerasrec.evaluation.columns import check_columns, check_ids
from kerasrec.evaluation.full_ranking import catalogue
from kerasrec.evaluation.queries import SeenColumns, SeenPairs
from kerasrec.evaluation.scoring import block_scorer, check_ranker
from kerasrec.schema import PADDING_ID
from kerasrec.types import Columns, Ranker

# Scores, and the copies that selection makes of them.
_BYTES_PER_SCORE = 16


@dataclasses.dataclass(frozen=True, eq=False)
class Lists:
    """Recommendations, one list per query.

    Args:
        users: `(queries,)` user id of each query.
        items: int32 `(queries, k)` item ids, best first; padding where a user has seen all the
            rest.
        catalogue: item ids that could be listed.
    """

    users: np.ndarray
    items: np.ndarray
    catalogue: np.ndarray

    @property
    def k(self) -> int:
        """Length of a list."""
        return int(self.items.shape[1])


def recommend(
    model: Ranker,
    queries: Columns,
    *,
    seen: SeenColumns,
    k: int = 10,
    items: Columns | None = None,
    seed: int = 0,
    max_memory_mb: int = 128,
) -> Lists:
    """The k items of the highest score for every query, without those the user has seen.

    Equal scores are in random order, drawn for each list on its own, so that no order of ids shows
    in what is counted over the lists.

    Args:
        model: what recommends.
        queries: encoded query side features, one row per list, such as `Ranked.queries`.
        seen: see `ranking`; here all seen items are left out, test items too.
        k: length of a list.
        items: see `ranking`.
        seed: seed of the order of equal scores.
        max_memory_mb: bound for the arrays of scores; there is at least one query per block.

    Raises:
        ValueError: if there is no query, a column is missing or badly encoded, k is no
            integer of 1 to the size of the catalogue, or a score is NaN.

    Example:

    >>> import numpy as np
    >>> from kerasrec.schema import Categorical, Schema
    >>> class HighestId:
    ...     schema = Schema(Categorical("user", 4), Categorical("item", 6))
    ...     def __call__(self, inputs, training=False):
    ...         return inputs["item"].astype(np.float32)
    >>> seen = {"user": np.array([3]), "item": np.array([5])}
    >>> recommend(HighestId(), {"user": np.array([2, 3])}, seen=seen, k=2).items.tolist()
    [[5, 4], [4, 3]]
    """
    check_ranker(model)
    schema = model.schema
    rows = check_columns(queries, [f.name for f in schema.query], what="recommend: queries")
    users = check_ids(queries[schema.user_id.name], schema.user_id, what="recommend: queries")
    items = catalogue(schema, items)
    ids = np.asarray(items[schema.item_id.name])
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 1 <= k <= len(ids):
        raise ValueError(
            f"recommend: k expects an integer from 1 to the {len(ids)} items there are; received "
            f"{k!r}."
        )
    pairs = SeenPairs.of(seen, schema)
    position = np.full(schema.item_id.num_ids, -1)
    position[ids] = np.arange(len(ids))
    score = block_scorer(model, items, max_memory_mb=max_memory_mb)
    rng = np.random.default_rng(seed)
    listed = np.empty((rows, k), np.int32)
    size = max(1, (max_memory_mb << 20) // (_BYTES_PER_SCORE * len(ids)))
    for start in range(0, rows, size):
        part = slice(start, start + size)
        scores = score({f.name: queries[f.name][part] for f in schema.query}, None)
        row, item = pairs.items_of(users[part])
        at = position[item]
        scores[row[at >= 0], at[at >= 0]] = np.nan
        best, found = _top(scores, int(k), rng)
        listed[part] = np.where(found, ids[best], PADDING_ID)
    return Lists(users, listed, ids)


def _top(scores: np.ndarray, k: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Columns `(rows, k)` of the highest scores, NaN last, and which of them are no NaN."""
    width = scores.shape[1]
    # NaN sorts last, as the lowest score must.
    keys = -scores
    if k < width:
        best = np.argpartition(keys, k - 1, axis=1)[:, :k]
        last = np.take_along_axis(keys, best, axis=1).max(axis=1)  # NaN where fewer are left
        for row in np.flatnonzero((keys == last[:, None]).sum(axis=1) > 1):
            tied = np.flatnonzero(keys[row] == last[row])
            certain = np.flatnonzero(keys[row] < last[row])
            best[row] = np.append(certain, rng.choice(tied, k - len(certain), replace=False))
    else:
        best = np.broadcast_to(np.arange(width), scores.shape)
    chosen = np.take_along_axis(keys, best, axis=1)
    order = np.lexsort((rng.random(chosen.shape), chosen), axis=1)
    best = np.take_along_axis(best, order, axis=1)
    return best, ~np.isnan(np.take_along_axis(chosen, order, axis=1))
