"""Checked ids of the training rows that are positives."""

import numpy as np
import scipy.sparse

from kerasrec.schema import FIRST_ID, Feature, Schema
from kerasrec.types import Columns


def positive_ids(
    owner: str, schema: Schema, columns: Columns, features: tuple[Feature, ...]
) -> list[np.ndarray]:
    """Return columns of ids of the rows that are positives.

    Args:
        owner: start of the error message.
        schema: the schema, whose `positive` decides.
        columns: encoded training columns, with or without a label.
        features: features with ids, whose columns are returned.

    Raises:
        ValueError: if a column is missing, holds ids outside the schema or has another length, or
            no row is a positive.
    """
    found: list[np.ndarray] = []
    for feature in features:
        name, num_ids = feature.name, schema.num_ids(feature.name)
        if name not in columns:
            raise ValueError(f"{owner}: missing column {name!r}; received {sorted(columns)}.")
        ids = np.asarray(columns[name])
        inside = ids.dtype.kind in "iu" and (not ids.size or 0 <= ids.min() <= ids.max() < num_ids)
        if ids.ndim != 1 or not inside:
            raise ValueError(
                f"{owner}: {name!r} must hold integer ids from 0 to {num_ids - 1}; received "
                f"{ids!r:.100}. Encode raw ids first."
            )
        if found and len(ids) != len(found[0]):
            raise ValueError(
                f"{owner}: expected columns of one length; received {len(found[0])} rows of "
                f"{features[0].name!r} and {len(ids)} of {name!r}."
            )
        found.append(ids)
    label = schema.label
    if label not in columns:
        return found
    labels = np.asarray(columns[label])
    if labels.shape != found[0].shape:
        raise ValueError(
            f"{owner}: expected one label per item; received the shapes {found[0].shape} of "
            f"{features[0].name!r} and {labels.shape} of {label!r}."
        )
    positive = schema.is_positive(labels)
    if len(labels) and not positive.any():
        raise ValueError(
            f"{owner}: none of {len(labels):,} rows has a {label!r} {schema.positive}, so there is "
            "nothing to count. Set `positive` in the schema."
        )
    return [ids[positive] for ids in found]


def known_positives(owner: str, schema: Schema, columns: Columns) -> tuple[np.ndarray, np.ndarray]:
    """Return the users and the items of the positive rows in which both are known.

    Args:
        owner: start of the error message.
        schema: the schema, whose `positive` decides.
        columns: encoded training columns with the ids, with or without a label.

    Raises:
        ValueError: as in `positive_ids`, or if no row is a positive of a known user and item.
    """
    users, items = positive_ids(owner, schema, columns, (schema.user_id, schema.item_id))
    known = (users >= FIRST_ID) & (items >= FIRST_ID)
    if not known.any():
        raise ValueError(
            f"{owner}: expected positive rows of known users and items; received none. Pass "
            "encoded training rows."
        )
    return users[known], items[known]


def ones_of(schema: Schema, users: np.ndarray, items: np.ndarray) -> scipy.sparse.csr_matrix:
    """Return the float32 matrix `(user ids, item ids)` with a one at each pair, however frequent.

    Args:
        schema: the sizes.
        users: encoded ids of the pairs.
        items: encoded ids of the pairs.
    """
    shape = (schema.user_id.num_ids, schema.item_id.num_ids)
    matrix = scipy.sparse.csr_matrix((np.ones(len(users), np.float32), (users, items)), shape)
    matrix.data[:] = 1
    return matrix
