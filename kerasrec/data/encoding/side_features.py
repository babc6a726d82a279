"""Features of users and items: fitted on their side tables, encoded to one row per id."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kerasrec._checks import check_choice
from kerasrec.data.encoding.buckets import HASHED, Buckets, HashBuckets, sizes_of
from kerasrec.data.encoding.scalers import (
    Scaling,
    as_wide_as_bags,
    check_weights,
    fit_weights,
    fitted_scale,
    is_heavy_tailed,
)
from kerasrec.data.encoding.vocabulary import Vocabulary
from kerasrec.data.encoding.vocabulary_file import Encoder
from kerasrec.data.tables.interactions import Interactions
from kerasrec.data.tables.side_tables import (
    ColumnKind,
    FeatureKind,
    as_kind,
    kind_of_column,
    note,
)
from kerasrec.schema import (
    FIRST_ID,
    PADDING_ID,
    Bag,
    BagWeights,
    Categorical,
    Date,
    Feature,
    Hashed,
    Numeric,
    Schema,
)

OWNER = "prepare"
WEIGHTS = "weights"  # "weights:genres": of the ids of the bag "genres"
KINDS = ("categorical", "bag", "numeric", "log", "vector", "buckets", HASHED, WEIGHTS)
MAX_BAG = 50  # ids of a bag beyond these are left out
SIDES = ("user", "item")


@dataclasses.dataclass(frozen=True)
class SideFeatures:
    """Features found in the side tables.

    Args:
        features: the features by role, `"user"` and `"item"`.
        vocabularies: vocabularies and buckets of those with ids, by feature.
        notes: a line for each column: what it is taken for, or why it is left out.
    """

    features: dict[str, tuple[Feature, ...]]
    vocabularies: dict[str, Encoder]
    notes: tuple[str, ...]


def fit_side_features(
    train: Interactions,
    vocabularies: Mapping[str, Encoder],
    chosen: Collection[str] | Mapping[str, str] | None = None,
) -> SideFeatures:
    """Find the features in the side tables of the training rows, and fit their encoders.

    Only rows of users and items that the training rows hold are used, each once.

    Args:
        train: training rows with side tables.
        vocabularies: the vocabularies of the ids, and of features that were fitted before.
        chosen: names of the features to use, None for all; or kind by name, to choose that too.

    Raises:
        ValueError: if a chosen feature does not exist or cannot be used, or a column is the label.
    """
    if isinstance(chosen, str):
        raise ValueError(f"{OWNER}: features takes several names; received {chosen!r}.")
    names = _feature_names(train)
    kinds: dict[str, str | None] = dict.fromkeys(names if chosen is None else chosen)
    if isinstance(chosen, Mapping):
        kinds |= chosen
    if unknown := [name for name in kinds if name not in names]:
        raise ValueError(
            f"{OWNER}: there are no features {unknown} in the tables of users and items; expected "
            f"some of {list(names)}. Pass the tables as users= and items= of data.read."
        )
    features: dict[str, list[Feature]] = {side: [] for side in SIDES}
    encoders: dict[str, Encoder] = {}
    notes = []
    for name in names:
        side, column_name = names[name]
        if name not in kinds:
            continue
        column, known = _known_rows(train, side, column_name, vocabularies)
        kind = kind_of_encoder(vocabularies.get(name)) or kinds[name]
        found = chosen_kind(name, column, kind)
        if found.kind is None:
            if chosen is not None:
                raise ValueError(
                    f"{OWNER}: the column {column_name!r} of the {side}s carries no information "
                    f"for a model: {found.because}. Leave it out of features=."
                )
            notes.append(note(side, name, found))
            continue
        _refuse_label(train, side, name, found, known, vocabularies)
        feature, encoder = fit_column(name, found, kind, vocabularies.get(name))
        features[side].append(feature)
        if encoder is not None:
            encoders[name] = encoder
        notes.append(note(side, name, found, word_of(feature, encoder, found)))
    found_features = {side: tuple(as_wide_as_bags(made)) for side, made in features.items()}
    return SideFeatures(found_features, encoders, tuple(notes))


def encode_side(
    rows: Interactions,
    side: str,
    schema: Schema,
    vocabularies: Mapping[str, Encoder],
) -> dict[str, np.ndarray]:
    """Encode the side table to columns with one row per encoded id.

    Ids 0 and 1 (padding and unknown), and ids without a row in the table, get unknown values: NaN,
    the unknown id, an empty bag.

    Args:
        rows: interactions with the table.
        side: `"user"` or `"item"`.
        schema: schema with the features of that side.
        vocabularies: vocabularies and buckets of ids and features.

    Returns:
        Columns `(num_ids, ...)` by feature name, with the ids themselves under the name of the id.

    Raises:
        ValueError: if a feature of the schema has no column, or its column has other values.
    """
    own = schema.user_id if side == "user" else schema.item_id
    columns = {own.name: np.arange(own.num_ids, dtype=np.int32)}
    names = _feature_names(rows)
    table = getattr(rows, f"{side}s")
    for feature in getattr(schema, side):
        if feature == own or feature.is_history or feature.name in rows.context:
            continue
        if feature.name not in names or table is None:
            raise ValueError(
                f"{OWNER}: the schema has the {side} feature {feature.name!r}, which the table of "
                f"the {side}s lacks; received {list(names)}. Pass the table that the schema was "
                "made with."
            )
        column = table[names[feature.name][1]]
        ids = vocabularies[own.name].encode(table[own.name])
        known = ids >= FIRST_ID
        columns[feature.name] = _encoded(
            feature, column.filter(pa.array(known)), ids[known], own.num_ids, vocabularies
        )
    check_weights(schema, columns, f"{OWNER}: the table of the {side}s")
    return columns


def _feature_names(rows: Interactions) -> dict[str, tuple[str, str]]:
    """Return side and column of each possible feature, by name.

    A name that the other table or the interactions have too gets the side in front.
    """
    tables = {"user": rows.users, "item": rows.items}
    columns = [
        (side, name)
        for side, table in tables.items()
        if table is not None
        for name in table.column_names
        if name != (rows.user if side == "user" else rows.item)
    ]
    taken = [*rows.columns, "label", *(name for _, name in columns)]
    return {(f"{s}_{n}" if taken.count(n) > 1 else n): (s, n) for s, n in columns}


def _known_rows(
    rows: Interactions, side: str, name: str, vocabularies: Mapping[str, Encoder]
) -> tuple[pa.ChunkedArray, np.ndarray]:
    """Return the values of known users or items, and their encoded ids."""
    own = rows.user if side == "user" else rows.item
    table: Any = getattr(rows, f"{side}s")
    ids = vocabularies[own].encode(table[own])
    known = ids >= FIRST_ID
    return table[name].filter(pa.array(known)), ids[known]


def kind_of_encoder(fitted: Encoder | None) -> str | None:
    """Return the kind of features that an encoder of no vocabulary is for, None for others."""
    if isinstance(fitted, HashBuckets):
        return HASHED
    return "buckets" if isinstance(fitted, Buckets) else None


def plain_kind(kind: str) -> str:
    """Return a kind without what it says of itself: "hashed" of "hashed:4096".

    >>> plain_kind("weights:genres"), plain_kind("bag:genres")
    ('weights', 'bag:genres')
    """
    plain = kind.partition(":")[0]
    return plain if plain in (HASHED, WEIGHTS) else kind


def chosen_kind(name: str, column: pa.ChunkedArray, kind: str | None) -> ColumnKind:
    """Return what a column holds, in the form of the kind that was asked for, None for any."""
    if kind is None:
        return kind_of_column(name, column)
    plain = plain_kind(kind)
    check_choice(OWNER, f"features[{name!r}]", plain, KINDS)
    others = {"buckets": "numeric", "log": "numeric", HASHED: "categorical"}
    asked: Any = others.get(plain, plain)
    return as_kind(name, column, asked)


def fit_column(
    name: str,
    found: ColumnKind,
    kind: str | None,
    fitted: Encoder | None,
    *,
    min_count: int = 1,
    own_gaps: bool = False,
    scaling: Scaling = "standard",
) -> tuple[Feature, Encoder | None]:
    """Return the feature of a column, and its vocabulary or buckets.

    Args:
        name: name of the feature.
        found: what the column holds.
        kind: the kind that was asked for; None to scale numbers with a heavy tail on a logarithm.
        fitted: vocabulary or buckets that were fitted before.
        min_count: categories with fewer rows become unknown.
        own_gaps: whether missing values are told from others, if enough rows have them.
        scaling: scale of numbers, see `fitted_scale`.
    """
    values = found.values
    missing = own_gaps and values.null_count >= min_count
    if kind is not None and plain_kind(kind) == WEIGHTS:
        return fit_weights(name, found.values, kind, MAX_BAG), None
    if kind is not None and plain_kind(kind) == HASHED:
        sizes = sizes_of(f"{OWNER}: features[{name!r}]", kind)
        hashes: Any = fitted or HashBuckets.fit(values, **sizes, name=name)
        return Hashed(
            name, hashes.num_ids, hashes.num_hashes, fingerprint=hashes.fingerprint
        ), hashes
    if kind != "buckets" and found.kind in ("numeric", "vector"):
        vector = found.kind == "vector"
        known = (values.flatten() if vector else values).drop_null()
        numbers = known.to_numpy(zero_copy_only=False)
        log = kind == "log" or (kind is None and not vector and is_heavy_tailed(numbers))
        mean, deviation = fitted_scale(numbers, log, scaling)
        size = pc.max(pc.list_value_length(values)).as_py() if vector else 1
        scale: Any = {"mean": mean, "deviation": deviation, "log": log}
        return Numeric(name, size, **scale, missing=missing), None
    bag = found.kind == "bag"
    encoder: Any = fitted
    if encoder is None and kind == "buckets":
        encoder = Buckets.fit(values.to_numpy(zero_copy_only=False), name=name)
    elif encoder is None:
        encoder = Vocabulary.fit((values.flatten() if bag else values).drop_null(), name)
        encoder = encoder.frequent(min_count)
    fingerprint = {"fingerprint": encoder.fingerprint}
    if not bag:  # of buckets, the unknown id stands for missing numbers alone
        missing = missing and not isinstance(encoder, Buckets)
        return Categorical(name, encoder.num_ids, **fingerprint, missing=missing), encoder
    longest = min(pc.max(pc.list_value_length(values)).as_py(), MAX_BAG)
    return Bag(name, encoder.num_ids, longest, **fingerprint), encoder


def word_of(feature: Feature, encoder: Encoder | None, found: ColumnKind) -> str:
    """Return the words for a feature in notes: its kind, and what else there is to say."""
    if isinstance(feature, Numeric) and feature.log:
        return "numeric on a logarithm"
    if isinstance(feature, Date):
        return "date"
    if isinstance(encoder, HashBuckets):
        return f"hashed to {encoder.num_hashes} of {encoder.num_buckets:,} rows"
    return "buckets" if isinstance(encoder, Buckets) else str(found.kind)


def _encoded(
    feature: Feature,
    column: pa.ChunkedArray,
    ids: np.ndarray,
    num_ids: int,
    vocabularies: Mapping[str, Encoder],
) -> np.ndarray:
    """Encode the values of some ids to an array with a row for every id."""
    out = unknown_rows(feature, num_ids)
    fill_column(out, feature, column, ids, vocabularies)
    return out


def fill_column(
    out: np.ndarray,
    feature: Feature,
    column: pa.ChunkedArray,
    places: np.ndarray,
    vocabularies: Mapping[str, Encoder],
) -> None:
    """Write the encoded values of a column to some rows of an array of unknown values.

    Args:
        out: the array `(rows, ...)`.
        feature: the feature.
        column: its raw values.
        places: row of each value.
        vocabularies: vocabularies and buckets by feature.

    Raises:
        ValueError: if the column has other values than the feature.
    """
    name = feature.name
    kind: FeatureKind
    if isinstance(feature, Date):
        raise ValueError(
            f"column {name!r}: dates are read from examples alone; tables of users and items hold "
            "them as Numeric. Make the schema by prepare."
        )
    if isinstance(feature, BagWeights):
        kind = "weights"
    elif isinstance(feature, Numeric):
        # A list of one number is a vector, too.
        kind = "vector" if feature.size > 1 or pa.types.is_nested(column.type) else "numeric"
    elif isinstance(feature, Bag):
        kind = "categorical" if isinstance(feature, Hashed) else "bag"
    else:
        kind = "numeric" if isinstance(vocabularies[name], Buckets) else "categorical"
    if not len(column) or column.null_count == len(column):
        return
    values = as_kind(name, column, kind).values
    if isinstance(feature, Hashed):
        out[places] = vocabularies[name].encode(values)
    elif kind == "numeric":
        numbers = values.to_numpy(zero_copy_only=False).astype(np.float32)
        is_bucket = isinstance(feature, Categorical)
        out[places] = vocabularies[name].encode(numbers) if is_bucket else numbers
    elif kind == "categorical":
        some = values.is_valid().to_numpy(zero_copy_only=False)
        out[places[some]] = vocabularies[name].encode(values.drop_null())
    else:
        if kind == "vector":
            _check_lengths(name, values, feature.shape[0] if feature.shape else 1)
        rows, slots, flat = _flat(values, feature.shape[0] if feature.shape else 1)
        if kind == "vector" and not feature.shape:
            out[places[rows]] = flat.to_numpy(zero_copy_only=False).astype(np.float32)
        elif kind == "bag":
            out[places[rows], slots] = vocabularies[name].encode(flat)
        else:
            out[places[rows], slots] = flat.to_numpy(zero_copy_only=False).astype(np.float32)


def unknown_rows(feature: Feature, num_ids: int) -> np.ndarray:
    """Return the values of ids about which nothing is known, padding in row 0."""
    value: float = feature.missing_id
    rows = np.full((num_ids, *feature.shape), value if feature.has_ids else np.nan, feature.dtype)
    if feature.has_ids:
        rows[PADDING_ID] = PADDING_ID
    return rows


def _check_lengths(name: str, vectors: Any, size: int) -> None:
    """Refuse vectors of other lengths than those that the schema was made from."""
    lengths = pc.list_value_length(vectors)
    if len(other := pc.unique(lengths.filter(pc.not_equal(lengths, size)))):
        raise ValueError(
            f"column {name!r}: expected vectors of {size} numbers, as in the training rows; "
            f"received some of {', '.join(map(str, sorted(other.to_pylist())))}. Correct them."
        )


def _flat(lists: Any, width: int) -> tuple[np.ndarray, np.ndarray, Any]:
    """Return row, place in the row and value of what lists hold, up to a width."""
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    lengths = lengths.astype(np.int64)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    places = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    values = lists.flatten()
    kept = (places < width) & values.is_valid().to_numpy(zero_copy_only=False)
    return rows[kept], places[kept], values.filter(pa.array(kept))


def _refuse_label(
    train: Interactions,
    side: str,
    name: str,
    found: ColumnKind,
    known: np.ndarray,
    vocabularies: Mapping[str, Encoder],
) -> None:
    """Refuse a column of numbers that is the label of every training row."""
    if train.label is None or pa.types.is_nested(found.values.type):
        return
    try:
        values = found.values.cast(pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        return
    own = train.user if side == "user" else train.item
    by_id = np.full(vocabularies[own].num_ids, np.nan)
    by_id[known] = values
    ids = vocabularies[own].encode(train.table[own])
    refuse_label(train, by_id[ids], f"the column {name!r} of the {side}s")


def refuse_label(train: Interactions, values: np.ndarray, what: str) -> None:
    """Refuse values that are the label in all rows, where labels differ.

    Raises:
        ValueError: if they are.
    """
    if train.label is not None:
        refuse_answer(train.column(train.label), train.label, values, what)


def refuse_answer(labels: np.ndarray, label: str, values: np.ndarray, what: str) -> None:
    """Refuse values that are the labels in all rows, where labels differ.

    Args:
        labels: the labels `(rows,)`.
        label: name of their column.
        values: values of another column, `(rows,)`.
        what: the column, for the message.

    Raises:
        ValueError: if they are.
    """
    if (
        len(labels) > 1
        and labels.min() < labels.max()
        and (values.astype(np.float32) == labels).all()
    ):
        raise ValueError(
            f"{OWNER}: {what} equals the label {label!r} in all {len(labels):,} training "
            "rows, so a model would read the answer. Leave it out."
        )
