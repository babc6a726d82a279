"""Flags of `kerasrec fit` for data and splitting; those for training are `kerasrec.runs.Training`.

Each class is a group of flags on the command line and of keys in the YAML file.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

from kerasrec.runs.settings import Training
from kerasrec.schema import ANY_POSITIVE_LABEL


@dataclasses.dataclass(frozen=True)
class Source:
    """Data to read.

    Args:
        data: name of a data set, such as movielens-100k or tfds:<builder>, or path of a file.
        format: format of a file, if its name and first lines do not show it.
        columns: names of all columns of a file without header, such as user_id,item_id,rating.
        separator: the character between two fields; found in the first line if it is null.
        quote: the character around quoted fields; '' where quotes are part of the text.
        encoding: of a text file, such as latin-1, cp1252 or utf-16.
        decimal: mark of fractions, a point or a comma.
        id_type: read ids as text or as integers; auto takes integers where each id is one.
        user: column of user ids. Common names such as userId are found. Column roles are for files;
            named data sets know their own. null, for user and item, where rows are examples of
            their label, and all other columns features; models of features alone also read files so
            that have no such columns.
        item: column of item ids, or null.
        label: column of ratings or clicks; null for implicit feedback.
        positive: labels that are positives, as ">" or ">=" and a number: ">0" for clicks, ">=4" for
            stars. Other rows are not hits and not training positives, but still count as seen.
        time: column that orders the rows; null where there is none. Of rows without users and
            items, windows and splits by time read it.
        context: further columns that describe the moment or the user. Columns that describe the
            item are rejected: they belong into the table of the items.
        users: file with a row for each user, whose other columns become features.
        items: file with a row for each item, likewise. Named data sets have their own tables.
        missing_sides: reject users and items without a row in their file, or take their features
            as unknown.
        features: all columns of these tables that carry information, none, some of them such as
            age,genres, or some with their kinds such as "{age: buckets, views: log}". Of rows
            without users and items, the columns that are features. "hashed" takes open-ended ids,
            "weights:genres" the weights of the values of the bag genres.
        missing: reject rows with missing values, or leave them out. Of rows without users and
            items, those without a label.
        missing_values: "own" for missing features as categories of their own and numbers told to be
            missing, "mean" for unknown categories and mean numbers; for rows without users and
            items.
        scaling: "standard" scales numbers by their mean and deviation, "minmax" by the lowest and
            the highest; for rows without users and items.
        tables: further files whose columns become columns of the rows, such as
            item_id=vectors.parquet: the column of keys in both, and the file; for rows without
            users and items.
        duplicates: reject repeated (user, item) pairs, keep all rows, keep the last, or take the
            mean rating.
        k_core: fewest rows of every user and every item; 1 keeps all rows.
        min_count: ids with fewer training rows become unknown; 1 keeps all ids.
        max_length: number of newest items of a user that a model of histories reads; null for the
            choice of the rules.
        window: for rows without items: number of newest rows that a model of sequences reads, the
            row itself included. They are those of the user, if there is one; null for 10.
    """

    data: str
    format: str | None = None
    columns: Sequence[str] | None = None
    separator: str | None = None
    quote: str | None = None
    encoding: str = "utf-8"
    decimal: str | None = None
    id_type: Literal["auto", "string", "integer"] = "auto"
    user: str | None = "user_id"
    item: str | None = "item_id"
    label: str | None = "rating"
    positive: str = ANY_POSITIVE_LABEL
    time: str | None = "timestamp"
    context: Sequence[str] = ()
    users: str | None = None
    items: str | None = None
    missing_sides: Literal["error", "unknown"] = "error"
    features: str | Sequence[str] | dict[str, str] = "all"
    missing: Literal["error", "drop"] = "error"
    duplicates: Literal["error", "keep", "last", "mean"] = "error"
    k_core: int = 1
    min_count: int = 1
    max_length: int | None = None
    window: int | None = None
    missing_values: Literal["own", "mean"] = "own"
    scaling: Literal["standard", "minmax"] = "standard"
    tables: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Splitting:
    """Rows to hold out: validation rows choose the epoch, test rows measure the result.

    Args:
        split: the last rows of each user, random rows, the last share of each user, or the last
            share of all time; null for leave_last_out. Rows without users and items are split at
            random, by time or by group; null for random.
        valid: validation rows: a number per user for leave_last_out, else a share.
        test: test rows, likewise. With 0 for both, all rows are training rows.
        group: column whose rows of one value stay together, for a split by group.
        valid_file: file of the validation rows, instead of rows of the data; for rows without users
            and items.
        test_file: file of the test rows, likewise.
    """

    split: Literal["leave_last_out", "random", "temporal", "time", "group"] | None = None
    valid: int | float | None = None
    test: int | float | None = None
    group: str | None = None
    valid_file: str | None = None
    test_file: str | None = None


Settings = TypeVar("Settings", Source, Splitting, Training)


def choose(kind: type[Settings], flags: Mapping[str, Any]) -> Settings:
    """Pick the settings of one group from all flags.

    Raises:
        ValueError: if one is missing.

    Example:

    >>> choose(Splitting, {"split": "time", "valid": 0.1, "test": 0.2, "epochs": 3})
    Splitting(split='time', valid=0.1, test=0.2, group=None, valid_file=None, test_file=None)
    """
    fields = {field.name: field.default for field in dataclasses.fields(kind)}
    required = [name for name, default in fields.items() if default is dataclasses.MISSING]
    if missing := [name for name in required if name not in flags]:
        raise ValueError(f"expected the flags {list(fields)}; received no {missing}.")
    # A run written before a flag existed behaved like the flag's default.
    return kind(**{name: flags.get(name, default) for name, default in fields.items()})


def differing(settings: Any) -> dict[str, Any]:
    """Return the settings of a group that differ from their defaults.

    Example:

    >>> differing(Source("clicks.csv", label="click"))
    {'data': 'clicks.csv', 'label': 'click'}
    """
    return {
        field.name: getattr(settings, field.name)
        for field in dataclasses.fields(settings)
        if getattr(settings, field.name) != field.default
        # An empty list is read for an empty tuple.
        and (getattr(settings, field.name) != [] or field.default != ())
    }
