"""Checks of weights, and of batches for faulty or suspicious columns."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from kerasrec.schema import PADDING_ID, UNKNOWN_ID, Schema

# A number is extreme above EXTREME, or above SPREAD times the 90th percentile.
EXTREME, SPREAD = 1e6, 1e4
# Share of ids, or of sequences, above which they count as nearly all.
NEARLY_ALL = 0.9
# Share of users with the same list above which they count as most users.
MOST = 0.5


def is_broken(model: Any) -> bool:
    """Return whether training was stopped with weights that are not finite, and predict nothing.

    Args:
        model: a Keras model in `fit`.
    """
    stopped = getattr(model, "stop_training", False)
    return bool(stopped) and not all(np.isfinite(weight).all() for weight in model.get_weights())


def blame(
    columns: Mapping[str, np.ndarray], schema: Schema | None = None, num_rows: int | None = None
) -> list[str]:
    """Return a sentence for each column of a batch that can make a loss NaN.

    Args:
        columns: features, label and weight of a batch.
        schema: schema of the features. Without it an id is outside if it exceeds the largest table.
        num_rows: rows of the largest table, None if there is no table.

    Example:

    >>> blame({"age": np.array([3.0, np.nan, 5.0])})
    ["'age' has NaN in 1 of 3 rows (first: row 1)"]
    """
    found = []
    if schema is None:
        limits = {n: num_rows for n in columns if n.split("/")[0] not in ("label", "weight")}
        source = "the largest table has"
    else:
        ids = [f.name for f in schema.features if f.has_ids]
        limits, source = {name: schema.num_ids(name) for name in ids}, "the schema says"
    features = () if schema is None else schema.features
    padded = {f.name for f in features if f.is_padded}
    for name, column in columns.items():
        if column.dtype.kind == "f":
            # NaN is the padding of a history of numbers.
            found += _bad_numbers(name, np.nan_to_num(column) if name in padded else column)
        elif column.dtype.kind in "iu" and (limit := limits.get(name)) is not None:
            what = f"ids outside of the {limit:,} that {source}"
            found += _rows(name, (column < 0) | (column >= limit), what, column)
    return found


def _bad_numbers(name: str, column: np.ndarray) -> list[str]:
    sizes = np.abs(column.astype("float64"))
    for mask, what in ((np.isnan(sizes), "NaN"), (np.isinf(sizes), "infinity")):
        if mask.any():
            return _rows(name, mask, what)
    if not sizes.size:
        return []
    # A column is compared with its own scale, but never allowed beyond EXTREME.
    usual = float(np.quantile(sizes, 0.9))
    limit = min(EXTREME, SPREAD * usual) if usual else EXTREME
    return _rows(name, sizes > limit, "extreme values", column)


def _rows(name: str, mask: np.ndarray, what: str, column: np.ndarray | None = None) -> list[str]:
    if not mask.any():
        return []
    rows = np.atleast_1d(mask)
    by_row: np.ndarray = np.asarray(rows.reshape(len(rows), -1).any(axis=1))
    first = int(np.argmax(by_row))
    shown = ""
    if column is not None:
        values = column[mask]
        shown = f": {values[np.argmax(np.abs(values.astype('float64')))]:.6g}"
    return [
        f"{name!r} has {what} in {by_row.sum():,} of {len(by_row):,} rows (first: row {first}"
        f"{shown})"
    ]


def suspicions(
    columns: Mapping[str, np.ndarray], schema: Schema | None = None, *, label: str | None = None
) -> list[str]:
    """Return a sentence for each column in which a model would find nothing to learn.

    Args:
        columns: features and label of many rows.
        schema: schema of the features. Without it ids and sequences are not checked.
        label: name of the label column, None if it may be constant.

    Example:

    >>> suspicions({"label": np.ones(4)}, label="label")
    ["label column 'label' is 1 in all of the first 4 rows: there is nothing to learn"]
    """
    found = []
    values = columns.get(label) if label is not None else None
    if values is not None and values.size > 1 and (values == values.flat[0]).all():
        found.append(
            f"label column {label!r} is {values.flat[0]:g} in all of the first "
            f"{len(values):,} rows: there is nothing to learn"
        )
    for feature in schema.features if schema is not None else ():
        ids = columns.get(feature.name)
        if not feature.has_ids or ids is None or not ids.size:
            continue
        real = ids != PADDING_ID
        if real.any() and (share := float((ids[real] == UNKNOWN_ID).mean())) > NEARLY_ALL:
            found.append(
                f"{share:.0%} of the ids of {feature.name!r} are unknown (1) in the first "
                f"{len(ids):,} rows: are they missing, or encoded with other vocabularies?"
            )
        if feature.is_history and ids.ndim > 1:
            share = float((~real.any(axis=-1)).mean())
            if share > NEARLY_ALL:
                found.append(
                    f"{share:.0%} of the sequences {feature.name!r} are all padding in the first "
                    f"{len(ids):,} rows: is the past of the users missing?"
                )
    return found


def collapse(scores: np.ndarray, k: int = 10) -> float:
    """Compute the share of users whose k best items are the most common set of k.

    Example:

    >>> collapse(np.array([[3.0, 2.0, 1.0], [9.0, 8.0, 7.0], [1.0, 2.0, 3.0]]), k=2).__round__(3)
    0.667
    """
    best = np.sort(np.argsort(-scores, axis=1, kind="stable")[:, :k], axis=1)
    return float(np.unique(best, axis=0, return_counts=True)[1].max() / len(best))
