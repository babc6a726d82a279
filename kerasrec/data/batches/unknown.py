"""Training of the unknown id's embedding."""

from collections.abc import Callable
from typing import Any

import numpy as np

from kerasrec._checks import check_share
from kerasrec.schema import FIRST_ID, UNKNOWN_ID, Schema


def hiding(
    owner: str, schema: Schema, share: float
) -> Callable[[dict[str, Any], np.random.Generator], dict[str, Any]]:
    """Make a function that replaces a share of the ids of a block by the unknown id.

    Training rows contain no unknown ids, unless rare ids were left out of the vocabulary. Without
    this function the embedding of the unknown id would keep its initial value.

    Args:
        owner: calling function, named in the error message.
        schema: schema of the features.
        share: probability that an id is hidden, independently for each id. With 0 nothing is drawn.

    Returns:
        A function of the features of a block and a random generator.

    Raises:
        ValueError: if the share is not a number from 0 to less than 1.

    Example:

    >>> from kerasrec.schema import Categorical
    >>> hide = hiding("example", Schema(Categorical("user", 9), Categorical("item", 9)), 0.7)
    >>> block = {"user": np.arange(8), "item": np.arange(8)}
    >>> hide(block, np.random.default_rng(0))["item"].tolist()
    [0, 1, 1, 3, 1, 1, 6, 7]
    """
    check_share(owner, "unknown_share", share, one=False)
    names = [feature.name for feature in schema.features if feature.has_ids]

    def hide(features: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        if not share:
            return features
        shown = dict(features)
        for name in names:
            ids = features[name]
            hidden = (rng.random(ids.shape, np.float32) < share) & (ids >= FIRST_ID)
            shown[name] = np.where(hidden, np.int32(UNKNOWN_ID), ids)
        return shown

    return hide


def known_items(rows: np.ndarray, items: np.ndarray, owner: str) -> np.ndarray:
    """Drop positive rows of the unknown item, which is never drawn as a negative.

    Args:
        rows: positions of the positive rows.
        items: item ids of all rows.
        owner: calling function, named in the error message.

    Raises:
        ValueError: if no row is left.
    """
    known = rows[items[rows] >= FIRST_ID]
    if not len(known):
        raise ValueError(
            f"{owner}: the items of all {len(rows)} positive rows are unknown, and unknown items "
            "are not learned as choices. Fit the vocabularies on these rows."
        )
    return known
