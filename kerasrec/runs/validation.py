"""Measure on the validation rows by which an epoch is chosen: that of the evaluation."""

from typing import TYPE_CHECKING, Any

import numpy as np

import kerasrec
from kerasrec.evaluation.columns import take_rows
from kerasrec.evaluation.ranking.queries import SeenPairs
from kerasrec.runs.settings import Training
from kerasrec.schema import FIRST_ID
from kerasrec.types import Retriever, output_kind

if TYPE_CHECKING:
    from kerasrec.data import PreparedData

CUTOFF = 10
MAX_USERS = 5000
"""Validation users that are ranked after each epoch, drawn once with seed 0."""
MAX_PAIRS = 30_000_000
"""Pairs of users and items that a model without vectors scores after each epoch."""


def validation_of(model: Any, ready: "PreparedData", training: Training) -> tuple[Any, str, bool]:
    """Return a callback, the name of its figure in the logs, and whether higher is better.

    Rankings are judged by NDCG@10 over the whole catalogue, clicks by AUC, ratings by RMSE. Where
    the rows do not define it, the loss decides, without a callback.

    Args:
        model: the model that is trained.
        ready: the rows, with validation rows.
        training: the options.
    """
    by_loss = (None, "val_loss", False)
    if output_kind(model) == "logits":
        return by_loss
    if training.loss == "mse":
        watch: Any = kerasrec.callbacks.LabelValidation(
            ready.valid, "ratings", model=model, clip=rating_scale(ready)
        )
        return watch, "val_rmse", False
    if training.loss == "log_loss":
        clicks = ready.positives(ready.valid)
        if clicks.min() == clicks.max():
            return by_loss
        rows = {**ready.valid, ready.schema.label: clicks}
        return kerasrec.callbacks.LabelValidation(rows, "clicks", model=model), "val_auc", True
    rows = _rankable(model, ready)
    if not len(next(iter(rows.values()))):
        return by_loss
    k = min(CUTOFF, ready.schema.item_id.num_ids - FIRST_ID)
    watch = kerasrec.callbacks.RankingValidation(
        rows, seen=ready.train, ranker=model, k=k, items=ready.items
    )
    return watch, f"val_ndcg@{k}", True


def rating_scale(ready: "PreparedData") -> tuple[float, float] | None:
    """Return the lowest and the highest training label, to which predicted ratings are clipped.

    Args:
        ready: the rows.

    Returns:
        The two labels; None if all are the same, and for rows without items, whose numbers are no
        ratings on a scale.
    """
    if not ready.schema.item:
        return None
    labels = np.asarray(ready.train[ready.schema.label])
    lowest, highest = float(labels.min()), float(labels.max())
    return (lowest, highest) if lowest < highest else None


def _rankable(model: Any, ready: "PreparedData") -> dict[str, Any]:
    """Return the validation rows of some users that have an item to find."""
    schema, valid = ready.schema, ready.valid
    user, item = valid[schema.user_id.name], valid[schema.item_id.name]
    new = ~SeenPairs.of([ready.train], schema).contains(
        np.asarray(user, np.int64), np.asarray(item, np.int64)
    )
    kept = new & (user >= FIRST_ID) & (item >= FIRST_ID) & (ready.positives(valid) > 0)
    users = np.unique(user[kept])
    most = MAX_USERS
    if not isinstance(model, Retriever):
        most = min(most, max(200, MAX_PAIRS // schema.item_id.num_ids))
    if len(users) > most:
        users = np.random.default_rng(0).choice(users, most, replace=False)
        kept &= np.isin(user, users)
    rows = np.flatnonzero(kept)
    return {name: take_rows(values, rows) for name, values in valid.items()}
