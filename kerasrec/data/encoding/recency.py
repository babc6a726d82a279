"""Sample weights that favour the newest rows of each user."""

import numpy as np

from kerasrec._checks import check_number, check_share
from kerasrec.data.encoding.sequences import first_rows, in_order
from kerasrec.schema import Schema
from kerasrec.types import Columns


def recency_weights(
    columns: Columns,
    schema: Schema,
    *,
    time: str | None = "",
    half_life: float = 30.0,
    floor: float = 0.2,
) -> np.ndarray:
    """Compute sample weights that decay with the number of newer rows of the user.

        w = floor + (1 - floor) 2^(-age / half_life),    divided by the mean of all rows

    Age is measured in rows and not in seconds, so that it means the same for daily and yearly
    users. A model of user and item ids has one vector for everything a user ever did. To predict
    the next item, the last rows are more informative than the first (Ding and Li, 2005, "Time
    Weight Collaborative Filtering", which weighs by elapsed time).

    Args:
        columns: see `kerasrec.data.add_history`.
        schema: see `kerasrec.data.add_history`.
        time: see `kerasrec.data.add_history`.
        half_life: number of newer rows that halves the part above the floor.
        floor: weight of the oldest rows, as a share of the newest row's; from 0 to 1.

    Returns:
        float32 `(rows,)` of mean 1: a column for `pointwise(..., weight=...)`.

    Raises:
        ValueError: if a column does not fit the schema, or an argument is out of range.

    Example:

    >>> from kerasrec.schema import Categorical
    >>> schema = Schema(user=[Categorical("user", 4)], item=[Categorical("item", 9)])
    >>> columns = {"user": np.array([2, 2, 2]), "item": np.array([8, 7, 5])}
    >>> columns["timestamp"] = np.array([30, 10, 20])
    >>> weights = recency_weights(columns, schema, half_life=1, floor=0)
    >>> (weights / weights.min()).tolist()
    [4.0, 1.0, 2.0]
    """
    owner = "recency_weights"
    hint = "It counts rows."
    check_number(owner, "half_life", half_life, zero=False, numpy=True, hint=hint)
    check_share(owner, "floor", floor, numpy=True)
    order, users, _ = in_order([columns], schema, time, owner)
    starts = first_rows(users)
    counts = np.diff(starts, append=len(users))
    ages = np.repeat(starts + counts, counts) - 1 - np.arange(len(users))
    weights = np.empty(len(users))
    weights[order] = floor + (1 - floor) * np.exp2(-ages / half_life)
    return (weights / weights.mean()).astype(np.float32)
