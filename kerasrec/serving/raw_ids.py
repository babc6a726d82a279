"""Raw ids: padding, encoding, and checks of vocabularies against a schema."""

import keyword
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from kerasrec.data.encoding.vocabulary import Vocabulary
from kerasrec.schema import (
    FIRST_ID,
    PADDING_ID,
    UNKNOWN_ID,
    IdSequence,
    Numeric,
    NumericSequence,
    Schema,
)
from kerasrec.types import Columns

PADDING: dict[str, str | int | float] = {"string": "", "int64": -1, "float32": float("nan")}
"""Padding value of a matrix of raw ids or event numbers, by type."""


def check_vocabularies(
    schema: Schema, vocabularies: Mapping[str, Vocabulary], filter_by: str | None = None
) -> dict[str, Vocabulary]:
    """Return the vocabulary of the filter and of every feature with its own ids.

    Args:
        schema: the features of the model.
        vocabularies: vocabulary by feature name; others are ignored.
        filter_by: column of the candidates that recommendations are filtered by.

    Raises:
        ValueError: if a vocabulary is missing, or is not the one used to build the model.
    """
    if not isinstance(vocabularies, Mapping):
        raise ValueError(
            "export: vocabularies must be a dict of feature name to Vocabulary; received "
            f"{type(vocabularies).__name__}."
        )
    own = [f.name for f in schema.features if hasattr(f, "num_ids")]
    names = list(own)
    if filter_by is not None and filter_space(schema, filter_by) not in own:
        names.append(filter_by)
    missing = [name for name in names if name not in vocabularies]
    if missing:
        raise ValueError(
            f"export: the model needs the vocabularies {names}; received {sorted(vocabularies)}, "
            f"missing {missing}. Pass the vocabularies that encoded the training data."
        )
    for name in names:
        vocabulary = vocabularies[name]
        if not isinstance(vocabulary, Vocabulary):
            raise ValueError(
                f"export: vocabularies[{name!r}] must be a kerasrec.data.Vocabulary; received "
                f"{type(vocabulary).__name__}."
            )
        if name in own and vocabulary.num_ids != schema.num_ids(name):
            raise ValueError(
                f"export: wrong vocabulary for {name!r}: the model has {schema.num_ids(name)} ids, "
                f"the vocabulary {vocabulary.num_ids} (padding and unknown included). Pass the "
                "vocabularies that encoded the training data of this model."
            )
    schema.check_fingerprints(
        {name: vocabularies[name].fingerprint for name in own}, owner="export: received"
    )
    return {name: vocabularies[name] for name in names}


def filter_space(schema: Schema, filter_by: str) -> str:
    """Return the name of the vocabulary of the filter column.

    Args:
        schema: the features of the model.
        filter_by: an item feature of ids, or a column of the candidates that the model does not
            use.

    Raises:
        ValueError: if it is any other feature of the schema.
    """
    feature = next((f for f in schema.features if f.name == filter_by), None)
    if feature is None:
        return filter_by
    if isinstance(feature, Numeric) or feature not in schema.item:
        raise ValueError(
            "export: filter_by must name a column of ids of the items; received "
            f"{filter_by!r}, which is {feature}. Pass the categories of the items in candidates."
        )
    return schema.id_space(filter_by)


def check_names(schema: Schema, filter_by: str | None = None) -> None:
    """Check that the feature names can be inputs of a served signature.

    Args:
        schema: the features of the model.
        filter_by: column that recommendations are filtered by, which adds an input `allow`.

    Raises:
        ValueError: naming the invalid names, and the fix.
    """
    names = [feature.name for feature in schema.features]
    refused = [
        name
        for name in names
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name)
        or keyword.iskeyword(name)
        or name == "self"
    ]
    if refused:
        raise ValueError(
            "export: inputs of a served model are named by ASCII letters, digits and underscores, "
            f"a letter first, and by no Python keyword; received {refused}. Rename these columns "
            "before training."
        )
    for taken in ("exclude",) if filter_by is None else ("exclude", "allow"):
        if taken in names:
            raise ValueError(
                f"export: the signature `recommend` has an input {taken!r} of its own; received a "
                "feature of that name. Rename the column before training."
            )


def known_by(model: Any) -> str:
    """Return the feature that identifies a query: the model's history, or the user id.

    A sequential model serves users it has never seen. Its history is named by its attribute
    `sequence` or, with numbers only, by the first of `numbers`.

    Args:
        model: the served model; for a pipeline, the retriever decides.
    """
    if hasattr(model, "retriever"):
        return known_by(model.retriever)
    histories = [getattr(model, "sequence", None), *getattr(model, "numbers", ())]
    for feature in histories:
        if isinstance(feature, IdSequence | NumericSequence):
            return feature.name
    return str(model.schema.user_id.name)


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


def encode_raw(values: np.ndarray, vocabulary: Vocabulary, *, padded: bool) -> np.ndarray:
    """Encode raw ids of any shape to the model's int32 ids, as in the served graph.

    Args:
        values: raw ids, which may include padding.
        vocabulary: their vocabulary.
        padded: whether padding becomes 0 (bags and sequences) or unknown (a single id).

    Returns:
        int32 array of the same shape.

    Example:

    >>> vocabulary = Vocabulary.fit(["a", "b"])
    >>> encode_raw(np.array([["b", ""], ["?", "a"]]), vocabulary, padded=True).tolist()
    [[3, 0], [1, 2]]
    """
    is_padding = values == PADDING[vocabulary.dtype]
    encoded = np.full(values.shape, PADDING_ID if padded else UNKNOWN_ID, np.int32)
    encoded[~is_padding] = vocabulary.encode(values[~is_padding])
    return encoded


def candidate_columns(
    schema: Schema,
    vocabularies: Mapping[str, Vocabulary],
    candidates: Columns | None,
    filter_by: str | None = None,
) -> dict[str, np.ndarray]:
    """Return the encoded features of all items that may be recommended, sorted by item id.

    Args:
        schema: the features of the model.
        vocabularies: as checked by `check_vocabularies`.
        candidates: encoded columns of the item features, one row per item; None for every item of
            the vocabulary, if the id is the only item feature of the schema.
        filter_by: a column of ids to keep as well, `(items,)` or padded with 0 to `(items, n)`.

    Raises:
        ValueError: if a column is missing, has the wrong shape, type or length, or ids are outside
            the vocabulary or repeated.
    """
    item = schema.item_id
    extra = filter_by if filter_by not in {f.name for f in schema.item} else None
    if candidates is None:
        if extra is not None:
            raise ValueError(
                f"export: filter_by={filter_by!r} needs the categories of the items: pass "
                f"candidates=, a dict of the encoded columns {[item.name, filter_by]} with one row "
                "per item."
            )
        if len(schema.item) > 1:
            raise ValueError(
                f"export: the items have the features {[f.name for f in schema.item]}, so the "
                "catalogue must be given: pass candidates=, a dict of these encoded columns with "
                "one row per item."
            )
        return {item.name: np.arange(FIRST_ID, item.num_ids, dtype=np.int32)}
    columns: dict[str, np.ndarray] = {}
    for feature in schema.item:
        if feature.name not in candidates:
            raise ValueError(
                f"export: candidates has no column {feature.name!r}; received "
                f"{sorted(candidates)}, the items have {[f.name for f in schema.item]}."
            )
        column: np.ndarray = np.asarray(candidates[feature.name])
        kinds = "iuf" if isinstance(feature, Numeric) else "iu"
        if column.ndim == 0 or column.shape[1:] != feature.shape or column.dtype.kind not in kinds:
            raise ValueError(
                f"export: candidates[{feature.name!r}] must have the shape (items, "
                f"{', '.join(map(str, feature.shape))}) and the type {feature.dtype}; received "
                f"{column.shape} of {column.dtype}. Encode raw ids first."
            )
        if isinstance(feature, Numeric):
            if not np.isfinite(column).all():
                raise ValueError(
                    f"export: candidates[{feature.name!r}] holds NaN or infinity. Fill them in."
                )
        else:
            lowest = FIRST_ID if feature.name == item.name else PADDING_ID
            _check_range(feature.name, column, lowest, schema.num_ids(feature.name))
        columns[feature.name] = column.astype(feature.dtype)
    if extra is not None:
        columns[extra] = _categories(extra, candidates, vocabularies[extra].num_ids)
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(
            f"export: all candidates columns must have the same length; received {lengths}."
        )
    ids = columns[item.name]
    order = np.argsort(ids, kind="stable")
    if (np.diff(ids[order]) == 0).any():
        raise ValueError(
            f"export: candidates[{item.name!r}] must hold every item once; received "
            f"{len(ids) - len(np.unique(ids))} repeated."
        )
    return {name: column[order] for name, column in columns.items()}


def _categories(name: str, candidates: Columns, num_ids: int) -> np.ndarray:
    if name not in candidates:
        raise ValueError(
            f"export: candidates has no column {name!r} to filter by; received "
            f"{sorted(candidates)}."
        )
    column: np.ndarray = np.asarray(candidates[name])
    if column.ndim not in (1, 2) or column.dtype.kind not in "iu":
        raise ValueError(
            f"export: candidates[{name!r}] must hold encoded ids, (items,) or padded with 0 to "
            f"(items, n); received {column.shape} of {column.dtype}. Encode raw ids first."
        )
    _check_range(name, column, PADDING_ID, num_ids)
    return column.astype(np.int32)


def _check_range(name: str, column: np.ndarray, lowest: int, num_ids: int) -> None:
    if column.size and not lowest <= column.min() <= column.max() < num_ids:
        raise ValueError(
            f"export: candidates[{name!r}] must hold ids from {lowest} to {num_ids - 1}; "
            f"received {column.min()} to {column.max()}."
        )


def as_raw(values: Any, dtype: str) -> np.ndarray:
    """Convert a list or array to the array of a served input with the given type.

    Args:
        values: nested lists of equal length, or an array.
        dtype: "string", "int64" or "float32".
    """
    return np.asarray(values, dtype=object if dtype == "string" else dtype)
