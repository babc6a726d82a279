"""Batches that a training runs on."""

from typing import TYPE_CHECKING, Any

import numpy as np

import kerasrec
from kerasrec.runs.settings import Training

if TYPE_CHECKING:
    from kerasrec.data import PreparedData


def shares_products(model: Any, training: Training) -> bool:
    """Return whether the softmax shares one matrix product across the batch.

    Args:
        model: the model.
        training: how to train.
    """
    retriever = isinstance(model, kerasrec.types.Retriever) and len(model.schema.item) == 1
    return training.loss == "softmax" and retriever


def _next_items(
    columns: dict[str, np.ndarray],
    ready: "PreparedData",
    training: Training,
    seen: dict[str, np.ndarray] | None,
) -> Any:
    """Batch the next item after each training row, or each user's newest validation row."""
    options: dict[str, Any] = {
        "batch_size": training.batch_size, "time": ready.split.train.time,
    }  # fmt: skip
    if seen is None:
        return kerasrec.data.next_items(
            columns, ready.schema, windows="all", seed=training.seed, **options
        )
    user = ready.schema.user_id.name
    theirs = np.isin(seen[user], columns[user])
    names = [name for name in seen if isinstance(seen[name], np.ndarray)]  # no histories
    rows = {name: np.concatenate([seen[name][theirs], columns[name]]) for name in names}
    return kerasrec.data.next_items(
        rows, ready.schema, targets="last", shuffle=False, **options
    ).cache()


def training_batches(
    model: Any,
    columns: dict[str, np.ndarray],
    ready: "PreparedData",
    training: Training,
    *,
    seen: dict[str, np.ndarray] | None = None,
) -> Any:
    """Batch training rows. With `seen` (the training rows), batch fixed validation rows.

    The batches contain negatives, except for a `SampledSoftmax`, which draws its own.

    Args:
        model: the model.
        columns: the encoded rows.
        ready: the prepared data that the rows belong to.
        training: training options.
        seen: the training rows, if `columns` are validation rows.
    """
    if hasattr(model, "states"):
        return _next_items(columns, ready, training, seen)
    shared: dict[str, Any] = {
        "batch_size": training.batch_size,
        "seed": training.seed,
        "shuffle": seen is None,
    }
    if seen is None and not shares_products(model, training):
        shared["unknown_share"] = training.unknown_share
    if training.loss == "mse":
        return kerasrec.data.pointwise(columns, ready.schema, **shared)
    if training.loss == "log_loss":
        given = {**columns, ready.schema.label: ready.positives(columns)}
        return kerasrec.data.pointwise(given, ready.schema, **shared)
    if shares_products(model, training):
        chosen = kerasrec.data.positives(columns, ready.schema)
        return kerasrec.data.pointwise(chosen, ready.schema, **shared)
    if training.negatives is not None:
        shared["negatives"] = training.negatives
    if training.loss == "binary_crossentropy":
        rows = kerasrec.data.with_negatives(columns, ready.schema, seen=seen, **shared)
    elif seen is None:
        rows = kerasrec.data.shared_negatives(columns, ready.schema, **shared)
    else:
        rows = kerasrec.data.shared_negatives(
            columns, ready.schema, seen=seen, allow_seen=False, **shared
        )
    return rows if seen is None else rows.cache()
