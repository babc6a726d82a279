"""Encoding of a split in one call: columns, schema and vocabularies that belong together."""

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np

from kerasrec.data.encoding._encode import encode, fit_vocabularies, make_schema
from kerasrec.data.encoding.columns import SideColumn
from kerasrec.data.encoding.id_table import hash_values
from kerasrec.data.encoding.sequences import add_history
from kerasrec.data.encoding.side_features import SIDES, encode_side, fit_side_features, unknown_rows
from kerasrec.data.encoding.vocabulary_file import Encoder
from kerasrec.data.splits.split import Split
from kerasrec.data.tables.interactions import Interactions
from kerasrec.schema import ANY_POSITIVE_LABEL, FIRST_ID, IdSequence, Schema


@dataclasses.dataclass(frozen=True)
class PreparedData:
    """Encoded parts of a split, with their schema and vocabularies. See `prepare`.

    Args:
        split: raw rows of each part.
        vocabularies: raw ids of the training rows, by column.
        schema: schema of the columns.
        train: encoded training rows, by column.
        valid: encoded validation rows.
        test: encoded test rows.
        min_count: fewest training rows of an id in the vocabularies.
        users: encoded features of the users, one row for each encoded id, `(num_ids, ...)`; the
            ids themselves too.
        items: encoded features of the items, likewise.
        notes: a line for each column of the side tables: what it is taken for, or why it is left
            out.
    """

    split: Split
    vocabularies: dict[str, Encoder]
    schema: Schema
    train: dict[str, Any]
    valid: dict[str, Any]
    test: dict[str, Any]
    min_count: int = 1
    users: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    items: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def only(self, names: Iterable[str] = ()) -> "PreparedData":
        """Return a copy whose schema has the ids and some other features, see `Schema.only`.

        Args:
            names: names of the other features.

        Raises:
            ValueError: if there is no such feature.
        """
        return dataclasses.replace(self, schema=self.schema.only(names))

    def for_model(self, model: Any) -> "PreparedData":
        """Return a copy with the schema of a model, which may read fewer features.

        Args:
            model: a model made from the schema of this data.

        Raises:
            ValueError: if its schema has other features, vocabularies or scales.
        """
        ours = {feature.name for feature in self.schema.features}
        schema: Schema = model.schema
        if schema != self.schema.only(f.name for f in schema.features if f.name in ours):
            differing = [f.name for f in schema.features if f not in self.schema.features]
            raise ValueError(
                f"{type(model).__name__} has another schema, or other vocabularies, than the data; "
                f"expected features among {[f.name for f in self.schema.features]}, received "
                f"{[f.name for f in schema.features]}, which differ in {differing}. Make the model "
                "from ready.schema."
            )
        return dataclasses.replace(self, schema=schema)

    def with_history(self, max_length: int) -> "PreparedData":
        """Return a copy whose rows carry the user's earlier items, as the feature `history`.

        Args:
            max_length: number of newest items to keep.

        Raises:
            ValueError: if the number is not positive.
        """
        item, time = self.schema.item_id.name, self.split.train.time
        history = IdSequence("history", of=item, max_length=max_length)
        schema = dataclasses.replace(self.schema, user=(*self.schema.user, history))
        parts: list[dict[str, Any]] = []
        past: dict[str, Any] | None = None
        for part in (self.train, self.valid, self.test):
            some = len(part[item]) > 0
            parts.append(add_history(part, schema, time=time, past=past) if some else part)
            names = (self.schema.user_id.name, item, *([] if time is None else [time]))
            past = _joined([part] if past is None else [past, part], names)
        train, valid, test = parts
        return dataclasses.replace(self, schema=schema, train=train, valid=valid, test=test)

    def positives(self, columns: Mapping[str, Any]) -> np.ndarray:
        """Mark the rows of a part that are positives, as float32 labels of 1 and 0."""
        labels = columns[self.schema.label]
        return np.asarray(self.schema.is_positive(labels)).astype(np.float32)

    def has_targets(self, columns: Mapping[str, Any]) -> bool:
        """Return whether a part has a positive of an item known from training."""
        known = columns[self.schema.item_id.name] >= FIRST_ID
        return bool((self.positives(columns) * known).any())

    def check_positives(self) -> None:
        """Check that training and test rows contain positives.

        Raises:
            ValueError: if the training or the test rows have no positive.
        """
        for name, columns in (("training", self.train), ("test", self.test)):
            labels = columns[self.schema.label]
            if len(labels) and not self.positives(columns).any():
                raise ValueError(
                    f"positive={self.schema.positive!r}: none of {len(labels):,} {name} rows has "
                    f"such a {self.schema.label!r}; the highest is {labels.max():g}. Choose "
                    "another positive= or another split."
                )

    def fingerprint(self) -> dict[str, Any]:
        """Return the number of rows and the checksum of each raw column, by part."""
        parts = {"train": self.split.train, "valid": self.split.valid, "test": self.split.test}
        return {
            name: {
                "rows": len(part),
                "sha256": {column: hash_values(part.column(column)) for column in part.columns},
            }
            for name, part in parts.items()
        }

    def seen(self) -> dict[str, np.ndarray]:
        """Return the encoded user and item of all rows with a known user, newest last by user."""
        user, item = self.schema.user_id.name, self.schema.item_id.name
        time = self.split.train.time
        names = (user, item) if time is None else (user, item, time)
        columns = _joined([self.train, self.valid, self.test], names)
        order = np.lexsort([columns[name] for name in (*names[2:], user)])
        order = order[columns[user][order] >= FIRST_ID]
        return {name: columns[name][order] for name in (user, item)}


def prepare(
    split: Split | Interactions,
    *,
    history: int | None = None,
    positive: str = ANY_POSITIVE_LABEL,
    min_count: int = 1,
    features: Collection[str] | Mapping[str, str] | None = None,
    vocabularies: Mapping[str, Encoder] | None = None,
    schema: Schema | None = None,
) -> PreparedData:
    """Fit vocabularies and scales on the training rows, and encode all parts with them.

    This is `fit_vocabularies`, `make_schema`, `encode` and, with `history`, `add_history` in one,
    and it makes features of the tables of users and items.

    Kinds of features are inferred from the columns: numbers with fractions and more than 32
    distinct integers are amounts, which models scale, those with a heavy tail on a logarithm
    (`Numeric.log`); other integers, truth values and text are categories; text separated by "|" and
    lists are bags, lists of numbers with fractions vectors. `PreparedData.notes` tells what each
    column is taken for. Columns of a single value and of text that hardly repeats, such as titles,
    are left out.

    Args:
        split: the rows of each part. Or interactions that are all training rows, to train the model
            that is served.
        history: number of newest items of the user that each row carries, as the feature `history`
            of the schema. None for none, which suits models that read no histories.
        positive: which labels are positives, such as `">=4"`; see `Schema`.
        min_count: ids with fewer training rows become unknown.
        features: names of the features to make of the side tables; None for all that carry
            information, [] for none. A dict chooses their kinds too: "categorical", "bag",
            "numeric", "log", "vector", "buckets" for ranges of numbers (`Buckets`), "hashed" for
            open-ended texts and integers (`HashBuckets`), or "weights:genres" for the weights of
            the values of the bag "genres" (`BagWeights`).
        vocabularies: fitted before, to use a model of theirs. None to fit them.
        schema: the schema made with these vocabularies, without histories, whose features and
            scales are then used. None to make one.

    Raises:
        ValueError: if there is nothing to learn from the training rows, a column of a side table
            equals the label, or an argument is invalid.

    Example:

    >>> rows = Interactions.from_table({
    ...     "user_id": [7, 7, 7, 9, 9, 9], "item_id": ["a", "b", "c", "b", "a", "c"],
    ...     "rating": [4, 5, 1, 3, 4, 4], "timestamp": [1, 2, 3, 1, 2, 3]},
    ...     items={"item_id": ["a", "b", "c"], "price": [1.5, 2.5, 9.0]})
    >>> from kerasrec.data.splits.split import leave_last_out
    >>> ready = prepare(leave_last_out(rows), history=2)
    >>> ready.schema.user[-1].name, ready.train["item_id"].tolist(), ready.test["item_id"].tolist()
    ('history', [2, 3], [1, 1])
    >>> ready.test["history"][0].tolist()
    [2, 3]
    >>> price = ready.schema.item[1]
    >>> price.mean, price.deviation, ready.items["price"].tolist()
    (2.0, 0.5, [nan, nan, 1.5, 2.5])
    """
    if isinstance(split, Interactions):
        nothing = split.take([])
        split = Split(split, nothing, nothing, "all rows are training rows")
    if vocabularies is None:
        vocabularies = fit_vocabularies(split.train, min_count=min_count, positive=positive)
    vocabularies = dict(vocabularies)
    notes: tuple[str, ...] = ()
    if schema is None:
        schema = make_schema(split.train, vocabularies, positive=positive)
        found = fit_side_features(split.train, vocabularies, features)
        schema = schema.with_features(**found.features)
        vocabularies |= found.vocabularies
        notes = found.notes
    parts: list[dict[str, Any]] = [
        encode(part, vocabularies) for part in (split.train, split.valid, split.test)
    ]
    tables = {}
    for side in SIDES:
        own = schema.user_id if side == "user" else schema.item_id
        tables[side] = encode_side(split.train, side, schema, vocabularies)
        for part in parts:
            part |= {
                name: SideColumn(table, part[own.name])
                for name, table in tables[side].items()
                if name != own.name
            }
    train, valid, test = parts
    for feature in schema.user:  # columns of the interactions that describe the user
        if feature.name in split.train.context:
            users, values = train[schema.user_id.name], train[feature.name]
            tables["user"][feature.name] = unknown_rows(feature, schema.user_id.num_ids)
            tables["user"][feature.name][users] = values
    ready = PreparedData(
        split,
        vocabularies,
        schema,
        train=train,
        valid=valid,
        test=test,
        min_count=min_count,
        users=tables["user"],
        items=tables["item"],
        notes=notes,
    )
    return ready if history is None else ready.with_history(history)


def _joined(parts: list[dict[str, Any]], names: Any) -> dict[str, np.ndarray]:
    return {name: np.concatenate([part[name] for part in parts]) for name in names}
