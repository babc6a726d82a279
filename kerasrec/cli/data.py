"""Rows and item tables that the flags name: read, cleaned, split and encoded."""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import kerasrec
from kerasrec.cli.settings import Source, Splitting, choose
from kerasrec.runs.directory import Run
from kerasrec.runs.side_tables import side_table
from kerasrec.runs.terminal import say
from kerasrec.schema import ANY_POSITIVE_LABEL, Schema

if TYPE_CHECKING:  # at run time, commands import these only when they use them
    import pyarrow as pa

    from kerasrec.data import Interactions, PreparedData, Vocabulary
    from kerasrec.datasets import Dataset


def load(source: Source) -> "Dataset":
    """Load and clean the data set of the flags.

    Raises:
        ValueError: if it cannot be read, or does not accept one of the flags.
    """
    roles = {field.name: field.default for field in dataclasses.fields(Source)}
    for name in _NOT_READ:
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
    tables = {"users": source.users, "items": source.items}
    rows = rows.with_tables(**tables, missing_sides=source.missing_sides)
    return dataclasses.replace(dataset, interactions=rows, users=rows.users, items=rows.items)


# Settings that say what becomes of the rows, once they are read.
_NOT_READ = (
    "data", "positive", "duplicates", "k_core", "min_count", "max_length", "users", "items",
    "missing_sides", "features", "window", "missing_values", "scaling", "tables",
)  # fmt: skip


# Flags of a run that keeps what its model reads of the tables of users and items.
OWN_TABLES = {"users": None, "items": None}


def chosen_features(source: Source) -> Any:
    """Return the features of the flags as `kerasrec.data.prepare` takes them.

    Example:

    >>> chosen_features(Source("x.csv")), chosen_features(Source("x.csv", features="age"))
    (None, ['age'])
    """
    if isinstance(source.features, str):
        return {"all": None, "none": []}.get(source.features, [source.features])
    return source.features


def refuse_tables(source: Source) -> None:
    """Refuse tables to join to rows of users and items.

    Raises:
        ValueError: if there are any.
    """
    if source.tables:
        raise ValueError(
            f"--tables {','.join(source.tables)}: it is for rows without users and items, and "
            "these rows have both. Pass their tables as --users and --items, or --user null --item "
            "null."
        )


def say_form(source: Source) -> None:
    """Print in one line how a file is read, if the flags leave it open."""
    from kerasrec.data.tables.table_file import FileForm, TableFile

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
    schema: Schema | None = None,
) -> "tuple[Dataset, PreparedData]":
    """Read, clean, split and encode, with the vocabularies of a run or with new ones.

    Args:
        source: data to read.
        splitting: rows to hold out.
        seed: seed of a random split.
        vocabularies: of a run; None to fit them.
        schema: features of the rows, of a run; None to find them.

    Returns:
        The cleaned data set with its side tables, and its parts.

    Raises:
        ValueError: if the flags or the data are invalid.
    """
    given = {name: getattr(splitting, name) for name in ("group", "valid_file", "test_file")}
    given |= {"split": splitting.split} if splitting.split == "group" else {}
    given |= {"window": source.window}
    given |= {} if source.missing_values == "own" else {"missing_values": source.missing_values}
    given |= {} if source.scaling == "standard" else {"scaling": source.scaling}
    for name, value in given.items():
        if value is not None:
            raise ValueError(
                f"--{name} {value}: it is for rows without users and items, and these rows have "
                "both. Leave it out, or pass --user null --item null."
            )
    refuse_tables(source)
    dataset = load(source)
    rows: Any = dataset.interactions
    given = {"valid": splitting.valid, "test": splitting.test}
    options: dict[str, Any] = {name: size for name, size in given.items() if size is not None}
    if given != {"valid": 0, "test": 0}:
        functions = {
            "leave_last_out": kerasrec.data.leave_last_out,
            "random": functools.partial(kerasrec.data.random_split, seed=seed),
            "temporal": kerasrec.data.per_user_time_split,
            "time": kerasrec.data.global_time_split,
        }
        rows = functions[splitting.split or "leave_last_out"](rows, **options)
    return dataset, kerasrec.data.prepare(
        rows,
        positive=source.positive,
        min_count=source.min_count,
        features=chosen_features(source),
        vocabularies=vocabularies,
        schema=schema,
    )


def item_table(run: Run, file: str | None) -> "pa.Table":
    """Return the item table: a file, or the side table of a named data set.

    Args:
        run: a run directory.
        file: any file that `kerasrec.data.read` supports, with a column of item ids named as in the
            run or by a common name. Ids are read with the type of the run. None for the data set's
            own table.

    Raises:
        ValueError: if there is neither, or the file cannot be read.
    """
    if file is None:
        dataset = load(choose(Source, {**run.flags, "users": None}))
        if dataset.items is None:
            raise ValueError(
                f"--filter_by: {run.flags['data']} has no item table beyond the ids. "
                "Give a CSV or Parquet file of items and categories with --items."
            )
        return dataset.items
    return side_table(run, file, role="item", flag="--items")


def describe_positives(rows: "Interactions", schema: Schema) -> str | None:
    """Describe in one line which rows are positives. None without a label column."""
    if rows.label is None:
        return None
    labels = rows.column(rows.label)
    count = int(np.count_nonzero(schema.is_positive(labels)))
    line = f"Positives: {count:,} of {len(rows):,} rows have a {rows.label} {schema.positive}"
    if count < len(rows):
        line += "; others only count as seen"
    if labels.max() > 1 and schema.positive == ANY_POSITIVE_LABEL:
        line += ". --positive '>=4' would change it"
    return f"{line}."
