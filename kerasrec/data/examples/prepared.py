"""Encoding of examples in one call: columns, schema and vocabularies that belong together."""

import dataclasses
import functools
import hashlib
from collections.abc import Collection, Mapping
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kerasrec._checks import check_choice, check_integer
from kerasrec.data.encoding.scalers import (
    SCALINGS,
    Scaling,
    as_wide_as_bags,
    check_weights,
    fitted_scale,
    is_heavy_tailed,
)
from kerasrec.data.encoding.side_features import (
    KINDS,
    chosen_kind,
    fill_column,
    fit_column,
    kind_of_encoder,
    plain_kind,
    refuse_answer,
    word_of,
)
from kerasrec.data.encoding.vocabulary import KeyedTable
from kerasrec.data.encoding.vocabulary_file import Encoder
from kerasrec.data.examples.classes import class_positions, fit_classes
from kerasrec.data.examples.dates import encode_dates, fit_dates
from kerasrec.data.examples.examples import Examples
from kerasrec.data.examples.joining import keyed_tables
from kerasrec.data.examples.splitting import ExampleSplit
from kerasrec.data.examples.windows import WINDOW
from kerasrec.data.tables.arrow import is_text
from kerasrec.data.tables.side_tables import MAX_CODES, ColumnKind, are_names
from kerasrec.schema import (
    ANY_POSITIVE_LABEL,
    BagWeights,
    Categorical,
    Date,
    Feature,
    Numeric,
    NumericSequence,
    Schema,
)

OWNER = "prepare_examples"
_RANGE = ", scaled from 0 to 1"  # in notes


@dataclasses.dataclass(frozen=True)
class PreparedExamples:
    """Encoded parts of a split of examples, with their schema and vocabularies.

    See `prepare_examples`.

    Args:
        split: raw rows of each part.
        vocabularies: vocabularies and buckets of the training rows, by column. Under the label, if
            it names classes, those of the training rows, see `classes`.
        schema: schema of the columns, which are all features of the context.
        train: encoded training rows, by column.
        valid: encoded validation rows.
        test: encoded test rows.
        min_count: fewest training rows of a category in the vocabularies.
        notes: a line for each column: what it is taken for, or why it is left out.
    """

    split: ExampleSplit
    vocabularies: dict[str, Encoder]
    schema: Schema
    train: dict[str, np.ndarray]
    valid: dict[str, np.ndarray]
    test: dict[str, np.ndarray]
    min_count: int = 1
    notes: tuple[str, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the names of the classes, whose positions the labels are; none for numbers."""
        found: Any = self.vocabularies.get(self.schema.label)
        return () if found is None else tuple(map(str, found.ids))

    @functools.cached_property
    def tables(self) -> dict[str, KeyedTable]:
        """Encode the joined tables by key: what an export finds by it. Empty without any."""
        return keyed_tables(self.split.train.tables, self.schema, self.vocabularies)

    def for_model(self, model: Any) -> "PreparedExamples":
        """Return the rows as a model reads them.

        Args:
            model: a model made from the schema of this data.

        Raises:
            ValueError: if its schema is another one.
        """
        if model.schema != self.schema:
            raise ValueError(
                f"{type(model).__name__} has another schema, or other vocabularies, than the data; "
                f"expected the features {[f.name for f in self.schema.features]}, received "
                f"{[f.name for f in model.schema.features]}. Make the model from ready.schema."
            )
        return self

    def positives(self, columns: Mapping[str, Any]) -> np.ndarray:
        """Mark the rows of a part that are positives, as float32 labels of 1 and 0."""
        labels = columns[self.schema.label]
        return np.asarray(self.schema.is_positive(labels)).astype(np.float32)

    def check_positives(self) -> None:
        """Check that the training rows hold both positives and others.

        Raises:
            ValueError: if they do not.
        """
        rule, labels = self.schema.positive, self.train[self.schema.label]
        marked = self.positives(self.train)
        if marked.min() == marked.max():
            which = "all" if marked.all() else "none"
            raise ValueError(
                f"positive={rule!r}: {which} of {len(labels):,} training rows have such a "
                f"{self.schema.label!r}, which goes from {labels.min():g} to {labels.max():g}. "
                "Choose another positive=, or rows of both kinds."
            )

    def fingerprint(self) -> dict[str, Any]:
        """Return the number of rows and the checksum of each raw column, by part."""
        return {
            name: {
                "rows": len(part),
                "sha256": {column: _checksum(part.table[column]) for column in _columns(part)},
            }
            for name, part in self.split.parts.items()
        }


def prepare_examples(
    split: ExampleSplit | Examples,
    *,
    positive: str = ANY_POSITIVE_LABEL,
    min_count: int = 1,
    missing_values: Literal["own", "mean"] = "own",
    scaling: Scaling = "standard",
    features: Collection[str] | Mapping[str, str] | None = None,
    vocabularies: Mapping[str, Encoder] | None = None,
    schema: Schema | None = None,
) -> PreparedExamples:
    """Find out what the columns hold, fit their encoders on the training rows, and encode all rows.

    Kinds of features are inferred as for side tables, see `prepare`: numbers are scaled, those with
    a heavy tail on a logarithm (`Numeric.log`), text, truth values and few distinct integers are
    categories, text separated by "|" and lists are bags. Dates, timestamps and text in ISO 8601 are
    read by their parts (`Date`).
    `PreparedExamples.notes` tells what each column is taken for. Columns of a single value and of
    text that hardly repeats are left out; of many ids it suggests to hash them.

    Args:
        split: the rows of each part, or examples that are all training rows.
        positive: which labels are positives, such as `">=4"`; see `Schema`. Of two labels without
            a 0, the higher one is, unless another rule is given.
        min_count: categories with fewer training rows become unknown.
        missing_values: "own" makes a missing category a category of its own, and tells models
            beside a number, which then stands for the mean, that it is missing
            (`Categorical.missing`, `Numeric.missing`); both where at least `min_count` training
            rows lack the value. "mean" takes numbers for the mean and categories as unknown.
        scaling: "standard" scales numbers to mean 0 and deviation 1, "minmax" from 0 at the lowest
            number of the training rows to 1 at the highest, on a logarithm where that is used. A
            missing number is 0 then as well, which stands for the lowest one.
        features: names of the features to use; None for all that carry information. A dict chooses
            their kinds too: "categorical", "bag", "numeric", "log", "vector", "buckets",
            "hashed" for open-ended texts and integers (`HashBuckets`; "hashed:4096:2" for two of
            4,096 rows), "weights:genres" for the weights of the values of the bag "genres"
            (`BagWeights`), or "date", which takes integers as seconds since 1970.
        vocabularies: fitted before, to use a model of theirs. None to fit them.
        schema: the schema made with these vocabularies. None to make one.

    Raises:
        ValueError: if no column carries information, one equals the label, a chosen one cannot be
            used, or an argument is invalid.

    Example:

    >>> rows = Examples.from_table({"age": [20.5, 31.0, None, 44.0], "city": list("abab"),
    ...     "click": [0, 1, 1, 0]}, label="click")
    >>> ready = prepare_examples(rows)
    >>> [(feature.name, feature.kind) for feature in ready.schema.features]
    [('age', 'numeric'), ('city', 'categorical')]
    >>> ready.train["city"].tolist(), ready.train["click"].tolist()
    ([2, 3, 2, 3], [0.0, 1.0, 1.0, 0.0])
    """
    check_integer(OWNER, "min_count", min_count, 1)
    check_choice(OWNER, "missing_values", missing_values, ("own", "mean"))
    check_choice(OWNER, "scaling", scaling, SCALINGS)
    if scaling == "minmax" and missing_values == "mean":
        raise ValueError(
            f"{OWNER}: scaling='minmax' has its 0 at the lowest number, where a missing one would "
            "not stand for the mean; received missing_values='mean'. Leave one of the two out."
        )
    if isinstance(split, Examples):
        split = ExampleSplit(split, method="all rows are training rows")
    if not isinstance(split, ExampleSplit):
        raise ValueError(
            f"{OWNER}: expected Examples or an ExampleSplit; received {type(split).__name__}. Rows "
            "of users and items are prepared by kerasrec.data.prepare."
        )
    encoders: dict[str, Encoder] = dict(vocabularies or {})
    notes: tuple[str, ...] = ()
    if schema is None:
        found, fitted, notes = _fit(
            split.train,
            features,
            encoders,
            min_count=min_count,
            missing_values=missing_values,
            scaling=scaling,
        )
        encoders |= fitted
        schema = Schema(
            context=tuple(found),
            label=split.train.label,
            positive=_positive(split.train, positive),
            time=split.train.time,
            other_labels=split.train.other_labels,
        )
    if split.train.classes and schema.label not in encoders:
        rows = split.train
        encoders[schema.label] = fit_classes(rows.labels, rows.classes, rows.label)
    parts = [_encode(part, schema, encoders) for part in split.parts.values()]
    if schema.label in encoders:
        parts, added = _of_known_classes(parts, schema.label, encoders[schema.label])
        notes = (*notes, *added)
    train, valid, test = parts
    return PreparedExamples(
        split,
        encoders,
        schema,
        train=train,
        valid=valid,
        test=test,
        min_count=min_count,
        notes=notes,
    )


def _positive(train: Examples, positive: str) -> str:
    """Return the rule for positives: of two other labels than 0 and 1, the higher one is a yes."""
    values = np.unique(train.labels)
    if positive != ANY_POSITIVE_LABEL or len(values) != 2 or values[0] <= 0 <= values[1]:
        return positive
    return f">{float(values[0])!r}"


def _fit(
    train: Examples,
    features: Collection[str] | Mapping[str, str] | None,
    fitted: Mapping[str, Encoder],
    *,
    min_count: int,
    missing_values: str,
    scaling: Scaling,
) -> tuple[list[Feature], dict[str, Encoder], tuple[str, ...]]:
    """Return the features of the training rows, their encoders, and a note on each column."""
    if isinstance(features, str):
        raise ValueError(f"{OWNER}: features takes several names; received {features!r}.")
    kinds: dict[str, str | None] = dict.fromkeys(train.features if features is None else features)
    if unknown := [name for name in kinds if name not in train.features]:
        raise ValueError(
            f"{OWNER}: there are no feature columns {unknown}; expected some of "
            f"{list(train.features)}."
        )
    asked = dict(features) if isinstance(features, Mapping) else {}
    kinds |= {n: kind for n, kind in train.kinds.items() if n in kinds} | asked
    labels = train.labels
    made: list[Any] = []
    encoders, notes = {}, []
    for name in (name for name in train.features if name in kinds):
        if train.kinds.get(name) == WINDOW:
            made.append(_fit_window(train, name, asked.get(name), scaling))
            scale = " on a logarithm" * made[-1].log + _RANGE * (scaling == "minmax")
            notes.append(f"{name!r} is a window of up to {made[-1].shape[0]} numbers{scale}")
            continue
        kind = kind_of_encoder(fitted.get(name)) or kinds[name]
        column = train.table[name]
        if kind is not None:
            check_choice(OWNER, f"features[{name!r}]", plain_kind(kind), (*KINDS, "date"))
        if kind is None and name in train.tables and pa.types.is_integer(column.type):
            text = column.cast(pa.string())
            if chosen_kind(name, text, None).kind == "categorical":
                kind = kinds[name] = "categorical"
            else:
                column = text  # which is left out, since numbers of things are no amounts
        dates = fit_dates(name, column, kind, scaling) if kind in (None, "date") else None
        found = chosen_kind(name, column, kind) if dates is None else dates[1]
        if found.kind is None:
            if features is not None:
                raise ValueError(
                    f"{OWNER}: the column {name!r} carries no information for a model: "
                    f"{found.because}. Leave it out of features=."
                )
            notes.append(f"{name!r} is left out: {found.because}{_hashing_hint(found)}")
            continue
        _refuse_answer(labels, train.label, name, found)
        # A file may declare numbers, which leaves their scale open.
        chosen = None if kind == "numeric" and name not in asked else kind
        own: Any = {"min_count": min_count, "own_gaps": missing_values == "own", "scaling": scaling}
        feature: Any
        encoder = None
        if dates is None:
            feature, encoder = fit_column(name, found, chosen, fitted.get(name), **own)
        else:
            missing = missing_values == "own" and found.values.null_count >= min_count
            feature = dataclasses.replace(dates[0], missing=missing)
        made.append(feature)
        if encoder is not None:
            encoders[name] = encoder
        gaps = f", missing in {found.values.null_count:,} rows" if _tells_gaps(feature) else ""
        hint = _hashing_hint(found) if found.kind == "categorical" and name not in asked else ""
        word = word_of(feature, encoder, found)
        scaled = isinstance(feature, Numeric) and not isinstance(feature, BagWeights)
        word += _RANGE * (scaling == "minmax" and scaled)
        notes.append(f"{name!r} is {word}: {found.because}{gaps}{hint}")
    if not made:
        raise ValueError(
            f"{OWNER}: no column carries information: {'; '.join(notes)}. Name others with "
            "features=."
        )
    return as_wide_as_bags(made), encoders, tuple(notes)


def _fit_window(train: Examples, name: str, kind: str | None, scaling: Scaling) -> NumericSequence:
    """Return the feature of a column of windows, whose numbers are scaled as one column."""
    if kind not in (None, "numeric", "log"):
        raise ValueError(
            f"{OWNER}: windows hold numbers; features[{name!r}] must be 'numeric' or 'log', "
            f"received {kind!r}."
        )
    lists = train.table[name].combine_chunks()
    values = lists.flatten().to_numpy(zero_copy_only=False)
    values = values[~np.isnan(values)]
    log = kind == "log" or (kind is None and is_heavy_tailed(values))
    mean, deviation = fitted_scale(values, log, scaling)
    longest = int(pc.max(pc.list_value_length(lists)).as_py())
    scale: Any = {"mean": mean, "deviation": deviation, "log": log}
    return NumericSequence(name, of=name, max_length=longest, **scale)


def _hashing_hint(found: ColumnKind) -> str:
    """Return the advice to hash a column of nearly as many distinct values as rows."""
    values = found.values
    if not (is_text(values.type) or pa.types.is_integer(values.type)):
        return ""
    known, distinct = len(values) - values.null_count, pc.count_distinct(values).as_py()
    if not (distinct > MAX_CODES and are_names(known, distinct)):
        return ""
    return f" ({distinct:,} values in {known:,} rows); the kind 'hashed' would use it"


def _tells_gaps(feature: Feature) -> bool:
    return isinstance(feature, Categorical | Numeric) and feature.missing


def _refuse_answer(labels: np.ndarray, label: str, name: str, found: ColumnKind) -> None:
    """Refuse a column of numbers that is the label of every training row."""
    if pa.types.is_nested(found.values.type):
        return
    try:
        values = found.values.cast(pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        return
    refuse_answer(labels, label, values, f"the column {name!r}")


def _encode(
    part: Examples, schema: Schema, encoders: Mapping[str, Encoder]
) -> dict[str, np.ndarray]:
    """Encode rows to a column for each feature, the label and the time."""
    rows = np.arange(len(part))
    encoded: dict[str, np.ndarray] = {}
    for feature in schema.features:
        if feature.name not in part.table.column_names:
            raise ValueError(
                f"{OWNER}: the schema has the feature {feature.name!r}, which the rows lack; "
                f"received {part.table.column_names}."
            )
        missing: float = feature.missing_id if feature.has_ids else np.nan
        out = np.full((len(part), *feature.shape), missing, feature.dtype)
        if isinstance(feature, NumericSequence):
            _fill_windows(out, part.table[feature.name])
        elif isinstance(feature, Date):
            out[:] = encode_dates(feature.name, part.table[feature.name])
        else:
            fill_column(out, feature, part.table[feature.name], rows, encoders)
        encoded[feature.name] = out
    check_weights(schema, encoded, OWNER)
    label: Any = encoders.get(schema.label)
    encoded[schema.label] = part.labels
    if label is not None:
        encoded[schema.label] = class_positions(part.labels, part.classes, label)
    for name in schema.other_labels:
        encoded[name] = np.asarray(part.table[name].to_numpy())
    if part.time is not None and part.times is not None:
        encoded[part.time] = part.times
    return encoded


def _of_known_classes(
    parts: list[dict[str, np.ndarray]], label: str, classes: Any
) -> tuple[list[dict[str, np.ndarray]], list[str]]:
    """Leave out the rows of classes that no training row has. Return notes on the classes too."""
    shown = ", ".join(map(str, classes.ids[:10])) + ", ..." * (len(classes) > 10)
    notes = [f"{label!r} is one of {len(classes)} classes: {shown}"]
    if unknown := sum(int(np.sum(part[label] < 0)) for part in parts):
        notes.append(f"{unknown:,} rows are left out: no training row has their {label!r}")
    return [{n: v[part[label] >= 0] for n, v in part.items()} for part in parts], notes


def _fill_windows(out: np.ndarray, column: pa.ChunkedArray) -> None:
    """Write windows, the newest number last of those that there are, padded with NaN."""
    if not len(column):
        return
    lists = column.combine_chunks()
    sizes = pc.list_value_length(lists).to_numpy(zero_copy_only=False)
    rows = np.repeat(np.arange(len(sizes)), sizes)
    places = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    places -= np.repeat(np.maximum(sizes - out.shape[1], 0), sizes)
    kept = places >= 0
    out[rows[kept], places[kept]] = lists.flatten().to_numpy(zero_copy_only=False)[kept]


def _columns(part: Examples) -> list[str]:
    kept = {part.label, *part.other_labels, *part.features}
    return [name for name in part.table.column_names if name in kept]


def _checksum(column: pa.ChunkedArray) -> str:
    """Compute the SHA-256 of a raw column as Arrow writes it, whatever its chunks."""
    table = pa.table({"column": column.combine_chunks()})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return hashlib.sha256(sink.getvalue()).hexdigest()
