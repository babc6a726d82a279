"""Checks of vocabularies and of encoded columns against a schema."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from kerasrec.data.encoding.vocabulary import Vocabulary
from kerasrec.data.encoding.vocabulary_file import Encoder
from kerasrec.schema import FIRST_ID, PADDING_ID, Categorical, Feature, Schema
from kerasrec.types import Columns, known_by, reads_profiles


def check_vocabularies(
    owner: str, schema: Schema, vocabularies: Mapping[str, Encoder], names: Sequence[str]
) -> dict[str, Any]:
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
    ids = {getattr(schema, f"{side}_id").name for side in ("user", "item") if getattr(schema, side)}
    for name in names:
        vocabulary = vocabularies[name]
        kinds = Vocabulary if name in ids else Encoder
        if not isinstance(vocabulary, kinds):
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


def side_columns(
    owner: str, schema: Schema, role: Literal["user", "item"], table: Columns | None
) -> dict[str, np.ndarray]:
    """Return the features of users or items by encoded id, checked, without the id itself.

    Args:
        owner: start of the error message, such as the name of the caller.
        schema: the features of the model.
        role: whose features these are.
        table: encoded columns with one row for each encoded id, such as `PreparedData.items`; None
            for none. Other columns are ignored, and so are histories, and the whole table if the
            schema has no such side.

    Raises:
        ValueError: if a column has another number of rows, the wrong shape or type, or holds ids
            outside the vocabulary.
    """
    if table is None or not getattr(schema, role):
        return {}
    own = schema.item_id if role == "item" else schema.user_id
    name = f"{role}s"
    if not isinstance(table, Mapping):
        raise ValueError(
            f"{owner}: {name} must be a dict of encoded columns, such as PreparedData.{name}; "
            f"received {type(table).__name__}."
        )
    features = [f for f in getattr(schema, role) if f.name in table and not f.is_history]
    if own in features and not np.array_equal(table[own.name], np.arange(own.num_ids)):
        raise ValueError(
            f"{owner}: {name} must have one row for each encoded id from 0 to {own.num_ids - 1}, "
            f"in this order (0 is padding, 1 is unknown); received {np.shape(table[own.name])} "
            f"other ids in {own.name!r}. Pass PreparedData.{name}, or such a table of your own."
        )
    columns = {}
    for feature in features:
        if feature == own:
            continue
        what = f"{owner}: {name}[{feature.name!r}]"
        _check_length(what, table[feature.name], own.num_ids)
        columns[feature.name] = check_column(
            what, schema, feature, table[feature.name], rows=str(own.num_ids)
        )
    return columns


def candidate_columns(
    owner: str,
    schema: Schema,
    items: Columns | None,
    candidates: Any = None,
    filter_by: str | None = None,
    num_categories: int = 0,
) -> dict[str, np.ndarray]:
    """Return the encoded features of all items that may be recommended, sorted by item id.

    Args:
        owner: start of the error message, such as the name of the caller.
        schema: the features of the model.
        items: encoded item features with one row for each encoded id, see `side_columns`; None if
            the id is the only item feature of the schema.
        candidates: encoded ids of the items that may be recommended; None for all.
        filter_by: a column of ids to keep as well, `(ids,)` or padded with 0 to `(ids, n)`.
        num_categories: number of ids of this column, padding and unknown included.

    Raises:
        ValueError: if a column is missing, or as in `side_columns`, or a candidate is repeated or
            outside the vocabulary.
    """
    columns = side_columns(owner, schema, "item", items)
    item, wanted = schema.item_id, [f.name for f in schema.item]
    extra = filter_by if filter_by not in wanted else None
    missing = [name for name in wanted if name not in (item.name, *columns)]
    if missing or (extra is not None and extra not in (items or {})):
        raise ValueError(
            f"{owner}: items must hold the columns {missing or [extra]} of every item, encoded, "
            f"with one row for each id; received {sorted(items or {}) or None}. Pass items="
            "PreparedData.items, or such a table of your own."
        )
    if extra is not None and items is not None:
        columns[extra] = _categories(owner, extra, items[extra], item.num_ids, num_categories)
    ids = _candidates(owner, item, candidates)
    return {item.name: ids, **{name: column[ids] for name, column in columns.items()}}


def _candidates(owner: str, item: Categorical, candidates: Any) -> np.ndarray:
    """Return the encoded ids of the items that may be recommended, ascending."""
    if candidates is None:
        return np.arange(FIRST_ID, item.num_ids, dtype=np.int32)
    ids: np.ndarray = np.asarray([] if isinstance(candidates, Mapping) else candidates)
    if ids.ndim != 1 or not len(ids) or ids.dtype.kind not in "iu":
        raise ValueError(
            f"{owner}: candidates must be the encoded ids (items,) of the items that may be "
            f"recommended; received {candidates!r:.80}. Features of items go into items=."
        )
    _check_range(f"{owner}: candidates", ids, FIRST_ID, item.num_ids)
    distinct = np.unique(ids)
    if len(distinct) < len(ids):
        raise ValueError(
            f"{owner}: candidates must hold every item once; received {len(ids) - len(distinct)} "
            "repeated."
        )
    return distinct.astype(np.int32)


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
        ValueError: if the shape or the type is wrong, a number is infinite, or an id is outside
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
    elif np.isinf(column).any():
        raise ValueError(f"{what} holds an infinite number. NaN stands for a missing one.")
    return column.astype(feature.dtype)


def _categories(
    owner: str, name: str, values: Any, num_items: int, num_categories: int
) -> np.ndarray:
    what = f"{owner}: items[{name!r}]"
    column: np.ndarray = np.asarray(values)
    if column.ndim not in (1, 2) or column.dtype.kind not in "iu":
        raise ValueError(
            f"{what} must hold encoded ids, (ids,) or padded with 0 to (ids, n); received "
            f"{column.shape} of {column.dtype}. Encode raw ids first."
        )
    _check_length(what, column, num_items)
    _check_range(what, column, PADDING_ID, num_categories)
    return column.astype(np.int32)


def _check_length(what: str, values: Any, num_ids: int) -> None:
    if len(values) != num_ids:
        raise ValueError(
            f"{what} must have one row for each of the {num_ids} encoded ids, padding and unknown "
            f"included; received {len(values)}."
        )


def _check_range(what: str, column: np.ndarray, lowest: int, num_ids: int) -> None:
    if column.size and not lowest <= column.min() <= column.max() < num_ids:
        raise ValueError(
            f"{what} must hold ids from {lowest} to {num_ids - 1}; received {column.min()} to "
            f"{column.max()}."
        )


def unknown_queries(model: Any, query: Columns) -> np.ndarray:
    """Return the mask of queries of which a ranker knows nothing, and which get popular items.

    Args:
        model: the ranker.
        query: encoded features `(batch, ...)`.

    Returns:
        bool `(batch,)`.
    """
    unknown = nothing_known(query, known_by(model))
    if reads_profiles(model):  # a known user may have no positive
        unknown |= ~(np.asarray(model.items_of(query)) != 0).any(axis=1)
    return unknown


def nothing_known(query: Columns, names: Iterable[str]) -> np.ndarray:
    """Return the mask of unknown queries: without known ids, and with NaN for all numbers.

    Args:
        query: encoded features `(batch, ...)`.
        names: the features that tell who asks, see `known_by`. Without any, nothing is unknown.

    Returns:
        bool `(batch,)`.

    Example:

    >>> query = {"user": np.array([1, 1]), "age": np.float32([np.nan, 30])}
    >>> nothing_known(query, ["user"]).tolist(), nothing_known(query, ["user", "age"]).tolist()
    ([True, True], [True, False])
    """
    masks = []
    for name in names:
        values = query[name]
        unknown = np.isnan(values) if values.dtype.kind == "f" else values < FIRST_ID
        masks.append(np.all(unknown.reshape(len(unknown), -1), axis=1))
    if not masks:
        return np.zeros(len(next(iter(query.values()))), bool)
    return np.all(masks, axis=0)
