"""Batches that `kerasrec fit` trains on."""

from typing import Any

import numpy as np

import kerasrec
from kerasrec.cli.preparing import Prepared
from kerasrec.cli.settings import Training
from kerasrec.types import Retriever, SequenceModel


def shares_products(model: Any, training: Training) -> bool:
    """Return whether the softmax shares one matrix product across the batch.

    Args:
        model: the model.
        training: how to train.
    """
    retriever = isinstance(model, Retriever) and len(model.schema.item) == 1
    return training.loss == "softmax" and retriever


def _next_items(
    columns: dict[str, np.ndarray],
    prepared: Prepared,
    training: Training,
    seen: dict[str, np.ndarray] | None,
) -> Any:
    """Batch the next item after each training row, or each user's newest validation row."""
    options: dict[str, Any] = {
        "batch_size": training.batch_size, "time": prepared.split.train.time,
    }  # fmt: skip
    if seen is None:
        return kerasrec.data.next_items(
            columns, prepared.schema, windows="all", seed=training.seed, **options
        )
    user = prepared.schema.user_id.name
    theirs = np.isin(seen[user], columns[user])
    rows = {name: np.concatenate([seen[name][theirs], columns[name]]) for name in seen}
    return kerasrec.data.next_items(
        rows, prepared.schema, targets="last", shuffle=False, **options
    ).cache()


def training_batches(
    model: Any,
    columns: dict[str, np.ndarray],
    prepared: Prepared,
    training: Training,
    *,
    seen: dict[str, np.ndarray] | None = None,
) -> Any:
    """Batch training rows. With `seen` (the training rows), batch fixed validation rows.

    The batches contain negatives, except for a `SampledSoftmax`, which draws its own.

    Args:
        model: the model.
        columns: the encoded rows.
        prepared: the prepared data that the rows belong to.
        training: training options.
        seen: the training rows, if `columns` are validation rows.
    """
    if isinstance(model, SequenceModel):
        return _next_items(columns, prepared, training, seen)
    shared: dict[str, Any] = {
        "batch_size": training.batch_size,
        "seed": training.seed,
        "shuffle": seen is None,
    }
    if seen is None and not shares_products(model, training):
        shared["unknown_share"] = training.unknown_share
    if training.loss == "mse":
        return kerasrec.data.pointwise(columns, prepared.schema, **shared)
    if training.loss == "log_loss":
        given = {**columns, prepared.schema.label: prepared.positives(columns)}
        return kerasrec.data.pointwise(given, prepared.schema, **shared)
    if shares_products(model, training):
        chosen = kerasrec.data.positives(columns, prepared.schema)
        return kerasrec.data.pointwise(chosen, prepared.schema, **shared)
    if training.negatives is not None:
        shared["negatives"] = training.negatives
    if training.loss == "binary_crossentropy":
        rows = kerasrec.data.with_negatives(columns, prepared.schema, seen=seen, **shared)
    elif seen is None:
        rows = kerasrec.data.shared_negatives(columns, prepared.schema, **shared)
    else:
        rows = kerasrec.data.shared_negatives(
            columns, prepared.schema, seen=seen, allow_seen=False, **shared
        )
    return rows if seen is None else rows.cache()
