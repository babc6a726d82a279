"""Encoding of a split in one call: columns, schema and vocabularies that belong together."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from kerasrec.data.encoding._encode import encode, fit_vocabularies, make_schema
from kerasrec.data.encoding.sequences import add_history
from kerasrec.data.encoding.vocabulary import Vocabulary, hash_values
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
    """

    split: Split
    vocabularies: dict[str, Vocabulary]
    schema: Schema
    train: dict[str, Any]
    valid: dict[str, Any]
    test: dict[str, Any]
    min_count: int = 1

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
            past = part if past is None else _joined([past, part], part)
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
    vocabularies: Mapping[str, Vocabulary] | None = None,
) -> PreparedData:
    """Fit vocabularies on the training rows, and encode all parts with them.

    This is `fit_vocabularies`, `make_schema`, `encode` and, with `history`, `add_history` in one.

    Args:
        split: the rows of each part. Or interactions that are all training rows, to train the model
            that is served.
        history: number of newest items of the user that each row carries, as the feature `history`
            of the schema. None for none, which suits models that read no histories.
        positive: which labels are positives, such as `">=4"`; see `Schema`.
        min_count: ids with fewer training rows become unknown.
        vocabularies: fitted before, to use a model of theirs. None to fit them.

    Raises:
        ValueError: if there is nothing to learn from the training rows, or an argument is invalid.

    Example:

    >>> rows = Interactions.from_table({
    ...     "user_id": [7, 7, 7, 9, 9, 9], "item_id": ["a", "b", "c", "b", "a", "c"],
    ...     "rating": [4, 5, 1, 3, 4, 4], "timestamp": [1, 2, 3, 1, 2, 3]})
    >>> from kerasrec.data.splits.split import leave_last_out
    >>> ready = prepare(leave_last_out(rows), history=2)
    >>> ready.schema.user[-1].name, ready.train["item_id"].tolist(), ready.test["item_id"].tolist()
    ('history', [2, 3], [1, 1])
    >>> ready.test["history"][0].tolist()
    [2, 3]
    """
    if isinstance(split, Interactions):
        nothing = split.take([])
        split = Split(split, nothing, nothing, "all rows are training rows")
    if vocabularies is None:
        vocabularies = fit_vocabularies(split.train, min_count=min_count, positive=positive)
    ready = PreparedData(
        split,
        dict(vocabularies),
        make_schema(split.train, vocabularies, positive=positive),
        train=encode(split.train, vocabularies),
        valid=encode(split.valid, vocabularies),
        test=encode(split.test, vocabularies),
        min_count=min_count,
    )
    return ready if history is None else ready.with_history(history)


def _joined(parts: list[dict[str, Any]], names: Any) -> dict[str, np.ndarray]:
    return {name: np.concatenate([part[name] for part in parts]) for name in names}
