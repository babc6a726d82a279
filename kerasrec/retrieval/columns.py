"""Checks of vocabularies and of encoded columns against a schema."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kerasrec.data.encoding.vocabulary import Vocabulary
from kerasrec.schema import FIRST_ID, PADDING_ID, Feature, Schema
from kerasrec.types import Columns


def check_vocabularies(
    owner: str, schema: Schema, vocabularies: Mapping[str, Vocabulary], names: Sequence[str]
) -> dict[str, Vocabulary]:
    """Return the named vocabularies, which must be those that a model was built with.

    Args:
        owner: start of the error message, such as the name of the caller.
        schema: the features of the model.
        vocabularies: vocabulary by feature name; others are ignored.
        names: features of the schema with ids of their own, or other columns.

    Raises:
        ValueError: if a vocabulary is missing, or is not the one used to build the model.
    """
    if not isinstance(vocabularies, Mapping):
        raise ValueError(
            f"{owner}: vocabularies must be a dict of feature name to Vocabulary; received "
            f"{type(vocabularies).__name__}."
        )
    missing = [name for name in names if name not in vocabularies]
    if missing:
        raise ValueError(
            f"{owner}: the model needs the vocabularies {list(names)}; received "
            f"{sorted(vocabularies)}, missing {missing}. Pass the vocabularies that encoded the "
            "training data."
        )
    own = [feature.name for feature in schema.features if feature.name in names]
    for name in names:
        vocabulary = vocabularies[name]
        if not isinstance(vocabulary, Vocabulary):
            raise ValueError(
                f"{owner}: vocabularies[{name!r}] must be a kerasrec.data.Vocabulary; received "
                f"{type(vocabulary).__name__}."
            )
        if name in own and vocabulary.num_ids != schema.num_ids(name):
            raise ValueError(
                f"{owner}: wrong vocabulary for {name!r}: the model has {schema.num_ids(name)} "
                f"ids, the vocabulary {vocabulary.num_ids} (padding and unknown included). Pass "
                "the vocabularies that encoded the training data of this model."
            )
    schema.check_fingerprints(
        {name: vocabularies[name].fingerprint for name in own}, owner=f"{owner}: received"
    )
    return {name: vocabularies[name] for name in names}


def candidate_columns(
    owner: str,
    schema: Schema,
    candidates: Columns | None,
    filter_by: str | None = None,
    num_categories: int = 0,
) -> dict[str, np.ndarray]:
    """Return the encoded features of all items that may be recommended, sorted by item id.

    Args:
        owner: start of the error message, such as the name of the caller.
        schema: the features of the model.
        candidates: encoded columns of the item features, one row per item; None for every item of
            the vocabulary, if the id is the only item feature of the schema.
        filter_by: a column of ids to keep as well, `(items,)` or padded with 0 to `(items, n)`.
        num_categories: number of ids of this column, padding and unknown included.

    Raises:
        ValueError: if a column is missing, has the wrong shape, type or length, or ids are outside
            the vocabulary or repeated.
    """
    item = schema.item_id
    extra = filter_by if filter_by not in {f.name for f in schema.item} else None
    if candidates is None:
        if extra is not None:
            raise ValueError(
                f"{owner}: filter_by={filter_by!r} needs the categories of the items: pass "
                f"candidates=, a dict of the encoded columns {[item.name, filter_by]} with one row "
                "per item."
            )
        if len(schema.item) > 1:
            raise ValueError(
                f"{owner}: the items have the features {[f.name for f in schema.item]}, so the "
                "catalogue must be given: pass candidates=, a dict of these encoded columns with "
                "one row per item."
            )
        return {item.name: np.arange(FIRST_ID, item.num_ids, dtype=np.int32)}
    columns: dict[str, np.ndarray] = {}
    for feature in schema.item:
        if feature.name not in candidates:
            raise ValueError(
                f"{owner}: candidates has no column {feature.name!r}; received "
                f"{sorted(candidates)}, the items have {[f.name for f in schema.item]}."
            )
        what = f"{owner}: candidates[{feature.name!r}]"
        lowest = FIRST_ID if feature.name == item.name else PADDING_ID
        columns[feature.name] = check_column(
            what, schema, feature, candidates[feature.name], rows="items", lowest=lowest
        )
    if extra is not None:
        columns[extra] = _categories(owner, extra, candidates, num_categories)
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(
            f"{owner}: all candidates columns must have the same length; received {lengths}."
        )
    ids = columns[item.name]
    order = np.argsort(ids, kind="stable")
    if (np.diff(ids[order]) == 0).any():
        raise ValueError(
            f"{owner}: candidates[{item.name!r}] must hold every item once; received "
            f"{len(ids) - len(np.unique(ids))} repeated."
        )
    return {name: column[order] for name, column in columns.items()}


def check_column(
    what: str, schema: Schema, feature: Feature, values: Any, *, rows: str, lowest: int = PADDING_ID
) -> np.ndarray:
    """Return an encoded column of a feature, checked, in the type of the model's input.

    Args:
        what: start of the error message: the column.
        schema: the features of the model.
        feature: the feature.
        values: its encoded values, `(rows,) + shape`. Histories of queries may have any width.
        rows: name of the first axis in the error message.
        lowest: smallest id.

    Raises:
        ValueError: if the shape or the type is wrong, a number is not finite, or an id is outside
            the vocabulary.
    """
    column: np.ndarray = np.asarray(values)
    history = feature.is_history and feature in schema.query
    width = column.shape[1:2] if history and column.ndim > 1 else feature.shape[:1]
    shape = width + feature.shape[1:]
    kinds = "iu" if feature.has_ids else "iuf"
    if column.ndim == 0 or column.shape[1:] != shape or column.dtype.kind not in kinds:
        raise ValueError(
            f"{what} must have the shape ({rows}, {', '.join(map(str, feature.shape))}) and the "
            f"type {feature.dtype}; received {column.shape} of {column.dtype}. Encode raw ids "
            "first."
        )
    if feature.has_ids:
        _check_range(what, column, lowest, schema.num_ids(feature.name))
    elif not history and not np.isfinite(column).all():  # NaN pads a history
        raise ValueError(f"{what} holds NaN or infinity. Fill them in.")
    return column.astype(feature.dtype)


def _categories(owner: str, name: str, candidates: Columns, num_ids: int) -> np.ndarray:
    if name not in candidates:
        raise ValueError(
            f"{owner}: candidates has no column {name!r} to filter by; received "
            f"{sorted(candidates)}."
        )
    column: np.ndarray = np.asarray(candidates[name])
    if column.ndim not in (1, 2) or column.dtype.kind not in "iu":
        raise ValueError(
            f"{owner}: candidates[{name!r}] must hold encoded ids, (items,) or padded with 0 to "
            f"(items, n); received {column.shape} of {column.dtype}. Encode raw ids first."
        )
    _check_range(f"{owner}: candidates[{name!r}]", column, PADDING_ID, num_ids)
    return column.astype(np.int32)


def _check_range(what: str, column: np.ndarray, lowest: int, num_ids: int) -> None:
    if column.size and not lowest <= column.min() <= column.max() < num_ids:
        raise ValueError(
            f"{what} must hold ids from {lowest} to {num_ids - 1}; received {column.min()} to "
            f"{column.max()}."
        )


def nothing_known(values: np.ndarray) -> np.ndarray:
    """Return the mask of unknown queries: without ids, or with NaN only in a numeric history.

    Args:
        values: encoded values of the feature that identifies queries, `(batch, ...)`.

    Returns:
        bool `(batch,)`.

    Example:

    >>> nothing_known(np.array([[2, 0], [1, 0]])).tolist()
    [False, True]
    """
    unknown = np.isnan(values) if values.dtype.kind == "f" else values < FIRST_ID
    return np.all(unknown.reshape(len(unknown), -1), axis=1)
