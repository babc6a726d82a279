"""Candidates of the sampled protocols: each test row's positive among some drawn items."""

import dataclasses
from typing import Literal

import numpy as np

from kerasrec.evaluation.columns import check_columns, check_ids
from kerasrec.evaluation.queries import SeenColumns, SeenPairs, row_counts, seen_parts
from kerasrec.schema import FIRST_ID, PADDING_ID, Schema
from kerasrec.types import Columns

# Random numbers held at once.
_DRAWS = 1 << 22


@dataclasses.dataclass(frozen=True, eq=False)
class Candidates:
    """Item ids to rank each test row's positive among, and how they were had.

    Args:
        ids: `(test rows, c)`; padding is no candidate.
        method: for the name of the protocol, such as `"uniform (seed 0)"`.
    """

    ids: np.ndarray
    method: str = "given"


def sample_candidates(
    test: Columns,
    schema: Schema,
    *,
    seen: SeenColumns,
    negatives: int = 100,
    by: Literal["uniform", "popularity"] = "uniform",
    seed: int = 0,
) -> Candidates:
    """Draws items that the user has not seen, without repeats, for every test row.

    A user's other test items are not drawn either. By popularity, an item is drawn with a
    probability proportional to its rows in `seen`, among those not drawn yet. Both are the
    protocols of published tables; such figures compare neither with the full catalogue's nor with
    another number of candidates (Krichene and Rendle, 2020, "On Sampled Metrics for Item
    Recommendation").

    Args:
        test: encoded test rows.
        schema: names of the user and item id.
        seen: see `ranking`; also what popularity counts.
        negatives: how many for each row; rows of users with fewer unseen items get padding.
        by: `"uniform"` or `"popularity"`.
        seed: seed of the draw.

    Raises:
        ValueError: if a column is missing, `by` is none of the two, `negatives` is not from 1 to
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
    if by not in ("uniform", "popularity"):
        raise ValueError(f"sample_candidates: by is 'uniform' or 'popularity'; received {by!r}.")
    if isinstance(negatives, bool) or not 1 <= negatives <= num_items:
        raise ValueError(
            f"sample_candidates: negatives must be from 1 to the {num_items} items there are; "
            f"received {negatives!r}."
        )
    names = (schema.user_id.name, schema.item_id.name)
    check_columns(test, names, what="sample_candidates: test")
    users = check_ids(test[names[0]], schema.user_id, what="sample_candidates: test")
    weight = np.ones(num_items)
    if by == "popularity":
        weight = row_counts(seen, schema.item_id)[FIRST_ID:].astype(np.float64)
        if not weight.any():
            raise ValueError("sample_candidates: popularity counts the rows of `seen`; got none.")
    removed = SeenPairs.of([*seen_parts(seen), test], schema)
    rng = np.random.default_rng(seed)
    ids = np.empty((len(users), negatives), np.int32)
    with np.errstate(divide="ignore"):
        log_weight = np.log(weight)
    for start in range(0, len(users), step := max(1, _DRAWS // num_items)):
        drawn_for = users[start : start + step]
        # The largest keys are a draw without replacement: the Gumbel-max trick.
        keys = log_weight + rng.gumbel(size=(len(drawn_for), num_items))
        row, item = removed.items_of(drawn_for)
        keys[row, item - FIRST_ID] = -np.inf
        best = np.argpartition(-keys, negatives - 1, axis=1)[:, :negatives]
        drawable = np.take_along_axis(keys, best, axis=1) > -np.inf
        ids[start : start + step] = np.where(drawable, best + FIRST_ID, PADDING_ID)
    return Candidates(ids, f"{by} (seed {seed})")
