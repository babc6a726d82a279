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

    from kerasrec.data import Examples, Interactions, PreparedData, Vocabulary
    from kerasrec.data.tables.table_file import TableFile
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
    sides: Any = {"users": source.users, "items": source.items}
    sides |= {n: getattr(source, n) for n in ("missing_sides", "encoding", "decimal")}
    rows = rows.with_tables(**sides)
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
    if not Path(source.data).is_file():
        return
    roles = {role: getattr(source, role) for role in ("user", "item", "label", "time")}
    file = table_file(source, roles)
    found = file.roles(roles, source.context)
    if found != roles or file.form.separator not in (source.separator, ",", "\t", None):
        say(file.describe(found))


def table_file(source: Source, roles: Mapping[str, str | None] | None = None) -> "TableFile":
    """Inspect the file of the flags.

    Args:
        source: data to read.
        roles: names of the columns of a format without header; None for those of rows without users
            and items.
    """
    from kerasrec.data.tables.table_file import FileForm, TableFile

    form = FileForm(**{f.name: getattr(source, f.name) for f in dataclasses.fields(FileForm)})
    roles = roles or {"user": None, "item": None, "label": "label", "time": None}
    return TableFile.open(source.data, form, roles)


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


# Settings about users and items, which these rows do not have.
_OF_SIDES = ("context", "users", "items", "missing_sides", "duplicates", "k_core", "max_length")
_READ = ("format", "columns", "separator", "quote", "encoding", "decimal", "missing")


def are_examples(model: str, source: Source) -> bool:
    """Return whether rows are read as examples: without users and items, or as if without.

    They are if the flags, or the columns of the file, lack one of them, and the model needs none.

    Args:
        model: name of a model.
        source: data to read.

    Raises:
        ValueError: if the flags say that there are items without users, or the reverse, for a model
            of both.
    """
    if source.user is None and source.item is None:
        return True
    if None not in side_columns(source):
        return False
    if not getattr(kerasrec.models, model).sides:
        return True
    if source.user is None or source.item is None:
        raise ValueError(
            f"--user {source.user or 'null'} --item {source.item or 'null'}: {model} needs users "
            "and items. Name the columns of both."
        )
    return False


def side_columns(source: Source) -> tuple[str | None, str | None]:
    """Return the columns of users and of items, None where a file has none."""
    defaults = {field.name: field.default for field in dataclasses.fields(Source)}
    roles = {role: getattr(source, role) for role in ("user", "item", "label", "time")}
    found = dict(roles)
    if Path(source.data).is_file():
        file = table_file(source, roles)
        found = file.roles(roles, source.context)
        for role in ("user", "item"):
            if found[role] == defaults[role] and found[role] not in file.names:
                found[role] = None
    return found["user"], found["item"]


def read(
    source: Source,
    *,
    time: str | None = None,
    group: str | None = None,
    classes: bool | None = False,
) -> "Examples":
    """Read the rows of the flags.

    Args:
        source: data to read.
        time: column of times; None for none.
        group: column of groups; None for none.
        classes: see `kerasrec.data.read_examples`.

    Raises:
        ValueError: if the flags or the data are invalid.
    """
    defaults = {field.name: field.default for field in dataclasses.fields(Source)}
    if wrong := [name for name in _OF_SIDES if getattr(source, name) not in (defaults[name], [])]:
        raise ValueError(
            f"--{wrong[0]} {getattr(source, wrong[0])}: it is about users and items, which these "
            f"rows do not have. Leave {', '.join(f'--{name}' for name in wrong)} out."
        )
    if source.label is None:
        raise ValueError(
            "--label null: rows without users and items are examples of their label. Name its "
            "column with --label."
        )
    if not Path(source.data).is_file():
        raise ValueError(
            f"--data {source.data}: expected the path of a file of rows with a label; there is no "
            "such file."
        )
    chosen = chosen_features(source)
    named = source.label != defaults["label"] or source.label in table_file(source).names
    return kerasrec.data.read_examples(
        source.data,
        label=source.label if named else "label",
        features=None if chosen is None or not len(chosen) else tuple(chosen),
        time=time,
        group=group,
        classes=classes,
        tables=tables(source),
        **form_of(source),
    )


def tables(source: Source) -> dict[str, str] | None:
    """Return the files to join by the column of their keys; None without any.

    Raises:
        ValueError: if one has another form than key=file, or a key has two.
    """
    found = dict(key_and_file(text) for text in source.tables)
    if len(found) < len(source.tables):
        raise ValueError(_TABLES.format(",".join(source.tables)))
    return found or None


def key_and_file(text: str) -> tuple[str, str]:
    """Return the column of keys and the file of one of the `--tables`.

    Raises:
        ValueError: if it has another form.
    """
    key, _, file = text.partition("=")
    if not (key and file):
        raise ValueError(_TABLES.format(text))
    return key, file


_TABLES = (
    "--tables {}: expected a column of keys and a file for it, each key once, as in --tables "
    "item_id=vectors.parquet,shop=shops.csv."
)


def form_of(source: Source) -> dict[str, Any]:
    """Return how files of rows without users and items are read."""
    return {name: getattr(source, name) for name in _READ}
