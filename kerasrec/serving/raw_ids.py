"""Raw ids of a served model: names of inputs and vocabularies, encoding."""

import keyword
import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from kerasrec.data.encoding.buckets import HashBuckets
from kerasrec.data.encoding.vocabulary_file import Encoder
from kerasrec.schema import PADDING_ID, UNKNOWN_ID, Schema
from kerasrec.types import RAW_PADDING


def vocabulary_names(schema: Schema, filter_by: str | None = None) -> list[str]:
    """Return the names of the vocabularies of an export: of features with ids, and of the filter.

    Args:
        schema: the features of the model.
        filter_by: column of the items that recommendations are filtered by.

    Raises:
        ValueError: if the filter is no column of ids of the items.
    """
    own = [f.name for f in schema.features if f.has_ids and not f.is_history]
    if filter_by is None or filter_space(schema, filter_by) in own:
        return own
    return [*own, filter_by]


def filter_space(schema: Schema, filter_by: str) -> str:
    """Return the name of the vocabulary of the filter column.

    Args:
        schema: the features of the model.
        filter_by: an item feature of ids, or a column of the items that the model does not use.

    Raises:
        ValueError: if it is any other feature of the schema.
    """
    feature = next((f for f in schema.features if f.name == filter_by), None)
    if feature is None:
        return filter_by
    if not feature.has_ids or feature not in schema.item:
        raise ValueError(
            "export: filter_by must name a column of ids of the items; received "
            f"{filter_by!r}, which is {feature}. Pass the categories of the items in items=."
        )
    return schema.id_space(filter_by)


def check_names(schema: Schema, filter_by: str | None = None, keys: Iterable[str] = ()) -> None:
    """Check that the feature names can be inputs of a served signature.

    Args:
        schema: the features of the model.
        filter_by: column that recommendations are filtered by, which adds an input `allow`.
            Without items there are no recommendations, and no inputs of their own.
        keys: keys of joined tables, which are inputs too.

    Raises:
        ValueError: naming the invalid names, and the fix.
    """
    names = [*dict.fromkeys([*(feature.name for feature in schema.features), *keys])]
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
        if schema.item and taken in names:
            raise ValueError(
                f"export: the signature `recommend` has an input {taken!r} of its own; received a "
                "feature of that name. Rename the column before training."
            )


def encode_raw(values: np.ndarray, vocabulary: Encoder, *, padded: bool) -> np.ndarray:
    """Encode raw ids of any shape to the model's int32 ids, as in the served graph.

    Args:
        values: raw ids, which may include padding.
        vocabulary: their vocabulary, or their buckets or hashes.
        padded: whether padding becomes 0 (bags and sequences) or unknown (a single id).

    Returns:
        int32 array of the same shape; of hashed values with another axis for the hash functions.

    Example:

    >>> from kerasrec.data import Vocabulary
    >>> vocabulary = Vocabulary.fit(["a", "b"])
    >>> encode_raw(np.array([["b", ""], ["?", "a"]]), vocabulary, padded=True).tolist()
    [[3, 0], [1, 2]]
    """
    if isinstance(vocabulary, HashBuckets):
        return vocabulary.encode(values)
    is_padding = values == RAW_PADDING[vocabulary.dtype]
    encoded = np.full(values.shape, PADDING_ID if padded else UNKNOWN_ID, np.int32)
    encoded[~is_padding] = vocabulary.encode(values[~is_padding])
    return encoded


def as_raw(values: Any, dtype: str) -> np.ndarray:
    """Convert a list or array to the array of a served input with the given type.

    Args:
        values: nested lists of equal length, or an array.
        dtype: "string", "int64" or "float32".
    """
    return np.asarray(values, dtype=object if dtype == "string" else dtype)
