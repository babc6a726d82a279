"""Preparation of encoded columns from flags, shared by training and evaluation."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import kerasrec
from kerasrec.cli.settings import Source, Splitting
from kerasrec.cli.terminal import say
from kerasrec.schema import ANY_POSITIVE_LABEL, FIRST_ID, Schema, Sequence

if TYPE_CHECKING:  # at run time, commands import these only when they use them
    from kerasrec.data import Interactions, Split, Vocabulary
    from kerasrec.datasets import Dataset


@dataclasses.dataclass(frozen=True)
class Prepared:
    """Split and encoded rows.

    Args:
        dataset: the cleaned data set, with its side tables.
        split: raw rows of each part.
        vocabularies: raw ids of the training rows.
        schema: schema of the columns.
        train: encoded training rows.
        valid: encoded validation rows.
        test: encoded test rows.
        min_count: fewest training rows of an id in the vocabularies.
    """

    dataset: "Dataset"
    split: "Split"
    vocabularies: "dict[str, Vocabulary]"
    schema: Schema
    train: dict[str, np.ndarray]
    valid: dict[str, np.ndarray]
    test: dict[str, np.ndarray]
    min_count: int = 1

    def with_histories(self, max_length: int) -> "Prepared":
        """Return a copy whose held-out rows carry the user's earlier items.

        Args:
            max_length: number of newest items to keep.

        Raises:
            ValueError: if the number is not positive.
        """
        item, time = self.schema.item_id.name, self.split.train.time
        history = Sequence("history", of=item, max_length=max_length)
        schema = dataclasses.replace(self.schema, user=(*self.schema.user, history))
        held_out, past = [], self.train
        for part in (self.valid, self.test):
            some = len(part[item]) > 0
            held_out.append(
                kerasrec.data.add_history(part, schema, time=time, past=past) if some else part
            )
            past = {name: np.concatenate([past[name], part[name]]) for name in past}
        valid, test = held_out
        return dataclasses.replace(self, schema=schema, valid=valid, test=test)

    def positives(self, columns: dict[str, np.ndarray]) -> np.ndarray:
        """Mark the rows of a part that are positives, as float32 labels of 1 and 0."""
        labels = columns[self.schema.label]
        return np.asarray(self.schema.is_positive(labels)).astype(np.float32)

    def has_targets(self, columns: dict[str, np.ndarray]) -> bool:
        """Return whether a part has a positive of an item known from training."""
        known = columns[self.schema.item_id.name] >= FIRST_ID
        return bool((self.positives(columns) * known).any())

    def describe_positives(self) -> str | None:
        """Describe in one line which rows are positives. None without a label column."""
        rows = self.dataset.interactions
        if rows.label is None:
            return None
        count = int(np.count_nonzero(self.schema.is_positive(rows.column(rows.label))))
        line = (
            f"Positives: {count:,} of {len(rows):,} rows have a {rows.label} {self.schema.positive}"
        )
        if count < len(rows):
            line += "; others only count as seen"
        graded = rows.column(rows.label).max() > 1
        if graded and self.schema.positive == ANY_POSITIVE_LABEL:
            line += ". --positive '>=4' would change it"
        return f"{line}."

    def check_positives(self) -> None:
        """Check that training and test rows contain positives.

        Raises:
            ValueError: if the training or the test rows have no positive.
        """
        for name, columns in (("training", self.train), ("test", self.test)):
            labels = columns[self.schema.label]
            if len(labels) and not self.positives(columns).any():
                raise ValueError(
                    f"--positive {self.schema.positive!r}: none of {len(labels):,} {name} rows "
                    f"has such a {self.schema.label!r}; the highest is {labels.max():g}. Choose "
                    "another --positive or another split."
                )

    def fingerprint(self) -> dict[str, Any]:
        """Return the number of rows and the checksum of each raw column, by part."""
        from kerasrec.data.vocabulary import hash_values

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
        parts = (self.train, self.valid, self.test)
        columns = {name: np.concatenate([part[name] for part in parts]) for name in (user, item)}
        keys = [columns[user]]
        if time is not None:
            keys.insert(0, np.concatenate([part[time] for part in parts]))
        order = np.lexsort(keys)
        order = order[columns[user][order] >= FIRST_ID]
        return {name: values[order] for name, values in columns.items()}

    def of_all_rows(self) -> "Prepared":
        """Return all rows as training rows, with vocabularies of all of them."""
        return encoded(
            self.dataset,
            all_rows(self.dataset.interactions),
            positive=self.schema.positive,
            min_count=self.min_count,
        )


def load(source: Source) -> "Dataset":
    """Load and clean the data set of the flags.

    Raises:
        ValueError: if it cannot be read, or does not accept one of the flags.
    """
    roles = {field.name: field.default for field in dataclasses.fields(Source)}
    for name in ("data", "positive", "duplicates", "k_core", "min_count"):
        del roles[name]
    given = {**dataclasses.asdict(source), "context": tuple(source.context)}  # YAML has lists
    options = {name: given[name] for name, default in roles.items() if given[name] != default}
    if source.duplicates != "error" and Path(source.data).is_file():
        options["duplicates"] = "keep"  # until the policy is applied, below
    say_form(source)
    dataset = kerasrec.datasets.load(source.data, **options)
    rows = dataset.interactions
    if source.duplicates in ("last", "mean"):
        rows = kerasrec.data.deduplicate(rows, policy=source.duplicates)
    if source.k_core > 1:
        rows = kerasrec.data.k_core(rows, user=source.k_core, item=source.k_core)
    return dataclasses.replace(dataset, interactions=rows)


def say_form(source: Source) -> None:
    """Print in one line how a file is read, if the flags leave it open."""
    from kerasrec.data.readers import FileForm, TableFile

    if not Path(source.data).is_file():
        return
    fields = {field.name for field in dataclasses.fields(FileForm)}
    form = FileForm(**{name: getattr(source, name) for name in fields})
    roles = {role: getattr(source, role) for role in ("user", "item", "label", "time")}
    file = TableFile.open(source.data, form, roles)
    found = file.roles(roles, source.context)
    if found != roles or file.form.separator not in (form.separator, ",", "\t", None):
        say(file.describe(found))


def prepare(
    source: Source,
    splitting: Splitting,
    *,
    seed: int,
    vocabularies: "Mapping[str, Vocabulary] | None" = None,
) -> Prepared:
    """Read, clean, split and encode.

    Args:
        source: data to read.
        splitting: rows to hold out.
        seed: seed of a random split.
        vocabularies: vocabularies of a run, for its model. None to fit new ones on training rows.

    Raises:
        ValueError: if the flags or the data are invalid.
    """
    dataset = load(source)
    sizes: dict[str, Any] = {
        name: getattr(splitting, name)
        for name in ("valid", "test")
        if getattr(splitting, name) is not None
    }
    if sizes.get("valid") == 0 == sizes.get("test"):
        split = all_rows(dataset.interactions)
    elif splitting.split == "leave_last_out":
        split = kerasrec.data.leave_last_out(dataset.interactions, **sizes)
    elif splitting.split == "random":
        split = kerasrec.data.random_split(dataset.interactions, seed=seed, **sizes)
    elif splitting.split == "temporal":
        split = kerasrec.data.temporal_split(dataset.interactions, **sizes)
    else:
        split = kerasrec.data.time_split(dataset.interactions, **sizes)
    return encoded(
        dataset, split, vocabularies, positive=source.positive, min_count=source.min_count
    )


def all_rows(rows: "Interactions") -> "Split":
    """Return a split without held-out rows.

    Args:
        rows: the interactions.
    """
    return kerasrec.data.Split(rows, rows.take([]), rows.take([]), "all rows are training rows")


def encoded(
    dataset: "Dataset",
    split: "Split",
    vocabularies: "Mapping[str, Vocabulary] | None" = None,
    *,
    positive: str = ANY_POSITIVE_LABEL,
    min_count: int = 1,
) -> Prepared:
    """Encode the parts of a split.

    Args:
        dataset: the cleaned data set.
        split: its parts.
        vocabularies: see `prepare`.
        positive: labels that are positives, see `Schema`.
        min_count: fewest training rows of an id in the vocabularies.
    """
    if vocabularies is None:
        vocabularies = kerasrec.data.fit_vocabularies(
            split.train, min_count=min_count, positive=positive
        )
    return Prepared(
        dataset,
        split,
        dict(vocabularies),
        kerasrec.data.make_schema(split.train, vocabularies, positive=positive),
        min_count=min_count,
        train=kerasrec.data.encode(split.train, vocabularies),
        valid=kerasrec.data.encode(split.valid, vocabularies),
        test=kerasrec.data.encode(split.test, vocabularies),
    )
