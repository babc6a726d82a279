"""Encoding of examples in one call: columns, schema and vocabularies that belong together."""

import dataclasses
import hashlib
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kerasrec._checks import check_integer
from kerasrec.data.encoding.buckets import Buckets
from kerasrec.data.encoding.scalers import fitted_scale
from kerasrec.data.encoding.side_features import (
    chosen_kind,
    fill_column,
    fit_column,
    refuse_answer,
)
from kerasrec.data.encoding.vocabulary import Vocabulary
from kerasrec.data.encoding.vocabulary_file import Encoder
from kerasrec.data.examples.examples import Examples
from kerasrec.data.examples.splitting import ExampleSplit
from kerasrec.data.examples.windows import WINDOW
from kerasrec.data.tables.side_tables import ColumnKind
from kerasrec.schema import (
    ANY_POSITIVE_LABEL,
    PADDING_ID,
    UNKNOWN_ID,
    Feature,
    NumericSequence,
    Schema,
)

OWNER = "prepare_examples"


@dataclasses.dataclass(frozen=True)
class PreparedExamples:
    """Encoded parts of a split of examples, with their schema and vocabularies.

    See `prepare_examples`.

    Args:
        split: raw rows of each part.
        vocabularies: vocabularies and buckets of the training rows, by column.
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
    features: Collection[str] | Mapping[str, str] | None = None,
    vocabularies: Mapping[str, Encoder] | None = None,
    schema: Schema | None = None,
) -> PreparedExamples:
    """Find out what the columns hold, fit their encoders on the training rows, and encode all rows.

    Kinds of features are inferred as for side tables, see `prepare`: numbers are scaled, text,
    truth values and few distinct integers are categories, text separated by "|" and lists are bags.
    `PreparedExamples.notes` tells what each column is taken for. Columns of a single value and of
    text that hardly repeats are left out. Missing numbers stand for the mean, missing categories
    are unknown.

    Args:
        split: the rows of each part, or examples that are all training rows.
        positive: which labels are positives, such as `">=4"`; see `Schema`.
        min_count: categories with fewer training rows become unknown.
        features: names of the features to use; None for all that carry information. A dict chooses
            their kinds too: "categorical", "bag", "numeric", "vector", or "buckets".
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
        found, fitted, notes = _fit(split.train, features, min_count, encoders)
        encoders |= fitted
        schema = Schema(
            context=tuple(found), label=split.train.label, positive=positive, time=split.train.time
        )
    train, valid, test = (_encode(part, schema, encoders) for part in split.parts.values())
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


def _fit(
    train: Examples,
    features: Collection[str] | Mapping[str, str] | None,
    min_count: int,
    fitted: Mapping[str, Encoder],
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
    labels, made, encoders, notes = train.labels, [], {}, []
    for name in (name for name in train.features if name in kinds):
        if kinds[name] == WINDOW:
            made.append(_fit_window(train, name))
            notes.append(f"{name!r} is a window of up to {made[-1].shape[0]} numbers")
            continue
        kind = "buckets" if isinstance(fitted.get(name), Buckets) else kinds[name]
        column = train.table[name]
        found = chosen_kind(name, column, kind)
        if found.kind is None:
            if features is not None:
                raise ValueError(
                    f"{OWNER}: the column {name!r} carries no information for a model: "
                    f"{found.because}. Leave it out of features=."
                )
            notes.append(f"{name!r} is left out: {found.because}")
            continue
        _refuse_answer(labels, train.label, name, found)
        feature, encoder = fit_column(name, found, kind, fitted.get(name))
        if isinstance(encoder, Vocabulary) and name not in fitted and min_count > 1:
            encoder = encoder.frequent(min_count)
            fields: Any = {"num_ids": encoder.num_ids, "fingerprint": encoder.fingerprint}
            feature = dataclasses.replace(feature, **fields)
        made.append(feature)
        if encoder is not None:
            encoders[name] = encoder
        word = "buckets" if isinstance(encoder, Buckets) else found.kind
        notes.append(f"{name!r} is {word}: {found.because}")
    if not made:
        raise ValueError(
            f"{OWNER}: no column carries information: {'; '.join(notes)}. Name others with "
            "features=."
        )
    return made, encoders, tuple(notes)


def _fit_window(train: Examples, name: str) -> Feature:
    """Return the feature of a column of windows, whose numbers are scaled as one column."""
    lists = train.table[name].combine_chunks()
    values = lists.flatten().to_numpy(zero_copy_only=False)
    mean, deviation = fitted_scale(values[~np.isnan(values)])
    longest = int(pc.max(pc.list_value_length(lists)).as_py())
    scale: Any = {"mean": mean, "deviation": deviation}
    return NumericSequence(name, of=name, max_length=longest, **scale)


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
        missing: float = PADDING_ID if feature.is_padded else UNKNOWN_ID
        missing = missing if feature.has_ids else np.nan
        out = np.full((len(part), *feature.shape), missing, feature.dtype)
        if isinstance(feature, NumericSequence):
            _fill_windows(out, part.table[feature.name])
        else:
            fill_column(out, feature, part.table[feature.name], rows, encoders)
        encoded[feature.name] = out
    encoded[schema.label] = part.labels
    if part.time is not None and part.times is not None:
        encoded[part.time] = part.times
    return encoded


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
    return [name for name in part.table.column_names if name in (part.label, *part.features)]


def _checksum(column: pa.ChunkedArray) -> str:
    """Compute the SHA-256 of a raw column as Arrow writes it, whatever its chunks."""
    table = pa.table({"column": column.combine_chunks()})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return hashlib.sha256(sink.getvalue()).hexdigest()
